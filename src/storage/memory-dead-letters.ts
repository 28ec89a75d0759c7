// Dead letters in memory.
import type {
  DeadLetter,
  DeadLetterChanges,
  DeadLetterFate,
  DeadLetterKey,
  DeadLetterStore,
  DeadLetterTotals,
} from "../channel/dead-letter-store.ts";

export class MemoryDeadLetters implements DeadLetterStore {
  /** By offset, then group. */
  #letters: DeadLetter[] = [];
  #totals: DeadLetterTotals = { messages: 0, bytes: 0 };

  readTotals(): DeadLetterTotals {
    return this.#totals;
  }

  readFrom(key: DeadLetterKey): DeadLetter | undefined {
    return this.#letters.find((letter) => compare(letter, key) >= 0);
  }

  readFates(offset: number): readonly DeadLetterFate[] {
    const letters = this.#letters.filter((letter) => letter.offset === offset);
    return letters.map(({ message: _, ...fate }) => fate);
  }

  dump(): object {
    return { letters: this.#letters, totals: this.#totals };
  }

  load({ letters, totals }: { letters: DeadLetter[]; totals: DeadLetterTotals }): void {
    this.commit({ isCleared: true, insert: letters, delete: [], totals });
  }

  commit(changes: DeadLetterChanges): void {
    const isReplaced = (letter: DeadLetter): boolean =>
      [...changes.delete, ...changes.insert].some((key) => compare(letter, key) === 0);
    const kept = changes.isCleared ? [] : this.#letters.filter((letter) => !isReplaced(letter));
    this.#letters = [...kept, ...changes.insert].sort(compare);
    this.#totals = changes.totals;
  }
}

function compare(a: DeadLetterKey, b: DeadLetterKey): number {
  return a.offset - b.offset || a.groupId - b.groupId;
}
