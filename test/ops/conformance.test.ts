// Every row on every device: values and gradients against PyTorch's, gradients against differences, in-place twins
// against the functions.
import { readFileSync } from "node:fs";
import { beforeAll, describe, expect, test } from "vitest";
import { AutogradError, devices, gradcheck, gradgradcheck, setDefaultDevice } from "../../lib/index.js";
import { type Case, describe as describeCase, titleOf } from "./case.js";
import { activationCases } from "./cases/activation.js";
import { elementwiseCases } from "./cases/elementwise.js";
import { reduceCases } from "./cases/reduce.js";
import { cases } from "./cases.js";
import { compare, gradientsOf, listed, numbers, toleranceOf, tolerances } from "./compare.js";
import { type Float, inputsOf, targets } from "./devices.js";

interface Figure {
  readonly digest: string;
  readonly outputs: readonly { shape: number[]; dtype: string; values: (number | string)[] }[];
  readonly grads: Readonly<Record<string, (number | string)[]>>;
}
const figures: Record<string, Figure> = JSON.parse(
  readFileSync(new URL("../figures/ops.json", import.meta.url), "utf8"),
);

function checkForward(c: Case, device: string, float: Float): void {
  const outs = listed(c.run(inputsOf(c, device, float)));
  const { outputs } = figures[titleOf(c)];
  expect(outs.length).toBe(outputs.length);
  outs.forEach((y, k) => {
    const figure = outputs[k];
    expect(y.shape).toEqual(figure.shape);
    expect(y.dtype).toBe(figure.dtype === "float64" ? float : figure.dtype);
    expect(y.device).toBe(device);
    compare(numbers(y.dataSync()), figure.values, toleranceOf(c, y.dtype), `result ${k}`, c.signedZero);
  });
}

function checkGradient(c: Case, device: string, float: Float): void {
  const inputs = inputsOf(c, device, float, true);
  const found = gradientsOf(c, inputs, c.run(inputs));
  for (const [k, wanted] of Object.entries(figures[titleOf(c)].grads)) {
    const own = found[Number(k)] ?? wanted.map(() => 0);
    compare(own, wanted, 10 * toleranceOf(c, float), `gradient of input ${k}`);
  }
}

function checkInPlace(c: Case, inPlace: NonNullable<Case["inPlace"]>, device: string): void {
  const { outputs, grads } = figures[titleOf(c)];
  const given = inputsOf(c, device, "float64");
  const copy = given[0].clone();
  const result = inPlace([copy, ...given.slice(1)]);
  expect(result).toBe(copy);
  compare(numbers(copy.dataSync()), outputs[0].values, tolerances.float64, "result in place");
  if (c.noGrad || !c.inputs[0].grad) return;
  const inputs = inputsOf(c, device, "float64", true).map((x, k) => (k === 0 ? x : x.detach()));
  const changed = inPlace([inputs[0].clone(), ...inputs.slice(1)]);
  try {
    const found = gradientsOf(c, inputs, changed);
    if (!c.ownGrad) compare(found[0] as number[], grads[0], 10 * tolerances.float64, "gradient in place");
  } catch (error) {
    // A rule that needs the value from before must say so.
    if (!(error instanceof AutogradError)) throw error;
    expect(error.message).toMatch(/overwritten by/);
  }
}

describe.each(targets)("device $name", ({ name: device, missing }) => {
  if (missing) {
    test.skip(`${missing}: ${cases.length} rows are not run on it`, () => {});
    return;
  }
  beforeAll(() => setDefaultDevice(device));

  describe.each(cases.map((c) => ({ title: titleOf(c), row: c })))("$title", ({ title, row }) => {
    test("figures are those of this row", () => {
      expect(figures[title], "run node scripts/figures/ops.mjs").toBeDefined();
      expect(figures[title].digest, "run node scripts/figures/ops.mjs").toBe(describeCase(row).digest);
    });
    test.each(["float32", "float64"] as const)("%s values", (float) => checkForward(row, device, float));
    if (row.inPlace) test("in place", () => checkInPlace(row, row.inPlace!, device));
    if (row.noGrad) return;
    if (!row.ownGrad)
      test.each(["float32", "float64"] as const)("%s gradients", (float) => checkGradient(row, device, float));
    if (row.inputs.some((x) => x.grad && x.values("").length > 0)) {
      if (!row.noFirst)
        test("gradcheck", () =>
          expect(gradcheck((...xs) => row.run(xs), inputsOf(row, device, "float64", true))).toBe(true));
      if (!row.noSecond) {
        test("second order", () =>
          expect(gradgradcheck((...xs) => row.run(xs), inputsOf(row, device, "float64", true))).toBe(true));
      }
    }
  });
});

/** Shapes beyond one vector, one thread and one block of a native kernel. */
const LARGE = [19, 1031];
/** Rows of generated inputs of one shape in two dimensions; not products, which overflow, nor halves of odd sizes. */
const scalable = [...elementwiseCases, ...activationCases, ...reduceCases].filter(({ name, inputs }) => {
  const [{ shape, values }] = inputs;
  const plain = inputs.every((x) => x.dtype === "float" && x.layout === "contiguous" && `${x.shape}` === `${shape}`);
  return plain && shape.length === 2 && shape[0] > 2 && values("", [4]).length === 4 && !/prod|glu/.test(name);
});
const native = targets.filter((t) => t.name !== "js");

describe.each(native)("large tensors on device $name as on js", ({ name: device, missing }) => {
  if (missing) {
    test.skip(`${missing}: ${scalable.length} rows are not compared`, () => {});
    return;
  }
  test.each(scalable.map((c) => ({ title: titleOf(c), row: c })))("$title", ({ row }) => {
    const large = { ...row, inputs: row.inputs.map((x) => ({ ...x, shape: LARGE })) };
    const [js, other] = ["js", device].map((name) => {
      setDefaultDevice(name);
      const inputs = inputsOf(large, name, "float32", !row.noGrad);
      const out = listed(row.run(inputs));
      return [...out.map((y) => numbers(y.dataSync())), ...gradientsOf(large, inputs, out)];
    });
    js.forEach((values, k) => {
      if (values) compare(other[k] as number[], values, 2 * toleranceOf(row, "float32"), `value or gradient ${k}`);
    });
  });
});

test("at least the JS device was tested", () => expect(devices()).toContain("js"));
