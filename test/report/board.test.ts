// The board, asked as a browser asks it.
import { appendFileSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { type Board, board } from "../../lib/report/index.js";
import { epochLine, everything, folder, line, makeRun } from "./runs.js";

const open: Board[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((b) => b.close()));
});

async function start(directory: string, options = {}): Promise<Board> {
  const made = await board({ directory, port: 0, interval: 20, ...options });
  open.push(made);
  return made;
}

/** A request exactly as written, which `fetch` would tidy up. */
const raw = (port: number, path: string, more: object = {}) =>
  new Promise<{ status: number; text: string }>((done, fail) => {
    request({ port, path, host: "127.0.0.1", ...more }, (response) => {
      let text = "";
      response.on("data", (chunk) => {
        text += chunk;
      });
      response.on("end", () => done({ status: response.statusCode as number, text }));
    })
      .on("error", fail)
      .end();
  });

/** Events of a page as they come. */
async function* events(url: string): AsyncGenerator<{ title: string; body: string }> {
  const response = await fetch(url);
  expect(response.headers.get("content-type")).toContain("text/event-stream");
  let text = "";
  for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
    text += Buffer.from(chunk).toString("utf8");
    for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
      const event = text.slice(0, end);
      text = text.slice(end + 2);
      if (event.startsWith("data: ")) yield JSON.parse(event.slice(6));
    }
  }
}

/** The next event whose page holds this. */
async function until(stream: AsyncGenerator<{ title: string; body: string }>, what: string): Promise<string> {
  for (;;) {
    const { value, done } = await stream.next();
    if (done) throw new Error(`the events ended before ${what}`);
    if (value.body.includes(what)) return value.body;
  }
}

describe("board", () => {
  test("lists runs, and shows each as its report does", async () => {
    const at = folder();
    makeRun(at, "a b/ü".replace("/", "-"), { name: "first <run>", evaluation: everything });
    makeRun(at, "second", { kind: "fits" });
    mkdirSync(join(at, "not a run"));
    const { url } = await start(at);
    const list = await (await fetch(url)).text();
    expect(list).toContain("first &#60;run&#62; (a b-ü)");
    expect(list).toMatch(/second<\/a>.*finished.*<td>40<\/td>.*<td>fits<\/td>/);
    expect(list).not.toContain("not a run");
    const page = await fetch(`${url}run/${encodeURIComponent("a b-ü")}`);
    expect(page.headers.get("content-type")).toBe("text/html; charset=utf-8");
    const html = await page.text();
    expect(html.match(/<svg /g)?.length).toBe(5);
    expect(html).toContain("The model overfits from epoch");
    // The one script that runs is the one whose hash the page allows.
    expect(html.match(/<script>/g)?.length).toBe(1);
    expect(html).toMatch(/script-src 'sha256-[\w+/=]+'; connect-src 'self'/);
  });

  test("an empty folder", async () => {
    const { url } = await start(folder());
    expect(await (await fetch(url)).text()).toContain("There are no runs");
  });

  test("follows a run that begins, trains, ends and is deleted", async () => {
    const at = folder();
    const { url } = await start(at);
    const list = events(`${url}events`);
    await until(list, "There are no runs");
    const path = join(at, "new");
    mkdirSync(path);
    const log = join(path, "log.jsonl");
    const now = () => new Date().toISOString();
    writeFileSync(log, line({ event: "start", time: now() }));
    expect(await until(list, ">new</a>")).toContain("running");

    const page = events(`${url}run/new/events`);
    await until(page, "No epoch has ended yet");
    const epoch = (e: number) =>
      epochLine(e, { loss: 1 / (e + 1), val_loss: 1.1 / (e + 1) }).replace("2026-01-01T00:00:00.000Z", now());
    appendFileSync(log, epoch(0));
    await until(page, "<dt>epochs</dt><dd>1</dd>");
    appendFileSync(log, epoch(1).slice(0, 30)); // half a line
    appendFileSync(log, epoch(1).slice(30) + epoch(2));
    expect(await until(page, "<dt>epochs</dt><dd>3</dd>")).toContain("running");
    appendFileSync(log, line({ event: "end", reason: "completed", time: now() }));
    await until(page, "finished");
    await until(list, "finished");
    rmSync(path, { recursive: true });
    await until(page, "not there (any more)");
    await until(list, "There are no runs");
    expect((await fetch(`${url}run/new`)).status).toBe(404);
  });

  test("says nothing while nothing happens", async () => {
    const at = folder();
    makeRun(at, "a");
    const { url } = await start(at);
    let count = 0;
    const stream = events(`${url}run/a/events`);
    await stream.next();
    const waiting = stream.next().then(() => count++);
    await new Promise((done) => setTimeout(done, 200)); // ten looks
    expect(count).toBe(0);
    await open.splice(0)[0].close();
    await waiting.catch(() => {});
  });

  test("gives nothing but the runs of its folder", async () => {
    const at = folder();
    makeRun(at, "runs/inside");
    makeRun(at, "outside", { name: "secret" });
    symlinkSync(join(at, "outside"), join(at, "runs/link"));
    const { port } = await start(join(at, "runs"));
    for (const path of [
      ...["/run/../outside", "/run/..%2foutside", "/run/%2e%2e%2foutside", "/../outside/run.json", "/run/link"],
      ...["/run/inside/run.json", "/run/inside%2frun.json", "//etc/passwd", "/run/%00", "/run/%ff", "/run/.", "/run/"],
      ...["/run/..%5coutside", "/run/inside/../../outside/events", "/etc/passwd", "/run/..", "/run/../events"],
    ]) {
      const { status, text } = await raw(port, path);
      expect([path, status]).toEqual([path, 404]);
      expect(text).not.toContain("secret");
    }
    expect((await raw(port, "/run/inside?x=1")).status).toBe(200);
  });

  test("answers GET only, and pages of this machine only", async () => {
    const at = folder();
    makeRun(at, "a");
    const { port } = await start(at);
    for (const method of ["POST", "PUT", "DELETE", "OPTIONS"])
      expect((await raw(port, "/", { method })).status).toBe(405);
    expect((await raw(port, "/", { headers: { host: "evil.example" } })).status).toBe(403);
    for (const host of ["localhost:1", "127.0.0.1"])
      expect((await raw(port, "/", { headers: { host } })).status).toBe(200);
  });

  test("a damaged run is said to be so, the others are shown", async () => {
    const at = folder();
    makeRun(at, "good");
    writeFileSync(join(makeRun(at, "bad"), "run.json"), "{");
    const { url } = await start(at);
    const list = await (await fetch(url)).text();
    expect(list).toContain("its files cannot be read");
    expect(list).toContain("finished");
    expect(await (await fetch(`${url}run/bad`)).text()).toContain("this is no JSON object");
    writeFileSync(join(at, "bad/run.json"), readFileSync(join(at, "good/run.json")));
    expect(await (await fetch(`${url}run/bad`)).text()).toContain("The model overfits");
  });

  test("refuses what cannot be served", async () => {
    const at = folder();
    await expect(board({ directory: join(at, "x") })).rejects.toThrow(/there is no folder/);
    await expect(board({ directory: at, port: 70000 })).rejects.toThrow(/an integer from 0 to 65535/);
    await expect(board({ directory: at, prot: 1 } as never)).rejects.toThrow(/did you mean port/);
    const { port } = await start(at);
    await expect(board({ directory: at, port })).rejects.toThrow(/is taken; give another/);
  });
});
