// Measures one row: starts who takes part, gives all the same numbers, checks what they make of them, and lets them run
// in turns.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  check,
  interleave,
  inUnit,
  leastTime,
  linksOf,
  makeData,
  operandsOf,
  referenceOf,
  summarize,
  workOf,
} from "../../dist/bench.mjs";
import { environment } from "./peers.mjs";
import { PeerCrash, PeerProcess } from "./process.mjs";

/** A process that crashed this often is not started again. */
const MAX_CRASHES = 3;
/** Milliseconds of one repeat from which it is measured only once, by the check. */
const SLOW = 1500;

/** The processes of one number of threads, kept from row to row. */
export class Field {
  #members = new Map();

  constructor(threads) {
    this.threads = threads;
  }

  /** @param how command and arguments, of peers.mjs */
  async member(key, how) {
    let member = this.#members.get(key);
    if (!member || member.process.ended) {
      const crashes = (member?.crashes ?? -1) + 1;
      if (crashes >= MAX_CRASHES) throw new Error(`given up after it ended ${crashes} times: ${member.process.ended}`);
      const process = new PeerProcess({ ...how, env: environment(this.threads) });
      member = { process, crashes, about: undefined };
      this.#members.set(key, member);
      member.about = await process.ask({ do: "hello" });
    }
    return member;
  }

  /** Versions of a contestant's installations, as they told. */
  versionsOf(id) {
    const own = [...this.#members].filter(([key]) => key.startsWith(`${id} `)).map(([, { about }]) => about);
    return own.filter(Boolean).map(({ version, note }) => (note ? `${version} (${note})` : version));
  }

  close() {
    for (const { process } of this.#members.values()) process.kill();
    this.#members.clear();
  }
}

/** What limits a row: what the limits' program is to measure, and the row's least time by it. */
function limitsOf(row) {
  const { spec } = row;
  const work = workOf(spec);
  const fma = { what: "fma" };
  switch (spec.kind) {
    case "matmul":
      // A vector times a matrix reads every weight for one multiply-add.
      return spec.m === 1
        ? {
            specs: [{ what: "read", bytes: 4 * spec.k * spec.n }],
            name: "reading the matrix",
            time: ([, read]) => (4 * spec.chain * spec.k * spec.n) / read / 1e6,
          }
        : { specs: [fma], name: "FMA peak", time: ([peak]) => work.flops / peak / 1e6 };
    case "unary":
    case "softmax":
      return {
        specs: [{ what: "copy", bytes: work.bytes / 2 }],
        name: "copy",
        time: ([, copy]) => work.bytes / copy / 1e6,
      };
    case "mlp":
    case "cnn":
    case "inference": {
      const what = spec.kind === "inference" ? "read" : "copy";
      return {
        specs: [fma, { what, bytes: Math.max(65536, what === "copy" ? work.bytes / 2 : work.bytes) }],
        name: `roofline (FMA peak, ${what})`,
        time: ([peak, bandwidth]) => leastTime({ gflops: peak, gigabytes: bandwidth }, work),
      };
    }
    default:
      return undefined;
  }
}

/** Rejects when a contestant has no answer to the numbers. */
async function checked(member, name, reference, steps, file) {
  const { ms, length } = await member.process.ask({ do: "output", variant: name, file });
  const bytes = readFileSync(file);
  const output = new Float32Array(new Uint8Array(bytes).buffer);
  rmSync(file, { force: true });
  if (output.length !== length) throw new Error("its output is incomplete");
  const n = steps ? Math.min(length, reference.values.length) : reference.values.length;
  check(output, { ...reference, values: Array.prototype.slice.call(reference.values, 0, n) });
  return { one: ms / (steps ? length : 1), output };
}

/**
 * @param row of nablajs/bench
 * @param field the processes
 * @param entrants [{ id, name, ours, ways: [{command, args}] | undefined, why }]
 * @param options { interleave: options, signal, say }
 * @returns the row's result, as it goes into the JSON
 */
export async function measureRow(row, field, entrants, limits, options) {
  const { signal } = options;
  const folder = mkdtempSync(join(tmpdir(), "nabla-bench-"));
  try {
    const data = makeData(row.spec);
    const names = {};
    for (const [name, values] of Object.entries(data)) {
      names[name] = values instanceof Int32Array ? "i32" : "f32";
      writeFileSync(join(folder, name), values);
    }
    const more = row.spec.kind === "matmul" ? { operands: operandsOf(row.spec), links: linksOf(row.spec) } : {};
    const request = { do: "prepare", spec: { ...row.spec, ...more }, folder, names };
    const gaps = [];
    /** What goes wrong after an interruption is nobody's fault. */
    const gap = (peer, variant, error) => {
      if (signal?.aborted) return;
      gaps.push({ peer, ...(variant ? { variant } : {}), why: error.message, crashed: error instanceof PeerCrash });
    };
    const seats = [];

    // Those that wait for a compiler or an interpreter wait together.
    await Promise.all(
      entrants.map(async (entrant) => {
        if (!entrant.ways) {
          gaps.push({ peer: entrant.name, why: entrant.why });
          return;
        }
        await Promise.all(
          entrant.ways.map(async (way, i) => {
            const place = `${entrant.id} ${i}`;
            let title = entrant.name;
            try {
              const member = await field.member(place, way);
              if (entrant.ways.length > 1) title = `${entrant.name} ${member.about.version.replace(/\+.*/, "")}`;
              const { variants, why, lacking = {} } = await member.process.ask(request);
              for (const [name, why] of Object.entries(lacking)) gaps.push({ peer: title, variant: name, why });
              if (variants.length === 0) gaps.push({ peer: title, why, none: true });
              for (const name of variants)
                seats.push({ entrant, title, member, name, order: [entrants.indexOf(entrant), i] });
            } catch (error) {
              gap(title, "", error);
            }
          }),
        );
      }),
    );
    seats.sort((a, b) => a.order[0] - b.order[0] || a.order[1] - b.order[1]);

    // Numbers first. Without a reference of its own, a row's results are held against those of the first who has any:
    // ours, in float32.
    let reference = referenceOf(row.spec, data);
    const steps = row.spec.kind === "mlp" || row.spec.kind === "cnn";
    const ready = [];
    for (const seat of seats) {
      if (signal?.aborted) break;
      const anonymous = { at: [], values: [], absolute: 0, relative: 0 };
      try {
        const { one, output } = await checked(
          seat.member,
          seat.name,
          reference ?? anonymous,
          steps,
          join(folder, "output"),
        );
        reference ??= { at: Array.from(output.keys()), values: output, absolute: 0, relative: 2e-4 };
        ready.push({ ...seat, one });
      } catch (error) {
        gap(seat.title, seat.name, error);
      }
    }

    const timed = ready.filter(({ one }) => one < SLOW);
    const limit = limitsOf(row);
    const limitSeats = limit && !signal?.aborted ? await limitContestants(limit, field, limits, gaps) : [];
    const contestants = timed.map(({ member, name, title }) => ({
      name: `${title} ${name}`,
      run: async (repeats) => (await member.process.ask({ do: "run", variant: name, repeats })).ms,
    }));
    const measured = await interleave([...limitSeats.map((s) => s.contestant), ...contestants], {
      ...options.interleave,
      signal,
    });
    const ofLimits = measured.splice(0, limitSeats.length);
    for (const { member } of seats)
      if (!member.process.ended) await member.process.ask({ do: "release" }).catch(() => {});

    const result = (seat, times, error) => {
      const { best, median, spread, count } = summarize(times);
      const unit = (ms) => (count ? inUnit(row, ms) : undefined);
      return {
        peer: seat.title,
        variant: seat.name,
        ours: Boolean(seat.entrant.ours),
        version: seat.member.about.version,
        best: unit(best),
        median: unit(median),
        spread: count > 1 ? spread : undefined,
        times,
        ...(error ? { error: error.message } : {}),
      };
    };
    const results = ready.map((seat) => {
      const at = timed.indexOf(seat);
      if (at < 0) return { ...result(seat, [seat.one]), once: true };
      return result(seat, measured[at].times, measured[at].error);
    });
    timed.forEach((seat, i) => {
      if (measured[i].error) gap(seat.title, seat.name, measured[i].error);
    });
    return {
      id: row.id,
      name: row.name,
      unit: row.unit,
      threads: field.threads,
      spec: row.spec,
      work: workOf(row.spec),
      limit: limit && limitOf(row, limit, limitSeats, ofLimits),
      contestants: results,
      gaps,
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The limits' program as contestants: one for each thing it measures. */
async function limitContestants({ specs }, field, limits, gaps) {
  if (!limits.ways) {
    gaps.push({ peer: "limit", why: limits.why });
    return [];
  }
  const seats = [];
  for (const [i, spec] of specs.entries()) {
    try {
      // Each spec has a process of its own, whose memory stays as it is.
      const { process } = await field.member(`limit ${i}`, limits.ways[0]);
      const { variants, amounts } = await process.ask({ do: "prepare", spec: { kind: "limit", ...spec } });
      variants.forEach((name, v) => {
        seats.push({
          what: spec.what,
          name,
          amount: amounts[v],
          contestant: { name, run: async (repeats) => (await process.ask({ do: "run", variant: name, repeats })).ms },
        });
      });
    } catch (error) {
      gaps.push({ peer: "limit", why: error.message });
      return [];
    }
  }
  return seats;
}

/** GFLOP/s and GB/s that were reached, and what they mean for the row. */
function limitOf(row, limit, seats, measured) {
  const speeds = seats.map((seat, i) => {
    const { best, median } = summarize(measured[i].times);
    const unit = seat.what === "fma" ? "GFLOP/s" : "GB/s";
    const speed = (ms) => seat.amount / ms / 1e6;
    return { what: seat.what, name: seat.name, unit, best: speed(best), median: speed(median) };
  });
  const fastest = (key, fma) => Math.max(...speeds.filter((s) => (s.what === "fma") === fma).map((s) => s[key]));
  const value = (key) => inUnit(row, limit.time([fastest(key, true), fastest(key, false)]));
  const known = Number.isFinite(value("best")) && value("best") > 0;
  return known ? { name: limit.name, value: value("best"), median: value("median"), speeds } : undefined;
}

/**
 * The peak of a core does not depend on the row it was measured for: the best of the whole run counts for all, so that
 * a busy moment of the machine does not flatter a row.
 */
export function shareThePeak(rows, bandwidth) {
  for (const threads of new Set(rows.map((row) => row.threads))) {
    const own = rows.filter((row) => row.threads === threads && row.limit);
    const peak = Math.max(
      ...bandwidth.filter((b) => b.threads === threads && b.unit === "GFLOP/s").map((b) => b.best),
      ...own.flatMap((row) => row.limit.speeds.filter((s) => s.what === "fma").map((s) => s.best)),
    );
    for (const row of own) {
      const memory = Math.max(...row.limit.speeds.filter((s) => s.what !== "fma").map((s) => s.best));
      row.limit.value = inUnit(row, limitsOf(row).time([peak, memory]));
    }
  }
}

/** Sizes at which memory is measured, a core: names of the roofs of the roofline where one stands for a memory. */
const sizes = [
  { bytes: 2 ** 14, roof: "L1" },
  { bytes: 2 ** 18, roof: "L2" },
  { bytes: 2 ** 22, roof: "L3" },
  { bytes: 2 ** 26 },
  { bytes: 2 ** 28, roof: "DRAM" },
];

/** What the machine can do at most: multiply-adds, and reading and copying at the sizes of its memories. */
export async function measureLimits(field, limits, options) {
  const gaps = [];
  const specs = [{ what: "fma" }, ...sizes.flatMap(({ bytes }) => ["read", "copy"].map((what) => ({ what, bytes })))];
  const found = [];
  for (const spec of specs) {
    if (options.signal.aborted) break;
    const seats = await limitContestants({ specs: [spec] }, field, limits, gaps);
    const measured = await interleave(
      seats.map((s) => s.contestant),
      { ...options.interleave, signal: options.signal },
    );
    seats.forEach((seat, i) => {
      const { best, median, count } = summarize(measured[i].times);
      if (!count) return;
      found.push({
        threads: field.threads,
        name: seat.name,
        bytes: spec.bytes,
        unit: spec.what === "fma" ? "GFLOP/s" : "GB/s",
        best: seat.amount / best / 1e6,
        median: seat.amount / median / 1e6,
        // A roof is what can be read, read and written being slower.
        ...(spec.what === "read" ? { roof: sizes.find(({ bytes }) => bytes === spec.bytes).roof } : {}),
      });
    });
  }
  return found;
}
