// A run: consecutive records that are in memory, either read from a segment or just put and not yet stored.
import { Block, type BlockRecord } from "../protocol/block.ts";
import { contentOf, messageBytes, type Message } from "../protocol/message.ts";
import { decodeGonePlaces } from "./gone-places.ts";
import type { Segment, StoredSegment, Totals } from "./store.ts";

/** Records are addressed by place, from 0; the offset of a record is `firstOffset + place`. */
export interface Run {
  readonly firstOffset: number;
  /** Places; those of a run that was compacted are more than its records. */
  readonly count: number;
  readonly bytes: number;
  readonly messages: number;
  /** Totals of the life before the first record; what a run has lost by compaction counts there, wherever it lay. */
  readonly before: Totals;
  /** Places that were removed and whose records are still there. */
  readonly gone: Set<number>;
  /** Records that are there. */
  readonly present: number;
  isPresent(place: number): boolean;
  /** Whether the record at a place was removed, or is not there any more. */
  isGone(place: number): boolean;
  isControl(place: number): boolean;
  messageBytes(place: number): number;
  key(place: number): string | undefined;
  /** When a record was put and how long it lives, if it says so. */
  times(place: number): { readonly putAtMs: number; readonly ttlMs: number | undefined };
  message(place: number): Message;
}

/** A run read back from storage. */
export class StoredRun implements Run {
  readonly firstOffset: number;
  readonly count: number;
  readonly bytes: number;
  readonly messages: number;
  readonly before: Totals;
  readonly gone: Set<number>;
  readonly #block: Block;

  constructor(segment: StoredSegment) {
    this.firstOffset = segment.firstOffset;
    this.count = segment.count;
    this.bytes = segment.bytes;
    this.messages = segment.messages;
    this.before = segment.before;
    this.gone = decodeGonePlaces(segment.gone);
    this.#block = new Block(segment.block);
  }

  get present(): number {
    return this.#block.count;
  }

  isPresent(place: number): boolean {
    return this.#block.count === this.count || this.#block.placeOf(this.firstOffset + place) >= 0;
  }

  isGone(place: number): boolean {
    return this.gone.has(place) || !this.isPresent(place);
  }

  isControl(place: number): boolean {
    return this.#block.isControl(this.#find(place));
  }

  messageBytes(place: number): number {
    return this.#block.messageBytes(this.#find(place));
  }

  key(place: number): string | undefined {
    return this.#block.key(this.#find(place));
  }

  times(place: number): { readonly putAtMs: number; readonly ttlMs: number | undefined } {
    return this.#block.times(this.#find(place));
  }

  message(place: number): Message {
    return this.#block.message(this.#find(place));
  }

  #find(place: number): number {
    return this.#block.isSparse ? this.#block.placeOf(this.firstOffset + place) : place;
  }
}

/** A run of records as they were put: the commit's own, and the newest segments while they are in the head window. */
export class RecordRun implements Run {
  readonly firstOffset: number;
  readonly before: Totals;
  readonly gone: Set<number>;
  readonly records: BlockRecord[];
  readonly #sizes: number[];
  #bytes = 0;
  #messages = 0;

  constructor(firstOffset: number, before: Totals) {
    this.firstOffset = firstOffset;
    this.before = before;
    this.gone = new Set();
    this.records = [];
    this.#sizes = [];
  }

  get count(): number {
    return this.records.length;
  }

  get present(): number {
    return this.records.length;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get messages(): number {
    return this.#messages;
  }

  /** Returns the bytes that count for the record. */
  push(record: BlockRecord): number {
    const bytes = record.isControl ? 0 : messageBytes(record);
    this.records.push(record);
    this.#sizes.push(bytes);
    this.#bytes += bytes;
    if (!record.isControl) this.#messages += 1;
    return bytes;
  }

  isPresent(place: number): boolean {
    return place < this.records.length;
  }

  isGone(place: number): boolean {
    return this.gone.has(place);
  }

  isControl(place: number): boolean {
    return this.records[place]?.isControl ?? false;
  }

  messageBytes(place: number): number {
    return this.#sizes[place] ?? 0;
  }

  /** Bytes of the messages from `place` on. */
  bytesFrom(place: number): number {
    return this.#sizes.slice(place).reduce((bytes, size) => bytes + size, 0);
  }

  key(place: number): string | undefined {
    return this.records[place]?.key;
  }

  times(place: number): { readonly putAtMs: number; readonly ttlMs: number | undefined } {
    const { putAtMs = 0, ttlMs } = this.records[place] ?? {};
    return { putAtMs, ttlMs };
  }

  message(place: number): Message {
    const record = this.records[place];
    if (record === undefined) throw new RangeError(`No record at place ${place}`);
    return { offset: this.firstOffset + place, putAtMs: record.putAtMs, ...contentOf(record) };
  }
}

export function endOffset(run: Run | Segment): number {
  return run.firstOffset + run.count;
}
