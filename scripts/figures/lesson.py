"""The lesson's classifiers trained by PyTorch in float64, in the stored order: writes test/figures/lesson.json with the
initial weights and the curves. Run by hand: python3 lesson.py"""
import json
import pathlib

import torch
from torch import nn

ROOT = pathlib.Path(__file__).resolve().parents[2]
EPOCHS = 25
# name, data, rows to train on, end of the validation rows, layers, loss, optimizer, options, batch size
RUNS = [
    ("perceptron", "cls_flip010", 70, 85, [2, 1, "Sigmoid"], "binary", "SGD", {"lr": 0.5}, 10),
    ("2-5-1", "cls_flip010", 70, 85, [2, 5, "Sigmoid", 1, "Sigmoid"], "binary", "Adam", {"lr": 0.05}, 16),
    ("2-10-1", "cls_flip005", 70, 100, [2, 10, "Tanh", 1, "Sigmoid"], "mse", "RMSprop", {"lr": 0.01}, 32),
    ("2-10-2", "cls_flip005", 70, 100, [2, 10, "ReLU", 2, "Softmax"], "categorical", "AdamW", {"lr": 0.02}, 16),
    ("2-10-2 logits", "cls_flip010", 70, 85, [2, 10, "Tanh", 2], "logits", "SGD", {"lr": 0.1, "momentum": 0.9}, 16),
]


def build(sizes):
    layers, width = [], sizes[0]
    for item in sizes[1:]:
        if isinstance(item, int):
            layers.append(nn.Linear(width, item))
            width = item
        else:
            layers.append(nn.Softmax(1) if item == "Softmax" else getattr(nn, item)())
    return nn.Sequential(*layers)


def loss_of(kind, out, y):
    if kind == "binary":
        return nn.functional.binary_cross_entropy(out[:, 0], y.double())
    if kind == "mse":
        return nn.functional.mse_loss(out[:, 0], y.double())
    if kind == "categorical":
        return nn.functional.nll_loss(out.log(), y)
    return nn.functional.cross_entropy(out, y)


def accuracy_of(out, y):
    predicted = (out[:, 0] > 0.5).long() if out.shape[1] == 1 else out.argmax(1)
    return (predicted == y).double().mean().item()


def run(name, data, cut, end, sizes, kind, optimizer, options, batch):
    torch.manual_seed(len(name))
    stored = json.loads((ROOT / "examples" / "data" / f"{data}.json").read_text())
    x = torch.tensor(stored["x"], dtype=torch.float64)
    y = torch.tensor(stored["y"]).flatten().long()
    model = build(sizes).double()
    initial = {k: v.tolist() for k, v in model.state_dict().items()}
    step = getattr(torch.optim, optimizer)(model.parameters(), **options)
    history = {"loss": [], "accuracy": [], "val_loss": [], "val_accuracy": []}
    for _ in range(EPOCHS):
        loss_sum = right = 0.0
        for at in range(0, cut, batch):
            xb, yb = x[at : min(at + batch, cut)], y[at : min(at + batch, cut)]
            step.zero_grad()
            out = model(xb)
            loss = loss_of(kind, out, yb)
            loss.backward()
            step.step()
            loss_sum += loss.item() * len(xb)
            right += accuracy_of(out, yb) * len(xb)
        with torch.no_grad():
            out = model(x[cut:end])
            history["val_loss"].append(loss_of(kind, out, y[cut:end]).item())
            history["val_accuracy"].append(accuracy_of(out, y[cut:end]))
        history["loss"].append(loss_sum / cut)
        history["accuracy"].append(right / cut)
    final = {k: v.tolist() for k, v in model.state_dict().items()}
    layers = [type(m).__name__ if not isinstance(m, nn.Linear) else [m.in_features, m.out_features] for m in model]
    return {
        "name": name, "data": data, "train": cut, "end": end, "layers": layers, "loss": kind, "optimizer": optimizer,
        "options": options, "batch": batch, "epochs": EPOCHS, "initial": initial, "final": final, "history": history,
    }


out = ROOT / "test" / "figures" / "lesson.json"
out.write_text(json.dumps([run(*r) for r in RUNS]) + "\n")
