// What bad input gets: a typed error that names the operation, the values at hand and the remedy, and nothing broken.
import { expect, test } from "vitest";
import { getDevice } from "../lib/device/registry.js";
import {
  add,
  arange,
  CaptureError,
  cat,
  compile,
  DeviceError,
  DisposedError,
  DTypeError,
  IndexError,
  manualSeed,
  matmul,
  mean,
  NablaError,
  nn,
  noGrad,
  optim,
  ProgramError,
  ShapeError,
  setDefaultDevice,
  setNumThreads,
  sum,
  type Tensor,
  tensor,
  ValueError,
  zeros,
} from "../lib/index.js";
import { onEveryDevice } from "./devices.js";

onEveryDevice("bad input", (device) => {
  const t = (v: number[] | number[][], dtype?: "int64" | "float32" | "bool") => tensor(v, { device, dtype });
  const matrix = () => zeros([2, 3], { device });

  // biome-ignore lint/suspicious/noExplicitAny: wrong arguments are the point
  const wrong = (x: any) => x;

  const rows: [string, new (m: string) => Error, RegExp, () => unknown][] = [
    [
      "shapes of a product",
      ShapeError,
      /matmul: shapes \[2, 3\] and \[4, 5\] do not match: the last dimension of the first \(3\) must equal the second-to-last dimension of the second \(4\)/,
      () => matmul(matrix(), zeros([4, 5], { device })),
    ],
    ["shapes that do not broadcast", ShapeError, /add: shapes \[2, 3\] and \[2\]/, () => add(matrix(), t([1, 2]))],
    ["a ragged array", ShapeError, /ragged array: data\[1\] has 1 elements.*2/s, () => t([[1, 2], [3]])],
    [
      "an array too deep at one place",
      ShapeError,
      /ragged.*data\[0\]\[1\]/s,
      () =>
        t(
          wrong([
            [1, [2]],
            [3, 4],
          ]),
        ),
    ],
    ["a string among numbers", DTypeError, /data\[1\] is the string "2"/, () => t(wrong([1, "2"]))],
    ["values for another shape", ShapeError, /3 values.*\[2, 2\]/, () => tensor([1, 2, 3], { shape: [2, 2], device })],
    ["a negative size", ShapeError, /\[2, -1\] is not a shape/, () => zeros([2, -1], { device })],
    ["a fractional size", ShapeError, /2\.5/, () => zeros([2.5], { device })],
    ["too many elements", ShapeError, /at most 2147483647/, () => zeros([2 ** 16, 2 ** 16], { device })],
    [
      "too many dimensions",
      ShapeError,
      /9 dimensions; at most 8/,
      () => zeros([1, 1, 1, 1, 1, 1, 1, 1, 1], { device }),
    ],
    [
      "an unknown dtype",
      DTypeError,
      /unknown dtype float.*float32/,
      () => zeros([1], { dtype: wrong("float"), device }),
    ],
    [
      "a value out of a dtype's range",
      DTypeError,
      /300 at position 0 is out of the range of uint8/,
      () => tensor([300], { dtype: "uint8", device }),
    ],
    [
      "NaN for an integer",
      DTypeError,
      /NaN at position 0 cannot be int32/,
      () => tensor([Number.NaN], { dtype: "int32", device }),
    ],
    ["an unknown device", DeviceError, /tpu.*"cpu", "js"/, () => zeros([1], { device: "tpu" })],
    ["no CUDA", DeviceError, /cuda/, () => zeros([1], { device: "cuda" })],
    ["an axis out of range", IndexError, /dimension 2 is out of range.*-2 to 1/, () => sum(matrix(), 2)],
    ["an axis twice", IndexError, /twice/, () => sum(matrix(), [0, -2])],
    [
      "a reshape that does not fit",
      ShapeError,
      /\[2, 3\] has 6 elements and cannot become \[4\]/,
      () => matrix().reshape([4]),
    ],
    ["mean of integers", DTypeError, /mean: a floating point tensor is needed, got int64/, () => mean(t([1], "int64"))],
    ["bits of floats", DTypeError, /bitwiseAnd/, () => t([1]).bitwiseAnd(1)],
    [
      "no tensor at all",
      ValueError,
      /add: a tensor or a number is needed, got the string "x"/,
      () => add(matrix(), wrong("x")),
    ],
    [
      "a plain object from another worker",
      ValueError,
      /sum: a tensor is needed.*another worker/s,
      () => sum(wrong({ ...matrix() })),
    ],
    ["item of many", ShapeError, /item: .*\[2, 3\] has 6 elements/, () => matrix().item()],
    ["a tensor as a number", ValueError, /item\(\)/, () => Number(matrix())],
    ["cat of unequal shapes", ShapeError, /cat/, () => cat([matrix(), zeros([2, 4], { device })], 0)],
    ["a write of another shape", ShapeError, /add_.*\[2, 3\].*\[3\]/, () => zeros([3], { device }).add_(matrix())],
    ["a float written into integers", DTypeError, /add_.*float32.*int64/, () => t([1], "int64").add_(1.5)],
    ["a write into an expanded tensor", ValueError, /clone\(\)/, () => zeros([1], { device }).expand([3]).add_(1)],
    [
      "a NaN learning rate",
      ValueError,
      /SGD: lr must be a finite number at least 0, got NaN/,
      () => new optim.SGD([zeros([1], { device, requiresGrad: true })], { lr: Number.NaN }),
    ],
    [
      "a negative learning rate",
      ValueError,
      /lr.*-1/,
      () => new optim.Adam([zeros([1], { device, requiresGrad: true })], { lr: -1 }),
    ],
    [
      "a beta of 1",
      ValueError,
      /betas\[1\].*\[0, 1\)/,
      () => new optim.Adam([zeros([1], { device, requiresGrad: true })], { betas: [0.9, 1] }),
    ],
    ["no parameters", ValueError, /model\.parameters\(\)/, () => new optim.SGD([], { lr: 1 })],
    ["a layer of size 0", ValueError, /Linear: sizes/, () => new nn.Linear(0, 1)],
    ["a dropout of 2", ValueError, /probability/, () => new nn.Dropout(2)],
    ["a layer that is none", ValueError, /layer 0 is not a Module/, () => new nn.Sequential([wrong(Math.max)])],
    ["a step of 0", ValueError, /arange/, () => arange(0, 1, 0)],
    ["a seed that is none", ValueError, /manualSeed/, () => manualSeed(wrong("x"))],
    ["no threads", ValueError, /setNumThreads/, () => setNumThreads(0)],
    ["an unknown default device", DeviceError, /gpu/, () => setDefaultDevice("gpu")],
    [
      "another shape in a linear layer",
      ShapeError,
      /linear: input \[2, 3\] and weight \[1, 4\]/,
      () => new nn.Linear(4, 1, { device }).forward(matrix()),
    ],
  ];

  test.each(rows)("%s", (_, kind, message, run) => {
    const intact = t([1, 2]);
    expect(run).toThrow(kind);
    expect(run).toThrow(message);
    expect(run).toThrow(NablaError);
    expect(intact.toArray()).toEqual([1, 2]);
  });

  test("a learning rate that becomes NaN is caught at the next step", () => {
    const p = zeros([1], { device, requiresGrad: true });
    const optimizer = new optim.SGD([p], { lr: 0.1 });
    optimizer.paramGroups[0].lr = Number.NaN;
    sum(p).backward();
    expect(() => optimizer.step()).toThrow(/lr.*NaN/);
    expect(p.toArray()).toEqual([0]);
  });

  test("a disposed tensor", () => {
    const x = matrix();
    x.dispose();
    for (const use of [
      () => add(x, 1),
      () => x.toArray(),
      () => x.reshape([6]),
      () => x.sum(),
      () => x.add_(1),
      () => x.backward(),
    ]) {
      expect(use).toThrow(DisposedError);
      expect(use).toThrow(/\[2, 3\] was disposed/);
    }
  });

  test("state of another model", () => {
    const model = new nn.Linear(2, 2, { device });
    expect(() => model.loadStateDict({ weight: matrix() })).toThrow(/missing: bias/);
    expect(() => model.loadStateDict({ weight: matrix(), bias: zeros([2], { device }) })).toThrow(
      /weight has shape \[2, 2\] here and \[2, 3\]/,
    );
  });

  test("reading inside a captured function", () => {
    for (const read of ["item", "toArray", "dataSync"] as const) {
      expect(() => compile((x: Tensor) => sum(x)[read]())(matrix())).toThrow(CaptureError);
    }
    expect(add(matrix(), 1).sum().item()).toBe(6);
  });

  test("a program with corrupted words", () => {
    const target = getDevice(device);
    expect(() => target.load(Int32Array.of(1, 2, 3))).toThrow(ProgramError);
    const f = compile((x: Tensor) => matmul(x, x).tanh());
    const x = tensor(
      [
        [1, 2],
        [3, 4],
      ],
      { device },
    );
    const before = f(x).toArray();
    expect(f.programs).toHaveLength(1);
    expect(f(x).toArray()).toEqual(before);
  });

  test("an index value out of range spares everything else", () => {
    const x = t([1, 2, 3]);
    const bad = x.indexSelect(0, t([5], "int64"));
    expect(() => bad.toArray()).toThrow(IndexError);
    expect(() => bad.toArray()).toThrow(/5 is out of range/);
    expect(noGrad(() => x.add_(1)).toArray()).toEqual([2, 3, 4]);
  });
});

test("tensors on different devices", () => {
  const other = getDevice("js").name;
  const devices = ["cpu", "js"].filter((d) => {
    try {
      getDevice(d);
      return true;
    } catch {
      return false;
    }
  });
  if (devices.length < 2) return expect(other).toBe("js"); // one device: nothing to mix
  expect(() => add(zeros([1], { device: "cpu" }), zeros([1], { device: "js" }))).toThrow(
    /add: .*cpu and js.*\.to\("cpu"\)/,
  );
});
