// Every row on the CUDA device as on the JS device, values and gradients; in the shim with the threads in three orders.
import { describe, test } from "vitest";
import { setDefaultDevice, type Tensor } from "../../lib/index.js";
import { absent } from "../devices.js";
import { type Case, titleOf } from "../ops/case.js";
import { cases } from "../ops/cases.js";
import { compare, gradientsOf, listed, numbers, toleranceOf } from "../ops/compare.js";
import { type Float, inputsOf } from "../ops/devices.js";
import { orders, shim } from "./shim.js";

interface Result {
  readonly values: readonly number[] | null;
  readonly dtype: string;
}
type Results = readonly Result[];

/** Values of all outputs, then gradients of all inputs. */
function results(row: Case, device: string, float: Float): Results {
  setDefaultDevice(device);
  const inputs = inputsOf(row, device, float, !row.noGrad);
  const out: readonly Tensor[] = listed(row.run(inputs));
  return [
    ...out.map((y) => ({ values: numbers(y.dataSync()), dtype: y.dtype })),
    ...gradientsOf(row, inputs, out).map((values) => ({ values, dtype: float })),
  ];
}

const known = new Map<string, Results>();
function wanted(row: Case, float: Float): Results {
  const key = `${titleOf(row)} ${float}`;
  const found = known.get(key) ?? results(row, "js", float);
  known.set(key, found);
  return found;
}

const rows = cases.map((row) => ({ title: titleOf(row), row }));
const missing = absent("cuda");

if (missing) test.skip(`${missing}: ${cases.length} rows are not run on it`, () => {});
else
  describe.each(shim ? orders : ["any"])("cuda as js, threads in %s order", (order) => {
    // Both types go through the same barriers: one is enough for the other orders.
    const floats: readonly Float[] = order === "reverse" || order === "random" ? ["float32"] : ["float32", "float64"];
    test.each(rows)("$title", ({ row }) => {
      shim?.order(order);
      for (const float of floats) {
        const found = results(row, "cuda", float);
        wanted(row, float).forEach(({ values, dtype }, k) => {
          const allowed = 4 * toleranceOf(row, dtype);
          if (values) compare(found[k].values as number[], values, allowed, `${float} value or gradient ${k}`);
        });
      }
    });
  });
