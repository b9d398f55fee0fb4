// Results as Markdown: a table for each row, the targets, the gaps, the machine.
import { groups, pairwiseRatio } from "../../dist/bench.mjs";
import { judge } from "./targets.mjs";

const digits = (v) => {
  if (v === undefined || Number.isNaN(v)) return "–";
  const whole = v >= 100 ? v.toFixed(0) : v.toPrecision(3);
  return Number(whole) === 0 ? v.toExponential(1) : String(Number(whole));
};
const size = (bytes) =>
  bytes >= 2 ** 30
    ? `${digits(bytes / 2 ** 30)} GiB`
    : bytes >= 2 ** 20
      ? `${digits(bytes / 2 ** 20)} MiB`
      : `${digits(bytes / 1024)} KiB`;
const percent = (share) => (share === undefined ? "–" : `${(100 * share).toFixed(0)} %`);

const higherIsBetter = (row) => row.unit === "GFLOP/s";
export const best = (row, list) =>
  list
    .filter((c) => c.best !== undefined)
    .reduce((a, b) => (!a || (higherIsBetter(row) ? b.best > a.best : b.best < a.best) ? b : a), undefined);

/** Title of a row in headings and pictures. */
export const titleOf = (row) => `${row.id} ${row.name}${row.threads > 1 ? `, ${row.threads} threads` : ""}`;

function table(row) {
  const peer = best(
    row,
    row.contestants.filter((c) => !c.ours),
  );
  const lines = [
    `### ${titleOf(row)}`,
    "",
    `| ${row.unit} | best | median | of the limit | against ${peer ? `${peer.peer} ${peer.variant}`.trim() : "the best peer"} |`,
    "| --- | ---: | ---: | ---: | ---: |",
  ];
  if (row.limit) {
    lines.push(`| *limit: ${row.limit.name}* | *${digits(row.limit.value)}* | *${digits(row.limit.median)}* | | |`);
  }
  const ordered = [...row.contestants].sort(
    (a, b) => Number(b.ours) - Number(a.ours) || (higherIsBetter(row) ? -1 : 1) * ((a.best ?? 0) - (b.best ?? 0)),
  );
  for (const c of ordered.filter((one) => one.best !== undefined)) {
    const share = row.limit && c.best && (higherIsBetter(row) ? c.best / row.limit.value : row.limit.value / c.best);
    const ratio = c.ours && peer ? pairwiseRatio(c.times, peer.times) : Number.NaN;
    const name = `${c.peer}${c.variant ? `, ${c.variant}` : ""}${c.once ? " (once)" : ""}`;
    const cells = [digits(c.best), digits(c.median), percent(share), Number.isNaN(ratio) ? "" : `${ratio.toFixed(2)}×`];
    lines.push(
      `| ${c.ours ? `**${name}**` : name} | ${c.ours ? cells.map((x) => x && `**${x}**`).join(" | ") : cells.join(" | ")} |`,
    );
  }
  for (const gap of row.gaps.filter((g) => !g.none)) {
    lines.push(
      `| ${gap.peer}${gap.variant ? `, ${gap.variant}` : ""} | gap: ${gap.why.replace(/\|/g, "/").slice(0, 160)} | | | |`,
    );
  }
  return [...lines, ""];
}

/** Every target with what was reached. */
export function judgeAll(rows) {
  return rows.flatMap((row) => {
    const alone = rows.find((r) => r.threads === 1 && r.id === row.id && r.name === row.name);
    return judge(row, alone).map((verdict) => ({ row: titleOf(row), ...verdict }));
  });
}

const mark = (met) => (met === undefined ? "not measured" : met ? "met" : "**not met**");

function describe({ cpu, model, cores, usable, caches, memory, system, node }) {
  const sizes = Object.entries(caches).map(([name, bytes]) => `${name} ${size(bytes)}`);
  return [
    model ? `${cpu} (${model})` : cpu,
    usable < cores ? `${cores} cores, ${usable} of them usable` : `${cores} cores`,
    ...sizes,
    `${size(memory)} of memory`,
    system,
    `Node ${node}`,
  ].join("; ");
}

export function markdown(result) {
  const { machine, rows, contestants } = result;
  const verdicts = judgeAll(rows);
  const met = verdicts.filter((v) => v.met).length;
  const judged = verdicts.filter((v) => v.met !== undefined).length;
  const lines = [
    "# Benchmark",
    "",
    `\`npm run bench${result.arguments.length ? ` -- ${result.arguments.join(" ")}` : ""}\`, ${result.date}${result.interrupted ? ", **interrupted: partial**" : ""}, ${Math.round(result.seconds)} s.`,
    "",
    `- ${describe(machine)}.`,
    `- Load at the start ${machine.load.toFixed(2)}; while measuring, ${percent(result.busyness.busy)} of all cores busy, ${percent(result.busyness.steal)} stolen by the host.`,
    `- ${contestants
      .filter((c) => c.why || c.versions.length)
      .map((c) => (c.why ? `${c.name}: gap, ${c.why}` : `${c.name} ${c.versions.join(" and ")}`))
      .join("; ")}.`,
    "",
    "Contestants run in turns, in processes of their own, on the same numbers, which are checked against float64 before the clock starts. *Of the limit* compares best with best; the last column is the median over the rounds of how many times faster ours was than the best peer in the same round.",
    "",
  ];
  if (verdicts.length) {
    lines.push(`## Targets: ${met} of ${judged} met`, "", "| row | target | reached | |", "| --- | --- | ---: | --- |");
    for (const v of verdicts) lines.push(`| ${v.row} | ${v.text} | ${v.reached} | ${mark(v.met)} |`);
    lines.push("");
  }
  for (const [letter, what] of Object.entries(groups)) {
    const own = rows.filter((row) => row.id.startsWith(letter));
    if (own.length === 0) continue;
    lines.push(`## ${letter}: ${what}`, "");
    const picture = result.pictures?.[letter];
    if (picture) lines.push(`![${what}](${picture})`, "");
    for (const row of own) lines.push(...table(row));
  }
  if (result.bandwidth?.length) {
    lines.push("## The machine's limits", "");
    if (result.pictures?.roofline) lines.push(`![roofline](${result.pictures.roofline})`, "");
    lines.push("| threads | what | bytes | best | median |", "| ---: | --- | ---: | ---: | ---: |");
    for (const b of result.bandwidth) {
      lines.push(
        `| ${b.threads} | ${b.name} | ${b.bytes ? size(b.bytes) : ""} | ${digits(b.best)} ${b.unit} | ${digits(b.median)} ${b.unit} |`,
      );
    }
    lines.push("");
  }
  return lines.join("\n");
}
