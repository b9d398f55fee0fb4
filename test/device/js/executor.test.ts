import { describe, expect, it } from "vitest";
import { JsDevice } from "../../../lib/device/js/index.js";
import { Bench, elementwise } from "../encode.js";

describe("the executor", () => {
  const device = new JsDevice();
  const bench = new Bench(device);

  it("adds, sums and multiplies", () => {
    const a = bench.tensor("float32", [2, 3], [1, 2, 3, 4, 5, 6]);
    const b = bench.tensor("float32", [2, 3], [10, 20, 30, 40, 50, 60]);
    const c = bench.empty("float32", [2, 3]);
    bench.run(elementwise(device, "add", "float32", c, a, b));
    expect(bench.numbers(c)).toEqual([11, 22, 33, 44, 55, 66]);
    expect(bench.compute("sum", "float32", [2], [c], [1])).toEqual([66, 165]);
    const bt = { ...b, shape: [1, 3, 2], strides: [0, 1, 3] };
    expect(bench.compute("matmul", "float32", [1, 2, 2], [{ ...a, shape: [1, 2, 3], strides: [6, 3, 1] }, bt])).toEqual(
      [140, 320, 320, 770],
    );
  });
});
