// Chooses which messages are handed out: first those that came back, then what the scan finds. Changes nothing until it is carried out.
import { LIMITS } from "../protocol/limits.ts";
import type { ControlRecord } from "../protocol/message.ts";
import type { GroupLog } from "./group-log.ts";
import type { DeferredBook } from "./deferred-book.ts";
import type { KeyLines } from "./key-lines.ts";
import type { LeaseBook } from "./lease-book.ts";
import { endOffset, type Run } from "./run.ts";
import { readControl } from "./stretch.ts";
import { MinHeap } from "../base/min-heap.ts";

/** `full`: nobody takes any more. `waits`: it stays where it is, and what comes behind it goes on. */
export type Giving = "given" | "full" | "waits";

/** To whom messages can be given: one reader, or those of a group that they are routed to. */
export interface Recipients {
  /** Messages that were given. */
  readonly count: number;
  /** Whether nobody takes any more. */
  readonly isFull: boolean;
  /** The first deferred message of each key of which one of them alone may have it, since it has earlier ones. */
  firstBehind(): Iterable<number>;
  /** Whether one of them may be given messages of `key`: nobody else holds one. */
  mayHold(key: string): boolean;
  give(run: Run, place: number, key: string | undefined): Giving;
}

export interface ChoiceRequest {
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
  readonly key: string | undefined;
}

export class Choice {
  readonly controls: ControlRecord[] = [];
  /** Messages that the scan passed because an earlier one of their key is open, or because they wait. */
  readonly parked: ParkedPlace[] = [];
  /** Messages that were met and whose time is over: nobody gets them. */
  readonly expired: number[] = [];
  /** Where the scan ends. */
  cursor: number;
  /** Where the scan found the first record that is handed out. */
  #firstFound: number | undefined;
  readonly #open: OpenMessages;
  readonly #recipients: Recipients;
  readonly #request: ChoiceRequest;
  readonly #poppedReady: number[] = [];
  /** Those that could be handed out, and wait. */
  readonly #waitingReady = new Set<number>();
  /** Offsets of deferred messages that wait behind others that a reader holds: it alone may have them. */
  readonly #own = new MinHeap<number>((a, b) => a < b);
  readonly #chosenOfKey = new Map<string, number>();
  readonly #chosen = new Set<number>();
  readonly #parkedKeys = new Set<string>();

  constructor(
    open: OpenMessages,
    { cursor, recipients, ...request }: ChoiceRequest & { cursor: number; recipients: Recipients },
  ) {
    this.#open = open;
    this.#recipients = recipients;
    this.#request = request;
    this.cursor = cursor;
    for (const offset of recipients.firstBehind()) this.#own.push(offset);
    if (this.#chooseReady()) this.#scan();
    for (const offset of this.#waitingReady) open.ready.push(offset);
  }

  /** What stays when nothing is taken: all that was parked before the first record that would have been. */
  abandon(): { readonly cursor: number; readonly parked: readonly ParkedPlace[] } {
    for (const offset of this.#poppedReady) this.#open.ready.push(offset);
    const cursor = this.#firstFound ?? this.cursor;
    return { cursor, parked: this.parked.filter(({ offset }) => offset < cursor) };
  }

  /** Whether the scan may bring more. */
  #chooseReady(): boolean {
    const { log } = this.#open;
    for (let offset = this.#peekReady(); offset !== undefined && !this.#recipients.isFull; offset = this.#peekReady()) {
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
      const giving = this.#give(run, offset - run.firstOffset, this.#open.deferred.find(offset)?.key);
      if (giving === "full") return false;
      this.#popReady(offset);
      if (giving === "waits") this.#waitingReady.add(offset);
      else {
        this.#poppedReady.push(offset);
        this.#offerNextOfKey(offset);
      }
    }
    return true;
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
    return this.#recipients.mayHold(key) && keys.deferredAt(key, this.#chosenOfKey.get(key) ?? 0) === offset;
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
    const { isFull, count } = this.#recipients;
    if (isFull && (count === 0 || !log.mayFollow(offset))) return false;
    if (this.#open.log.isGone(run, place)) return true;
    if (run.isControl(place)) {
      // One with nothing behind it stays until a message comes.
      this.#firstFound ??= offset;
      this.controls.push(readControl(run, place));
      return true;
    }
    // After waking the scan begins before messages that are known from stored rows.
    if (leases.find(offset) !== undefined || deferred.find(offset) !== undefined) return true;
    if (isFull) return false;
    if (this.#request.isExpired?.(run, place) === true) {
      this.expired.push(offset);
      return true;
    }
    const key = run.key(place);
    if (key !== undefined && !this.#isFree(key)) return this.#park(offset, key);
    const giving = this.#give(run, place, key);
    if (giving === "waits") return this.#park(offset, key);
    if (giving === "full") return false;
    this.#firstFound ??= offset;
    return true;
  }

  /** Passes a message, unless too many wait already. */
  #park(offset: number, key: string | undefined): boolean {
    // Those that were given wait no more.
    const waiting = this.#open.deferred.size - this.#poppedReady.length + this.parked.length;
    if (waiting >= LIMITS.lookAheadMax) return false;
    this.parked.push({ offset, key });
    if (key !== undefined) this.#parkedKeys.add(key);
    return true;
  }

  #isFree(key: string): boolean {
    if (this.#parkedKeys.has(key)) return false;
    const { keys } = this.#open;
    const chosen = this.#chosenOfKey.get(key) ?? 0;
    return this.#recipients.mayHold(key) && keys.deferredAt(key, chosen) === undefined;
  }

  #give(run: Run, place: number, key: string | undefined): Giving {
    const giving = this.#recipients.give(run, place, key);
    if (giving === "given") this.#chosen.add(run.firstOffset + place);
    return giving;
  }
}
