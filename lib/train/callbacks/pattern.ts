// File names with values in them, as Keras has them by Python's str.format: "{epoch:02d}-{val_loss:.2f}.ckpt".
import { ValueError } from "../../errors.js";
import type { Logs } from "../callback.js";
import { unknownName } from "./monitor.js";

interface Place {
  readonly name: string;
  readonly format: (value: number) => string;
}

/** `[0][width][.precision][d|f|e]`, the part of Python's mini-language that numbers in file names need. */
const SPEC = /^(0?)(\d*)(?:\.(\d+))?([dfe]?)$/;

export class Pattern {
  private readonly parts: readonly (string | Place)[];

  /** @throws ValueError for a format that it does not know */
  constructor(
    private readonly owner: string,
    readonly text: string,
  ) {
    this.parts = text.split(/(\{[^{}]*\})/).map((part) => (/^\{.*\}$/s.test(part) ? this.place(part) : part));
    if (this.parts.some((part) => typeof part === "string" && /[{}]/.test(part))) {
      throw new ValueError(`${owner}: the braces of ${JSON.stringify(text)} do not match`);
    }
  }

  private place(part: string): Place {
    const [, name, spec] = /^\{(\w+)(?::([^}]*))?\}$/.exec(part) ?? [];
    const found = SPEC.exec(spec ?? "");
    if (!name || !found) {
      throw new ValueError(
        `${this.owner}: ${part} is no place for a value; write {epoch}, {epoch:03d}, {val_loss:.4f} or {val_loss:.2e}`,
      );
    }
    const [, zero, width, precision, type] = found;
    const digits = precision === undefined ? 6 : Number(precision);
    const format = (value: number): string => {
      if (type === "d" && !Number.isInteger(value)) {
        throw new ValueError(`${this.owner}: ${part} is for integers, and ${name} is ${value}; write {${name}:.4f}`);
      }
      const text =
        type === "f" || (type === "" && precision !== undefined)
          ? value.toFixed(digits)
          : type === "e"
            ? value.toExponential(digits).replace(/e([+-])(\d)$/, "e$10$2")
            : String(value);
      return text.padStart(Number(width), zero || " ");
    };
    return { name, format };
  }

  /** Names of the values in it. */
  get names(): string[] {
    return this.parts.flatMap((part) => (typeof part === "string" ? [] : [part.name]));
  }

  /** Throws unless all values in it are among these. */
  check(names: readonly string[]): void {
    for (const name of this.names) {
      if (names.includes(name)) continue;
      throw new ValueError(`${this.owner}: ${JSON.stringify(this.text)} has a value ${unknownName(name, names)}`);
    }
  }

  /** The text with these values. */
  fill(values: Logs): string {
    this.check(Object.keys(values));
    return this.parts.map((part) => (typeof part === "string" ? part : part.format(values[part.name]))).join("");
  }
}
