// `nabla bench`: the workloads on a device of this machine, without peers, in about a minute.
import { writeFileSync } from "node:fs";
import {
  check,
  contestant,
  describeMachine,
  gigabytes,
  groups,
  interleave,
  inUnit,
  type Measured,
  makeData,
  type Reference,
  type Row,
  referenceOf,
  rows,
  summarize,
  type Variant,
  watchBusyness,
  workload,
  workOf,
} from "../bench/index.js";
import { devices, examine, rand, setDefaultDevice, setNumThreads } from "../index.js";
import { parse, UsageError, wholeNumber } from "./usage.js";

const help = `Usage: nabla bench [options]

Measures this machine's device on the workloads of Nabla's benchmark: products, element-wise functions, training steps,
inference. Results are checked against float64 before the clock starts.

  --only G1,T     rows or groups of rows: ${[...new Set(rows.map((r) => r.id))].join(" ")}
  --device NAME   cpu or js (default: the default device)
  --threads N     compute threads (default: as everywhere)
  --rounds N      turns of each way to do the work (default 5)
  --json FILE     the results for a program too; - is standard output, instead of the table
`;

interface Outcome {
  readonly id: string;
  readonly name: string;
  readonly unit: string;
  readonly variants: readonly { name: string; best: number; median: number; spread: number; error?: string }[];
}

const short = (v: number): string => (Number.isNaN(v) ? "–" : String(Number(v.toPrecision(3))));

export async function bench(args: string[]): Promise<number> {
  const options = parse(
    args,
    {
      only: { type: "string" },
      device: { type: "string" },
      threads: { type: "string" },
      rounds: { type: "string", default: "5" },
      json: { type: "string" },
    },
    help,
  );
  if (!options) return 0;
  const rounds = wholeNumber(options.rounds as string, "rounds");
  const wanted = chosen(options.only);
  if (options.device !== undefined) {
    if (!devices().includes(options.device)) {
      throw new UsageError(`--device: ${options.device} is not there; there are ${devices().join(", ")}`);
    }
    setDefaultDevice(options.device);
  }
  if (options.threads !== undefined) setNumThreads(wholeNumber(options.threads, "threads"));

  const { defaultDevice, isa, threads } = examine();
  const machine = describeMachine();
  const print = (line: string) => {
    if (options.json !== "-") process.stdout.write(`${line}\n`);
  };
  print(
    `${machine.cpu}, ${machine.cores} cores, ${machine.system}, Node ${machine.node}, load ${machine.load.toFixed(1)}`,
  );
  print(
    `device ${defaultDevice.name}${defaultDevice.name === "js" ? "" : `, kernels ${isa.name}, ${threads.count} thread(s)`}`,
  );

  const stop = new AbortController();
  const interrupt = () => stop.abort();
  process.once("SIGINT", interrupt);
  const busyness = watchBusyness();
  const outcomes: Outcome[] = [];
  let [fastest, group] = [0, ""];
  for (const row of rows) {
    if (stop.signal.aborted || !wanted(row) || (row.device ?? defaultDevice.name) !== defaultDevice.name) continue;
    // Hundreds of times slower there: what would take minutes is left out, unless it is asked for by name.
    if (defaultDevice.name === "js" && !options.only && workOf(row.spec).bytes > 2e7) continue;
    if (row.id[0] !== group) {
      group = row.id[0];
      print(`\n${group}: ${groups[group]}`);
    }
    const outcome = await measure(row, rounds, stop.signal);
    outcomes.push(outcome);
    for (const v of outcome.variants) {
      const figures = v.error ?? `best ${short(v.best)}, median ${short(v.median)} ${row.unit}`;
      print(`  ${row.id} ${row.name.padEnd(30)} ${v.name.padEnd(26)} ${figures}`);
      if (row.unit === "GFLOP/s" && v.best > fastest) fastest = v.best;
    }
    await new Promise((resolve) => setImmediate(resolve)); // a signal may be waiting
  }
  const copy = stop.signal.aborted ? undefined : await copySpeed(defaultDevice.name === "js" ? 4e6 : 64e6, rounds);
  process.off("SIGINT", interrupt);

  const { busy, steal } = busyness();
  print(
    `\nOf this device's own: products reached ${short(fastest)} GFLOP/s` +
      `${copy ? `, a copy ${short(copy)} GB/s (read and written)` : ""}. ` +
      `These are measures of the device, not limits of the machine: npm run bench in the repository measures those.`,
  );
  if (steal > 0.02) print(`The host took ${(100 * steal).toFixed(0)} % of the time away: other runs may be faster.`);
  const report = {
    machine,
    device: defaultDevice.name,
    isa: isa.name,
    threads: threads.count,
    busyness: { busy, steal },
    interrupted: stop.signal.aborted,
    rows: outcomes,
    copy,
  };
  if (options.json === "-") process.stdout.write(`${JSON.stringify(report, null, 1)}\n`);
  else if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(report, null, 1)}\n`);
  if (stop.signal.aborted) return 130;
  return outcomes.some(({ variants }) => variants.some(({ error }) => error)) ? 1 : 0;
}

function chosen(only: string | undefined): (row: Row) => boolean {
  if (only === undefined) return () => true;
  const list = only.split(",").map((word) => word.trim());
  const unknown = list.find((word) => !rows.some(({ id }) => id === word || id[0] === word));
  if (unknown !== undefined) throw new UsageError(`--only: there is no row ${JSON.stringify(unknown)}`);
  return ({ id }) => list.includes(id) || list.includes(id[0]);
}

async function measure(row: Row, rounds: number, signal: AbortSignal): Promise<Outcome> {
  const data = makeData(row.spec);
  const reference = referenceOf(row.spec, data);
  const errors = new Map<string, string>();
  const right: Variant[] = [];
  for (const variant of workload(row.spec, data)) {
    const wrong = verify(variant, reference);
    if (wrong === undefined) right.push(variant);
    else errors.set(variant.name, wrong);
  }
  const measured = await interleave(right, { rounds, turn: 25, warmUp: 20, rest: 2, budget: 400, signal });
  const figures = ({ name, times, error }: Measured) => {
    const { best, median, spread } = summarize(times);
    return { name, best: inUnit(row, best), median: inUnit(row, median), spread, error: error?.message };
  };
  const failed = [...errors].map(([name, error]) => {
    return { name, best: Number.NaN, median: Number.NaN, spread: Number.NaN, error };
  });
  return { id: row.id, name: row.name, unit: row.unit, variants: [...measured.map(figures), ...failed] };
}

/** Why a variant's numbers are wrong; undefined when they are right. */
function verify(variant: Variant, reference: Reference | undefined): string | undefined {
  try {
    const output = variant.output();
    if (reference) check(output, reference);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

/** GB/s of the device's own copy of that many bytes. */
async function copySpeed(bytes: number, rounds: number): Promise<number> {
  const x = rand([bytes / 4]);
  const copy = contestant("copy", () => {
    const y = x.clone();
    y.slice(0, 0, 1).item();
    y.dispose();
  });
  const [{ times }] = await interleave([copy], { rounds, turn: 25, rest: 2 });
  return gigabytes(2 * bytes, summarize(times).best);
}
