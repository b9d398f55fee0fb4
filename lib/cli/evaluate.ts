// `nabla evaluate`: loss and metrics of a trained model on a table.
import { type BatchSource, io, Trainer } from "../index.js";
import { loadData, loadRun, type TrainedRun } from "./job.js";
import { shown } from "./run.js";
import { checkUnchanged, featuresOf, type Part, targetOf } from "./tables.js";
import { parse, UsageError } from "./usage.js";

const help = `Usage: nabla evaluate <run> [options]

Prints the loss and the metrics of a run's model: on its test data, else on its validation data, or on another table.

  --data FILE      a table with the columns of the training's; it may be of any size
  --weights WHICH  best (default) or last
  --json           the result as one line of JSON
  --device NAME    where to compute (default: as in the training)
  --threads N      compute threads
`;

export async function evaluate(args: string[]): Promise<number> {
  const options = parse(
    args,
    {
      data: { type: "string" },
      weights: { type: "string", default: "best" },
      json: { type: "boolean" },
      device: { type: "string" },
      threads: { type: "string" },
    },
    help,
    ["<run>"],
  );
  if (!options) return 0;
  const run = await loadRun(options.operands[0], options);
  const { name, batches } =
    options.data === undefined ? await own(run) : { name: options.data, batches: table(run, options.data) };
  const logs = await new Trainer({ verbose: 0, device: run.settings.device }).test(run.module, batches);
  const result = { run: shown(run.directory), weights: options.weights, data: name, ...logs };
  if (options.json) process.stdout.write(`${JSON.stringify(result)}\n`);
  else {
    const values = Object.entries(logs).map(([key, value]) => `${key} ${Number(value.toPrecision(5))}`);
    process.stdout.write(`${result.run}, ${result.weights} weights, ${name}: ${values.join(", ")}\n`);
  }
  return 0;
}

/** Data that the run has kept from its training. */
async function own(run: TrainedRun): Promise<{ name: string; batches: BatchSource }> {
  const { parts, preprocessing } = await loadData(run.settings);
  if (preprocessing && run.preprocessing)
    checkUnchanged(preprocessing, run.preprocessing, "--data gives another table");
  const name = (["test", "validation"] as const).find((part: Part) => parts[part] !== undefined);
  if (name === undefined) throw new UsageError("the run kept no data.test or data.validation; --data gives a table");
  return { name: `${name} data`, batches: parts[name] as BatchSource };
}

/** Batches of another table. */
function table({ preprocessing, settings }: TrainedRun, path: string): BatchSource {
  if (!preprocessing)
    throw new UsageError("--data: the data of this run were made by its module; it evaluates data.test");
  const { reading, schema } = preprocessing;
  const tables = io.csvBatches(path, { ...reading, schema, batchSize: settings.batchSize });
  return (async function* () {
    for await (const rows of tables) yield [featuresOf(rows, preprocessing), targetOf(rows, preprocessing)];
  })();
}
