// Colours and type of report, pictures and board: one set for light and one for dark, as CSS variables, so that one
// picture serves both. test/report/theme.test.ts checks the contrasts.

/** Names of the colours, and what they are for. */
export interface Colours {
  /** Page, and what lies on it. */
  readonly page: string;
  readonly panel: string;
  readonly ink: string;
  readonly muted: string;
  readonly line: string;
  readonly grid: string;
  /** Curves; texts in these colours are readable too. */
  readonly train: string;
  readonly validation: string;
  readonly best: string;
  readonly bad: string;
  /** Cells of a matrix, and text on the dark ones. */
  readonly cell: string;
  readonly onCell: string;
}

export const light: Colours = {
  page: "#ffffff",
  panel: "#f6f7f9",
  ink: "#1b1e23",
  muted: "#586070",
  line: "#cfd4dc",
  grid: "#e4e7ec",
  train: "#1d5fd0",
  validation: "#b4460a",
  best: "#0b6b60",
  bad: "#b3261e",
  cell: "#1a56c4",
  onCell: "#ffffff",
};

export const dark: Colours = {
  page: "#14161a",
  panel: "#1c1f25",
  ink: "#e7e9ed",
  muted: "#a3abb8",
  line: "#3c424d",
  grid: "#2b3038",
  train: "#78adff",
  validation: "#ffa263",
  best: "#55cfba",
  bad: "#ff8a80",
  cell: "#7db0ff",
  onCell: "#0b1220",
};

/** Classes of points, told apart by hue, and the areas in which a model chooses them. After the last it starts again. */
const hues: readonly { light: [point: string, area: string]; dark: [point: string, area: string] }[] = [
  { light: ["#1d5fd0", "#d3e0f7"], dark: ["#78adff", "#22314b"] },
  { light: ["#b4460a", "#f7dfd0"], dark: ["#ffa263", "#4a3222"] },
  { light: ["#0b6b60", "#cfe9e4"], dark: ["#55cfba", "#1d3f3a"] },
  { light: ["#8a3ab9", "#ebdcf4"], dark: ["#d19bf5", "#3e2b4a"] },
  { light: ["#8a6100", "#f3e7c3"], dark: ["#e6c15a", "#453a1a"] },
  { light: ["#b8215f", "#f8d8e5"], dark: ["#ff8fb8", "#4c2535"] },
  { light: ["#3f6b12", "#dfedcd"], dark: ["#a3d16a", "#2f3f1d"] },
  { light: ["#52606e", "#dfe4e9"], dark: ["#b4c0cc", "#343c45"] },
];

export const pointColour = (label: number): string => `var(--class${label % hues.length})`;
export const areaColour = (label: number): string => `var(--area${label % hues.length})`;

const variables = (colours: Colours, kind: "light" | "dark"): string =>
  [
    ...Object.entries(colours),
    ...hues.flatMap((hue, i) => [
      [`class${i}`, hue[kind][0]],
      [`area${i}`, hue[kind][1]],
    ]),
  ]
    .map(([name, value]) => `--${name}:${value}`)
    .join(";");

/** Sets the variables for an element and what is in it. */
export const themed = (selector: string): string =>
  `${selector}{color-scheme:light dark;${variables(light, "light")}}` +
  `@media(prefers-color-scheme:dark){${selector}{${variables(dark, "dark")}}}`;

export const fontFamily = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif";

/** Text as HTML and XML show it, whatever it holds. */
export const escapeText = (text: unknown): string => String(text).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);

/** A number for people: three or four digits, no trailing zeros. */
export function short(value: number, digits = 3): string {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "NaN" : value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) {
    return Number(value.toPrecision(digits)).toExponential().replaceAll("-", "−").replace("+", "");
  }
  return String(Number(value.toPrecision(size >= 1000 ? Math.max(digits, 6) : digits))).replace("-", "−");
}
