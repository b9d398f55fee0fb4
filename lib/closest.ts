// "Did you mean": the known name nearest to a misspelt one.

/** How many letters must change to make one word of the other (Levenshtein's distance). */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1));
    }
    row = next;
  }
  return row[b.length];
}

/** Known names for a message: the first twenty of many. */
export const listed = (known: readonly unknown[]): string =>
  `${known.slice(0, 20).join(", ")}${known.length > 20 ? ", …" : ""}`;

/** The known name that a misspelt one most likely means; undefined where none is near. */
export function closest(name: string, known: Iterable<string>): string | undefined {
  const letters = (k: string): number => distance(name.toLowerCase(), k.toLowerCase());
  return [...known]
    .map((k) => ({ k, letters: letters(k) }))
    .filter(({ k, letters }) => letters <= k.length / 2)
    .sort((x, y) => x.letters - y.letters)[0]?.k;
}
