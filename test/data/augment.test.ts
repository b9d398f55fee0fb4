// Augmentation: exact where pixels only move, PyTorch's figures where they are interpolated, the seed, evaluation mode.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { rotate } from "../../lib/data/warp.js";
import { arange, compile, data, manualSeed, nn, rand, type Tensor, tensor, zeros } from "../../lib/index.js";
import { absent, onEveryDevice, titled } from "../devices.js";

const figures = JSON.parse(readFileSync(new URL("../figures/data.json", import.meta.url), "utf8"));
type Image = number[][];

onEveryDevice("augmentation", (device) => {
  /** Images whose pixels are all different and tell where they were: 100 · image + 10 · row + column + channel / 10. */
  const marked = (n: number, c = 1, h = 4, w = 5): Tensor => {
    const axis = (size: number, at: number) =>
      arange(size, { device }).reshape([0, 1, 2, 3].map((d) => (d === at ? size : 1)));
    return axis(n, 0).mul(100).add(axis(c, 1).div(10)).add(axis(h, 2).mul(10)).add(axis(w, 3)).add(1);
  };
  const images = (x: Tensor) => (x.toArray() as Image[][]).map((channels) => channels[0]);

  test("rotation is what grid_sample gives, nearest and bilinear", () => {
    const x = tensor(figures.images, { device, dtype: "float64" });
    const angles = tensor(figures.angles, { device, dtype: "float64" }).reshape([4, 1, 1]);
    for (const sampling of ["nearest", "bilinear"] as const) {
      const y = rotate(x, angles, sampling, figures.fill);
      const difference = y.sub(tensor(figures.rotated[sampling], { device, dtype: "float64" })).abs();
      expect([sampling, difference.max().item() as number]).toEqual([sampling, expect.closeTo(0, 6)]);
    }
    const turned = new data.RandomRotation(180, { seed: 1, sampling: "nearest" }).forward(marked(8, 1, 5, 5));
    images(turned).forEach((image, i) => {
      expect(image[2][2]).toBe(100 * i + 23); // the centre stays
    });
  });

  test("flips mirror whole images, about as often as asked", () => {
    const x = marked(200, 2);
    const original = images(x);
    const flipped = images(new data.RandomFlip({ seed: 2, p: 0.25 }).forward(x));
    const mirrored = flipped.filter((image, i) => {
      const same = JSON.stringify(image) === JSON.stringify(original[i]);
      if (!same) expect(image).toEqual(original[i].map((row) => [...row].reverse()));
      return !same;
    });
    expect(mirrored.length).toBeGreaterThan(30);
    expect(mirrored.length).toBeLessThan(75);
    const down = new data.RandomFlip({ vertical: true, horizontal: false, p: 1 }).forward(x);
    expect(images(down)).toEqual(original.map((image) => [...image].reverse()));
    expect(new data.RandomFlip({ p: 0 }).forward(x).equal(x)).toBe(true);
  });

  test("shifts and crops move pixels and fill what comes in; every place occurs", () => {
    const x = marked(160);
    const seen = new Set<string>();
    images(new data.RandomShift([1, 2], { fill: -1, seed: 3 }).forward(x)).forEach((image, i) => {
      // A pixel that is still there tells by how much its image has moved.
      const r = image.findIndex((row) => row.some((v) => v >= 0));
      const c = image[r].findIndex((v) => v >= 0);
      const value = image[r][c] - 100 * i - 1;
      const [dy, dx] = [r - Math.floor(value / 10), c - (value % 10)];
      seen.add(`${dy},${dx}`);
      const expected = image.map((row, j) =>
        row.map((_, k) => {
          const inside = j - dy >= 0 && j - dy < 4 && k - dx >= 0 && k - dx < 5;
          return inside ? 100 * i + 10 * (j - dy) + (k - dx) + 1 : -1;
        }),
      );
      expect(image).toEqual(expected);
    });
    expect(seen.size).toBe(15);

    const crop = new data.RandomCrop([2, 3], { padding: 1, fill: -1, seed: 4 });
    const parts = images(crop.forward(x));
    expect([parts[0].length, parts[0][0].length]).toEqual([2, 3]);
    const corners = new Set(
      parts.map((image, i) => {
        const r = image.findIndex((row) => row.some((v) => v >= 0));
        const c = image[r].findIndex((v) => v >= 0);
        return image[r][c] - 100 * i - 10 * r - c;
      }),
    );
    expect(corners.size).toBe(5 * 5);
    crop.eval();
    expect(images(crop.forward(x))[1]).toEqual([[112, 113, 114], [122, 123, 124]]); // biome-ignore format: a matrix
    expect(() => new data.RandomCrop(9).forward(x)).toThrow(
      /\[9, 9\] does not fit in images \[160, 1, 4, 5\] with padding/,
    );
  });

  test("erasing, noise, jitter and normalisation do what their numbers say", () => {
    const ones = zeros([200, 2, 10, 12], { device }).add(1);
    const erased = new data.RandomErasing({ p: 0.5, value: 7, scale: [0.1, 0.2], ratio: [0.5, 2], seed: 5 }).forward(
      ones,
    );
    let count = 0;
    for (const channels of erased.toArray() as Image[][]) {
      expect(channels[0]).toEqual(channels[1]);
      const gone = channels[0].flatMap((row, i) => row.flatMap((v, j) => (v === 7 ? [[i, j]] : [])));
      if (gone.length === 0) continue;
      count++;
      const side = (k: number) => Math.max(...gone.map((p) => p[k])) - Math.min(...gone.map((p) => p[k])) + 1;
      expect(side(0) * side(1)).toBe(gone.length); // one rectangle
      expect(gone.length).toBeGreaterThan(0.1 * 120 * 0.6); // sides are rounded
      expect(gone.length).toBeLessThan(0.2 * 120 * 1.4);
    }
    expect(count).toBeGreaterThan(80);
    expect(count).toBeLessThan(120);

    const noisy = new data.RandomNoise(0.5, { seed: 6 }).forward(ones).sub(ones);
    expect(noisy.std().item()).toBeCloseTo(0.5, 2);
    expect(noisy.mean().item()).toBeCloseTo(0, 2);

    manualSeed(8);
    const x = rand([50, 3, 6, 6], { device });
    const bright = new data.ColorJitter({ brightness: 0.4, seed: 7 }).forward(x);
    const factors = bright
      .sum([1, 2, 3])
      .div(x.sum([1, 2, 3]))
      .toArray() as number[];
    expect(Math.min(...factors)).toBeLessThan(0.75);
    expect(Math.max(...factors)).toBeGreaterThan(1.1); // bright pixels are limited to 1
    const all = new data.ColorJitter({ brightness: 1, contrast: 1, saturation: 1, seed: 7 }).forward(x);
    expect([(all.min().item() as number) >= 0, (all.max().item() as number) <= 1]).toEqual([true, true]);
    const flat = zeros([4, 3, 2, 2], { device }).add(0.4);
    for (const options of [{ contrast: 0.9 }, { saturation: 0.9 }]) {
      expect(new data.ColorJitter(options).forward(flat).sub(flat).abs().max().item()).toBeLessThan(1e-6);
    }
    expect(() => new data.ColorJitter({ saturation: 0.1 }).forward(ones)).toThrow(
      /images of three channels, got \[200, 2/,
    );

    const normal = new data.Normalize([1, 2], [2, 4]);
    const y = normal.forward(ones);
    expect([y.select(1, 0).max().item(), y.select(1, 1).max().item()]).toEqual([0, -0.25]);
    expect(normal.eval().forward(ones).equal(y)).toBe(true);
    expect(() => new data.Normalize([1], 1).forward(ones)).toThrow(
      /mean has 1 numbers, the images \[200, 2, 10, 12\] 2 channels/,
    );
  });

  test("as layers: only in training mode; captured, each replay has other numbers, the same as eager ones", () => {
    const layers = () => [
      new data.RandomFlip(),
      new data.RandomShift(1),
      new data.RandomErasing(),
      new data.RandomNoise(0.1),
    ];
    const model = new nn.Sequential([new data.Compose(layers()), new nn.Flatten()]);
    const x = rand([6, 1, 4, 4], { device });
    const run = (f: (x: Tensor) => Tensor) => {
      manualSeed(12);
      return [f(x).toArray(), f(x).toArray(), f(x).toArray()];
    };
    const eager = run((v) => model.forward(v));
    expect(run(compile((v: Tensor) => model.forward(v)))).toEqual(eager);
    expect(eager[0]).not.toEqual(eager[1]);
    model.eval();
    expect(model.forward(x).equal(x.flatten(1))).toBe(true);
    expect(String(new data.RandomShift([1, 2]))).toMatch(/RandomShift\(pixels=\[1, 2\], fill=0\)/);
    // One image alone.
    expect(new data.RandomFlip({ p: 1 }).forward(marked(1).select(0, 0)).shape).toEqual([1, 4, 5]);
    // Gradients flow to what is in the picture.
    const leaf = rand([2, 1, 4, 4], { device, requiresGrad: true });
    new data.RandomShift(1, { seed: 1 }).forward(leaf).sum().backward();
    expect((leaf.grad as Tensor).max().item()).toBe(1);
  });
});

const missing = absent("cpu") ?? absent("js");
test.skipIf(missing !== null)(titled("the same seed gives the same images on every device", missing), () => {
  const run = (device: string) => {
    const x = arange(3 * 2 * 6 * 5, { device })
      .reshape([3, 2, 6, 5])
      .div(180);
    const all = [
      new data.RandomFlip({ seed: 1, vertical: true }),
      new data.RandomShift(2, { seed: 2 }),
      new data.RandomCrop(5, { padding: 1, seed: 3 }),
      new data.RandomErasing({ seed: 4 }),
    ];
    return all.map((augment) => augment.forward(x).toArray());
  };
  expect(run("cpu")).toEqual(run("js"));
});

test("bad settings and images are refused in words", () => {
  const cases: [() => unknown, RegExp][] = [
    [
      () => new data.RandomFlip({ horizontl: true } as object),
      /RandomFlip: unknown option horizontl; did you mean horizontal\?/,
    ],
    [() => new data.RandomFlip({ p: 2 }), /p must be a probability/],
    [
      () => new data.RandomShift(-1),
      /pixels must be an integer ≥ 0, or two of them for height and width, got the number -1/,
    ],
    [() => new data.RandomRotation(Number.NaN), /degrees must be a number ≥ 0/],
    [
      () => new data.RandomRotation(5, { sampling: "cubic" as "nearest" }),
      /"bilinear" or "nearest", got the string "cubic"/,
    ],
    [() => new data.RandomErasing({ scale: [0.5, 0.1] }), /scale must be \[low, high\]/],
    [() => new data.Normalize(0, 0), /std must be > 0/],
    [() => new data.RandomFlip({ seed: -1 }), /seed must be an integer/],
    [
      () => new data.RandomFlip().forward(zeros([3, 3])),
      /images \[N, C, H, W\] or \[C, H, W\] are needed, got \[3, 3\]/,
    ],
    [() => new data.RandomFlip().forward(zeros([1, 1, 3, 3], { dtype: "uint8" })), /RandomFlip/],
  ];
  for (const [make, message] of cases) expect(make).toThrow(message);
});
