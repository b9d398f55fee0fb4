// The pictures: what each shows, as options of echarts, and the SVG made of them.
import type { BiasVariance, Diagnosis, LearningCurve, Scores, ValidationCurve } from "../index.js";
import { areaColour, escapeText, fontFamily, pointColour, short, themed } from "./theme.js";

export interface PictureOptions {
  /** In pixels; pictures are scaled with the page. Default 460 × 300. */
  width?: number;
  height?: number;
  title?: string;
  /**
   * A picture by itself brings its colours for light and dark surroundings and a ground; one that goes into a page with
   * such colours does not. Default true.
   */
  standalone?: boolean;
}

const colour = (name: string): string => `var(--${name})`;
const text = (name = "muted", size = 12) => ({ color: colour(name), fontFamily, fontSize: size });

/** A text that fits its place. */
const fitted = (value: string, most: number): string => (value.length > most ? `${value.slice(0, most - 1)}…` : value);

/** Numbers of the pictures so far: names in one page must not meet. */
let drawn = 0;

/** Draws; the library is loaded when the first picture is. */
async function picture(label: string, option: Record<string, unknown>, options: PictureOptions): Promise<string> {
  const { width = 460, height = 300, title, standalone = true } = options;
  const { render } = await import("./echarts.js");
  const heading = title && {
    text: fitted(title, 48),
    left: 14,
    top: 10,
    textStyle: { ...text("ink", 14), fontWeight: 600 },
  };
  const svg = render({ ...option, title: heading || undefined }, width, height);
  const id = standalone ? "p" : `p${drawn++}`;
  const ground = standalone
    ? `<style>${themed("svg")}</style><rect width="100%" height="100%" fill="var(--page)"/>`
    : "";
  return svg
    .replace(/<style >.*?<\/style>/s, "") // what happens under a mouse, which nothing here needs
    .replace(/ (?:class="zr[^"]*"|pointer-events="visible"|ecmeta_\w+="[^"]*"|xml:space="preserve")/g, "")
    .replace(/zr\d+-/g, `${id}-`)
    .replace(/(<svg) width="\d+" height="\d+"/, `$1 width="${width}" height="${height}" role="img"`)
    .replace(/<rect [^>]*fill="none"><\/rect>/, `<title>${escapeText(label)}</title>${ground}`);
}

const axisLine = { onZero: false, lineStyle: { color: colour("line") } };
const axis = {
  axisLabel: { ...text(), hideOverlap: true },
  axisLine,
  axisTick: { lineStyle: { color: colour("line") } },
  nameTextStyle: text(),
  splitLine: { lineStyle: { color: colour("grid") } },
};
const below = (name: string) => ({
  ...axis,
  name: fitted(name, 48),
  nameLocation: "middle",
  nameGap: 30,
  splitLine: { show: false },
});
const beside = (name: string) => ({
  ...axis,
  name: fitted(name, 24),
  nameLocation: "end",
  nameGap: 26, // beside the legend, over the marks
  nameTextStyle: { ...text(), align: "left", padding: [0, 0, 0, -34] },
  axisLine: { show: false, onZero: false },
  axisTick: { show: false },
  axisLabel: { ...axis.axisLabel, formatter: (v: number) => short(v) },
});
const frame = (options: PictureOptions) => ({
  grid: { left: 56, right: 20, top: options.title ? 82 : 56, bottom: 50 },
});
interface Named {
  readonly name: string;
  readonly type: string;
  readonly symbol?: string;
}
const legend = (options: PictureOptions, series: readonly Named[]) => ({
  legend: {
    data: series.map(({ name, type, symbol }) => ({ name, icon: type === "scatter" ? symbol : "roundRect" })),
    right: 14,
    top: options.title ? 40 : 12,
    itemWidth: 18,
    itemHeight: 8,
    itemGap: 14,
    textStyle: text("ink"),
    formatter: (name: string) => fitted(name, 14),
  },
});
const quiet = { silent: true, emphasis: { disabled: true } };

interface LineOptions {
  readonly dashed?: boolean;
  readonly points?: boolean;
  readonly more?: Record<string, unknown>;
}
const lineOf = (name: string, tone: string, data: readonly (readonly number[])[], o: LineOptions = {}) => ({
  type: "line",
  name,
  data,
  ...quiet,
  showSymbol: o.points ?? data.length === 1,
  symbol: "circle",
  symbolSize: 6,
  itemStyle: { color: colour(tone) },
  lineStyle: { color: colour(tone), width: 2, type: o.dashed ? "dashed" : "solid" },
  ...o.more,
});

/** Losses that fall over more than two decades are told apart on a logarithmic axis only. */
function scaleOf(values: readonly number[]): Record<string, unknown> {
  const known = values.filter(Number.isFinite);
  const [low, high] = [Math.min(...known), Math.max(...known)];
  return low > 0 && high / low > 100
    ? { type: "log", minorSplitLine: { show: false } }
    : { type: "value", scale: true };
}

export interface CurveMarks {
  /** Numbers of the epochs; default 0, 1, … They are shown from 1 on. */
  readonly epochs?: readonly number[];
  readonly diagnosis?: Pick<Diagnosis, "verdict" | "since" | "bestEpoch"> | null;
}

/** Training and validation values against the epochs, with the best one and the part that is overfitted. */
export function lossCurves(
  name: string,
  train: readonly number[] | undefined,
  validation: readonly number[] | undefined,
  marks: CurveMarks = {},
  options: PictureOptions = {},
): Promise<string> {
  const length = Math.max(train?.length ?? 0, validation?.length ?? 0);
  const epochs = (marks.epochs ?? Array.from({ length }, (_, i) => i)).map((e) => e + 1);
  const points = (values: readonly number[]) => finite(values.map((v, i) => [epochs[i], v]));
  const { verdict, since, bestEpoch } = marks.diagnosis ?? { verdict: "fits", since: null, bestEpoch: null };
  const last = epochs[epochs.length - 1];
  const place = bestEpoch === null ? 0 : (bestEpoch + 1 - epochs[0]) / (last - epochs[0] || 1);
  const align = place > 0.85 ? "right" : place < 0.15 ? "left" : "center";
  const bestLine = bestEpoch !== null && {
    markLine: {
      ...quiet,
      symbol: "none",
      lineStyle: { color: colour("best"), type: "dashed", width: 1.5 },
      label: { ...text("best"), formatter: `best: ${bestEpoch + 1}`, distance: 4, align },
      data: [{ xAxis: bestEpoch + 1 }],
    },
  };
  const shade = since !== null &&
    since + 1 < last && {
      markArea: {
        ...quiet,
        itemStyle: { color: colour("bad"), opacity: 0.09 },
        label: { ...text("bad"), position: "insideTopRight", distance: 6 },
        data: [[{ xAxis: since + 1, name: verdict }, { xAxis: last }]],
      },
    };
  const series = [
    ...(train ? [lineOf("training", "train", points(train))] : []),
    ...(validation
      ? [lineOf("validation", "validation", points(validation), { more: { ...bestLine, ...shade } })]
      : []),
  ];
  const of = { ...legend(options, series), series };
  return picture(`${name} by epoch`, { ...epochAxes(name, epochs, [train, validation], options), ...of }, options);
}

/** Learning rate against the epochs. */
export function rateCurve(
  rates: readonly number[],
  numbers: readonly number[],
  options: PictureOptions = {},
): Promise<string> {
  const epochs = numbers.map((e) => e + 1);
  const series = lineOf("learning rate", "ink", finite(rates.map((v, i) => [epochs[i], v])));
  return picture(
    "learning rate by epoch",
    { ...epochAxes("learning rate", epochs, [rates], options), series },
    options,
  );
}

/** Training loss against optimizer steps, as it is logged within epochs. */
export function stepCurve(
  steps: readonly { readonly step: number; readonly loss: number }[],
  options: PictureOptions = {},
): Promise<string> {
  const series = lineOf("loss", "train", finite(steps.map(({ step, loss }) => [step, loss])), {
    more: { lineStyle: thin },
  });
  const last = Math.max(steps[steps.length - 1]?.step ?? 2, 2);
  return picture(
    "training loss by step",
    {
      ...frame(options),
      xAxis: { ...below("step"), type: "value", min: 0, max: last, minInterval: 1 },
      yAxis: { ...beside("loss"), ...scaleOf(steps.map(({ loss }) => loss)) },
      series,
    },
    options,
  );
}

const thin = { color: colour("train"), width: 1 };

const finite = (points: number[][]): number[][] => points.filter(([, v]) => Number.isFinite(v));

const epochAxes = (
  name: string,
  epochs: readonly number[],
  curves: readonly (readonly number[] | undefined)[],
  options: PictureOptions,
) => ({
  ...frame(options),
  xAxis: {
    ...below("epoch"),
    type: "value",
    min: epochs[0] ?? 1,
    max: Math.max(epochs[epochs.length - 1] ?? 2, 2),
    minInterval: 1,
  },
  yAxis: { ...beside(name), ...scaleOf(curves.flatMap((c) => c ?? [])) },
});

/** Means with a band of one standard deviation to each side. */
function band(name: string, tone: string, x: readonly number[], scores: Scores) {
  const at = (sign: number) => x.map((v, i) => [v, scores.mean[i] + sign * scores.std[i]]);
  const outline = [...at(1), ...at(-1).reverse()];
  return [
    lineOf(
      name,
      tone,
      x.map((v, i) => [v, scores.mean[i]]),
      { points: true },
    ),
    {
      type: "custom",
      ...quiet,
      z: 1,
      data: outline, // the axes make room for it
      clip: true,
      renderItem: (params: { dataIndex: number }, api: { coord(p: number[]): number[] }) =>
        params.dataIndex === 0 && {
          type: "polygon",
          shape: { points: outline.map((p) => api.coord(p)) },
          style: { fill: colour(tone), opacity: 0.14 },
        },
    },
  ];
}

/** Scores against the number of training samples. */
export function learningCurvePicture(
  curve: LearningCurve,
  options: PictureOptions & { score?: string } = {},
): Promise<string> {
  return scorePicture("training samples", curve.sizes, curve, options);
}

/** Scores against values of a setting; numbers at their place, other values side by side. */
export function validationCurvePicture(
  curve: ValidationCurve<unknown>,
  options: PictureOptions & { score?: string; name?: string } = {},
): Promise<string> {
  return scorePicture(options.name ?? "setting", curve.values, curve, options);
}

function scorePicture(
  name: string,
  values: readonly unknown[],
  curve: { readonly train: Scores; readonly validation: Scores },
  options: PictureOptions & { score?: string },
): Promise<string> {
  const numeric = values.every((v) => typeof v === "number");
  const x = numeric ? (values as number[]) : values.map((_, i) => i);
  const wide = numeric && Math.min(...x) > 0 && Math.max(...x) / Math.min(...x) >= 50;
  const score = options.score ?? "score";
  const means = [...curve.train.mean, ...curve.validation.mean];
  const all = [curve.train, curve.validation].flatMap(({ mean, std }) => mean.flatMap((m, i) => [m - std[i], m]));
  const series = [
    ...band("training", "train", x, curve.train),
    ...band("validation", "validation", x, curve.validation),
  ];
  return picture(
    `${score} by ${name}`,
    {
      ...frame(options),
      ...legend(options, series.filter((s) => "name" in s) as Named[]),
      xAxis: {
        ...below(name),
        ...(numeric
          ? { type: wide ? "log" : "value", scale: true, min: Math.min(...x), max: Math.max(...x), minInterval: 1 }
          : { type: "category", data: values.map(String) }),
      },
      // Errors are not negative, even where their spread is larger than they are.
      yAxis: {
        ...beside(score),
        ...scaleOf(all),
        ...(all.some((v) => v < 0) && means.every((v) => v >= 0) && { min: 0 }),
      },
      series,
    },
    options,
  );
}

/** Parts of the error against values of a setting. */
export function biasVariancePicture(
  values: readonly (number | string)[],
  parts: readonly BiasVariance[],
  options: PictureOptions & { name?: string } = {},
): Promise<string> {
  const kinds = [
    ["bias²", "validation", "bias2"],
    ["variance", "train", "netVariance"],
    ["noise", "muted", "netNoise"],
    ["total", "ink", "total"],
  ] as const;
  const numeric = values.every((v) => typeof v === "number");
  const series = kinds.map(([name, tone, key]) =>
    lineOf(
      name,
      tone,
      parts.map((p, i) => [numeric ? (values[i] as number) : i, p[key]]),
      { points: true, dashed: key === "total" },
    ),
  );
  return picture(
    `bias, variance and noise by ${options.name ?? "setting"}`,
    {
      ...frame(options),
      ...legend(options, series),
      xAxis: {
        ...below(options.name ?? "setting"),
        ...(numeric ? { type: "value", scale: true, minInterval: 1 } : { type: "category", data: [...values] }),
      },
      yAxis: { ...beside("error"), ...scaleOf(parts.map((p) => p.total)) },
      series,
    },
    options,
  );
}

export interface Confusion {
  readonly labels: readonly string[];
  /** Counts, matrix[actual][predicted]. */
  readonly matrix: readonly (readonly number[])[];
}

/** Counts by actual and predicted class; the darker, the larger a share of its row. */
export function confusionPicture({ labels, matrix }: Confusion, options: PictureOptions = {}): Promise<string> {
  const n = labels.length;
  const sums = matrix.map((row) => row.reduce((a, b) => a + b, 0));
  const cells = matrix.flatMap((row, actual) => row.map((count, predicted) => [predicted, actual, count]));
  const longest = Math.min(12, Math.max(...labels.map((l) => l.length)));
  const name = (value: string): string => fitted(value, 12);
  const size = options.width ?? 460;
  const labelAxis = {
    axisLabel: { ...text("ink"), interval: 0, formatter: name },
    axisTick: { show: false },
    axisLine,
  };
  const slanted = n * (longest * 7 + 6) > size - 120;
  return picture(
    "confusion matrix",
    {
      grid: {
        left: 44 + 7 * longest,
        right: 20,
        top: options.title ? 46 : 20,
        bottom: slanted ? 48 + 5 * longest : 50,
      },
      xAxis: {
        type: "category",
        data: [...labels],
        ...labelAxis,
        axisLabel: { ...labelAxis.axisLabel, rotate: slanted ? 45 : 0 },
        name: "predicted",
        nameLocation: "middle",
        nameGap: slanted ? 24 + 5 * longest : 30,
        nameTextStyle: text(),
      },
      yAxis: {
        type: "category",
        data: [...labels],
        inverse: true,
        ...labelAxis,
        name: "actual",
        nameLocation: "middle",
        nameGap: 22 + 7 * longest,
        nameTextStyle: text(),
      },
      series: {
        type: "custom",
        ...quiet,
        data: cells,
        renderItem: (
          _: unknown,
          api: { value(i: number): number; coord(p: number[]): number[]; size(p: number[]): number[] },
        ) => {
          const [predicted, actual, count] = [api.value(0), api.value(1), api.value(2)];
          const [x, y] = api.coord([predicted, actual]);
          const [w, h] = api.size([1, 1]);
          const share = sums[actual] ? count / sums[actual] : 0;
          const strong = share >= 0.5;
          return {
            type: "group",
            children: [
              {
                type: "rect",
                shape: { x: x - w / 2 + 1, y: y - h / 2 + 1, width: w - 2, height: h - 2, r: 2 },
                // Steps over the middle, where no text would be readable.
                style: { fill: colour("cell"), opacity: strong ? 0.7 + 0.3 * share : 0.05 + 0.8 * share },
              },
              {
                type: "text",
                style: {
                  text: count === 0 ? "" : String(count),
                  x,
                  y,
                  align: "center",
                  verticalAlign: "middle",
                  fill: colour(strong ? "onCell" : "ink"),
                  fontFamily,
                  fontSize: Math.max(8, Math.min(14, h * 0.45, (w - 4) / (0.6 * String(count).length))),
                },
              },
            ],
          };
        },
      },
    },
    { height: options.width ?? 460, ...options },
  );
}

export interface Boundary {
  /** Coordinates of the columns and rows of the grid. */
  readonly x: readonly number[];
  readonly y: readonly number[];
  /** Predicted class, grid[row][column]. */
  readonly grid: readonly (readonly number[])[];
  /** [x, y, class] of samples. */
  readonly points: readonly (readonly [number, number, number])[];
  readonly labels: readonly string[];
  /** Names of the two inputs. */
  readonly inputs?: readonly [string, string];
}

/** Which class the model chooses where, and the samples. */
export function boundaryPicture(boundary: Boundary, options: PictureOptions = {}): Promise<string> {
  const { x, y, grid, points, labels, inputs = ["x₁", "x₂"] } = boundary;
  const [dx, dy] = [x[1] - x[0], y[1] - y[0]];
  const shown = labels.map((label, i) => ({ label, i })).filter(({ i }) => points.some((p) => p[2] === i));
  const areas = labels.map((_, label) => ({
    type: "custom",
    ...quiet,
    z: 0,
    data: [[x[0], y[0]]],
    clip: true,
    renderItem: (_params: unknown, api: { coord(p: number[]): number[] }) => {
      // One path a class: runs of cells in a row, so that no seams show.
      let path = "";
      grid.forEach((row, j) => {
        for (let i = 0; i < row.length; ) {
          let end = i;
          while (end < row.length && row[end] === row[i]) end++;
          if (row[i] === label) {
            const [left, top] = api.coord([x[i] - dx / 2, y[j] + dy / 2]);
            const [right, bottom] = api.coord([x[end - 1] + dx / 2, y[j] - dy / 2]);
            const [l, t, r, b] = [left, top, right, bottom].map((v) => Math.round(v * 10) / 10);
            path += `M${l} ${t}H${r}V${b}H${l}Z`;
          }
          i = end;
        }
      });
      return { type: "path", shape: { pathData: path || "M0 0" }, style: { fill: areaColour(label) } };
    },
  }));
  const samples = shown.map(({ label, i }) => ({
    type: "scatter",
    name: label,
    ...quiet,
    symbol: ["circle", "triangle", "rect", "diamond"][i % 4],
    symbolSize: points.length > 300 ? 5 : 7,
    itemStyle: { color: pointColour(i), borderColor: colour("page"), borderWidth: 1, opacity: 1 },
    data: points.filter((p) => p[2] === i).map(([a, b]) => [a, b]),
  }));
  const ends = (v: readonly number[], step: number) => ({ min: v[0] - step / 2, max: v[v.length - 1] + step / 2 });
  return picture(
    "decision boundary",
    {
      ...frame(options),
      ...legend(options, samples),
      xAxis: { ...below(inputs[0]), type: "value", ...ends(x, dx), ...rounded },
      yAxis: { ...beside(inputs[1]), type: "value", ...ends(y, dy), ...rounded, splitLine: { show: false } },
      series: [...areas, ...samples],
    },
    { height: 380, ...options },
  );
}

/** The ends of an axis that are no round numbers have no label. */
const rounded = {
  axisLabel: { ...axis.axisLabel, showMinLabel: false, showMaxLabel: false, formatter: (v: number) => short(v) },
};

export interface Fit {
  /** Predictions along the input. */
  readonly x: readonly number[];
  readonly y: readonly number[];
  /** [x, y] of samples. */
  readonly train?: readonly (readonly [number, number])[];
  readonly validation?: readonly (readonly [number, number])[];
  readonly inputs?: readonly [string];
}

/** A fitted curve through the samples of one input. */
export function fitPicture(fit: Fit, options: PictureOptions = {}): Promise<string> {
  return fitsPicture([{ name: "model", ...fit }], options);
}

/** Several fitted curves through the same samples, which those of the first are. */
export function fitsPicture(
  fits: readonly (Fit & { readonly name: string })[],
  options: PictureOptions = {},
): Promise<string> {
  const [{ train = [], validation = [], inputs = ["x"] }] = fits;
  const tones = ["ink", "bad", "best", "muted"];
  const ys = [...train, ...validation].map(([, y]) => y);
  const [low, high] = [Math.min(...ys), Math.max(...ys)];
  const room = ys.length && high > low ? high - low : Number.POSITIVE_INFINITY;
  const dots = (name: string, tone: string, symbol: string, data: Fit["train"]) => ({
    type: "scatter",
    name,
    ...quiet,
    z: 3,
    symbol,
    symbolSize: (data?.length ?? 0) > 100 ? 6 : 10,
    itemStyle: { color: colour(tone), borderColor: colour("page"), borderWidth: 1, opacity: 1 },
    data,
  });
  const samples = [
    ...(train.length ? [dots("training", "train", "circle", train)] : []),
    ...(validation.length ? [dots("validation", "validation", "diamond", validation)] : []),
  ];
  const curves = fits.map(({ name, x, y }, i) =>
    lineOf(
      name,
      tones[i % tones.length],
      x.map((v, k) => [v, y[k]]),
      {
        dashed: i > 0,
        more: { z: 2, clip: true },
      },
    ),
  );
  // A curve that runs far away between the samples is cut off, not the samples pressed to a line.
  const inside = fits.flatMap((f) => f.y).every((v) => v > low - room && v < high + room);
  const bounds = Number.isFinite(room) && !inside ? { min: low - 0.6 * room, max: high + 0.6 * room, ...rounded } : {};
  return picture(
    "fitted curve",
    {
      ...frame(options),
      ...legend(options, [...samples, ...curves]),
      xAxis: { ...below(inputs[0]), type: "value", scale: true },
      yAxis: { ...beside("y"), type: "value", scale: true, ...bounds },
      series: [...curves, ...samples],
    },
    options,
  );
}
