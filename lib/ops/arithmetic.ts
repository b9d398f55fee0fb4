// Ties the layers together: hands the backward pass the few operations that it needs itself, and loads what Tensor
// and others call late.
import "../graph/backward.js";
import { onesLike } from "../tensor/create.js";
import { late } from "../tensor/late.js";
import "../tensor/print.js";
import "../tensor/read.js";
import { add, add_, isNan } from "./elementwise.js";
import { cast, clone } from "./pointwise.js";
import { sum } from "./reduce.js";

late.arithmetic = {
  add,
  addInPlace: add_,
  onesLike: (x) => onesLike(x),
  cast,
  copy: clone,
  hasNaN: (x) => sum(isNan(x)).item() > 0,
};
