// The tape and the backward pass: accumulation, versions, views written in place, hooks, anomalies.
import { expect, test } from "vitest";
import {
  AutogradError,
  add,
  clone,
  copy_,
  DTypeError,
  detectAnomaly,
  enableGrad,
  isGradEnabled,
  log,
  mul,
  noGrad,
  reshape,
  ShapeError,
  sqrt,
  sum,
  type Tensor,
  tensor,
  transpose,
  ValueError,
  zeros,
} from "../../lib/index.js";
import { onEveryDevice } from "../devices.js";

const values = (t: Tensor | null): unknown => t?.toArray();

onEveryDevice("backward", (device) => {
  const leaf = (v: number[] | number[][] | number) => tensor(v, { device, dtype: "float64", requiresGrad: true });

  test("accumulates over uses and over passes", () => {
    const x = leaf([1, 2, 3]);
    sum(mul(x, x)).backward();
    expect(values(x.grad)).toEqual([2, 4, 6]);
    sum(mul(x, 10)).backward();
    expect(values(x.grad)).toEqual([12, 14, 16]);
  });

  test("two leaves never share one gradient buffer", () => {
    const [x, y] = [leaf([1, 2]), leaf([3, 4])];
    sum(add(x, y)).backward();
    noGrad(() => x.grad!.mul_(5));
    expect(values(y.grad)).toEqual([1, 1]);
  });

  test("a gradient given by the caller stays the caller's", () => {
    const x = leaf([1, 2]);
    const g = tensor([3, 4], { device, dtype: "float64" });
    x.mul(1).backward(g);
    reshape(x, [2]).add(0).backward(g);
    expect(values(g)).toEqual([3, 4]);
    expect(values(x.grad)).toEqual([6, 8]);
  });

  test("broadcast operands get summed gradients", () => {
    const [x, y] = [
      leaf([
        [1, 2],
        [3, 4],
      ]),
      leaf([10, 20]),
    ];
    sum(mul(x, y)).backward();
    expect(values(y.grad)).toEqual([4, 6]);
    expect(values(x.grad)).toEqual([
      [10, 20],
      [10, 20],
    ]);
  });

  test("a graph is used once unless it is retained", () => {
    const x = leaf([1, 2]);
    const y = sum(mul(x, x));
    y.backward();
    expect(() => y.backward()).toThrow(AutogradError);
    expect(() => y.backward()).toThrow(/retainGraph/);
  });

  test("createGraph gives gradients of gradients", () => {
    const x = leaf([1, 2, 3]);
    sum(mul(mul(x, x), x)).backward({ createGraph: true });
    const g = x.grad!;
    expect(values(g)).toEqual([3, 12, 27]);
    x.grad = null;
    sum(g).backward();
    expect(values(x.grad)).toEqual([6, 12, 18]);
  });

  test("no graph, no scalar, wrong gradient: errors that say what to do", () => {
    expect(() => tensor([1], { device }).backward()).toThrow(/requiresGrad: true/);
    const y = mul(leaf([1, 2]), 2);
    expect(() => y.backward()).toThrow(ShapeError);
    expect(() => y.backward(zeros([3], { device }))).toThrow(/\[3\].*\[2\]/);
    expect(() => tensor([1, 2], { device, dtype: "int32", requiresGrad: true })).toThrow(DTypeError);
  });

  test("noGrad and enableGrad", () => {
    const x = leaf([1]);
    expect(noGrad(() => mul(x, 2).requiresGrad)).toBe(false);
    expect(noGrad(() => enableGrad(() => mul(x, 2).requiresGrad))).toBe(true);
    expect(() => noGrad(() => Promise.resolve(1))).toThrow(ValueError);
    expect(isGradEnabled()).toBe(true);
  });

  test("detach cuts the graph and shares memory", () => {
    const x = leaf([1, 2]);
    const d = x.detach();
    expect(d.requiresGrad).toBe(false);
    d.mul_(10);
    expect(values(x)).toEqual([10, 20]);
  });

  test("hooks see and replace gradients; retainGrad keeps them", () => {
    const x = leaf([1, 2]);
    const seen: unknown[] = [];
    const y = mul(x, 3).retainGrad();
    y.registerHook((g) => {
      seen.push(values(g));
    });
    const remove = x.registerHook((g) => mul(g, 100));
    sum(y).backward();
    expect(seen).toEqual([[1, 1]]);
    expect(values(y.grad)).toEqual([1, 1]);
    expect(values(x.grad)).toEqual([300, 300]);
    remove();
    x.grad = null;
    sum(mul(x, 3)).backward();
    expect(values(x.grad)).toEqual([3, 3]);
  });

  test("detectAnomaly names the forward operation and its line", () => {
    const x = leaf([-1, 1]);
    const run = () => detectAnomaly(() => sum(sqrt(x)).backward());
    expect(run).toThrow(/sqrt.*NaN/s);
    // The caller's line comes first, not the way through the package.
    expect(run).toThrow(/it was called\n +at [^\n]*backward\.test\.ts/);
  });

  test("a saved value that was overwritten is an error that names the writer", () => {
    const x = leaf([1, 2]);
    const y = mul(x, 2);
    const z = mul(y, y);
    y.add_(1);
    expect(() => sum(z).backward()).toThrow(/mul.*overwritten by add_/s);
    const w = add(mul(x, 2), 1); // add saves nothing, so writing is fine
    w.add_(1);
    sum(w).backward();
    expect(values(x.grad)).toEqual([2, 2]);
  });

  test("in-place operations are differentiated", () => {
    const x = leaf([1, 2]);
    const y = mul(x, 3);
    y.mul_(5);
    y.add_(mul(x, x));
    sum(y).backward();
    expect(values(x.grad)).toEqual([17, 19]);
    const z = mul(x, 3);
    z.mul_(x); // the gradient of x needs the old z, as in PyTorch
    expect(() => sum(z).backward()).toThrow(/overwritten by mul_/);
    expect(() => x.add_(1)).toThrow(/noGrad/);
  });

  test("copy_ carries the gradient of its source only", () => {
    const [x, y] = [leaf([1, 2]), leaf([3, 4])];
    const z = mul(x, 2);
    copy_(z, mul(y, 5));
    sum(mul(z, z)).backward();
    expect(x.grad).toBeNull();
    expect(values(y.grad)).toEqual([150, 200]);
  });

  test("writes into views reach their base and its other views", () => {
    const x = leaf([
      [1, 2],
      [3, 4],
    ]);
    const base = mul(x, 1);
    const column = transpose(base, 0, 1);
    const flat = reshape(base, [4]);
    column.mul_(2);
    expect(values(flat)).toEqual([2, 4, 6, 8]);
    sum(mul(flat, tensor([1, 10, 100, 1000], { device, dtype: "float64" }))).backward();
    expect(values(x.grad)).toEqual([
      [2, 20],
      [200, 2000],
    ]);
    expect(() => reshape(x, [4]).add_(1)).toThrow(/view of a leaf/);
  });

  test("a write into a part of a tensor by a differentiable value", () => {
    const [x, y] = [leaf([1, 2, 3]), leaf([10])];
    const base = clone(x);
    base.slice(0, 1, 2).mul_(3).add_(y);
    sum(mul(base, base)).backward();
    expect(values(x.grad)).toEqual([2, 2 * 16 * 3, 6]);
    expect(values(y.grad)).toEqual([2 * 16]);
  });

  test("disposed intermediate tensors do not break the graph", () => {
    const x = leaf([1, 2]);
    const y = mul(x, 2);
    const z = sum(mul(y, log(y)));
    y.dispose();
    z.backward();
    expect((values(x.grad) as number[])[0]).toBeCloseTo(2 * (Math.log(2) + 1), 12);
  });
});
