// A contestant in a process of its own: whatever it does to its memory, its threads or itself, the others are safe.
// Both sides speak lines of JSON: {id, do, …} to its stdin, {id, …} or {id, error} back on its stdout. Other lines on
// its stdout are ignored: libraries greet.
import { spawn } from "node:child_process";

/** A process that ended, or was ended, while it was asked something. */
export class PeerCrash extends Error {}

/** For an answer to be given, however slow the peer. */
const PATIENCE = 120_000;

export class PeerProcess {
  #child;
  #waiting = new Map();
  #asked = 0;
  #buffered = "";
  #errors = "";
  /** Why it is gone; undefined while it lives. */
  ended;

  /** @param {{ command: string, args: string[], env: Record<string, string | undefined> }} how */
  constructor({ command, args, env }) {
    // A group of its own, so that Ctrl-C in the terminal reaches the harness alone, which then ends its peers.
    this.#child = spawn(command, args, {
      env,
      stdio: ["pipe", "pipe", "pipe"],
      detached: process.platform !== "win32",
    });
    this.#child.stdin.on("error", () => {}); // it ended; "exit" says so
    this.#child.stdout.setEncoding("utf8").on("data", (text) => this.#read(text));
    this.#child.stderr.setEncoding("utf8").on("data", (text) => {
      this.#errors = (this.#errors + text).slice(-2000);
    });
    this.#child.on("error", (error) => this.#end(error.message));
    this.#child.on("close", (code, signal) => {
      const lines = this.#errors.trim().split("\n");
      const last = lines.findLast((line) => /error/i.test(line)) ?? lines.at(-1);
      this.#end(`${signal ? `ended by ${signal}` : `exit code ${code}`}${last ? `: ${last}` : ""}`);
    });
  }

  /** Asks for something; resolves with the answer, rejects with its error or with a PeerCrash. */
  ask(request, patience = PATIENCE) {
    if (this.ended) return Promise.reject(new PeerCrash(this.ended));
    const id = ++this.#asked;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#end(`no answer for ${patience / 1000} s`);
        this.kill();
      }, patience);
      this.#waiting.set(id, { resolve, reject, timer });
      this.#child.stdin.write(`${JSON.stringify({ id, ...request })}\n`);
    });
  }

  kill() {
    this.#end("ended by the harness");
    this.#child.kill("SIGKILL");
  }

  #read(text) {
    const lines = (this.#buffered + text).split("\n");
    this.#buffered = lines.pop();
    for (const line of lines) {
      let answer;
      try {
        answer = JSON.parse(line);
      } catch {
        continue;
      }
      const waiting = this.#waiting.get(answer?.id);
      if (!waiting) continue;
      this.#waiting.delete(answer.id);
      clearTimeout(waiting.timer);
      if (answer.error === undefined) waiting.resolve(answer);
      else waiting.reject(new Error(answer.error));
    }
  }

  #end(why) {
    this.ended ??= why;
    for (const { reject, timer } of this.#waiting.values()) {
      clearTimeout(timer);
      reject(new PeerCrash(this.ended));
    }
    this.#waiting.clear();
  }
}
