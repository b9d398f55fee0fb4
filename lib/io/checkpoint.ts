// Checkpoints: any plain structure with tensors in it, as one safetensors file.
import { describe } from "../check.js";
import { FileError, ValueError } from "../errors.js";
import { Tensor } from "../tensor/tensor.js";
import { loadSafetensors, safetensorsInfo, saveSafetensors } from "./safetensors.js";

/** What a checkpoint can hold. */
export type Saveable =
  | Tensor
  | string
  | number
  | bigint
  | boolean
  | null
  | undefined
  | readonly Saveable[]
  | { readonly [key: string]: Saveable };

/** Key of the metadata with everything that is not a tensor. */
const STRUCTURE = "nabla.structure";
const VERSION = 1;

/**
 * Saves a structure of plain objects, arrays, numbers, texts and tensors (`torch.save`): the states of a model, an
 * optimizer and a schedule, the position of the random numbers, counters. The file is a safetensors file with the rest
 * in its metadata; the old file stays until the new one is complete.
 *
 * @example
 * await io.save("run.ckpt", { model: model.stateDict(), optimizer: optimizer.stateDict(), rng: getRngState(), epoch });
 */
export async function save(path: string, state: Saveable): Promise<void> {
  const tensors: Record<string, Tensor> = {};
  const strip = (value: unknown, name: string): unknown => {
    if (value instanceof Tensor) {
      tensors[name] = value;
      return { $tensor: name };
    }
    if (typeof value === "bigint") return { $bigint: String(value) };
    if (typeof value === "number" && !Number.isFinite(value)) return { $number: String(value) };
    if (Object.is(value, -0)) return { $number: "-0" };
    if (value === null || ["string", "number", "boolean", "undefined"].includes(typeof value)) return value;
    const below = (key: string): string => (name === "" ? key : `${name}.${key}`);
    if (Array.isArray(value)) return value.map((v, i) => strip(v ?? null, below(String(i))));
    const prototype = typeof value === "object" && Object.getPrototypeOf(value);
    if (prototype !== Object.prototype && prototype !== null) {
      throw new ValueError(
        `save: ${name || "the state"} is ${describe(value)}; a checkpoint holds plain objects, arrays, numbers, texts and tensors`,
      );
    }
    return Object.fromEntries(
      Object.entries(value as object).map(([k, v]) => {
        if (k.startsWith("$")) throw new ValueError(`save: ${below(k)}: names must not begin with $`);
        return [k, strip(v, below(k))];
      }),
    );
  };
  const structure = strip(state, "");
  if ("" in tensors) throw new ValueError("save: give an object with names, such as { weights: x }");
  await saveSafetensors(path, tensors, { [STRUCTURE]: JSON.stringify({ version: VERSION, structure }) });
}

/**
 * What `save` wrote (`torch.load`). Nothing in the file is executed.
 *
 * @param options where the tensors shall be; default: the default device
 * @throws FileError for a truncated file, or one that `save` did not write
 */
export async function load<T = Record<string, never>>(path: string, options: { device?: string } = {}): Promise<T> {
  const text = (await safetensorsInfo(path)).metadata[STRUCTURE];
  if (text === undefined) {
    throw new FileError(`${path}: this is no checkpoint but plain weights; read it with io.loadSafetensors`);
  }
  const { version, structure } = JSON.parse(text) as { version: number; structure: unknown };
  if (version !== VERSION) {
    throw new FileError(`${path}: the checkpoint is of version ${version}, this library reads version ${VERSION}`);
  }
  const tensors = await loadSafetensors(path, options);
  const restore = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(restore);
    if (typeof value !== "object" || value === null) return value;
    const { $tensor, $number, $bigint } = value as Record<string, string>;
    if ($tensor !== undefined) return tensors[$tensor];
    if ($number !== undefined) return Number($number);
    if ($bigint !== undefined) return BigInt($bigint);
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, restore(v)]));
  };
  return restore(structure) as T;
}
