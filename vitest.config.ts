import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    pool: "forks",
    maxWorkers: "100%", // by default one core is left idle, half of a small machine
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
