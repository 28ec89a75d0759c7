// Where results go: text and colours for people on a terminal, JSON lines for programs.
import { styleText } from "node:util";

/** Whoever read the output is gone, as `head` is when it has enough. */
export class OutputClosedError extends Error {}

export type Style = Parameters<typeof styleText>[0];

export class Output {
  /** Whether people read it. */
  readonly isForPeople: boolean;
  /** Whether JSON was asked for. */
  readonly wantsJson: boolean;
  readonly #stream: NodeJS.WriteStream;

  constructor(stream: NodeJS.WriteStream, { wantsJson }: { readonly wantsJson: boolean }) {
    this.#stream = stream;
    this.isForPeople = stream.isTTY && !wantsJson;
    this.wantsJson = wantsJson;
    // Each write tells of its own failure.
    stream.on("error", () => undefined);
  }

  /** Resolves when it is out of this program's hands. Rejects with an OutputClosedError when nobody reads any more. */
  write(data: string | Uint8Array): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#stream.write(data, (error) => {
      if (error === null || error === undefined) resolve();
      else
        reject(
          "code" in error && error.code === "EPIPE" ? new OutputClosedError("Nobody reads the output", { cause: error }) : error,
        );
    });
    return promise;
  }

  /** One result: the lines for people, or the value as a line of JSON. */
  show(value: unknown, lines: () => string): Promise<void> {
    return this.write(`${this.isForPeople ? lines() : JSON.stringify(value)}\n`);
  }

  /** Many results, a line each, in one write. */
  showAll<Value>(values: readonly Value[], toJson: (value: Value) => unknown, toLine: (value: Value) => string): Promise<void> {
    const format = this.isForPeople ? toLine : (value: Value): string => JSON.stringify(toJson(value));
    return values.length === 0 ? Promise.resolve() : this.write(`${values.map(format).join("\n")}\n`);
  }

  /** Without colours where the stream is no terminal or NO_COLOR is set. */
  style(style: Style, text: string): string {
    return styleText(style, text, { stream: this.#stream });
  }

  /** Columns under their heads; numbers stand right. */
  table(heads: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
    const texts = rows.map((row) => row.map((cell) => (typeof cell === "number" ? formatCount(cell) : cell)));
    const widths = heads.map((head, column) => Math.max(head.length, ...texts.map((row) => row[column]?.length ?? 0)));
    const isNumber = (column: number): boolean => typeof rows[0]?.[column] === "number";
    const format = (cells: readonly string[]): string =>
      cells
        .map((cell, column) => (isNumber(column) ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0)))
        .join("  ")
        .trimEnd();
    return [this.style("bold", format(heads)), ...texts.map(format)].join("\n");
  }

  /** Names and values under each other. */
  facts(rows: readonly (readonly [string, string | number])[]): string {
    const width = Math.max(...rows.map(([name]) => name.length));
    return rows
      .map(
        ([name, value]) => `${this.style("dim", name.padEnd(width))}  ${typeof value === "number" ? formatCount(value) : value}`,
      )
      .join("\n");
  }
}

export function formatCount(count: number): string {
  return count.toLocaleString("en");
}

/** "1 message", "2,000 messages". */
export function formatAmount(count: number, noun: string): string {
  return `${formatCount(count)} ${noun}${count === 1 ? "" : "s"}`;
}

const SIZE_STEP = 1024;
const SIZE_UNITS = ["bytes", "KiB", "MiB", "GiB"] as const;

export function formatBytes(bytes: number): string {
  const step = bytes < SIZE_STEP ? 0 : Math.min(SIZE_UNITS.length - 1, Math.floor(Math.log(bytes) / Math.log(SIZE_STEP)));
  const size = bytes / SIZE_STEP ** step;
  return `${step === 0 ? formatCount(size) : size.toFixed(1)} ${SIZE_UNITS[step]}`;
}

/** As people write it, in the time of this computer. */
export function formatTime(atMs: number): string {
  return new Date(atMs).toLocaleString("sv");
}
