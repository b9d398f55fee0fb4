import { defineConfig } from "vitest/config";

/** These measure memory, open streams or start threads of their own, so each has a process to itself. */
const alone = ["test/{cli,device,native,runtime}/**/*.test.ts", "test/data/workers.test.ts"];

const common = { pool: "forks", testTimeout: 60_000, hookTimeout: 60_000 } as const;

export default defineConfig({
  test: {
    maxWorkers: "100%", // by default one core is left idle, half of a small machine
    projects: [
      // All others share theirs: to load the sources anew takes a second a file.
      {
        test: {
          ...common,
          name: "together",
          include: ["test/**/*.test.ts", ...alone.map((glob) => `!${glob}`)],
          isolate: false,
        },
      },
      { test: { ...common, name: "alone", include: alone } },
    ],
  },
});
