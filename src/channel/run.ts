// A run: consecutive records that are in memory, either read from a segment or just put and not yet stored.
import { Block } from "../protocol/block.ts";
import { BlockWriter, type BlockRecord } from "../protocol/block-writer.ts";
import { contentOf, type Message } from "../protocol/message.ts";
import { decodeGonePlaces } from "./gone-places.ts";
import { BlockPart, RecordPart, type BlockOrigin, type RowRoom, type RunPart } from "./run-part.ts";
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
  messageId(place: number): string | undefined;
  /** Where a record was put from (protocol/source.ts). */
  source(place: number): string | undefined;
  /** When a record was put and how long it lives, if it says so. */
  times(place: number): { readonly putAtMs: number; readonly ttlMs: number | undefined };
  message(place: number): Message;
  /** A block of the records from one place to another, exclusive; all of them are there. */
  toBlock(from: number, to: number): Uint8Array<ArrayBuffer>;
}

/** One for the module, since blocks are built synchronously. */
const writer = new BlockWriter();

/** Records that lie in one block. */
export class BlockRun implements Run {
  readonly firstOffset: number;
  readonly count: number;
  readonly bytes: number;
  readonly messages: number;
  readonly before: Totals;
  readonly gone: Set<number>;
  readonly #block: Block;

  constructor(segment: Omit<StoredSegment, "block" | "putAtMs">, block: Block) {
    this.firstOffset = segment.firstOffset;
    this.count = segment.count;
    this.bytes = segment.bytes;
    this.messages = segment.messages;
    this.before = segment.before;
    this.gone = decodeGonePlaces(segment.gone);
    this.#block = block;
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

  messageId(place: number): string | undefined {
    return this.#block.messageId(this.#find(place));
  }

  source(place: number): string | undefined {
    return this.#block.source(this.#find(place));
  }

  times(place: number): { readonly putAtMs: number; readonly ttlMs: number | undefined } {
    return this.#block.times(this.#find(place));
  }

  message(place: number): Message {
    return this.#block.message(this.#find(place));
  }

  /** Its entries and bodies as they are stored. */
  toBlock(from: number, to: number): Uint8Array<ArrayBuffer> {
    const [first, end] = [this.#find(from), this.#find(to - 1) + 1];
    writer.begin(this.#block.baseTimeMs);
    writer.addSlice(this.#block, first, end, undefined);
    return writer.finish(this.#block.offsetOf(first) - this.#block.skippedBefore(first), false);
  }

  #find(place: number): number {
    return this.#block.isSparse ? this.#block.placeOf(this.firstOffset + place) : place;
  }
}

/** Records of one part: the place in the run at which it begins, and the places in it. */
interface Within {
  readonly start: number;
  readonly part: RunPart;
  readonly first: number;
  readonly end: number;
}

/** A run read back from storage. */
export class StoredRun extends BlockRun {
  constructor(segment: StoredSegment) {
    super(segment, Block.ofStored(segment.block));
  }
}

/** Records as they were put: the commit's own, and the newest segments while they are in the head window. */
export class PendingRun implements Run {
  readonly firstOffset: number;
  readonly before: Totals;
  readonly gone: Set<number>;
  readonly #parts: RunPart[] = [];
  /** The place at which each part begins. */
  readonly #starts: number[] = [];
  #count = 0;
  #bytes = 0;
  #messages = 0;
  /** The part that was looked at last: what follows is mostly in it too. */
  #recent = 0;

  constructor(firstOffset: number, before: Totals) {
    this.firstOffset = firstOffset;
    this.before = before;
    this.gone = new Set();
  }

  get count(): number {
    return this.#count;
  }

  get present(): number {
    return this.#count;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get messages(): number {
    return this.#messages;
  }

  get hasMessageIds(): boolean {
    return this.#parts.some((part) => part.hasMessageIds);
  }

  push(record: BlockRecord): void {
    const last = this.#parts.at(-1);
    const part = last instanceof RecordPart ? last : new RecordPart();
    if (part !== last) this.#open(part);
    this.#bytes += part.push(record);
    this.#count += 1;
    if (!record.isControl) this.#messages += 1;
  }

  pushBlock(block: Block, origin: BlockOrigin): void {
    if (block.count > 0) this.#add(new BlockPart(block, origin));
  }

  isPresent(place: number): boolean {
    return place < this.#count;
  }

  isGone(place: number): boolean {
    return this.gone.has(place);
  }

  isControl(place: number): boolean {
    const [part, inPart] = this.#find(place);
    return part.isControl(inPart);
  }

  messageBytes(place: number): number {
    const [part, inPart] = this.#find(place);
    return part.messageBytes(inPart);
  }

  /** Bytes of the messages from `place` on. */
  bytesFrom(place: number): number {
    return place === 0 ? this.#bytes : this.slice(place, this.#count, this.before).bytes;
  }

  key(place: number): string | undefined {
    const [part, inPart] = this.#find(place);
    return part.key(inPart);
  }

  messageId(place: number): string | undefined {
    const [part, inPart] = this.#find(place);
    return part.messageId(inPart);
  }

  source(place: number): string | undefined {
    const [part, inPart] = this.#find(place);
    return part.source(inPart);
  }

  times(place: number): { readonly putAtMs: number; readonly ttlMs: number | undefined } {
    const [part, inPart] = this.#find(place);
    return part.times(inPart);
  }

  message(place: number): Message {
    const [part, inPart] = this.#find(place);
    const record = part.record(inPart);
    return { offset: this.firstOffset + place, putAtMs: record.putAtMs, ...contentOf(record) };
  }

  /** Where the records end that a row takes, from `from` on; at least one of them. */
  fit(from: number, room: RowRoom): number {
    let bytes = 0;
    const last = Math.min(this.#count, from + room.records);
    for (const within of this.#within(from, last)) {
      const { start, part, first, end } = within;
      const whole = part.storedBytes(first, end);
      if (bytes + whole > room.bytes) return Math.max(from + 1, start + findFit(within, room.bytes - bytes));
      bytes += whole;
    }
    return last;
  }

  /** The records from one place to another, exclusive; `before` are the totals before them. */
  slice(from: number, to: number, before: Totals): PendingRun {
    const run = new PendingRun(this.firstOffset + from, before);
    for (const { part, first, end } of this.#within(from, to))
      run.#add(first === 0 && end === part.count ? part : part.slice(first, end));
    for (const place of this.gone) if (place >= from && place < to) run.gone.add(place - from);
    return run;
  }

  /** A block of the records from one place to another, exclusive; with where they were put from, as it is stored, if asked for. */
  toBlock(from: number, to: number, withSources = false): Uint8Array<ArrayBuffer> {
    const parts = this.#within(from, to);
    writer.begin(parts.reduce((least, { part }) => Math.min(least, part.firstPutAtMs), Number.MAX_SAFE_INTEGER));
    for (const { part, first, end } of parts) part.writeTo(writer, first, end);
    return writer.finish(this.firstOffset + from, withSources);
  }

  #open(part: RunPart): void {
    this.#parts.push(part);
    this.#starts.push(this.#count);
  }

  #add(part: RunPart): void {
    this.#open(part);
    this.#count += part.count;
    this.#bytes += part.bytes;
    this.#messages += part.messages;
  }

  /** The parts that have places from one to another, exclusive, with those places in them. */
  #within(from: number, to: number): readonly Within[] {
    const within: Within[] = [];
    if (from >= to) return within;
    for (let index = this.#search(from); index < this.#parts.length; index++) {
      const part = this.#parts[index];
      const start = this.#starts[index] ?? 0;
      if (part === undefined || start >= to) break;
      within.push({ start, part, first: Math.max(0, from - start), end: Math.min(part.count, to - start) });
    }
    return within;
  }

  #find(place: number): readonly [part: RunPart, place: number] {
    if (!this.#holds(this.#recent, place)) this.#recent = this.#search(place);
    const part = this.#parts[this.#recent];
    if (part === undefined) throw new RangeError(`No record at place ${place}`);
    return [part, place - (this.#starts[this.#recent] ?? 0)];
  }

  #holds(index: number, place: number): boolean {
    const part = this.#parts[index];
    const start = this.#starts[index] ?? 0;
    return part !== undefined && place >= start && place < start + part.count;
  }

  #search(place: number): number {
    if (place >= this.#count) throw new RangeError(`No record at place ${place}`);
    let low = 0;
    let high = this.#parts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if ((this.#starts[middle] ?? 0) <= place) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}

/** The last place in the part up to which its records take at most so many bytes; they do not all. */
function findFit({ part, first, end }: Within, bytesMax: number): number {
  let [low, high] = [first, end];
  while (low < high) {
    const middle = (low + high + 1) >>> 1;
    if (part.storedBytes(first, middle) <= bytesMax) low = middle;
    else high = middle - 1;
  }
  return low;
}

export function endOffset(run: Run | Segment): number {
  return run.firstOffset + run.count;
}
