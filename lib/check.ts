// Checks of what callers without TypeScript pass by mistake, worded for them.
import { closest } from "./closest.js";
import { ValueError } from "./errors.js";

/** A value in words: `"undefined"`, `"the number 3"`, `"an Array"`. */
export function describe(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (typeof value === "function") return "a function";
  if (typeof value !== "object") {
    return `the ${typeof value} ${typeof value === "string" ? JSON.stringify(value) : String(value)}`;
  }
  const name = Object.getPrototypeOf(value)?.constructor?.name;
  if (!name || name === "Object") return "a plain object";
  return `${/^[AEIO]/.test(name) ? "an" : "a"} ${name}`;
}

/** Throws for options that are no object or that nobody reads: a misspelt one would silently do nothing. */
export function checkOptions(options: object, known: readonly string[], op: string): void {
  if (typeof options !== "object" || options === null) {
    throw new ValueError(`${op}: options are an object with ${known.join(", ")}; got ${describe(options)}`);
  }
  for (const key in options) {
    if (!known.includes(key)) {
      const near = closest(key, known);

      throw new ValueError(
        `${op}: unknown option ${key}; ${near ? `did you mean ${near}? ` : ""}the options are ${known.join(", ")}`,
      );
    }
  }
}

/** Throws for what is not a function. */
export function checkFunction(fn: unknown, op: string): void {
  if (typeof fn !== "function") throw new ValueError(`${op}: a function is needed, got ${describe(fn)}`);
}
