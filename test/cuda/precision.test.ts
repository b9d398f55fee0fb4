// Training in mixed precision on the CUDA device, on a GPU or with the shim: the loss of the JavaScript device.
import { describe, expect, test } from "vitest";
import * as nabla from "../../lib/index.js";
import { absent, titled } from "../devices.js";

const missing = absent("cuda");

describe.skipIf(missing !== null)(titled("device cuda, mixed precision", missing), () => {
  class Net extends nabla.TrainModule {
    readonly net = new nabla.nn.Sequential([
      new nabla.nn.Conv2d(1, 4, 3),
      new nabla.nn.ReLU(),
      new nabla.nn.Flatten(),
      new nabla.nn.Linear(64, 16),
      new nabla.nn.LayerNorm(16),
      new nabla.nn.GELU(),
      new nabla.nn.Linear(16, 3),
    ]);
    override forward(x: nabla.Tensor): nabla.Tensor {
      return this.net.forward(x);
    }
    override trainingStep([x, y]: [nabla.Tensor, nabla.Tensor]): nabla.Tensor {
      const loss = nabla.crossEntropy(this.forward(x), y);
      this.log("loss", loss);
      return loss;
    }
    override configureOptimizers(): nabla.optim.Adam {
      return new nabla.optim.Adam(this.parameters(), { lr: 0.01 });
    }
  }

  test.each(["bf16", "fp16"] as const)("%s", async (precision) => {
    const values = Array.from({ length: 24 * 36 }, (_, i) => Math.sin(i * 0.37) + (i % 5) / 5);
    // The fourth batch of six overflows float16, and is skipped.
    if (precision === "fp16") values[13 * 36] = 1e6;
    const labels = Array.from({ length: 24 }, (_, i) => i % 3);
    const train = async (device: string) => {
      nabla.manualSeed(2);
      const x = nabla.tensor(values, { shape: [24, 1, 6, 6], device });
      const y = nabla.tensor(labels, { dtype: "int64", device });
      const loader = new nabla.data.DataLoader(new nabla.data.TensorDataset(x, y), { batchSize: 4 });
      const trainer = new nabla.Trainer({ device, precision, maxEpochs: 3, gradientClipVal: 1, verbose: 0 });
      const module = new Net();
      const { history } = await trainer.fit(module, loader);
      expect(trainer.eagerReason).toBeUndefined();
      const { optimizers, gradients } = trainer.stateDict() as never as {
        optimizers: { state: { step: number }[] }[];
        gradients: { scaler: nabla.amp.GradScalerState | null };
      };
      const predicted = (await trainer.predict(module, loader)) as nabla.Tensor[];
      expect(predicted[0].dtype).toBe("float32");
      const outputs = predicted.slice(0, 3).flatMap((t) => t.toArray() as number[][]);
      return { history, outputs, steps: optimizers[0].state[0].step, scaler: gradients.scaler };
    };
    const [cuda, js] = [await train("cuda"), await train("js")];
    expect(cuda.steps).toBe(js.steps);
    expect(cuda.scaler).toEqual(js.scaler);
    cuda.outputs.flat().forEach((value, i) => {
      expect(value).toBeCloseTo(js.outputs.flat()[i], 1);
    });
    if (precision === "fp16") {
      expect(cuda.steps).toBeLessThan(16);
      return;
    }
    cuda.history.loss.forEach((loss, i) => {
      expect(loss).toBeCloseTo(js.history.loss[i], 2);
    });
    expect(cuda.history.loss[2]).toBeLessThan(cuda.history.loss[0]);
  });
});
