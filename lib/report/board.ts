// The board: a small server that shows runs as they go, for this machine only.
import { createHash } from "node:crypto";
import { readdir, stat } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { basename, join, resolve } from "node:path";
import { checkOptions, describe } from "../check.js";
import { FileError, ValueError } from "../index.js";
import { bodyOf, diagnosisOf, duration, pageOf, stateOf } from "./page.js";
import { LogReader, type Run, readDescription } from "./run.js";
import { escapeText, short } from "./theme.js";

export interface BoardOptions {
  /** Folder of the runs' directories. */
  directory: string;
  /** Default 6070; 0 takes one that is free. */
  port?: number;
  /** Default `"127.0.0.1"`: for this machine only. The board has no password. */
  host?: string;
  /** Milliseconds between looks at the files. Default 1000. */
  interval?: number;
}

export interface Board {
  readonly url: string;
  readonly port: number;
  /** Ends the server and all its connections. */
  close(): Promise<void>;
}

/**
 * Serves the runs in a folder as pages that follow training: a list of runs, and for each what its report would hold.
 * Nothing is written, nothing but these pages is served, only GET is answered.
 *
 * @example
 * import { board } from "nablajs/report";
 * const { url, close } = await board({ directory: "runs" });
 *
 * @throws FileError where the folder does not exist; ValueError where the port is taken
 */
export async function board(options: BoardOptions): Promise<Board> {
  checkOptions(options, ["directory", "port", "host", "interval"], "board");
  const { directory, port = 6070, host = "127.0.0.1", interval = 1000 } = options;
  if (!Number.isInteger(port) || port < 0 || port > 65535) {
    throw new ValueError(`board: port is an integer from 0 to 65535, got ${describe(port)}`);
  }
  if (!(interval >= 10)) throw new ValueError(`board: interval is at least 10 milliseconds, got ${describe(interval)}`);
  const info = await stat(directory).catch(() => undefined);
  if (!info?.isDirectory()) throw new FileError(`board: there is no folder ${directory}`);

  const watch = new Watch(resolve(directory), interval);
  const server = createServer((request, response) => {
    answer(watch, host, request, response).catch((error: unknown) => {
      if (!response.headersSent) plain(response, 500, error instanceof Error ? error.message : String(error));
      else response.end();
    });
  });
  await new Promise<void>((done, fail) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      const taken = error.code === "EADDRINUSE";
      fail(
        taken ? new ValueError(`board: port ${port} of ${host} is taken; give another, or 0 for a free one`) : error,
      );
    });
    server.listen(port, host, done);
  });
  const { port: bound } = server.address() as AddressInfo;
  return {
    url: `http://${host.includes(":") ? `[${host}]` : host}:${bound}/`,
    port: bound,
    close: () =>
      new Promise((done) => {
        watch.close();
        server.close(() => done());
        server.closeAllConnections();
      }),
  };
}

/** A page: its name and the inner part. */
type View = { readonly title: string; readonly body: string };

/** What the pages show, drawn anew when the files have changed and somebody is looking. */
class Watch {
  private readonly readers = new Map<string, LogReader>();
  private readonly drawn = new Map<string, { stamp: string; view: Promise<View> }>();
  private readonly clients = new Set<{ name: string | null; send: (view: View) => void; last: string }>();
  private timer: NodeJS.Timeout | undefined;
  private closed = false;

  constructor(
    private readonly directory: string,
    private readonly interval: number,
  ) {}

  /** Names of the runs: folders that hold run.json or log.jsonl. */
  async names(): Promise<string[]> {
    const entries = await readdir(this.directory, { withFileTypes: true }).catch(() => []);
    const found = await Promise.all(
      entries
        .filter((entry) => entry.isDirectory())
        .map(async ({ name }) => ((await this.stampOf(name)) === "" ? undefined : name)),
    );
    return found.filter((name): name is string => name !== undefined).sort();
  }

  /** Changes when one of the run's files does; empty where there is none. */
  private async stampOf(name: string): Promise<string> {
    const files = ["run.json", "log.jsonl", "evaluation.json"];
    const stamps = await Promise.all(
      files.map((file) =>
        stat(join(this.directory, name, file)).then(
          (s) => `${file} ${s.ino} ${s.size} ${s.mtimeMs}`,
          () => "",
        ),
      ),
    );
    return stamps[0] || stamps[1] ? stamps.join() : "";
  }

  private async read(name: string): Promise<Run> {
    const directory = join(this.directory, name);
    const reader = this.readers.get(name) ?? new LogReader(join(directory, "log.jsonl"));
    this.readers.set(name, reader);
    await reader.read();
    return { directory, ...(await readDescription(directory)), progress: reader.progress };
  }

  /** The page of a run, or of all for null. */
  async view(name: string | null): Promise<View> {
    if (name === null) return this.list();
    const stamp = await this.stampOf(name);
    if (stamp === "") {
      this.readers.delete(name);
      this.drawn.delete(name);
      return {
        title: name,
        body: `${back}<h1>${escapeText(name)}</h1><p class="empty">This run is not there (any more).</p>`,
      };
    }
    const known = this.drawn.get(name);
    // A run without news becomes "not ended" after a while: once a minute it is drawn anew.
    const minute = `${stamp} ${Math.floor(Date.now() / 60_000)}`;
    if (known?.stamp === minute) return known.view;
    const view = this.read(name)
      .then(async (run) => ({ title: run.record.name, body: back + (await bodyOf(run, Date.now())) }))
      .catch((error: Error) => ({
        // A file that is being written is whole a moment later.
        title: name,
        body: `${back}<h1>${escapeText(name)}</h1><p class="empty">${escapeText(error.message)}</p>`,
      }));
    this.drawn.set(name, { stamp: minute, view });
    return view;
  }

  private async list(): Promise<View> {
    const names = await this.names();
    const rows = await Promise.all(
      names.map(async (name) => {
        const run = await this.read(name).catch(() => undefined);
        return run
          ? row(name, run)
          : `<tr><td>${link(name, name)}</td><td colspan="5" class="empty">its files cannot be read</td></tr>`;
      }),
    );
    const head = ["run", "state", "epochs", "best val_loss", "the curves say", "time"];
    const table = `<div class="scroll"><table><thead><tr>${head.map((h) => `<th>${h}</th>`).join("")}</tr></thead><tbody>${rows.join("")}</tbody></table></div>`;
    const folder = basename(this.directory);
    const body = names.length ? table : `<p class="empty">There are no runs in ${escapeText(this.directory)} yet.</p>`;
    return {
      title: `Runs in ${folder}`,
      body: `<header><h1>Runs</h1><p class="meta">${escapeText(this.directory)}</p></header><section>${body}</section>`,
    };
  }

  /** Sends a page whenever it changes, until the returned function is called. */
  follow(name: string | null, send: (view: View) => void): () => void {
    const client = { name, send, last: "" };
    this.clients.add(client);
    if (!this.timer) this.look();
    return () => this.clients.delete(client);
  }

  private look(): void {
    this.timer = setTimeout(async () => {
      for (const client of this.clients) {
        const view = await this.view(client.name).catch(() => undefined);
        if (view === undefined || !this.clients.has(client)) continue;
        const print = fingerprint(view);
        if (print === client.last) continue;
        client.last = print;
        client.send(view);
      }
      this.timer = undefined;
      if (this.clients.size > 0 && !this.closed) this.look();
    }, this.interval);
  }

  close(): void {
    this.closed = true;
    clearTimeout(this.timer);
    this.clients.clear();
  }
}

const back = '<p><a href="/">all runs</a></p>';
const link = (name: string, text: string): string =>
  `<a href="/run/${encodeURIComponent(name)}">${escapeText(text)}</a>`;

/** Pictures are numbered as they are drawn; that is no change. */
const fingerprint = ({ title, body }: View): string =>
  createHash("sha256")
    .update(`${title}\0${body.replace(/\bp\d+-/g, "p-")}`)
    .digest("base64");

function row(name: string, run: Run): string {
  const { progress, record } = run;
  const diagnosis = diagnosisOf(progress);
  const state = stateOf(run, Date.now());
  const best = diagnosis?.bestEpoch ?? null;
  const value = best === null ? "–" : short(progress.history.val_loss[progress.epoch.indexOf(best)]);
  const spent = progress.seconds.filter(Number.isFinite).reduce((a, b) => a + b, 0);
  const shown = record.name === name ? name : `${record.name} (${name})`;
  return (
    `<tr><td>${link(name, shown)}</td><td><span class="state" style="--tone:var(--${state.tone})">${state.word}</span></td>` +
    `<td>${progress.epoch.length}</td><td>${value}</td><td>${escapeText(diagnosis?.verdict ?? "–")}</td><td>${duration(spent)}</td></tr>`
  );
}

/** Follows the page's own events; a lost connection is taken up again by the browser. */
const script = `const events = new EventSource(location.pathname.replace(/\\/$/, "") + "/events");
events.onmessage = (event) => {
  const { title, body } = JSON.parse(event.data);
  document.title = title;
  document.querySelector("main").innerHTML = body;
};
`;
const scriptHash = createHash("sha256").update(script).digest("base64");
const policy = `; script-src 'sha256-${scriptHash}'; connect-src 'self'`;

const headers = { "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff" };

function plain(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { ...headers, "Content-Type": "text/plain; charset=utf-8" }).end(`${text}\n`);
}

async function answer(watch: Watch, host: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (request.method !== "GET") {
    response.setHeader("Allow", "GET");
    return plain(response, 405, "only GET is answered here");
  }
  // A page elsewhere whose name leads to this address must not read the runs (DNS rebinding).
  const asked = (request.headers.host ?? "").replace(/:\d+$/, "").replace(/^\[|\]$/g, "");
  const local = ["localhost", "127.0.0.1", "::1"];
  if (local.includes(host) && !local.includes(asked))
    return plain(response, 403, "this board is for this machine only");

  // Names of runs are compared with those that are there, never joined to a path unseen.
  const path = /^\/(?:run\/([^/?]+))?(\/?events)?\/?(?:\?.*)?$/.exec(request.url ?? "");
  let name: string | null = null;
  try {
    name = path?.[1] === undefined ? null : decodeURIComponent(path[1]);
  } catch {
    return plain(response, 404, "there is no such page");
  }
  if (!path) return plain(response, 404, "there is no such page");
  if (name !== null && !(await watch.names()).includes(name)) return plain(response, 404, "there is no such run");

  if (path[2] !== undefined) {
    response.writeHead(200, { ...headers, "Content-Type": "text/event-stream; charset=utf-8" });
    response.write("retry: 2000\n\n");
    const leave = watch.follow(name, (view) => response.write(`data: ${JSON.stringify(view)}\n\n`));
    response.on("close", leave);
    return;
  }
  const { title, body } = await watch.view(name);
  response
    .writeHead(200, { ...headers, "Content-Type": "text/html; charset=utf-8" })
    .end(pageOf(title, body, policy, `<script>${script}</script>\n`));
}
