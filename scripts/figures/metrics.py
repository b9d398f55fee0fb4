"""Metrics of scikit-learn (and PyTorch's cross-entropy): writes test/figures/metrics.json. Run by hand: python3 metrics.py"""
import json
import math
import pathlib

import numpy as np
import torch
from sklearn import metrics as m

rng = np.random.default_rng(3)
scores = np.round(rng.random(40), 2)  # with ties
labels = (rng.random(40) < 0.2 + 0.5 * scores).astype(int)
many = np.round(rng.normal(size=(50, 4)), 3)
classes = np.where(rng.random(50) < 0.5, many.argmax(1), rng.integers(0, 4, 50))
predicted, hard = many.argmax(1), (scores >= 0.5).astype(int)
y, p = np.round(rng.normal(size=30) * 3 + 100, 3), None
p = np.round(y + rng.normal(size=30), 3)
averages = ["micro", "macro", "weighted"]


def scored(f):
    return {"binary": f(labels, hard), **{a: f(classes, predicted, average=a) for a in averages}}


figures = {
    "binary": {"scores": scores.tolist(), "labels": labels.tolist()},
    "many": {"scores": many.tolist(), "labels": classes.tolist()},
    "regression": {"predictions": p.tolist(), "targets": y.tolist()},
    "accuracy": {"binary": m.accuracy_score(labels, hard), "many": m.accuracy_score(classes, predicted)},
    "confusion": {
        "binary": m.confusion_matrix(labels, hard).tolist(),
        "many": m.confusion_matrix(classes, predicted).tolist(),
    },
    "precision": scored(m.precision_score),
    "recall": scored(m.recall_score),
    "f1": scored(m.f1_score),
    "top2": m.top_k_accuracy_score(classes, many, k=2),
    "auc": m.roc_auc_score(labels, scores),
    "mse": m.mean_squared_error(y, p),
    "mae": m.mean_absolute_error(y, p),
    "r2": m.r2_score(y, p),
    "perplexity": math.exp(torch.nn.functional.cross_entropy(torch.tensor(many), torch.tensor(classes)).item()),
}
target = pathlib.Path(__file__).parents[2] / "test" / "figures" / "metrics.json"
target.write_text(json.dumps(figures, separators=(",", ":")).replace('],"', '],\n"') + "\n")
