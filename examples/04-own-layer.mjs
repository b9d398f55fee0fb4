// A layer of one's own: a Module with parameters and two branches, and a function with a gradient of its own.
import assert from "node:assert/strict";
import { crossEntropy, customGrad, gradcheck, manualSeed, nn, noGrad, ones, optim, randn, tensor } from "nablajs";

// Hard steps have no useful gradient. This one passes the gradient through where the input is small ("straight-through
// estimator", Bengio et al. 2013). What forward does is not recorded; backward gets what it saved.
const step = customGrad({
  name: "step",
  forward: (context, x) => {
    context.save(x);
    return x.gt(0).to(x.dtype);
  },
  backward: ({ saved: [x] }, g) => g.mul(x.abs().lt(1)),
});

/** Binary gates that are learned, over a linear map, beside a direct path. */
class Gated extends nn.Module {
  constructor(inputs, outputs) {
    super();
    // Parameters and modules that are assigned to properties belong to the module.
    this.gate = new nn.Linear(inputs, outputs);
    this.main = new nn.Linear(inputs, outputs);
    this.scale = new nn.Parameter(ones([outputs]));
  }
  forward(x) {
    return step(this.gate.forward(x)).mul(this.main.forward(x)).add(this.main.forward(x).mul(this.scale));
  }
}

manualSeed(3);
const model = new nn.Sequential([new Gated(2, 16), new nn.Linear(16, 2)]);
console.log(String(model));
console.log([...model.namedParameters()].map(([name, p]) => `${name} [${p.shape}]`).join(", "));

// The two classes: are the signs of both coordinates equal?
const x = randn([256, 2]);
const y = x.index(":", 0).mul(x.index(":", 1)).gt(0).to("int64");
const optimizer = new optim.Adam(model.parameters(), { lr: 0.02 });
for (let i = 0; i < 150; i++) {
  optimizer.zeroGrad();
  const loss = crossEntropy(model.forward(x), y);
  loss.backward();
  optimizer.step();
  if (i % 50 === 0) console.log(`step ${i}: loss ${loss.item().toFixed(4)}`);
}
const accuracy = noGrad(() => model.forward(x).argmax(1).eq(y).to("float32").mean().item());
console.log("accuracy:", accuracy);
assert(accuracy > 0.9);

// gradcheck compares a gradient rule with differences of values; for a smooth function it must agree.
const cube = customGrad({
  forward: (context, v) => {
    context.save(v);
    return v.pow(3);
  },
  backward: ({ saved: [v] }, g) => g.mul(v.square().mul(3)),
});
assert(gradcheck((v) => cube(v), [tensor([1, -2], { dtype: "float64", requiresGrad: true })]));
