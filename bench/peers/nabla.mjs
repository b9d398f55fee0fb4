// Ourselves, through the public package: node nabla.mjs DEVICE

import { workload } from "../../dist/bench.mjs";
import { examine, setDefaultDevice, setNumThreads, version } from "../../dist/index.mjs";
import { serve, threads } from "./serve.mjs";

setDefaultDevice(process.argv[2]);
setNumThreads(threads);
const { isa } = examine();
await serve({ version: version(), note: process.argv[2] === "js" ? "" : isa.name }, workload);
