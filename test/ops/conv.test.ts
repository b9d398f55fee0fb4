// Convolution and pooling beyond their rows: bad input, and higher derivatives.
import { beforeEach, describe, expect, test } from "vitest";
import {
  adaptiveAvgPool2d,
  adaptiveMaxPool2d,
  arange,
  avgPool2d,
  type ConvOptions,
  concat,
  conv1d,
  conv2d,
  convTranspose2d,
  DTypeError,
  interpolate,
  manualSeed,
  maxPool1d,
  maxPool2d,
  type NablaError,
  oneHot,
  ones,
  randn,
  ShapeError,
  setDefaultDevice,
  split,
  type Tensor,
  tensor,
  ValueError,
  vjp,
  zeros,
} from "../../lib/index.js";
import { onEveryDevice } from "../devices.js";

onEveryDevice("convolution", (device) => {
  beforeEach(() => setDefaultDevice(device));
  const image = (): Tensor => ones([1, 2, 4, 4]);

  const bad: [string, () => unknown, new (message?: string) => NablaError, RegExp][] = [
    ["rank", () => conv2d(ones([4, 4]), ones([1, 1, 2, 2])), ShapeError, /\[4, 4\].*\[N, C, H, W\] or \[C, H, W\]/],
    [
      "channels",
      () => conv2d(image(), ones([1, 3, 2, 2])),
      ShapeError,
      /\[1, 2, 4, 4\] and weight \[1, 3, 2, 2\].*groups=1.*3 channels, it has 2/,
    ],
    ["groups", () => conv2d(image(), ones([3, 1, 2, 2]), { groups: 2 }), ShapeError, /2 groups/],
    ["groups 0", () => conv2d(image(), ones([2, 2, 2, 2]), { groups: 0 }), ValueError, /groups.*0/],
    [
      "kernel",
      () => conv2d(image(), ones([1, 2, 5, 3])),
      ShapeError,
      /larger than the input.*padding=\[0, 0\], dilation=\[1, 1\]/,
    ],
    ["dilation", () => conv2d(image(), ones([1, 2, 3, 3]), { dilation: 2 }), ShapeError, /dilation=\[2, 2\]/],
    ["stride", () => conv2d(image(), ones([1, 2, 2, 2]), { stride: 0 }), ValueError, /stride .*≥ 1.*0/],
    ["stride per dimension", () => conv2d(image(), ones([1, 2, 2, 2]), { stride: [1, 1, 1] }), ValueError, /stride/],
    ["padding", () => conv2d(image(), ones([1, 2, 2, 2]), { padding: -1 }), ValueError, /padding .*-1/],
    ["padding text", () => conv2d(image(), ones([1, 2, 2, 2]), { padding: "full" as "same" }), ValueError, /"full"/],
    [
      "same with stride",
      () => conv2d(image(), ones([1, 2, 2, 2]), { padding: "same", stride: 2 }),
      ValueError,
      /stride 1/,
    ],
    ["bias", () => conv2d(image(), ones([3, 2, 2, 2]), { bias: ones([2]) }), ShapeError, /bias \[2\] must be \[3\]/],
    ["dtype", () => conv1d(ones([1, 1, 4], { dtype: "int32" }), ones([1, 1, 2])), DTypeError, /int32/],
    ["transposed channels", () => convTranspose2d(image(), ones([3, 1, 2, 2])), ShapeError, /3 channels, it has 2/],
    [
      "outputPadding",
      () => convTranspose2d(image(), ones([2, 1, 2, 2]), { outputPadding: 1 }),
      ValueError,
      /outputPadding=\[1, 1\]/,
    ],
    [
      "transposed padding",
      () => convTranspose2d(ones([1, 2, 1, 1]), ones([2, 1, 2, 2]), { padding: 1 }),
      ShapeError,
      /\[0, 0\]/,
    ],
    ["pool window", () => maxPool2d(image(), 5), ShapeError, /window \[5, 5\].*\[1, 2, 4, 4\]/],
    ["pool padding", () => avgPool2d(image(), 2, { padding: 2 }), ValueError, /half of the window/],
    ["pool rank", () => maxPool1d(image(), 2), ShapeError, /\[N, C, L\]/],
    ["pool dtype", () => maxPool2d(zeros([1, 2, 2], { dtype: "int64" }), 2), DTypeError, /int64/],
    ["interpolate", () => interpolate(image(), {}), ValueError, /either size or scaleFactor/],
    ["interpolate mode", () => interpolate(image(), { size: 2, mode: "linear" }), ValueError, /"linear" does not fit/],
    ["interpolate size", () => interpolate(image(), { size: [2, -1] }), ValueError, /\[2, -1\]/],
    ["interpolate rank", () => interpolate(ones([2, 2]), { size: 2 }), ShapeError, /\[2, 2\]/],
    ["adaptive size", () => adaptiveAvgPool2d(image(), 0), ShapeError, /0/],
    ["adaptive sizes", () => adaptiveMaxPool2d(image(), [1]), ShapeError, /\[1\]/],
  ];
  describe("bad input", () => {
    test.each(bad)("%s", (_, run, type, message) => {
      expect(run).toThrow(type);
      expect(run).toThrow(message);
    });
  });

  // Kernels treat a batch of small images, or images of few channels, in ways that one image alone does not take.
  describe("a batch and its images one by one", () => {
    const rows: { x: number[]; w: number[]; options?: ConvOptions }[] = [
      { x: [64, 6, 12, 12], w: [16, 6, 5, 5] },
      { x: [70, 5, 7, 6], w: [7, 5, 3, 3], options: { padding: 1 } },
      { x: [20, 4, 7, 7], w: [6, 2, 3, 3], options: { padding: 1, groups: 2 } },
      { x: [9, 3, 5, 6], w: [4, 3, 3, 3], options: { padding: [2, 1], dilation: [2, 1] } },
      { x: [33, 8, 8, 8], w: [8, 8, 3, 3], options: { padding: 1, stride: 2 } },
      { x: [17, 2, 2, 3], w: [3, 2, 3, 3], options: { padding: 3 } },
      { x: [5, 1, 19, 17], w: [6, 1, 5, 5] },
      { x: [3, 3, 22, 25], w: [5, 3, 7, 7], options: { padding: 3, stride: 2 } },
      {
        x: [4, 2, 14, 15],
        w: [14, 1, 3, 4],
        options: { padding: [2, 1], stride: [1, 2], dilation: [2, 1], groups: 2 },
      },
    ];
    for (const { x: xs, w: ws, options } of rows) {
      test.each(["float32", "float64"] as const)(`[${xs}] and [${ws}], %s`, (dtype) => {
        manualSeed(3);
        const [x, w] = [randn(xs, { dtype }), randn(ws, { dtype })];
        const f = (x: Tensor, w: Tensor): Tensor => conv2d(x, w, options);
        const [y, back] = vjp(f, x, w);
        const dy = randn(y.shape, { dtype });
        const [dx, dw] = back(dy);
        const alone = split(x, 1).map((one, i) => {
          const [y, back] = vjp(f, one, w);
          return [y, ...back(dy.slice(0, i, i + 1))];
        });
        const [ys, dxs, dws] = [0, 1, 2].map((k) => concat(alone.map((parts) => parts[k].unsqueeze(0))));
        const close = (a: Tensor, b: Tensor): void => {
          const bound = b.abs().max().item() * (dtype === "float32" ? 1e-5 : 1e-13);
          expect(a.sub(b.reshape(a.shape)).abs().max().item()).toBeLessThanOrEqual(bound);
        };
        close(y, ys);
        close(dx, dxs);
        close(dw, dws.sum(0));
      });
    }
  });

  describe("depthwise, and dense with a weight of zeros but for its diagonal", () => {
    const rows: { x: number[]; w: number[]; options: ConvOptions }[] = [
      { x: [2, 5, 11, 13], w: [5, 1, 3, 3], options: { padding: 1 } },
      { x: [2, 5, 11, 14], w: [5, 1, 3, 3], options: { padding: 1, stride: 2 } },
      { x: [3, 3, 12, 9], w: [6, 1, 5, 4], options: { padding: [2, 0], stride: [2, 1] } },
      { x: [1, 4, 9, 40], w: [4, 1, 3, 2], options: { padding: [0, 1], stride: [1, 2], dilation: [1, 2] } },
      { x: [2, 2, 8, 8], w: [4, 1, 1, 1], options: { stride: 2 } },
      { x: [2, 3, 17, 16], w: [3, 1, 3, 3], options: { padding: 1, stride: 3 } },
    ];
    test.each(rows)("[$x] and [$w], $options", ({ x: xs, w: ws, options }) => {
      manualSeed(5);
      const [channels, outputs] = [xs[1], ws[0]];
      const [x, w] = [randn(xs, { dtype: "float64" }), randn(ws, { dtype: "float64" })];
      const diagonal = oneHot(arange(outputs, { dtype: "int64" }).floorDivide(outputs / channels), channels)
        .to("float64")
        .reshape([outputs, channels, 1, 1]);
      const depthwise = (x: Tensor, w: Tensor): Tensor => conv2d(x, w, { ...options, groups: channels });
      const dense = (x: Tensor, w: Tensor): Tensor => conv2d(x, w.mul(diagonal), options);
      const [y, back] = vjp(depthwise, x, w);
      const [y2, back2] = vjp(dense, x, w);
      const dy = randn(y.shape, { dtype: "float64" });
      [y, ...back(dy)].forEach((a, i) => {
        const b = [y2, ...back2(dy)][i];
        expect(a.shape).toEqual(b.shape);
        expect(a.sub(b).abs().max().item()).toBeLessThan(1e-12);
      });
    });
  });

  test("third derivatives exist", () => {
    const x = tensor(
      [
        [
          [
            [1, 2],
            [3, 4],
          ],
        ],
      ],
      { dtype: "float64", requiresGrad: true },
    );
    const w = tensor([[[[2]]]], { dtype: "float64", requiresGrad: true });
    // Σ (w·x)³: the third derivative in w is 6·Σ x³.
    let y = conv2d(x, w).pow(3).sum();
    for (let order = 0; order < 3; order++) {
      w.grad = null;
      y.backward({ createGraph: true });
      y = (w.grad as unknown as Tensor).sum();
    }
    expect(y.item()).toBeCloseTo(6 * (1 + 8 + 27 + 64), 9);
  });

  test("a window at the border sees the image only", () => {
    expect(
      maxPool2d(
        tensor([
          [
            [-5, -4],
            [-3, -2],
          ],
        ]),
        2,
        { padding: 1, stride: 2 },
      ).toArray(),
    ).toEqual([
      [
        [-5, -4],
        [-3, -2],
      ],
    ]);
  });
});
