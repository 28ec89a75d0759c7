// A run: consecutive records that are in memory, either read from a segment or just put and not yet stored.
import { Block, type BlockRecord } from "../protocol/block.ts";
import { messageBytes, type Message } from "../protocol/message.ts";
import { decodeGonePlaces } from "./gone-places.ts";
import type { Segment, StoredSegment, Totals } from "./store.ts";

/** Records are addressed by place, from 0; the offset of a record is `firstOffset + place`. */
export interface Run {
  readonly firstOffset: number;
  readonly count: number;
  readonly bytes: number;
  readonly messages: number;
  /** Totals of the life before the first record. */
  readonly before: Totals;
  /** Places that were removed. */
  readonly gone: Set<number>;
  isControl(place: number): boolean;
  messageBytes(place: number): number;
  key(place: number): string | undefined;
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

  isControl(place: number): boolean {
    return this.#block.isControl(place);
  }

  messageBytes(place: number): number {
    return this.#block.messageBytes(place);
  }

  key(place: number): string | undefined {
    return this.#block.key(place);
  }

  message(place: number): Message {
    return this.#block.message(place);
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

  isControl(place: number): boolean {
    return this.records[place]?.isControl ?? false;
  }

  messageBytes(place: number): number {
    return this.#sizes[place] ?? 0;
  }

  key(place: number): string | undefined {
    return this.records[place]?.key;
  }

  message(place: number): Message {
    const record = this.records[place];
    if (record === undefined) throw new RangeError(`No record at place ${place}`);
    const { body, presentation, contentType, key, messageId, headers, redrivenFrom, putAtMs } = record;
    const offset = this.firstOffset + place;
    return { offset, putAtMs, body, presentation, contentType, key, messageId, headers, redrivenFrom };
  }
}

export function endOffset(run: Run | Segment): number {
  return run.firstOffset + run.count;
}
