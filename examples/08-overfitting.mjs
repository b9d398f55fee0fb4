// Overfitting in five points: a line, with 2 parameters, misses all of them a little and says something of others; a curve
// with 7 goes through every one and is wrong everywhere else. Writes the picture to runs/overfitting/fits.svg.
import assert from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
import { diagnose, mseLoss, nn, noGrad, optim, stack, tensor } from "nablajs";
import { fitsPicture, lossCurves } from "nablajs/report";

const points = (x, y) => x.map((v, i) => [v, y[i]]);
const train = points([0.64, 1.39, 1.76, 2.68, 3.94], [0.92, 2.26, 1.29, 2.99, 3.4]);
const validation = points([2.16, 3.43], [2.53, 3.22]);
const column = (pairs, k) =>
  tensor(
    pairs.map((p) => p[k]),
    { dtype: "float64" },
  );

/** A polynomial: features (x/4)⁰ … (x/4)ᵈ, one weight each. */
class Polynomial extends nn.Module {
  constructor(degree) {
    super();
    this.weights = new nn.Parameter(tensor(new Array(degree + 1).fill(0), { dtype: "float64" }));
  }
  forward(x) {
    const powers = [...this.weights.toArray().keys()].map((k) => x.mul(0.25).pow(k));
    return stack(powers, 1).matmul(this.weights);
  }
}

/** Fits by L-BFGS in float64, looking at the validation points after each iteration, never using them. */
function learn(degree) {
  const model = new Polynomial(degree);
  const [x, y, xv, yv] = [column(train, 0), column(train, 1), column(validation, 0), column(validation, 1)];
  const options = { maxIter: 1, maxEval: 25, lineSearchFn: "strongWolfe", toleranceGrad: 0, toleranceChange: 0 };
  const optimizer = new optim.LBFGS(model.parameters(), options);
  const history = { loss: [], val_loss: [] };
  const error = (a, b) => noGrad(() => mseLoss(model.forward(a), b).item());
  for (let epoch = 0; epoch < 60 && error(x, y) > 1e-12; epoch++) {
    optimizer.step(() => {
      optimizer.zeroGrad();
      const loss = mseLoss(model.forward(x), y);
      loss.backward();
      return loss;
    });
    history.loss.push(error(x, y));
    history.val_loss.push(error(xv, yv));
  }
  const parameters = model.parameterCount();
  const diagnosis = diagnose(history, { baseline: 0.9 }); // the variance of the targets
  console.log(
    `\n${parameters} parameters: training error ${error(x, y).toExponential(2)}, validation error ${error(xv, yv).toExponential(2)}`,
  );
  console.log(diagnosis.text);
  const at = Array.from({ length: 201 }, (_, i) => 0.3 + (3.9 * i) / 200);
  const values = noGrad(() => model.forward(tensor(at, { dtype: "float64" })).toArray());
  return { parameters, history, diagnosis, train: error(x, y), validation: error(xv, yv), curve: { x: at, y: values } };
}

const line = learn(1);
const curve = learn(6);
assert.equal(line.parameters, 2);
assert.equal(curve.parameters, 7);
assert(curve.train <= 1e-12); // it has learned the five points by heart
assert(line.train > 0.19 && line.train < 0.2); // the least squares of a line
assert(curve.validation > 1e6 * curve.train);
assert(curve.validation > 100 * line.validation);
assert.equal(curve.diagnosis.verdict, "overfits");

const picture = await fitsPicture(
  [
    { name: "2 parameters", train, validation, ...line.curve },
    { name: "7 parameters", ...curve.curve },
  ],
  { title: "Five points, two models" },
);
const losses = await lossCurves("squared error", curve.history.loss, curve.history.val_loss, curve, {
  title: "7 parameters",
});
await mkdir("runs/overfitting", { recursive: true });
await writeFile("runs/overfitting/fits.svg", picture);
await writeFile("runs/overfitting/losses.svg", losses);
console.log("\npictures: runs/overfitting/fits.svg, runs/overfitting/losses.svg");
