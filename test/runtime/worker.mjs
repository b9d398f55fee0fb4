// Trains a small model in a worker and posts its final weights.
import { parentPort, workerData } from "node:worker_threads";
import { compile, manualSeed, mseLoss, nn, optim, setDefaultDevice, tensor } from "nablajs";

setDefaultDevice(workerData.device);
manualSeed(workerData.seed);
const model = new nn.Sequential([new nn.Linear(2, 16), new nn.Tanh(), new nn.Linear(16, 1)]);
const optimizer = new optim.Adam(model.parameters(), { lr: 0.01 });
const x = tensor([
  [0, 0],
  [0, 1],
  [1, 0],
  [1, 1],
]);
const y = tensor([[0], [1], [1], [0]]);
const body = () => {
  const loss = mseLoss(model.forward(x), y);
  loss.backward();
  optimizer.step();
  optimizer.zeroGrad();
  return loss;
};
const step = workerData.captured ? compile(body) : body;
let loss;
for (let i = 0; i < workerData.steps; i++) loss = step();
await loss.data();
parentPort.postMessage({
  loss: loss.item(),
  weights: [...model.parameters()].map((p) => p.toArray()),
});
