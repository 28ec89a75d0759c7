// What the clients of the channel know from their answers, and the guarantees that can be told from that alone: nothing here asks the model.
import type { ChannelFacts, Effect, Operation, Origin, Outcome } from "../../src/channel/operation.ts";
import type { DeadLetter } from "../../src/channel/dead-letter-store.ts";
import type { Message } from "../../src/protocol/message.ts";
import { expectHolds } from "./failure.ts";

/** A lease that a reader was told of. */
export interface KnownLease {
  readonly leaseId: string;
  readonly offset: number;
  readonly key: string | undefined;
}

export interface Said {
  readonly operation: Operation | undefined;
  readonly origin: Origin | undefined;
  readonly outcome: Outcome;
  /** The life of the channel that the answer is about. */
  readonly life: string;
  /** Whether messages end for all when one reader is done with them. */
  readonly isQueue: boolean;
  /** The number of the group that was given leases. */
  readonly group: number | undefined;
}

/** The line of those that wait for room; readers wait in the lines of their groups. */
const PUTS = " puts";

/** Readers remember so many leases, those that are over too: late and repeated settles use them. */
const REMEMBERED_LEASES = 40;

export class Ledger {
  /** Bodies of messages that were put and whose end nobody was told of, by offset. */
  #standing = new Map<number, Uint8Array>();
  #leases: KnownLease[] = [];
  /** Of every lease that was made. */
  readonly #offsetOf = new Map<string, number>();
  #waiting: (Origin & { readonly line: string })[] = [];
  #life = "";
  #lastPutOffset = 0;
  /** Offsets of redriven messages: those are put without a put, and nobody is told their offsets. */
  #redriven = new Set<number>();
  /** By group, then key. */
  readonly #lastOfKey = new Map<number, Map<string, number>>();
  /** Messages that were dropped from quarantine since the last look. */
  #endedInSilence = 0;
  /** How many ended without a word to anybody until the last look, by the counts of the channel. */
  #silentEnds = 0;

  readonly #isOpen: (connection: number) => boolean;

  constructor(isOpen: (connection: number) => boolean) {
    this.#isOpen = isOpen;
  }

  get leases(): readonly KnownLease[] {
    return this.#leases;
  }

  /** What a commit carried. `isAnswered`: whether the answer reached who asked; what it did stands anyway. */
  note({ operation, origin, outcome, life, isQueue, group = 0 }: Said, isAnswered: boolean): void {
    if (life !== this.#life) this.#beginLife(life);
    if (outcome.type === "put" && operation?.type === "put") this.#notePut(operation.messages, outcome.offset ?? 0);
    if (outcome.type === "got") this.#noteGot(outcome, { isAnswered, isQueue, group });
    if (outcome.type === "removed") this.#standing.delete(outcome.offset);
    if (outcome.type === "purged") this.#standing = new Map();
    if (outcome.type === "moved" && operation?.type === "drop-quarantine" && isQueue) this.#endedInSilence += outcome.moved;
    if (outcome.type === "settled" && operation?.type === "settle" && isQueue) this.#noteSettled(operation, outcome);
    // It may begin anew; to tell which one it is would need the model.
    if (operation?.type === "seek-group" || operation?.type === "delete-group") this.#lastOfKey.clear();
    const line = operation?.type === "get" ? (operation.group ?? "default") : PUTS;
    this.#waiting = this.#waiting.filter(({ connection }) => this.#isOpen(connection));
    if (outcome.type === "waiting" && origin !== undefined) this.#waiting.push({ ...origin, line });
    if (outcome.type === "room" && operation?.type === "reserve") return;
    if (operation === undefined && origin !== undefined) this.#noteServed({ ...origin, outcome });
  }

  /** A connection is gone, and its number may be given again. */
  forgetConnection(connection: number): void {
    this.#waiting = this.#waiting.filter((waiter) => waiter.connection !== connection);
  }

  /** G1 and G8: what was put and did not end is there, whole and unchanged, and nothing else is. */
  check(kept: readonly Message[], letters: readonly DeadLetter[], { counts, settings }: ChannelFacts): void {
    for (const { offset, body, redrivenFrom } of kept) {
      if (redrivenFrom === undefined || this.#redriven.has(offset)) continue;
      this.#redriven.add(offset);
      this.#standing.set(offset, body);
    }
    const left = new Map(this.#standing);
    for (const { offset, body } of kept) {
      const expected = left.get(offset);
      expectHolds(expected !== undefined, `[G8] the message at ${offset} was never put, or it ended`);
      expectHolds(expected !== undefined && isSameBytes(expected, body), `[G1] the message at ${offset} has another body`);
      left.delete(offset);
    }
    for (const { message } of letters) if (left.delete(message.offset)) this.#standing.delete(message.offset);
    for (const offset of left.keys()) this.#standing.delete(offset);
    // What died and was dropped from the dead letters in one commit, or was given up or expired, left no other trace than its count.
    // With interest nobody is told when the last group was done with a message.
    const { deadLettered, dropped, expired, acked } = counts;
    const silentEnds = deadLettered + dropped + expired + (settings.retention === "interest" ? acked : 0);
    const silent = this.#endedInSilence + Math.max(0, silentEnds - this.#silentEnds);
    expectHolds(left.size <= silent, `[G1] lost without a word: ${[...left.keys()].join(", ")}`);
    this.#endedInSilence = 0;
    this.#silentEnds = silentEnds;
  }

  #beginLife(life: string): void {
    this.#life = life;
    this.#standing = new Map();
    this.#redriven = new Set();
    this.#lastPutOffset = 0;
    this.#lastOfKey.clear();
    this.#endedInSilence = 0;
    this.#silentEnds = 0;
  }

  #notePut(messages: readonly { readonly body: Uint8Array }[], offset: number): void {
    if (messages.length === 0) return;
    expectHolds(offset > this.#lastPutOffset, `[G2] a put got the offset ${offset} after ${this.#lastPutOffset}`);
    this.#lastPutOffset = offset + messages.length - 1;
    for (const [index, { body }] of messages.entries()) this.#standing.set(offset + index, body);
  }

  #noteGot(
    { messages, granted }: Extract<Outcome, { type: "got" }>,
    { isAnswered, isQueue, group }: { readonly isAnswered: boolean; readonly isQueue: boolean; readonly group: number },
  ): void {
    const lastOfKey = this.#lastOfKey.get(group) ?? new Map<string, number>();
    this.#lastOfKey.set(group, lastOfKey);
    for (const [index, { offset, key }] of messages.entries()) {
      if (granted === undefined && isQueue) this.#standing.delete(offset);
      const isFirst = granted?.redelivered[index] !== true && granted !== undefined;
      if (key !== undefined && isFirst) {
        const last = lastOfKey.get(key) ?? 0;
        expectHolds(offset > last, `[G5] ${offset} of the key ${key} was handed out first after ${last}`);
        lastOfKey.set(key, offset);
      }
      const leaseId = granted?.leaseIds[index];
      if (leaseId === undefined) continue;
      this.#offsetOf.set(leaseId, offset);
      if (isAnswered) this.#leases.push({ leaseId, offset, key });
    }
    if (this.#leases.length > REMEMBERED_LEASES) this.#leases = this.#leases.slice(-REMEMBERED_LEASES);
  }

  #noteSettled({ entries }: Extract<Operation, { type: "settle" }>, { refused }: Extract<Outcome, { type: "settled" }>): void {
    const lost = new Set(refused.map(({ pointer }) => pointer));
    for (const { verb, leaseId, pointer } of entries) {
      if (verb === "ack" && !lost.has(pointer)) this.#standing.delete(this.#offsetOf.get(leaseId) ?? 0);
    }
  }

  /** G7: whoever is served came before all that still wait. */
  #noteServed({ connection, request, outcome }: Effect): void {
    const index = this.#waiting.findIndex((waiter) => waiter.connection === connection && waiter.request === request);
    const waiter = this.#waiting[index];
    if (waiter === undefined) return;
    const isServed = outcome.type === "room" || (outcome.type === "got" && outcome.messages.length > 0);
    const isFirst = !this.#waiting
      .slice(0, index)
      .some((earlier) => earlier.line === waiter.line && this.#isOpen(earlier.connection));
    expectHolds(!isServed || isFirst, `[G7] request ${request} of connection ${connection} was served before earlier ones`);
    this.#waiting.splice(index, 1);
  }
}

function isSameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
