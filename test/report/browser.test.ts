// The pages as a browser shows them: nothing overlaps, nothing is cut off, both themes are applied, no script of a
// hostile name runs, and the board's page follows a run.
import { spawn } from "node:child_process";
import { accessSync, appendFileSync, constants, readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { Readable } from "node:stream";
import { beforeAll, describe, expect, test } from "vitest";
import { board, writeReport } from "../../lib/report/index.js";
import { dark, light } from "../../lib/report/theme.js";
import { epochLine, everything, folder, line, makeRun } from "./runs.js";

const names = ["chromium", "chromium-browser", "google-chrome", "chrome"];
const found = (process.env.PATH ?? "")
  .split(":")
  .flatMap((folder) => names.map((name) => join(folder, name)))
  .find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });

/** What is looked at in each page: runs in the browser, in a frame of a given width and colour scheme. */
const look = `<!doctype html><meta charset="utf-8"><body><script>
async function frameOf(page, width, scheme) {
  const frame = document.createElement("iframe");
  frame.style.cssText = "border:0;height:4000px;width:" + width + "px;color-scheme:" + scheme;
  frame.src = page;
  document.body.append(frame);
  await new Promise((done) => { frame.onload = done; });
  return frame;
}
async function see(page, width, scheme) {
  const frame = await frameOf(page, width, scheme);
  const doc = frame.contentDocument;
  const [overlaps, cut] = [[], []];
  for (const svg of doc.querySelectorAll("svg")) {
    const box = svg.getBoundingClientRect();
    // A slanted text's box is larger than the text.
    const texts = [...svg.querySelectorAll("text")].filter((t) => !t.getAttribute("transform")?.includes("matrix"));
    const all = texts.map((t) => ({ text: t.textContent, r: t.getBoundingClientRect() }));
    for (const [i, { text, r }] of all.entries()) {
      if (r.left < box.left - 0.5 || r.right > box.right + 0.5 || r.top < box.top - 0.5 || r.bottom > box.bottom + 0.5) cut.push(text);
      for (const b of all.slice(i + 1)) {
        const w = Math.min(r.right, b.r.right) - Math.max(r.left, b.r.left);
        const h = Math.min(r.bottom, b.r.bottom) - Math.max(r.top, b.r.top);
        if (w > 1 && h > 2) overlaps.push(text + " | " + b.text);
      }
    }
  }
  const texts = [...doc.querySelectorAll("svg text")];
  const seen = {
    page, width, scheme, overlaps, cut,
    title: doc.title,
    overflow: doc.documentElement.scrollWidth - width,
    background: frame.contentWindow.getComputedStyle(doc.body).backgroundColor,
    text: texts.map((t) => frame.contentWindow.getComputedStyle(t).fill),
    smallest: Math.min(...texts.map((t) => t.getBoundingClientRect().height)),
    scripts: doc.querySelectorAll("script, img").length,
  };
  frame.remove();
  return seen;
}
async function follow(page) {
  const frame = await frameOf(page, 800, "light");
  const states = [frame.contentDocument.querySelector("main").innerText];
  await fetch("/grow");
  while (!/finished/.test(states.at(-1))) {
    await new Promise((done) => setTimeout(done, 20));
    states[1] = frame.contentDocument.querySelector("main").innerText;
  }
  return states;
}
(async () => {
  const seen = [];
  for (const [page, width, scheme] of PAGES) seen.push(await see(page, width, scheme));
  const followed = await follow("/run/going");
  await fetch("/result", { method: "POST", body: JSON.stringify({ seen, followed }) });
})().catch((error) => fetch("/result", { method: "POST", body: JSON.stringify({ error: String(error.stack) }) }));
</script>`;

interface Seen {
  page: string;
  width: number;
  scheme: "light" | "dark";
  overlaps: string[];
  cut: string[];
  title: string;
  overflow: number;
  background: string;
  text: string[];
  smallest: number;
  scripts: number;
}
interface Result {
  seen: Seen[];
  followed: [before: string, after: string];
  error?: string;
}

/** Opens a page in the browser and waits for what its script sends. */
async function visit(url: string, result: Promise<Result>): Promise<Result> {
  // The system's sandbox needs rights that a container does not have; the pages are our own.
  const options = ["--headless", "--no-sandbox", "--disable-gpu", `--user-data-dir=${folder()}`];
  const browser = spawn(found as string, [...options, "--remote-debugging-port=0", url], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  let said = "";
  browser.stderr.on("data", (chunk) => {
    said += chunk;
  });
  const ended = new Promise<never>((_, fail) => {
    browser.on("error", fail);
    browser.on("exit", (code) => fail(new Error(`the browser ended with ${code}: ${said}`)));
  });
  try {
    return await Promise.race([result, ended]);
  } finally {
    ended.catch(() => {});
    browser.kill();
    await new Promise((done) => browser.once("exit", done)); // it writes into its folder until then
  }
}

const rgb = (hex: string): string =>
  `rgb(${[1, 3, 5].map((i) => Number.parseInt(hex.slice(i, i + 2), 16)).join(", ")})`;

describe.skipIf(!found)(`in Chromium${found ? "" : " [there is none on PATH]"}`, () => {
  let result: Result;

  beforeAll(async () => {
    const at = folder();
    const evil = `</script><script>document.title="owned"</script><img src=x onerror='document.title="owned"'>`;
    const ten = Array.from({ length: 10 }, (_, i) =>
      Array.from({ length: 10 }, (_, j) => (i === j ? 150 : (i * j) % 7)),
    );
    const runs = {
      all: makeRun(at, "all", { name: "iris", evaluation: everything }),
      short: makeRun(at, "short", { epochs: 8, kind: "fits", ended: false }),
      evil: makeRun(at, "evil", {
        name: evil,
        metric: evil,
        params: { [evil]: evil },
        evaluation: { confusion: { labels: ten.map((_, i) => (i % 2 ? evil : `class ${i}`)), matrix: ten } },
      }),
    };
    const pages = new Map<string, string>();
    for (const [name, path] of Object.entries(runs)) {
      pages.set(`/${name}`, readFileSync((await writeReport(path)).path, "utf8"));
    }
    const list = [...pages.keys()].flatMap((page) => [
      [page, 375, "light"],
      [page, 1000, "dark"],
    ]);
    pages.set("/look", look.replace("PAGES", JSON.stringify(list)));

    // The board's run is passed on, so that its page too has the address of the page that looks at it.
    const boards = folder();
    const going = makeRun(boards, "going", { epochs: 8, ended: false });
    const served = await board({ directory: boards, port: 0, interval: 20 });
    let send: (value: Result) => void = () => {};
    const sent = new Promise<Result>((resolve) => {
      send = resolve;
    });
    const server = createServer(async (request, response) => {
      const path = request.url ?? "";
      if (path === "/result") {
        let text = "";
        for await (const chunk of request) text += chunk;
        send(JSON.parse(text));
      } else if (path === "/grow") {
        const ninth = epochLine(8, { loss: 0.1, val_loss: 0.2 });
        appendFileSync(join(going, "log.jsonl"), ninth + line({ event: "end", reason: "completed" }));
      } else if (path.startsWith("/run/")) {
        const answer = await fetch(new URL(path, served.url));
        response.writeHead(answer.status, { "Content-Type": answer.headers.get("content-type") as string });
        Readable.fromWeb(answer.body as never)
          .on("error", () => {})
          .pipe(response);
        return;
      }
      const page = pages.get(path);
      response.writeHead(page ? 200 : 204, { "Content-Type": "text/html; charset=utf-8" }).end(page);
    });
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    try {
      result = await visit(`http://127.0.0.1:${(server.address() as AddressInfo).port}/look`, sent);
    } finally {
      server.closeAllConnections();
      server.close();
      await served.close();
    }
    expect(result.error).toBeUndefined();
  }, 120_000);

  test("all pages were seen", () => expect(result.seen.length).toBe(6));

  test("no texts overlap, none is cut off, none is too small, no page is too wide", () => {
    for (const { page, width, ...seen } of result.seen) {
      const where = `${page} at ${width}`;
      expect(seen.overlaps, where).toEqual([]);
      expect(seen.cut, where).toEqual([]);
      expect(seen.overflow, where).toBeLessThanOrEqual(0);
      expect(seen.smallest, where).toBeGreaterThanOrEqual(9);
    }
  });

  test("both themes are applied, in the pictures too", () => {
    for (const { scheme, background, text } of result.seen) {
      const colours = scheme === "dark" ? dark : light;
      expect(background).toBe(rgb(colours.page));
      expect(text).toContain(rgb(colours.ink));
    }
  });

  test("names run no scripts", () => {
    for (const { title, scripts } of result.seen) {
      expect(title).not.toBe("owned");
      expect(scripts).toBe(0);
    }
  });

  test("the board's page follows a run by itself", () => {
    const [before, after] = result.followed;
    expect(before).toMatch(/epochs\s+8/);
    expect(after).toMatch(/epochs\s+9/);
    expect(after).toContain("finished");
  });
});
