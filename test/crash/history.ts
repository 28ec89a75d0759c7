// The history of a run: one JSON line for each operation when it is invoked and one when its outcome is known. The order of the lines
// is real time: a line above another happened before it. A message's identity is its payload's name (see payload.ts).
import { createReadStream, createWriteStream, type WriteStream } from "node:fs";
import { finished } from "node:stream/promises";
import { createInterface } from "node:readline";

export type Call =
  /** Waits for room so long, in milliseconds; 0 tries once. */
  | { readonly f: "put"; readonly messages: readonly string[]; readonly waitMs: number }
  /** At most once: what is taken is gone. */
  | { readonly f: "get"; readonly max: number }
  | { readonly f: "pull"; readonly max: number; readonly leaseMs: number; readonly isDetached: boolean }
  /** Lease ids, by verb; those in `extends` are to last `extendMs` from then on. */
  | ({ readonly f: "settle"; readonly extendMs: number } & SettleLists)
  /** A look at everything, while nothing else is going on: after a restart, and at the end. */
  | { readonly f: "inspect" };

export interface SettleLists {
  readonly acks: readonly string[];
  readonly rejects: readonly string[];
  readonly retries: readonly string[];
  readonly extends: readonly string[];
  readonly releases: readonly string[];
}

export interface Seen {
  readonly name: string;
  readonly offset: number;
}

export interface Leased extends Seen {
  readonly leaseId: string;
  readonly attempt: number;
  readonly redelivered: boolean;
}

export interface RefusedLease {
  readonly leaseId: string;
  readonly kind: string;
}

/** What the service answered. `depth` is what the reply said of the channel. */
export type Result =
  | { readonly f: "put"; readonly offset: number; readonly depth: number }
  | { readonly f: "get"; readonly messages: readonly Seen[]; readonly depth: number }
  | { readonly f: "pull"; readonly messages: readonly Leased[]; readonly leaseUntilMs: number; readonly depth: number }
  | { readonly f: "settle"; readonly acked: number; readonly refused: readonly RefusedLease[]; readonly depth: number }
  | Inspection;

export type Answer<F extends Result["f"]> = Extract<Result, { f: F }>;

export interface Counts {
  readonly put: number;
  readonly acked: number;
  readonly removed: number;
  readonly deadLettered: number;
}

export interface Inspection {
  readonly f: "inspect";
  /** Looked at in this order: what ended between two looks is told by the later one. */
  readonly browsed: readonly Seen[];
  readonly depth: number;
  readonly counts: Counts;
  /** Those that the last inspection can not have seen, and maybe some more. */
  readonly deadLetters: readonly Seen[];
}

export interface Invoke {
  readonly type: "invoke";
  readonly op: number;
  readonly atMs: number;
  readonly channel: string;
  /** Puts of one connection keep their order. Each HTTP request is a connection of its own. */
  readonly connection: string;
  readonly call: Call;
}

export type Completion =
  | { readonly type: "ok"; readonly op: number; readonly atMs: number; readonly result: Result }
  /** Refused: nothing changed. */
  | { readonly type: "fail"; readonly op: number; readonly atMs: number; readonly kind: string }
  /** It took effect or not, and in the latter case never will. */
  | { readonly type: "unknown"; readonly op: number; readonly atMs: number };

export type Mark =
  | { readonly type: "channel"; readonly channel: string; readonly maxMessages: number }
  | { readonly type: "round"; readonly round: number }
  /** A reader leaves: leases of its connection may end from now on. */
  | { readonly type: "close"; readonly channel: string; readonly connection: string }
  | { readonly type: "kill"; readonly atMs: number }
  | { readonly type: "start"; readonly atMs: number };

export type HistoryEvent = Invoke | Completion | Mark;

/** Appends a history to a file. */
export class HistoryWriter {
  readonly #file: WriteStream;

  constructor(path: string) {
    this.#file = createWriteStream(path);
  }

  write(event: HistoryEvent): void {
    this.#file.write(`${JSON.stringify(event)}\n`);
  }

  async close(): Promise<void> {
    this.#file.end();
    await finished(this.#file);
  }
}

export async function* readHistory(path: string): AsyncGenerator<HistoryEvent> {
  for await (const line of createInterface({ input: createReadStream(path), crlfDelay: Infinity })) {
    if (line !== "") yield JSON.parse(line) as HistoryEvent;
  }
}
