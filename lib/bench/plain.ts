// A network of linear layers in plain typed-array loops, as one would write it by hand without any library. In float64
// it is what losses are checked against; in float32 it is a peer.

type Floats = Float32Array | Float64Array;
type FloatsConstructor = Float32ArrayConstructor | Float64ArrayConstructor;

interface Layer {
  readonly inputs: number;
  readonly outputs: number;
  /** outputs×inputs, then one bias an output, in one array, as their gradient and Adam's moments. */
  readonly weight: Floats;
  readonly gradient: Floats;
  readonly first: Floats;
  readonly second: Floats;
  /** What it computes, and the loss's gradient by that: batch×outputs. */
  readonly out: Floats;
  readonly delta: Floats;
}

export class PlainMlp {
  private readonly layers: Layer[];
  private steps = 0;

  constructor(
    sizes: readonly number[],
    readonly batch: number,
    data: Readonly<Record<string, ArrayLike<number>>>,
    floats: FloatsConstructor,
  ) {
    this.layers = sizes.slice(1).map((outputs, i) => {
      const inputs = sizes[i];
      const count = outputs * (inputs + 1);
      const make = (n: number): Floats => new floats(n);
      const weight = make(count);
      weight.set(data[`w${i}`]);
      weight.set(data[`b${i}`], outputs * inputs);
      const [gradient, first, second] = [make(count), make(count), make(count)];
      const [out, delta] = [make(batch * outputs), make(batch * outputs)];
      return { inputs, outputs, weight, gradient, first, second, out, delta };
    });
  }

  /** Outputs of the last layer for the batch that starts at row `from` of x. */
  forward(x: ArrayLike<number>, from: number): Floats {
    let [input, start]: [ArrayLike<number>, number] = [x, from * this.layers[0].inputs];
    this.layers.forEach((layer, l) => {
      const { inputs, outputs, weight, out } = layer;
      const last = l === this.layers.length - 1;
      for (let r = 0; r < this.batch; r++) {
        const row = start + r * inputs;
        for (let o = 0; o < outputs; o++) {
          let sum = weight[outputs * inputs + o];
          const w = o * inputs;
          for (let i = 0; i < inputs; i++) sum += input[row + i] * weight[w + i];
          out[r * outputs + o] = last || sum > 0 ? sum : 0;
        }
      }
      [input, start] = [out, 0];
    });
    return input as Floats;
  }

  /** One step of Adam on the mean cross-entropy of a batch; returns the loss before the step. */
  step(x: ArrayLike<number>, y: ArrayLike<number>, from: number): number {
    const out = this.forward(x, from);
    const last = this.layers[this.layers.length - 1];
    const classes = last.outputs;
    let loss = 0;
    for (let r = 0; r < this.batch; r++) {
      const at = r * classes;
      let top = Number.NEGATIVE_INFINITY;
      for (let c = 0; c < classes; c++) top = Math.max(top, out[at + c]);
      let sum = 0;
      for (let c = 0; c < classes; c++) sum += Math.exp(out[at + c] - top);
      const label = y[from + r];
      loss += top + Math.log(sum) - out[at + label];
      for (let c = 0; c < classes; c++) {
        last.delta[at + c] = (Math.exp(out[at + c] - top) / sum - (c === label ? 1 : 0)) / this.batch;
      }
    }
    for (let l = this.layers.length - 1; l >= 0; l--) this.backward(l, x, from);
    this.update();
    return loss / this.batch;
  }

  private backward(l: number, x: ArrayLike<number>, from: number): void {
    const { inputs, outputs, weight, gradient, delta } = this.layers[l];
    const below = l > 0 ? this.layers[l - 1] : undefined;
    const [input, start]: [ArrayLike<number>, number] = below ? [below.out, 0] : [x, from * inputs];
    gradient.fill(0);
    below?.delta.fill(0);
    for (let r = 0; r < this.batch; r++) {
      const row = start + r * inputs;
      for (let o = 0; o < outputs; o++) {
        const d = delta[r * outputs + o];
        if (d === 0) continue;
        const w = o * inputs;
        gradient[outputs * inputs + o] += d;
        for (let i = 0; i < inputs; i++) gradient[w + i] += d * input[row + i];
        if (below) for (let i = 0; i < inputs; i++) below.delta[r * inputs + i] += d * weight[w + i];
      }
      if (below) for (let i = 0; i < inputs; i++) if (below.out[r * inputs + i] === 0) below.delta[r * inputs + i] = 0;
    }
  }

  private update(): void {
    this.steps++;
    const [beta1, beta2] = [0.9, 0.999];
    const size = 1e-3 / (1 - beta1 ** this.steps);
    const root = Math.sqrt(1 - beta2 ** this.steps);
    for (const { weight, gradient, first, second } of this.layers) {
      for (let i = 0; i < weight.length; i++) {
        const g = gradient[i];
        const m = beta1 * first[i] + (1 - beta1) * g;
        const v = beta2 * second[i] + (1 - beta2) * g * g;
        first[i] = m;
        second[i] = v;
        weight[i] -= (size * m) / (Math.sqrt(v) / root + 1e-8);
      }
    }
  }
}

/** c = a·b, row by row: m×k by k×n. */
export function plainMatmul(a: Floats, b: Floats, c: Floats, m: number, k: number, n: number): void {
  c.fill(0);
  for (let i = 0; i < m; i++) {
    for (let p = 0; p < k; p++) {
      const x = a[i * k + p];
      for (let j = 0; j < n; j++) c[i * n + j] += x * b[p * n + j];
    }
  }
}
