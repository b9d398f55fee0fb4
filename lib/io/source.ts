// What can be read from, and its name in messages.
import { describe } from "../check.js";
import { ValueError } from "../errors.js";

/** What readers of text and bytes accept: a path, or what a file would hold. */
export type Source = string | { readonly text: string } | { readonly bytes: Uint8Array };

/** A source's name in messages. */
export const labelOf = (source: Source): string =>
  typeof source === "string" ? source : "text" in source ? "the text" : "the bytes";

export function checkSource(source: unknown, op: string): asserts source is Source {
  const { text, bytes } = (source ?? {}) as { text?: unknown; bytes?: unknown };
  if (typeof source === "string" || typeof text === "string" || bytes instanceof Uint8Array) return;
  throw new ValueError(`${op}: a path, { text } or { bytes } is needed, got ${describe(source)}`);
}
