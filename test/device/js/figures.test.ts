import { describe } from "vitest";
import { JsDevice } from "../../../lib/device/js/index.js";
import { testFigures } from "../figures.js";

describe("figures on the JavaScript device", () => testFigures(new JsDevice()));
