// Draws the pictures of docs/overfitting.md and docs/report.md into docs/pictures/: node scripts/pictures.mjs
// On the JavaScript device and with fixed seeds, so that they come out the same everywhere.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  biasVariance,
  data,
  diagnose,
  History,
  learningCurve,
  manualSeed,
  nn,
  optim,
  setDefaultDevice,
  validationCurve,
} from "nablajs";
import * as report from "nablajs/report";
import { root } from "./lib.mjs";

setDefaultDevice("js");
const folder = join(root, "docs/pictures");
mkdirSync(folder, { recursive: true });
const save = (name, svg) => writeFileSync(join(folder, `${name}.svg`), svg);

/** Standard normal numbers, from a small generator of its own. */
function normals(seed) {
  let state = (seed * 2654435761 + 12345) >>> 0;
  const uniform = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state + 0.5) / 2 ** 32;
  };
  for (let i = 0; i < 8; i++) uniform();
  return { uniform, normal: () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()) };
}

const truth = (x) => Math.sin(Math.PI * x);
const NOISE = 0.3;
function samples(n, seed) {
  const { uniform, normal } = normals(seed);
  const x = Array.from({ length: n }, () => 2 * uniform() - 1);
  return { x, y: x.map((v) => truth(v) + NOISE * normal()) };
}

/** Least squares of a polynomial in Legendre's basis, by the normal equations. */
const polynomial = (degree) => (x, y) => {
  const basis = (v) => {
    const p = [1, v];
    for (let k = 1; k < degree; k++) p.push(((2 * k + 1) * v * p[k] - k * p[k - 1]) / (k + 1));
    return p.slice(0, degree + 1);
  };
  const rows = x.map(basis);
  const n = degree + 1;
  const a = Array.from({ length: n }, (_, i) => [
    ...Array.from({ length: n }, (_, j) => rows.reduce((s, r) => s + r[i] * r[j], i === j ? 1e-6 : 0)),
    rows.reduce((s, r, k) => s + r[i] * y[k], 0),
  ]);
  for (let i = 0; i < n; i++) {
    const pivot = a.slice(i).reduce((best, row, k) => (Math.abs(row[i]) > Math.abs(a[best][i]) ? i + k : best), i);
    [a[i], a[pivot]] = [a[pivot], a[i]];
    for (let j = 0; j < n; j++) {
      if (j === i) continue;
      const f = a[j][i] / a[i][i];
      for (let k = i; k <= n; k++) a[j][k] -= f * a[i][k];
    }
  }
  const weights = a.map((row, i) => row[n] / row[i]);
  return (at) => at.map((v) => basis(v).reduce((s, b, k) => s + b * weights[k], 0));
};

// Five points, a line and a curve.
{
  const pairs = (x, y) => x.map((v, i) => [v, y[i]]);
  const [x, y] = [
    [0.64, 1.39, 1.76, 2.68, 3.94],
    [0.92, 2.26, 1.29, 2.99, 3.4],
  ];
  const at = Array.from({ length: 200 }, (_, i) => 0.3 + (3.9 * i) / 199);
  const scaled = (list) => list.map((v) => v / 2 - 1.1);
  const curve = (degree) => ({ x: at, y: polynomial(degree)(scaled(x), y)(scaled(at)) });
  const fits = [
    { name: "2 parameters", ...curve(1), train: pairs(x, y), validation: pairs([2.16, 3.43], [2.53, 3.22]) },
    { name: "7 parameters", ...curve(6) },
  ];
  save("five-points", await report.fitsPicture(fits, { title: "Five points, two models" }));
}

// Capacity: polynomials of growing degree through 25 noisy points of a sine.
const degrees = [0, 1, 2, 3, 4, 5, 6, 8, 10, 12];
{
  const curve = await validationCurve(polynomial, degrees, samples(25, 3), { folds: 5, seed: 1 });
  const options = { name: "degree", score: "squared error", title: "Error by capacity" };
  save("validation-curve", await report.validationCurvePicture(curve, options));
  const at = Array.from({ length: 41 }, (_, i) => -1 + i / 20);
  const targets = Array.from({ length: 50 }, (_, k) => {
    const { normal } = normals(1000 + k);
    return at.map((v) => truth(v) + NOISE * normal());
  });
  const parts = [];
  for (const degree of degrees.slice(0, 7)) {
    const fit = polynomial(degree);
    parts.push(
      await biasVariance({ fit, sample: (draw) => samples(25, 7 * draw + 1), test: { x: at, y: targets }, draws: 200 }),
    );
  }
  const title = "Where the error comes from";
  save("bias-variance", await report.biasVariancePicture(degrees.slice(0, 7), parts, { name: "degree", title }));
}

// More data: what it does for a model that is too small, and for one that is large.
for (const [name, degree] of [
  ["small", 1],
  ["large", 8],
]) {
  const curve = await learningCurve(polynomial(degree), samples(400, 5), {
    sizes: [30, 45, 70, 100, 200, 320],
    seed: 2,
  });
  const title = `Degree ${degree}: ${name === "small" ? "more data do not help" : "more data help"}`;
  save(`learning-curve-${name}`, await report.learningCurvePicture(curve, { score: "squared error", title }));
}

// Trainings: too small, right, too large.
async function train(hidden, count, epochs, lr) {
  manualSeed(3);
  const { x, y } = data.makeMoons({ samples: count + 300, noise: 0.3, seed: 5 });
  const [xv, yv] = [x.slice(0, count, count + 300), y.slice(0, count, count + 300)];
  const model = new nn.Sequential([
    new nn.Linear(2, hidden),
    new nn.Tanh(),
    new nn.Linear(hidden, 2),
    new nn.Softmax(),
  ]);
  model.compile({ optimizer: new optim.Adam(model.parameters(), { lr }), loss: "sparse_categorical_crossentropy" });
  const options = { epochs, batchSize: count, seed: 1, verbose: 0, validationData: [xv, yv] };
  const history = await model.fit(x.slice(0, 0, count), y.slice(0, 0, count), options);
  const diagnosis = diagnose(history, { baseline: Math.LN2 });
  console.log(diagnosis.text, "\n");
  const evaluation = await report.evaluateForReport(model, { x: xv, y: yv }, { labels: ["upper moon", "lower moon"] });
  return { history: history instanceof History ? history.history : history, diagnosis, boundary: evaluation.boundary };
}
for (const [name, title, ...settings] of [
  ["underfits", "Still learning", 16, 400, 60, 0.003],
  ["fits", "Fits", 16, 400, 150, 0.03],
  ["overfits", "Learns by heart", 64, 30, 300, 0.03],
]) {
  const { history, diagnosis, boundary } = await train(...settings);
  if (diagnosis.verdict !== name) throw new Error(`${name}: the diagnosis is ${diagnosis.verdict}`);
  save(name, await report.lossCurves("loss", history.loss, history.val_loss, { diagnosis }, { title }));
  if (name !== "underfits") save(`boundary-${name}`, await report.boundaryPicture(boundary, { title }));
}
