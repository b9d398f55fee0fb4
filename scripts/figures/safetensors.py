"""A safetensors file written by the format's description alone, from PyTorch's bytes: test/figures/reference.safetensors.
With a path as argument, reads that file in the same way and prints its tensors. Run by hand: python3 safetensors.py"""
import json
import pathlib
import struct
import sys

import torch

CODES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.int64: "I64", torch.int32: "I32", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip


def raw(t):
    return bytes(t.contiguous().view(-1).view(torch.uint8).tolist() if t.dtype != torch.bool else t.view(-1).byte().tolist())


if len(sys.argv) > 1:
    data = pathlib.Path(sys.argv[1]).read_bytes()
    (n,) = struct.unpack("<Q", data[:8])
    for name, entry in sorted(json.loads(data[8 : 8 + n]).items()):
        if name == "__metadata__":
            print(name, entry)
            continue
        begin, end = entry["data_offsets"]
        dtype = {v: k for k, v in CODES.items()}[entry["dtype"]]
        t = torch.frombuffer(bytearray(data[8 + n + begin : 8 + n + end]), dtype=dtype).reshape(entry["shape"])
        print(name, t.dtype, t.tolist())
else:
    tensors = {
        "layer.weight": torch.tensor([[1.5, -2.25, 3e-7], [0.1, float("inf"), -0.0]]),
        "double": torch.tensor([1 / 3, 1e300], dtype=torch.float64),
        "half": torch.tensor([1.5, -65504.0, 6e-8]).half(),
        "bf": torch.tensor([1.5, -3.0e38]).bfloat16(),
        "labels": torch.tensor([-1, 2**40]),
        "ints": torch.tensor([[-7], [8]], dtype=torch.int32),
        "bytes": torch.tensor([0, 255], dtype=torch.uint8),
        "mask": torch.tensor([True, False, True]),
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
    }
    header, body = {"__metadata__": {"format": "pt"}}, b""
    for name, t in tensors.items():
        data = raw(t) if t.numel() else b""
        header[name] = {"dtype": CODES[t.dtype], "shape": list(t.shape), "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    target = pathlib.Path(__file__).parents[2] / "test" / "figures" / "reference.safetensors"
    target.write_bytes(struct.pack("<Q", len(text)) + text + body)
