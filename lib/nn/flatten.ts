// Flatten: everything but the batch dimension in one.
import { reshape } from "../ops/movement.js";
import type { Tensor } from "../tensor/tensor.js";
import { Module } from "./module.js";

/** B×… → B×(product of the rest). */
export class Flatten extends Module {
  override forward(x: Tensor): Tensor {
    return reshape(x, [x.shape[0], -1]);
  }
}
