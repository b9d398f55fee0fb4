"""Writes test/figures/kernels.json: small inputs of every kernel of docs/kernels.md with PyTorch's results (made with 1.13)."""
import json
import math
import os

import torch
import torch.nn.functional as F

torch.manual_seed(7)
NAN, INF = float("nan"), float("inf")
NAMES = {torch.float32: "float32", torch.float64: "float64", torch.float16: "float16", torch.bfloat16: "bfloat16",
         torch.int32: "int32", torch.int64: "int64", torch.uint8: "uint8", torch.bool: "bool"}
cases = []


def number(v):
    if isinstance(v, bool):
        return int(v)
    if isinstance(v, int):
        return v if abs(v) < 2**53 else str(v)
    return v if math.isfinite(v) else str(v)


def tensor(t):
    bits = t
    if t.dtype in (torch.float16, torch.bfloat16):
        bits = t.contiguous().view(torch.int16).to(torch.int32) & 0xFFFF
    # 9 digits name a float32
    digits = (lambda v: float("%.9g" % v) if t.dtype == torch.float32 and isinstance(v, float) else v)
    return {"dtype": NAMES[t.dtype], "shape": list(t.shape), "values": [number(digits(v)) for v in bits.flatten().tolist()]}


def case(op, out, inputs, attr=(), fn=None, start=None, tolerance=None):
    """`start` holds what outputs contain before (in-place kernels)."""
    row = {"op": op, "attr": list(attr), "out": [tensor(t) for t in out], "in": [tensor(t) for t in inputs]}
    if fn:
        row["fn"] = fn
    if start is not None:
        row["start"] = tensor(start)
    if tolerance:
        row["tolerance"] = tolerance
    cases.append(row)


FLOATS = [torch.float32, torch.float64]
HALVES = [torch.float16, torch.bfloat16]
INTS = [torch.int32, torch.int64, torch.uint8]


def randn(*shape, dtype=torch.float32):
    return torch.randn(*shape, dtype=torch.float64).to(dtype)


def ints(*shape, dtype=torch.int64, low=-9, high=10):
    return torch.randint(0 if dtype == torch.uint8 else low, high, shape).to(dtype)


def values(dtype, few):
    if dtype.is_floating_point:
        more = [88.0, -88.0, 1e-5, 1e10, -1e10, 0.999, 0.3, 26.0, 5.5, -1.5, 4.0]
        return torch.tensor([0.0, -0.0, 0.5, -1.0, 2.5, -3.7, INF, -INF, NAN] + ([] if few else more), dtype=dtype)
    if dtype == torch.bool:
        return torch.tensor([True, False])
    if dtype == torch.uint8:
        return torch.tensor([0, 1, 2, 3, 7, 200, 255], dtype=dtype)
    i = torch.iinfo(dtype)
    return torch.tensor([0, 1, -1, 2, -3, 7, 31, i.max, i.min], dtype=dtype)


def elementwise():
    torch_name = {"bitwiseNot": "bitwise_not", "logicalNot": "logical_not", "floorDivide": "floor_divide", "isNan": "isnan",
                  "isInf": "isinf", "isFinite": "isfinite", "logicalAnd": "logical_and", "logicalOr": "logical_or",
                  "logicalXor": "logical_xor", "bitwiseAnd": "bitwise_and", "bitwiseOr": "bitwise_or",
                  "bitwiseXor": "bitwise_xor", "leftShift": "bitwise_left_shift", "rightShift": "bitwise_right_shift"}
    unary = ("neg abs sign square sqrt rsqrt reciprocal exp exp2 expm1 log log2 log10 log1p sin cos tan asin acos atan "
             "sinh cosh tanh asinh acosh atanh erf erfc floor ceil round trunc sigmoid relu bitwiseNot logicalNot isNan "
             "isInf isFinite").split()
    binary = ("add sub mul div pow maximum minimum atan2 fmod remainder floorDivide truncDivide bitwiseAnd bitwiseOr "
              "bitwiseXor leftShift rightShift copysign eq ne lt le gt ge logicalAnd logicalOr logicalXor").split()
    divisions = ("fmod", "remainder", "floorDivide", "truncDivide")
    for dtype in FLOATS + INTS + [torch.bool]:
        v = values(dtype, False)
        for name in unary:
            try:
                y = getattr(torch, torch_name.get(name, name))(v)
            except RuntimeError:
                continue
            if y.dtype in (dtype, torch.bool):
                case("elementwise", [y], [v], fn=name)
        v = values(dtype, True)
        a, b = v.repeat_interleave(len(v)), v.repeat(len(v))
        for name in binary:
            x, z = a, b
            if not dtype.is_floating_point and name in divisions:  # where C++ traps
                keep = (z != 0) & ~((z == -1) & (x < -2))
                x, z = x[keep], z[keep]
            if name.endswith("Shift"):
                if dtype not in INTS:
                    continue
                keep = (z >= 0) & (z.to(torch.int64) < torch.iinfo(dtype).bits)
                x, z = x[keep], z[keep]
            try:
                f = (lambda p, q: torch.div(p, q, rounding_mode="trunc")) if name == "truncDivide" else getattr(
                    torch, torch_name.get(name, name))
                y = f(x, z)
            except RuntimeError:
                continue
            if y.dtype in (dtype, torch.bool) and len(x):
                case("elementwise", [y], [x, z], fn=name)
        if dtype != torch.bool:
            low, high = v[2], v[3]
            case("elementwise", [torch.maximum(torch.minimum(v, high.expand_as(v)), low.expand_as(v))
                                 if low <= high else torch.minimum(torch.maximum(v, low.expand_as(v)), high.expand_as(v))],
                 [v, low, high], fn="clamp")
        case("elementwise", [torch.where(v != 0, v, v.flip(0))], [v != 0, v, v.flip(0)], fn="where")
        for to in FLOATS + HALVES + INTS + [torch.bool]:
            w = values(dtype, False)
            if dtype.is_floating_point and to in INTS:
                w = w[w.abs() < 1e9]
            case("elementwise", [w.to(to)], [w], fn="copy")
    for dtype in HALVES:
        v = torch.tensor([0, -0.0, 1, -1.5, 65504, 6e-8, 3e-5, 1 / 3, INF, -INF, NAN]).to(dtype)
        for to in FLOATS + HALVES + INTS[:2] + [torch.bool]:
            w = v[torch.isfinite(v)] if to in INTS else v
            case("elementwise", [w.to(to)], [w], fn="copy")


def reductions():
    for dtype in FLOATS + HALVES:
        x = randn(2, 3, 5, dtype=dtype)
        wide = x.double()
        for name in ("sum", "mean"):
            for r, dims in ((1, (2,)), (2, (1, 2)), (3, (0, 1, 2))):
                case(name, [getattr(torch, name)(wide, dims).to(dtype)], [x], [r])
        case("prod", [wide.prod(2).to(dtype)], [x], [1])
        for name in ("max", "min"):
            case(name, [getattr(torch, "a" + name)(x, 2)], [x], [1])
            case("arg" + name, [getattr(torch, "arg" + name)(x, 2)], [x], [1])
    x = torch.tensor([[1, NAN, 3, NAN], [5, 2, 5, -INF], [-INF, -INF, -INF, -INF]])
    for name in ("sum", "max", "min", "argmax", "argmin"):
        y = getattr(torch, {"max": "amax", "min": "amin"}.get(name, name))(x, 1)
        case(name, [y], [x], [1])
    big = torch.tensor([2**62, 2**62, 2**62, 5, -(2**63)])
    case("sum", [big.sum()], [big], [1])
    case("prod", [big.prod()], [big], [1])
    case("argmax", [torch.tensor([2**53 + 1, 2**53, 2**53 + 2]).argmax()], [torch.tensor([2**53 + 1, 2**53, 2**53 + 2])], [1])
    for dtype in INTS + [torch.bool]:
        x = ints(3, 4, dtype=dtype, low=-2, high=3) if dtype != torch.bool else ints(3, 4) > 3
        for name in ("sum", "prod"):
            case(name, [getattr(torch, name)(x, 1)], [x], [1])
        for name in ("any", "all"):
            case(name, [getattr(torch, name)(x, 1).bool()], [x], [1])
        if dtype != torch.bool:
            for name in ("max", "min"):
                case(name, [getattr(torch, "a" + name)(x, 1)], [x], [1])
    e = torch.zeros(2, 0)
    for name in ("sum", "prod", "mean", "any", "all"):
        case(name, [getattr(e, name)(1)], [e], [1])
    for dtype in FLOATS:
        x = randn(2, 6, dtype=dtype)
        case("cumsum", [x.double().cumsum(1).to(dtype)], [x])
        case("cumprod", [x.double().cumprod(1).to(dtype)], [x])
    for dtype in INTS:
        x = ints(2, 6, dtype=dtype)
        case("cumsum", [x.cumsum(1)], [x])
        case("cumprod", [x.cumprod(1)], [x])
    lists = [torch.tensor([[3.0, NAN, -1, 3, 0, -0.0, INF], [1, 1, 1, 1, 1, 1, 1]]), ints(3, 9, low=-3, high=3),
             ints(2, 9, dtype=torch.uint8), torch.tensor([2**53 + 1, 2**53, -5, 2**53 + 2]), torch.zeros(2, 0), randn(1, 40)]
    for x in lists:
        for descending in (0, 1):
            case("sort", x.sort(dim=-1, descending=bool(descending), stable=True), [x], [descending])


def products():
    for B, M, K, N in ((1, 1, 1, 1), (2, 3, 4, 5), (1, 9, 17, 13), (3, 1, 8, 3), (1, 5, 7, 1), (1, 2, 3, 9), (1, 6, 0, 2)):
        for dtype in FLOATS + HALVES:
            a, b = randn(B, M, K, dtype=dtype), randn(B, K, N, dtype=dtype)
            case("matmul", [torch.matmul(a.double(), b.double()).to(dtype)], [a, b])
    for dtype in INTS:
        high = 200 if dtype == torch.uint8 else 2**20
        a, b = ints(2, 3, 5, dtype=dtype, high=high), ints(2, 5, 4, dtype=dtype, high=high)
        case("matmul", [torch.matmul(a.to(torch.int64), b.to(torch.int64)).to(dtype)], [a, b])
    for dtype in FLOATS + HALVES:
        x, dy = randn(3, 7, dtype=dtype), randn(3, 7, dtype=dtype)
        X, DY = x.double(), dy.double()
        y = X.softmax(1).to(dtype)
        z = X.log_softmax(1).to(dtype)
        case("softmax", [y], [x])
        case("logSoftmax", [z], [x])
        case("softmaxGrad", [(y.double() * (DY - (y.double() * DY).sum(1, True))).to(dtype)], [dy, y])
        case("logSoftmaxGrad", [(DY - z.double().exp() * DY.sum(1, True)).to(dtype)], [dy, z])
        mean, var = X.mean(1), X.var(1, unbiased=False)
        rstd = 1 / (var + 1e-5).sqrt()
        xhat = (X - mean[:, None]) * rstd[:, None]
        eps = torch.tensor(1e-5, dtype=torch.float64)
        case("normalize", [xhat.to(dtype)[None], mean.to(dtype), rstd.to(dtype)], [x[None], eps])
        h, s = xhat.to(dtype).double(), rstd.to(dtype).double()
        dx = s[:, None] * (DY - DY.mean(1, True) - h * (DY * h).mean(1, True))
        case("normalizeGrad", [dx.to(dtype)[None]], [dy[None], xhat.to(dtype)[None], rstd.to(dtype)])
    for row in ([1000.0, 1000, -INF], [-INF, -INF, -INF], [INF, 1, 2], [NAN, 1, 2], [0, -1000, -2000]):
        x = torch.tensor([row], dtype=torch.float32)
        case("softmax", [x.softmax(1)], [x])
        case("logSoftmax", [x.log_softmax(1)], [x])


def indexing():
    for dtype in FLOATS + HALVES + INTS + [torch.bool]:
        make = (lambda *s: randn(*s, dtype=dtype)) if dtype.is_floating_point else (
            lambda *s: (ints(*s) > 0) if dtype == torch.bool else ints(*s, dtype=dtype))
        x = make(3, 4, 2)
        for dim in (0, 1, 2):
            index = torch.randint(0, x.shape[dim], (2, 3, 2))
            case("gather", [x.gather(dim, index)], [x, index], [dim])
            src = make(2, 3, 2)
            unique = torch.zeros(2, 3, 2, dtype=torch.int64) + torch.arange(index.shape[dim]).view(
                [-1 if d == dim else 1 for d in range(3)]) % x.shape[dim]
            case("scatter", [x.scatter(dim, unique, src)], [unique.to(torch.int32), src], [dim, 0], start=x)
            if dtype not in HALVES:
                y = x.scatter_add(dim, index, src) if dtype != torch.bool else (
                    x.int().scatter_add(dim, index, src.int()).bool())
                case("scatter", [y], [index, src], [dim, 1], start=x)
            rows = torch.tensor([1, 0, -1, 1, -2])
            place = rows % x.shape[dim]
            case("indexSelect", [x.index_select(dim, place)], [x, rows], [dim])
            if dtype not in HALVES:
                src = make(*[5 if d == dim else s for d, s in enumerate(x.shape)])
                y = x.index_add(dim, place, src) if dtype != torch.bool else (
                    x.int().index_add(dim, place, src.int()).bool())
                case("indexAdd", [y], [rows.to(torch.int32), src], [dim], start=x)
    case("indexSelect", [torch.zeros(0, 4)], [randn(3, 4), torch.zeros(0, dtype=torch.int64)], [0])


def images():
    shapes = [  # N, C, H, W, O, R, S, stride, pad, dilation, groups
        (2, 3, 5, 6, 4, 3, 3, (1, 1), (0, 0), (1, 1), 1),
        (1, 4, 7, 5, 6, 3, 2, (2, 1), (1, 2), (1, 1), 2),
        (2, 4, 8, 7, 4, 2, 3, (1, 2), (2, 1), (2, 2), 4),
        (1, 2, 4, 4, 3, 1, 1, (1, 1), (0, 0), (1, 1), 1),
        (1, 1, 3, 3, 2, 5, 5, (1, 1), (3, 3), (1, 1), 1),
        (0, 2, 4, 4, 2, 3, 3, (1, 1), (0, 0), (1, 1), 1),
    ]
    for N, C, H, W, O, R, S, stride, pad, dilation, groups in shapes:
        for dtype in FLOATS + HALVES[:1]:
            x = randn(N, C, H, W, dtype=dtype)
            w = randn(O, C // groups, R, S, dtype=dtype)
            X, Wt = (t.double().clone().requires_grad_() for t in (x, w))
            attr = [*stride, *pad, *dilation, groups]
            if N == 0:
                y = torch.zeros(0, O, H - R + 1, W - S + 1, dtype=dtype)
                case("conv2d", [y], [x, w], attr)
                case("conv2dWeightGrad", [torch.zeros_like(w)], [x, y], attr)
                continue
            y = F.conv2d(X, Wt, None, stride, pad, dilation, groups)
            dy = torch.randn_like(y).to(dtype)
            y.backward(dy.double())
            case("conv2d", [y.detach().to(dtype)], [x, w], attr)
            case("conv2dInputGrad", [X.grad.to(dtype)], [dy, w], attr)
            case("conv2dWeightGrad", [Wt.grad.to(dtype)], [x, dy], attr)
    pools = [  # H, W, kernel, stride, pad, dilation, ceil
        (6, 5, (2, 2), (2, 2), (0, 0), (1, 1), False),
        (7, 6, (3, 2), (2, 1), (1, 1), (1, 1), True),
        (8, 8, (3, 3), (3, 2), (1, 0), (2, 1), True),
        (5, 5, (5, 5), (1, 1), (0, 0), (1, 1), False),
    ]
    for H, W, kernel, stride, pad, dilation, ceil in pools:
        for dtype in FLOATS + HALVES[:1]:
            x = randn(2, 3, H, W, dtype=dtype)
            y, index = F.max_pool2d(x.double(), kernel, stride, pad, dilation, ceil, True)
            case("maxPool2d", [y.to(dtype), index], [x], [*kernel, *stride, *pad, *dilation])
            for count in (0, 1):
                X = x.double().clone().requires_grad_()
                y = F.avg_pool2d(X, kernel, stride, pad, ceil, bool(count))
                dy = torch.randn_like(y).to(dtype)
                y.backward(dy.double())
                attr = [*kernel, *stride, *pad, count]
                case("avgPool2d", [y.detach().to(dtype)], [x], attr)
                case("avgPool2dGrad", [X.grad.to(dtype)], [dy], attr)
    x = torch.tensor([[[[1, NAN, 3], [4, 4, 4], [-INF, -INF, -INF]]]])
    y, index = F.max_pool2d(x, (2, 2), (1, 1), 0, 1, False, True)
    case("maxPool2d", [y, index], [x], [2, 2, 1, 1, 0, 0, 1, 1])


for make in (elementwise, reductions, products, indexing, images):
    make()
path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "test", "figures", "kernels.json")
with open(path, "w") as f:
    f.write("[\n" + ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases) + "\n]\n")
print(len(cases), "cases")
