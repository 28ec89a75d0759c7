// A group's own view of the backlog: its head, and what it has done with ahead of it. The records stay for other groups.
import { LIMITS } from "../protocol/limits.ts";
import type { Message } from "../protocol/message.ts";
import type { Backlog } from "./backlog.ts";
import { decodeGonePlaces, encodeGonePlaces } from "./gone-places.ts";
import type { GroupLog } from "./group-log.ts";
import {
  NO_GROUP_FATES,
  type DoneRow,
  type DoneRowKey,
  type GroupFates,
  type GroupPosition,
  type GroupStore,
} from "./group-store.ts";
import { countMessagesBefore, countRemovedFrom } from "./log-reading.ts";
import { endOffset, type Run } from "./run.ts";
import { countFate, type Fate } from "./fates.ts";

/** What lies between the head and another place: its messages, and those of them that are done with or gone. */
interface Stretch {
  readonly offset: number;
  readonly messages: number;
  readonly done: number;
}

export class GroupView implements GroupLog {
  readonly #id: number;
  readonly #log: Backlog;
  readonly #store: GroupStore;
  #headOffset: number;
  /** Messages before the head. Invariant: depth = put - passed - done ahead. */
  #passedMessages: number;
  #doneAheadMessages: number;
  #startMessages: number;
  #fates: GroupFates;
  #scanMark: number;
  #isChanged = false;
  /** What was done with, by range of offsets; loaded when first asked for. */
  readonly #done = new Map<number, Set<number>>();
  readonly #storedBuckets = new Set<number>();
  readonly #changedBuckets = new Set<number>();
  /** Whether this commit deletes all stored rows of what was done. */
  #isDoneCleared = false;

  constructor(options: {
    readonly id: number;
    readonly log: Backlog;
    readonly store: GroupStore;
    readonly position: GroupPosition;
  }) {
    const { position } = options;
    this.#id = options.id;
    this.#log = options.log;
    this.#store = options.store;
    this.#headOffset = position.headOffset;
    this.#passedMessages = position.passedMessages;
    this.#doneAheadMessages = position.doneAheadMessages;
    this.#startMessages = position.startMessages;
    this.#fates = position.fates;
    this.#scanMark = position.scanMark;
  }

  get headOffset(): number {
    return this.#headOffset;
  }

  get nextOffset(): number {
    return this.#log.nextOffset;
  }

  get depth(): number {
    return this.#log.putMessages - this.#passedMessages - this.#doneAheadMessages;
  }

  /** Messages put since the group's start. */
  get putMessages(): number {
    return this.#log.putMessages - this.#startMessages;
  }

  /** Messages of the life before the group's start. */
  get startMessages(): number {
    return this.#startMessages;
  }

  get fates(): GroupFates {
    return this.#fates;
  }

  get scanMark(): number {
    return this.#scanMark;
  }

  set scanMark(offset: number) {
    this.#scanMark = offset;
    this.#isChanged = true;
  }

  get position(): GroupPosition {
    return {
      headOffset: this.#headOffset,
      passedMessages: this.#passedMessages,
      doneAheadMessages: this.#doneAheadMessages,
      scanMark: this.#scanMark,
      startMessages: this.#startMessages,
      fates: this.#fates,
    };
  }

  runFrom(offset: number): Run | undefined {
    return this.#log.runFrom(Math.max(offset, this.#log.headOffset));
  }

  mayFollow(offset: number): boolean {
    return this.#doneAheadMessages > 0 || this.#log.mayFollow(offset);
  }

  get mayHoldTtl(): boolean {
    return this.#log.mayHoldTtl;
  }

  isGone(run: Run, place: number): boolean {
    return run.isGone(place) || this.#isDone(run.firstOffset + place);
  }

  isKept(offset: number): boolean {
    return offset >= this.#headOffset && this.#log.isKept(offset) && !this.#isDone(offset);
  }

  read(offset: number): Message | undefined {
    return this.#log.read(offset);
  }

  finishAll(offsets: readonly number[], fate: Fate): readonly number[] {
    const finished = offsets.filter((offset) => this.isKept(offset));
    this.#fates = countFate(this.#fates, fate, finished.length);
    for (const offset of finished) this.#markDone(offset, 1);
    if (finished.includes(this.#headOffset)) this.advance();
    return finished;
  }

  passControl(offset: number): void {
    if (offset < this.#headOffset || this.#isDone(offset)) return;
    this.#markDone(offset, 0);
    if (offset === this.#headOffset) this.advance();
  }

  /** All messages were removed from the channel, which has nothing before its next offset any more. */
  notePurge(): void {
    this.#fates = { ...this.#fates, removed: this.#fates.removed + this.depth };
    this.#restartAt(this.#log.nextOffset);
  }

  /** Has to be called before the channel gives up what lies before `offset`: what the group has not done with is dropped. */
  noteTrim(offset: number): void {
    if (offset <= this.#headOffset) return;
    this.#passUntil(offset, "dropped");
  }

  /** Whether going on at `offset` hands out anew what is there: also at the head itself, what was done with ahead of it. */
  isBack(offset: number): boolean {
    return offset < this.#headOffset || (offset === this.#headOffset && offset < this.#log.nextOffset);
  }

  /** Goes on at `offset`: forwards, what was passed counts as skipped; back, the account begins anew there. */
  seek(offset: number): void {
    if (this.isBack(offset)) this.begin(offset);
    else this.#passUntil(offset, "skipped");
  }

  /** The account begins at `offset`, with what is there and what is put from now on: what was removed before does not count. */
  begin(offset: number): void {
    this.#restartAt(offset);
    this.#doneAheadMessages = this.#log.hasRemoved ? countRemovedFrom(this.#log, offset) : 0;
    this.#startMessages = this.#passedMessages + this.#doneAheadMessages;
    this.#fates = NO_GROUP_FATES;
    this.advance();
  }

  /** Moves the head over what is done with or gone. */
  advance(): void {
    this.#moveHead(this.#measure(undefined));
  }

  /** Whether the row of the group has to be written. */
  takeIsChanged(): boolean {
    const isChanged = this.#isChanged;
    this.#isChanged = false;
    return isChanged;
  }

  takeDoneChanges(): { readonly isCleared: boolean; readonly write: DoneRow[]; readonly delete: DoneRowKey[] } {
    const write: DoneRow[] = [];
    const headBucket = bucketOf(this.#headOffset);
    for (const bucket of this.#changedBuckets) {
      const places = this.#done.get(bucket);
      if (bucket < headBucket || places === undefined || !this.#hasPlaceAhead(bucket, places)) continue;
      write.push({ groupId: this.#id, bucket, places: encodeGonePlaces(places) });
    }
    // The head has looked at every row that it passed, so those are known.
    const over = [...this.#storedBuckets].filter((bucket) => bucket < headBucket);
    for (const bucket of over) this.#storedBuckets.delete(bucket);
    for (const { bucket } of write) this.#storedBuckets.add(bucket);
    for (const bucket of this.#done.keys()) if (bucket < headBucket) this.#done.delete(bucket);
    this.#changedBuckets.clear();
    const isCleared = this.#isDoneCleared;
    this.#isDoneCleared = false;
    return { isCleared, write, delete: over.map((bucket) => ({ groupId: this.#id, bucket })) };
  }

  /** Places before the head say nothing any more, so a row that has only those need not be written. */
  #hasPlaceAhead(bucket: number, places: ReadonlySet<number>): boolean {
    const head = this.#headOffset - bucket * LIMITS.doneOffsetsPerRow;
    for (const place of places) if (place >= head) return true;
    return false;
  }

  #isDone(offset: number): boolean {
    return this.#doneIn(bucketOf(offset)).has(offset % LIMITS.doneOffsetsPerRow);
  }

  #doneIn(bucket: number): Set<number> {
    let places = this.#done.get(bucket);
    if (places === undefined) {
      const stored = this.#isDoneCleared ? undefined : this.#store.readDone(this.#id, bucket);
      if (stored !== undefined) this.#storedBuckets.add(bucket);
      this.#done.set(bucket, (places = decodeGonePlaces(stored)));
    }
    return places;
  }

  #markDone(offset: number, messages: 0 | 1): void {
    const bucket = bucketOf(offset);
    this.#doneIn(bucket).add(offset % LIMITS.doneOffsetsPerRow);
    this.#changedBuckets.add(bucket);
    this.#doneAheadMessages += messages;
    this.#isChanged = true;
  }

  /** Moves the head to `offset`, and on over what is done with there; what was not counts as `fate`. */
  #passUntil(offset: number, fate: "dropped" | "skipped"): void {
    const stretch = this.#measure(offset);
    this.#fates = { ...this.#fates, [fate]: this.#fates[fate] + stretch.messages - stretch.done };
    this.#moveHead(stretch);
    this.advance();
  }

  #moveHead({ offset, messages, done }: Stretch): void {
    if (offset === this.#headOffset) return;
    // Also where the log has nothing any more: a row that nobody has looked at would stay for ever.
    for (let bucket = bucketOf(this.#headOffset); bucket < bucketOf(offset); bucket++) this.#doneIn(bucket);
    this.#headOffset = offset;
    this.#passedMessages += messages;
    this.#doneAheadMessages -= done;
    this.#isChanged = true;
  }

  /** Walks from the head to `offset`, or while records are done with or gone. */
  #measure(toOffset: number | undefined): Stretch {
    let offset = this.#headOffset;
    let messages = 0;
    let done = 0;
    const passVanished = (before: number): void => {
      // Segments between were removed whole, or lost by compaction what the run's totals do not count.
      const vanished = before - this.#passedMessages - messages;
      messages += vanished;
      done += vanished;
    };
    for (let run = this.runFrom(offset); run !== undefined; run = this.runFrom(offset)) {
      if (run.firstOffset > offset) {
        if (toOffset !== undefined && run.firstOffset > toOffset) break;
        passVanished(run.before.messages);
        offset = run.firstOffset;
      }
      for (; offset < endOffset(run); offset++) {
        const place = offset - run.firstOffset;
        const isGone = this.isGone(run, place);
        if (toOffset === undefined ? !isGone : offset >= toOffset) return { offset, messages, done };
        if (!run.isPresent(place) || run.isControl(place)) continue;
        messages += 1;
        if (isGone) done += 1;
      }
    }
    if (toOffset !== undefined && toOffset < this.#log.nextOffset) {
      passVanished(countMessagesBefore(this.#log, toOffset));
      return { offset: toOffset, messages, done };
    }
    passVanished(this.#log.putMessages);
    return { offset: this.#log.nextOffset, messages, done };
  }

  #restartAt(offset: number): void {
    this.#done.clear();
    this.#storedBuckets.clear();
    this.#changedBuckets.clear();
    this.#isDoneCleared = true;
    this.#headOffset = offset;
    this.#passedMessages = countMessagesBefore(this.#log, offset);
    this.#doneAheadMessages = 0;
    this.#scanMark = 0;
    this.#isChanged = true;
  }
}

function bucketOf(offset: number): number {
  return Math.floor(offset / LIMITS.doneOffsetsPerRow);
}
