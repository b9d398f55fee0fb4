// writeReport: the page of a run and its pictures as files.
import { mkdir } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { Diagnosis } from "../index.js";
import { replaceFile } from "../io/atomic.js";
import { bodyOf, diagnosisOf, pageOf, picturesOf } from "./page.js";
import { readRun } from "./run.js";

/** What was written. */
export interface WrittenReport {
  readonly path: string;
  /** Paths of the pictures. */
  readonly pictures: readonly string[];
  /** What the curves say; null where there is no validation. */
  readonly diagnosis: Diagnosis | null;
}

/**
 * Writes the report of a run: one page that needs nothing else, with curves, diagnosis, evaluation, model and settings, and
 * each picture as an SVG file beside it. Page and pictures have colours for light and for dark surroundings.
 *
 * The directory holds `run.json` and `log.jsonl`, which training writes, and optionally `evaluation.json` (see
 * `evaluateForReport`). A run that is still going or was killed is reported as far as it has come.
 *
 * @example
 * import { writeReport } from "nablajs/report";
 * const { path, diagnosis } = await writeReport("runs/digits");
 *
 * @param directory of the run
 * @param path of the page; default: `report.html` in the directory
 * @throws FileError where there is no such run, or a file in it is damaged
 */
export async function writeReport(directory: string, path = join(directory, "report.html")): Promise<WrittenReport> {
  const run = await readRun(directory);
  const page = pageOf(`${run.record.name} · report`, await bodyOf(run));
  const folder = dirname(path);
  await mkdir(folder, { recursive: true });
  const stem = basename(path).replace(/\.html?$/i, "");
  const pictures: string[] = [];
  for (const picture of picturesOf(run)) {
    // Names of metrics are anybody's; those of files are plain, and differ.
    const plain = picture.name.replace(/[^\w-]+/g, "-").slice(0, 40);
    let file = join(folder, `${stem}-${plain}.svg`);
    for (let i = 2; pictures.includes(file); i++) file = join(folder, `${stem}-${plain}-${i}.svg`);
    const svg = await picture.draw(true);
    await replaceFile(file, (handle) => handle.writeFile(svg));
    pictures.push(file);
  }
  await replaceFile(path, (handle) => handle.writeFile(page));
  return { path, pictures, diagnosis: diagnosisOf(run.progress) };
}
