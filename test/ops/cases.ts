// All rows: one file a family, collected here.
import type { Case } from "./case.js";
import { elementwiseCases } from "./cases/elementwise.js";
import { matmulCases } from "./cases/matmul.js";
import { reduceCases } from "./cases/reduce.js";

export const cases: readonly Case[] = [...elementwiseCases, ...reduceCases, ...matmulCases];
