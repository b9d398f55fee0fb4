// Loops as one writes them by hand, in plain JavaScript.
import { CHECKED_STEPS, PlainMlp, plainMatmul } from "../../dist/bench.mjs";
import { serve, variant } from "./serve.mjs";

await serve({ version: process.version }, (spec, data) => {
  switch (spec.kind) {
    case "matmul": {
      const { m, k, n, chain } = spec;
      if (chain > 1) return "chains are left to libraries";
      const c = new Float32Array(m * n);
      const one = () => {
        plainMatmul(data.a, data.b, c, m, k, n);
        return c;
      };
      return [variant("", one, one)];
    }
    case "mlp": {
      const net = new PlainMlp(spec.sizes, spec.batch, data, Float32Array);
      let at = 0;
      const one = () => {
        const loss = net.step(data.x, data.y, at * spec.batch);
        at = (at + 1) % spec.batches;
        return loss;
      };
      return [variant("", () => Array.from({ length: CHECKED_STEPS }, one), one)];
    }
    default:
      return "it is written for products and training steps";
  }
});
