"""Ten steps of each optimizer in PyTorch, in float64, and the rates of each schedule: writes test/figures/optim.json,
lbfgs.json and schedules.json. Run by hand: python3 optim.py"""
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
    ("RMSprop", {}),
    ("RMSprop", {"lr": 0.05, "alpha": 0.9, "momentum": 0.7, "centered": True, "weight_decay": 0.1}),
    ("RMSprop", {"momentum": 0.5}),
    ("RMSprop", {"centered": True, "eps": 1e-3}),
    ("Adagrad", {}),
    ("Adagrad", {"lr": 0.2, "lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.5}),
    ("Adadelta", {}),
    ("Adadelta", {"lr": 0.5, "rho": 0.8, "eps": 1e-3, "weight_decay": 0.1}),
    ("Adamax", {}),
    ("Adamax", {"lr": 0.1, "betas": (0.8, 0.9), "weight_decay": 0.1}),
    ("NAdam", {}),
    ("NAdam", {"lr": 0.1, "betas": (0.8, 0.9), "weight_decay": 0.1, "momentum_decay": 0.02}),
    ("RAdam", {}),
    ("RAdam", {"lr": 0.1, "betas": (0.8, 0.9), "weight_decay": 0.1}),
]

# Rosenbrock's function from (-1.2, 1), a closure a step.
LBFGS = [{}, {"lr": 0.5, "max_iter": 5, "history_size": 3}, {"line_search_fn": "strong_wolfe", "max_iter": 4}]

# Rates after each step from 0.5 and 0.1 (two groups); for the plateau after each metric.
METRICS = [1.0, 0.9, 0.9, 0.95, 0.9, 0.89999, 0.7, 0.71, 0.72, 0.73, 0.7, 0.69999]
SCHEDULES = [
    ("LambdaLR", [lambda e: 1 / (1 + e)], {}, {}),
    ("StepLR", [3], {"gamma": 0.5}, {}),
    ("MultiStepLR", [[2, 5, 9]], {}, {}),
    ("ConstantLR", [], {"factor": 0.5, "total_iters": 4}, {}),
    ("LinearLR", [], {"start_factor": 0.25, "end_factor": 0.75, "total_iters": 4}, {}),
    ("ExponentialLR", [0.9], {}, {}),
    ("PolynomialLR", [], {"total_iters": 6, "power": 2}, {}),
    ("CosineAnnealingLR", [5], {"eta_min": 0.01}, {}),
    ("CosineAnnealingWarmRestarts", [2], {"T_mult": 2, "eta_min": 0.01}, {}),
    ("CosineAnnealingWarmRestarts", [3], {}, {}),
    ("OneCycleLR", [], {"max_lr": 1.0, "total_steps": 13}, {"momentum": 0.9}),
    ("OneCycleLR", [], {"max_lr": [1.0, 2.0], "total_steps": 13, "anneal_strategy": "linear", "pct_start": 0.4}, {"momentum": 0.9}),
    ("ReduceLROnPlateau", [], {"patience": 1, "factor": 0.5, "cooldown": 1}, {}),
    ("ReduceLROnPlateau", [], {"mode": "max", "patience": 0, "threshold_mode": "abs", "threshold": 0.01, "min_lr": 0.01}, {}),
]

def nadam(lr=2e-3, betas=(0.9, 0.999), weight_decay=0, momentum_decay=4e-3):
    """NAdam as PyTorch documents it; PyTorch 1.13's code multiplies by mu once too often (mended in 2.0)."""
    p, m, v, product = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64), 0, 0, 1
    path = []
    for t in range(1, 11):
        g = torch.tensor([math.sin(t - 1 + i) * (1 + i) for i in range(3)], dtype=torch.float64) + weight_decay * p
        mu, mu_next = (betas[0] * (1 - 0.5 * 0.96 ** (k * momentum_decay)) for k in (t, t + 1))
        product *= mu
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g * g
        m_hat = mu_next * m / (1 - product * mu_next) + (1 - mu) * g / (1 - product)
        p = p - lr * m_hat / ((v / (1 - betas[1] ** t)).sqrt() + 1e-8)
        path.append(p.tolist())
    return path


figures = []
for name, options in CASES:
    if name == "NAdam":
        figures.append({"name": name, "options": options, "path": nadam(**options)})
        continue
    p = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64, requires_grad=True)
    optimizer = getattr(torch.optim, name)([p], **options)
    path = []
    for k in range(10):
        p.grad = torch.tensor([math.sin(k + i) * (1 + i) for i in range(3)], dtype=torch.float64)
        optimizer.step()
        path.append(p.tolist())
    figures.append({"name": name, "options": options, "path": path})


def rosenbrock(options):
    p = torch.tensor([-1.2, 1.0], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([p], **options)

    def closure():
        optimizer.zero_grad()
        loss = (1 - p[0]) ** 2 + 100 * (p[1] - p[0] ** 2) ** 2
        loss.backward()
        return loss

    path = []
    for _ in range(6):
        optimizer.step(closure)
        path.append(p.tolist())
    return {"name": "LBFGS", "options": options, "path": path}


def schedule(name, args, options, more):
    ps = [torch.zeros(1, requires_grad=True) for _ in range(2)]
    optimizer = torch.optim.SGD([{"params": [ps[0]]}, {"params": [ps[1]], "lr": 0.1}], lr=0.5, **more)
    scheduler = getattr(torch.optim.lr_scheduler, name)(optimizer, *args, **options)
    rates = [[g["lr"] for g in optimizer.param_groups]]
    momenta = [[g["momentum"] for g in optimizer.param_groups]]
    for metric in METRICS:
        optimizer.step()
        scheduler.step(metric) if name == "ReduceLROnPlateau" else scheduler.step()
        rates.append([g["lr"] for g in optimizer.param_groups])
        momenta.append([g["momentum"] for g in optimizer.param_groups])
    shown = [a if not callable(a) else "1 / (1 + e)" for a in args]
    return {"name": name, "args": shown, "options": options, "sgd": more, "rates": rates, "momenta": momenta}


def write(name, figures):
    target = pathlib.Path(__file__).parents[2] / "test" / "figures" / name
    lines = ",\n".join(json.dumps(figure) for figure in figures)
    target.write_text(f"[\n{lines}\n]\n")


write("optim.json", figures)
write("lbfgs.json", [rosenbrock(options) for options in LBFGS])
write("schedules.json", [schedule(*case) for case in SCHEDULES])
