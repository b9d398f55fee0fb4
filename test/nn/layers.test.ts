// Layers against torch.nn's figures (scripts/figures/nn.py): outputs, gradients and running statistics.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { compile, type Module, nn, noGrad, Tensor, tensor } from "../../lib/index.js";
import { onEveryDevice } from "../devices.js";

interface Values {
  shape: number[];
  values: number[];
}
interface Figure {
  name: string;
  args: unknown[];
  options: Record<string, unknown>;
  inputs: Values[];
  state: Record<string, Values>;
  outputs: Values[];
  grads: (Values | null)[];
  paramGrads: Record<string, Values>;
  after: Record<string, Values>;
  evaluated: Values[];
}

const figures: Figure[] = JSON.parse(readFileSync(new URL("../figures/nn.json", import.meta.url), "utf8"));
const camel = (key: string) => key.replace(/_([a-z])/g, (_, c) => c.toUpperCase());
const camelKeys = <T>(o: Record<string, T>) => Object.fromEntries(Object.entries(o).map(([k, v]) => [camel(k), v]));
const integers = ({ values }: Values) => values.every(Number.isInteger);

const flat = (out: unknown): Tensor[] => (out instanceof Tensor ? [out] : (out as unknown[]).flatMap(flat));

function expectClose(actual: Tensor | null, { shape, values }: Values, what: string): void {
  expect(actual?.shape, what).toEqual(shape);
  const found = Array.from((actual as Tensor).dataSync() as Float64Array, Number);
  found.forEach((v, i) => {
    expect(Math.abs(v - values[i]), `${what}[${i}]: ${v} instead of ${values[i]}`).toBeLessThan(
      1e-10 * (1 + Math.abs(values[i])),
    );
  });
}

/** The sum that the script differentiates. */
function total(outs: readonly Tensor[]): Tensor {
  const parts = outs
    .filter((y) => y.requiresGrad)
    .map((y) => {
      const weights = Array.from({ length: y.numel }, (_, k) => (((k * 37) % 64) - 31.5) / 32);
      return y.mul(tensor(weights, { dtype: "float64", device: y.device }).reshape(y.shape)).sum();
    });
  return parts.reduce((a, b) => a.add(b));
}

onEveryDevice("layers", (device) => {
  const place = { dtype: "float64", device } as const;
  const isFloat = (name: string, i: number) =>
    !(name === "Embedding" || (i === 1 && (name === "NLLLoss" || name === "CrossEntropyLoss")));

  /** The layer with the figure's parameters, and its inputs. */
  function build({ name, args, options, inputs, state, grads }: Figure) {
    const settings: Record<string, unknown> = camelKeys(options);
    if (Object.keys(state).length > 0) Object.assign(settings, place);
    const given = Object.keys(settings).length > 0 ? [...args, settings] : args;
    const layer = new (nn as unknown as Record<string, new (...a: unknown[]) => Module>)[name](...given);
    layer.loadStateDict(
      Object.fromEntries(
        Object.entries(state).map(([k, v]) => [
          camel(k),
          tensor(v.values, { dtype: k.endsWith("tracked") ? "int64" : "float64", device }).reshape(v.shape),
        ]),
      ),
    );
    const xs = inputs.map((x, i) => {
      const dtype = isFloat(name, i) || !integers(x) ? "float64" : "int64";
      const t = tensor(x.values, { dtype, device }).reshape(x.shape);
      return grads[i] ? t.detach().requireGrad() : t;
    });
    return { layer, xs };
  }

  test.each(figures.map((f) => [`${f.name}(${[...f.args, JSON.stringify(f.options)].join(", ")})`, f] as const))(
    "%s",
    (_, figure) => {
      const { layer, xs } = build(figure);
      const outs = flat(layer.forward(...xs));
      expect(outs).toHaveLength(figure.outputs.length);
      outs.forEach((y, i) => {
        expectClose(y, figure.outputs[i], `output ${i}`);
      });
      total(outs).backward();
      figure.grads.forEach((g, i) => {
        if (g) expectClose(xs[i].grad, g, `gradient of input ${i}`);
      });
      const parameters = Object.fromEntries(layer.namedParameters());
      for (const [k, g] of Object.entries(figure.paramGrads))
        expectClose(parameters[camel(k)].grad, g, `gradient of ${k}`);
      const buffers = Object.fromEntries(layer.namedBuffers());
      for (const [k, b] of Object.entries(figure.after)) expectClose(buffers[camel(k)], b, k);
      layer.eval();
      const evaluated = noGrad(() => flat(layer.forward(...xs)));
      evaluated.forEach((y, i) => {
        expectClose(y, figure.evaluated[i], `evaluated output ${i}`);
      });

      // Captured, from the same state.
      const again = build(figure);
      const step = compile((...args: Tensor[]) => flat(again.layer.forward(...args)));
      const detached = again.xs.map((x) => x.detach());
      step(...detached).forEach((y, i) => {
        expectClose(y, figure.outputs[i], `captured output ${i}`);
      });
      for (const [k, b] of Object.entries(figure.after)) {
        expectClose(Object.fromEntries(again.layer.namedBuffers())[camel(k)], b, `captured ${k}`);
      }
    },
    30_000,
  );
});
