"""PyTorch: lines of JSON in, lines of JSON out (harness/process.mjs)."""
import json
import os
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

threads = int(os.environ.get("BENCH_THREADS", "1"))
torch.set_num_threads(threads)
torch.set_num_interop_threads(1)


def read(folder, names):
    kinds = {"f32": np.float32, "i32": np.int32}
    return {name: torch.from_numpy(np.fromfile(f"{folder}/{name}", dtype=kinds[kind])) for name, kind in names.items()}


class Variant:
    def __init__(self, one, output=None):
        self.one = one
        self.output = output or (lambda: one(0))

    def run(self, repeats):
        one = self.one
        started = time.perf_counter()
        for i in range(repeats):
            last = one(i)
        value = float(last.reshape(-1)[0]) if isinstance(last, torch.Tensor) else last
        ms = (time.perf_counter() - started) * 1000
        if value != value:
            raise ValueError("NaN")
        return ms


def matmul(spec, data):
    m, k, n, chain = (spec[x] for x in ("m", "k", "n", "chain"))
    left = data["a"].reshape(-1, m, k).unbind(0)
    links = data["b"].reshape(-1, k, n).unbind(0)
    if chain == 1:
        out = [torch.empty(m, n) for _ in left]
        return {
            "": Variant(lambda i: torch.mm(left[i % len(left)], links[0])),
            "out=": Variant(lambda i: torch.mm(left[i % len(left)], links[0], out=out[i % len(left)])),
        }
    halves = [torch.empty(m, n), torch.empty(m, n)]

    def chained(_):
        c = left[0]
        for i in range(chain):
            c = torch.mm(c, links[i % len(links)], out=halves[i & 1])
        return c

    return {"out=": Variant(chained)}


def unary(spec, data):
    x = data["x"]
    out = torch.empty_like(x)
    plain = {"relu": F.relu, "exp": torch.exp, "sigmoid": torch.sigmoid, "tanh": torch.tanh, "gelu": F.gelu}
    into = {
        "relu": lambda: torch.clamp_min(x, 0, out=out),
        "exp": lambda: torch.exp(x, out=out),
        "sigmoid": lambda: torch.sigmoid(x, out=out),
        "tanh": lambda: torch.tanh(x, out=out),
        "gelu": lambda: torch._C._nn.gelu(x, out=out),
    }
    fn, fill = plain[spec["fn"]], into[spec["fn"]]
    return {"": Variant(lambda i: fn(x)), "out=": Variant(lambda i: fill())}


def softmax(spec, data):
    x = data["x"].reshape(spec["rows"], spec["columns"])
    out = torch.empty_like(x)
    return {
        "": Variant(lambda i: torch.softmax(x, -1)),
        "out=": Variant(lambda i: torch.softmax(x, -1, out=out)),
    }


class Dense(torch.nn.Module):
    def __init__(self, sizes, data, first=0):
        super().__init__()
        self.layers = torch.nn.ModuleList(torch.nn.Linear(k, n) for k, n in zip(sizes, sizes[1:]))
        with torch.no_grad():
            for i, layer in enumerate(self.layers, first):
                layer.weight.copy_(data[f"w{i}"].reshape(layer.weight.shape))
                layer.bias.copy_(data[f"b{i}"])

    def forward(self, x):
        for i, layer in enumerate(self.layers):
            x = layer(F.relu(x) if i else x)
        return x


class LeNet(torch.nn.Module):
    def __init__(self, data):
        super().__init__()
        self.convolutions = torch.nn.ModuleList([torch.nn.Conv2d(1, 6, 5), torch.nn.Conv2d(6, 16, 5)])
        with torch.no_grad():
            for i, layer in enumerate(self.convolutions):
                layer.weight.copy_(data[f"w{i}"].reshape(layer.weight.shape))
                layer.bias.copy_(data[f"b{i}"])
        self.dense = Dense([256, 120, 84, 10], data, 2)

    def forward(self, x):
        for layer in self.convolutions:
            x = F.max_pool2d(F.relu(layer(x)), 2)
        return self.dense(x.reshape(-1, 256))


def training(spec, data, make, sample):
    x = data["x"].reshape(spec["batches"], spec["batch"], *sample).unbind(0)
    y = data["y"].long().reshape(spec["batches"], spec["batch"]).unbind(0)

    def variant(compiled=False, **options):
        net = make()
        if compiled:
            net = torch.compile(net)
            # It compiles when it runs first; that is no step.
            F.cross_entropy(net(x[0]), y[0]).backward()
        adam = torch.optim.Adam(net.parameters(), lr=1e-3, **options)
        at = 0

        def step(_=0):
            nonlocal at
            adam.zero_grad(set_to_none=True)
            loss = F.cross_entropy(net(x[at]), y[at])
            loss.backward()
            adam.step()
            at = (at + 1) % len(x)
            return loss.item()

        def output():
            started, losses = time.perf_counter(), []
            while len(losses) < 2 or (len(losses) < 4 and time.perf_counter() - started < 2):
                losses.append(step())
            return torch.tensor(losses)

        return Variant(step, output)

    variants = {"": variant()}
    for name in ("foreach", "fused"):
        try:
            variants[f"{name} Adam"] = variant(**{name: True})
        except Exception:
            pass  # this version has none on the CPU
    if hasattr(torch, "compile"):
        attempt(variants, "compiled, fused Adam", lambda: variant(compiled=True, fused=True))
    return variants


def attempt(variants, name, make):
    """Adds a variant, or remembers why it cannot be had."""
    try:
        variants[name] = make()
    except Exception as error:
        lacking[name] = f"{type(error).__name__}: {error}".splitlines()[0]


def inference(spec, data):
    x = data["x"].reshape(spec["batches"], spec["batch"], spec["sizes"][0]).unbind(0)
    net = Dense(spec["sizes"], data).eval()
    for p in net.parameters():
        p.requires_grad_(False)
    jit = torch.jit.freeze(torch.jit.trace(net, x[0], check_trace=False))
    for i in range(4):  # it optimises itself while it runs first
        jit(x[i % len(x)])

    def reading(f):
        return Variant(lambda i: f(x[i % len(x)]).numpy()[0, 0], lambda: f(x[0]))

    variants = {"": reading(net), "jit": reading(jit)}

    def compiled():
        fast = torch.compile(net)
        fast(x[0])
        return reading(fast)

    if hasattr(torch, "compile"):
        attempt(variants, "compiled", compiled)
    return variants


def addition(spec, data):
    x, y = data["x"].clone(), data["y"].clone()
    x.requires_grad_(spec["grad"])
    return {"": Variant(lambda i: x + y)}


kinds = {
    "matmul": matmul,
    "unary": unary,
    "softmax": softmax,
    "mlp": lambda spec, data: training(spec, data, lambda: Dense(spec["sizes"], data), spec["sizes"][:1]),
    "cnn": lambda spec, data: training(spec, data, lambda: LeNet(data), [1, 28, 28]),
    "inference": inference,
    "add": addition,
}
variants = {}
lacking = {}  # variant → why this row has none


def hello(_):
    return {"version": torch.__version__, "note": "Python " + sys.version.split()[0]}


def prepare(request):
    global variants
    variants = {}
    lacking.clear()
    variants = kinds[request["spec"]["kind"]](request["spec"], read(request["folder"], request["names"]))
    return {"variants": list(variants), "lacking": lacking}


def output(request):
    started = time.perf_counter()
    result = variants[request["variant"]].output()
    ms = (time.perf_counter() - started) * 1000
    result.detach().numpy().astype(np.float32).tofile(request["file"])
    return {"ms": ms, "length": result.numel()}


def run(request):
    return {"ms": variants[request["variant"]].run(request["repeats"])}


def release(_):
    global variants
    variants = {}
    return {}


does = {"hello": hello, "prepare": prepare, "output": output, "run": run, "release": release}
for line in sys.stdin:
    request = json.loads(line)
    try:
        answer = does[request["do"]](request)
    except Exception as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps({"id": request["id"], **answer}), flush=True)
