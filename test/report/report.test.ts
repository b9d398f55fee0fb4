// The page of a run and the pictures beside it.
import {
  appendFileSync,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { data, diagnose, nn, version } from "../../lib/index.js";
import {
  biasVariancePicture,
  boundaryPicture,
  confusionPicture,
  fitsPicture,
  learningCurvePicture,
  lossCurves,
  rateCurve,
  stepCurve,
  validationCurvePicture,
  writeReport,
} from "../../lib/report/index.js";
import { run } from "../diagnosis/curves.js";
import { everything, folder, line, makeRun } from "./runs.js";

const read = (path: string): string => readFileSync(path, "utf8");

/** Addresses that a browser would ask for; names of XML are none. */
const addresses = (page: string): string[] =>
  page
    .replace(/xmlns(:xlink)?="[^"]*"/g, "")
    .match(/(?:https?:)?\/\/[\w.]+|\b(?:src|href)="(?!data:,)[^"]*"|url\((?!#)[^)]*\)|@import/g) ?? [];

/** Throws unless tags are closed as they were opened. */
function wellFormed(svg: string): void {
  const open: string[] = [];
  for (const [, close, name, self] of svg.matchAll(/<(\/?)([a-zA-Z]+)(?:\s[^<>]*?)?(\/?)>/g)) {
    if (self) continue;
    if (!close) open.push(name);
    else if (open.pop() !== name) throw new Error(`</${name}> closes nothing`);
  }
  expect(open).toEqual([]);
  expect(svg).not.toMatch(/NaN|undefined|Infinity/);
}

describe("writeReport", () => {
  test("holds everything in one page that asks for nothing else", async () => {
    const path = makeRun(folder(), "iris", { name: "iris, first try", evaluation: everything });
    const { path: page, pictures, diagnosis } = await writeReport(path);
    expect(page).toBe(join(path, "report.html"));
    const html = read(page);
    expect(addresses(html)).toEqual([]);
    expect(html).not.toContain("<script");
    expect(html).toContain("default-src 'none'");
    for (const text of [
      ...[
        "<h1>iris, first try</h1>",
        "finished",
        "1,234",
        "Sequential",
        "(batch, 8)",
        "optimizers[0].lr",
        "0.9, 0.999",
      ],
      ...[
        "v20.17.0",
        "500 ms",
        "0.9375",
        "setosa",
        "petal length",
        "Confusion matrix",
        "Decision boundary",
        "Fitted curve",
      ],
    ]) {
      expect(html).toContain(text);
    }
    expect(html.match(/<svg /g)?.length).toBe(5);
    expect(diagnosis?.verdict).toBe("overfits");
    expect(html).toContain((diagnosis?.summary ?? "").replace(/<.*/, ""));
    expect(html).toContain(`best: ${(diagnosis?.bestEpoch as number) + 1}<`);
    const ids = [...html.matchAll(/ id="([^"]+)"/g)].map((m) => m[1]);
    expect(new Set(ids).size).toBe(ids.length);
    for (const [, id] of html.matchAll(/url\(#([^)]+)\)/g)) expect(ids).toContain(id);

    expect(pictures.map((p) => p.slice(path.length + 1))).toEqual(
      ["loss", "accuracy", "confusion", "boundary", "fit"].map((name) => `report-${name}.svg`),
    );
    for (const picture of pictures) {
      const svg = read(picture);
      wellFormed(svg);
      expect(addresses(svg)).toEqual([]);
      expect(svg).toContain("prefers-color-scheme:dark");
    }
    expect(statSync(page).size).toBeLessThan(300_000);
  });

  test("names are text, whatever they hold", async () => {
    const evil = `</script><script>document.title="owned"</script><img src=x onerror=alert(1)>"'&`;
    const at = folder();
    const path = makeRun(at, "evil", {
      name: evil,
      metric: evil,
      params: { [evil]: evil, list: [{ deep: evil }] },
      evaluation: {
        ...everything,
        confusion: {
          labels: [evil, "b"],
          matrix: [
            [1, 2],
            [3, 4],
          ],
        },
      },
    });
    const { path: page, pictures } = await writeReport(path, join(at, "out", "evil.html"));
    for (const file of [page, ...pictures]) {
      expect(read(file)).not.toMatch(/<script|<img|onerror=alert\(1\)>/);
    }
    wellFormed(read(pictures[1]));
    expect(readdirSync(join(at, "out")).every((name) => /^evil(-[\w-]+)?\.(html|svg)$/.test(name))).toBe(true);
    expect(pictures.length).toBe(5);
  });

  test("a killed run is reported as far as it came", async () => {
    const path = makeRun(folder(), "killed", { ended: false });
    const log = join(path, "log.jsonl");
    truncateSync(log, statSync(log).size - 30);
    const { path: page } = await writeReport(path);
    const html = read(page);
    expect(html).toContain("not ended");
    expect(html).toMatch(/<dt>epochs<\/dt><dd>39<\/dd>/);
    expect(html).not.toContain("damaged");
  });

  test.each([
    ["completed", "finished"],
    ["val_loss has not improved for 5 epochs", "stopped"],
    ["ValueError: step: the loss is an Error: no", "failed"],
  ])("a run that ended with %s is %s", async (reason, word) => {
    const path = makeRun(folder(), "a", { ended: false });
    appendFileSync(join(path, "log.jsonl"), line({ event: "end", reason }));
    const html = read((await writeReport(path)).path);
    expect(html).toContain(`>${word}</p>`);
    expect(html.includes(`ended: ${reason}`)).toBe(word !== "finished");
  });

  test("a run that has no epoch yet, no validation, no description", async () => {
    const at = folder();
    const [a, b] = [makeRun(at, "a"), makeRun(at, "b")];
    rmSync(join(a, "log.jsonl"));
    expect(read((await writeReport(a)).path)).toContain("No epoch has ended yet");
    rmSync(join(b, "run.json"));
    const log = join(b, "log.jsonl");
    writeFileSync(
      log,
      read(log)
        .replace(/"val_\w+":[^,}]+,?/g, "")
        .replaceAll(",}", "}"),
    );
    const written = await writeReport(b);
    expect(written.diagnosis).toBeNull();
    expect(read(written.path)).toContain("<h1>b</h1>");
    expect(written.pictures.length).toBe(2);
  });

  test("writes nothing for what is no run", async () => {
    const at = folder();
    await expect(writeReport(join(at, "x"))).rejects.toThrow(/no such directory/);
    expect(existsSync(join(at, "x"))).toBe(false);
  });

  test("reads what fit leaves behind", async () => {
    const directory = join(folder(), "moons");
    const { x, y } = data.makeMoons({ samples: 60, seed: 1 });
    const model = new nn.Sequential([new nn.Linear(2, 8), new nn.Tanh(), new nn.Linear(8, 2), new nn.Softmax()]);
    model.compile({ optimizer: "adam", loss: "sparse_categorical_crossentropy", metrics: ["accuracy"] });
    await model.fit(x, y, {
      epochs: 7,
      batchSize: 10,
      seed: 1,
      validationSplit: 0.2,
      directory,
      name: "moons <1>",
      verbose: 0,
    });
    const { path, diagnosis } = await writeReport(directory);
    const html = read(path);
    for (const text of [
      ...["<h1>moons &#60;1&#62;</h1>", "finished", "<dt>epochs</dt><dd>7</dd>", "<dt>parameters</dt><dd>42</dd>"],
      ...["steps per second", "Tanh", "(batch, 8)", "optimizers[0].lr", ">Accuracy</text>", version()],
    ]) {
      expect(html).toContain(text);
    }
    expect(diagnosis?.bestEpoch).not.toBeNull();
    expect(html).not.toMatch(/undefined|\bNaN\b/);
  });

  test("twice the same", async () => {
    const path = makeRun(folder(), "a", { evaluation: everything });
    const [first, second] = [await writeReport(path), await writeReport(path, join(path, "b.html"))];
    const plain = (text: string) => text.replace(/\bp\d+-/g, "p-");
    expect(plain(read(second.path))).toBe(plain(read(first.path)));
    expect(read(second.pictures[0])).toBe(read(first.pictures[0]));
  });
});

describe("pictures", () => {
  const scores = (mean: number[]) => ({ mean, std: mean.map(() => 0.1), scores: [] });

  test("of curves: a point an epoch, the best epoch, the overfitted part", async () => {
    const curves = run("overfits", 30, 0, 1);
    const diagnosis = diagnose(curves);
    const svg = await lossCurves("loss", curves.loss, curves.val_loss, { diagnosis });
    wellFormed(svg);
    const paths = [
      ...svg.matchAll(/<path d="([^"]+)"[^>]*stroke="var\(--(train|validation)\)" stroke-width="2"[^>]*join/g),
    ];
    expect(paths.map((m) => [m[2], m[1].split("L").length])).toEqual([
      ["train", 30],
      ["validation", 30],
    ]);
    expect(svg).toContain(`>best: ${(diagnosis.bestEpoch as number) + 1}</text>`);
    expect(svg).toContain(">overfits</text>");
    const without = await lossCurves("loss", curves.loss, curves.val_loss);
    expect(without).not.toMatch(/>best:|>overfits/);
  });

  test("of one epoch, of values that are not finite, of none", async () => {
    wellFormed(await lossCurves("loss", [1], [2]));
    wellFormed(await lossCurves("loss", [1, Number.NaN, 2], [Number.POSITIVE_INFINITY, 1, 1]));
    wellFormed(await lossCurves("loss", [], []));
    wellFormed(await lossCurves("loss", [3, 3, 3], undefined));
    wellFormed(await lossCurves("loss", [1000, 1, 1e-6], undefined));
    wellFormed(
      await stepCurve([
        { step: 50, loss: 1 },
        { step: 100, loss: Number.NaN },
        { step: 150, loss: 0.5 },
      ]),
    );
    wellFormed(await rateCurve([0.1, 0.01, 0.001], [0, 1, 2]));
  });

  test("of studies", async () => {
    const both = { train: scores([0.1, 0.2, 0.3]), validation: scores([1, 0.5, 0.4]) };
    const learning = await learningCurvePicture({ sizes: [10, 100, 1000], ...both }, { score: "error" });
    wellFormed(learning);
    for (const text of [">training samples<", ">error<", ">1,000<"]) expect(learning).toContain(text);
    expect(learning.match(/fill-opacity="0.14"|opacity="0.14"/g)?.length).toBe(2);
    wellFormed(await validationCurvePicture({ values: ["sgd", "adam", "lion"], ...both }, { name: "optimizer" }));
    const parts = [3, 2, 1].map((bias2) => ({
      bias2,
      variance: 1,
      noise: 1,
      total: bias2 + 2,
      netVariance: 1,
      netNoise: 1,
      points: [],
    }));
    const svg = await biasVariancePicture([1, 2, 3], parts, { name: "degree" });
    wellFormed(svg);
    for (const text of ["bias²", "variance", "noise", "total", "degree"]) expect(svg).toContain(`>${text}</text>`);
  });

  test("of a matrix: each count, the rows' shares as darkness", async () => {
    const svg = await confusionPicture({
      labels: ["a", "b"],
      matrix: [
        [90, 10],
        [0, 0],
      ],
    });
    wellFormed(svg);
    expect(svg).toContain(">90</text>");
    expect(svg).toContain(">10</text>");
    const cells = [...svg.matchAll(/fill="var\(--cell\)" (?:fill-opacity|opacity)="([\d.]+)"/g)].map((m) =>
      Number(m[1]),
    );
    expect(cells[0]).toBeCloseTo(0.97, 5);
    expect(cells[1]).toBeCloseTo(0.13, 5);
    const many = {
      labels: Array.from({ length: 30 }, (_, i) => `class number ${i}`),
      matrix: Array.from({ length: 30 }, () => new Array(30).fill(1)),
    };
    wellFormed(await confusionPicture(many));
  });

  test("of a boundary: the areas cover the plane once", async () => {
    const svg = await boundaryPicture(everything.boundary as never);
    wellFormed(svg);
    let area = 0;
    for (const [, d] of svg.matchAll(/<path d="([^"]+)"[^>]*fill="var\(--area\d\)"/g)) {
      for (const [, l, t, r, b] of d.matchAll(
        /M([\d.]+) ([\d.]+)[LH] ?([\d.]+)(?: [\d.]+)?[LV] ?(?:[\d.]+ )?([\d.]+)/g,
      )) {
        area += (Number(r) - Number(l)) * (Number(b) - Number(t));
      }
    }
    const plane = (460 - 56 - 20) * (380 - 56 - 50);
    expect(Math.abs(area / plane - 1)).toBeLessThan(0.01);
  });

  test("of fits: a curve that runs away does not press the samples together", async () => {
    const x = Array.from({ length: 50 }, (_, i) => i / 10);
    const train = [
      [0, 0],
      [1, 1],
      [4, 2],
    ] as [number, number][];
    const svg = await fitsPicture([{ name: "wild", x, y: x.map((v) => 1000 * Math.sin(5 * v)), train }]);
    wellFormed(svg);
    const heights = [...svg.matchAll(/<path d="M1 0A[^"]*" transform="matrix\([^)]*,([\d.]+)\)"/g)].map((m) =>
      Number(m[1]),
    );
    expect(Math.max(...heights) - Math.min(...heights)).toBeGreaterThan(60);
  });
});
