// Delayed messages: accepted and counted, but without an offset until their time has come. SPEC section SD.
// Knows their order, totals and rows; knows nothing of limits, waiting or the life cycle.
import { assert } from "../base/assert.ts";
import { Block } from "../protocol/block.ts";
import { encodeStoredBlock } from "../protocol/block-writer.ts";
import { LIMITS } from "../protocol/limits.ts";
import { contentOf, messageBytes, type PutMessage, type ScheduledMessage } from "../protocol/message.ts";
import type {
  NewScheduled,
  ScheduleChanges,
  ScheduledEntry,
  ScheduledKey,
  ScheduleStore,
  ScheduleTotals,
} from "./schedule-store.ts";

const NOTHING_SCHEDULED: ScheduleTotals = { messages: 0, bytes: 0, nextAtMs: null, lastId: 0 };
const BEFORE_ALL: ScheduledKey = { dueAtMs: -1, id: 0 };
/** Entries that are read at once where only the first is wanted: those before it may be cancelled in the same commit. */
const LOOK_AHEAD = 16;

export interface ScheduledPage {
  readonly messages: readonly ScheduledMessage[];
  /** The `after` of the next page; null at the end. */
  readonly next: string | null;
}

/** How many entries are wanted, and by when they are due; at any time if absent. */
interface Range {
  readonly limit: number;
  readonly dueByMs?: number;
}

/**
 * Background: tens of thousands of messages may be scheduled, with 16 MiB each, and whoever wakes must know at once how many there are
 * and when the first is due. So only totals are in memory, and one row keeps them.
 *
 * The store shows what was committed, while several operations are decided against one commit. What it does not show yet is kept here:
 * entries that are new, entries that are cancelled, and up to which key everything stored is gone. The last makes one range of what
 * enters, since that is always a beginning of the order, and spares looking at it again.
 *
 * Invariant: what is scheduled = (stored entries after `#goneUpTo`, without `#cancelled`) and `#added`.
 */
export class Schedule {
  readonly #store: ScheduleStore;
  #messages: number;
  #bytes: number;
  #lastId: number;
  /** Not later than the time of the first entry; `#isNextExact` tells whether it is that. */
  #nextAtMs: number | null;
  #isNextExact = true;
  /** How many are stored. */
  #storedMessages: number;

  // What the next commit changes.
  #isCleared = false;
  #goneUpTo = BEFORE_ALL;
  readonly #cancelled = new Map<number, ScheduledKey>();
  readonly #added = new Map<number, NewScheduled>();
  #isChanged = false;
  /** What entered in this commit already (rule SD6). */
  #entered = { messages: 0, bytes: 0 };

  constructor(store: ScheduleStore) {
    const totals = store.readTotals() ?? NOTHING_SCHEDULED;
    this.#store = store;
    this.#messages = totals.messages;
    this.#storedMessages = totals.messages;
    this.#bytes = totals.bytes;
    this.#nextAtMs = totals.nextAtMs;
    this.#lastId = totals.lastId;
  }

  get messages(): number {
    return this.#messages;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** When the first message is due; undefined when nothing is scheduled. */
  get nextAtMs(): number | undefined {
    if (!this.#isNextExact) {
      this.#nextAtMs = this.#upcoming(BEFORE_ALL, { limit: 1 })[0]?.dueAtMs ?? null;
      this.#isNextExact = true;
    }
    return this.#nextAtMs ?? undefined;
  }

  /** Accepts a message that is due later than now, and returns its `scheduledId`. */
  add(message: PutMessage, dueAtMs: number, nowMs: number): string {
    // Not lower than the time: no id comes back after storage was erased, as with the versions of the outbox.
    const id = Math.max(nowMs, this.#lastId + 1);
    const bytes = messageBytes(message);
    const block = encodeStoredBlock([{ ...message, isControl: false, putAtMs: nowMs }], 1);
    this.#lastId = id;
    this.#added.set(id, { dueAtMs, id, bytes, block });
    this.#count(1, bytes);
    this.#nextAtMs = Math.min(this.#nextAtMs ?? dueAtMs, dueAtMs);
    return formatScheduledId({ dueAtMs, id });
  }

  /** Cancels a message; false when it is not scheduled (any more). */
  cancel(scheduledId: string): boolean {
    const key = parseScheduledId(scheduledId);
    const entry = this.#find(key);
    if (entry === undefined) return false;
    if (!this.#added.delete(key.id)) this.#cancelled.set(key.id, key);
    this.#leave([entry]);
    return true;
  }

  /** Takes out what is due, in its order, as far as one commit may (rule SD6). */
  takeDue(nowMs: number): readonly PutMessage[] {
    // The bound is looked at first: an operation that finds nothing due must cost nothing.
    if (this.#nextAtMs === null || this.#nextAtMs > nowMs) return [];
    const room = LIMITS.scheduledEntryMessagesMax - this.#entered.messages;
    if (room <= 0 || (this.nextAtMs ?? Infinity) > nowMs) return [];
    const due: ScheduledEntry[] = [];
    const messages: PutMessage[] = [];
    for (const entry of this.#upcoming(BEFORE_ALL, { limit: room, dueByMs: nowMs })) {
      const bytes = this.#entered.bytes + entry.bytes;
      if (this.#entered.messages > 0 && bytes > LIMITS.scheduledEntryBytesMax) break;
      messages.push(this.#read(entry));
      due.push(entry);
      this.#entered = { messages: this.#entered.messages + 1, bytes };
    }
    for (const entry of due) if (!this.#added.delete(entry.id)) this.#goneUpTo = laterOf(this.#goneUpTo, entry);
    this.#leave(due);
    return messages;
  }

  /** Shows what is scheduled after `after`; changes nothing. */
  list(after: string | undefined, limit: number): ScheduledPage {
    const messages: ScheduledMessage[] = [];
    let bytes = 0;
    for (const entry of this.#upcoming(after === undefined ? BEFORE_ALL : parseScheduledId(after), { limit: limit + 1 })) {
      bytes += entry.bytes;
      const isFull = messages.length === limit || (messages.length > 0 && bytes > LIMITS.replyBytesMax);
      if (isFull) return { messages, next: messages.at(-1)?.scheduledId ?? null };
      messages.push(this.#read(entry));
    }
    return { messages, next: null };
  }

  /** Drops everything: the life is over. Ids go on. */
  clear(): void {
    if (this.#storedMessages > 0) {
      this.#isCleared = true;
      this.#isChanged = true;
    }
    this.#goneUpTo = BEFORE_ALL;
    this.#cancelled.clear();
    this.#added.clear();
    this.#messages = 0;
    this.#bytes = 0;
    this.#nextAtMs = null;
    this.#isNextExact = true;
  }

  /** Hands over what has to be written and begins the next commit; undefined when nothing changed. */
  takeChanges(): ScheduleChanges | undefined {
    this.#entered = { messages: 0, bytes: 0 };
    if (!this.#isChanged) return undefined;
    const nextAtMs = this.nextAtMs ?? null;
    const goneUpTo = this.#goneUpTo;
    const changes: ScheduleChanges = {
      isCleared: this.#isCleared,
      deleteUpTo: goneUpTo === BEFORE_ALL ? undefined : goneUpTo,
      deleteEntries: [...this.#cancelled.values()].filter((key) => compareKeys(key, goneUpTo) > 0),
      insertEntries: [...this.#added.values()],
      totals: { messages: this.#messages, bytes: this.#bytes, nextAtMs, lastId: this.#lastId },
    };
    this.#isCleared = false;
    this.#goneUpTo = BEFORE_ALL;
    this.#cancelled.clear();
    this.#added.clear();
    this.#isChanged = false;
    this.#storedMessages = this.#messages;
    return changes;
  }

  #find(key: ScheduledKey): ScheduledEntry | undefined {
    const added = this.#added.get(key.id);
    if (added !== undefined) return added.dueAtMs === key.dueAtMs ? added : undefined;
    const isGone = this.#isCleared || this.#cancelled.has(key.id) || compareKeys(key, this.#goneUpTo) <= 0;
    return isGone ? undefined : this.#store.readEntry(key);
  }

  /** The first entries after a key. Where it looks from the beginning on, what is cancelled there is not looked at again. */
  #upcoming(after: ScheduledKey, { limit, dueByMs = Number.MAX_SAFE_INTEGER }: Range): ScheduledEntry[] {
    const entries: ScheduledEntry[] = this.#isCleared ? [] : this.#storedAfter(after, { limit, dueByMs });
    if (this.#added.size === 0) return entries;
    for (const entry of this.#added.values()) {
      if (entry.dueAtMs <= dueByMs && compareKeys(entry, after) > 0) entries.push(entry);
    }
    return entries.sort(compareKeys).slice(0, limit);
  }

  #storedAfter(after: ScheduledKey, { limit, dueByMs }: Required<Range>): ScheduledEntry[] {
    const found: ScheduledEntry[] = [];
    const pageSize = limit + Math.min(this.#cancelled.size, LOOK_AHEAD);
    let from = laterOf(after, this.#goneUpTo);
    // Ends: each page begins after the last one.
    for (;;) {
      const page = this.#store.readEntriesAfter(from, { dueByMs, limit: pageSize });
      for (const entry of page) {
        const isCancelled = this.#cancelled.has(entry.id);
        if (!isCancelled) found.push(entry);
        else if (found.length === 0 && after === BEFORE_ALL) this.#goneUpTo = { dueAtMs: entry.dueAtMs, id: entry.id };
        if (found.length === limit) return found;
      }
      const last = page.at(-1);
      if (last === undefined || page.length < pageSize) return found;
      from = last;
    }
  }

  #read(entry: ScheduledEntry): ScheduledMessage {
    const block = Block.ofStored(this.#added.get(entry.id)?.block ?? this.#store.readBlock(entry));
    const message = block.message(0);
    return { scheduledId: formatScheduledId(entry), deliverAtMs: entry.dueAtMs, putAtMs: message.putAtMs, ...contentOf(message) };
  }

  #leave(entries: readonly ScheduledEntry[]): void {
    for (const entry of entries) this.#count(-1, -entry.bytes);
    // Its time may have been the nearest one; which that is now is looked up when it matters.
    if (entries.some((entry) => entry.dueAtMs === this.#nextAtMs)) this.#isNextExact = false;
    assert(this.#messages >= 0 && this.#bytes >= 0, "what is scheduled is counted");
  }

  #count(messages: number, bytes: number): void {
    this.#messages += messages;
    this.#bytes += bytes;
    this.#isChanged = true;
  }
}

function formatScheduledId({ dueAtMs, id }: ScheduledKey): string {
  return `${dueAtMs}-${id}`;
}

function parseScheduledId(scheduledId: string): ScheduledKey {
  const [dueAtMs, id] = scheduledId.split("-");
  return { dueAtMs: Number(dueAtMs), id: Number(id) };
}

function compareKeys(a: ScheduledKey, b: ScheduledKey): number {
  return a.dueAtMs - b.dueAtMs || a.id - b.id;
}

function laterOf(a: ScheduledKey, b: ScheduledKey): ScheduledKey {
  return compareKeys(a, b) < 0 ? b : a;
}
