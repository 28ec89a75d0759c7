// The dead letters of a channel, by the offset that each had: bounded in number and bytes, those with the least offsets dropped.
import { LIMITS } from "../protocol/limits.ts";
import { messageBytes, type Message } from "../protocol/message.ts";
import type {
  DeadLetter,
  DeadLetterChanges,
  DeadLetterFate,
  DeadLetterKey,
  DeadLetterStore,
  DeadLetterTotals,
} from "./dead-letter-store.ts";

/** Which dead letters are meant; an absent member means any. */
export interface DeadLetterFilter {
  readonly offset?: number | undefined;
  readonly key?: string | undefined;
  readonly group?: string | undefined;
  readonly reason?: string | undefined;
  /** Only those that died so long ago or longer. */
  readonly olderThanMs?: number | undefined;
}

export interface DeadLetterPage {
  readonly letters: readonly DeadLetter[];
  /** Where to go on; undefined at the end. */
  readonly nextOffset: number | undefined;
}

type TextKey = `${number}:${number}`;

function textKeyOf({ offset, groupId }: DeadLetterKey): TextKey {
  return `${offset}:${groupId}`;
}

/** Below 0: `a` comes first. */
function compare(a: DeadLetterKey, b: DeadLetterKey): number {
  return a.offset - b.offset || a.groupId - b.groupId;
}

function nextAfter({ offset, groupId }: DeadLetterKey): DeadLetterKey {
  return { offset, groupId: groupId + 1 };
}

/** The group of a queue never goes back. */
const QUEUE_GROUP_ID = 0;
const FIRST: DeadLetterKey = { offset: 1, groupId: 0 };

export class DeadLetters {
  readonly #store: DeadLetterStore;
  #totals: DeadLetterTotals;
  /** Those that this commit adds. */
  #added = new Map<TextKey, DeadLetter>();
  #deleted = new Map<TextKey, DeadLetterKey>();
  #isCleared = false;
  /** No dead letter comes before it: what was dropped is not looked at again. */
  #least: DeadLetterKey = FIRST;

  constructor(store: DeadLetterStore) {
    this.#store = store;
    this.#totals = store.readTotals();
  }

  get totals(): DeadLetterTotals {
    return this.#totals;
  }

  /** Adds one; where the group has gone back and given up the message once more, in the place of the earlier one. */
  add(letter: DeadLetter): void {
    const earlier = letter.groupId === QUEUE_GROUP_ID ? undefined : this.#from(letter);
    if (earlier !== undefined && compare(earlier, letter) === 0) this.remove(earlier);
    this.#added.set(textKeyOf(letter), letter);
    this.#count(letter, 1);
    if (compare(letter, this.#least) < 0) this.#least = letter;
    const { deadLettersMax, deadLetterBytesMax } = LIMITS;
    while (this.#totals.messages > deadLettersMax || this.#totals.bytes > deadLetterBytesMax) {
      const least = this.#from(this.#least);
      if (least === undefined) break;
      this.remove(least);
      this.#least = nextAfter(least);
    }
  }

  remove(letter: DeadLetter): void {
    const { offset, groupId } = letter;
    if (!this.#added.delete(textKeyOf(letter))) this.#deleted.set(textKeyOf(letter), { offset, groupId });
    this.#count(letter, -1);
  }

  /** At most `limit` that pass the filter, within a reply's bytes; looks at a bounded number. All of an offset are on one page. */
  find(request: {
    readonly fromOffset: number;
    readonly limit: number;
    readonly filter: DeadLetterFilter;
    readonly nowMs: number;
  }): DeadLetterPage {
    const { limit, filter, nowMs } = request;
    const letters: DeadLetter[] = [];
    const only = filter.offset;
    let bytes = 0;
    let looked = 0;
    let lastOffset = 0;
    let key: DeadLetterKey = { offset: only ?? request.fromOffset, groupId: 0 };
    for (let letter = this.#from(key); letter !== undefined; letter = this.#from(key)) {
      if (only !== undefined && letter.offset !== only) break;
      const size = messageBytes(letter.message);
      const isFull = letters.length >= limit || (letters.length > 0 && bytes + size > LIMITS.replyBytesMax);
      if (letter.offset !== lastOffset && (isFull || looked >= LIMITS.browseMessagesMax))
        return { letters, nextOffset: letter.offset };
      looked += 1;
      lastOffset = letter.offset;
      if (isMeant(letter, filter, nowMs)) {
        letters.push(letter);
        bytes += size;
      }
      key = nextAfter(letter);
    }
    return { letters, nextOffset: undefined };
  }

  /** What became of the message that had this offset, for each group that gave it up. */
  findFates(offset: number): DeadLetterFate[] {
    const stored = this.#isCleared ? [] : this.#store.readFates(offset);
    const kept = stored.filter((fate) => !this.#deleted.has(textKeyOf(fate)) && !this.#added.has(textKeyOf(fate)));
    const added = [...this.#added.values()].filter((letter) => letter.offset === offset);
    return [...kept, ...added].sort(compare);
  }

  /** The message of a dead letter with this offset. */
  read(offset: number): Message | undefined {
    const letter = this.#from({ offset, groupId: 0 });
    return letter?.offset === offset ? letter.message : undefined;
  }

  clear(): void {
    this.#added = new Map();
    this.#deleted = new Map();
    this.#totals = { messages: 0, bytes: 0 };
    this.#isCleared = true;
    this.#least = FIRST;
  }

  takeChanges(): DeadLetterChanges | undefined {
    if (!this.#isCleared && this.#added.size === 0 && this.#deleted.size === 0) return undefined;
    const changes: DeadLetterChanges = {
      isCleared: this.#isCleared,
      insert: [...this.#added.values()],
      delete: [...this.#deleted.values()],
      totals: this.#totals,
    };
    this.#added = new Map();
    this.#deleted = new Map();
    this.#isCleared = false;
    return changes;
  }

  /** The least from `key` on, as this commit leaves it. */
  #from(key: DeadLetterKey): DeadLetter | undefined {
    let stored = this.#isCleared ? undefined : this.#store.readFrom(key);
    while (stored !== undefined && this.#deleted.has(textKeyOf(stored))) stored = this.#store.readFrom(nextAfter(stored));
    let least = stored;
    for (const letter of this.#added.values()) {
      if (compare(letter, key) >= 0 && (least === undefined || compare(letter, least) < 0)) least = letter;
    }
    return least;
  }

  #count(letter: DeadLetter, sign: 1 | -1): void {
    const { messages, bytes } = this.#totals;
    this.#totals = { messages: messages + sign, bytes: bytes + sign * messageBytes(letter.message) };
  }
}

function isMeant({ message, reason, diedAtMs, group }: DeadLetter, filter: DeadLetterFilter, nowMs: number): boolean {
  const isKey = filter.key === undefined || message.key === filter.key;
  const isReason = filter.reason === undefined || reason === filter.reason;
  const isGroup = filter.group === undefined || group === filter.group;
  return isKey && isReason && isGroup && (filter.olderThanMs === undefined || diedAtMs <= nowMs - filter.olderThanMs);
}
