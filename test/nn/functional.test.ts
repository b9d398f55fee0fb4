// Graphs of layers: the same numbers as the layers called by hand, names, and what is refused while a graph is made.
import { describe, expect, test } from "vitest";
import {
  cat,
  compile,
  getRngState,
  manualSeed,
  mseLoss,
  nn,
  noGrad,
  optim,
  rand,
  randint,
  randn,
  relu,
  type Tensor,
} from "../../lib/index.js";
import { onEveryDevice } from "../devices.js";

onEveryDevice("graphs", (device) => {
  test("branches, a layer used twice, several inputs and outputs", () => {
    const a = nn.Input({ shape: [4], name: "left" });
    const b = nn.Input({ shape: [4], name: "right" });
    const shared = new nn.Linear(4, 3, { device });
    const norm = new nn.BatchNorm1d(6, { device });
    const head = new nn.Linear(6, 2, { device });
    const joined = nn.concatenate([shared.call(a), shared.call(b)]);
    expect(joined.shape).toEqual([null, 6]);
    const h = norm.call(new nn.ReLU().call(joined));
    const distance = new nn.Lambda((x: Tensor, y: Tensor) => x.sub(y).abs().sum(1)).call(a, b);
    expect(distance.shape).toEqual([null]);
    const model = new nn.Graph({
      inputs: [a, b],
      outputs: { logits: head.call(h).named("head"), distance, sum: nn.add([joined, h, h]) },
    });
    expect([...model.namedParameters()].map(([name]) => name)).toEqual([
      ...["linear.weight", "linear.bias", "batchnorm1d.weight", "batchnorm1d.bias", "head.weight", "head.bias"],
    ]);
    expect(model.layers.map(({ name, shape, from }) => [name, shape, from])).toEqual([
      ["left", [null, 4], []],
      ["right", [null, 4], []],
      ["linear", [null, 3], ["left", "right"]],
      ["concatenate", [null, 6], ["linear", "linear"]],
      ["relu", [null, 6], ["concatenate"]],
      ["batchnorm1d", [null, 6], ["relu"]],
      ["lambda", [null], ["left", "right"]],
      ["head", [null, 2], ["batchnorm1d"]],
      ["add", [null, 6], ["concatenate", "batchnorm1d", "batchnorm1d"]],
    ]);

    const [x, y] = [randn([5, 4], { device }), randn([5, 4], { device })];
    const byHand = (): Record<string, Tensor> => {
      const j = cat([shared.forward(x), shared.forward(y)], -1);
      const n = norm.forward(relu(j));
      return { logits: head.forward(n), distance: x.sub(y).abs().sum(1), sum: j.add(n).add(n) };
    };
    model.eval();
    expect(norm.training).toBe(false);
    const eager: Record<string, Tensor> = model.forward(x, y);
    const captured = compile((u: Tensor, v: Tensor) => model.forward(u, v))(x, y) as Record<string, Tensor>;
    for (const [name, t] of Object.entries(byHand())) {
      expect(eager[name].toArray(), name).toEqual(t.toArray());
      expect(captured[name].toArray(), name).toEqual(t.toArray());
    }
  });

  test("it trains, and its state goes into another of its kind", () => {
    const make = () => {
      manualSeed(4);
      const x = nn.Input({ shape: [3] });
      const h = new nn.Tanh().call(new nn.Linear(3, 3, { device }).call(x));
      return new nn.Graph({ inputs: x, outputs: new nn.Linear(3, 1, { device }).call(nn.add([x, h])) });
    };
    const [model, other] = [make(), make()];
    const optimizer = new optim.SGD(model.parameters(), { lr: 0.1 });
    const [x, y] = [randn([16, 3], { device }), randn([16, 1], { device })];
    const step = compile((u: Tensor, v: Tensor) => {
      optimizer.zeroGrad();
      const loss = mseLoss(model.forward(u), v);
      loss.backward();
      optimizer.step();
      return loss;
    });
    const first = step(x, y).item();
    let last = first;
    for (let i = 0; i < 20; i++) last = step(x, y).item() as number;
    expect(last).toBeLessThan(first as number);
    expect(other.forward(x).toArray()).not.toEqual(model.forward(x).toArray());
    other.loadStateDict(model.stateDict());
    expect(other.forward(x).toArray()).toEqual(model.forward(x).toArray());
  });

  test("layers that give several tensors or take options; open sizes; integers", () => {
    const words = nn.Input({ shape: [null], dtype: "int64" });
    const embedded = new nn.Embedding(10, 8, { device }).call(words);
    expect(embedded.shape).toEqual([null, null, 8]);
    const lstm = new nn.LSTM(8, 6, { batchFirst: true, device });
    const [sequence, [h, c]] = lstm.call(embedded);
    expect([sequence.shape, h.shape, c.shape]).toEqual([[null, null, 6], [1, null, 6], [1, null, 6]]); // biome-ignore format: shapes
    const attention = new nn.MultiheadAttention(6, 2, { batchFirst: true, device });
    const [mixed, weights] = attention.call(sequence, sequence, sequence, { averageAttnWeights: false });
    expect(weights?.shape).toEqual([null, 2, null, null]);
    const model = new nn.Graph({ inputs: words, outputs: [mixed, weights as nn.SymbolicTensor, c] });
    const x = randint(0, 10, [3, 5], { device });
    const [m, w, cell] = model.forward(x);
    expect([m.shape, w.shape, cell.shape]).toEqual([[3, 5, 6], [3, 2, 5, 5], [1, 3, 6]]); // biome-ignore format: shapes
    const [s, [, byHand]] = lstm.forward((model.embedding as nn.Embedding).forward(x));
    expect(cell.toArray()).toEqual(byHand.toArray());
    expect(m.toArray()).toEqual(attention.forward(s, s, s)[0].toArray());
  });

  test("merges are those of the operations", () => {
    const [a, b] = [rand([2, 3], { device }), rand([2, 3], { device })];
    const [x, y] = [nn.Input({ shape: [3] }), nn.Input({ shape: [3] })];
    const run = (merge: (list: nn.SymbolicTensor[]) => nn.SymbolicTensor) =>
      new nn.Graph({ inputs: [x, y], outputs: merge([x, y]) }).forward(a, b).toArray();
    expect(run(nn.add)).toEqual(a.add(b).toArray());
    expect(run(nn.subtract)).toEqual(a.sub(b).toArray());
    expect(run(nn.multiply)).toEqual(a.mul(b).toArray());
    expect(run(nn.average)).toEqual(a.add(b).div(2).toArray());
    expect(run(nn.maximum)).toEqual(a.maximum(b).toArray());
    expect(run(nn.minimum)).toEqual(a.minimum(b).toArray());
    expect(run((list) => nn.concatenate(list, { dim: 1 }))).toEqual(cat([a, b], 1).toArray());
    expect(() => nn.add(x as never)).toThrow(/come in one array: nn.add\(\[a, b\]\); got a SymbolicTensor/);
    expect(() => nn.add([x])).toThrow(/at least two tensors are needed, got 1/);
  });

  test("graphs and sequences are layers too", () => {
    const x = nn.Input({ shape: [3] });
    const inner = new nn.Graph({ inputs: x, outputs: [nn.add([x, x]), new nn.Linear(3, 2, { device }).call(x)] });
    const block = new nn.Sequential([new nn.Linear(3, 2, { device }), new nn.Tanh()]);
    const y = nn.Input({ shape: [3] });
    const [twice, projected] = inner.call(y);
    const outer = new nn.Graph({ inputs: y, outputs: nn.multiply([block.call(twice), projected]) });
    expect(Object.keys(outer.stateDict())).toEqual(
      ["graph.linear.weight", "graph.linear.bias", "sequential.0.weight", "sequential.0.bias"], // biome-ignore format: names
    );
    const t = rand([4, 3], { device });
    const [a, b] = inner.forward(t);
    expect(outer.forward(t).toArray()).toEqual(block.forward(a).mul(b).toArray());
  });

  test("making a graph computes nothing, and leaves random numbers, statistics and modes as they are", () => {
    const norm = new nn.BatchNorm1d(4, { device });
    const dropout = new nn.Dropout(0.5);
    dropout.eval();
    const before = [getRngState(), norm.runningMean?.toArray(), norm.numBatchesTracked?.item()];
    let computed = 0;
    const noted = new nn.Lambda((x: Tensor) => {
      computed++;
      return noGrad(() => x.mul(2));
    });
    const x = nn.Input({ shape: [4] });
    const model = new nn.Graph({ inputs: x, outputs: noted.call(dropout.call(norm.call(x))) });
    expect(computed).toBe(2); // the dry runs
    expect([getRngState(), norm.runningMean?.toArray(), norm.numBatchesTracked?.item()]).toEqual(before);
    expect([norm.training, dropout.training]).toEqual([true, false]);
    // A layer that reads values runs for its shape, on zeros.
    const reading = new nn.Lambda((t: Tensor) => t.add(Number(t.sum().item())));
    expect(reading.call(x).shape).toEqual([null, 4]);
    expect(model.length).toBeUndefined();
  });
});

describe("recurrent layers in a sequence", () => {
  test.each([
    ["RNN", 1, false],
    ["GRU", 2, true],
    ["LSTM", 2, false],
    ["LSTM", 1, true],
  ] as const)("%s, %i layers, both directions: %s", (kind, numLayers, bidirectional) => {
    for (const batchFirst of [true, false]) {
      const rnn = new nn[kind](3, 4, { numLayers, bidirectional, batchFirst });
      const features = bidirectional ? 8 : 4;
      const head = new nn.Linear(features, 2);
      const x = rand([3, 4, 3]);
      const [output] = rnn.forward(x);
      const whole = new nn.Sequential([rnn, new nn.OutputSequence(), head]);
      expect(whole.forward(x).toArray()).toEqual(head.forward(output).toArray());
      const last = new nn.Sequential([rnn, new nn.LastOutput(), head]);
      // The output at the last step, of the way back at the first.
      const steps = batchFirst ? 4 : 3;
      const at = (t: number) => output.select(batchFirst ? 1 : 0, t);
      const ends = bidirectional ? cat([at(steps - 1).narrow(1, 0, 4), at(0).narrow(1, 4, 4)], 1) : at(steps - 1);
      expect(last.forward(x).toArray()).toEqual(head.forward(ends).toArray());
      expect(Object.keys(last.stateDict())).toContain("0.weightIhL0");
      expect(Object.keys(last.stateDict())).toContain("2.weight");
      const input = nn.Input({ shape: [null, 3] });
      expect(last.call(input).shape).toEqual([null, 2]);
    }
  });

  test("what is no recurrent layer's result is refused", () => {
    expect(() => new nn.LastOutput().forward(rand([2, 2]) as never)).toThrow(
      /follows an RNN, LSTM or GRU, .* got a Tensor/,
    );
    const bare = new nn.Sequential([new nn.LSTM(2, 3), new nn.Linear(3, 1)]);
    expect(() => bare.forward(rand([4, 1, 2]))).toThrow(
      /layer 1, Linear, cannot take what layer 0, LSTM, gives: .* nn.OutputSequence or nn.LastOutput take a tensor/,
    );
    const model = new nn.Sequential([new nn.Linear(2, 2), new nn.OutputSequence()]);
    expect(() => model.forward(rand([2, 2]))).toThrow(/OutputSequence: it follows an RNN, LSTM or GRU/);
  });
});

test("fit, evaluate and predict of several inputs and outputs", async () => {
  manualSeed(2);
  const [a, b] = [nn.Input({ shape: [2] }), nn.Input({ shape: [3] })];
  const h = new nn.Tanh().call(new nn.Linear(5, 8).call(nn.concatenate([a, b])));
  const outputs = { sum: new nn.Linear(8, 1).call(h), first: new nn.Linear(8, 2).call(h) };
  const model = new nn.Graph({ inputs: [a, b], outputs });
  model.compile({ optimizer: "adam", loss: { sum: "mse", first: "mse" } });
  const [x, y] = [rand([32, 2]), rand([32, 3])];
  const targets = { sum: x.sum(1, true).add(y.sum(1, true)), first: x };
  const { history } = await model.fit([x, y], targets, { epochs: 5, verbose: 0 });
  expect(history.loss[4]).toBeLessThan(history.loss[0]);
  const { loss } = await model.evaluate([x, y], targets, { verbose: 0 });
  const predicted = (await model.predict([x, y])) as unknown as typeof targets;
  const byHand = mseLoss(predicted.sum, targets.sum).add(mseLoss(predicted.first, x));
  expect(loss).toBeCloseTo(byHand.item() as number, 5);
});

test("the summary shows the connections", () => {
  const x = nn.Input({ shape: [4], name: "x" });
  const h = new nn.Linear(4, 4).call(x).named("hidden");
  const model = new nn.Graph({ inputs: x, outputs: new nn.Linear(4, 1).call(nn.add([x, h])) });
  let printed = "";
  model.summary({
    printFn: (text) => {
      printed = text;
    },
  });
  expect(printed.split("\n").slice(2)).toEqual([
    " Layer (type)       Output Shape    Param #    Connected to",
    expect.stringMatching(/^=+$/),
    " x (Input)          (None, 4)       0",
    " hidden (Linear)    (None, 4)       20         x",
    " add (Add)          (None, 4)       0          x, hidden",
    " linear (Linear)    (None, 1)       5          add",
    expect.stringMatching(/^=+$/),
    "Total params: 25",
    "Trainable params: 25",
    "Non-trainable params: 0",
    expect.stringMatching(/^_+$/),
  ]);
});

describe("what cannot be right is refused while the graph is made", () => {
  const x = nn.Input({ shape: [4], name: "x" });
  const linear = new nn.Linear(4, 2);

  test("shapes that do not fit, with the layer and the shapes", () => {
    expect(() => new nn.Linear(5, 2).call(x)).toThrow(/^Linear, called on \[null, 4\]: .*5/);
    expect(() => nn.add([x, nn.Input({ shape: [3] })])).toThrow(/^Add, called on \[null, 4\], \[null, 3\]: /);
    expect(() => new nn.Conv2d(3, 8, 3).call(nn.Input({ shape: [3, 28] }))).toThrow(
      /^Conv2d, called on \[null, 3, 28\]/,
    );
    expect(() => linear.call(rand([2, 4]) as never)).toThrow(/forward computes with real ones/);
    expect(() => linear.call(undefined as never)).toThrow(/call takes symbolic tensors, .* got undefined/);
    expect(() => new nn.Lambda((_x: Tensor) => 3 as never).call(x)).toThrow(
      /forward gave the number 3 where a graph needs tensors/,
    );
  });

  test("inputs", () => {
    expect(() => nn.Input({ shape: 4 as never })).toThrow(/shape is that of one sample, .* got the number 4/);
    expect(() => nn.Input({ shape: [0] })).toThrow(/got \[0\]/);
    expect(() => nn.Input({ shape: [2], dtype: "float" as never })).toThrow(/unknown dtype float/);
    expect(() => nn.Input({ shape: [2], name: "a b" })).toThrow(/a name is letters, digits and _/);
    expect(() => nn.Input({ shap: [2] } as never)).toThrow(/did you mean shape/);
  });

  test("graphs", () => {
    const y = linear.call(x);
    const other = nn.Input({ shape: [4], name: "other" });
    const { Graph } = nn;
    expect(() => new Graph({ inputs: other, outputs: y })).toThrow(/no output depends on input 0, other; leave it out/);
    expect(() => new Graph({ inputs: x, outputs: linear.call(other) })).toThrow(/no output depends on input 0, x/);
    expect(() => new Graph({ inputs: x, outputs: nn.add([x, other]) })).toThrow(/depend on an input other that is not/);
    expect(() => new Graph({ inputs: y, outputs: new nn.ReLU().call(y) })).toThrow(/input 0 is a result of Linear/);
    expect(() => new Graph({ inputs: [x, x], outputs: y })).toThrow(/input 1 is given twice/);
    expect(() => new Graph({ inputs: x, outputs: linear as never })).toThrow(/outputs are symbolic .* got a Linear/);
    expect(() => new Graph({ inputs: [], outputs: y })).toThrow(/inputs are symbolic tensors, .*; got none/);
    expect(() => new Graph({ input: x, outputs: y } as never)).toThrow(/did you mean inputs/);
  });

  test("names", () => {
    const name = (a: string, b: string) => {
      const h = new nn.Linear(4, 4).call(x).named(a);
      return new nn.Graph({ inputs: x, outputs: new nn.Linear(4, 4).call(h).named(b) });
    };
    expect(Object.keys(name("linear_1", "linear").stateDict()).length).toBe(4);
    expect(() => name("same", "same")).toThrow(/two layers are called same/);
    expect(() => name("forward", "b")).toThrow(/a layer cannot be called forward, which every module has/);
    expect(() => name("a.b", "b")).toThrow(/a name is letters, digits and _/);
    const twice = linear.call(x).named("one");
    expect(() => new nn.Graph({ inputs: x, outputs: [twice, linear.call(x).named("two")] })).toThrow(
      /a layer is called both one and two/,
    );
  });

  test("values of other shapes", () => {
    const model = new nn.Graph({ inputs: x, outputs: linear.call(x) });
    expect(() => model.forward(rand([2, 3]))).toThrow("Graph: input 0 must be [null, 4], got [2, 3]");
    expect(() => model.forward()).toThrow("Graph: 1 inputs are needed, [null, 4]; got 0");
    expect(() => model.forward([1, 2] as never)).toThrow(/input 0 must be a tensor, got an Array/);
  });
});
