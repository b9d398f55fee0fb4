// Ourselves, through the public package: node nabla.mjs DEVICE
import { examine, setDefaultDevice, setNumThreads, version } from "nablajs";
import { workload } from "nablajs/bench";
import { serve, threads } from "./serve.mjs";

setDefaultDevice(process.argv[2]);
setNumThreads(threads);
const { isa } = examine();
await serve({ version: version(), note: process.argv[2] === "js" ? "" : isa.name }, workload);
