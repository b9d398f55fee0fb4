// All rows: one file a family, collected here.
import type { Case } from "./case.js";
import { activationCases } from "./cases/activation.js";
import { arrangeCases } from "./cases/arrange.js";
import { convCases } from "./cases/conv.js";
import { einsumCases } from "./cases/einsum.js";
import { elementwiseCases } from "./cases/elementwise.js";
import { indexingCases } from "./cases/indexing.js";
import { lossCases } from "./cases/loss.js";
import { matmulCases } from "./cases/matmul.js";
import { movementCases } from "./cases/movement.js";
import { normCases } from "./cases/norm.js";
import { reduceCases } from "./cases/reduce.js";

export const cases: readonly Case[] = [
  ...elementwiseCases,
  ...activationCases,
  ...reduceCases,
  ...matmulCases,
  ...einsumCases,
  ...movementCases,
  ...arrangeCases,
  ...indexingCases,
  ...normCases,
  ...lossCases,
  ...convCases,
];
