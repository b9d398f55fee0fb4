// All rows: one file a family, collected here.
import type { Case } from "./case.js";
import { activationCases } from "./cases/activation.js";
import { elementwiseCases } from "./cases/elementwise.js";
import { lossCases } from "./cases/loss.js";
import { matmulCases } from "./cases/matmul.js";
import { normCases } from "./cases/norm.js";
import { reduceCases } from "./cases/reduce.js";

export const cases: readonly Case[] = [
  ...elementwiseCases,
  ...activationCases,
  ...reduceCases,
  ...matmulCases,
  ...normCases,
  ...lossCases,
];
