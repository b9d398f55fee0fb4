"""Averages of weights along a training in PyTorch, in float64: writes test/figures/averaging.json.
Run by hand: python3 averaging.py"""
import copy
import json
import pathlib

import torch
from torch.optim.swa_utils import SWALR, AveragedModel, update_bn

torch.manual_seed(3)
torch.set_default_dtype(torch.float64)
EPOCHS, SWA_START, SWA_LR, LR, DECAY = 7, 3, 0.02, 0.1, 0.9

model = torch.nn.Sequential(
    torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Tanh(), torch.nn.Linear(4, 1)
)
x = torch.randn(12, 3)
y = torch.randn(12, 1)
batches = [(x[i : i + 4], y[i : i + 4]) for i in range(0, 12, 4)]


def numbers(tensors):
    return {k: t.tolist() for k, t in tensors.items()}


start = copy.deepcopy(model.state_dict())


def train(after_step, before_epoch, after_epoch):
    model.load_state_dict(start)
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=LR, momentum=0.5)
    rates = []
    for epoch in range(EPOCHS):
        before_epoch(optimizer, epoch)
        rates.append(optimizer.param_groups[0]["lr"])
        for xb, yb in batches:
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(model(xb), yb).backward()
            optimizer.step()
            after_step()
        after_epoch(epoch)
    return rates


figures = {"start": numbers(start), "x": x.tolist(), "y": y.tolist(), "epochs": EPOCHS, "lr": LR, "swaLr": SWA_LR}
figures["swaStart"], figures["decay"] = SWA_START, DECAY

# Exponential moving average, after every step.
for name, use_buffers in (("ema", False), ("emaBuffers", True)):
    averaged = AveragedModel(model, avg_fn=lambda a, p, n: DECAY * a + (1 - DECAY) * p, use_buffers=use_buffers)
    train(lambda: averaged.update_parameters(model), lambda o, e: None, lambda e: None)
    tensors = dict(averaged.module.named_parameters())
    if use_buffers:
        tensors.update({k: b for k, b in averaged.module.named_buffers() if b.is_floating_point()})
    figures[name] = numbers(tensors)
figures["last"] = numbers(model.state_dict())

# Stochastic weight averaging.
figures["swa"] = []
for anneal_epochs, strategy in ((2, "cos"), (3, "linear"), (0, "cos")):
    averaged = AveragedModel(model)
    schedule = None

    def before(optimizer, epoch):
        global schedule
        if epoch == SWA_START:
            schedule = SWALR(optimizer, SWA_LR, anneal_epochs=anneal_epochs, anneal_strategy=strategy)

    def after(epoch):
        if epoch >= SWA_START:
            averaged.update_parameters(model)
            schedule.step()

    rates = train(lambda: None, before, after)
    update_bn(batches, averaged)
    averaged.eval()
    figures["swa"].append(
        {
            "annealingEpochs": anneal_epochs,
            "annealingStrategy": strategy,
            "rates": rates,
            "weights": numbers(averaged.module.state_dict()),
            "output": averaged(x).tolist(),
        }
    )

root = pathlib.Path(__file__).resolve().parents[2]
(root / "test/figures/averaging.json").write_text(json.dumps(figures) + "\n")
