"""NumPy's own files, and one in the IDX format: writes test/figures/arrays/. Run by hand: python3 arrays.py (made with
NumPy 1.24). What each file should give is in arrays.json: dtype, shape and values as texts."""
import gzip
import json
import pathlib
import struct

import numpy as np

folder = pathlib.Path(__file__).resolve().parents[2] / "test/figures/arrays"
folder.mkdir(exist_ok=True)
NAMES = {"int8": "int32", "int16": "int32", "uint16": "int32", "uint32": "int64", "uint64": "int64"}
expected = {}


def note(name, a, dtype=None):
    name_of = dtype or NAMES.get(a.dtype.name, a.dtype.name)
    values = a.astype("float64") if a.dtype.kind == "f" else a.astype(object)
    expected[name] = [name_of, list(a.shape), [str(int(v)) if a.dtype.kind in "iub" else repr(float(v)) for v in values.flatten().tolist()]]


def save(name, a, version=None, dtype=None):
    with open(folder / f"{name}.npy", "wb") as f:
        np.lib.format.write_array(f, a, version=version)
    note(name, a, dtype)


ramp = np.array([[0, 1, 2], [3, 100, 127]])
for kind in ["f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1"]:
    save(kind, ramp.astype(f"<{kind}") / (1 if kind[0] in "iu" else np.array(8).astype(f"<{kind}")))
    if kind[1] != "1":
        save(f"big-{kind}", (ramp * (1 if kind[0] in "iu" else 0.375)).astype(f">{kind}"))
save("bool", ramp % 2 == 0)
save("scalar", np.float64(2.5))
save("empty", np.zeros((0, 3), "f4"))
save("vector", np.array([1.5, -0.0, np.inf, 1e300]))
save("extremes", np.array([-(2**63), 2**63 - 1], "i8"))
save("fortran", np.asfortranarray(np.arange(24).reshape(2, 3, 4).astype("i4")))
save("version2", ramp.astype("f4"), (2, 0))
save("version3", ramp.astype("f4"), (3, 0))
bf = (np.array([1.5, -2.0], "f4").view("u4") >> 16).astype("u2")
with open(folder / "bfloat16.npy", "wb") as f:
    np.lib.format.write_array(f, bf.view("V2"))
expected["bfloat16"] = ["bfloat16", [2], ["1.5", "-2.0"]]

named = {"x": ramp.astype("f4"), "a/b": np.arange(300) // 50, "fortran": np.asfortranarray(ramp)}
np.savez(folder / "stored.npz", **named)
np.savez_compressed(folder / "deflated.npz", **named)
for name, a in named.items():
    note(f"npz {name}", a)

# Which must be refused.
np.save(folder / "refused-objects.npy", np.array([{"a": 1}, None], dtype=object), allow_pickle=True)
np.save(folder / "refused-records.npy", np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f4")]))
np.save(folder / "refused-complex.npy", np.array([1 + 2j]))
np.save(folder / "refused-texts.npy", np.array(["red", "green"]))
np.save(folder / "refused-range.npy", np.array([2**64 - 1], "u8"))

idx = np.arange(-6, 6).reshape(3, 2, 2)
with gzip.GzipFile(folder / "images.idx.gz", "wb", mtime=0) as f:
    f.write(struct.pack(">HBB3I", 0, 0x0B, 3, *idx.shape) + idx.astype(">i2").tobytes())
note("images.idx.gz", idx.astype("i2"))
(folder / "arrays.json").write_text(json.dumps(expected) + "\n")
