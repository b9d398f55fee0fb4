// Sums into few places from many positions, some of which meet: in order, whatever the threads do.
import { afterAll, describe, expect, test } from "vitest";
import * as nabla from "../../lib/index.js";
import { absent, titled } from "../devices.js";
import { orders, shim } from "./shim.js";

const missing = absent("cuda");

describe.skipIf(missing !== null)(titled("device cuda, sums over indices", missing), () => {
  afterAll(() => shim?.order("forward"));
  const n = 3000; // more than the tile of the sort
  // Sums that depend on the order of their terms.
  const terms = Array.from({ length: n }, (_, i) => Math.fround(Math.sin(i) * 10 ** (i % 7)));
  const places = Array.from({ length: n }, (_, i) => (i * 7919) % 37);

  test.each(shim ? orders : ["any"])("scatterAdd and indexAdd as on js, bit for bit: %s", (order) => {
    shim?.order(order);
    const run = (device: string) => {
      const index = nabla.tensor(places, { dtype: "int64", device });
      const source = nabla.tensor(terms, { device });
      const rows = nabla.tensor([...terms, ...terms], { shape: [n, 2], device });
      return [
        nabla.zeros([37], { device }).scatterAdd(0, index, source),
        nabla.zeros([37, 2], { device }).indexAdd(0, index, rows),
        nabla.zeros([3, 500], { device }).scatterAdd(1, index.reshape([3, 1000]), source.reshape([3, 1000])),
      ].map((y) => y.reshape([y.numel]).toArray());
    };
    expect(run("cuda")).toEqual(run("js"));
  });
});
