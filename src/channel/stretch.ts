// A stretch: what lies between the head and the place a get stops at. Walking it changes nothing.
import type { ControlEvent, ControlRecord } from "../protocol/message.ts";
import { decodeUtf8 } from "../protocol/bytes.ts";
import { endOffset, type Run } from "./run.ts";
import { Selection } from "./selection.ts";
import { addTotals, NO_TOTALS, subtractTotals, type MessageIdEntry, type Totals } from "./store.ts";

/** A record that may be given up. */
export interface Expendable {
  readonly offset: number;
  readonly putAtMs: number;
  /** Messages and bytes between the head and it. */
  readonly messages: number;
  readonly bytes: number;
}

export interface StretchRequest {
  /** Messages to take at most; 0 only passes what was removed. */
  readonly messagesMax: number;
  /** Message bytes to take at most; the first message is taken whatever its size. */
  readonly bytesMax: number;
  /** Where records are given up and not taken: whether this one may be. */
  readonly isExpendable?: (record: Expendable) => boolean;
}

export interface Stretch {
  readonly selection: Selection;
  /** Control records that are passed on the way. */
  readonly controls: readonly ControlRecord[];
  readonly messageIds: readonly MessageIdEntry[];
  /** Where the head comes to stand, in which run and at which place of it; `undefined` for the run when nothing follows. */
  readonly run: Run | undefined;
  readonly place: number;
  readonly headOffset: number;
  /** Messages and bytes between the old head and the new, and the part of them that was removed earlier. */
  readonly passed: Totals;
  readonly gone: Totals;
  /** Bytes of `gone` that are not stored any more. */
  readonly lostBytes: number;
  /** Whether more messages were there, but not within `bytesMax`. */
  readonly isCutByBytes: boolean;
}

/** Where records are read from. `mayFollow` tells whether anything but plain messages can lie at or after an offset. */
export interface RunSource {
  runFrom(offset: number): Run | undefined;
  mayFollow(offset: number): boolean;
  /** Where the next record will be put. */
  readonly nextOffset: number;
}

class Walk {
  readonly selection = new Selection();
  readonly controls: ControlRecord[] = [];
  readonly messageIds: MessageIdEntry[] = [];
  passed: Totals = NO_TOTALS;
  gone: Totals = NO_TOTALS;
  lostBytes = 0;
  isCutByBytes = false;
  readonly #request: StretchRequest;

  constructor(request: StretchRequest) {
    this.#request = request;
  }

  get isFull(): boolean {
    return this.selection.count >= this.#request.messagesMax || this.isCutByBytes;
  }

  /** Steps over `place`, or returns false because the walk ends before it. */
  step(run: Run, place: number): boolean {
    if (!run.isPresent(place)) return true;
    if (run.gone.has(place)) {
      this.#count(run, place, true);
      return true;
    }
    if (this.#request.isExpendable !== undefined && !this.#request.isExpendable(this.#describe(run, place))) return false;
    if (run.isControl(place)) {
      if (this.#request.messagesMax === 0) return false;
      this.controls.push(readControl(run, place));
      return true;
    }
    if (this.isFull) return false;
    const bytes = run.messageBytes(place);
    if (this.selection.count > 0 && this.selection.bytes + bytes > this.#request.bytesMax) {
      this.isCutByBytes = true;
      return false;
    }
    this.selection.add(run, place);
    const messageId = run.messageId(place);
    if (messageId !== undefined) this.messageIds.push({ messageId, offset: run.firstOffset + place });
    this.#count(run, place, false);
    return true;
  }

  #describe(run: Run, place: number): Expendable {
    const { count, bytes } = this.selection;
    return { offset: run.firstOffset + place, putAtMs: run.times(place).putAtMs, messages: count, bytes };
  }

  /** Passes from one run to the next: segments between them were removed whole. */
  cross(from: Run, to: Run): void {
    const end = addTotals(from.before, { messages: from.messages, bytes: from.bytes, segments: 1 });
    const between = subtractTotals(to.before, end);
    this.passed = addTotals(this.passed, between);
    this.gone = addTotals(this.gone, between);
    this.lostBytes += between.bytes;
  }

  #count(run: Run, place: number, isGone: boolean): void {
    if (run.isControl(place)) return;
    const record: Totals = { messages: 1, bytes: run.messageBytes(place), segments: 0 };
    this.passed = addTotals(this.passed, record);
    if (isGone) this.gone = addTotals(this.gone, record);
  }
}

/**
 * Walks from `headOffset` over removed records, control records and at most the requested messages. It goes on behind the last
 * taken message while removed or control records may follow, so that the head never stands before something that is not there.
 */
export function walkStretch(source: RunSource, headOffset: number, request: StretchRequest): Stretch {
  const walk = new Walk(request);
  let run = source.runFrom(headOffset);
  let place = run === undefined ? 0 : Math.max(0, headOffset - run.firstOffset);
  let offset = run === undefined ? source.nextOffset : headOffset;
  const isOver = (at: number): boolean => walk.isFull && !source.mayFollow(at);
  while (run !== undefined) {
    // What compaction left out counts as passed once the head has come to its segment: no total says any more that it follows.
    while (place < run.count && (!run.isPresent(place) || !isOver(run.firstOffset + place)) && walk.step(run, place)) place++;
    offset = run.firstOffset + place;
    if (place < run.count || isOver(offset)) break;
    const next = source.runFrom(endOffset(run));
    if (next === undefined) {
      // The tail may have been removed: the head must not stay before it.
      offset = source.nextOffset;
      break;
    }
    walk.cross(run, next);
    run = next;
    place = 0;
    offset = next.firstOffset;
  }
  const { selection, controls, messageIds, passed, gone, lostBytes, isCutByBytes } = walk;
  return { selection, controls, messageIds, run, place, headOffset: offset, passed, gone, lostBytes, isCutByBytes };
}

export function readControl(run: Run, place: number): ControlRecord {
  const { offset, putAtMs, body } = run.message(place);
  return { offset, putAtMs, control: JSON.parse(decodeUtf8(body) ?? "null") as ControlEvent };
}
