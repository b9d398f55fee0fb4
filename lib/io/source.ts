// What can be read from, and its name in messages.
import { describe } from "../check.js";
import { ValueError } from "../errors.js";

/** What readers of text and bytes accept: a path, or what a file would hold. */
export type Source = string | { readonly text: string } | { readonly bytes: Uint8Array };

/** Bytes that come once, such as `process.stdin`. */
export type Stream = AsyncIterable<Uint8Array>;

export const isStream = (source: unknown): source is Stream =>
  typeof source === "object" && source !== null && Symbol.asyncIterator in source;

/** A source's name in messages. */
export function labelOf(source: Source | Stream): string {
  if (typeof source === "string") return source;
  return isStream(source) ? "the stream" : "text" in source ? "the text" : "the bytes";
}

export function checkSource(source: unknown, op: string): asserts source is Source {
  const { text, bytes } = (source ?? {}) as { text?: unknown; bytes?: unknown };
  if (typeof source === "string" || typeof text === "string" || bytes instanceof Uint8Array) return;
  throw new ValueError(`${op}: a path, { text } or { bytes } is needed, got ${describe(source)}`);
}
