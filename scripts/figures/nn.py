"""Layers of torch.nn with given parameters, in float64: outputs, gradients and running statistics, training and
evaluating. Writes test/figures/nn.json. Run by hand: python3 nn.py"""
import json
import pathlib

import torch

X = (2, 3, 5)  # N, C, L
I = (2, 4, 6, 5)  # N, C, H, W
CASES = [
    ("Linear", [5, 4], {}, [X]),
    ("Linear", [5, 4], {"bias": False}, [X]),
    ("Conv1d", [3, 4, 2], {"stride": 2, "padding": 1}, [X]),
    ("Conv1d", [3, 6, 3], {"padding": "same", "groups": 3, "padding_mode": "circular"}, [X]),
    ("Conv2d", [4, 6, 3], {"padding": [1, 0], "stride": [2, 1], "groups": 2}, [I]),
    ("Conv2d", [4, 2, [3, 2]], {"dilation": 2, "bias": False}, [I]),
    ("Conv2d", [4, 3, 3], {"padding": 1, "padding_mode": "reflect"}, [I]),
    ("ConvTranspose1d", [3, 2, 3], {"stride": 2, "padding": 1, "output_padding": 1}, [X]),
    ("ConvTranspose2d", [4, 4, 2], {"stride": 2, "groups": 2}, [I]),
    ("MaxPool1d", [2], {}, [X]),
    ("MaxPool2d", [2], {"stride": 1, "padding": 1}, [I]),
    ("AvgPool1d", [3], {"stride": 1}, [X]),
    ("AvgPool2d", [2], {"padding": 1, "count_include_pad": False}, [I]),
    ("AdaptiveAvgPool1d", [2], {}, [X]),
    ("AdaptiveAvgPool2d", [[3, 1]], {}, [I]),
    ("AdaptiveMaxPool1d", [2], {}, [X]),
    ("AdaptiveMaxPool2d", [2], {}, [I]),
    ("BatchNorm1d", [3], {}, [X]),
    ("BatchNorm1d", [5], {"momentum": 0.3, "eps": 1e-3}, [(6, 5)]),
    ("BatchNorm2d", [4], {}, [I]),
    ("BatchNorm2d", [4], {"affine": False}, [I]),
    ("BatchNorm2d", [4], {"track_running_stats": False}, [I]),
    ("InstanceNorm1d", [3], {}, [X]),
    ("InstanceNorm2d", [4], {"affine": True, "track_running_stats": True}, [I]),
    ("GroupNorm", [2, 4], {}, [I]),
    ("LayerNorm", [5], {}, [X]),
    ("LayerNorm", [[3, 5]], {"eps": 1e-3, "elementwise_affine": False}, [X]),
    ("Embedding", [7, 3], {"padding_idx": 2}, [("int", (2, 4), 7)]),
    ("RNN", [5, 4], {}, [X]),
    ("RNN", [5, 3], {"nonlinearity": "relu", "num_layers": 2, "batch_first": True, "bidirectional": True}, [X]),
    ("LSTM", [5, 4], {"bias": False}, [X]),
    ("LSTM", [5, 3], {"num_layers": 2, "batch_first": True, "bidirectional": True}, [X]),
    ("LSTM", [5, 3], {}, [(4, 5)]),
    ("GRU", [5, 4], {}, [X]),
    ("GRU", [5, 3], {"num_layers": 2, "bidirectional": True}, [X, (4, 3, 3)]),
    ("MultiheadAttention", [4, 2], {}, [(3, 2, 4), (5, 2, 4), (5, 2, 4)]),
    ("MultiheadAttention", [4, 2], {"batch_first": True, "kdim": 3, "vdim": 5}, [(2, 3, 4), (2, 6, 3), (2, 6, 5)]),
    ("MultiheadAttention", [4, 1], {"bias": False}, [(3, 4), (3, 4), (3, 4)]),
    ("TransformerEncoderLayer", [4, 2], {"dim_feedforward": 6, "dropout": 0}, [(3, 2, 4)]),
    (
        "TransformerEncoderLayer",
        [4, 2],
        {"dim_feedforward": 6, "dropout": 0, "activation": "gelu", "batch_first": True, "norm_first": True},
        [(2, 3, 4)],
    ),
    ("Flatten", [], {}, [I]),
    ("Flatten", [0, 1], {}, [X]),
    ("Unflatten", [1, [1, 3]], {}, [X]),
    ("ZeroPad2d", [[1, 2, 0, 1]], {}, [I]),
    ("L1Loss", [], {}, [X, X]),
    ("HuberLoss", [], {"delta": 0.5}, [X, X]),
    ("SmoothL1Loss", [], {"beta": 0.5, "reduction": "sum"}, [X, X]),
    ("NLLLoss", [], {}, [(4, 3), ("int", (4,), 3)]),
    ("CrossEntropyLoss", [], {"label_smoothing": 0.1}, [(4, 3), ("int", (4,), 3)]),
    ("MarginRankingLoss", [], {"margin": 0.2}, [(5,), (5,), ("sign", (5,))]),
    ("CosineEmbeddingLoss", [], {"margin": 0.1}, [(3, 4), (3, 4), ("sign", (3,))]),
    ("TripletMarginLoss", [], {}, [(3, 4), (3, 4), (3, 4)]),
    ("GaussianNLLLoss", [], {}, [(3, 4), (3, 4), ("positive", (3, 4))]),
    ("SoftMarginLoss", [], {}, [(5,), ("sign", (5,))]),
    ("HingeEmbeddingLoss", [], {}, [(5,), ("sign", (5,))]),
    ("PoissonNLLLoss", [], {}, [(5,), ("positive", (5,))]),
]


def rounded(t):
    return (t * 64).round() / 64  # exact in float32, short in JSON


def make_input(spec):
    if isinstance(spec[0], int):
        return rounded(torch.randn(spec, dtype=torch.float64)).requires_grad_()
    kind, shape, *more = spec
    if kind == "int":
        return torch.randint(0, more[0], shape)
    if kind == "sign":
        return torch.randint(0, 2, shape).double() * 2 - 1
    return rounded(torch.rand(shape, dtype=torch.float64)) + 0.5


def flat(out):
    """Tensors of a nested result, in order."""
    if isinstance(out, torch.Tensor):
        return [out]
    return [t for part in out for t in flat(part)]


def dump(t):
    values = t.detach().reshape(-1).tolist()
    return {"shape": list(t.shape), "values": [float(f"{v:.13g}") if t.is_floating_point() else v for v in values]}


def evaluate(name, args, kwargs, inputs):
    torch.manual_seed(7)
    fixed = {k: tuple(v) if isinstance(v, list) else v for k, v in kwargs.items()}
    layer = getattr(torch.nn, name)(*[tuple(a) if isinstance(a, list) else a for a in args], **fixed).double()
    with torch.no_grad():
        for key, p in layer.state_dict().items():
            if p.is_floating_point():
                p.copy_(rounded(torch.rand_like(p) + 0.5 if key.endswith("running_var") else torch.randn_like(p) / 2))
    state = {k: dump(v) for k, v in layer.state_dict().items()}
    xs = [make_input(spec) for spec in inputs]
    outs = flat(layer(*xs))
    total = 0
    for y in outs:
        if not y.requires_grad:
            continue
        k = torch.arange(y.numel(), dtype=torch.float64).reshape(y.shape)
        total = total + (y * (((k * 37) % 64 - 31.5) / 32)).sum()
    total.backward()
    figure = {
        "inputs": [dump(x) for x in xs],
        "state": state,
        "outputs": [dump(y) for y in outs],
        "grads": [None if x.grad is None else dump(x.grad) for x in xs],
        "paramGrads": {k: dump(p.grad) for k, p in layer.named_parameters()},
        "after": {k: dump(b) for k, b in layer.named_buffers()},
    }
    layer.eval()
    with torch.no_grad():
        figure["evaluated"] = [dump(y) for y in flat(layer(*xs))]
    return figure


figures = [{"name": n, "args": a, "options": k, **evaluate(n, a, k, i)} for n, a, k, i in CASES]
target = pathlib.Path(__file__).parents[2] / "test" / "figures" / "nn.json"
lines = ",\n".join(json.dumps(f, separators=(",", ":")) for f in figures)
target.write_text(f"[\n{lines}\n]\n")
