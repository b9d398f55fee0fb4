// The shim that runs CUDA's kernels on the CPU shows what it is there to show. Run with the addon of
// scripts/cuda-shim.mjs in NABLA_CUDA_ADDON; skipped without.
import { describe, expect, test } from "vitest";
import { titled } from "../devices.js";
import { orders, shim } from "./shim.js";

describe.skipIf(!shim)(titled("the shim", shim ? null : "NABLA_CUDA_ADDON does not name it"), () => {
  const run = (name: string, order: string): string | undefined => {
    shim?.order(order);
    return shim?.planted(name);
  };

  test.each(orders)("right kernels are right: %s", (order) => {
    expect(run("barrier", order)).toBe("");
    expect(run("shuffles", order)).toBe("");
  });
  test.each(orders)("a missing barrier: %s", (order) => {
    expect(run("missing barrier", order)).toBe("wrong");
  });
  test.each(orders)("what is written beyond memory: %s", (order) => {
    expect(run("beyond the buffer", order)).toMatch(/wrote outside a buffer of 256 bytes/);
    expect(run("beyond shared memory", order)).toMatch(/wrote beyond its dynamic shared memory/);
  });
  test.each(orders)("threads that others wait for in vain: %s", (order) => {
    expect(run("left the block", order)).toMatch(/have left while others wait for them at a barrier/);
    expect(run("left the warp", order)).toMatch(/have left while others wait for them in a warp function/);
  });
  test("a copy that is not waited for, and one of which too few bytes are announced", () => {
    for (const order of orders) expect(run("copied", order)).toBe("");
    expect(run("no wait for a copy", "forward")).toBe("wrong");
    expect(run("too few bytes", "forward")).toMatch(/threads wait for each other/);
  });
  test("a block that no GPU runs", () => expect(run("too large", "forward")).toMatch(/cannot be launched/));
});
