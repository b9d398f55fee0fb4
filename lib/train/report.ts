// The report at the end of a run that asked for one; what writes it is loaded only then.
import { join } from "node:path";
import { replaceFile } from "../io/atomic.js";
import { cat } from "../ops/arrange.js";
import type { Tensor } from "../tensor/tensor.js";
import type { TrainModule } from "./module.js";

/** Samples as the report shows them: targets of classifiers are integers. */
export interface Samples {
  readonly x: Tensor;
  readonly y: Tensor;
  /** With one score a sample: at least this is class 1. */
  readonly threshold?: number;
}

/** More validation samples than this are not looked at again. */
const MOST = 10_000;

/**
 * Evaluates the model on batches of validation samples, where they are pairs of tensors, and writes the report into the
 * run's directory.
 *
 * @returns what the curves say, and where the page is
 */
export async function reportRun(module: TrainModule, directory: string, batches: Iterable<Samples>): Promise<string> {
  const { evaluateForReport, writeReport } = await import("../report/index.js");
  const kept: Samples[] = [];
  let count = 0;
  for (const batch of batches) {
    if (count >= MOST) break;
    kept.push(batch);
    count += batch.x.shape[0];
  }
  if (kept.length > 0) {
    const [x, y] = [cat(kept.map((b) => b.x)), cat(kept.map((b) => b.y))];
    const evaluation = await evaluateForReport(module.subject(), { x, y }, { threshold: kept[0].threshold });
    const text = `${JSON.stringify(evaluation)}\n`;
    await replaceFile(join(directory, "evaluation.json"), (file) => file.writeFile(text));
  }
  const { path, diagnosis } = await writeReport(directory);
  return `${diagnosis ? `${diagnosis.text}\n` : ""}report: ${path}`;
}
