// What the model knows: plain lists in the order of offsets. Nothing in it is ever changed in place, so a copy of the lists is a copy of all.
import type { DeadLetter } from "../../../src/channel/dead-letter-store.ts";
import type { LeaseEnd } from "../../../src/channel/delivery-store.ts";
import type { Effect, LeaseTerms, Origin, Outcome } from "../../../src/channel/operation.ts";
import type { ChannelRecord } from "../../../src/channel/store.ts";
import type { ControlEvent, ControlRecord, Message, PutMessage } from "../../../src/protocol/message.ts";
import type { Refusal } from "../../../src/protocol/problems.ts";
import type { Settings } from "../../../src/protocol/settings.ts";
import { type BesideState, NOTHING_BESIDE } from "./beside.ts";

export interface ModelLease {
  /** The pull that holds it: each has a number of its own. */
  readonly holder: number;
  readonly deadlineMs: number;
  /** The connection whose end ends it (rule LS9); undefined for a detached one. */
  readonly connection: number | undefined;
}

/**
 * A message. `fresh`: delivery has not looked at it; `parked`: delivery passed it, since an earlier one of its key was in the way;
 * `leased`; `back`: it was handed out and came back, perhaps to wait for a delay or in quarantine.
 */
export interface ModelMessage {
  readonly offset: number;
  readonly putAtMs: number;
  readonly bytes: number;
  readonly message: PutMessage;
  readonly control?: undefined;
  readonly state: "fresh" | "parked" | "leased" | "back";
  /** How often it was handed out and not released. */
  readonly attempts: number;
  readonly lease?: ModelLease | undefined;
  /** How its last lease ended. */
  readonly end?: LeaseEnd | undefined;
  /** When it may be handed out again; 0 for at once. */
  readonly dueAtMs: number;
  /** With a random pause: the earliest end of it; `dueAtMs` is then the latest, until the true one is adopted. */
  readonly dueFromMs?: number | undefined;
  readonly isQuarantined: boolean;
}

interface ModelControl {
  readonly offset: number;
  readonly putAtMs: number;
  readonly bytes: 0;
  readonly message?: undefined;
  readonly control: ControlEvent;
}

export type ModelRecord = ModelMessage | ModelControl;

export interface ModelWaiter extends Origin {
  readonly kind: "get" | "put";
  readonly min: number;
  readonly max: number;
  readonly bytes: number;
  readonly deadlineMs: number;
  readonly reservedUntilMs?: number;
  readonly lease?: LeaseTerms | undefined;
}

export interface ModelState extends BesideState {
  readonly record: ChannelRecord | undefined;
  readonly records: readonly ModelRecord[];
  readonly nextOffset: number;
  readonly put: number;
  readonly acked: number;
  readonly removed: number;
  readonly deadLettered: number;
  readonly deadLetters: readonly DeadLetter[];
  /** Where delivery goes on to look, and where it would after waking (rule KO5). */
  readonly frontier: number;
  readonly scanMark: number;
  /** When a message, a control record or a setting changed last. */
  readonly changedAtMs: number;
  /** When a tick found messages or waiters last; not stored. */
  readonly inUseAtMs: number;
  readonly gets: readonly ModelWaiter[];
  readonly puts: readonly ModelWaiter[];
  readonly promises: readonly ModelWaiter[];
}

const EMPTY: ModelState = {
  ...NOTHING_BESIDE,
  record: undefined,
  records: [],
  nextOffset: 1,
  put: 0,
  acked: 0,
  removed: 0,
  deadLettered: 0,
  deadLetters: [],
  frontier: 0,
  scanMark: 0,
  changedAtMs: 0,
  inUseAtMs: 0,
  gets: [],
  puts: [],
  promises: [],
};

export type Fate = "acked" | "removed" | "deadLettered";

/** The state, its changes, and answers to those who wait. */
export class Book {
  state: ModelState = EMPTY;
  /** Rises with each change that a commit or a socket keeps. */
  version = 0;
  /** What the channel answered to what is being decided: only for what the rules leave to it. */
  told: Outcome | undefined;
  #effects: Effect[] = [];

  get messages(): readonly ModelMessage[] {
    return this.state.records.filter((record) => record.message !== undefined);
  }

  get depth(): number {
    return this.messages.length;
  }

  get bytes(): number {
    return sum(this.state.records.map((record) => record.bytes));
  }

  get leased(): readonly ModelMessage[] {
    return this.messages.filter((message) => message.state === "leased");
  }

  /** The first record that a get looks at. */
  get headOffset(): number {
    return this.state.records[0]?.offset ?? this.state.nextOffset;
  }

  get waiters(): readonly ModelWaiter[] {
    const { gets, promises, puts } = this.state;
    return [...gets, ...promises, ...puts];
  }

  get existing(): ChannelRecord {
    if (this.state.record === undefined) throw new Error("The channel exists");
    return this.state.record;
  }

  find(offset: number): ModelMessage | undefined {
    return this.messages.find((message) => message.offset === offset);
  }

  change(change: Partial<ModelState>): void {
    this.state = { ...this.state, ...change };
    this.version += 1;
  }

  /** A change that is neither stored nor told: delivery has looked further. */
  note(change: Partial<ModelState>): void {
    this.state = { ...this.state, ...change };
  }

  update(offset: number, change: Partial<ModelMessage>): void {
    this.change({ records: this.#updated(offset, change) });
  }

  park(offset: number): void {
    this.note({ records: this.#updated(offset, { state: "parked" }) });
  }

  append(messages: readonly PutMessage[], sizes: readonly number[], nowMs: number): void {
    const offset = this.state.nextOffset;
    if (messages.length === 0) return;
    const added = messages.map((message, index): ModelMessage => {
      const place = { offset: offset + index, putAtMs: nowMs, bytes: sizes[index] ?? 0, message };
      return { ...place, state: "fresh", attempts: 0, dueAtMs: 0, isQuarantined: false };
    });
    this.change({
      records: [...this.state.records, ...added],
      nextOffset: offset + added.length,
      put: this.state.put + added.length,
      changedAtMs: nowMs,
    });
  }

  /** GR2: one that directly follows another supersedes it. */
  appendControl(control: ControlEvent, nowMs: number): void {
    const { records, nextOffset } = this.state;
    const last = records.at(-1);
    const others = last?.control !== undefined && last.offset === nextOffset - 1 ? records.slice(0, -1) : records;
    this.change({
      records: [...others, { offset: nextOffset, putAtMs: nowMs, bytes: 0, control }],
      nextOffset: nextOffset + 1,
      changedAtMs: nowMs,
    });
  }

  passControls(offsets: readonly number[], nowMs: number): void {
    if (offsets.length === 0) return;
    this.change({ records: this.state.records.filter(({ offset }) => !offsets.includes(offset)), changedAtMs: nowMs });
  }

  finish(offset: number, fate: Fate, nowMs: number): boolean {
    if (this.find(offset) === undefined) return false;
    this.change({
      records: this.state.records.filter((record) => record.offset !== offset),
      [fate]: this.state[fate] + 1,
      changedAtMs: nowMs,
    });
    return true;
  }

  /** All records, leases and parked messages are gone. */
  clear(change: Partial<ModelState>): void {
    this.change({ records: [], frontier: 0, scanMark: 0, ...change });
  }

  tell({ connection, request }: Origin, outcome: Outcome): void {
    this.#effects.push({ connection, request, outcome });
  }

  takeEffects(): Effect[] {
    return this.#effects.splice(0);
  }

  #updated(offset: number, change: Partial<ModelMessage>): ModelRecord[] {
    return this.state.records.map((record) =>
      record.offset === offset && record.message !== undefined ? { ...record, ...change } : record,
    );
  }
}

export function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

export function refused(refusal: Refusal): Extract<Outcome, { type: "refused" }> {
  return { type: "refused", refusal };
}

export function invalid(pointer: string): Extract<Outcome, { type: "refused" }> {
  return refused({ kind: "invalid-request", errors: [{ pointer, detail: "" }] });
}

export function tooLarge(unit: "messages" | "bytes", size: number, limit: number): Extract<Outcome, { type: "refused" }> {
  return refused({ kind: "batch-too-large", size, limit, unit });
}

export function messageOf({ message, offset, putAtMs }: ModelMessage): Message {
  return { ...message, offset, putAtMs };
}

export function controlOf(record: ModelRecord): ControlRecord[] {
  const { offset, putAtMs, control } = record;
  return control === undefined ? [] : [{ offset, putAtMs, control }];
}

/** The most that a channel can ever hold. */
export function ceilingOf({ limits, settings: { growth } }: ChannelRecord): { messages: number; bytes: number } {
  return {
    messages: Math.max(limits.maxMessages, growth?.maxMessages ?? 0),
    bytes: Math.max(limits.maxBytes, growth?.maxBytes ?? 0),
  };
}

export function refusalOfPut({ state, drainUntilMs }: ChannelRecord): Refusal | undefined {
  if (state === "draining") return { kind: "channel-draining", drainUntilMs };
  return state === "closed" ? { kind: "channel-closed" } : undefined;
}

export function deletedRefusal({ deletedAtMs, droppedMessages }: ChannelRecord): Refusal {
  return { kind: "channel-deleted", deletedAtMs: deletedAtMs ?? 0, droppedMessages };
}

export function faultOf({ growth, maxMessages, maxBytes }: Settings): string | undefined {
  if (growth === null) return undefined;
  if (growth.maxMessages < maxMessages) return "/growth/maxMessages";
  return growth.maxBytes < maxBytes ? "/growth/maxBytes" : undefined;
}
