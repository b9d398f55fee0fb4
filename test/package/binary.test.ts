// The addon binary: it must load on clusters with an old C library, bring its own C++ library, and show nothing but
// Node-API's entry points, so that it cannot clash with another addon in the process.
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { readElf } from "./elf.js";
import { addonPath } from "./installed.js";

const missing = process.platform !== "linux" ? "only Linux binaries are read" : addonPath ? "" : "there is no binary";
describe.skipIf(missing !== "")(`the addon binary${missing && ` [${missing}]`}`, () => {
  const { needed, versions, exports } = addonPath ? readElf(readFileSync(addonPath)) : readElf(Buffer.alloc(64));

  it("asks for no symbol newer than glibc 2.28", () => {
    const newer = versions.filter((version) => {
      const [, major, minor] = /^GLIBC_(\d+)\.(\d+)/.exec(version) ?? ["", "0", "0"];
      return Number(major) > 2 || (Number(major) === 2 && Number(minor) > 28);
    });
    expect(versions.length).toBeGreaterThan(0);
    expect(newer).toEqual([]);
  });

  it("is linked with the C library only", () => {
    const allowed = /^(libc|libm|libpthread|libdl|librt)\.so\.\d+$|^ld-linux/;
    expect(needed.filter((name) => !allowed.test(name))).toEqual([]);
  });

  it("exports Node-API's entry points only", () => {
    expect(
      exports.filter((name) => !/^(napi_register_module_v\d+|node_api_module_get_api_version_v\d+)$/.test(name)),
    ).toEqual([]);
    expect(exports).toContain("napi_register_module_v1");
  });
});
