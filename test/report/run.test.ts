// Reading the directory of a run: as it grows, when it is damaged, when it is not there.
import { appendFileSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FileError } from "../../lib/index.js";
import { LogReader, readRun } from "../../lib/report/run.js";
import { epochLine, folder, line, makeRun } from "./runs.js";

describe("LogReader", () => {
  test("takes in a log that is written in pieces of any size", async () => {
    const text = [
      line({ event: "start", time: "2026-01-01T00:00:00Z" }),
      epochLine(0, { loss: 1.5, "Genauigkeit ü": 0.25 }),
      line({ event: "step", epoch: 1, step: 15, logs: { loss: 1.2 }, lr: [0.1, 0.2] }),
      epochLine(1, { loss: "NaN", val_loss: 2 }),
      line({ event: "end", reason: "the time of 5 s is up" }),
    ].join("");
    const bytes = Buffer.from(text);
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 0, max: bytes.length }), { maxLength: 8 }), async (cuts) => {
        const path = join(folder(), "log.jsonl");
        const reader = new LogReader(path);
        expect(await reader.read()).toBe(false);
        let at = 0;
        for (const cut of [...cuts.sort((a, b) => a - b), bytes.length]) {
          appendFileSync(path, bytes.subarray(at, cut));
          at = cut;
          await reader.read();
        }
        expect(reader.progress).toMatchObject({
          epoch: [0, 1],
          history: { loss: [1.5, Number.NaN], "Genauigkeit ü": [0.25, Number.NaN], val_loss: [Number.NaN, 2] },
          seconds: [0.5, 0.5],
          lr: [0.01, 0.01],
          steps: [{ step: 15, loss: 1.2 }],
          damaged: 0,
          ended: "the time of 5 s is up",
        });
        expect(await reader.read()).toBe(false);
      }),
      { numRuns: 25 },
    );
  });

  test("half a line at the end waits, a damaged one is counted", async () => {
    const path = join(folder(), "log.jsonl");
    writeFileSync(path, `${epochLine(0, { loss: 1 })}not json\n[1]\n${epochLine(1, { loss: 2 }).slice(0, 20)}`);
    const reader = new LogReader(path);
    await reader.read();
    expect(reader.progress.epoch).toEqual([0]);
    expect(reader.progress.damaged).toBe(2);
    appendFileSync(path, epochLine(1, { loss: 2 }).slice(20));
    await reader.read();
    expect(reader.progress.history.loss).toEqual([1, 2]);
  });

  test("a resumed run repeats epochs, the later ones count", async () => {
    const path = join(folder(), "log.jsonl");
    writeFileSync(path, [0, 1, 2, 3].map((e) => epochLine(e, { loss: e, old: 1 })).join(""));
    appendFileSync(path, line({ event: "end", reason: "interrupted" }) + line({ event: "start" }));
    appendFileSync(path, [2, 3, 4].map((e) => epochLine(e, { loss: 10 * e })).join(""));
    const reader = new LogReader(path);
    await reader.read();
    expect(reader.progress.epoch).toEqual([0, 1, 2, 3, 4]);
    expect(reader.progress.history).toMatchObject({
      loss: [0, 1, 20, 30, 40],
      old: [1, 1, Number.NaN, Number.NaN, Number.NaN],
    });
    expect(reader.progress.ended).toBeUndefined();
  });

  test("a log that is replaced or removed begins anew", async () => {
    const path = join(folder(), "log.jsonl");
    writeFileSync(path, [0, 1, 2].map((e) => epochLine(e, { loss: 1 })).join(""));
    const reader = new LogReader(path);
    await reader.read();
    writeFileSync(`${path}.new`, [0, 1, 2, 3].map((e) => epochLine(e, { mse: 5 })).join(""));
    renameSync(`${path}.new`, path);
    expect(await reader.read()).toBe(true);
    expect(Object.keys(reader.progress.history)).toEqual(["mse"]);
    rmSync(path);
    expect(await reader.read()).toBe(true);
    expect(reader.progress.epoch).toEqual([]);
  });

  test("of very many steps it keeps some", async () => {
    const path = join(folder(), "log.jsonl");
    const step = (i: number) => line({ event: "step", step: i, logs: { loss: i } });
    writeFileSync(path, Array.from({ length: 9000 }, (_, i) => step(i + 1)).join(""));
    const reader = new LogReader(path);
    await reader.read();
    const { steps } = reader.progress;
    expect(steps.length).toBeLessThanOrEqual(2000);
    expect(steps.length).toBeGreaterThan(900);
    expect(steps.at(-1)).toEqual({ step: 9000, loss: 9000 });
    appendFileSync(path, step(100)); // resumed from an early checkpoint
    await reader.read();
    expect(steps.at(-1)).toEqual({ step: 100, loss: 100 });
  });

  test("calls at the same time do not read a line twice", async () => {
    const path = join(folder(), "log.jsonl");
    writeFileSync(
      path,
      [0, 1, 2].map((e) => epochLine(e, { loss: 1 })).join("") + line({ event: "step", step: 1, logs: {} }),
    );
    const reader = new LogReader(path);
    await Promise.all(Array.from({ length: 5 }, () => reader.read()));
    expect(reader.progress.steps.length).toBe(1);
  });

  test("names from a file are only names", async () => {
    const path = join(folder(), "log.jsonl");
    writeFileSync(path, '{"event":"epoch","epoch":0,"logs":{"__proto__":1,"constructor":2}}\n');
    const reader = new LogReader(path);
    await reader.read();
    expect(Object.keys(reader.progress.history)).toEqual(["__proto__", "constructor"]);
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
  });
});

describe("readRun", () => {
  test("a whole run", async () => {
    const run = await readRun(makeRun(folder(), "a", { name: "my run" }));
    expect(run.record.name).toBe("my run");
    expect(run.progress.epoch.length).toBe(40);
    expect(run.evaluation).toBeUndefined();
  });

  test("without run.json the name is the directory's, without log.jsonl nothing has happened", async () => {
    const at = folder();
    const [a, b] = [makeRun(at, "a", { name: "x" }), makeRun(at, "b")];
    rmSync(join(a, "run.json"));
    rmSync(join(b, "log.jsonl"));
    expect((await readRun(a)).record).toEqual({ name: "a" });
    expect((await readRun(b)).progress.epoch).toEqual([]);
  });

  test("says what is missing or damaged", async () => {
    const at = folder();
    await expect(readRun(join(at, "nowhere"))).rejects.toThrow(/nowhere: there is no such directory/);
    mkdirSync(join(at, "empty"));
    await expect(readRun(join(at, "empty"))).rejects.toThrow(/holds neither run.json nor log.jsonl/);
    const path = makeRun(at, "bad");
    writeFileSync(join(path, "run.json"), '{"name": ');
    await expect(readRun(path)).rejects.toThrow(FileError);
    await expect(readRun(path)).rejects.toThrow(/run\.json: this is no JSON object/);
    await expect(readRun(undefined as never)).rejects.toThrow(/the directory of a run is needed/);
  });
});
