// compile(fn): what a captured program looks like, and what may change between its replays.
import assert from "node:assert/strict";
import { compile, nn, optim, randn, tensor } from "nablajs";

// A chain of element-wise operations becomes one pass over memory.
const gaussian = compile((x, mean) => x.sub(mean).square().mul(-0.5).exp().sum());
const x = randn([1000]);
const first = gaussian(x, tensor(0));
console.log(String(gaussian.programs[0])); // the plan: buffers, steps, fused groups, the arena
assert.equal(first.item(), x.square().mul(-0.5).exp().sum().item());

// Tensors are inputs: other values replay the same program. Another shape or dtype records another one.
gaussian(randn([1000]), tensor(1));
assert.equal(gaussian.programs.length, 1);
gaussian(randn([10]), tensor(1));
assert.equal(gaussian.programs.length, 2);

// Forward, backward and the update in one program: what the eager loop spends on many small operations goes away.
const model = new nn.Sequential([new nn.Linear(8, 32), new nn.Tanh(), new nn.Linear(32, 1)]);
const optimizer = new optim.Adam(model.parameters(), { lr: 0.01 });
const step = (inputs, targets) => {
  optimizer.zeroGrad();
  const loss = model.forward(inputs).sub(targets).square().mean();
  loss.backward();
  optimizer.step();
  return loss;
};
const captured = compile(step);
const inputs = randn([32, 8]);
const targets = inputs.sum(1, true).sin();
function perSecond(fn, count) {
  fn(inputs, targets).item(); // recorded here
  const started = performance.now();
  let loss;
  for (let i = 0; i < count; i++) loss = fn(inputs, targets);
  loss.item();
  return Math.round((1000 * count) / (performance.now() - started));
}
console.log("eager steps per second:   ", perSecond(step, 100));
console.log("captured steps per second:", perSecond(captured, 100));

// Learning rates, step counts and random numbers are read anew at every replay. With rate 0 nothing moves.
optimizer.paramGroups[0].lr = 0;
const before = model.stateDict()["0.bias"].toArray();
captured(inputs, targets);
assert.deepEqual(model.stateDict()["0.bias"].toArray(), before);
assert.equal(captured.programs.length, 1);

// Reading a value while recording is refused: it does not exist yet.
assert.throws(
  () => compile((v) => (v.sum().item() > 0 ? v : v.neg()))(x),
  /reading a value inside a captured function/,
);
