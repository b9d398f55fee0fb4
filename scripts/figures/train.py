"""Training loops written by hand in PyTorch, in float64, with Keras's formulas of losses and weights: writes
test/figures/train.json. Run by hand: python3 train.py"""
import json
import pathlib

import torch
import torch.nn.functional as F

torch.manual_seed(3)
N = 22  # batches of 8: the last one is odd
X = torch.randn(N, 3, dtype=torch.float64)
LABELS = torch.tensor([i % 3 for i in range(N)])
BINARY = (X[:, 0] + X[:, 1] > 0).double()
REAL = torch.stack([X.sum(1), X[:, 0] * X[:, 1]], 1)
WEIGHTS = torch.linspace(0.2, 2, N, dtype=torch.float64)

HEADS = {"Softmax": lambda z: z.softmax(-1), "Sigmoid": torch.sigmoid, "Softplus": F.softplus, None: lambda z: z}


def sparse(z, head, y):
    p = HEADS[head](z)
    return -torch.log(p.gather(1, y[:, None]).squeeze(1))


def one_hot(z, head, y):
    return -(F.one_hot(y, 3) * torch.log(HEADS[head](z))).sum(1)


def unnormalised(z, head, y):
    """Keras divides what is no distribution by its sum."""
    p = HEADS[head](z).clamp(1e-7, 1 - 1e-7)
    return -torch.log(p.gather(1, y[:, None]).squeeze(1) / p.sum(1))


def binary(z, head, y):
    p = HEADS[head](z).squeeze(1)
    return -(y * torch.log(p) + (1 - y) * torch.log(1 - p))


def mse(z, head, y):
    return ((HEADS[head](z) - y) ** 2).mean(1)


def mae(z, head, y):
    return (HEADS[head](z) - y).abs().mean(1)


# name, loss name, head, outputs, targets, formula, class weights, sample weights, optimizer
CASES = [
    ("logits", "cross_entropy", None, 3, "labels", lambda z, h, y: F.cross_entropy(z, y, reduction="none"), None, False, "adam"),
    ("softmax", "sparse_categorical_crossentropy", "Softmax", 3, "labels", sparse, None, False, "adam"),
    ("one-hot", "categorical_crossentropy", "Softmax", 3, "oneHot", one_hot, None, False, "sgd"),
    ("probabilities", "sparse_categorical_crossentropy", "Softplus", 3, "labels", unnormalised, None, False, "sgd"),
    ("sigmoid", "binary_crossentropy", "Sigmoid", 1, "binary", binary, None, False, "adam"),
    ("mse", "mse", None, 2, "real", mse, None, False, "sgd"),
    ("mae", "mae", None, 2, "real", mae, None, True, "sgd"),
    ("class weights", "sparse_categorical_crossentropy", "Softmax", 3, "labels", sparse, {0: 0.5, 2: 4.0}, False, "adam"),
    ("sample weights", "sparse_categorical_crossentropy", "Softmax", 3, "labels", sparse, None, True, "sgd"),
    ("both weights", "binary_crossentropy", "Sigmoid", 1, "binary", binary, {1: 3.0}, True, "adam"),
]


def run(name, loss, head, outputs, kind, formula, class_weight, sample_weight, optimizer):
    torch.manual_seed(5)
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, outputs)).double()
    before = [p.tolist() for p in net.parameters()]
    o = torch.optim.Adam(net.parameters(), lr=0.05) if optimizer == "adam" else torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    y = {"labels": LABELS, "oneHot": LABELS, "binary": BINARY, "real": REAL}[kind]
    losses = []
    for _ in range(4):
        total = 0.0
        for at in range(0, N, 8):
            each = formula(net(X[at : at + 8]), head, y[at : at + 8])
            w = torch.ones_like(each)
            if class_weight:
                w = torch.tensor([class_weight.get(int(c), 1.0) for c in y[at : at + 8]], dtype=torch.float64)
            if sample_weight:
                w = w * WEIGHTS[at : at + 8]
            value = (each * w).mean()
            o.zero_grad()
            value.backward()
            o.step()
            total += value.item() * len(each)
        losses.append(total / N)
    with torch.no_grad():
        z = net(X)
        final = formula(z, head, y).mean().item()
    targets = F.one_hot(LABELS, 3).double() if kind == "oneHot" else y
    return {
        **{"name": name, "loss": loss, "head": head, "outputs": outputs, "optimizer": optimizer},
        **{"classWeight": class_weight, "sampleWeight": WEIGHTS.tolist() if sample_weight else None},
        **{"before": before, "after": [p.tolist() for p in net.parameters()], "losses": losses, "final": final},
        **{"targets": targets.tolist(), "output": HEADS[head](z).tolist()},
    }


out = {"x": X.tolist(), "cases": [run(*c) for c in CASES]}
path = pathlib.Path(__file__).parents[2] / "test" / "figures" / "train.json"
path.write_text(json.dumps(out) + "\n")
