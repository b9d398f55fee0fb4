"""Mixed precision by torch.autocast and torch.amp.GradScaler on the CPU: writes test/figures/amp.json.
Run by hand with a PyTorch of at least 2.3: python3 amp.py

Which operations stay in float32 differs between torch's devices. Nabla's list is the one for CUDA, so that the network
below asks for float32 where CUDA's list does and the CPU's does not: layer_norm and cross_entropy."""
import json
import pathlib

import torch
import torch.nn.functional as F

torch.manual_seed(5)
X = torch.randn(6, 1, 6, 6).bfloat16().float()  # seven figures say them exactly
Y = torch.tensor([0, 3, 1, 2, 3, 0])
WEIGHTS = {
    "conv.weight": torch.randn(4, 1, 3, 3) * 0.4,
    "conv.bias": torch.randn(4) * 0.1,
    "first.weight": torch.randn(16, 64) * 0.2,
    "first.bias": torch.randn(16) * 0.1,
    "last.weight": torch.randn(4, 16) * 0.3,
    "last.bias": torch.randn(4) * 0.1,
}


def network(p, x):
    h = F.relu(F.conv2d(x, p["conv.weight"], p["conv.bias"]))
    h = F.layer_norm(h.flatten(1).float(), [64])
    h = F.gelu(F.linear(h, p["first.weight"], p["first.bias"]))
    return F.linear(h, p["last.weight"], p["last.bias"])


def training(dtype):
    p = {k: w.clone().requires_grad_() for k, w in WEIGHTS.items()}
    optimizer = torch.optim.SGD(p.values(), lr=0.1, momentum=0.9)
    scaler = torch.amp.GradScaler("cpu", enabled=dtype == torch.float16)
    out = {"losses": []}
    for step in range(5):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype):
            logits = network(p, X)
            loss = F.cross_entropy(logits.float(), Y)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        if step == 0:
            out["dtype"] = str(logits.dtype).replace("torch.", "")
            out["logits"] = logits.float().flatten().tolist()
            out["grads"] = {k: w.grad.flatten().tolist() for k, w in p.items()}
        scaler.step(optimizer)
        scaler.update()
        out["losses"].append(loss.item())
    out["weights"] = {k: w.detach().flatten().tolist() for k, w in p.items()}
    return out


def attention():
    q, k, v = (torch.randn(2, 5, 8) for _ in range(3))
    with torch.autocast("cpu", torch.bfloat16):
        y = F.scaled_dot_product_attention(q, k, v)
    flat = {n: t.flatten().tolist() for n, t in zip("qkv", (q, k, v))}
    return {**flat, "dtype": str(y.dtype).replace("torch.", ""), "y": y.float().flatten().tolist()}


OVERFLOWS = [1, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0]
SCALERS = [
    {"init_scale": 65536.0, "growth_interval": 3},
    {"init_scale": 1000.0, "growth_factor": 1.3, "backoff_factor": 0.7, "growth_interval": 2},
    {"init_scale": 2.0**126, "growth_factor": 4.0, "growth_interval": 2},
]
OPTIMIZERS = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.5}),
    ("Adam", {"lr": 0.05}),
    ("AdamW", {"lr": 0.05, "weight_decay": 0.1, "amsgrad": True}),
    ("RMSprop", {"lr": 0.05, "momentum": 0.5}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.1}),
    ("Adadelta", {"lr": 1.0}),
    ("Adamax", {"lr": 0.05}),
    ("NAdam", {"lr": 0.05}),
    ("RAdam", {"lr": 0.05}),
]


def scaled(name, options, settings):
    p = torch.tensor([1.0, -2.0, 0.5], requires_grad=True)
    optimizer = getattr(torch.optim, name)([p], **options)
    scaler = torch.amp.GradScaler("cpu", **settings)
    path, scales, trackers = [], [], []
    for k, overflow in enumerate(OVERFLOWS):
        optimizer.zero_grad()
        # Powers of two in the scale cancel exactly; a gradient near 1e-30 keeps a scale near 2¹²⁷ in range.
        size = 2.0**-100 if settings["init_scale"] > 1e30 else 1.0
        g = torch.tensor([torch.sin(torch.tensor(float(k + i))).item() * (1 + i) * size for i in range(3)])
        if overflow:
            g[k % 3] = float("inf") if k % 2 else float("nan")
        scaler.scale((p * g).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        state = scaler.state_dict()
        scales.append(state["scale"])
        trackers.append(state["_growth_tracker"])
        path.append(p.tolist())
    return {"scales": scales, "trackers": trackers, "path": path}


figures = {
    "x": X.flatten().tolist(),
    "y": Y.tolist(),
    "weights": {k: {"shape": list(w.shape), "values": w.flatten().tolist()} for k, w in WEIGHTS.items()},
    "bfloat16": training(torch.bfloat16),
    "float16": training(torch.float16),
    "attention": attention(),
    "overflows": OVERFLOWS,
    "scalers": [{"settings": s, **{k: v for k, v in scaled(*OPTIMIZERS[0], s).items() if k != "path"}} for s in SCALERS],
    "optimizers": [{"name": n, "options": o, "path": scaled(n, o, SCALERS[0])["path"]} for n, o in OPTIMIZERS],
}
path = pathlib.Path(__file__).parent.parent.parent / "test" / "figures" / "amp.json"


def short(x):
    """Seven figures, which is what float32 holds."""
    if isinstance(x, float):
        return float(f"{x:.7g}")
    if isinstance(x, dict):
        return {k: (v if k in ("scales", "settings") else short(v)) for k, v in x.items()}
    return [short(v) for v in x] if isinstance(x, list) else x


path.write_text(json.dumps(short(figures)) + "\n")
print(path, path.stat().st_size)
