// Chooses which messages a reader gets: first those that came back, then what the scan finds. Changes nothing until it is carried out.
import { LIMITS } from "../protocol/limits.ts";
import type { ControlRecord } from "../protocol/message.ts";
import type { GroupLog } from "./group-log.ts";
import type { DeferredBook } from "./deferred-book.ts";
import type { KeyLines } from "./key-lines.ts";
import type { LeaseBook } from "./lease-book.ts";
import { endOffset, type Run } from "./run.ts";
import { Selection } from "./selection.ts";
import { readControl } from "./stretch.ts";
import { MinHeap } from "../base/min-heap.ts";

export interface ChoiceRequest {
  readonly max: number;
  readonly bytesMax: number;
  readonly holder: string;
  readonly nowMs: number;
  /** Whether the time of a message is over; absent where none has one. */
  readonly isExpired: ((run: Run, place: number) => boolean) | undefined;
}

/** What is known of the messages before the cursor. */
export interface OpenMessages {
  readonly log: GroupLog;
  readonly leases: LeaseBook;
  readonly deferred: DeferredBook;
  readonly keys: KeyLines;
  /** Offsets of deferred messages that may be handed to anybody; some may not be any more. */
  readonly ready: MinHeap<number>;
}

export interface ParkedPlace {
  readonly offset: number;
  readonly key: string;
}

export class Choice {
  readonly selection = new Selection();
  readonly controls: ControlRecord[] = [];
  /** Messages that the scan passed because an earlier one of their key is open. */
  readonly parked: ParkedPlace[] = [];
  /** Messages that were met and whose time is over: nobody gets them. */
  readonly expired: number[] = [];
  /** Whether more messages were there, but not within the bytes. */
  isCutByBytes = false;
  /** Where the scan ends. */
  cursor: number;
  /** Where the scan found the first record that is handed out. */
  #firstFound: number | undefined;
  readonly #open: OpenMessages;
  readonly #request: ChoiceRequest;
  readonly #poppedReady: number[] = [];
  /** Offsets of deferred messages that wait behind others that this reader holds: it alone may have them. */
  readonly #own = new MinHeap<number>((a, b) => a < b);
  readonly #chosenOfKey = new Map<string, number>();
  readonly #chosen = new Set<number>();
  readonly #parkedKeys = new Set<string>();

  constructor(open: OpenMessages, cursor: number, request: ChoiceRequest) {
    this.#open = open;
    this.#request = request;
    this.cursor = cursor;
    for (const offset of open.keys.firstBehind(request.holder)) this.#own.push(offset);
    this.#chooseReady();
    if (!this.isCutByBytes) this.#scan();
  }

  /** What stays when the reader takes nothing: all that was parked before the first record that it would have got. */
  abandon(): { readonly cursor: number; readonly parked: readonly ParkedPlace[] } {
    for (const offset of this.#poppedReady) this.#open.ready.push(offset);
    const cursor = this.#firstFound ?? this.cursor;
    return { cursor, parked: this.parked.filter(({ offset }) => offset < cursor) };
  }

  get #isFull(): boolean {
    return this.selection.count >= this.#request.max || this.isCutByBytes;
  }

  #chooseReady(): void {
    const { log } = this.#open;
    for (let offset = this.#peekReady(); offset !== undefined && !this.#isFull; offset = this.#peekReady()) {
      if (!this.#isAvailable(offset)) {
        this.#popReady(offset);
        continue;
      }
      const run = log.runFrom(offset);
      if (run === undefined || run.firstOffset > offset) {
        this.#popReady(offset);
        continue;
      }
      if (this.#request.isExpired?.(run, offset - run.firstOffset) === true) {
        this.#popReady(offset);
        this.expired.push(offset);
        this.#chosen.add(offset);
        this.#offerNextOfKey(offset);
        continue;
      }
      if (!this.#take(run, offset - run.firstOffset)) return;
      this.#popReady(offset);
      this.#poppedReady.push(offset);
      this.#offerNextOfKey(offset);
    }
  }

  #peekReady(): number | undefined {
    const [own, ready] = [this.#own.peek(), this.#open.ready.peek()];
    return own === undefined || ready === undefined ? (own ?? ready) : Math.min(own, ready);
  }

  #popReady(offset: number): void {
    for (const heap of [this.#own, this.#open.ready]) if (heap.peek() === offset) heap.pop();
  }

  /** Whether a deferred message may be handed out now: due, not quarantined, and the first of its key that is not chosen yet. */
  #isAvailable(offset: number): boolean {
    const { deferred, keys } = this.#open;
    const message = deferred.find(offset);
    if (message === undefined || message.isQuarantined) return false;
    if (message.dueAtMs > this.#request.nowMs) {
      // It may have been due before, if the clock was set back.
      deferred.awaitDue(message);
      return false;
    }
    const { key } = message;
    if (key === undefined) return !this.#chosen.has(offset);
    return keys.mayHold(key, this.#request.holder) && keys.deferredAt(key, this.#chosenOfKey.get(key) ?? 0) === offset;
  }

  /** Who gets a message of a key may have the next ones too. */
  #offerNextOfKey(offset: number): void {
    const key = this.#open.deferred.find(offset)?.key;
    if (key === undefined) return;
    const chosen = (this.#chosenOfKey.get(key) ?? 0) + 1;
    this.#chosenOfKey.set(key, chosen);
    const next = this.#open.keys.deferredAt(key, chosen);
    if (next !== undefined) this.#open.ready.push(next);
  }

  #scan(): void {
    const { log } = this.#open;
    for (let run = log.runFrom(this.cursor); run !== undefined; run = log.runFrom(this.cursor)) {
      for (let place = Math.max(0, this.cursor - run.firstOffset); place < run.count; place++) {
        this.cursor = run.firstOffset + place;
        if (!this.#step(run, place)) return;
      }
      this.cursor = endOffset(run);
    }
    this.cursor = log.nextOffset;
  }

  /** Steps over the record at `place`, or returns false because the scan ends before it. */
  #step(run: Run, place: number): boolean {
    const offset = run.firstOffset + place;
    const { log, leases, deferred } = this.#open;
    if (this.#isFull && (this.selection.count === 0 || !log.mayFollow(offset))) return false;
    if (this.#open.log.isGone(run, place)) return true;
    if (run.isControl(place)) {
      // One with nothing behind it stays until a message comes.
      this.#firstFound ??= offset;
      this.controls.push(readControl(run, place));
      return true;
    }
    // After waking the scan begins before messages that are known from stored rows.
    if (leases.find(offset) !== undefined || deferred.find(offset) !== undefined) return true;
    if (this.#isFull) return false;
    if (this.#request.isExpired?.(run, place) === true) {
      this.expired.push(offset);
      return true;
    }
    const key = run.key(place);
    if (key !== undefined && !this.#isFree(key)) {
      // Those that this reader gets wait no more.
      const waiting = deferred.size - this.#poppedReady.length + this.parked.length;
      if (waiting >= LIMITS.lookAheadMax) return false;
      this.parked.push({ offset, key });
      this.#parkedKeys.add(key);
      return true;
    }
    const found = this.#firstFound;
    if (!this.#take(run, place)) return false;
    this.#firstFound = found ?? offset;
    return true;
  }

  #isFree(key: string): boolean {
    if (this.#parkedKeys.has(key)) return false;
    const { keys } = this.#open;
    const chosen = this.#chosenOfKey.get(key) ?? 0;
    return keys.mayHold(key, this.#request.holder) && keys.deferredAt(key, chosen) === undefined;
  }

  #take(run: Run, place: number): boolean {
    const bytes = run.messageBytes(place);
    if (this.selection.count > 0 && this.selection.bytes + bytes > this.#request.bytesMax) {
      this.isCutByBytes = true;
      return false;
    }
    this.selection.add(run, place);
    this.#chosen.add(run.firstOffset + place);
    return true;
  }
}
