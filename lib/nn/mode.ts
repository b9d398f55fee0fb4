// Running a module otherwise than in its present mode, and back.
import { CaptureError } from "../errors.js";
import { Capture } from "../graph/capture.js";
import { noGrad, withCapture } from "../graph/modes.js";
import type { Module } from "./module.js";

/** Remembers which parts of a module are in training mode; what is returned puts them back. */
export function keepModes(module: Module): () => void {
  const parts = [...module.modules()];
  const before = parts.map((m) => m.training);
  return () => {
    // Parts come after what they are part of, whose mode they take first.
    parts.forEach((m, i) => {
      if (m.training !== before[i]) m.train(before[i]);
    });
  };
}

/**
 * Runs `fn`, which calls the module's forward, for shapes and dtypes only: in evaluation mode, without gradients, and
 * without computing anything unless the module reads values.
 */
export function forShapes<R>(module: Module, fn: () => R): R {
  const back = keepModes(module);
  module.eval();
  const run = (): R => noGrad(fn);
  try {
    return withCapture(new Capture(null), run);
  } catch (error) {
    if (error instanceof CaptureError) return run();
    throw error;
  } finally {
    back();
  }
}
