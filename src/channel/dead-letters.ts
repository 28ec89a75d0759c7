// The dead letters of a channel, by the offset that each had: bounded in number and bytes, the oldest dropped and counted.
import { LIMITS } from "../protocol/limits.ts";
import { messageBytes } from "../protocol/message.ts";
import type { DeadLetter, DeadLetterChanges, DeadLetterStore, DeadLetterTotals } from "./dead-letter-store.ts";

/** Which dead letters are meant; an absent member means any. */
export interface DeadLetterFilter {
  readonly offset?: number | undefined;
  readonly key?: string | undefined;
  readonly reason?: string | undefined;
  /** Only those that died so long ago or longer. */
  readonly olderThanMs?: number | undefined;
}

export interface DeadLetterPage {
  readonly letters: readonly DeadLetter[];
  /** Where to go on; undefined at the end. */
  readonly nextOffset: number | undefined;
}

export class DeadLetters {
  readonly #store: DeadLetterStore;
  #totals: DeadLetterTotals;
  /** Those that this commit adds, by offset. */
  #added = new Map<number, DeadLetter>();
  #deleted = new Set<number>();
  #isCleared = false;

  constructor(store: DeadLetterStore) {
    this.#store = store;
    this.#totals = store.readTotals();
  }

  get totals(): DeadLetterTotals {
    return this.#totals;
  }

  add(letter: DeadLetter): void {
    this.#added.set(letter.message.offset, letter);
    this.#deleted.delete(letter.message.offset);
    this.#count(letter, 1);
    const { deadLettersMax, deadLetterBytesMax } = LIMITS;
    while (this.#totals.messages > deadLettersMax || this.#totals.bytes > deadLetterBytesMax) {
      const oldest = this.#from(1);
      if (oldest === undefined) break;
      this.remove(oldest);
    }
  }

  remove(letter: DeadLetter): void {
    const { offset } = letter.message;
    if (!this.#added.delete(offset)) this.#deleted.add(offset);
    this.#count(letter, -1);
  }

  /** At most `limit` that pass the filter, within a reply's bytes; looks at a bounded number of them. */
  find(request: {
    readonly fromOffset: number;
    readonly limit: number;
    readonly filter: DeadLetterFilter;
    readonly nowMs: number;
  }): DeadLetterPage {
    const { limit, filter, nowMs } = request;
    const letters: DeadLetter[] = [];
    let bytes = 0;
    let looked = 0;
    const only = filter.offset;
    let offset = only ?? request.fromOffset;
    for (let letter = this.#from(offset); letter !== undefined; letter = this.#from(offset)) {
      if (only !== undefined && letter.message.offset !== only) break;
      const size = messageBytes(letter.message);
      const isFull = letters.length === limit || (letters.length > 0 && bytes + size > LIMITS.replyBytesMax);
      if (isFull || looked++ === LIMITS.browseMessagesMax) return { letters, nextOffset: letter.message.offset };
      if (isMeant(letter, filter, nowMs)) {
        letters.push(letter);
        bytes += size;
      }
      offset = letter.message.offset + 1;
    }
    return { letters, nextOffset: undefined };
  }

  clear(): void {
    this.#added = new Map();
    this.#deleted = new Set();
    this.#totals = { messages: 0, bytes: 0 };
    this.#isCleared = true;
  }

  takeChanges(): DeadLetterChanges | undefined {
    if (!this.#isCleared && this.#added.size === 0 && this.#deleted.size === 0) return undefined;
    const changes: DeadLetterChanges = {
      isCleared: this.#isCleared,
      insert: [...this.#added.values()],
      delete: [...this.#deleted],
      totals: this.#totals,
    };
    this.#added = new Map();
    this.#deleted = new Set();
    this.#isCleared = false;
    return changes;
  }

  /** The one with the least offset from `offset` on, as this commit leaves it. */
  #from(offset: number): DeadLetter | undefined {
    let stored = this.#isCleared ? undefined : this.#store.readFrom(offset);
    while (stored !== undefined && this.#deleted.has(stored.message.offset))
      stored = this.#store.readFrom(stored.message.offset + 1);
    let least = stored;
    for (const [addedOffset, letter] of this.#added) {
      if (addedOffset >= offset && addedOffset < (least?.message.offset ?? Number.MAX_SAFE_INTEGER)) least = letter;
    }
    return least;
  }

  #count(letter: DeadLetter, sign: 1 | -1): void {
    const { messages, bytes } = this.#totals;
    this.#totals = { messages: messages + sign, bytes: bytes + sign * messageBytes(letter.message) };
  }
}

function isMeant({ message, reason, diedAtMs }: DeadLetter, filter: DeadLetterFilter, nowMs: number): boolean {
  const isKey = filter.key === undefined || message.key === filter.key;
  const isReason = filter.reason === undefined || reason === filter.reason;
  return isKey && isReason && (filter.olderThanMs === undefined || diedAtMs <= nowMs - filter.olderThanMs);
}
