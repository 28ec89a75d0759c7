// What the clients of the channel know from their answers, and the guarantees that can be told from that alone: nothing here asks the model.
import { listMessages } from "../../src/channel/put-batch.ts";
import type { Effect, Operation, Origin, Outcome } from "../../src/channel/operation.ts";
import type { DeadLetter } from "../../src/channel/dead-letter-store.ts";
import type { CheckpointEntry } from "../../src/protocol/checkpoint.ts";
import type { PutMessage, ScheduledMessage } from "../../src/protocol/message.ts";
import { expectHolds } from "./failure.ts";
import type { Seen } from "./invariants.ts";
import { Readings } from "./readings.ts";
import { RetryLedger } from "./retries.ts";

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
  /** When it was decided, and for how long the channel kept keys then. */
  readonly atMs: number;
  readonly keyWindowMs: number;
}

interface Delayed {
  readonly body: Uint8Array;
  readonly deliverAtMs: number;
}

/** The line of those that wait for room; readers wait in the lines of their groups. */
const PUTS = " puts";

/** Readers remember so many leases, those that are over too: late and repeated settles use them. */
const REMEMBERED_LEASES = 40;

export class Ledger {
  /** Bodies of messages that were put and whose end nobody was told of, by offset. */
  #standing = new Map<number, Uint8Array>();
  #leases: KnownLease[] = [];
  readonly #asked = new Set<string>();
  /** Of every lease that was made. */
  readonly #offsetOf = new Map<string, number>();
  #waiting: (Origin & { readonly line: string })[] = [];
  #life = "";
  #lastPutOffset = 0;
  /** Offsets of redriven messages: those are put without a put, and nobody is told their offsets. */
  #redriven = new Set<number>();
  /** By group, then key. */
  readonly #lastOfKey = new Map<number, Map<string, number>>();
  /** Whether a group began anew in this commit: what it handed out before that and after it can not be told apart. */
  #isOrderOpen = false;
  /** What clients put with a number or a key, and what they were told of it. */
  readonly retries = new RetryLedger();
  /** Tokens that members were told, of all lives, with their groups and where they were told. */
  readonly sessions: (Origin & { readonly resume: string; readonly group: string | undefined })[] = [];
  /** What subscribers were sent. */
  readonly readings = new Readings();
  /** Delayed messages by their ids: when they enter, nobody is told their offsets. */
  #scheduled = new Map<string, Delayed>();
  /** Of all lives. */
  readonly #scheduledIds = new Set<string>();
  /** The highest version of each checkpoint that was told. */
  readonly #versions = new Map<string, number>();
  /** Messages that may have ended without a word since the last look: dropped from quarantine, removed or purged unseen. */
  #endedInSilence = 0;
  /** What stood at a purge of this commit: some of it may have been taken before, which is told behind. */
  #purged: ReadonlyMap<number, Uint8Array> = new Map();
  /** How many ended without a word to anybody until the last look, by the counts of the channel. */
  #silentEnds = 0;

  readonly #isOpen: (connection: number) => boolean;

  constructor(isOpen: (connection: number) => boolean) {
    this.#isOpen = isOpen;
  }

  get leases(): readonly KnownLease[] {
    return this.#leases;
  }

  /** Those that members were asked to release. */
  get askedLeases(): readonly KnownLease[] {
    return this.#leases.filter(({ leaseId }) => this.#asked.has(leaseId));
  }

  noteAsked(leaseIds: readonly string[]): void {
    for (const leaseId of leaseIds) this.#asked.add(leaseId);
  }

  /** Some ids of messages that were scheduled at some time. */
  get scheduledIds(): readonly string[] {
    return [...this.#scheduledIds].slice(-REMEMBERED_LEASES);
  }

  /** What a commit carried. `isAnswered`: whether the answer reached who asked; what it did stands anyway. */
  note(said: Said, isAnswered: boolean): void {
    const { operation, origin, outcome, life, isQueue } = said;
    if (life !== this.#life) this.#beginLife(life);
    if (outcome.type === "put" && operation?.type === "put") {
      this.retries.noteOutcome(operation, outcome, said);
      if (outcome.isDuplicate !== true) this.#noteAccepted(listMessages(operation.messages), outcome);
    }
    if (outcome.type === "unscheduled") this.#scheduled.delete(outcome.scheduledId);
    if (outcome.type === "checkpoint-written") this.#noteVersion(outcome.checkpoint);
    if (outcome.type === "got" || (outcome.type === "delivered" && outcome.granted !== undefined))
      this.#noteGot(outcome, said, isAnswered);
    this.#noteStream(said, isAnswered);
    if (outcome.type === "removed" && !this.#standing.delete(outcome.offset)) this.#endedInSilence += 1;
    if (outcome.type === "purged") this.#notePurged(outcome.removedMessages);
    if (outcome.type === "moved" && operation?.type === "drop-quarantine" && isQueue) this.#endedInSilence += outcome.moved;
    if (outcome.type === "settled" && operation?.type === "settle") this.#noteSettled(operation, outcome, isQueue);
    // It may begin anew; to tell which one it is would need the model.
    if (operation?.type === "seek-group" || operation?.type === "delete-group") this.#isOrderOpen = true;
    const line = operation?.type === "get" ? (operation.group ?? "default") : PUTS;
    this.#waiting = this.#waiting.filter(({ connection }) => this.#isOpen(connection));
    if (outcome.type === "waiting" && origin !== undefined) this.#waiting.push({ ...origin, line });
    if (outcome.type === "room" && operation?.type === "reserve") return;
    if (operation === undefined && origin !== undefined) this.#noteServed({ ...origin, outcome });
  }

  /** All that a commit carried was noted. */
  endCommit(): void {
    if (this.#isOrderOpen) this.#lastOfKey.clear();
    this.#isOrderOpen = false;
    this.#purged = new Map();
  }

  /** A connection is gone, and its number may be given again. */
  forgetConnection(connection: number): void {
    this.#waiting = this.#waiting.filter((waiter) => waiter.connection !== connection);
    this.readings.forgetConnection(connection);
  }

  /** G1 and G8: what was put and did not end is there, whole and unchanged, and nothing else is. */
  check({ messages: kept, scheduled, facts }: Seen, letters: readonly DeadLetter[]): void {
    const { counts, settings } = facts;
    for (const { offset, body, redrivenFrom } of kept) {
      if (redrivenFrom === undefined) this.#noteEntered(offset, body);
      else if (!this.#redriven.has(offset)) {
        this.#redriven.add(offset);
        this.#standing.set(offset, body);
      }
    }
    const enteredUnseen = this.#checkScheduled(scheduled);
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
    const lost = left.size + enteredUnseen.length;
    expectHolds(lost <= silent, `[G1] lost without a word: ${[...left.keys(), ...enteredUnseen].join(", ")}`);
    this.#endedInSilence = 0;
    this.#silentEnds = silentEnds;
    this.readings.check(kept);
  }

  #noteStream({ operation, origin, outcome, life }: Said, isAnswered: boolean): void {
    const asked = operation?.type === "subscribe" || operation?.type === "credit" ? operation : undefined;
    if (asked?.type === "subscribe") this.readings.noteRefused(asked, outcome, life);
    const isMember = asked?.type === "subscribe" && asked.target.type === "member" && outcome.type === "subscribed";
    if (isMember && isAnswered && origin !== undefined)
      this.sessions.push({ ...origin, resume: outcome.resume ?? "", group: asked.target.group });
    if (isAnswered && origin !== undefined && this.#isOpen(origin.connection)) this.readings.note(asked, origin, outcome);
  }

  #beginLife(life: string): void {
    this.#life = life;
    this.#standing = new Map();
    this.#redriven = new Set();
    this.#lastPutOffset = 0;
    this.#lastOfKey.clear();
    this.retries.beginLife();
    this.readings.beginLife();
    this.#scheduled = new Map();
    this.#versions.clear();
    this.#endedInSilence = 0;
    this.#silentEnds = 0;
  }

  /** SD2: those that are scheduled enter later, with an offset that nobody is told. */
  #noteAccepted(messages: readonly PutMessage[], { offset, scheduled = [] }: Extract<Outcome, { type: "put" }>): void {
    for (const { index, scheduledId, deliverAtMs } of scheduled) {
      expectHolds(!this.#scheduledIds.has(scheduledId), `[SD8] the id ${scheduledId} was used before`);
      this.#scheduledIds.add(scheduledId);
      this.#scheduled.set(scheduledId, { body: messages[index]?.body ?? new Uint8Array(), deliverAtMs });
    }
    const later = new Set(scheduled.map(({ index }) => index));
    this.#notePut(
      messages.filter((_, index) => !later.has(index)),
      offset ?? 0,
    );
  }

  /** A message is seen at an offset that nobody was told: it was scheduled. */
  #noteEntered(offset: number, body: Uint8Array): void {
    if (this.#standing.has(offset)) return;
    // Of several with one body, which are mostly empty ones, the first that was due.
    const alike = [...this.#scheduled].filter(([, delayed]) => isSameBytes(delayed.body, body));
    const [first] = alike.sort(([, a], [, b]) => a.deliverAtMs - b.deliverAtMs);
    if (first === undefined) return;
    this.#scheduled.delete(first[0]);
    this.#standing.set(offset, body);
  }

  /** SD7: what is scheduled is there whole; returns what was and entered, and ended before anybody saw it. */
  #checkScheduled(listed: readonly ScheduledMessage[]): string[] {
    for (const { scheduledId, body } of listed) {
      const expected = this.#scheduled.get(scheduledId);
      const isRight = expected !== undefined && isSameBytes(expected.body, body);
      expectHolds(isRight, `[G8] ${scheduledId} is scheduled, but was never put so, was cancelled or has entered`);
    }
    const ids = new Set(listed.map(({ scheduledId }) => scheduledId));
    const gone = [...this.#scheduled.keys()].filter((scheduledId) => !ids.has(scheduledId));
    for (const scheduledId of gone) this.#scheduled.delete(scheduledId);
    return gone;
  }

  /** CP2. */
  #noteVersion({ name, version }: CheckpointEntry): void {
    const last = this.#versions.get(name) ?? 0;
    expectHolds(version > last, `[CP2] the checkpoint ${name} got the version ${version} after ${last}`);
    this.#versions.set(name, version);
  }

  #notePurged(removedMessages: number): void {
    // Of those that entered since the last look nobody was told.
    this.#endedInSilence += Math.max(0, removedMessages - this.#standing.size);
    this.#purged = new Map([...this.#purged, ...this.#standing]);
    this.#standing = new Map();
  }

  #notePut(messages: readonly { readonly body: Uint8Array }[], offset: number): void {
    if (messages.length === 0) return;
    expectHolds(offset > this.#lastPutOffset, `[G2] a put got the offset ${offset} after ${this.#lastPutOffset}`);
    this.#lastPutOffset = offset + messages.length - 1;
    for (const [index, { body }] of messages.entries()) this.#standing.set(offset + index, body);
  }

  #noteGot(
    { messages, granted }: Extract<Outcome, { type: "got" | "delivered" }>,
    { isQueue, group = 0 }: Said,
    isAnswered: boolean,
  ): void {
    const lastOfKey = this.#lastOfKey.get(group) ?? new Map<string, number>();
    this.#lastOfKey.set(group, lastOfKey);
    for (const [index, { offset, key, body, redrivenFrom }] of messages.entries()) {
      if (this.#purged.has(offset)) {
        // It was none of those that the purge removed: one more of them was unseen.
        if (granted === undefined && isQueue) this.#endedInSilence += 1;
      } else if (redrivenFrom === undefined) this.#noteEntered(offset, body);
      if (granted === undefined && isQueue) this.#standing.delete(offset);
      const isFirst = granted?.redelivered[index] !== true && granted !== undefined;
      if (key !== undefined && isFirst) {
        const last = lastOfKey.get(key) ?? 0;
        expectHolds(offset > last || this.#isOrderOpen, `[G5] ${offset} of the key ${key} was handed out first after ${last}`);
        lastOfKey.set(key, offset);
      }
      const leaseId = granted?.leaseIds[index];
      if (leaseId === undefined) continue;
      this.#offsetOf.set(leaseId, offset);
      if (isAnswered) this.#leases.push({ leaseId, offset, key });
    }
    if (this.#leases.length > REMEMBERED_LEASES) this.#leases = this.#leases.slice(-REMEMBERED_LEASES);
  }

  #noteSettled(
    { entries, puts }: Extract<Operation, { type: "settle" }>,
    outcome: Extract<Outcome, { type: "settled" }>,
    isQueue: boolean,
  ): void {
    const { refused, checkpoint, put } = outcome;
    if (checkpoint !== undefined) this.#noteVersion(checkpoint);
    if (put !== undefined) this.#notePut(puts ?? [], put.offset);
    const lost = new Set(refused.map(({ pointer }) => pointer));
    for (const { verb, leaseId, pointer } of entries) {
      if (isQueue && verb === "ack" && !lost.has(pointer)) this.#standing.delete(this.#offsetOf.get(leaseId) ?? 0);
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
