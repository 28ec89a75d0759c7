// Messages that the scan has passed and that are neither leased nor ended, with the rows that store them (one for each range of offsets).
import { shortenTogether } from "./attempt-history.ts";
import { Deadlines } from "./deadlines.ts";
import type { Deferred, DeferredRow } from "./delivery-store.ts";
import { LIMITS } from "../protocol/limits.ts";

export class DeferredBook {
  readonly #buckets = new Map<number, Map<number, Deferred>>();
  readonly #due = new Deadlines();
  readonly #storedBuckets = new Set<number>();
  readonly #changedBuckets = new Set<number>();
  /** Messages before it are known from rows alone; later ones that are only parked are found again by the scan. */
  #scanMark: number;
  #size = 0;
  #parked = 0;
  #quarantined = 0;

  constructor(scanMark: number) {
    this.#scanMark = scanMark;
  }

  restore(rows: Iterable<DeferredRow>, isOpen: (offset: number) => boolean): Deferred[] {
    const restored: Deferred[] = [];
    for (const { bucket, messages } of rows) {
      this.#storedBuckets.add(bucket);
      for (const message of messages) if (isOpen(message.offset)) restored.push(message);
    }
    for (const message of restored) this.#insert(message);
    return restored;
  }

  /** Messages that wait behind an earlier one of their key and were never handed out. */
  get parked(): number {
    return this.#parked;
  }

  get quarantined(): number {
    return this.#quarantined;
  }

  get size(): number {
    return this.#size;
  }

  get scanMark(): number {
    return this.#scanMark;
  }

  get firstDueAtMs(): number | undefined {
    return this.#due.firstAtMs;
  }

  find(offset: number): Deferred | undefined {
    return this.#buckets.get(bucketOf(offset))?.get(offset);
  }

  *all(): Iterable<Deferred> {
    for (const messages of this.#buckets.values()) yield* messages.values();
  }

  *offsets(): Iterable<number> {
    for (const messages of this.#buckets.values()) yield* messages.keys();
  }

  /** Adds a message, or replaces what was known of it. */
  set(message: Deferred): void {
    this.remove(message.offset);
    this.#insert(message);
    if (isKept(message, this.#scanMark)) this.#changedBuckets.add(bucketOf(message.offset));
  }

  remove(offset: number): void {
    const message = this.find(offset);
    if (message === undefined) return;
    this.#forget(offset);
    if (isKept(message, this.#scanMark)) this.#changedBuckets.add(bucketOf(offset));
  }

  /** Notes that the delay of a message is not over, whatever was said before. */
  awaitDue({ offset, dueAtMs }: Deferred): void {
    this.#due.set(offset, dueAtMs);
  }

  /** Takes those whose delay is over. */
  takeDue(nowMs: number): Deferred[] {
    return this.#due
      .takeDue(nowMs)
      .map((offset) => this.find(offset))
      .filter((message) => message !== undefined);
  }

  /** From now on what was parked before `offset` is stored, so that waking need not look for it. */
  moveScanMark(offset: number): void {
    const from = this.#scanMark;
    this.#scanMark = offset;
    for (const bucket of this.#buckets.keys()) {
      if (bucket >= bucketOf(from) && bucket <= bucketOf(offset)) this.#changedBuckets.add(bucket);
    }
  }

  clear(): void {
    this.#buckets.clear();
    this.#due.clear();
    this.#storedBuckets.clear();
    this.#changedBuckets.clear();
    this.#scanMark = 0;
    this.#size = 0;
    this.#parked = 0;
    this.#quarantined = 0;
  }

  takeChanges(headOffset: number): { readonly write: DeferredRow[]; readonly deleteBuckets: number[] } {
    const write: DeferredRow[] = [];
    const deleteBuckets: number[] = [];
    for (const bucket of this.#changedBuckets) {
      this.#shortenHistories(bucket);
      const messages = [...(this.#buckets.get(bucket)?.values() ?? [])].filter((message) => isKept(message, this.#scanMark));
      if (messages.length > 0) write.push({ bucket, messages: messages.sort((a, b) => a.offset - b.offset) });
      else if (this.#storedBuckets.has(bucket)) deleteBuckets.push(bucket);
    }
    // Rows whose messages all ended with the head: nobody changes them any more.
    const headBucket = bucketOf(headOffset);
    for (const bucket of this.#storedBuckets) {
      if (bucket < headBucket && !this.#changedBuckets.has(bucket)) deleteBuckets.push(bucket);
    }
    for (const { bucket } of write) this.#storedBuckets.add(bucket);
    for (const bucket of deleteBuckets) this.#storedBuckets.delete(bucket);
    this.#changedBuckets.clear();
    return { write, deleteBuckets };
  }

  /** Keeps the histories of a row within what it may hold (rule HS4). */
  #shortenHistories(bucket: number): void {
    const messages = this.#buckets.get(bucket);
    if (messages === undefined) return;
    for (const message of shortenTogether(messages.values())) messages.set(message.offset, message);
  }

  #insert(message: Deferred): void {
    const { offset, dueAtMs, isQuarantined } = message;
    const bucket = bucketOf(offset);
    let messages = this.#buckets.get(bucket);
    if (messages === undefined) this.#buckets.set(bucket, (messages = new Map()));
    messages.set(offset, message);
    this.#size += 1;
    if (isParked(message)) this.#parked += 1;
    if (isQuarantined) this.#quarantined += 1;
    else if (dueAtMs > 0) this.#due.set(offset, dueAtMs);
  }

  #forget(offset: number): void {
    const bucket = bucketOf(offset);
    const messages = this.#buckets.get(bucket);
    const message = messages?.get(offset);
    if (messages === undefined || message === undefined) return;
    messages.delete(offset);
    if (messages.size === 0) this.#buckets.delete(bucket);
    this.#due.delete(offset);
    this.#size -= 1;
    if (isParked(message)) this.#parked -= 1;
    if (message.isQuarantined) this.#quarantined -= 1;
  }
}

function bucketOf(offset: number): number {
  return Math.floor(offset / LIMITS.deferredOffsetsPerRow);
}

function isParked(message: Deferred): boolean {
  return message.end === undefined;
}

/** Whether the message has to be in a stored row: a scan from the mark on would not find it as it is. */
function isKept(message: Deferred, scanMark: number): boolean {
  return !isParked(message) || message.offset < scanMark;
}
