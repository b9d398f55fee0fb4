// Keeps the device busy in every way at once until the worker is ended; says when it is under way.
import { parentPort, workerData } from "node:worker_threads";
import { compile, indexSelect, matmul, rand, setDefaultDevice, tensor } from "nablajs";

setDefaultDevice(workerData.device);
const size = workerData.size;
const a = rand([size, size]);
const chain = compile((x) => {
  for (let i = 0; i < 4; i++) x = matmul(x, a);
  return x.sum();
});
const outOfRange = tensor([5], { dtype: "int64" });
parentPort.postMessage("under way");
const pending = [];
for (let i = 0; ; i++) {
  pending.push(chain(a).data(), matmul(a, a).sum().data(), chain.async(a));
  if (i % 7 === 0)
    indexSelect(tensor([1, 2]), 0, outOfRange)
      .data()
      .catch(() => {});
  if (i % 5 === 0) matmul(a, a).sum().item();
  if (pending.length > 30) await Promise.all(pending.splice(0, 20));
}
