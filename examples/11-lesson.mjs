// Two classes of points, some under a wrong name, with the models of the lesson that this project grew from: a perceptron,
// one linear layer, 2-5-1, 2-10-1, in the styles of Lightning and Keras, with three forms of cross-entropy; and the
// picture of what a model has learned.
import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { bceWithLogits, data, manualSeed, nn, optim, oneHot, tensor, Trainer, TrainModule } from "nablajs";

/** Stored rows: [inputs, labels] of the parts. */
function load(name, ...cuts) {
  const { x, y } = JSON.parse(readFileSync(new URL(`data/${name}.json`, import.meta.url), "utf8"));
  const bounds = [0, ...cuts, x.length];
  return bounds.slice(1).map((to, i) => {
    const rows = [bounds[i], to];
    return [tensor(x.slice(...rows)), tensor(y.slice(...rows), { dtype: "int64" })];
  });
}
const [train, validation, test] = load("cls_flip010", 70, 85); // 70/15/15

/** Share of right answers, for scores of one column (positive: class 1) or of two. */
const accuracyOf = (scores, y) => {
  const predicted = scores.shape[1] === 1 ? scores.squeeze(1).gt(0).to("int64") : scores.argmax(1);
  return predicted.eq(y).float().mean().item();
};

// 1. Rosenblatt's perceptron (1958), with tensors alone: a point on the wrong side moves the line, until none moves it or
// the epochs are over. With wrong names among the labels it never comes to rest, so the best line so far is kept.
{
  const [x, y] = train;
  const signs = y.mul(2).sub(1).float();
  let [line, best] = [tensor([0, 0, 0]), { right: 0 }];
  const inputs = nn.functional ?? x;
}
