// Printed tensors against what PyTorch prints (test/figures/print.json, made by scripts/figures/print.py).
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { arange, type DType, exp, mean, setDefaultDevice, type Tensor, tensor } from "../../lib/index.js";
import { absent, titled } from "../devices.js";

interface Row {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly values: readonly (number | boolean | string)[] | "arange" | "g";
  readonly requiresGrad: boolean;
  readonly op: "mean" | "exp" | null;
  readonly text: string;
}
const rows = JSON.parse(readFileSync(new URL("../figures/print.json", import.meta.url), "utf8")) as Record<string, Row>;

function make({ dtype, shape, values, requiresGrad, op }: Row): Tensor {
  const n = shape.reduce((a, b) => a * b, 1);
  const list =
    values === "g"
      ? Array.from({ length: n }, (_, i) => (((i * 37) % 101) - 50) / 16)
      : values === "arange"
        ? Array.from({ length: n }, (_, i) => i)
        : values.map((v) =>
            v === "nan" ? Number.NaN : v === "inf" ? Infinity : v === "-inf" ? -Infinity : v === "-0.0" ? -0 : v,
          );
  const x = tensor(list as number[], { dtype, shape });
  if (requiresGrad) x.requireGrad();
  return op === "mean" ? mean(x) : op === "exp" ? exp(x) : x;
}

/** PyTorch's words in our spelling. */
const spelled = (text: string): string =>
  text
    .replaceAll("True", "true")
    .replaceAll("False", "false")
    .replaceAll("requires_grad", "requiresGrad")
    .replace(/grad_fn=<(\w+?)0>/, "gradFn=<$1>")
    .replaceAll("dtype=torch.", "dtype=")
    .replace(/size=\((.*)\)(?=[,)])/, "size=[$1]");

setDefaultDevice("js");

describe("a tensor prints as in PyTorch", () => {
  test.each(Object.entries(rows))("%s", (_, row) => {
    // Our shorter words leave more room, so that line breaks before them may differ.
    const flat = (s: string): string => s.replace(/,\s+(?=dtype|gradFn|requiresGrad)/g, ", ");
    expect(flat(String(make(row)))).toBe(flat(spelled(row.text)));
  });
});

const missing = absent("cpu");
test.skipIf(missing !== null)(titled("names the device when it is not the default", missing), () => {
  setDefaultDevice("cpu");
  expect(String(arange(2, { device: "js" }))).toBe('tensor([0., 1.], device="js")');
  setDefaultDevice("js");
});

test("a disposed tensor says so", () => {
  const x = tensor([1]);
  x.dispose();
  expect(String(x)).toBe("Tensor(disposed)");
});
