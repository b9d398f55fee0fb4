// Datasets for the tests of workers.
import { threadId } from "node:worker_threads";
import { data, randn, tensor } from "nablajs";

class Samples extends data.Dataset {
  constructor(length, options) {
    super();
    this.length = length;
    this.options = options;
  }
  get(i) {
    if (i === this.options.broken) throw new RangeError(`sample ${i} is broken`);
    if (i === this.options.unsendable) return { x: tensor([i]), fn: () => i };
    if (i === this.options.exits) process.exit(3);
    return {
      ...{ x: tensor([i, i * i]), y: [tensor(i % 2 === 0), BigInt(i)], noise: randn([2], { dtype: "float64" }) },
      ...{ name: `#${i}`, thread: threadId },
    };
  }
}

export default (length, options = {}) => new Samples(length, options);
export const other = async () => new Samples(threadId === 0 ? 5 : 6, {});
export const wrong = () => 5;
export const fails = () => {
  if (threadId !== 0) throw new Error("there is no such folder");
  return new Samples(5, {});
};
export const constant = 1;
