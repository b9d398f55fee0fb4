// The page of a run as HTML: for a file and for the board.
import { type Diagnosis, diagnose } from "../index.js";
import { boundaryPicture, confusionPicture, fitPicture, lossCurves, rateCurve, stepCurve } from "./charts.js";
import type { Progress, Run } from "./run.js";
import { escapeText, fontFamily, short, themed } from "./theme.js";

/** A picture of a report. */
export interface Picture {
  /** For the name of its file. */
  readonly name: string;
  /** Draws it, by itself or for a page. */
  draw(standalone: boolean): Promise<string>;
}

/** What the curves of a run say; null where it has no training and validation loss. */
export function diagnosisOf({ epoch, history }: Progress): Diagnosis | null {
  return history.loss && history.val_loss ? diagnose({ epoch, history }) : null;
}

/** More curves than this are not drawn. */
const CURVES = 12;

function curvesOf({ progress }: Run, diagnosis: Diagnosis | null): Picture[] {
  const { history, epoch, lr } = progress;
  const names = [...new Set(Object.keys(history).map((name) => name.replace(/^val_/, "")))];
  names.sort((a, b) => Number(b === "loss") - Number(a === "loss"));
  const pictures = names.slice(0, CURVES).map((name): Picture => {
    // Only the loss is what the verdict is about; the epoch to keep is one for all.
    const marks = diagnosis && (name === "loss" ? diagnosis : { ...diagnosis, since: null });
    return {
      name,
      draw: (standalone) =>
        lossCurves(
          name,
          history[name],
          history[`val_${name}`],
          { epochs: epoch, diagnosis: marks },
          { title: title(name), standalone },
        ),
    };
  });
  if (new Set(lr.filter(Number.isFinite)).size > 1 && !names.includes("lr")) {
    const draw = (standalone: boolean) => rateCurve(lr, epoch, { title: "Learning rate", standalone });
    pictures.push({ name: "learning-rate", draw });
  }
  const { steps } = progress;
  if (steps.length > 1) {
    const draw = (standalone: boolean) => stepCurve(steps, { title: "Training loss by step", standalone });
    pictures.push({ name: "steps", draw });
  }
  return pictures;
}

function evaluationOf({ evaluation }: Run): Picture[] {
  const { confusion, boundary, curve } = evaluation ?? {};
  return [
    ...(confusion
      ? [
          {
            name: "confusion",
            draw: (standalone: boolean) => confusionPicture(confusion, { title: "Confusion matrix", standalone }),
          },
        ]
      : []),
    ...(boundary
      ? [
          {
            name: "boundary",
            draw: (standalone: boolean) =>
              boundaryPicture(boundary, { title: "Decision boundary", height: 460, standalone }),
          },
        ]
      : []),
    ...(curve
      ? [{ name: "fit", draw: (standalone: boolean) => fitPicture(curve, { title: "Fitted curve", standalone }) }]
      : []),
  ];
}

/** All pictures of a run. */
export const picturesOf = (run: Run): Picture[] => [...curvesOf(run, diagnosisOf(run.progress)), ...evaluationOf(run)];

const title = (name: string): string => name.charAt(0).toUpperCase() + name.slice(1);
const count = (n: number): string => n.toLocaleString("en-US");

export function duration(seconds: number): string {
  if (!(seconds >= 0)) return "–";
  if (seconds < 1) return `${short(seconds * 1000)} ms`;
  if (seconds < 120) return `${short(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 120 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

const time = (iso: string | undefined): string => {
  const date = new Date(iso ?? "");
  return Number.isNaN(date.getTime()) ? "–" : `${date.toISOString().slice(0, 16).replace("T", " ")} UTC`;
};

/** What a log says at its end when nothing ended the run before its time. */
const DONE = "completed";

/** State of a run in a word, and its colour. */
export function stateOf({ record, progress }: Run, now?: number): { readonly word: string; readonly tone: string } {
  const ended = progress.ended ?? (record.finished && (record.stopReason ?? DONE));
  if (ended === DONE) return { word: "finished", tone: "best" };
  if (ended) return { word: /^\w*Error:/.test(ended) ? "failed" : "stopped", tone: "validation" };
  const idle = now === undefined ? 0 : now - new Date(progress.last ?? record.started ?? 0).getTime();
  const usual = 1000 * Math.max(...progress.seconds.filter(Number.isFinite), 0);
  // Without a word of its end: it may be at work still. A long silence says that it was killed.
  if (now !== undefined && idle < Math.max(60_000, 10 * usual)) return { word: "running", tone: "train" };
  return { word: "not ended", tone: "muted" };
}

type Rows = readonly (readonly [string, unknown])[];

const table = (rows: Rows): string =>
  `<table class="pairs"><tbody>${rows.map(([k, v]) => `<tr><th scope="row">${escapeText(k)}</th><td>${escapeText(v)}</td></tr>`).join("")}</tbody></table>`;

/** Settings, those within settings by their path. */
function flat(value: unknown, path = ""): [string, unknown][] {
  if (Array.isArray(value)) {
    if (value.every((v) => typeof v !== "object" || v === null)) return [[path, value.join(", ") || "none"]];
    return value.flatMap((v, i) => flat(v, `${path}[${i}]`));
  }
  if (typeof value === "object" && value !== null) {
    return Object.entries(value).flatMap(([k, v]) => flat(v, path === "" ? k : `${path}.${k}`));
  }
  return [[path, value === null ? "–" : value]];
}

function tiles(run: Run, diagnosis: Diagnosis | null): string {
  const { record, progress } = run;
  const { history, seconds } = progress;
  const last = progress.epoch.length - 1;
  const known = seconds.filter(Number.isFinite);
  const each = known.length ? known.reduce((a, b) => a + b, 0) / known.length : Number.NaN;
  const perEpoch = record.batchesPerEpoch ?? 0;
  const at = diagnosis?.bestEpoch === null || !diagnosis ? last : progress.epoch.indexOf(diagnosis.bestEpoch);
  const best = Object.keys(history)
    .filter((name) => name.startsWith("val_") || !history.val_loss)
    .slice(0, 3)
    .map((name) => [
      `${name}${diagnosis ? `, epoch ${progress.epoch[at] + 1}` : ""}`,
      short(history[name][at] ?? Number.NaN),
    ]);
  const list: (readonly [string, string])[] = [
    ...(best as [string, string][]),
    ["epochs", count(progress.epoch.length)],
    ...(known.length ? [["per epoch", duration(each)] as const] : []),
    ...(perEpoch > 0 && each > 0 ? [["steps per second", count(Math.round(perEpoch / each))] as const] : []),
    ...(record.parameters !== undefined ? [["parameters", count(record.parameters)] as const] : []),
  ];
  return `<dl class="tiles">${list.map(([k, v]) => `<div><dt>${escapeText(k)}</dt><dd>${escapeText(v)}</dd></div>`).join("")}</dl>`;
}

function verdict(diagnosis: Diagnosis): string {
  const tone = { fits: "best", overfits: "bad", diverges: "bad", underfits: "validation", "too short to say": "muted" };
  const word = diagnosis.verdict === "too short to say" ? "Too short to say" : title(diagnosis.verdict);
  return (
    `<section class="verdict" style="--tone:var(--${tone[diagnosis.verdict]})"><h2>${word}</h2>` +
    `<p>${escapeText(diagnosis.summary)}</p><ul>${diagnosis.advice.map((a) => `<li>${escapeText(a)}</li>`).join("")}</ul></section>`
  );
}

function model({ record }: Run): string {
  if (!record.layers?.length) return "";
  const rows = record.layers.map((layer) => {
    const shape = layer.outputShape ? `(${layer.outputShape.map((n) => n ?? "batch").join(", ")})` : "–";
    return `<tr><td>${escapeText(layer.name)}</td><td>${escapeText(layer.type)}</td><td>${escapeText(shape)}</td><td class="n">${count(layer.parameters)}</td></tr>`;
  });
  const total = record.parameters ?? record.layers.reduce((sum, layer) => sum + layer.parameters, 0);
  return (
    `<section><h2>Model${record.model ? ` <small>${escapeText(record.model)}</small>` : ""}</h2><div class="scroll"><table><thead><tr><th>part</th><th>type</th><th>output</th>` +
    `<th class="n">parameters</th></tr></thead><tbody>${rows.join("")}</tbody><tfoot><tr><td colspan="3">all</td><td class="n">${count(total)}</td></tr></tfoot></table></div></section>`
  );
}

function settings({ record, progress }: Run): string {
  const { params = {} } = record;
  const all: (readonly [string, unknown])[] = [
    ["nablajs", record.nablajs],
    ["Node.js", record.node],
    ["device", record.device],
    ["threads", record.threads],
    ["seed", record.seed],
    ["batches an epoch", record.batchesPerEpoch],
    ...(progress.damaged ? [["damaged lines in the log", progress.damaged] as const] : []),
  ];
  const environment = all.filter(([, value]) => value !== undefined && value !== null);
  const shown = new Set(["device", "threads", "seed", "batchesPerEpoch", "parameters"]);
  const hyper = flat(Object.fromEntries(Object.entries(params).filter(([k]) => !shown.has(k))));
  const part = (name: string, rows: Rows): string =>
    rows.length ? `<section><h2>${name}</h2>${table(rows)}</section>` : "";
  return `<div class="columns">${part("Hyper-parameters", hyper)}${part("Environment", environment)}</div>`;
}

/** The inner part of the page. */
export async function bodyOf(run: Run, now?: number): Promise<string> {
  const { record, progress, evaluation } = run;
  const diagnosis = diagnosisOf(progress);
  const state = stateOf(run, now);
  const figures = async (pictures: readonly Picture[]): Promise<string> => {
    const drawn = await Promise.all(pictures.map((p) => p.draw(false)));
    return drawn.length ? `<div class="cards">${drawn.map((svg) => `<figure>${svg}</figure>`).join("")}</div>` : "";
  };
  const spent = progress.seconds.filter(Number.isFinite).reduce((a, b) => a + b, 0);
  const facts = [
    record.started && `started ${time(record.started)}`,
    spent > 0 && `${duration(spent)} of training`,
    progress.ended && progress.ended !== DONE && `ended: ${progress.ended}`,
  ].filter((s): s is string => typeof s === "string");
  const curves = curvesOf(run, diagnosis);
  const measured = Object.entries(evaluation?.metrics ?? {}).map(([k, v]) => [k, short(Number(v), 4)] as const);
  const found = (await figures(evaluationOf(run))) + (measured.length ? table(measured) : "");
  return [
    `<header><p class="state" style="--tone:var(--${state.tone})">${state.word}</p><h1>${escapeText(record.name)}</h1>`,
    `<p class="meta">${facts.map(escapeText).join(" · ")}</p></header>`,
    progress.epoch.length ? tiles(run, diagnosis) : `<p class="empty">No epoch has ended yet.</p>`,
    diagnosis ? verdict(diagnosis) : "",
    curves.length ? `<section><h2>Curves</h2>${await figures(curves)}</section>` : "",
    found ? `<section><h2>Evaluation</h2>${found}</section>` : "",
    model(run),
    settings(run),
  ].join("\n");
}

export const style = `${themed(":root")}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.55 ${fontFamily};-webkit-text-size-adjust:100%}
main{max-width:1040px;margin:0 auto;padding:32px 20px 64px}
h1{font-size:30px;line-height:1.2;margin:4px 0 4px;letter-spacing:-.01em;overflow-wrap:anywhere}
h2{font-size:18px;margin:0 0 12px}
h2 small{color:var(--muted);font-weight:400;font-size:14px}
section{margin-top:36px}
a{color:var(--train)}
.meta,.empty{color:var(--muted);margin:0;overflow-wrap:anywhere}
.state{display:inline-block;margin:0;padding:1px 10px;border:1px solid var(--tone);border-radius:99px;color:var(--tone);font-size:13px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(140px,1fr));gap:10px;margin:24px 0 0}
.tiles div{background:var(--panel);border-radius:10px;padding:12px 14px;display:flex;flex-direction:column;justify-content:space-between}
.tiles dt{color:var(--muted);font-size:13px;overflow-wrap:anywhere}
.tiles dd{margin:2px 0 0;font-size:22px;font-weight:600;font-variant-numeric:tabular-nums}
.verdict{border-left:4px solid var(--tone);background:var(--panel);border-radius:0 10px 10px 0;padding:16px 20px;margin-top:24px}
.verdict h2{color:var(--tone);margin-bottom:4px}
.verdict p{margin:0 0 8px;max-width:75ch}
.verdict ul{margin:0;padding-left:20px}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,340px),1fr));gap:14px}
figure{margin:0;background:var(--panel);border-radius:10px;overflow:hidden}
.cards figure{max-width:680px}
figure svg{display:block;width:100%;height:auto}
.scroll{overflow-x:auto}
.columns{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,340px),1fr));gap:0 28px}
table{border-collapse:collapse;width:100%;font-size:14px;font-variant-numeric:tabular-nums}
.cards+table{margin-top:14px}
th,td{text-align:left;padding:6px 12px 6px 0;border-bottom:1px solid var(--grid);vertical-align:top;overflow-wrap:anywhere}
th{color:var(--muted);font-weight:400}
thead th{border-bottom-color:var(--line)}
.pairs th{width:46%}
.n{text-align:right;padding-right:0}
tfoot td{font-weight:600;border-bottom:0}
@media(max-width:480px){main{padding:20px 14px 48px}h1{font-size:24px}.tiles{grid-template-columns:1fr 1fr}}
@media print{section,figure{break-inside:avoid}}`;

/**
 * A whole page.
 *
 * @param policy what the browser may load and run besides the styles; nothing by default
 */
export function pageOf(name: string, body: string, policy = "", script = ""): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:${policy}">
<link rel="icon" href="data:,">
<title>${escapeText(name)}</title>
<style>${style}</style>
</head>
<body>
<main>
${body}
</main>
${script}</body>
</html>
`;
}
