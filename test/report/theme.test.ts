// The colours can be read: contrasts of WCAG 2.2, in light and in dark.
import { describe, expect, test } from "vitest";
import { type Colours, dark, escapeText, light, short, themed } from "../../lib/report/theme.js";

const channels = (hex: string): number[] => [1, 3, 5].map((i) => Number.parseInt(hex.slice(i, i + 2), 16) / 255);
const luminance = (rgb: number[]): number => {
  const [r, g, b] = rgb.map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const contrast = (a: number[], b: number[]): number => {
  const [high, low] = [luminance(a), luminance(b)].sort((x, y) => y - x);
  return (high + 0.05) / (low + 0.05);
};
const over = (top: string, ground: string, opacity: number): number[] => {
  const [a, b] = [channels(top), channels(ground)];
  return a.map((c, i) => opacity * c + (1 - opacity) * b[i]);
};

describe.each([
  ["light", light],
  ["dark", dark],
] as const)("%s", (name, colours: Colours) => {
  test.each(["ink", "muted", "train", "validation", "best", "bad"] as const)("text in %s", (key) => {
    for (const ground of ["page", "panel"] as const) {
      expect(contrast(channels(colours[key]), channels(colours[ground]))).toBeGreaterThanOrEqual(4.5);
    }
  });

  test("numbers in the cells of a matrix, at every share", () => {
    for (let share = 0; share <= 1; share += 0.01) {
      const strong = share >= 0.5;
      const cell = over(colours.cell, colours.panel, strong ? 0.7 + 0.3 * share : 0.05 + 0.8 * share);
      expect(contrast(channels(strong ? colours.onCell : colours.ink), cell)).toBeGreaterThanOrEqual(4.5);
    }
  });

  test("points on the areas of all classes", () => {
    const block = themed("svg").split("@media")[name === "light" ? 0 : 1];
    const found = (kind: string) =>
      [...block.matchAll(RegExp(`--${kind}\\d+:(#\\w+)`, "g"))].map((m) => channels(m[1]));
    const [points, areas] = [found("class"), found("area")];
    expect(points.length).toBe(8);
    for (const point of points) {
      for (const area of [...areas, channels(colours.page)]) expect(contrast(point, area)).toBeGreaterThanOrEqual(3);
    }
  });
});

test("numbers for people", () => {
  expect(
    [0, 1234567, 0.00001234, 2.5016, -2, 12345, Number.NaN, Number.NEGATIVE_INFINITY].map((v) => short(v)),
  ).toEqual([..."0 1.23e6 1.23e−5 2.5 −2 12345 NaN −∞".split(" ")]);
});

test("text is no markup", () => {
  expect(escapeText(`</script><img onerror='x' a="&">`)).not.toMatch(/[<>"']/);
  expect(escapeText("</")).toBe("&#60;/");
});
