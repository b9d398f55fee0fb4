// Types of engine.mjs.
import type { Addon } from "../../lib/device/addon.js";

type Words = number[];
export const addonPath: string;
export const float32: 0;
export const float64: 1;
export const int32: 4;
export const int64: 5;
export const bool: 7;
export function words(value: number): Words;
export function long(value: number): Words;
export function view(
  slot: number,
  shape: number[],
  options?: { dtype?: number; offset?: number; strides?: number[] },
): Words;
export function number(value: number, dtype?: number): Words;
export function integer(value: number, dtype?: number): Words;
export function parameter(index: number, dtype?: number): Words;
export const nothing: Words;
export class Engine {
  constructor(path?: string, size?: number);
  readonly addon: Addon & { untrack(slots: Int32Array): void };
  readonly ops: string[];
  readonly functions: string[];
  readonly stream: Int32Array;
  end: number;
  instruction(name: string, attributes: number[], outputs?: Words[], inputs?: Words[]): Words;
  apply(name: string, output: Words, inputs: Words[], ctype?: number): Words;
  alloc(slot: number, bytes: number): Words;
  free(slot: number): Words;
  adopt(slot: number, source: ArrayBufferView): Words;
  replay(program: number, slots: number[], parameters?: number[]): Words;
  program(
    slots: { bytes: number; offset?: number }[],
    instructions: Words[],
    options?: { parameters?: number; arena?: number },
  ): Int32Array<ArrayBuffer>;
  write(...instructions: Words[]): this;
  flush(): void;
  submit(): void;
  run(...instructions: Words[]): void;
  read(slot: number, count: number): number[];
  read(slot: number, count: number, type: typeof BigInt64Array): bigint[];
}
