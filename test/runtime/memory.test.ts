// Memory: plain loops stay flat, early release works, refusals leave everything intact.
import { expect, test } from "vitest";
import {
  add,
  compile,
  DisposedError,
  MemoryError,
  matmul,
  mean,
  memory,
  mul,
  noGrad,
  sub,
  sum,
  type Tensor,
  tensor,
  tidy,
  zeros,
} from "../../lib/index.js";
import { onEveryDevice } from "../devices.js";

process.env.NABLA_MEMORY_LIMIT = "1GiB";

onEveryDevice("memory", (device) => {
  const inUse = () => memory(device).inUse;

  test("the backward pass frees its temporaries on the way", () => {
    let y = zeros([1 << 18], { device, requiresGrad: true }); // 1 MiB
    for (let i = 0; i < 30; i++) y = y.tanh();
    const loss = sum(y);
    const before = inUse();
    loss.backward();
    const { peak } = memory(device);
    // The JS device has no exact figures. Thirty steps make sixty temporaries of 1 MiB.
    if (device !== "js") expect(peak - before).toBeLessThan(6 << 20);
    expect(loss.item()).toBe(0);
  });

  test("10,000 eager training steps in one synchronous loop stay flat", { timeout: 120_000 }, () => {
    const w = tensor(
      [
        [0.1, 0.2],
        [0.3, 0.4],
      ],
      { device, requiresGrad: true },
    );
    const x = zeros([2000, 2], { device }).add(1);
    const y = zeros([2000, 2], { device });
    const step = () => {
      w.grad = null;
      const loss = mean(sub(matmul(x, w), y).square());
      loss.backward();
      noGrad(() => w.sub_(mul(w.grad as Tensor, 0.01)));
      return loss;
    };
    let peak = 0;
    for (let i = 1; i <= 10_000; i++) {
      const loss = step();
      if (i % 100 === 0) loss.item();
      // Each step makes about 80 KB: 10,000 of them would be 800 MB.
      if (i > 2000 && i % 200 === 0) peak = Math.max(peak, process.memoryUsage().rss);
      if (i === 2000) peak = process.memoryUsage().rss;
      if (i === 2000) (step as { base?: number }).base = peak;
    }
    expect(peak - ((step as { base?: number }).base as number)).toBeLessThan(200 * 2 ** 20);
  });

  test("dispose, using and tidy free at once", () => {
    const before = inUse();
    const t = zeros([1024, 1024], { device });
    if (device !== "js") expect(inUse() - before).toBeGreaterThanOrEqual(4 << 20);
    t.dispose();
    t.dispose(); // a second time is harmless
    if (device !== "js") expect(inUse()).toBe(before);
    expect(() => t.item()).toThrow(DisposedError);
    expect(() => add(t, 1)).toThrow(/add: this tensor of shape \[1024, 1024\] was disposed/);
    const [a, b] = [zeros([512, 512], { device }), zeros([512, 512], { device })];
    const product = matmul(a, b);
    const sums = product.sum(0, true);
    for (const t of [a, b, product]) t.dispose(); // no view that the operations made on their way keeps them
    if (device !== "js") expect(inUse() - before).toBeLessThan(1 << 14);
    expect(sums.shape).toEqual([1, 512]);
    const kept = tidy(() => {
      const a = zeros([1024, 1024], { device });
      return sum(add(a, 1));
    });
    expect(kept.item()).toBe(2 ** 20);
    if (device !== "js") expect(inUse() - before).toBeLessThan(1 << 14);
  });

  test("tidy keeps what a graph needs, and works with async functions", async () => {
    const x = tensor([1, 2, 3], { device, requiresGrad: true });
    const loss = tidy(() => sum(mul(mul(x, x), x)));
    loss.backward();
    expect(x.grad?.toArray()).toEqual([3, 12, 27]);
    let inner: Tensor | undefined;
    const result = await tidy(async () => {
      inner = mul(x.detach(), 2);
      await inner.data();
      return { y: add(inner, 1) };
    });
    expect(result.y.toArray()).toEqual([3, 5, 7]);
    expect(inner?.disposed).toBe(true);
  });

  test("a view keeps the memory of its base", () => {
    const base = tensor([1, 2, 3, 4], { device });
    const view = base.reshape([2, 2]);
    base.dispose();
    expect(view.toArray()).toEqual([
      [1, 2],
      [3, 4],
    ]);
  });

  test("more memory than there is: a MemoryError, and everything else goes on", () => {
    const x = tensor([1, 2], { device });
    expect(() => zeros([2 ** 27 + 1], { device, dtype: "float64" })).toThrow(MemoryError);
    const half = zeros([2 ** 26], { device, dtype: "float64" });
    expect(() => mul(half, half).sum().item()).toThrow(/mul: 512\.0 MiB more are needed.*of|may be used/);
    expect(half.slice(0, 0, 1).item()).toBe(0);
    const big = compile((v: Tensor) =>
      zeros([2 ** 27], { device })
        .add(v)
        .cumsum(0)
        .cumsum(0)
        .sum(),
    );
    expect(() => big(zeros([1], { device }))).toThrow(/compile: .* more are needed/);
    expect(add(x, 1).toArray()).toEqual([2, 3]);
  });
});
