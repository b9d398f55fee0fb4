import { describe } from "vitest";
import { JsDevice } from "../../../lib/device/js/index.js";
import { testFuzz } from "../fuzz.js";

describe("faults on the JavaScript device", () => testFuzz(new JsDevice(), 150));
