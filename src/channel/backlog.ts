// The backlog: the ordered records of a channel, from its head to its end, and the changes to storage that operations on it make.
// Knows offsets, totals and segments; knows nothing of limits, waiting or the life cycle (channel.ts).
import { assert } from "../base/assert.ts";
import { Block } from "../protocol/block.ts";
import { encodeUtf8 } from "../protocol/bytes.ts";
import { contentOf, DEFAULT_CONTENT_TYPES, type ControlEvent, type Message } from "../protocol/message.ts";
import { LIMITS } from "../protocol/limits.ts";
import { BacklogDraft } from "./backlog-draft.ts";
import { Compactor, type Compaction } from "./compaction.ts";
import { countFate, NO_FATES, type Fate, type FateCounts } from "./fates.ts";
import type { GroupLog } from "./group-log.ts";
import { readMessage } from "./log-reading.ts";
import { HeadWindow } from "./head-window.ts";
import { EMPTY_POSITION, isRestTold } from "./position.ts";
import type { PutBatch } from "./put-batch.ts";
import { endOffset, PendingRun, type Run } from "./run.ts";
import { cutSegments, encodeGone, type Cut } from "./segment-cut.ts";
import {
  addTotals,
  NO_TOTALS,
  subtractTotals,
  type BacklogChanges,
  type ChannelStore,
  type MessageIdEntry,
  type Position,
  type Segment,
  type Totals,
} from "./store.ts";
import { walkStretch, type Expendable, type Stretch, type StretchRequest } from "./stretch.ts";

export class Backlog implements GroupLog {
  readonly #store: ChannelStore;
  readonly #window: HeadWindow;
  readonly #compactor: Compactor;
  /** Records that this commit puts; its first offset is where the stored ones end. */
  #pending: PendingRun;
  #headOffset: number;
  /** Totals before the head. Invariant: depth = put - passed - removedAhead. */
  #passed: Totals;
  #removedAhead: Totals;
  #lostAheadBytes: number;
  #fates: FateCounts;
  #lastControlOffset: number;
  /** Offset of the newest message that names its time to live, or 0. */
  #lastTtlOffset: number;
  /** Where delivery begins to look for messages after waking, unless the head is further on. */
  scanMark: number;
  /** The row as it is stored. Most commits leave it, because the segments say the same or more (rule RC2). */
  #written: Position;
  /** Where the stored segments begin and end; the end is 0 when none is stored. */
  #storedFirst: number;
  #storedEnd: number;
  /** The last stored segment, if it is known to be there. */
  #storedLast: Pick<Segment, "firstOffset" | "bytes"> | undefined;
  /** First offset of a stored segment that the head has passed and whose row the next segment takes; 0 where there is none. */
  #spare = 0;
  /** Whether a reader of the segments alone would find the head: it stands at the beginning of one. */
  #isHeadAtSegment: boolean;

  #draft = new BacklogDraft();

  /** Reads at most four rows, whatever the backlog (rule RC1). */
  constructor(store: ChannelStore) {
    this.#store = store;
    this.#window = new HeadWindow(store);
    this.#compactor = new Compactor(store);
    const position = store.readPosition() ?? EMPTY_POSITION;
    const last = store.readLastSegment();
    this.#written = position;
    this.#storedEnd = last === undefined ? 0 : endOffset(last);
    this.#storedLast = last;
    this.#headOffset = position.headOffset;
    this.#passed = position.passed;
    this.#removedAhead = position.removedAhead;
    this.#lostAheadBytes = position.lostAheadBytes;
    this.#fates = position.fates;
    this.#lastControlOffset = position.lastControlOffset;
    this.scanMark = position.scanMark;
    this.#lastTtlOffset = position.lastTtlOffset;
    const isTailNewer = last !== undefined && this.#storedEnd > position.nextOffset;
    const put = isTailNewer ? addTotals(last.before, { messages: last.messages, bytes: last.bytes, segments: 1 }) : position.put;
    this.#pending = new PendingRun(isTailNewer ? this.#storedEnd : position.nextOffset, put);
    // Whole segments may have been deleted at the head without writing the row (rule RC2).
    const head = last === undefined ? undefined : this.#window.runFrom(this.#headOffset);
    if (head !== undefined) this.#window.keep(head);
    if (head !== undefined && head.firstOffset > this.#headOffset) {
      this.#headOffset = head.firstOffset;
      this.#passed = head.before;
    }
    this.#storedFirst = head?.firstOffset ?? this.#headOffset;
    this.#isHeadAtSegment = head?.firstOffset === this.#headOffset;
    if (last !== undefined && this.#storedEnd <= this.#headOffset) this.#spareLast(last);
  }

  get nextOffset(): number {
    return endOffset(this.#pending);
  }

  get headOffset(): number {
    return this.#headOffset;
  }

  /** Messages put since the life began. */
  get putMessages(): number {
    return this.#pending.before.messages + this.#pending.messages;
  }

  get fates(): FateCounts {
    return this.#fates;
  }

  /** Messages that wait to be taken. */
  get depth(): number {
    return this.putMessages - this.#passed.messages - this.#removedAhead.messages;
  }

  /** Bytes of the messages that wait to be taken. */
  get bytes(): number {
    return this.#pending.before.bytes + this.#pending.bytes - this.#passed.bytes - this.#removedAhead.bytes;
  }

  /** Stored rows that hold waiting records. */
  get segments(): number {
    return this.#pending.before.segments - this.#passed.segments - this.#removedAhead.segments;
  }

  /** When the last commit happened that could have made the channel idle. */
  get writtenAtMs(): number {
    return this.#written.writtenAtMs;
  }

  /** Whether a message at or after the head may name a time to live. */
  get mayHoldTtl(): boolean {
    return this.#lastTtlOffset >= this.#headOffset;
  }

  /** Whether anything at or after the head was removed. */
  get hasRemoved(): boolean {
    return this.#removedAhead.messages > 0;
  }

  isGone(run: Run, place: number): boolean {
    return run.isGone(place);
  }

  /** Where the head would come to stand if records were given up as long as `isExpendable` says so. */
  findTrim(isExpendable: (record: Expendable) => boolean): number {
    return this.plan({ messagesMax: Number.MAX_SAFE_INTEGER, bytesMax: Number.MAX_SAFE_INTEGER, isExpendable }).headOffset;
  }

  /** Gives up records from the head on as long as `isExpendable` says so; they count as dropped or acked. */
  trim(isExpendable: (record: Expendable) => boolean, fate: "dropped" | "acked"): void {
    const request = { messagesMax: Number.MAX_SAFE_INTEGER, bytesMax: Number.MAX_SAFE_INTEGER, isExpendable };
    const stretch = this.plan(request);
    if (stretch.headOffset === this.#headOffset) return;
    if (fate === "dropped") this.#fates = { ...this.#fates, dropped: this.#fates.dropped + stretch.selection.count };
    this.take(stretch);
  }

  /** Whether a message is kept at `offset`. */
  isKept(offset: number): boolean {
    return this.#findKept(offset) !== undefined;
  }

  /** Whether this commit changes what is stored. */
  get hasChanges(): boolean {
    const isTouched = this.#draft.isTouched || this.#draft.isPositionChanged || this.#pending.count > 0;
    return isTouched || !isRestTold(this.#written, this.#positionAt(0));
  }

  /** Notes that the channel was changed in another way: its idle time begins anew. */
  noteChange(): void {
    this.#draft.isPositionChanged = true;
  }

  /** Appends messages and returns the offset of the first. `source` is that of all of them; each has its own if absent. */
  append(messages: PutBatch, nowMs: number, source?: string): number {
    const offset = this.nextOffset;
    if (messages instanceof Block) {
      if (messages.lastTtlPlace >= 0) this.#lastTtlOffset = offset + messages.lastTtlPlace;
      this.#pending.pushBlock(messages, { putAtMs: nowMs, source });
      return offset;
    }
    for (const message of messages) {
      if (message.ttlMs !== undefined) this.#lastTtlOffset = this.nextOffset;
      this.#pending.push({ ...contentOf(message), source: source ?? message.source, isControl: false, putAtMs: nowMs });
    }
    return offset;
  }

  /** Appends a control record. One that directly follows another supersedes it, so that they stay fewer than the messages. */
  appendControl(event: ControlEvent, nowMs: number): void {
    const previous = this.nextOffset - 1;
    if (previous === this.#lastControlOffset && previous >= this.#headOffset) this.#dropControl(previous);
    this.#lastControlOffset = this.nextOffset;
    const body = encodeUtf8(JSON.stringify(event));
    this.#pending.push({ body, presentation: "json", contentType: DEFAULT_CONTENT_TYPES.json, isControl: true, putAtMs: nowMs });
  }

  /** What a get would take; nothing changes until `take`. */
  plan(request: StretchRequest): Stretch {
    return walkStretch(this, this.#headOffset, request);
  }

  /** Takes a planned stretch: the head moves behind it. */
  take(stretch: Stretch): void {
    const { run, place, headOffset, messageIds } = stretch;
    const isEnd = headOffset === this.nextOffset;
    this.#headOffset = headOffset;
    if (isEnd) {
      // Whatever was removed lies behind the head now, also where no record of it is left to be walked over.
      this.#passed = this.#putTotals;
      this.#removedAhead = NO_TOTALS;
      this.#lostAheadBytes = 0;
    } else {
      const isStored = run !== undefined && run !== this.#pending;
      const segments = isStored ? run.before.segments + Number(place === run.count) : this.#pending.before.segments;
      this.#passed = { ...addTotals(this.#passed, stretch.passed), segments };
      this.#removedAhead = subtractTotals(this.#removedAhead, stretch.gone);
      this.#lostAheadBytes -= stretch.lostBytes;
    }
    for (const { messageId, offset } of messageIds)
      if (offset < this.#pending.firstOffset) this.#draft.deletedIds.set(offset, messageId);
    const isBoundary = run === undefined || place === 0 || place === run.count;
    this.#isHeadAtSegment = isBoundary && !isEnd;
    const keptFirst =
      isEnd || run === undefined || run === this.#pending ? this.#pending.firstOffset : isBoundary ? headOffset : run.firstOffset;
    if (this.#storedEnd > 0 && keptFirst > this.#storedFirst) {
      this.#draft.deleteBelow = keptFirst;
      this.#storedFirst = keptFirst;
    }
    this.#window.dropBelow(headOffset);
    assert(this.depth >= 0 && this.#removedAhead.messages >= 0, "depth = put - passed - removedAhead, all of them counts");
  }

  /** Ends messages, which are removed with all that belongs to them. Returns the offsets of those that were kept. */
  finishAll(offsets: readonly number[], fate: Fate): readonly number[] {
    const finished: number[] = [];
    const runs = new Set<Run>();
    let bytes = 0;
    for (const offset of offsets) {
      const run = this.#findKept(offset);
      if (run === undefined) continue;
      const place = offset - run.firstOffset;
      const messageId = run.messageId(place);
      if (messageId !== undefined && run !== this.#pending) this.#draft.deletedIds.set(offset, messageId);
      finished.push(offset);
      bytes += run.messageBytes(place);
      this.#markGone(run, place);
      runs.add(run);
    }
    this.#fates = countFate(this.#fates, fate, finished.length);
    this.#removedAhead = addTotals(this.#removedAhead, { messages: finished.length, bytes, segments: 0 });
    this.#dropGone(runs, finished);
    return finished;
  }

  /** Notes that everybody was told of the control record at `offset`, so that the head does not stop there. */
  passControl(offset: number): void {
    if (offset >= this.#headOffset) this.#dropControl(offset);
  }

  /** The offset of the first kept message with this id: one look-up, whatever the backlog. */
  findMessageId(messageId: string): number | undefined {
    let from = this.#headOffset;
    while (from < this.#pending.firstOffset) {
      const stored = this.#store.findMessageId(messageId, from);
      if (stored === undefined) break;
      if (!this.#draft.deletedIds.has(stored)) return stored;
      from = stored + 1;
    }
    const first = Math.max(0, this.#headOffset - this.#pending.firstOffset);
    for (let place = first; place < this.#pending.count; place++) {
      if (this.#pending.messageId(place) === messageId && !this.#pending.gone.has(place))
        return this.#pending.firstOffset + place;
    }
    return undefined;
  }

  /** Removes everything and returns how many messages that were. */
  purge(): number {
    const removed = this.depth;
    this.#fates = { ...this.#fates, removed: this.#fates.removed + removed };
    this.#beginEmpty(this.nextOffset, this.#putTotals);
    return removed;
  }

  /** Begins a new life: offsets and totals start over. */
  restart(): void {
    this.#fates = NO_FATES;
    this.#lastControlOffset = 0;
    this.#beginEmpty(1, NO_TOTALS);
  }

  /** The message kept at `offset`. */
  read(offset: number): Message | undefined {
    return readMessage(this, offset);
  }

  /** For `walkStretch` and browsing: the first run that ends after `offset`. Runs at the head stay in memory. */
  runFrom(offset: number): Run | undefined {
    if (offset >= this.nextOffset) return undefined;
    const stored = offset < this.#pending.firstOffset ? this.#window.runFrom(offset) : undefined;
    if (stored === undefined) return this.#pending.count > 0 ? this.#pending : undefined;
    if (offset === this.#headOffset || this.#window.reaches(stored.firstOffset)) this.#window.keep(stored);
    return stored;
  }

  /** Whether anything but plain messages can lie at or after `offset`. */
  mayFollow(offset: number): boolean {
    return this.#removedAhead.messages > 0 || this.#removedAhead.segments > 0 || this.#lastControlOffset >= offset;
  }

  /** To be called before anything is decided: what was handed over is stored by now. */
  noteStored(): void {
    this.#window.noteStored();
  }

  /**
   * Hands over what has to be written and begins the next commit; undefined when nothing changed. It may be read before that
   * is stored: the next deadline is looked for first, and may need the run at a head.
   */
  takeChanges(nowMs: number): BacklogChanges | undefined {
    this.noteStored();
    const fromPlace = Math.max(0, this.#headOffset - this.#pending.firstOffset);
    const cuts = cutSegments(this.#pending, fromPlace);
    this.#lostAheadBytes += this.#pending.bytesFrom(fromPlace) - cuts.reduce((bytes, { run }) => bytes + run.bytes, 0);
    // Whoever only looks around causes no write.
    const compaction = this.hasChanges ? this.#compact() : undefined;
    const last = cuts.at(-1)?.segment;
    // With a control record left the segments tell where the head is, but not since when there are no messages.
    const isEmptied = this.depth === 0 && this.#draft.deleteBelow > 0;
    const reuseSegment = cuts.length > 0 ? this.#spare : 0;
    if (cuts.length > 0) this.#spare = 0;
    else if (this.#draft.deleteBelow > 0 && this.#draft.deleteBelow >= this.#storedEnd) this.#keepSpare();
    if (this.#draft.deleteBelow >= this.#storedEnd) this.#storedEnd = 0;
    if (last !== undefined) {
      this.#storedLast = last;
      if (this.#storedEnd === 0) this.#storedFirst = cuts[0]?.segment.firstOffset ?? last.firstOffset;
      this.#storedEnd = endOffset(last);
    }
    if (cuts[0]?.segment.firstOffset === this.#headOffset) this.#isHeadAtSegment = true;
    this.#advancePending(cuts);
    const position = this.#takePosition(nowMs, isEmptied);
    const isChanged = this.#draft.isTouched || cuts.length > 0 || position !== undefined;
    const changes: BacklogChanges = {
      isPurge: this.#draft.isPurge,
      deleteBelowOffset: this.#draft.deleteBelow,
      deleteSegments: this.#draft.deletedSegments,
      reuseSegment,
      insertSegments: [...(compaction?.insertSegments ?? []), ...cuts.map((cut) => cut.segment)],
      writeGone: encodeGone([...this.#draft.changedGone, ...cuts.map(({ run }) => run)], this.#headOffset),
      deleteMessageIds: [...this.#draft.deletedIds].map(([offset, messageId]): MessageIdEntry => ({ messageId, offset })),
      insertMessageIds: cuts.flatMap((cut) => cut.messageIds),
      position,
    };
    this.#draft = new BacklogDraft();
    this.#window.handOver(compaction !== undefined);
    return isChanged ? changes : undefined;
  }

  /** Rewrites segments while removed messages take more room than those that are kept (rule RC9). */
  #compact(): Compaction | undefined {
    const deadBytes = this.#removedAhead.bytes - this.#lostAheadBytes;
    if (this.#draft.isPurge || deadBytes <= this.bytes + LIMITS.compactionSlackBytes) return undefined;
    const compaction = this.#compactor.compact({
      headOffset: this.#headOffset,
      changed: this.#draft.changedGone,
      deleted: this.#draft.deletedSegments,
    });
    const { runs, insertSegments, lostBytes } = compaction;
    if (runs.length === 0) return undefined;
    for (const run of runs) {
      this.#draft.deletedSegments.push(run.firstOffset);
      // Its removed places are not stored any more.
      this.#draft.changedGone.delete(run);
    }
    this.#lostAheadBytes += lostBytes;
    // It may be among them.
    this.#storedLast = undefined;
    const merged = runs.length - insertSegments.length;
    this.#removedAhead = { ...this.#removedAhead, segments: this.#removedAhead.segments + merged };
    this.#draft.isPositionChanged = true;
    return compaction;
  }

  /** Everything put so far; the segments are the stored ones. */
  get #putTotals(): Totals {
    const { before, messages, bytes } = this.#pending;
    return addTotals(before, { messages, bytes, segments: 0 });
  }

  /** The records of this commit become stored ones; they stay in the window if it reaches them. */
  #advancePending(cuts: readonly Cut[]): void {
    for (const { run } of cuts) {
      const isNext = this.#headOffset === run.firstOffset || this.#window.reaches(run.firstOffset);
      if (isNext) this.#window.keep(run);
    }
    const { before, messages, bytes } = this.#pending;
    this.#pending = new PendingRun(this.nextOffset, addTotals(before, { messages, bytes, segments: cuts.length }));
  }

  /** The position row, if the segments alone would not tell the same (rule RC2). */
  #takePosition(nowMs: number, isEmptied: boolean): Position | undefined {
    const isTailTold = this.#storedEnd === this.nextOffset || this.#written.nextOffset === this.nextOffset;
    const isHeadTold =
      (this.#isHeadAtSegment && this.#storedEnd > this.#headOffset) || this.#written.headOffset === this.#headOffset;
    const position = this.#positionAt(nowMs);
    const isTold = isTailTold && isHeadTold && isRestTold(this.#written, position);
    if (!this.#draft.isPositionChanged && !isEmptied && isTold) return undefined;
    return (this.#written = position);
  }

  #positionAt(writtenAtMs: number): Position {
    return {
      nextOffset: this.nextOffset,
      headOffset: this.#headOffset,
      put: this.#pending.before,
      passed: this.#passed,
      removedAhead: this.#removedAhead,
      lostAheadBytes: this.#lostAheadBytes,
      fates: this.#fates,
      lastControlOffset: this.#lastControlOffset,
      scanMark: this.scanMark,
      lastTtlOffset: this.#lastTtlOffset,
      writtenAtMs,
    };
  }

  /** The run of the message at `offset`, if one is kept there. */
  #findKept(offset: number): Run | undefined {
    const run = offset >= this.#headOffset && offset < this.nextOffset ? this.runFrom(offset) : undefined;
    if (run === undefined || run.firstOffset > offset) return undefined;
    const place = offset - run.firstOffset;
    return run.isGone(place) || run.isControl(place) ? undefined : run;
  }

  #dropControl(offset: number): void {
    const run = this.runFrom(offset);
    // One that is gone may have been left out by compaction: what is marked twice would count as another record that is gone.
    if (run === undefined || run.firstOffset > offset || run.isGone(offset - run.firstOffset)) return;
    this.#markGone(run, offset - run.firstOffset);
    this.#dropGone([run], [offset]);
  }

  #markGone(run: Run, place: number): void {
    run.gone.add(place);
    if (run === this.#pending) return;
    this.#draft.changedGone.add(run);
    this.#window.touch(run);
  }

  /** Moves the head if it is among what was marked, and drops those of the runs of which nothing is left. */
  #dropGone(runs: Iterable<Run>, offsets: readonly number[]): void {
    if (offsets.includes(this.#headOffset)) this.take(this.plan({ messagesMax: 0, bytesMax: 0 }));
    for (const run of runs) if (run !== this.#pending && run.gone.size === run.present) this.#dropSegment(run);
  }

  #dropSegment(run: Run): void {
    if (endOffset(run) <= this.#headOffset) return;
    this.#window.delete(run);
    this.#draft.deletedSegments.push(run.firstOffset);
    this.#removedAhead = { ...this.#removedAhead, segments: this.#removedAhead.segments + 1 };
    this.#lostAheadBytes += run.bytes;
    if (endOffset(run) !== this.#storedEnd) return;
    this.#storedEnd = run.firstOffset;
    this.#storedLast = undefined;
  }

  /** Nothing that is stored is needed any more: the row of the last segment stays for the next one (rule RC7). */
  #keepSpare(): void {
    const last = this.#storedLast;
    if (this.#draft.isPurge || last === undefined || last.bytes > LIMITS.segmentBytesMax) return;
    this.#draft.deleteBelow = last.firstOffset;
    this.#spareLast(last);
  }

  #spareLast({ firstOffset }: Pick<Segment, "firstOffset">): void {
    this.#spare = firstOffset;
    this.#storedLast = undefined;
    this.#storedEnd = 0;
  }

  #beginEmpty(nextOffset: number, put: Totals): void {
    this.#pending = new PendingRun(nextOffset, put);
    this.#headOffset = nextOffset;
    this.#passed = put;
    this.#removedAhead = NO_TOTALS;
    this.#lostAheadBytes = 0;
    this.#window.clear();
    this.#storedEnd = 0;
    this.#storedLast = undefined;
    this.#spare = 0;
    this.#isHeadAtSegment = false;
    this.#draft = new BacklogDraft();
    this.scanMark = 0;
    this.#lastTtlOffset = 0;
    this.#draft.isPurge = true;
    this.#draft.isPositionChanged = true;
  }
}
