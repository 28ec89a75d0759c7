// Builds blocks: of records, of slices of other blocks, or of both.
import type { Block } from "./block.ts";
import * as layout from "./block-layout.ts";
import { IndexWriter } from "./index-writer.ts";
import type { PutMessage } from "./message.ts";
import { DEFAULT_CONTENT_TYPES } from "./presentation.ts";
import type { MessageDelay } from "./schedule.ts";

/** A record before it has a place: a message, or a control record whose body is the JSON of its event. */
export interface BlockRecord extends PutMessage {
  readonly isControl: boolean;
  readonly putAtMs: number;
  /** In a put frame alone: when the message is to enter its channel. */
  readonly delay?: MessageDelay["delay"] | undefined;
}

function flagsOf(record: BlockRecord): number {
  let flags = record.isControl ? layout.CONTROL : 0;
  if (record.presentation === "text") flags |= layout.TEXT;
  if (record.presentation === "json") flags |= layout.JSON_VALUE;
  if (record.contentType !== DEFAULT_CONTENT_TYPES[record.presentation]) flags |= layout.CONTENT_TYPE;
  if (record.key !== undefined) flags |= layout.KEY;
  if (record.messageId !== undefined) flags |= layout.MESSAGE_ID;
  if (record.headers !== undefined) flags |= layout.HEADERS;
  if (record.ttlMs !== undefined) flags |= layout.TTL;
  if (record.redrivenFrom !== undefined) flags |= layout.REDRIVEN;
  if (record.delay !== undefined) flags |= "afterMs" in record.delay ? layout.DELAY : layout.DELIVER_AT;
  return flags;
}

/** Takes the records of one block after the other; `finish` hands it over and begins the next. */
export class BlockWriter {
  readonly #index = new IndexWriter();
  readonly #sources = new IndexWriter();
  readonly #bodies: Uint8Array[] = [];
  #bodyBytes = 0;
  #count = 0;
  #baseTimeMs = 0;
  /** The source of the last stretch, and how many records it has. */
  #source: string | undefined;
  #sourced = 0;

  /** `baseTimeMs`: not later than any record was put. */
  begin(baseTimeMs: number): void {
    this.#index.reset();
    this.#sources.reset();
    this.#bodies.length = 0;
    this.#bodyBytes = 0;
    this.#count = 0;
    this.#baseTimeMs = baseTimeMs;
    this.#sourced = 0;
  }

  get baseTimeMs(): number {
    return this.#baseTimeMs;
  }

  /** `skipped`: how many offsets before the record have none. */
  addRecord(record: BlockRecord, skipped: number): void {
    const laterMs = record.putAtMs - this.#baseTimeMs;
    const flags = flagsOf(record) | (skipped > 0 ? layout.SKIP : 0) | (laterMs > 0 ? layout.TIME : 0);
    this.#index.writeVarint(flags);
    this.#index.writeVarint(record.body.byteLength);
    if (flags & layout.CONTENT_TYPE) this.#index.writeText(record.contentType);
    if (record.key !== undefined) this.#index.writeText(record.key);
    if (record.messageId !== undefined) this.#index.writeText(record.messageId);
    if (record.headers !== undefined) writeHeaders(this.#index, record.headers);
    if (record.ttlMs !== undefined) this.#index.writeVarint(record.ttlMs);
    if (record.redrivenFrom !== undefined) this.#index.writeVarint(record.redrivenFrom);
    if (skipped > 0) this.#index.writeVarint(skipped);
    if (laterMs > 0) this.#index.writeVarint(laterMs);
    if (record.delay !== undefined) this.#index.writeVarint("afterMs" in record.delay ? record.delay.afterMs : record.delay.atMs);
    this.#addBody(record.body, 1, record.source);
  }

  /** The records of a block from one place to another, exclusive, as they are: they were put at the base time, or say how much later. */
  addSlice(block: Block, from: number, to: number, source: string | undefined): void {
    this.#index.writeBytes(block.indexSlice(from, to));
    this.#addBody(block.bodySlice(from, to), to - from, source);
  }

  /** The block, followed by the sources where `withSources` says so, and in its memory preceded by so many unused bytes. */
  finish(firstOffset: number, withSources: boolean, bytesBefore = 0): Uint8Array<ArrayBuffer> {
    if (withSources && this.#sourced > 0) this.#closeStretch();
    const start = layout.HEADER_BYTES + this.#index.byteLength;
    const bytes = start + this.#bodyBytes + (withSources ? this.#sources.byteLength : 0);
    const block = new Uint8Array(new ArrayBuffer(bytesBefore + bytes), bytesBefore);
    writeHeader(block, {
      count: this.#count,
      indexBytes: this.#index.byteLength,
      bodyBytes: this.#bodyBytes,
      firstOffset,
      baseTimeMs: this.#baseTimeMs,
    });
    block.set(this.#index.written, layout.HEADER_BYTES);
    let end = start;
    for (const body of this.#bodies) {
      block.set(body, end);
      end += body.byteLength;
    }
    if (withSources) block.set(this.#sources.written, end);
    this.#bodies.length = 0;
    return block;
  }

  #addBody(body: Uint8Array, records: number, source: string | undefined): void {
    this.#bodies.push(body);
    this.#bodyBytes += body.byteLength;
    this.#count += records;
    if (this.#sourced > 0 && source !== this.#source) this.#closeStretch();
    this.#source = source;
    this.#sourced += records;
  }

  #closeStretch(): void {
    this.#sources.writeVarint(this.#sourced);
    this.#sources.writeText(this.#source ?? "");
    this.#sourced = 0;
  }
}

/** One for the module, since blocks are built synchronously. */
const writer = new BlockWriter();

/**
 * Packs records that follow each other, the first of which has the offset `firstOffset`, into the block of a frame. With `bytesBefore` its
 * memory has room in front of it, for what comes before it in the frame.
 */
export function encodeBlock(records: readonly BlockRecord[], firstOffset: number, bytesBefore = 0): Uint8Array<ArrayBuffer> {
  addRecords(records);
  return writer.finish(firstOffset, false, bytesBefore);
}

/**
 * Packs records, the first of which has the offset `firstOffset`, into one stored block. `offsets` are those of all of them, rising, where
 * they do not follow each other without gaps.
 */
export function encodeStoredBlock(
  records: readonly BlockRecord[],
  firstOffset: number,
  offsets?: readonly number[],
): Uint8Array<ArrayBuffer> {
  addRecords(records, offsets);
  return writer.finish(firstOffset, true);
}

/** A block that was put as it would be stored, in memory of its own. Where it was put from is not known. */
export function copyStoredBlock(block: Block): Uint8Array<ArrayBuffer> {
  writer.begin(block.baseTimeMs);
  writer.addSlice(block, 0, block.count, undefined);
  return writer.finish(block.firstOffset, true);
}

function addRecords(records: readonly BlockRecord[], offsets?: readonly number[]): void {
  let baseTimeMs = records[0]?.putAtMs ?? 0;
  for (const { putAtMs } of records) if (putAtMs < baseTimeMs) baseTimeMs = putAtMs;
  writer.begin(baseTimeMs);
  for (const [place, record] of records.entries()) {
    const skipped = offsets === undefined || place === 0 ? 0 : (offsets[place] ?? 0) - (offsets[place - 1] ?? 0) - 1;
    writer.addRecord(record, skipped);
  }
}

/** In the order of their names, of which each is there once: so a set of headers has one form. */
function writeHeaders(index: IndexWriter, headers: Readonly<Record<string, string>>): void {
  const names = Object.keys(headers);
  if (names.length > 1) names.sort();
  index.writeVarint(names.length);
  for (const name of names) {
    index.writeText(name);
    index.writeText(headers[name] ?? "");
  }
}

interface Header {
  readonly count: number;
  readonly indexBytes: number;
  readonly bodyBytes: number;
  readonly firstOffset: number;
  readonly baseTimeMs: number;
}

function writeHeader(block: Uint8Array<ArrayBuffer>, header: Header): void {
  const view = new DataView(block.buffer, block.byteOffset, layout.HEADER_BYTES);
  view.setUint8(0, layout.MAGIC);
  view.setUint8(1, layout.VERSION);
  view.setUint32(4, header.count, true);
  view.setUint32(8, header.indexBytes, true);
  view.setUint32(12, header.bodyBytes, true);
  writeLarge(view, 16, header.firstOffset);
  writeLarge(view, 24, header.baseTimeMs);
}

function writeLarge(view: DataView, at: number, value: number): void {
  view.setUint32(at, value % 2 ** 32, true);
  view.setUint32(at + 4, Math.floor(value / 2 ** 32), true);
}
