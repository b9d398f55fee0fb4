// One of several workers that use the addon at once: loads it, computes, and says so; runs on when asked to.
import { parentPort, workerData } from "node:worker_threads";
import { Engine, number, view } from "./engine.mjs";

const engine = new Engine();
const n = 64;
const shape = [1, n, n];
const square = n * n * 4;
for (let slot = 0; slot < 3; slot++) engine.write(engine.alloc(slot, square));
engine.write(engine.apply("copy", view(0, shape), [number(workerData.value)]));
const product = engine.instruction("matmul", [], [view(1, shape)], [view(0, shape), view(0, shape)]);
const program = engine.addon.load(
  engine.program(
    [{ bytes: square }, { bytes: square }],
    Array.from({ length: 20 }, () => product),
  ),
);
for (let i = 0; i < 20; i++) engine.write(engine.replay(program, [0, 1]));
engine.submit();
const target = new Float32Array(n * n);
await engine.addon.readAsync(1, 0, target);
parentPort.postMessage(target.every((x) => x === n * workerData.value ** 2));

if (workerData.forever) {
  // To be terminated while instructions run, batches wait and a promise is open.
  for (let i = 0; i < 1500; i++) engine.write(product);
  engine.submit();
  engine.addon.readAsync(1, 0, target);
  for (;;) {
    engine.write(product);
    engine.submit();
  }
}
