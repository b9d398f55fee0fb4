// Optimizers against ten steps of PyTorch's (scripts/figures/optim.py), eager and captured.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { compile, mul, optim, sum, type Tensor, tensor, zeros } from "../../lib/index.js";
import { onEveryDevice } from "../devices.js";

interface Figure {
  name: "SGD" | "Adam" | "AdamW" | "RMSprop" | "Adagrad" | "Adadelta" | "Adamax" | "NAdam" | "RAdam";
  options: Record<string, number | boolean | [number, number]>;
  path: number[][];
}
const figures: Figure[] = JSON.parse(readFileSync(new URL("../figures/optim.json", import.meta.url), "utf8"));
const camel = (key: string) => key.replace(/_(.)/g, (_, c) => c.toUpperCase());
const title = ({ name, options }: Figure) => `${name} ${JSON.stringify(options)}`;

onEveryDevice("optimizers", (device) => {
  const f64 = { dtype: "float64", device } as const;
  const gradients = Array.from({ length: 10 }, (_, k) => [0, 1, 2].map((i) => Math.sin(k + i) * (1 + i)));

  test.each(figures.flatMap((f) => [true, false].map((captured) => [title(f), captured, f] as const)))(
    "%s, captured: %s",
    (_, captured, { name, options, path }) => {
      const p = tensor([1, -2, 0.5], { ...f64, requiresGrad: true });
      const settings = Object.fromEntries(Object.entries(options).map(([k, v]) => [camel(k), v])) as { lr: number };
      const optimizer = new optim[name]([p], settings);
      const body = (g: Tensor) => {
        optimizer.zeroGrad();
        sum(mul(p, g)).backward();
        optimizer.step();
      };
      const step = captured ? compile(body) : body;
      gradients.forEach((g, k) => {
        step(tensor(g, f64));
        (p.toArray() as number[]).forEach((x, i) => {
          expect(x).toBeCloseTo(path[k][i], 12);
        });
      });
    },
  );

  test("groups have hyper-parameters of their own, and may change between captured steps", () => {
    const [a, b] = [zeros([1], { ...f64, requiresGrad: true }), zeros([1], { ...f64, requiresGrad: true })];
    const optimizer = new optim.SGD([{ params: [a] }, { params: [b], lr: 10 }], { lr: 1 });
    const step = compile(() => {
      optimizer.zeroGrad();
      sum(a.add(b)).backward();
      optimizer.step();
    });
    step();
    optimizer.paramGroups[1].lr = 100;
    step();
    expect([a.item(), b.item()]).toEqual([-2, -110]);
    optimizer.paramGroups[0].momentum = 0.5; // another rule: recorded anew
    step();
    step();
    expect(a.item()).toBe(-2 - 1 - 1.5);
    expect(step.programs).toHaveLength(2);
  });

  test("a state that is saved and restored goes on as if nothing had happened", () => {
    const run = (interrupted: boolean) => {
      const p = tensor([1, 2], { ...f64, requiresGrad: true });
      let optimizer = new optim.Adam([p], { lr: 0.1 });
      for (let i = 0; i < 6; i++) {
        if (interrupted && i === 3) {
          const state = optimizer.stateDict();
          optimizer = new optim.Adam([p], { lr: 0.7 });
          optimizer.loadStateDict(state);
        }
        optimizer.zeroGrad();
        sum(mul(p, p)).backward();
        optimizer.step();
      }
      return p.toArray();
    };
    expect(run(true)).toEqual(run(false));
  });
});
