// Dead letters in memory.
import type { DeadLetter, DeadLetterChanges, DeadLetterStore, DeadLetterTotals } from "../channel/dead-letter-store.ts";

export class MemoryDeadLetters implements DeadLetterStore {
  #letters: DeadLetter[] = [];
  #totals: DeadLetterTotals = { messages: 0, bytes: 0 };

  readTotals(): DeadLetterTotals {
    return this.#totals;
  }

  readFrom(offset: number): DeadLetter | undefined {
    return this.#letters.find(({ message }) => message.offset >= offset);
  }

  commit(changes: DeadLetterChanges): void {
    const deleted = new Set([...changes.delete, ...changes.insert.map(({ message }) => message.offset)]);
    const kept = changes.isCleared ? [] : this.#letters.filter(({ message }) => !deleted.has(message.offset));
    this.#letters = [...kept, ...changes.insert].sort((a, b) => a.message.offset - b.message.offset);
    this.#totals = changes.totals;
  }
}
