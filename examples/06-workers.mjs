// Training in worker threads: each worker has its own devices and tensors; typed arrays travel between them.
import assert from "node:assert/strict";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { compile, manualSeed, mseLoss, nn, optim, rand, setNumThreads, tensor } from "nablajs";

// This file is both sides: the workers that the main thread starts take the `else` branch at the end.
const RATES = [0.003, 0.03, 0.3];

const newModel = () => new nn.Sequential([new nn.Linear(1, 16), new nn.Tanh(), new nn.Linear(16, 1)]);

/** Learns sin(3x) on [0, 1] with the given learning rate; returns the last loss and the parameters' values. */
function train(rate) {
  setNumThreads(1); // the workers share the machine
  manualSeed(5);
  const model = newModel();
  const optimizer = new optim.Adam(model.parameters(), { lr: rate });
  const x = rand([64, 1]);
  const y = x.mul(3).sin();
  const step = compile(() => {
    optimizer.zeroGrad();
    const loss = mseLoss(model.forward(x), y);
    loss.backward();
    optimizer.step();
    return loss;
  });
  let loss;
  for (let i = 0; i < 300; i++) loss = step();
  const state = Object.entries(model.stateDict()).map(([name, p]) => [name, { values: p.dataSync(), shape: p.shape }]);
  return { rate, loss: loss.item(), state };
}

if (isMainThread) {
  // A tensor belongs to its thread, so the values are sent and tensors made of them here.
  const results = await Promise.all(
    RATES.map(
      (rate) =>
        new Promise((resolve, reject) => {
          new Worker(new URL(import.meta.url), { workerData: rate }).once("message", resolve).once("error", reject);
        }),
    ),
  );
  for (const { rate, loss } of results) console.log(`learning rate ${rate}: loss ${loss.toExponential(2)}`);
  const best = results.reduce((a, b) => (a.loss < b.loss ? a : b));
  const model = newModel();
  model.loadStateDict(
    Object.fromEntries(best.state.map(([name, { values, shape }]) => [name, tensor(values, { shape })])),
  );
  const guess = model.forward(tensor([[0.5]])).item();
  console.log(`best: ${best.rate}; sin(1.5) = ${Math.sin(1.5).toFixed(4)}, the model says ${guess.toFixed(4)}`);
  assert(best.loss < 1e-3 && Math.abs(guess - Math.sin(1.5)) < 0.05);
  // One seed, one result: the same training in this thread gives the same bits.
  assert.equal(train(best.rate).loss, best.loss);
} else {
  parentPort.postMessage(train(workerData));
}
