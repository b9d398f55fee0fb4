// Mistakes that TypeScript would have found, made in JavaScript: each is refused in words and none is swallowed.
import { MessageChannel } from "node:worker_threads";
import { describe, expect, test } from "vitest";
import {
  arange,
  compile,
  crossEntropy,
  devices,
  einsum,
  full,
  grad,
  mseLoss,
  NablaError,
  nn,
  noGrad,
  ones,
  optim,
  randn,
  Tensor,
  tensor,
  tidy,
  vjp,
  zeros,
} from "../lib/index.js";

/** Without its types. */
// biome-ignore lint/suspicious/noExplicitAny: that is the point
const any = (value: unknown): any => value;
const x = ones([2, 3]);
const model = new nn.Linear(3, 2);

const rows: [what: string, message: RegExp, run: () => unknown][] = [
  ["sizes one after the other", /zeros: options are an object .*got the number 3/, () => any(zeros)(2, 3)],
  ["sizes one after the other, random", /randn: options are an object .*got the number 3/, () => any(randn)(2, 3)],
  ["sizes of reshape", /reshape: a shape is one array.*got the number 3/, () => any(x).reshape(3, 2)],
  ["sizes of view", /view: a shape is one array.*got the number -1/, () => any(x).view(-1)],
  ["sizes of expand", /expand: a shape is one array.*got the number 2/, () => any(x).expand(2, 2, 3)],
  ["dimensions of permute", /permute: the order is one array.*got the number 1/, () => any(x).permute(1, 0)],
  ["elements that view cannot place", /view: \[2, 3\] has 6 elements/, () => x.view([4])],
  ["an object of dimensions", /sum: a dimension is an integer, got a plain object/, () => any(x).sum({ dim: 1 })],
  ["a tensor as dimension", /max: a dimension is an integer, got a Tensor/, () => any(x).max(x)],
  [
    "a dtype that is no option",
    /tensor: options are an object .*got the string "int64"/,
    () => any(tensor)(1, "int64"),
  ],
  ["Python's spelling", /unknown option requires_grad; .*requiresGrad/, () => tensor(1, any({ requires_grad: true }))],
  ["a tensor of tensors", /data\[0\] is a Tensor.*stack/, () => tensor(any([x, x]))],
  ["nothing", /tensor: data is undefined/, () => any(tensor)()],
  ["a bare constructor", /Tensor: make tensors with tensor/, () => new (any(Tensor))([1, 2])],
  ["full without a value", /full: the value must be a number.*undefined/, () => any(full)([2])],
  ["a misspelt option of arange", /arange: unknown option type/, () => arange(3, any({ type: "int64" }))],
  ["indices that are no array", /indexPut_: the indices come in one array.*the number 0/, () => x.indexPut_(any(0), 1)],
  [
    "a number as gradient",
    /grad: a gradient is a tensor or null, got the number 0/,
    () => {
      x.grad = any(0);
    },
  ],
  [
    "argnums that are no option",
    /grad: options are an object .*got the number 1/,
    () => grad((a: Tensor) => a.sum(), any(1)),
  ],
  ["an array as operand", /add: a tensor or a number is needed, got an Array/, () => x.add(any([1, 2, 3]))],
  [
    "options of an operation that has none",
    /div: there are no options; .*floorDivide/,
    () => any(x).div(2, { roundingMode: "floor" }),
  ],
  [
    "Python's spelling in a loss",
    /crossEntropy: unknown option ignore_index; .*ignoreIndex/,
    () => crossEntropy(x, tensor([0, 1], { dtype: "int64" }), any({ ignore_index: 0 })),
  ],
  [
    "a reduction that is no option",
    /mseLoss: options are an object .*got the string "sum"/,
    () => mseLoss(x, x, any("sum")),
  ],
  ["operands in an array", /einsum: a tensor is needed, got an Array/, () => einsum("ij->ji", any([x]))],
  ["another library's dtype", /to: "float" is neither a dtype \(float32.*nor a device/, () => x.to("float")],
  ["PyTorch's autograd.grad", /grad: a function is needed; .*backward/, () => any(grad)(x.sum(), [x])],
  ["vjp without arguments", /vjp: the arguments come after the function/, () => any(vjp)((a: Tensor) => a)(x)],
  ["no function to compile", /compile: a function is needed, got undefined/, () => any(compile)()],
  ["no function", /noGrad: a function is needed, got undefined/, () => any(noGrad)()],
  [
    "a flag for an option",
    /Linear: options are an object .*got the boolean false/,
    () => new nn.Linear(1, 1, any(false)),
  ],
  [
    "layers one after the other",
    /Sequential: the layers come in one array/,
    () => new (any(nn.Sequential))(model, model),
  ],
  [
    "a model for its parameters",
    /SGD: a list of parameters .*got a Linear/,
    () => new optim.SGD(any(model), { lr: 1 }),
  ],
  ["no learning rate", /SGD: lr must be .*undefined/, () => new (any(optim.SGD))(model.parameters())],
  [
    "a misspelt hyper-parameter",
    /AdamW: unknown option weight_decay; .*weightDecay/,
    () => new optim.AdamW(model.parameters(), any({ weight_decay: 1 })),
  ],
  [
    "a misspelt hyper-parameter of a group",
    /Adam: unknown option rate; /,
    () => new optim.Adam(any([{ params: model.parameters(), rate: 1 }])),
  ],
  [
    "arrays for a state",
    /loadStateDict: weight: a tensor is needed, got an Array/,
    () => model.loadStateDict(any({ weight: [[1]], bias: [1] })),
  ],
];

test.each(rows)("%s", (_, message, run) => {
  expect(run).toThrow(message);
  expect(run).toThrow(NablaError);
});

describe("asynchronous functions where synchronous ones are needed", () => {
  // A rejected promise that nobody hears of would end the process, and fails the run of the tests.
  const later = async (a: Tensor) => a.data();
  test("compile", () => expect(() => compile(later)(x)).toThrow(/compile: the function returned a promise/));
  test("noGrad", () => {
    expect(() => noGrad(() => Promise.reject(new Error("unheard")))).toThrow(/noGrad: the function returned a promise/);
  });
  test("tidy", () => expect(() => tidy(() => Promise.reject(new Error("unheard")))).toThrow(/declared async/));
});

describe.each(devices())("tensors as data [%s]", (device) => {
  const t = tensor(
    [
      [1, 2],
      [3, Number.NaN],
    ],
    { device },
  );

  test("JSON has the values", () => {
    expect(JSON.stringify({ t })).toBe('{"t":[[1,2],[3,null]]}');
    const { weight, bias } = new nn.Linear(1, 1, { device });
    const back = JSON.parse(JSON.stringify({ weight, bias })) as { weight: number[][]; bias: number[] };
    expect(back).toEqual({ weight: weight.toArray(), bias: bias?.toArray() });
  });

  test("they are not cloned into other threads", () => {
    const { port1, port2 } = new MessageChannel();
    expect(() => structuredClone(t)).toThrow(/could not be cloned/);
    expect(() => port1.postMessage({ t })).toThrow(/could not be cloned/);
    port1.close();
    port2.close();
  });

  test("PyTorch's dim() and size()", () => {
    expect([t.dim(), t.size(), t.size(-1)]).toEqual([2, [2, 2], 2]);
    expect(() => t.size(2)).toThrow(/size: dimension 2 is out of range/);
  });
});
