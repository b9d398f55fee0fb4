// npm run bench [-- --only G1,T2 --threads 1,2 --devices cpu,js --peers ort,torch --json out.json]
import { mkdirSync, renameSync, writeFileSync } from "node:fs";
import { basename, dirname, resolve } from "node:path";
import { parseArgs } from "node:util";
import { rows as allRows, describeMachine, watchBusyness } from "../dist/bench.mjs";
import { Field, measureLimits, measureRow, shareThePeak } from "./harness/measure.mjs";
import { installPackages, limits, ourselves, ownPeer, peers } from "./harness/peers.mjs";
import { drawPictures } from "./harness/pictures.mjs";
import { best, judgeAll, markdown, titleOf } from "./harness/report.mjs";
import { measureStart } from "./harness/start.mjs";

const help = `Usage: npm run bench [-- options]

  --only G1,T2,E      rows, or groups of rows, by id (default: all); L: the limits of the machine
  --threads 1,2       numbers of threads (default: 1,2)
  --devices cpu,js    devices of ours (default: cpu,js)
  --peers ort,torch   whom to measure against (default: all; none: an empty list)
                      ${Object.keys(peers).join(", ")},
                      or the path of an .mjs of your own that speaks as those in bench/peers do
  --rounds 7          turns that everybody has
  --json out.json     where the results go; the report lies beside it, as .md (default: bench/results/latest.json)
  --list              what rows and peers there are

BENCH_PYTHON names further Pythons that have PyTorch, separated by colons.
`;

const say = (text) => process.stderr.write(`bench: ${text}\n`);

function options() {
  try {
    const { values } = parseArgs({
      options: {
        only: { type: "string" },
        threads: { type: "string", default: "1,2" },
        devices: { type: "string", default: "cpu,js" },
        peers: { type: "string", default: Object.keys(peers).join(",") },
        rounds: { type: "string", default: "7" },
        json: { type: "string", default: resolve(import.meta.dirname, "results/latest.json") },
        list: { type: "boolean" },
        help: { type: "boolean", short: "h" },
      },
    });
    const words = (text) =>
      text
        .split(",")
        .map((w) => w.trim())
        .filter(Boolean);
    const numbers = (name, text) => {
      const list = words(text).map(Number);
      if (!list.length || !list.every((n) => Number.isInteger(n) && n > 0))
        throw new Error(`--${name}: whole numbers, got ${text}`);
      return list;
    };
    const only = values.only === undefined ? undefined : words(values.only);
    const known = new Set(["S", "S1", "L", ...allRows.flatMap(({ id }) => [id, id[0]])]);
    const unknown = only?.find((id) => !known.has(id));
    if (unknown)
      throw new Error(
        `--only: there is no row ${unknown}; there are ${[...new Set(allRows.map((r) => r.id))].join(", ")}`,
      );
    const asked = words(values.peers);
    const stranger = asked.find((id) => !(id in peers) && !id.endsWith(".mjs"));
    if (stranger) throw new Error(`--peers: ${stranger} is not known; known are ${Object.keys(peers).join(", ")}`);
    return {
      ...values,
      only,
      threads: numbers("threads", values.threads),
      rounds: numbers("rounds", values.rounds)[0],
      devices: words(values.devices),
      peers: asked,
    };
  } catch (error) {
    say(error.message);
    process.exit(2);
  }
}

const asked = options();
if (asked.help) {
  process.stdout.write(help);
  process.exit(0);
}
if (asked.list) {
  for (const row of allRows) console.log(`${row.id}  ${row.name}`);
  for (const [id, { name }] of Object.entries(peers)) console.log(`peer ${id}: ${name}`);
  process.exit(0);
}

const stop = new AbortController();
const fields = new Map();
for (const signal of ["SIGINT", "SIGTERM"]) {
  process.on(signal, () => {
    if (stop.signal.aborted) process.exit(130); // asked twice
    say("interrupted: what was measured is kept");
    stop.abort();
    for (const field of fields.values()) field.close();
  });
}

/** Finds how to start everybody; those who cannot be started are gaps. */
async function enlist() {
  const list = [
    ...asked.devices.map((device) => ({ id: `nabla ${device}`, device, ours: true, ...ourselves(device) })),
    ...asked.peers.map((id) => ({ id, ...(peers[id] ?? ownPeer(id)) })),
  ];
  await Promise.all(
    [...list, limits].map(async (one) => {
      try {
        one.ways = await one.find();
      } catch (error) {
        one.why = error.message;
      }
    }),
  );
  for (const { name, why } of list) if (why) say(`gap: ${name}: ${why}`);
  if (limits.why) say(`no limits are measured: ${limits.why}`);
  return list;
}

const started = performance.now();
const busyness = watchBusyness();
const machine = describeMachine();
await installPackages(asked.peers, say);
const everybody = await enlist();
const result = {
  date: new Date().toISOString().slice(0, 16).replace("T", " "),
  // Where the results go says nothing about them.
  arguments: process.argv.slice(2).filter((word, i, all) => !word.startsWith("--json") && all[i - 1] !== "--json"),
  machine,
  interrupted: false,
  rows: [],
  bandwidth: [],
};

/** The results so far, whole or not at all. */
function save() {
  result.seconds = (performance.now() - started) / 1000;
  result.busyness = busyness();
  result.interrupted = stop.signal.aborted;
  result.contestants = everybody.map(({ id, name, why }) => ({ name, why, versions: versions.get(id) ?? [] }));
  shareThePeak(result.rows, result.bandwidth);
  result.targets = judgeAll(result.rows);
  const path = resolve(asked.json);
  mkdirSync(dirname(path), { recursive: true });
  for (const [file, text] of [
    [path, `${JSON.stringify(result, null, 1)}\n`],
    [path.replace(/(\.json)?$/, ".md"), `${markdown(result)}\n`],
  ]) {
    writeFileSync(`${file}.part`, text);
    renameSync(`${file}.part`, file);
  }
}

const versions = new Map();
const wants = (id) => !asked.only || asked.only.some((o) => o === id || o === id[0]);
const wanted = allRows.filter(({ id }) => wants(id));
for (const threads of asked.threads) {
  const field = new Field(threads);
  fields.set(threads, field);
  const how = {
    signal: stop.signal,
    // Threads of two spin for work for some milliseconds more than those of one.
    interleave: { rounds: asked.rounds, turn: 40, warmUp: 200, rest: threads > 1 ? 40 : 5, budget: 1500 },
  };
  if (wants("L") && limits.ways) {
    say(`${threads} thread(s): the limits of the machine`);
    result.bandwidth.push(...(await measureLimits(field, limits, how)));
  }
  for (const row of wanted) {
    if (stop.signal.aborted) break;
    // A row about a device has that one of ours; the others have all but the slow one, unless it is all that was asked for.
    const devices = row.device
      ? [row.device]
      : asked.devices.length > 1
        ? asked.devices.filter((d) => d !== "js")
        : asked.devices;
    const entrants = everybody.filter(
      (e) => (e.ours ? devices.includes(e.device) : true) && (threads === 1 || e.threads !== 1) && takesPart(e, row),
    );
    if (!entrants.some((e) => e.ours)) continue;
    const measured = await measureRow(row, field, entrants, limits, how);
    for (const e of entrants) {
      const found = field.versionsOf(e.id);
      if (found.length) versions.set(e.id, found);
    }
    add(measured);
  }
  field.close();
}
if (!stop.signal.aborted && wants("S1")) {
  const wanted = (name) => asked.peers.some((id) => peers[id]?.name === name);
  for (const row of await measureStart({ rounds: asked.rounds, signal: stop.signal, wanted })) add(row);
}
try {
  const base = resolve(asked.json).replace(/(\.json)?$/, "");
  result.pictures = await drawPictures(result, base, (key) => `${basename(base)}-${key}.svg`);
} catch (error) {
  say(`no pictures: ${error.message}`);
}
save();
say(`${resolve(asked.json)} and .md beside it`);
process.exit(stop.signal.aborted ? 130 : 0);

/** Keeps a row, and says in a line what came out. */
function add(measured) {
  result.rows.push(measured);
  save();
  const ours = best(
    measured,
    measured.contestants.filter((c) => c.ours),
  );
  const peer = best(
    measured,
    measured.contestants.filter((c) => !c.ours),
  );
  const figure = (c) =>
    c ? `${Number(c.best.toPrecision(3))} ${measured.unit} (${`${c.peer} ${c.variant}`.trim()})` : "nothing";
  say(`${titleOf(measured)}: ${figure(ours)}; best peer ${figure(peer)}; ${Math.round(result.seconds)} s so far`);
}

/** Peers that a row is not about need not be started for it. */
function takesPart(entrant, row) {
  if (entrant.ours || !peers[entrant.id]) return true;
  if (row.device === "js" && !entrant.script) return false;
  return !entrant.kinds || entrant.kinds.includes(row.spec.kind);
}
