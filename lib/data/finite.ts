// Looking for values that would spoil a training: NaN and infinity.
import { ValueError } from "../errors.js";
import { noGrad } from "../graph/modes.js";
import { isFloat } from "../tensor/dtype.js";
import { Tensor } from "../tensor/tensor.js";

/** Throws for a batch with a value that is not finite, naming the sample, the member of the batch and the place. */
export async function demandFinite(batch: unknown, samples: readonly number[], member = ""): Promise<void> {
  if (batch instanceof Tensor) {
    if (!isFloat(batch.dtype) || batch.ndim === 0) return;
    const wide = batch.dtype.endsWith("16") ? noGrad(() => batch.to("float32")) : batch;
    const values = (await wide.data()) as Float32Array;
    const at = values.findIndex((v) => !Number.isFinite(v));
    if (at < 0) return;
    const place: number[] = [];
    for (let d = batch.ndim - 1, rest = at; d >= 0; d--) {
      place.unshift(rest % batch.shape[d]);
      rest = Math.floor(rest / batch.shape[d]);
    }
    const [row, ...inside] = place;
    throw new ValueError(
      `DataLoader: sample ${samples[row] ?? row} has ${values[at]}${inside.length > 0 ? ` at [${inside.join(", ")}]` : ""}` +
        `${member ? ` of member ${member}` : ""}; all values were to be finite (checkFinite)`,
    );
  }
  if (typeof batch !== "object" || batch === null || ArrayBuffer.isView(batch)) return;
  for (const [key, value] of Object.entries(batch)) {
    await demandFinite(value, samples, member ? `${member}.${key}` : key);
  }
}
