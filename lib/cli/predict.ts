// `nabla predict`: a table in, its predictions out, a batch of rows at a time.
import { io, noGrad, softmax, type Tensor } from "../index.js";
import { loadRun, type TrainedRun, takesOf } from "./job.js";
import type { Preprocessing } from "./tables.js";
import { featuresOf } from "./tables.js";
import { parse, UsageError, wholeNumber } from "./usage.js";

const help = `Usage: nabla predict <run> <input.csv> [options]

Writes what the model of a run predicts for each row of a table. The columns are found by their names, and rows are read
as those of the training were; the file may be of any size. - is standard input.

  --output, -o FILE   where to write (default: standard output); the file appears when it is complete
  --probabilities     a column p_<label> for each class too
  --header a,b | true the names of the input's columns, where it has none; or that its first line names them, where those
                      of the training had none
  --keep a,b          columns of the input that come before the predictions
  --weights WHICH     best (default) or last
  --batch-size N      rows at a time (default 1024)
  --device NAME       where to compute (default: as in the training)
  --threads N         compute threads
`;

export async function predict(args: string[]): Promise<number> {
  const options = parse(
    args,
    {
      output: { type: "string", short: "o", default: "-" },
      probabilities: { type: "boolean", default: false },
      header: { type: "string" },
      keep: { type: "string" },
      weights: { type: "string", default: "best" },
      "batch-size": { type: "string", default: "1024" },
      device: { type: "string" },
      threads: { type: "string" },
    },
    help,
    ["<run>", "<input.csv>"],
  );
  if (!options) return 0;
  const [directory, input] = options.operands;
  const batchSize = wholeNumber(options["batch-size"] as string, "batch-size");
  const run = await loadRun(directory, options);
  const { preprocessing } = run;
  if (!preprocessing) {
    throw new UsageError(
      `${directory}: the data of this run were made by its module; predict needs a run with data.csv`,
    );
  }
  const { labels } = preprocessing;
  if (options.probabilities && !labels) throw new UsageError("--probabilities: this run predicts numbers, not classes");
  const keep = list(options.keep);
  const header = [
    ...keep,
    ...preprocessing.schema.target,
    ...(options.probabilities && labels ? labels.map((label) => `p_${label}`) : []),
  ];
  const source = input === "-" ? process.stdin : input;
  const names = options.header === "true" || list(options.header);
  const reading = { ...preprocessing.reading, ...(options.header !== undefined && { header: names }) };
  const tables = io.csvBatches(source, { ...reading, schema: withKept(preprocessing, keep), batchSize });
  const rows = predictions(run, preprocessing, tables, keep, options.probabilities as boolean);
  await io.writeCsv(options.output === "-" ? process.stdout : (options.output as string), rows, { header });
  return 0;
}

const list = (text: string | undefined): string[] => text?.split(",").map((name) => name.trim()) ?? [];

/** The schema of an input: the target need not be there, rows are not left out, columns to be kept are read besides. */
function withKept({ schema, columns }: Preprocessing, keep: readonly string[]): io.TableSchema {
  const known = schema.columns.filter(({ name }) => columns.includes(name));
  const strict = known.map(({ fill, ...column }) =>
    fill === "drop" || fill === undefined ? column : { ...column, fill },
  );
  const others = keep.filter((name) => !columns.includes(name));
  return { columns: [...strict, ...others.map((name) => ({ name, type: "string" as const }))], target: [] };
}

async function* predictions(
  run: TrainedRun,
  preprocessing: Preprocessing,
  tables: AsyncIterable<io.Table>,
  keep: readonly string[],
  withProbabilities: boolean,
): AsyncGenerator<io.Field[]> {
  const { task, labels = [] } = preprocessing;
  const model = run.module.subject();
  const takes = takesOf(run);
  for await (const table of tables) {
    const output: Tensor = noGrad(() => {
      const y = model.forward(featuresOf(table, preprocessing)) as Tensor;
      if (takes !== "logits") return y;
      return task === "binary" ? y.sigmoid() : task === "classes" ? softmax(y, -1) : y;
    });
    const values = (await output.data()) as Float32Array;
    const width = values.length / table.length;
    for (let i = 0; i < table.length; i++) {
      const own = Array.from(values.subarray(i * width, (i + 1) * width));
      const row = keep.length > 0 ? table.row(i) : {};
      const kept = keep.map((name) => row[name]);
      if (task === "numbers") yield [...kept, ...own.map(decimal)];
      else {
        const label = task === "binary" ? Number(own[0] >= 0.5) : own.indexOf(Math.max(...own));
        const shares = task === "binary" ? [1 - own[0], own[0]] : own;
        yield [...kept, labels[label], ...(withProbabilities ? shares.map(decimal) : [])];
      }
    }
  }
}

/** The shortest decimal number that is this float32. */
function decimal(value: number): number {
  const single = Math.fround(value);
  for (let digits = 6; digits < 9; digits++) {
    const short = Number(single.toPrecision(digits));
    if (Math.fround(short) === single) return short;
  }
  return Number(single.toPrecision(9));
}
