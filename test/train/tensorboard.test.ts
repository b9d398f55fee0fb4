// Event files: byte for byte what TensorBoard's own writer makes of the same values (test/figures/events.json).
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { callbacks, nn, optim } from "../../lib/index.js";
import { crc32c, record, scalars, text, version } from "../../lib/train/callbacks/events.js";
import { HandLoop } from "./loop.js";

const figures = JSON.parse(readFileSync(new URL("../figures/events.json", import.meta.url), "utf8"));
const folder = mkdtempSync(join(tmpdir(), "nabla-tensorboard-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const base64 = (message: Uint8Array) => record(message).toString("base64");

test("records", () => {
  // RFC 3720, appendix B.4: 32 bytes of zeros, of ones, and rising.
  expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa);
  expect(crc32c(new Uint8Array(32).fill(255))).toBe(0x62a8ab43);
  expect(crc32c(Uint8Array.from({ length: 32 }, (_, i) => i))).toBe(0x46dd794e);
  const { time } = figures;
  expect(base64(version(time))).toBe(figures.version);
  const values = Object.fromEntries((figures.values as [string, number][]).map(([k, v]) => [k, Number(v)]));
  for (const { step, record: bytes } of figures.scalars) expect(base64(scalars(time, step, values))).toBe(bytes);
  expect(base64(text(time, 7, "params", figures.markdown))).toBe(figures.text);
});

/** The tags, and the strings, of the events in a file, found by walking the records. */
function eventsIn(path: string): Buffer[] {
  const bytes = readFileSync(path);
  const events: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = Number(bytes.readBigUInt64LE(at));
    const event = bytes.subarray(at + 12, at + 12 + length);
    expect(bytes.subarray(at, at + 16 + length)).toEqual(record(event));
    events.push(event);
    at += 16 + length;
  }
  return events;
}

test("a run", async () => {
  const model = new nn.Linear(1, 1);
  const plan = {
    model,
    optimizer: new optim.SGD(model.parameters(), { lr: 0.5 }),
    callbacks: [new callbacks.TensorBoard({ logDir: folder, updateFreq: 2 })],
    ...{ maxEpochs: 2, batches: 3, params: { "a|b": "c\nd", sizes: [1, 2] } },
    results: (epoch: number) => ({ val_loss: epoch }),
  };
  await new HandLoop(plan).run();
  expect(readdirSync(folder).sort()).toEqual(["train", "validation"]);
  const [train, validation] = ["train", "validation"].map((name) => {
    const [file, ...more] = readdirSync(join(folder, name));
    expect(more).toEqual([]);
    expect(file).toMatch(/^events\.out\.tfevents\.\d+\..+/);
    return eventsIn(join(folder, name, file));
  });
  const has = (event: Buffer, ...parts: string[]) => expect(parts.filter((p) => !event.includes(p))).toEqual([]);
  expect(train.length).toBe(7);
  has(train[0], "brain.Event:2");
  has(train[1], "params", "text", "|a\\|b|c d|\n", "|sizes|[1,2]|\n");
  for (const i of [2, 4, 5]) has(train[i], "batch_loss"); // steps 2, 4 and 6
  for (const i of [3, 6]) has(train[i], "epoch_loss", "epoch_learning_rate");
  expect(validation.length).toBe(3);
  has(validation[1], "epoch_loss");
  // With its time taken from it, an event is what the writer makes of the values.
  expect(train[3]).toEqual(scalars(train[3].readDoubleLE(1), 0, { epoch_loss: 1, epoch_learning_rate: 0.5 }));
  expect(validation[2]).toEqual(scalars(validation[2].readDoubleLE(1), 1, { epoch_loss: 1 }));
  expect(() => new callbacks.TensorBoard({ updateFreq: 0 })).toThrow(/must be an integer ≥ 1, got the number 0/);
  expect(() => new callbacks.TensorBoard({ logDir: "" })).toThrow(/logDir must be the path of a folder/);
});
