// Pictures of the results as SVG, one for each group of rows and one of the roofline, readable on light and on dark
// pages. echarts draws them without a browser.
import { writeFileSync } from "node:fs";
import { attainable, groups, intensity } from "../../dist/bench.mjs";
import { best, titleOf } from "./report.mjs";

/** In between black and white: it can be read on both. */
const ink = "#808890";
const colours = {
  ours: "#e4572e",
  "onnxruntime-node": "#3b8ed0",
  torch: "#a06cd5",
  OpenBLAS: "#2a9d8f",
  oneDNN: "#52b788",
  "C loop": "#c9a227",
  "tfjs-wasm": "#f48fb1",
  "tfjs-cpu": "#c2749a",
  "jax-js": "#5bb8c4",
  "plain JS": "#8d99ae",
  "ml-matrix": "#b08968",
};
const colourOf = (peer) =>
  peer.startsWith("nabla")
    ? colours.ours
    : (Object.entries(colours).find(([name]) => peer.startsWith(name))?.[1] ?? ink);

const text = { color: ink, fontFamily: "system-ui, sans-serif", fontSize: 12 };
const line = { lineStyle: { color: ink, opacity: 0.25 } };
const axis = { axisLabel: text, nameTextStyle: text, axisLine: { lineStyle: { color: ink } }, splitLine: line };

/** The library, or why there are no pictures. */
async function load() {
  try {
    return await import("echarts");
  } catch {
    throw new Error("echarts is not installed (npm install --ignore-scripts in bench/)");
  }
}

/** Each contestant's best way to do a row. */
const byPeer = (row) => {
  const names = [...new Set(row.contestants.map((c) => c.peer))];
  return names
    .map((peer) =>
      best(
        row,
        row.contestants.filter((c) => c.peer === peer),
      ),
    )
    .filter(Boolean);
};

/** How fast each was, as a share of the row's limit or, where it is faster, of the best: rows of all units together. */
function groupOption(letter, rows) {
  const list = rows.map((row) => {
    const all = byPeer(row);
    const rate = (v) => (row.unit === "GFLOP/s" ? v : 1 / v);
    const top = Math.max(rate(best(row, all).best), row.limit ? rate(row.limit.value) : 0);
    const share = (v) => rate(v) / top;
    return { row, all, share, limit: row.limit && share(row.limit.value) };
  });
  const figure = (row, v) => `${v >= 100 ? v.toFixed(0) : Number(v.toPrecision(3))} ${row.unit}`;
  const height = list.reduce((sum, { all }) => sum + 26 + 15 * all.length, 0);
  // One line for each contestant of a row, with its figure, under the row's title: nothing has to be looked up.
  const lines = list.flatMap(({ row, all, share, limit }) => [
    { label: `{title|${titleOf(row)}}`, value: undefined },
    ...all
      .sort((a, b) => share(b.best) - share(a.best))
      .map((c) => ({
        label: c.peer,
        value: share(c.best),
        figure: figure(row, c.best),
        colour: colourOf(c.peer),
        limit,
      })),
  ]);
  return {
    height: height + 90,
    option: {
      backgroundColor: "transparent",
      animation: false,
      title: {
        text: `${groups[letter]}: share of the machine's limit (┃), or of the fastest`,
        textStyle: { ...text, fontSize: 15, fontWeight: "bold" },
        left: 10,
        top: 6,
      },
      grid: { left: 230, right: 110, top: 40, bottom: 30 },
      xAxis: { type: "value", min: 0, max: 1, ...axis },
      yAxis: {
        type: "category",
        inverse: true,
        data: lines.map(({ label }, i) => `${i} ${label}`),
        ...axis,
        axisTick: { show: false },
        axisLabel: {
          ...text,
          fontSize: 11,
          interval: 0,
          formatter: (label) => label.replace(/^\d+ /, ""),
          rich: { title: { ...text, fontWeight: "bold", fontSize: 12 } },
        },
      },
      series: [
        {
          type: "bar",
          barWidth: "75%",
          data: lines.map(({ value, colour, figure: told }) => ({
            value: value ?? "-",
            itemStyle: { color: colour },
            label: { show: value !== undefined, formatter: told ?? "" },
          })),
          label: { position: "right", ...text, fontSize: 11 },
        },
        {
          // The limit of the machine, as a mark at each bar of its row.
          type: "scatter",
          symbol: "rect",
          symbolSize: [2, 13],
          itemStyle: { color: ink },
          data: lines.map(({ limit }, i) => [limit ?? Number.NaN, i]).filter(([x]) => Number.isFinite(x)),
        },
      ],
    },
  };
}

/** Where rows lie under the roofs of the machine: operations a byte, and the speed that ours and the best peer reach. */
function rooflineOption(result) {
  const peak = Math.max(
    ...result.bandwidth.filter((b) => b.threads === 1 && b.unit === "GFLOP/s").map((b) => b.best),
    ...result.rows.filter((row) => row.threads === 1 && row.limit?.name === "FMA peak").map((row) => row.limit.value),
  );
  const memories = result.bandwidth.filter((b) => b.threads === 1 && b.unit === "GB/s" && b.roof);
  const [from, to] = [0.05, 500];
  const roofs = memories.map((m) => {
    const limits = { gflops: peak, gigabytes: m.best };
    const ridge = peak / m.best;
    return {
      type: "line",
      name: m.roof,
      showSymbol: false,
      lineStyle: { color: ink, width: 1.5 },
      endLabel: { show: false },
      data: [from, ridge, to].map((x) => [x, attainable(limits, x)]),
      markPoint: {
        symbol: "circle",
        symbolSize: 1,
        label: { ...text, formatter: `${m.roof} ${m.best.toFixed(0)} GB/s`, position: "right", offset: [4, 6] },
        data: [{ coord: [from * 1.6, attainable(limits, from * 1.6)] }],
      },
    };
  });
  const points = (ours) =>
    result.rows
      .filter((row) => row.threads === 1 && row.work && /^[GET]/.test(row.id) && row.limit)
      .flatMap((row) => {
        const one = best(
          row,
          row.contestants.filter((c) => c.ours === ours),
        );
        if (!one) return [];
        const ms = Math.min(...one.times.filter((t) => t > 0));
        return [
          { value: [intensity(row.work), row.work.flops / ms / 1e6], name: `${row.id} ${row.name.split(",")[0]}` },
        ];
      });
  const series = (name, ours, color, symbol) => ({
    type: "scatter",
    name,
    symbol,
    symbolSize: 9,
    itemStyle: { color },
    data: points(ours),
    label: ours
      ? { show: true, position: "bottom", ...text, fontSize: 9, formatter: ({ name: label }) => label.split(" ")[0] }
      : { show: false },
    labelLayout: { hideOverlap: true },
  });
  return {
    height: 560,
    option: {
      backgroundColor: "transparent",
      animation: false,
      title: {
        text: `Roofline, one thread: peak ${peak.toFixed(0)} GFLOP/s`,
        textStyle: { ...text, fontSize: 15, fontWeight: "bold" },
        left: 10,
        top: 6,
      },
      legend: { data: ["nabla", "best peer"], textStyle: text, right: 20, top: 8 },
      grid: { left: 70, right: 40, top: 70, bottom: 60 },
      xAxis: {
        type: "log",
        min: from,
        max: to,
        name: "operations per byte",
        nameLocation: "middle",
        nameGap: 32,
        ...axis,
      },
      yAxis: { type: "log", min: 0.05, max: 500, name: "GFLOP/s", ...axis },
      series: [
        ...roofs,
        series("nabla", true, colours.ours, "circle"),
        series("best peer", false, colours["onnxruntime-node"], "diamond"),
      ],
    },
  };
}

/**
 * Writes the pictures beside a report and returns what they are called: letter of a group, or "roofline" → file name.
 * @param path of the report without its ending
 */
export async function drawPictures(result, path, nameOf) {
  const echarts = await load();
  const pictures = {};
  const draw = (key, { height, option }) => {
    const chart = echarts.init(null, null, { renderer: "svg", ssr: true, width: 860, height });
    chart.setOption(option);
    writeFileSync(`${path}-${key}.svg`, chart.renderToSVGString());
    chart.dispose();
    pictures[key] = nameOf(key);
  };
  for (const letter of Object.keys(groups)) {
    const rows = result.rows.filter((row) => row.id.startsWith(letter) && byPeer(row).length > 0);
    if (rows.length) draw(letter, groupOption(letter, rows));
  }
  if (result.bandwidth?.some((b) => b.unit === "GFLOP/s") && result.bandwidth.some((b) => b.roof))
    draw("roofline", rooflineOption(result));
  return pictures;
}
