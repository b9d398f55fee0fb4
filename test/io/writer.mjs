// Saves checkpoints over each other until it is killed: node writer.mjs PATH COUNT
import { full, io } from "nablajs";

const [path, count] = process.argv.slice(2);
for (let n = 0; n < Number(count); n++) {
  await io.save(path, { n, x: full([100_000], n) });
  if (n === 0) console.log("saving");
}
