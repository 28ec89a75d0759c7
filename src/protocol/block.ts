// A record batch: consecutive records in one binary block, as it is stored in a segment and (in the binary subprotocol) sent.
//
//   header, 32 bytes, little endian:
//     0 magic 0xEC · 1 version 1 · 2 reserved (2) · 4 count (4) · 8 index bytes (4) · 12 reserved (4) · 16 first offset (8) · 24 base time ms (8)
//   index, one entry a record:
//     flags (2) · where a flag says so, varint offsets left out before it · varint putAtMs - base · where a flag says so, varint time to live · varint body bytes · then, where a flag says so, each as varint length and UTF-8:
//     content type · key · message id · headers (varint how many, then name and value of each) · redriven from (a varint alone) · source
//   bodies, one after the other
//
// A source that is that of the last record that had one is a flag and no text.
// The index is all that has to be read to know what is in a block. Bodies come last, so that a slice of them is a slice of the block.
import { assert } from "../base/assert.ts";
import { decodeUtf8, encodeUtf8 } from "./bytes.ts";
import { DEFAULT_CONTENT_TYPES, type Message, type Presentation, type PutMessage } from "./message.ts";

/** A record before it has a place: a message, or a control record whose body is the JSON of its event. */
export interface BlockRecord extends PutMessage {
  readonly isControl: boolean;
  readonly putAtMs: number;
}

const MAGIC = 0xec;
const VERSION = 1;
const HEADER_BYTES = 32;
/** Flags and two varints of one byte. */
const ENTRY_BYTES_MIN = 4;

const CONTROL = 1 << 0;
const TEXT = 1 << 1;
const JSON_VALUE = 1 << 2;
const CONTENT_TYPE = 1 << 3;
const KEY = 1 << 4;
const MESSAGE_ID = 1 << 5;
const HEADERS = 1 << 6;
const REDRIVEN = 1 << 7;
const SKIP = 1 << 8;
const TTL = 1 << 9;
const SOURCE = 1 << 10;
const SAME_SOURCE = 1 << 11;

/** Writes numbers and text into memory that grows; one for the module, since blocks are built synchronously. */
class IndexWriter {
  #bytes = new Uint8Array(64 * 1024);
  #length = 0;

  reset(): void {
    this.#length = 0;
  }

  get written(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  writeFlags(flags: number): void {
    this.#reserve(2);
    this.#bytes[this.#length++] = flags & 0xff;
    this.#bytes[this.#length++] = flags >> 8;
  }

  writeVarint(value: number): void {
    this.#reserve(8);
    let rest = value;
    while (rest >= 0x80) {
      this.#bytes[this.#length++] = (rest % 0x80) | 0x80;
      rest = Math.floor(rest / 0x80);
    }
    this.#bytes[this.#length++] = rest;
  }

  writeText(text: string): void {
    const bytes = encodeUtf8(text);
    this.writeVarint(bytes.byteLength);
    this.#reserve(bytes.byteLength);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.byteLength;
  }

  writeHeaders(headers: Readonly<Record<string, string>>): void {
    const entries = Object.entries(headers);
    this.writeVarint(entries.length);
    for (const [name, value] of entries) {
      this.writeText(name);
      this.writeText(value);
    }
  }

  #reserve(more: number): void {
    const needed = this.#length + more;
    if (needed <= this.#bytes.byteLength) return;
    const grown = new Uint8Array(Math.max(needed, this.#bytes.byteLength * 2));
    grown.set(this.written);
    this.#bytes = grown;
  }
}

const indexWriter = new IndexWriter();

function flagsOf(record: BlockRecord): number {
  let flags = record.isControl ? CONTROL : 0;
  if (record.presentation === "text") flags |= TEXT;
  if (record.presentation === "json") flags |= JSON_VALUE;
  if (record.contentType !== DEFAULT_CONTENT_TYPES[record.presentation]) flags |= CONTENT_TYPE;
  if (record.key !== undefined) flags |= KEY;
  if (record.messageId !== undefined) flags |= MESSAGE_ID;
  if (record.headers !== undefined) flags |= HEADERS;
  if (record.redrivenFrom !== undefined) flags |= REDRIVEN;
  if (record.ttlMs !== undefined) flags |= TTL;
  return flags;
}

/**
 * Packs records, the first of which has the offset `firstOffset`, into one block. There is at least one. `offsets` are those of all of
 * them, rising, where they do not follow each other without gaps.
 */
export function encodeBlock(
  records: readonly BlockRecord[],
  firstOffset: number,
  offsets?: readonly number[],
): Uint8Array<ArrayBuffer> {
  const baseTimeMs = records.reduce((least, record) => Math.min(least, record.putAtMs), Number.MAX_SAFE_INTEGER);
  let bodyBytes = 0;
  indexWriter.reset();
  let lastSource: string | undefined;
  for (const [index, record] of records.entries()) {
    const skipped = offsets === undefined || index === 0 ? 0 : (offsets[index] ?? 0) - (offsets[index - 1] ?? 0) - 1;
    const { source } = record;
    const sourceFlag = source === undefined ? 0 : source === lastSource ? SAME_SOURCE : SOURCE;
    const flags = flagsOf(record) | (skipped > 0 ? SKIP : 0) | sourceFlag;
    indexWriter.writeFlags(flags);
    if (skipped > 0) indexWriter.writeVarint(skipped);
    indexWriter.writeVarint(record.putAtMs - baseTimeMs);
    if (record.ttlMs !== undefined) indexWriter.writeVarint(record.ttlMs);
    indexWriter.writeVarint(record.body.byteLength);
    if (flags & CONTENT_TYPE) indexWriter.writeText(record.contentType);
    if (record.key !== undefined) indexWriter.writeText(record.key);
    if (record.messageId !== undefined) indexWriter.writeText(record.messageId);
    if (record.headers !== undefined) indexWriter.writeHeaders(record.headers);
    if (record.redrivenFrom !== undefined) indexWriter.writeVarint(record.redrivenFrom);
    if (sourceFlag === SOURCE && source !== undefined) {
      indexWriter.writeText(source);
      lastSource = source;
    }
    bodyBytes += record.body.byteLength;
  }
  const index = indexWriter.written;
  const block = new Uint8Array(HEADER_BYTES + index.byteLength + bodyBytes);
  const header = new DataView(block.buffer);
  header.setUint8(0, MAGIC);
  header.setUint8(1, VERSION);
  header.setUint32(4, records.length, true);
  header.setUint32(8, index.byteLength, true);
  header.setBigUint64(16, BigInt(firstOffset), true);
  header.setBigUint64(24, BigInt(baseTimeMs), true);
  block.set(index, HEADER_BYTES);
  let end = HEADER_BYTES + index.byteLength;
  for (const record of records) {
    block.set(record.body, end);
    end += record.body.byteLength;
  }
  return block;
}

/** A block with its index read. Records are addressed by their place, from 0. */
export class Block {
  readonly bytes: Uint8Array;
  readonly count: number;
  readonly firstOffset: number;
  readonly #baseTimeMs: number;
  readonly #flags: Uint16Array;
  readonly #entryStarts: Uint32Array;
  /** One more than `count`: where each body begins, and where the last ends. */
  readonly #bodyStarts: Uint32Array;
  /** The offset of each record; undefined while none was left out between them. */
  #offsets: Float64Array | undefined;
  /** The source of each record; undefined while none has one. */
  #sources: (string | undefined)[] | undefined;
  /** Bytes of the texts of an entry, without their lengths. */
  readonly #textBytes: Uint32Array;
  #cursor = 0;

  /** Throws when the bytes are not a whole block: storage or a peer is broken, not a user's input. */
  constructor(bytes: Uint8Array) {
    assert(
      bytes.byteLength >= HEADER_BYTES && bytes[0] === MAGIC && bytes[1] === VERSION,
      "a block begins with its magic and version",
    );
    const header = new DataView(bytes.buffer, bytes.byteOffset, HEADER_BYTES);
    this.bytes = bytes;
    this.count = header.getUint32(4, true);
    this.firstOffset = Number(header.getBigUint64(16, true));
    this.#baseTimeMs = Number(header.getBigUint64(24, true));
    const indexBytes = header.getUint32(8, true);
    assert(this.count * ENTRY_BYTES_MIN <= indexBytes, "an index has room for the records that its block counts");
    const bodiesStart = HEADER_BYTES + indexBytes;
    this.#flags = new Uint16Array(this.count);
    this.#entryStarts = new Uint32Array(this.count);
    this.#bodyStarts = new Uint32Array(this.count + 1);
    this.#textBytes = new Uint32Array(this.count);
    this.#readIndex(bodiesStart);
  }

  #readIndex(bodiesStart: number): void {
    this.#cursor = HEADER_BYTES;
    let bodyStart = bodiesStart;
    let source: string | undefined;
    for (let place = 0; place < this.count; place++) {
      const flags = (this.bytes[this.#cursor] ?? 0) | ((this.bytes[this.#cursor + 1] ?? 0) << 8);
      this.#cursor += 2;
      this.#flags[place] = flags;
      this.#noteOffset(place, flags & SKIP ? this.#readVarint() : 0);
      this.#entryStarts[place] = this.#cursor;
      this.#readVarint();
      if (flags & TTL) this.#readVarint();
      this.#bodyStarts[place] = bodyStart;
      bodyStart += this.#readVarint();
      for (const flag of [CONTENT_TYPE, KEY, MESSAGE_ID]) {
        if (flags & flag) this.#skipText(place);
      }
      const headerTexts = flags & HEADERS ? this.#readVarint() * 2 : 0;
      for (let text = 0; text < headerTexts; text++) this.#skipText(place);
      if (flags & REDRIVEN) this.#readVarint();
      if (flags & SOURCE) source = this.#readText();
      if (flags & (SOURCE | SAME_SOURCE)) (this.#sources ??= [])[place] = source;
    }
    this.#bodyStarts[this.count] = bodyStart;
    assert(this.#cursor === bodiesStart && bodyStart === this.bytes.byteLength, "the index of a block accounts for its bytes");
  }

  #noteOffset(place: number, skipped: number): void {
    if (skipped > 0) {
      // The records before it follow each other.
      this.#offsets ??= new Float64Array(this.count).map((_, index) => this.firstOffset + index);
    }
    if (this.#offsets === undefined || place === 0) return;
    this.#offsets[place] = (this.#offsets[place - 1] ?? 0) + 1 + skipped;
  }

  /** The place of the record at `offset`; -1 when there is none. */
  placeOf(offset: number): number {
    const place = offset - this.firstOffset;
    if (this.#offsets === undefined) return place >= 0 && place < this.count ? place : -1;
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#offsets[middle] ?? 0) < offset) low = middle + 1;
      else high = middle;
    }
    return this.#offsets[low] === offset ? low : -1;
  }

  offsetOf(place: number): number {
    return this.#offsets?.[place] ?? this.firstOffset + place;
  }

  get lastOffset(): number {
    return this.offsetOf(this.count - 1);
  }

  /** Whether records were left out between those that are there. */
  get isSparse(): boolean {
    return this.#offsets !== undefined;
  }

  /** Whether the record is a control record, which no count of messages includes. */
  isControl(place: number): boolean {
    return ((this.#flags[place] ?? 0) & CONTROL) !== 0;
  }

  /** The bytes that count against `maxBytes`; 0 for a control record. */
  messageBytes(place: number): number {
    if (this.isControl(place)) return 0;
    const bodyBytes = (this.#bodyStarts[place + 1] ?? 0) - (this.#bodyStarts[place] ?? 0);
    return bodyBytes + (this.#textBytes[place] ?? 0);
  }

  /** When a record was put and how long it lives, without decoding the rest of it. */
  times(place: number): { readonly putAtMs: number; readonly ttlMs: number | undefined } {
    const flags = this.#flags[place] ?? 0;
    this.#cursor = this.#entryStarts[place] ?? 0;
    const putAtMs = this.#baseTimeMs + this.#readVarint();
    return { putAtMs, ttlMs: flags & TTL ? this.#readVarint() : undefined };
  }

  /** The key of the record, without decoding the rest of it. */
  key(place: number): string | undefined {
    const flags = this.#flags[place] ?? 0;
    if ((flags & KEY) === 0) return undefined;
    this.#cursor = this.#entryStarts[place] ?? 0;
    this.#readVarint();
    if (flags & TTL) this.#readVarint();
    this.#readVarint();
    if (flags & CONTENT_TYPE) this.#readText();
    return this.#readText();
  }

  message(place: number): Message {
    const flags = this.#flags[place] ?? 0;
    this.#cursor = this.#entryStarts[place] ?? 0;
    const putAtMs = this.#baseTimeMs + this.#readVarint();
    const ttlMs = flags & TTL ? this.#readVarint() : undefined;
    this.#readVarint();
    const presentation: Presentation = flags & JSON_VALUE ? "json" : flags & TEXT ? "text" : "bytes";
    const contentType = flags & CONTENT_TYPE ? this.#readText() : DEFAULT_CONTENT_TYPES[presentation];
    return {
      offset: this.offsetOf(place),
      putAtMs,
      presentation,
      contentType,
      key: flags & KEY ? this.#readText() : undefined,
      messageId: flags & MESSAGE_ID ? this.#readText() : undefined,
      headers: flags & HEADERS ? this.#readHeaders() : undefined,
      ttlMs,
      redrivenFrom: flags & REDRIVEN ? this.#readVarint() : undefined,
      source: this.#sources?.[place],
      body: this.bytes.subarray(this.#bodyStarts[place], this.#bodyStarts[place + 1]),
    };
  }

  #readVarint(): number {
    let value = 0;
    for (let factor = 1; ; factor *= 0x80) {
      const byte = this.bytes[this.#cursor++];
      assert(byte !== undefined, "a varint ends inside its block");
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return value;
    }
  }

  #readHeaders(): Record<string, string> {
    const entries: [string, string][] = [];
    for (let left = this.#readVarint(); left > 0; left--) entries.push([this.#readText(), this.#readText()]);
    return Object.fromEntries(entries);
  }

  #skipText(place: number): void {
    const length = this.#readVarint();
    this.#cursor += length;
    this.#textBytes[place] = (this.#textBytes[place] ?? 0) + length;
  }

  #readText(): string {
    const length = this.#readVarint();
    const text = decodeUtf8(this.bytes.subarray(this.#cursor, this.#cursor + length));
    this.#cursor += length;
    assert(text !== undefined, "the texts of a block are UTF-8");
    return text;
  }
}
