// What all optimizers share: parameter groups, per-parameter state, and steps that can be captured.
import { checkOptions, describe } from "../check.js";
import { ValueError } from "../errors.js";
import { depends, everyStep, uncaptured } from "../graph/capture.js";
import { Scalar } from "../graph/encode.js";
import { modes, noGrad } from "../graph/modes.js";
import { copy_ } from "../ops/pointwise.js";
import { zerosLike } from "../tensor/create.js";
import { show } from "../tensor/shape.js";
import { Tensor } from "../tensor/tensor.js";

/** Parameters that share hyper-parameters; any of those may be changed between steps, also of a captured step. */
export type ParamGroup<H> = H & { params: Tensor[] };

/** What an optimizer optimises: parameters, or groups of them with hyper-parameters of their own. */
export type Params<H> = Iterable<Tensor> | readonly ({ params: Iterable<Tensor> } & Partial<H>)[];

/** State of one parameter. */
export interface ParamState {
  /** Steps taken so far. */
  step: number;
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
    noGrad(() => {
      for (const group of this.paramGroups) {
        this.check(group);
        for (const alike of this.ofEqualAge(group.params)) {
          const [first] = alike;
          everyStep(() => {
            for (const { state } of alike) state.step++;
          });
          // What holds for one holds for all for as long as they have taken equally many steps.
          depends(() => alike.every(({ state }) => state.step === first.state.step));
          const numbers = this.numbers(group, () => first.state.step).map((value) => new Scalar(value, "float64"));
          for (const { p, grad, state } of alike) {
            this.update(p, grad, state, group, numbers);
            modes.capture?.noteUpdate(p);
          }
        }
      }
    });
    return result;
  }

  /** The parameters that have a gradient, by the number of steps they have taken. */
  private ofEqualAge(params: readonly Tensor[]): Iterable<{ p: Tensor; grad: Tensor; state: ParamState }[]> {
    const ages = new Map<number, { p: Tensor; grad: Tensor; state: ParamState }[]>();
    for (const p of params) {
      const { grad } = p;
      if (!grad) continue;
      const state = this.stateOf(p);
      const alike = ages.get(state.step);
      if (alike) alike.push({ p, grad, state });
      else ages.set(state.step, [{ p, grad, state }]);
    }
    return ages.values();
  }

  /** The numbers of the rule, evaluated at every step: the same for parameters that are at the same step. */
  protected abstract numbers(group: ParamGroup<H>, step: () => number): (() => number)[];

  /** One parameter's update. */
  protected abstract update(
    p: Tensor,
    grad: Tensor,
    state: ParamState,
    group: ParamGroup<H>,
    numbers: readonly Scalar[],
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
    const params = this.paramGroups.flatMap((g) => g.params);
    return {
      state: params.map((p) => this.states.get(p) ?? { step: 0, slots: {} }),
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
