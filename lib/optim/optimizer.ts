// What all optimizers share: parameter groups, per-parameter state, and steps that can be captured.
import { checkOptions, describe } from "../check.js";
import { CaptureError, ValueError } from "../errors.js";
import { depends, everyStep, uncaptured } from "../graph/capture.js";
import { Scalar } from "../graph/encode.js";
import { modes, noGrad } from "../graph/modes.js";
import { add_, sub, sub_ } from "../ops/elementwise.js";
import { copy_, numberTensor } from "../ops/pointwise.js";
import { rulesRun, skipFlag } from "../ops/update.js";
import { zeros, zerosLike } from "../tensor/create.js";
import { show } from "../tensor/shape.js";
import { Tensor } from "../tensor/tensor.js";
import { type Arithmetic, onDevice, onHost, type Quantity } from "./numbers.js";

/** Parameters that share hyper-parameters; any of those may be changed between steps, also of a captured step. */
export type ParamGroup<H> = H & { params: Tensor[] };

/** What an optimizer optimises: parameters, or groups of them with hyper-parameters of their own. */
export type Params<H> = Iterable<Tensor> | readonly ({ params: Iterable<Tensor> } & Partial<H>)[];

/** What parameters share whose steps the device may skip. */
interface Clock {
  /** How many of the steps that the host counted were skipped, on the device. */
  readonly skipped: Tensor;
  readonly states: readonly ParamState[];
}

/** A parameter with what its update needs. */
interface Member {
  readonly p: Tensor;
  readonly grad: Tensor;
  readonly state: ParamState;
}

/** State of one parameter. */
export interface ParamState {
  /** Steps taken so far; with a clock, those that the host counted. */
  step: number;
  clock?: Clock | undefined;
  /** Tensors of the parameter's shape: momentum and the like. */
  readonly slots: Record<string, Tensor>;
}

export abstract class Optimizer<H extends { lr: number }> {
  readonly paramGroups: ParamGroup<H>[] = [];
  private readonly states = new Map<Tensor, ParamState>();
  /** How often tensors of the state were forgotten; a captured step that used them is captured anew. */
  private forgotten = 0;

  constructor(
    params: Params<H>,
    readonly defaults: H,
  ) {
    this.check(defaults);
    if (typeof (params as Partial<Iterable<unknown>>)?.[Symbol.iterator] !== "function" || params instanceof Tensor) {
      throw new ValueError(
        `${this.name}: a list of parameters is needed, such as model.parameters(); got ${describe(params)}`,
      );
    }
    const list = [...(params as Iterable<unknown>)];
    const groups = list.length > 0 && !(list[0] instanceof Tensor) ? list : [{ params: list }];
    for (const g of groups) this.addParamGroup(g as { params: Iterable<Tensor> } & Partial<H>);
    if (this.paramGroups.every((g) => g.params.length === 0)) {
      throw new ValueError(`${this.name}: there are no parameters; pass model.parameters()`);
    }
  }

  get name(): string {
    return this.constructor.name;
  }

  /** Adds parameters with hyper-parameters of their own. */
  addParamGroup(group: { params: Iterable<Tensor> } & Partial<H>): void {
    checkOptions(group, ["params", ...Object.keys(this.defaults)], this.name);
    const merged = { ...this.defaults, ...group, params: [...group.params] } as ParamGroup<H>;
    this.check(merged);
    const known = new Set(this.paramGroups.flatMap((g) => g.params));
    for (const p of merged.params) {
      if (!(p instanceof Tensor))
        throw new ValueError(`${this.name}: a parameter must be a tensor, got ${describe(p)}`);
      if (!p.isLeaf)
        throw new ValueError(`${this.name}: a parameter must be a leaf, this one is the result of ${p.gradFn?.name}`);
      if (known.has(p)) throw new ValueError(`${this.name}: a parameter of shape ${show(p.shape)} is given twice`);
      known.add(p);
    }
    this.paramGroups.push(merged);
  }

  /** Forgets the gradients of all parameters. */
  zeroGrad(): void {
    for (const { params } of this.paramGroups) for (const p of params) p.grad = null;
  }

  /**
   * Updates every parameter that has a gradient. May be part of a captured function.
   *
   * @param closure computes the loss anew (and its gradients) first; its result is returned
   */
  step<R>(closure?: () => R): R | undefined {
    const result = closure?.();
    depends(() => this.forgotten);
    const flag = skipFlag();
    noGrad(() => {
      for (const group of this.paramGroups) this.check(group);
      for (const { group, ages } of this.timed(flag !== null)) {
        for (const alike of ages) {
          const [first] = alike;
          everyStep(() => {
            for (const { state } of alike) state.step++;
          });
          const clock = flag ? (first.state.clock ?? clockFor(alike)) : undefined;
          // What holds for one holds for all for as long as they have taken equally many steps.
          depends(() => alike.every(({ state }) => state.step === first.state.step && state.clock === clock));
          const numbers = this.numbersOf(group, first, clock);
          for (const { p, grad, state } of alike) {
            const before = rulesRun();
            this.update(p, grad, state, group, numbers);
            if (flag && rulesRun() === before) {
              throw new CaptureError(
                `${this.name}: the device cannot skip its step, which is no rule of the library's`,
              );
            }
            modes.capture?.noteUpdate(p);
          }
          if (flag && clock) add_(clock.skipped, flag);
        }
      }
    });
    return result;
  }

  private numbersOf(group: ParamGroup<H>, { state }: Member, clock: Clock | undefined): Quantity[] {
    const counted = (): number => state.step;
    if (!clock) return this.numbers(group, onHost(counted)).map((read) => new Scalar(read, "float64"));
    const { skipped } = clock;
    const taken = sub(numberTensor(new Scalar(counted, "float64"), skipped.storage.device), skipped);
    return this.numbers<Quantity>(group, onDevice(taken, this.name));
  }

  /** Groups and their parameters, so that those of one clock step together, or none has one. */
  private timed(skippable: boolean): { group: ParamGroup<H>; ages: Member[][] }[] {
    const sorted = () => this.paramGroups.map((group) => ({ group, ages: this.ofEqualAge(group.params) }));
    const found = sorted();
    const fits = skippable ? keepsTime : ([{ state }]: readonly Member[]): boolean => !state.clock;
    if (found.every(({ ages }) => ages.every(fits))) return found;
    uncaptured(() => this.settle());
    for (const state of this.states.values()) state.clock = undefined;
    return sorted();
  }

  /** The parameters that have a gradient, by the number of steps they have taken and who counts them. */
  private ofEqualAge(params: readonly Tensor[]): Member[][] {
    const ages: Member[][] = [];
    for (const p of params) {
      const { grad } = p;
      if (!grad) continue;
      const state = this.stateOf(p);
      const alike = ages.find(([first]) => first.state.step === state.step && first.state.clock === state.clock);
      if (alike) alike.push({ p, grad, state });
      else ages.push([{ p, grad, state }]);
    }
    return ages;
  }

  /** Takes the steps that the device skipped from those that the host counted; waits for the device. */
  private settle(): void {
    const clocks = new Set([...this.states.values()].flatMap(({ clock }) => clock ?? []));
    for (const { skipped, states } of clocks) {
      const count = Number(skipped.item());
      if (count === 0) continue;
      for (const state of states) state.step -= count;
      sub_(skipped, count);
    }
  }

  /** The numbers of the rule: the same for parameters that have taken equally many steps. */
  protected abstract numbers<N>(group: ParamGroup<H>, arithmetic: Arithmetic<N>): N[];

  /** One parameter's update. */
  protected abstract update(
    p: Tensor,
    grad: Tensor,
    state: ParamState,
    group: ParamGroup<H>,
    numbers: readonly Quantity[],
  ): void;

  /** Throws for hyper-parameters that are not legal. */
  protected abstract check(hyper: H): void;

  /** A tensor of the parameter's state, zeros at first. */
  protected slot(state: ParamState, name: string, p: Tensor): Tensor {
    state.slots[name] ??= uncaptured(() => zerosLike(p));
    return state.slots[name];
  }

  private stateOf(p: Tensor): ParamState {
    let state = this.states.get(p);
    if (!state) {
      state = { step: 0, slots: {} };
      this.states.set(p, state);
    }
    return state;
  }

  /** Hyper-parameters and state, parameters numbered in order; tensors are the live ones. */
  stateDict(): OptimizerState<H> {
    this.settle();
    const params = this.paramGroups.flatMap((g) => g.params);
    return {
      state: params.map((p) => {
        const { step, slots } = this.states.get(p) ?? { step: 0, slots: {} };
        return { step, slots };
      }),
      paramGroups: this.paramGroups.map((g) => ({ ...g, params: g.params.map((p) => params.indexOf(p)) })),
    };
  }

  /** Restores what `stateDict` gave; copies the tensors. */
  loadStateDict(dict: OptimizerState<H>): void {
    const params = this.paramGroups.flatMap((g) => g.params);
    if (dict.state.length !== params.length || dict.paramGroups.length !== this.paramGroups.length) {
      throw new ValueError(
        `${this.name}: the state is of ${dict.state.length} parameters in ${dict.paramGroups.length} groups, ` +
          `this optimizer has ${params.length} in ${this.paramGroups.length}`,
      );
    }
    for (const group of dict.paramGroups) this.check(group as unknown as H);
    this.settle();
    this.paramGroups.forEach((g, i) => {
      Object.assign(g, dict.paramGroups[i], { params: g.params });
    });
    params.forEach((p, i) => {
      const state = this.stateOf(p);
      state.step = dict.state[i].step;
      for (const name of Object.keys(state.slots)) {
        if (name in dict.state[i].slots) continue;
        delete state.slots[name]; // it begins anew
        this.forgotten++;
      }
      for (const [name, value] of Object.entries(dict.state[i].slots))
        noGrad(() => copy_(this.slot(state, name, p), value));
    });
  }
}

export interface OptimizerState<H> {
  state: { step: number; slots: Record<string, Tensor> }[];
  paramGroups: (H & { params: number[] })[];
}

/** The defaults with what the caller chose; throws for options that the optimizer does not have. */
export function chosen<H extends object>(name: string, defaults: H, options: Partial<H>): H {
  checkOptions(options, Object.keys(defaults), name);
  return { ...defaults, ...options };
}

/** Throws unless the value is a finite number of at least `least` (and below `below`). */
export function checkHyper(
  name: string,
  key: string,
  value: unknown,
  least = 0,
  below = Number.POSITIVE_INFINITY,
): void {
  if (typeof value !== "number" || !Number.isFinite(value) || value < least || value >= below) {
    const range = below === Number.POSITIVE_INFINITY ? `at least ${least}` : `in [${least}, ${below})`;
    throw new ValueError(`${name}: ${key} must be a finite number ${range}, got ${String(value)}`);
  }
}

/** True for parameters that a clock counts and no others, or none. */
const keepsTime = (alike: readonly Member[]): boolean => {
  const { clock } = alike[0].state;
  return !clock || (clock.states.length === alike.length && alike.every(({ state }) => clock.states.includes(state)));
};

function clockFor(alike: readonly Member[]): Clock {
  const states = alike.map(({ state }) => state);
  const { device } = alike[0].p;
  const clock = { skipped: uncaptured(() => zeros([], { dtype: "float64", device })), states };
  for (const state of states) state.clock = clock;
  return clock;
}
