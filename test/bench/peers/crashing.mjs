// A peer that answers rightly (x + y of row D1) and dies when the clock runs.
import { readFileSync, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";

let folder;
const does = {
  hello: () => ({ version: "0.0" }),
  prepare(request) {
    folder = request.folder;
    return { variants: [""] };
  },
  output({ file }) {
    const read = (name) => new Float32Array(new Uint8Array(readFileSync(`${folder}/${name}`)).buffer);
    const y = read("y");
    const sum = read("x").map((v, i) => v + y[i]);
    writeFileSync(file, sum);
    return { ms: 1, length: sum.length };
  },
  run() {
    console.error("Error: out of luck");
    process.exit(7);
  },
};

console.log("a greeting that is no answer");
for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  console.log(JSON.stringify({ id: request.id, ...does[request.do](request) }));
}
