// Builds histories for the tests of the crash checker, operation by operation.
import type { Call, HistoryEvent, Inspection, Leased, Result, SettleLists } from "../crash/history.ts";

export const MAX_MESSAGES = 4;
export const LEASE_MS = 1000;
export const EXTEND_MS = 5000;
export const WAIT_MS = 3000;
const NO_LISTS: SettleLists = { acks: [], rejects: [], retries: [], extends: [], releases: [] };

export type Given = readonly [name: string, offset: number, attempt?: number, redelivered?: boolean];

/** An operation that was invoked and has no outcome yet. */
export interface Pending {
  readonly op: number;
  readonly call: Call;
}

/** The id of a lease in these stories. */
export function leaseId(name: string, attempt = 1): string {
  return `${name}@${attempt}`;
}

export class Story {
  readonly events: HistoryEvent[] = [{ type: "channel", channel: "c", maxMessages: MAX_MESSAGES }];
  #op = 0;
  #atMs = 0;

  /** Time passes. */
  later(ms: number): this {
    this.#atMs += ms;
    return this;
  }

  invoke(call: Call, connection = "one"): Pending {
    this.#op += 1;
    this.events.push({ type: "invoke", op: this.#op, atMs: this.#atMs, channel: "c", connection, call });
    return { op: this.#op, call };
  }

  ok({ op }: Pending, result: Result): this {
    this.events.push({ type: "ok", op, atMs: this.#atMs, result });
    return this;
  }

  fail({ op }: Pending, kind: string): this {
    this.events.push({ type: "fail", op, atMs: this.#atMs, kind });
    return this;
  }

  unknown({ op }: Pending): this {
    this.events.push({ type: "unknown", op, atMs: this.#atMs });
    return this;
  }

  kill(): this {
    return this.stop().start();
  }

  /** The process is gone; replies that left before are still read. */
  stop(): this {
    this.events.push({ type: "kill", atMs: this.#atMs });
    return this;
  }

  start(): this {
    this.events.push({ type: "start", atMs: this.#atMs });
    return this;
  }

  invokePut(names: readonly string[], connection?: string, waitMs = WAIT_MS): Pending {
    return this.invoke({ f: "put", messages: names, waitMs }, connection);
  }

  put(names: readonly string[], offset: number, { connection = "one", depth = 1 } = {}): this {
    return this.ok(this.invokePut(names, connection), { f: "put", offset, depth });
  }

  lostPut(names: readonly string[], connection?: string): this {
    return this.unknown(this.invokePut(names, connection));
  }

  /** With `isDetached` false the leases are those of the connection. */
  invokePull(isDetached = true): Pending {
    return this.invoke({ f: "pull", max: 10, leaseMs: LEASE_MS, isDetached });
  }

  /** The connection closes. */
  close(connection = "one"): this {
    this.events.push({ type: "close", channel: "c", connection });
    return this;
  }

  /** As `given`, with leases that last for so long. */
  givenFor(leaseMs: number, pull: Pending, ...messages: readonly Given[]): this {
    const leased = messages.map(([name, offset, attempt = 1, redelivered = attempt > 1]): Leased => ({
      name,
      offset,
      attempt,
      redelivered,
      leaseId: leaseId(name, attempt),
    }));
    return this.ok(pull, { f: "pull", messages: leased, leaseUntilMs: this.#atMs + leaseMs, depth: 1 });
  }

  given(pull: Pending, ...messages: readonly Given[]): this {
    return this.givenFor(LEASE_MS, pull, ...messages);
  }

  pull(...messages: readonly Given[]): this {
    return this.given(this.invokePull(), ...messages);
  }

  invokeSettle(lists: Partial<SettleLists>, connection?: string): Pending {
    return this.invoke({ f: "settle", extendMs: EXTEND_MS, ...NO_LISTS, ...lists }, connection);
  }

  settled(pending: Pending, refused: readonly string[] = [], kind = "lease-lost"): this {
    const { call } = pending;
    const acked = call.f === "settle" ? call.acks.filter((id) => !refused.includes(id)).length : 0;
    return this.ok(pending, { f: "settle", acked, refused: refused.map((id) => ({ leaseId: id, kind })), depth: 0 });
  }

  settle(lists: Partial<SettleLists>, refused: readonly string[] = [], connection?: string): this {
    return this.settled(this.invokeSettle(lists, connection), refused);
  }

  ack(...names: readonly string[]): this {
    return this.settle({ acks: names.map((name) => leaseId(name)) });
  }

  invokeGet(max = 10): Pending {
    return this.invoke({ f: "get", max });
  }

  got(get: Pending, ...messages: readonly Given[]): this {
    return this.ok(get, { f: "get", messages: messages.map(([name, offset]) => ({ name, offset })), depth: 0 });
  }

  /** All is as it should be unless the change says otherwise: `put`, `acked` and `deadLettered` are the counts. */
  inspect(
    browsed: readonly Given[],
    counts: { readonly put: number; readonly acked: number; readonly removed?: number; readonly deadLettered?: number },
    change: Partial<Inspection> = {},
  ): this {
    return this.ok(this.invoke({ f: "inspect" }), {
      f: "inspect",
      browsed: browsed.map(([name, offset]) => ({ name, offset })),
      depth: browsed.length,
      counts: { removed: 0, deadLettered: 0, ...counts },
      deadLetters: [],
      ...change,
    });
  }
}
