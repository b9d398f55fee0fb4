"""Ten steps of each optimizer in PyTorch, in float64: writes test/figures/optim.json. Run by hand: python3 optim.py"""
import json
import math
import pathlib

import torch

CASES = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "weight_decay": 0.05}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    ("SGD", {"lr": 0.1, "momentum": 0.5, "maximize": True}),
    ("Adam", {"lr": 0.1}),
    ("Adam", {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-3}),
    ("Adam", {"lr": 0.1, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.1, "amsgrad": True}),
    ("Adam", {"lr": 0.1, "amsgrad": True, "weight_decay": 0.1, "maximize": True}),
    ("AdamW", {"lr": 0.1}),
    ("AdamW", {"lr": 0.1, "weight_decay": 0.2, "amsgrad": True}),
]

figures = []
for name, options in CASES:
    p = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64, requires_grad=True)
    optimizer = getattr(torch.optim, name)([p], **options)
    path = []
    for k in range(10):
        p.grad = torch.tensor([math.sin(k + i) * (1 + i) for i in range(3)], dtype=torch.float64)
        optimizer.step()
        path.append(p.tolist())
    figures.append({"name": name, "options": options, "path": path})

target = pathlib.Path(__file__).parents[2] / "test" / "figures" / "optim.json"
lines = ",\n".join(json.dumps(figure) for figure in figures)
target.write_text(f"[\n{lines}\n]\n")
