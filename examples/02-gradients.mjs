// Gradients: backward() as in PyTorch, and functions that return gradients as in JAX.
import assert from "node:assert/strict";
import { grad, hessian, noGrad, tensor, valueAndGrad } from "nablajs";

// Operations on a tensor with requiresGrad are recorded; backward() walks them and fills `grad`.
const a = tensor([3, 6], { requiresGrad: true });
const b = tensor([4, 8]);
const c = a.square().add(b.square()).sqrt().mean(); // the mean of √(a² + b²)
console.log("c =", c); // names the operation that made it
c.backward();
console.log("∂c/∂a =", a.grad); // a / (2·√(a² + b²))
assert.equal(c.item(), 7.5);
assert.deepEqual(
  a.grad.toArray().map((g) => g.toFixed(4)),
  ["0.3000", "0.3000"],
);

// Gradients add up until they are cleared.
a.mul(2).sum().backward();
assert.deepEqual(
  a.grad.toArray().map((g) => g.toFixed(4)),
  ["2.3000", "2.3000"],
);
a.grad = null;

// Without a record: evaluation, and updates of parameters.
assert.equal(noGrad(() => a.mul(2)).requiresGrad, false);

// Descent by hand: minimise (x₁ − 3)² + (x₂ + 2)².
const x = tensor([0, 0], { requiresGrad: true });
const goal = tensor([3, -2]);
for (let step = 0; step < 15; step++) {
  x.grad = null;
  x.sub(goal).square().sum().backward();
  noGrad(() => x.sub_(x.grad.mul(0.1)));
}
console.log("after 15 steps:", x);
assert(Math.abs(x.toArray()[0] - 3 * (1 - 0.8 ** 15)) < 1e-5);

// The same without state: grad(f) is the function that computes the gradient. It nests.
const f = (v) => v.pow(3).sum();
const v = tensor([1, 2]);
const [value, gradient] = valueAndGrad(f)(v);
assert.deepEqual([value.item(), gradient.toArray()], [9, [3, 12]]);
const second = grad((u) => grad(f)(u).sum())(v);
assert.deepEqual(second.toArray(), [6, 12]);
assert.deepEqual(hessian(f)(v).toArray(), [
  [6, 0],
  [0, 12],
]);
console.log("f′ =", gradient, " f″ =", second);
