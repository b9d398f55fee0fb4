# Writes test/figures/print.json: how PyTorch prints tensors. Run: python3 scripts/figures/print.py
import json, os
import torch

nan, inf = float("nan"), float("inf")
g = lambda *s: ((torch.arange(torch.Size(s).numel()).double() * 37 % 101 - 50) / 16).float().reshape(s)
rows = {
    # name: (values as nested lists or a formula's name, dtype, shape)
    "scalar": torch.tensor(1.5),
    "whole scalar": torch.tensor(3.0),
    "negative zero": torch.tensor([-0.0, 1.0]),
    "whole numbers": torch.tensor([1.0, -20.0, 300.0]),
    "fractions": torch.tensor([1.0, -2.5, 0.03125, 0.15625, -0.46875]),
    "nan and inf": torch.tensor([nan, inf, -inf, 1.5]),
    "only nan": torch.tensor([nan, 0.0]),
    "whole with inf": torch.tensor([1.0, inf, -20.0]),
    "wide range": torch.tensor([1e-3, 1.0, 2500.0]),
    "tiny": torch.tensor([1e-5, 0.5e-4]),
    "huge": torch.tensor([2e8, 1.0]),
    "huge whole": torch.tensor([123456789.0]),
    "scientific ties": torch.tensor([12344.5, 12345.5, 1.0]),
    "int64": torch.tensor([[1, -2], [300, 4]]),
    "int32": torch.tensor([1, 2, 3], dtype=torch.int32),
    "uint8": torch.tensor([[1], [255]], dtype=torch.uint8),
    "bool": torch.tensor([[True, False], [False, False]]),
    "float64": torch.tensor([0.1, 2.0], dtype=torch.float64),
    "float16": torch.tensor([0.1, 2.0], dtype=torch.float16),
    "bfloat16": torch.tensor([0.1, 2.0], dtype=torch.bfloat16),
    "matrix": g(3, 4),
    "cube": g(2, 2, 3),
    "four dimensions": g(2, 1, 2, 2),
    "long row": g(30),
    "long rows": g(2, 20),
    "summary": g(1001),
    "summary of a matrix": g(50, 40),
    "summary of a cube": g(2, 10, 100),
    "summary of a narrow matrix": g(400, 3),
    "summary of integers": torch.arange(2000).reshape(20, 100),
    "threshold": g(10, 100),
    "empty": torch.tensor([]),
    "empty matrix": torch.zeros(2, 0),
    "empty int64": torch.zeros(0, 3, dtype=torch.int64),
    "leaf": g(2, 2).requires_grad_(),
    "result": g(2, 2).requires_grad_().mean(),
    "long suffix": g(5, 7).double().requires_grad_().exp(),
}


def spell(v):
    return v if not isinstance(v, float) or (v == v and abs(v) != inf and str(v) != "-0.0") else str(v)


out = {}
for name, t in rows.items():
    source = t
    op = None
    if t.grad_fn is not None:
        op = "mean" if t.ndim == 0 else "exp"
        source = g(2, 2) if op == "mean" else g(5, 7).double()
    values = source.detach().double().reshape(-1).tolist() if t.is_floating_point() else source.reshape(-1).tolist()
    small = len(values) <= 100
    out[name] = {
        "dtype": str(source.dtype).replace("torch.", ""),
        "shape": list(source.shape),
        "values": [spell(v) for v in values] if small else ("arange" if "integers" in name else "g"),
        "requiresGrad": t.requires_grad,
        "op": op,
        "text": str(t),
    }
path = os.path.join(os.path.dirname(__file__), "../../test/figures/print.json")
json.dump(out, open(path, "w"), indent=1)
