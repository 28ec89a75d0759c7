// A part of a run that is in memory: records as they were put, one by one or in a block.
import type { Block } from "../protocol/block.ts";
import type { BlockRecord, BlockWriter } from "../protocol/block-writer.ts";
import { contentOf, messageBytes } from "../protocol/message.ts";

/** About what a record adds to a block besides its counted bytes: flags and lengths. Storage splits what comes out larger. */
export const RECORD_OVERHEAD_BYTES = 32;
/** A control record counts no bytes, but takes some. */
const CONTROL_BYTES = 256;

/** What a stored row may hold. */
export interface RowRoom {
  readonly bytes: number;
  readonly records: number;
}

/** Records are addressed by their place in it, from 0. */
export interface RunPart {
  readonly count: number;
  /** Without control records, as the totals of a channel. */
  readonly messages: number;
  readonly bytes: number;
  /** When the first of its records was put; none was before it. */
  readonly firstPutAtMs: number;
  readonly hasMessageIds: boolean;
  isControl(place: number): boolean;
  messageBytes(place: number): number;
  key(place: number): string | undefined;
  messageId(place: number): string | undefined;
  source(place: number): string | undefined;
  times(place: number): { readonly putAtMs: number; readonly ttlMs: number | undefined };
  record(place: number): BlockRecord;
  /** About what the records from one place to another, exclusive, take in a block. */
  storedBytes(from: number, to: number): number;
  slice(from: number, to: number): RunPart;
  writeTo(writer: BlockWriter, from: number, to: number): void;
}

export class RecordPart implements RunPart {
  readonly #records: BlockRecord[] = [];
  readonly #sizes: number[] = [];
  #messages = 0;
  #bytes = 0;
  #firstPutAtMs = Number.MAX_SAFE_INTEGER;
  hasMessageIds = false;

  get count(): number {
    return this.#records.length;
  }

  get messages(): number {
    return this.#messages;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get firstPutAtMs(): number {
    return this.#firstPutAtMs;
  }

  /** Returns the bytes that count for the record. */
  push(record: BlockRecord): number {
    const bytes = record.isControl ? 0 : messageBytes(record);
    this.#records.push(record);
    this.#sizes.push(bytes);
    this.#bytes += bytes;
    if (!record.isControl) this.#messages += 1;
    if (record.putAtMs < this.#firstPutAtMs) this.#firstPutAtMs = record.putAtMs;
    if (record.messageId !== undefined) this.hasMessageIds = true;
    return bytes;
  }

  isControl(place: number): boolean {
    return this.#records[place]?.isControl ?? false;
  }

  messageBytes(place: number): number {
    return this.#sizes[place] ?? 0;
  }

  key(place: number): string | undefined {
    return this.#records[place]?.key;
  }

  messageId(place: number): string | undefined {
    return this.#records[place]?.messageId;
  }

  source(place: number): string | undefined {
    return this.#records[place]?.source;
  }

  times(place: number): { readonly putAtMs: number; readonly ttlMs: number | undefined } {
    const { putAtMs = 0, ttlMs } = this.#records[place] ?? {};
    return { putAtMs, ttlMs };
  }

  record(place: number): BlockRecord {
    const record = this.#records[place];
    if (record === undefined) throw new RangeError(`No record at place ${place}`);
    return record;
  }

  storedBytes(from: number, to: number): number {
    let bytes = (to - from) * RECORD_OVERHEAD_BYTES;
    for (let place = from; place < to; place++) bytes += this.isControl(place) ? CONTROL_BYTES : this.messageBytes(place);
    return bytes;
  }

  slice(from: number, to: number): RunPart {
    const part = new RecordPart();
    for (let place = from; place < to; place++) part.push(this.record(place));
    return part;
  }

  writeTo(writer: BlockWriter, from: number, to: number): void {
    for (let place = from; place < to; place++) writer.addRecord(this.record(place), 0);
  }
}

/** How the records of a block came to be put. */
export interface BlockOrigin {
  readonly putAtMs: number;
  readonly source: string | undefined;
}

/** Messages of a put block, which itself says neither when nor from where it was put. */
export class BlockPart implements RunPart {
  readonly count: number;
  readonly bytes: number;
  readonly hasMessageIds: boolean;
  readonly #block: Block;
  readonly #from: number;
  readonly #origin: BlockOrigin;

  constructor(block: Block, origin: BlockOrigin, from = 0, to = block.count) {
    this.#block = block;
    this.#from = from;
    this.#origin = origin;
    this.count = to - from;
    this.bytes = block.bytesOf(from, to);
    this.hasMessageIds = block.hasMessageIds;
  }

  get messages(): number {
    return this.count;
  }

  get firstPutAtMs(): number {
    return this.#origin.putAtMs;
  }

  isControl(): boolean {
    return false;
  }

  messageBytes(place: number): number {
    return this.#block.messageBytes(this.#from + place);
  }

  key(place: number): string | undefined {
    return this.#block.key(this.#from + place);
  }

  messageId(place: number): string | undefined {
    return this.#block.messageId(this.#from + place);
  }

  source(): string | undefined {
    return this.#origin.source;
  }

  times(place: number): { readonly putAtMs: number; readonly ttlMs: number | undefined } {
    return { putAtMs: this.#origin.putAtMs, ttlMs: this.#block.times(this.#from + place).ttlMs };
  }

  record(place: number): BlockRecord {
    const content = contentOf(this.#block.message(this.#from + place));
    return { ...content, source: this.#origin.source, isControl: false, putAtMs: this.#origin.putAtMs };
  }

  storedBytes(from: number, to: number): number {
    return this.#block.storedBytes(this.#from + from, this.#from + to);
  }

  slice(from: number, to: number): RunPart {
    return new BlockPart(this.#block, this.#origin, this.#from + from, this.#from + to);
  }

  writeTo(writer: BlockWriter, from: number, to: number): void {
    // Its entries say nothing of a time: they are what they are where the block around them has it.
    if (writer.baseTimeMs === this.#origin.putAtMs)
      writer.addSlice(this.#block, this.#from + from, this.#from + to, this.#origin.source);
    else for (let place = from; place < to; place++) writer.addRecord(this.record(place), 0);
  }
}
