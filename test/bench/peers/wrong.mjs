// A peer whose numbers are wrong.
import { writeFileSync } from "node:fs";
import { createInterface } from "node:readline";

for await (const line of createInterface({ input: process.stdin })) {
  const { id, do: what, file } = JSON.parse(line);
  if (what === "output") writeFileSync(file, new Float32Array(4));
  console.log(JSON.stringify({ id, version: "0.0", variants: ["zeros"], ms: 1, length: 4 }));
}
