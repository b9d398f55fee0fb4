// Views and indexing beyond their rows: what shares memory, iteration, writes through views, and bad input.
import { beforeEach, describe, expect, test } from "vitest";
import {
  arange,
  asStrided,
  CaptureError,
  cat,
  compile,
  DeviceError,
  DTypeError,
  diagEmbed,
  einsum,
  embedding,
  flatten,
  gather,
  grad,
  IndexError,
  index,
  indexAdd,
  indexSelect,
  kron,
  maskedFill,
  maskedScatter,
  meshgrid,
  movedim,
  type NablaError,
  narrow,
  nonzero,
  oneHot,
  ones,
  pad,
  repeat,
  repeatInterleave,
  roll,
  rot90,
  ShapeError,
  scaledDotProductAttention,
  scatter,
  scatterAdd,
  searchsorted,
  select,
  setDefaultDevice,
  slice,
  split,
  stack,
  Tensor,
  takeAlongDim,
  tensor,
  tensordot,
  tril,
  unbind,
  unflatten,
  unfold,
  ValueError,
  view,
  zeros,
} from "../../lib/index.js";
import { onEveryDevice } from "../devices.js";

onEveryDevice("indexing", (device) => {
  let x: Tensor;
  beforeEach(() => {
    setDefaultDevice(device);
    x = arange(12).reshape([3, 4]);
  });
  const long = (values: number[]): Tensor => tensor(values, { dtype: "int64" });

  test("basic indexing gives views, advanced indexing copies", () => {
    const views = [
      x.index(1),
      x.index("::-1", null),
      x.index("...", 0),
      x.T,
      x.flip(0),
      x.unfold(1, 2, 1),
      ...x.split(2),
      ...x.unbind(1),
      x.diagonal(),
      x.squeeze(),
      x.expand([2, 3, 4]),
    ];
    for (const v of views) expect(v.storage).toBe(x.storage);
    for (const c of [x.index([1]), x.index(x.gt(3)), x.roll(1), x.repeat([1, 2])])
      expect(c.storage).not.toBe(x.storage);
  });

  test("a write through a view is seen in the tensor, and counted", () => {
    x.index(1).fill_(0);
    x.index("::-1", "1:3")
      .index(0)
      .copy_(tensor([-1, -2]));
    expect(x.toArray()).toEqual([
      [0, 1, 2, 3],
      [0, 0, 0, 0],
      [8, -1, -2, 11],
    ]);
    const w = ones([3], { requiresGrad: true });
    const y = w.mul(2);
    const z = y.square(); // needs y
    y.select(0, 1).zero_();
    expect(() => z.sum().backward()).toThrow(/square.*overwritten.*copy_/s);
  });

  test("gradients through writes into parts", () => {
    const w = tensor([1, 2, 3], { requiresGrad: true });
    const v = tensor([5, 7], { requiresGrad: true });
    const y = w.mul(1);
    y.indexPut_(["::2"], v);
    y.flip(0).slice(0, 1, 2).mul_(10);
    y.square().sum().backward();
    expect(y.toArray()).toEqual([5, 20, 7]);
    expect(w.grad?.toArray()).toEqual([0, 400, 0]);
    expect(v.grad?.toArray()).toEqual([10, 14]);
  });

  test("several outputs of split can be written to", () => {
    const w = ones([4], { requiresGrad: true });
    const y = w.mul(3);
    const [a, b] = y.split(2);
    a.mul_(2);
    b.add_(1);
    y.square().sum().backward();
    expect(w.grad?.toArray()).toEqual([72, 72, 24, 24]);
  });

  test("second derivatives through overlapping windows", () => {
    const w = tensor([1, 2, 3], { requiresGrad: true });
    const [first] = [grad((t: Tensor) => t.unfold(0, 2, 1).pow(3).sum())(w)].flat() as Tensor[];
    expect(first.toArray()).toEqual([3, 24, 27]);
  });

  test("a tensor iterates over its first dimension", () => {
    expect([...x].map((row) => row.toArray())).toEqual(x.toArray());
    const [first, , last] = x;
    expect([first.shape, last.index(0).item()]).toEqual([[4], 8]);
    expect(() => [...tensor(1)]).toThrow(ShapeError);
  });

  test("slices follow Python", () => {
    const line = arange(5);
    const python: [string, number[]][] = [
      [":", [0, 1, 2, 3, 4]],
      ["1:", [1, 2, 3, 4]],
      [":-1", [0, 1, 2, 3]],
      ["-2:", [3, 4]],
      ["::2", [0, 2, 4]],
      ["1:9:3", [1, 4]],
      ["3:1", []],
      ["-9:2", [0, 1]],
      ["::-1", [4, 3, 2, 1, 0]],
      ["::-2", [4, 2, 0]],
      ["3:0:-1", [3, 2, 1]],
      ["9:-9:-3", [4, 1]],
      ["0:3:-1", []],
    ];
    for (const [text, wanted] of python) expect(line.index(text as ":").toArray(), text).toEqual(wanted);
  });

  test("out-of-range values in index tensors are errors when the result is read, and hurt nothing else", () => {
    const y = x.add(1);
    for (const [run, message] of [
      [() => gather(x, 1, long([9]).reshape([1, 1])), /gather: index 9 is out of range for .*size 4/],
      [() => indexSelect(x, 0, long([-4])), /indexSelect: index -4 .*size 3/],
      [() => embedding(x, long([3])), /index 3 .*size 3/],
      [() => scatter(x, 0, long([3]).reshape([1, 1]), 1), /scatter: index 3 .*size 3/],
      [() => indexAdd(x, 0, long([5]), ones([1, 4])), /indexAdd: index 5 .*size 3/],
      [() => x.index(long([0, 3]), long([0, 0])), /out of range/],
      [() => x.index(long([0, 0]), long([-5, 0])), /out of range/],
      [() => oneHot(long([3]), 3), /index 3 .*size 3/],
    ] as [() => Tensor, RegExp][]) {
      expect(() => run().dataSync()).toThrow(IndexError);
      expect(() => run().dataSync()).toThrow(message);
    }
    expect(y.sum().item()).toBe(78);
  });

  test("shapes that depend on values cannot be captured", () => {
    for (const fn of [
      (t: Tensor) => nonzero(t),
      (t: Tensor) => t.maskedSelect(t.gt(1)),
      (t: Tensor) => t.index(t.gt(1)),
      (t: Tensor) => t.to(t.device === "js" ? "float64" : "js").index(t.gt(0)),
    ]) {
      expect(() => compile(fn)(x)).toThrow(CaptureError);
    }
    const put = compile((t: Tensor) => t.clone().indexPut_([t.gt(4)], 0));
    expect((put(x) as Tensor).sum().item()).toBe(10);
  });

  test("conversions", () => {
    const halves = tensor([0.5, 65504, 1e-8]).half();
    expect([halves.dtype, halves.float().toArray()]).toEqual(["float16", [0.5, 65504, 0]]);
    expect(tensor([300, -1]).byte().toArray()).toEqual([44, 255]);
    expect(x.to("float32")).toBe(x);
    expect(x.to({ dtype: "int32", device }).dtype).toBe("int32");
    const w = tensor([1, 2], { requiresGrad: true, device });
    w.to("js").to("float64").square().sum().backward();
    expect([w.grad?.toArray(), w.grad?.dtype, w.grad?.device]).toEqual([[2, 4], "float32", device]);
  });

  // More elements than one thread takes at a time, so that parts begin within a row.
  test.each([
    ["rows", 0, false],
    ["rows of a transposed tensor", 0, true],
    ["the middle", 1, false],
    ["columns", 2, true],
  ] as const)("gather and scatterAdd along %s, element by element", (_, dim, transposed) => {
    const shape = [90, 70, 11] as const;
    const at = (t: number[], i: number, j: number, k: number): number => t[(i * shape[1] + j) * shape[2] + k];
    const count = 90 * 70 * 11;
    const values = Array.from({ length: count }, (_, i) => (i * 7919) % 100_003);
    const places = Array.from({ length: count }, (_, i) => ((i * 104_729) % 257) % shape[dim]);
    const laid = (data: number[], dtype: "float32" | "int64"): Tensor => {
      const t = tensor(data, { shape: [...shape], dtype });
      return transposed ? t.permute([2, 0, 1]).contiguous().permute([1, 2, 0]) : t;
    };
    const x = laid(values, "float32");
    const index = laid(places, "int64");
    const got = gather(x, dim, index).dataSync() as Float32Array;
    const sums = scatterAdd(zeros([...shape]), dim, index, x).dataSync() as Float32Array;
    const wanted = new Float32Array(count);
    const wantedSums = new Float32Array(count);
    for (let i = 0, n = 0; i < shape[0]; i++)
      for (let j = 0; j < shape[1]; j++)
        for (let k = 0; k < shape[2]; k++, n++) {
          const place = [i, j, k];
          place[dim] = places[n];
          wanted[n] = at(values, place[0], place[1], place[2]);
          wantedSums[(place[0] * shape[1] + place[1]) * shape[2] + place[2]] += values[n];
        }
    expect(Buffer.from(got.buffer).equals(Buffer.from(wanted.buffer))).toBe(true);
    expect(Buffer.from(sums.buffer).equals(Buffer.from(wantedSums.buffer))).toBe(true);
  });

  const bad: [string, () => unknown, new (message?: string) => NablaError, RegExp][] = [
    ["index", () => x.index(3), IndexError, /index 3 .*dimension 0 of size 3 \(allowed: -3 to 2\)/],
    ["index in a list", () => x.index(":", [0, 4]), IndexError, /index 4 .*dimension 1 of size 4/],
    ["too many indices", () => x.index(0, 0, 0), IndexError, /3 indices .*2 dimensions/],
    ["two ellipses", () => x.index("...", "..."), IndexError, /once/],
    ["slice text", () => x.index("1-2" as ":"), ValueError, /"1-2" is not a slice/],
    ["slice step", () => x.index("::0"), ValueError, /step/],
    ["float index", () => x.index(tensor([0.5])), DTypeError, /float32/],
    ["mask shape", () => x.index(tensor([true])), ShapeError, /\[1\].*\[3\]/],
    ["no tensor", () => index([1] as unknown as Tensor, 0), ValueError, /a tensor is needed, got an Array/],
    ["value shape", () => x.indexPut_([0], ones([3])), ShapeError, /\[3\]/],
    ["value dtype", () => zeros([2], { dtype: "int32" }).indexPut_([[0]], tensor([0.5])), DTypeError, /float32.*int32/],
    ["select a scalar", () => select(tensor(1), 0, 0), IndexError, /0-dimensional/],
    ["select", () => select(x, 2, 0), IndexError, /dimension 2/],
    ["narrow", () => narrow(x, 0, 2, 2), IndexError, /start 2 and length 2/],
    ["slice bound", () => slice(x, 0, 0.5), ValueError, /0\.5/],
    [
      "gather",
      () =>
        gather(
          x,
          0,
          [[0], [0], [0], [0]].map((r) => r.concat([0, 0, 0, 0])),
        ),
      ShapeError,
      /\[4, 5\].*\[3, 4\]/,
    ],
    ["scatter", () => scatter(x, 0, [[0, 0]], ones([1, 1])), ShapeError, /source \[1, 1\]/],
    ["indexSelect", () => x.sum().indexSelect(0, [0]), ShapeError, /0-dimensional/],
    ["indexAdd", () => indexAdd(x, 1, [0, 1], ones([3, 1])), ShapeError, /\[3, 1\].*\[3, 2\]/],
    ["takeAlongDim", () => takeAlongDim(x, [0], 0), ShapeError, /\[1\]/],
    ["embedding", () => embedding(ones([3]), [0]), ShapeError, /matrix/],
    ["embedding padding", () => embedding(x, [0], { paddingIdx: 3 }), IndexError, /paddingIdx 3/],
    ["oneHot", () => oneHot(long([0]), 0), ValueError, /classes/],
    ["oneHot of floats", () => oneHot(tensor([0])), DTypeError, /float32/],
    ["mask of floats", () => maskedFill(x, x, 0), DTypeError, /mask must be bool, got float32/],
    ["maskedScatter", () => maskedScatter(x, x.ge(0), ones([3])), ShapeError, /12 elements, the source has 3/],
    ["searchsorted", () => searchsorted(x, ones([2, 1])), ShapeError, /\[3, 4\].*\[2, 1\]/],
    ["view", () => view(x.T, [12]), ShapeError, /without a copy; use reshape/],
    ["flatten", () => flatten(x, 1, 0), ShapeError, /start 1 lies behind/],
    ["unflatten", () => unflatten(x, 1, [3, -1]), ShapeError, /cannot become \[3, -1\]/],
    ["movedim", () => movedim(x, [0, 1], [0]), ShapeError, /movedim/],
    ["unfold", () => unfold(x, 1, 5, 1), ShapeError, /windows of 5/],
    ["asStrided", () => asStrided(x, [4], [4]), IndexError, /0 to 12 .* has 12/],
    ["split", () => split(x, [1, 1]), ShapeError, /sum to 2.* has 3/],
    ["split size", () => split(x, 0), ValueError, /≥ 1/],
    ["unbind", () => unbind(tensor(1)), ShapeError, /0-dimensional/],
    ["cat", () => cat([x, ones([3, 3])]), ShapeError, /tensor 1 of shape \[3, 3\].*\[3, 4\]/],
    ["cat of nothing", () => cat([]), ValueError, /at least one/],
    ["cat of scalars", () => cat([tensor(1)]), ShapeError, /use stack/],
    ["stack", () => stack([x, x.T]), ShapeError, /\[4, 3\].*\[3, 4\]/],
    ["pad", () => pad(x, [1]), ValueError, /pairs/],
    ["pad mode", () => pad(x, [1, 1], "mirror" as "reflect"), ValueError, /unknown mode mirror/],
    ["pad reflect", () => pad(x, [4, 0], "reflect"), ShapeError, /at most 3/],
    ["pad cut", () => pad(x, [-3, -2]), ShapeError, /cuts more/],
    ["roll", () => roll(x, [1, 2], 0), ValueError, /roll/],
    ["repeat", () => repeat(x, [2]), ShapeError, /fewer/],
    ["repeatInterleave", () => repeatInterleave(x, [1, 2], 0), ShapeError, /2 repeats for the 3 slices/],
    ["rot90", () => rot90(x, 1, [0, 0]), ShapeError, /different/],
    ["tril", () => tril(ones([2])), ShapeError, /matrix/],
    ["diagEmbed", () => diagEmbed(x, 0, 1, 1), ShapeError, /differ/],
    ["meshgrid", () => meshgrid([x]), ShapeError, /vectors/],
    ["to", () => x.to("float23"), DeviceError, /float23/],
    ["to dtype", () => x.to({ dtype: "float23" as "float32" }), DTypeError, /float23/],
    ["einsum count", () => einsum("ij,jk", x), ValueError, /names 2 tensors, got 1/],
    ["einsum letters", () => einsum("ijk->i", x), ShapeError, /2 dimensions of \[3, 4\]/],
    ["einsum sizes", () => einsum("ij,ij->", x, x.T), ShapeError, /index i has size 3/],
    ["einsum result", () => einsum("ij->k", x), ValueError, /index k/],
    ["einsum diagonal", () => einsum("ii", x), ShapeError, /sizes 3 and 4/],
    ["einsum text", () => einsum("i1->i", x), ValueError, /letters/],
    ["tensordot", () => tensordot(x, x, 1), ShapeError, /same sizes/],
    ["kron", () => kron(x, 1 as unknown as Tensor), ValueError, /tensor is needed/],
    ["attention", () => scaledDotProductAttention(x, x, ones([2, 4])), ShapeError, /\[3, 4\].*\[2, 4\]/],
    ["attention mask", () => scaledDotProductAttention(x, x, x, { mask: long([1, 0, 0]) }), DTypeError, /int64/],
  ];
  describe("bad input", () => {
    test.each(bad)("%s", (_, run, type, message) => {
      expect(run).toThrow(type);
      expect(run).toThrow(message);
    });
  });

  test("a Tensor has the methods", () => {
    expect(x).toBeInstanceOf(Tensor);
    expect(x.slice(1, 1, 3).mT.shape).toEqual([2, 3]);
  });
});
