// Reads blocks (block-layout.ts).
import { assert } from "../base/assert.ts";
import { accept, refuse, type Result } from "../base/result.ts";
import * as layout from "./block-layout.ts";
import { decodeUtf8 } from "./bytes.ts";
import type { Message } from "./message.ts";
import { DEFAULT_CONTENT_TYPES, type Presentation } from "./presentation.ts";
import type { MessageDelay } from "./schedule.ts";

/** Why bytes are no block, and in which entry that shows, from 0. */
export interface BlockFault {
  readonly place?: number;
  readonly detail: string;
}

const VARINT_BYTES_MAX = 8;
const TEXTS = [layout.CONTENT_TYPE, layout.KEY, layout.MESSAGE_ID] as const;
/** Flags of entries that a fast reader need not look into. */
const PLAIN = layout.TEXT | layout.JSON_VALUE;

/** Reads varints; one that leads out of the bytes, or is not the shortest, shows in `isBroken`. */
class Cursor {
  readonly #bytes: Uint8Array;
  readonly #end: number;
  at: number;
  isBroken = false;

  constructor(bytes: Uint8Array, at: number, end: number) {
    this.#bytes = bytes;
    this.at = at;
    this.#end = end;
  }

  get isAtEnd(): boolean {
    return this.at === this.#end;
  }

  readVarint(): number {
    const first = this.#bytes[this.at] ?? 0x80;
    if (first < 0x80 && this.at < this.#end) {
      this.at++;
      return first;
    }
    return this.#readLong();
  }

  skip(bytes: number): void {
    if (bytes > this.#end - this.at) this.isBroken = true;
    else this.at += bytes;
  }

  #readLong(): number {
    let value = 0;
    let factor = 1;
    for (let length = 1; length <= VARINT_BYTES_MAX && this.at < this.#end; length++) {
      const byte = this.#bytes[this.at++] ?? 0;
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) {
        if ((byte === 0 && length > 1) || value > Number.MAX_SAFE_INTEGER) break;
        return value;
      }
      factor *= 0x80;
    }
    this.isBroken = true;
    return 0;
  }
}

/** A block with its index read. Records are addressed by their place, from 0. */
export class Block {
  readonly count: number;
  readonly firstOffset: number;
  readonly baseTimeMs: number;
  /** With the header, without what may follow the block. */
  readonly byteLength: number;
  /** The flags that any of the records has. */
  flagsOfAny = 0;
  readonly #bytes: Uint8Array;
  readonly #flags: Uint16Array;
  /** One more than `count`: where each entry begins, and where the last ends. */
  readonly #entryStarts: Uint32Array;
  /** The same of the bodies. */
  readonly #bodyStarts: Uint32Array;
  /** Bytes of the texts of an entry, without their lengths; undefined while none has a text. */
  #textBytes: Uint32Array | undefined;
  /** The offset of each record; undefined while none was left out between them. */
  #offsets: Float64Array | undefined;
  #stretches: readonly Stretch[] = [];

  private constructor(bytes: Uint8Array, { count, indexBytes, bodyBytes, firstOffset, baseTimeMs }: Header) {
    this.#bytes = bytes;
    this.count = count;
    this.firstOffset = firstOffset;
    this.baseTimeMs = baseTimeMs;
    this.byteLength = layout.HEADER_BYTES + indexBytes + bodyBytes;
    this.#flags = new Uint16Array(count);
    this.#entryStarts = new Uint32Array(count + 1);
    this.#bodyStarts = new Uint32Array(count + 1);
  }

  /** Reads the block at the beginning of `bytes`, or says what is wrong with it. Texts and bodies are not looked at. */
  static parse(bytes: Uint8Array, recordsMax = Number.MAX_SAFE_INTEGER): Result<Block, BlockFault> {
    const header = parseHeader(bytes);
    if (!header.ok) return header;
    // Counted before room is made for them.
    if (header.value.count > recordsMax) return refuse({ detail: `Expected at most ${recordsMax} messages` });
    const block = new Block(bytes, header.value);
    const fault = block.#readIndex(header.value);
    return fault === undefined ? accept(block) : refuse(fault);
  }

  /** A stored block. Throws where it is not whole: storage is broken, and it is nobody's input. */
  static ofStored(bytes: Uint8Array): Block {
    const parsed = Block.parse(bytes);
    assert(parsed.ok, "a stored block is whole");
    const stretches = readStretches(bytes, parsed.value);
    assert(stretches !== undefined, "what follows a stored block tells where its records were put from");
    parsed.value.#stretches = stretches;
    return parsed.value;
  }

  #readIndex({ indexBytes, bodyBytes }: Header): BlockFault | undefined {
    const bodiesStart = layout.HEADER_BYTES + indexBytes;
    const cursor = new Cursor(this.#bytes, layout.HEADER_BYTES, bodiesStart);
    let bodyStart = bodiesStart;
    for (let place = 0; place < this.count; place++) {
      this.#entryStarts[place] = cursor.at;
      const flags = cursor.readVarint();
      if (flags > layout.FLAGS_MAX) return { place, detail: "Expected flags that this version knows" };
      if ((flags & PLAIN) === PLAIN) return { place, detail: "Expected a body that is either text or JSON" };
      this.#flags[place] = flags;
      this.flagsOfAny |= flags;
      this.#bodyStarts[place] = bodyStart;
      bodyStart += cursor.readVarint();
      if (bodyStart > this.byteLength) return { place, detail: "Expected bodies that end with their block" };
      const skipped = flags > PLAIN ? this.#readRest(cursor, place, flags) : 0;
      if (this.#offsets !== undefined) this.#offsets[place] = this.#offsetBefore(place) + 1 + skipped;
      if (cursor.isBroken)
        return { place, detail: "Expected an entry that ends within the index, of varints as short as can be" };
    }
    this.#entryStarts[this.count] = cursor.at;
    this.#bodyStarts[this.count] = bodyStart;
    if (!cursor.isAtEnd) return { detail: "Expected an index with as many entries as the header counts" };
    return bodyStart - bodiesStart === bodyBytes ? undefined : { detail: "Expected bodies as long as the header says" };
  }

  /** Reads what the flags of an entry announce, and returns how many offsets are left out before it. */
  #readRest(cursor: Cursor, place: number, flags: number): number {
    let textBytes = 0;
    for (const flag of TEXTS) if (flags & flag) textBytes += skipText(cursor);
    if (flags & layout.HEADERS) {
      const texts = cursor.readVarint() * 2;
      for (let text = 0; text < texts && !cursor.isBroken; text++) textBytes += skipText(cursor);
    }
    if (flags & layout.TTL) cursor.readVarint();
    if (flags & layout.REDRIVEN) cursor.readVarint();
    const skipped = flags & layout.SKIP ? cursor.readVarint() : 0;
    if (flags & layout.TIME) cursor.readVarint();
    if (flags & layout.DELAY) cursor.readVarint();
    if (flags & layout.DELIVER_AT) cursor.readVarint();
    if (textBytes > 0) (this.#textBytes ??= new Uint32Array(this.count))[place] = textBytes;
    // The records before it follow each other.
    if (skipped > 0) this.#offsets ??= new Float64Array(this.count).map((_, index) => this.firstOffset + index);
    return skipped;
  }

  #offsetBefore(place: number): number {
    return place === 0 ? this.firstOffset - 1 : (this.#offsets?.[place - 1] ?? 0);
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

  get hasMessageIds(): boolean {
    return (this.flagsOfAny & layout.MESSAGE_ID) !== 0;
  }

  /** Whether a message of it enters its channel later. */
  get hasDelays(): boolean {
    return (this.flagsOfAny & (layout.DELAY | layout.DELIVER_AT)) !== 0;
  }

  /** The last place whose message names its time to live; -1 where none does. */
  get lastTtlPlace(): number {
    if ((this.flagsOfAny & layout.TTL) === 0) return -1;
    return this.#flags.findLastIndex((flags) => (flags & layout.TTL) !== 0);
  }

  flags(place: number): number {
    return this.#flags[place] ?? 0;
  }

  /** Whether the record is a control record, which no count of messages includes. */
  isControl(place: number): boolean {
    return (this.flags(place) & layout.CONTROL) !== 0;
  }

  /** The bytes that count against `maxBytes`; 0 for a control record. */
  messageBytes(place: number): number {
    if (this.isControl(place)) return 0;
    const bodyBytes = (this.#bodyStarts[place + 1] ?? 0) - (this.#bodyStarts[place] ?? 0);
    return bodyBytes + (this.#textBytes?.[place] ?? 0);
  }

  /** What the messages from one place to another, exclusive, count together. */
  bytesOf(from: number, to: number): number {
    let bytes = (this.#bodyStarts[to] ?? 0) - (this.#bodyStarts[from] ?? 0);
    if (this.#textBytes !== undefined) for (let place = from; place < to; place++) bytes += this.#textBytes[place] ?? 0;
    if ((this.flagsOfAny & layout.CONTROL) === 0) return bytes;
    for (let place = from; place < to; place++)
      if (this.isControl(place)) bytes -= (this.#bodyStarts[place + 1] ?? 0) - (this.#bodyStarts[place] ?? 0);
    return bytes;
  }

  /** When a record was put and how long it lives, without decoding the rest of it. */
  times(place: number): { readonly putAtMs: number; readonly ttlMs: number | undefined } {
    const flags = this.flags(place);
    if ((flags & (layout.TIME | layout.TTL)) === 0) return { putAtMs: this.baseTimeMs, ttlMs: undefined };
    const { putAtMs, ttlMs } = this.#decode(place, layout.TIME | layout.TTL);
    return { putAtMs, ttlMs };
  }

  /** The key of the record, without decoding the rest of it. */
  key(place: number): string | undefined {
    return this.flags(place) & layout.KEY ? this.#decode(place, layout.KEY).key : undefined;
  }

  messageId(place: number): string | undefined {
    return this.flags(place) & layout.MESSAGE_ID ? this.#decode(place, layout.MESSAGE_ID).messageId : undefined;
  }

  /** When the message of a put frame is to enter its channel; undefined for at once. */
  delay(place: number): MessageDelay["delay"] | undefined {
    const flags = this.flags(place) & (layout.DELAY | layout.DELIVER_AT);
    return flags === 0 ? undefined : this.#decode(place, flags).delay;
  }

  /** The texts of an entry as they came, in the order of their flags: the names and values of headers in turn. */
  texts(place: number): { readonly flag: number; readonly bytes: Uint8Array }[] {
    const flags = this.flags(place);
    const cursor = new Cursor(this.#bytes, this.#entryStarts[place] ?? 0, this.byteLength);
    cursor.readVarint();
    cursor.readVarint();
    const read = (flag: number): { readonly flag: number; readonly bytes: Uint8Array } => {
      const length = skipText(cursor);
      return { flag, bytes: this.#bytes.subarray(cursor.at - length, cursor.at) };
    };
    const texts = TEXTS.filter((flag) => flags & flag).map(read);
    const headers = flags & layout.HEADERS ? cursor.readVarint() * 2 : 0;
    for (let text = 0; text < headers; text++) texts.push(read(layout.HEADERS));
    return texts;
  }

  /** The first byte of a body; 0 for an empty one. */
  firstByte(place: number): number {
    const start = this.#bodyStarts[place] ?? 0;
    return start < (this.#bodyStarts[place + 1] ?? 0) ? (this.#bytes[start] ?? 0) : 0;
  }

  body(place: number): Uint8Array {
    return this.bodySlice(place, place + 1);
  }

  message(place: number): Message {
    const decoded = this.#decode(place, layout.FLAGS_MAX);
    const { putAtMs, presentation, contentType, key, messageId, headers, ttlMs, redrivenFrom } = decoded;
    const [offset, source, body] = [this.offsetOf(place), this.source(place), this.body(place)];
    // All members in one literal: messages of one shape keep the code that handles them fast.
    return { offset, putAtMs, presentation, contentType, key, messageId, headers, ttlMs, redrivenFrom, source, body };
  }

  /** The entries from one place to another, exclusive. */
  indexSlice(from: number, to: number): Uint8Array {
    return this.#bytes.subarray(this.#entryStarts[from], this.#entryStarts[to]);
  }

  /** What the records from one place to another, exclusive, take of the block. */
  storedBytes(from: number, to: number): number {
    return this.entryBytes(from, to) + (this.#bodyStarts[to] ?? 0) - (this.#bodyStarts[from] ?? 0);
  }

  /** What their entries take. */
  entryBytes(from: number, to: number): number {
    return (this.#entryStarts[to] ?? 0) - (this.#entryStarts[from] ?? 0);
  }

  /** Their bodies. */
  bodySlice(from: number, to: number): Uint8Array {
    return this.#bytes.subarray(this.#bodyStarts[from], this.#bodyStarts[to]);
  }

  /** How many offsets are left out before a record, as its entry says. */
  skippedBefore(place: number): number {
    if ((this.flags(place) & layout.SKIP) === 0) return 0;
    return this.offsetOf(place) - (place === 0 ? this.firstOffset : this.offsetOf(place - 1) + 1);
  }

  /** What an entry says, without the texts that `wanted` leaves out. */
  #decode(place: number, wanted: number): Decoded {
    const flags = this.flags(place);
    const cursor = new Cursor(this.#bytes, this.#entryStarts[place] ?? 0, this.byteLength);
    cursor.readVarint();
    cursor.readVarint();
    const presentation: Presentation = flags & layout.JSON_VALUE ? "json" : flags & layout.TEXT ? "text" : "bytes";
    const text = (flag: number): string | undefined => {
      if ((flags & flag) === 0) return undefined;
      if (wanted & flag) return this.#readText(cursor);
      skipText(cursor);
      return undefined;
    };
    const number = (flag: number): number | undefined => (flags & flag ? cursor.readVarint() : undefined);
    const contentType = text(layout.CONTENT_TYPE) ?? DEFAULT_CONTENT_TYPES[presentation];
    const key = text(layout.KEY);
    const messageId = text(layout.MESSAGE_ID);
    const headers = flags & layout.HEADERS ? this.#readHeaders(cursor, (wanted & layout.HEADERS) !== 0) : undefined;
    const ttlMs = number(layout.TTL);
    const redrivenFrom = number(layout.REDRIVEN);
    number(layout.SKIP);
    const putAtMs = this.baseTimeMs + (number(layout.TIME) ?? 0);
    const [afterMs, atMs] = [number(layout.DELAY), number(layout.DELIVER_AT)];
    const delay = afterMs !== undefined ? { afterMs } : atMs !== undefined ? { atMs } : undefined;
    return { putAtMs, presentation, contentType, key, messageId, headers, ttlMs, redrivenFrom, delay };
  }

  #readHeaders(cursor: Cursor, isWanted: boolean): Record<string, string> | undefined {
    const entries: [string, string][] = [];
    for (let left = cursor.readVarint(); left > 0; left--) {
      if (isWanted) entries.push([this.#readText(cursor), this.#readText(cursor)]);
      else for (let text = 0; text < 2; text++) skipText(cursor);
    }
    return isWanted ? Object.fromEntries(entries) : undefined;
  }

  #readText(cursor: Cursor): string {
    const length = cursor.readVarint();
    const text = decodeUtf8(this.#bytes.subarray(cursor.at, cursor.at + length));
    cursor.skip(length);
    assert(text !== undefined, "the texts of a block are UTF-8");
    return text;
  }

  /** Where the record of a stored block was put from (source.ts). */
  source(place: number): string | undefined {
    const stretches = this.#stretches;
    let [low, high] = [0, stretches.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((stretches[middle]?.end ?? Infinity) <= place) low = middle + 1;
      else high = middle;
    }
    return stretches[low]?.source;
  }
}

type Decoded = Omit<Message, "offset" | "body" | "source"> & { readonly delay: MessageDelay["delay"] | undefined };

interface Header {
  readonly count: number;
  readonly indexBytes: number;
  readonly bodyBytes: number;
  readonly firstOffset: number;
  readonly baseTimeMs: number;
}

function parseHeader(bytes: Uint8Array): Result<Header, BlockFault> {
  const isBlock = bytes.byteLength >= layout.HEADER_BYTES && bytes[0] === layout.MAGIC && bytes[1] === layout.VERSION;
  if (!isBlock) return refuse({ detail: "Expected a block of version 2, which begins with its header" });
  const view = new DataView(bytes.buffer, bytes.byteOffset, layout.HEADER_BYTES);
  const header: Header = {
    count: view.getUint32(4, true),
    indexBytes: view.getUint32(8, true),
    bodyBytes: view.getUint32(12, true),
    firstOffset: readLarge(view, 16),
    baseTimeMs: readLarge(view, 24),
  };
  const { count, indexBytes, bodyBytes, firstOffset, baseTimeMs } = header;
  if (layout.HEADER_BYTES + indexBytes + bodyBytes > bytes.byteLength)
    return refuse({ detail: "Expected a block that is not cut" });
  if (count * layout.ENTRY_BYTES_MIN > indexBytes) return refuse({ detail: "Expected an index with room for the records" });
  const isKnown = view.getUint16(2, true) === 0 && Math.max(firstOffset, baseTimeMs) <= Number.MAX_SAFE_INTEGER;
  return isKnown
    ? accept(header)
    : refuse({ detail: "Expected a header with numbers up to 2^53 - 1, and 0 where it is reserved" });
}

function readLarge(view: DataView, at: number): number {
  return view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32;
}

/** Where the records of a block up to one place, exclusive, were put from. */
interface Stretch {
  readonly end: number;
  readonly source: string | undefined;
}

/** What follows a stored block; undefined where that is something else. */
function readStretches(bytes: Uint8Array, { byteLength, count }: Block): readonly Stretch[] | undefined {
  const cursor = new Cursor(bytes, byteLength, bytes.byteLength);
  const stretches: Stretch[] = [];
  let end = 0;
  while (!cursor.isAtEnd) {
    const records = cursor.readVarint();
    const length = cursor.readVarint();
    const text = decodeUtf8(bytes.subarray(cursor.at, cursor.at + length));
    cursor.skip(length);
    if (cursor.isBroken || text === undefined || records === 0) return undefined;
    end += records;
    stretches.push({ end, source: text === "" ? undefined : text });
  }
  return end === count ? stretches : undefined;
}

function skipText(cursor: Cursor): number {
  const length = cursor.readVarint();
  cursor.skip(length);
  return length;
}
