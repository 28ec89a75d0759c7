// What clients put with a number or an idempotency key, so that they can send it again: each is stored once (G9). Nothing here asks the
// model.
import type { OperationOf, Outcome } from "../../src/channel/operation.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import { expectHolds } from "./failure.ts";

type Put = OperationOf<"put">;

interface Accepted {
  readonly atMs: number;
  readonly offset: number | null;
  readonly count: number;
}

/** When a put was decided, and for how long keys were kept then. */
interface When {
  readonly atMs: number;
  readonly keyWindowMs: number;
}

/** Clients remember so many of their puts, whether they were answered or not. */
const REMEMBERED_PUTS = 12;

export class RetryLedger {
  #sent: readonly Put[] = [];
  /** The last put that was stored of each number and key. */
  readonly #accepted = new Map<string, Accepted>();
  /** When a producer had a put accepted last. */
  readonly #usedAtMs = new Map<string, number>();
  /** What was forgotten by time stays so when the clock is set back. */
  #latestMs = 0;

  /** The last first; also those that were never committed, or whose answers were lost. */
  get sent(): readonly Put[] {
    return this.#sent;
  }

  noteSent(put: Put): void {
    if (put.producer === undefined && put.idempotencyKey === undefined) return;
    // What is sent again is as it was, but its room is promised anew.
    const { isPromised: _, ...again } = put;
    this.#sent = [again, ...this.#sent.filter(({ messages }) => messages !== put.messages)].slice(0, REMEMBERED_PUTS);
  }

  /** G9: a number or a key is stored once, and its retry is told what became of it. */
  noteOutcome(put: Put, outcome: Extract<Outcome, { type: "put" }>, { atMs, keyWindowMs }: When): void {
    this.#latestMs = Math.max(this.#latestMs, atMs);
    const { producer, idempotencyKey } = put;
    if (producer !== undefined) {
      const { id, epoch, seq } = producer;
      const isForgotten = this.#mayBeForgotten(id);
      // Whoever is forgotten begins anew, with all of its numbers.
      if (isForgotten && seq === 1 && outcome.isDuplicate !== true) this.#forgetNumbers(id);
      this.#noteNamed(`number ${id} ${epoch} ${seq}`, outcome, { atMs, isForgotten });
      if (outcome.isDuplicate !== true) this.#usedAtMs.set(id, atMs);
    }
    if (idempotencyKey !== undefined) {
      const name = `key ${idempotencyKey}`;
      const isForgotten = this.#latestMs - (this.#accepted.get(name)?.atMs ?? -Infinity) >= keyWindowMs;
      this.#noteNamed(name, outcome, { atMs, isForgotten });
    }
  }

  beginLife(): void {
    this.#accepted.clear();
    this.#usedAtMs.clear();
  }

  /** DD5: by its idleness alone, or because others needed its place. */
  #mayBeForgotten(producerId: string): boolean {
    const idleMs = this.#latestMs - (this.#usedAtMs.get(producerId) ?? -Infinity);
    const isPlaceNeeded = this.#usedAtMs.size >= LIMITS.producersMax;
    return idleMs >= (isPlaceNeeded ? LIMITS.producerIdleMsMin : LIMITS.producerIdleMs);
  }

  #forgetNumbers(producerId: string): void {
    for (const name of this.#accepted.keys()) if (name.startsWith(`number ${producerId} `)) this.#accepted.delete(name);
  }

  #noteNamed(
    name: string,
    { isDuplicate, offset, count }: Extract<Outcome, { type: "put" }>,
    { atMs, isForgotten }: { readonly atMs: number; readonly isForgotten: boolean },
  ): void {
    const first = this.#accepted.get(name);
    if (isDuplicate === true) {
      const isTold = offset === null || (first?.offset === offset && first.count === count);
      expectHolds(
        first !== undefined && isTold,
        `[G9] the ${name} was accepted at ${first?.offset}, and a retry was told ${offset}`,
      );
      return;
    }
    expectHolds(first === undefined || isForgotten, `[G9] the ${name} was stored twice`);
    this.#accepted.set(name, { atMs, offset, count });
  }
}
