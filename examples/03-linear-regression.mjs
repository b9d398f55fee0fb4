// Linear regression three times: by hand, with nn and optim, and captured into one program, which gives
// the same results to the bit.
import assert from "node:assert/strict";
import { compile, manualSeed, mseLoss, nn, noGrad, optim, rand, randn, tensor } from "nablajs";

manualSeed(1);
const x = rand([64, 1]).mul(4).sub(2);
const y = x
  .mul(1.9)
  .add(1.1)
  .add(randn([64, 1]).mul(0.1)); // y = 1.9·x + 1.1 and some noise
const start = { weight: tensor([[5]]), bias: tensor([0]) };
const RATE = 0.1;
const STEPS = 60;

// 1. By hand.
const weight = start.weight.clone().requireGrad();
const bias = start.bias.clone().requireGrad();
for (let step = 0; step < STEPS; step++) {
  const loss = x.matmul(weight.t()).add(bias).sub(y).square().mean();
  loss.backward();
  noGrad(() => {
    for (const p of [weight, bias]) {
      p.sub_(p.grad.mul(RATE));
      p.grad = null;
    }
  });
  if (step % 20 === 0) console.log(`step ${step}: loss ${loss.item().toFixed(4)}`);
}
console.log(`by hand: y = ${weight.item().toFixed(3)}·x + ${bias.item().toFixed(3)}`);
assert(Math.abs(weight.item() - 1.9) < 0.05 && Math.abs(bias.item() - 1.1) < 0.05);

// 2. and 3. The usual parts: a model, a loss, an optimizer, and one step that uses them.
function train(wrap) {
  const model = new nn.Linear(1, 1);
  model.loadStateDict(start);
  const optimizer = new optim.SGD(model.parameters(), { lr: RATE });
  const step = wrap((inputs, targets) => {
    optimizer.zeroGrad();
    const loss = mseLoss(model.forward(inputs), targets);
    loss.backward();
    optimizer.step();
    return loss;
  });
  let loss;
  for (let i = 0; i < STEPS; i++) loss = step(x, y);
  return { loss: loss.item(), state: [model.weight.item(), model.bias.item()] };
}

const eager = train((step) => step);
const captured = train(compile); // recorded at the first call, replayed as one program afterwards
console.log("eager:   ", eager);
console.log("captured:", captured);
assert.deepEqual(captured, eager);
assert(Math.abs(eager.state[0] - weight.item()) < 1e-5 && Math.abs(eager.state[1] - bias.item()) < 1e-5);
