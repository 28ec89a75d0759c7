// The bounds of the dead letters, over a store that is full already (SPEC DL2).
import { describe, expect, test } from "vitest";
import type { DeadLetter, DeadLetterFate, DeadLetterKey, DeadLetterStore } from "../../src/channel/dead-letter-store.ts";
import { DeadLetters } from "../../src/channel/dead-letters.ts";
import { LIMITS } from "../../src/protocol/limits.ts";

function letterAt(offset: number): DeadLetter {
  const message = {
    offset,
    putAtMs: 1,
    body: new Uint8Array(),
    presentation: "bytes",
    contentType: "application/octet-stream",
    key: undefined,
    messageId: undefined,
    headers: undefined,
    ttlMs: undefined,
    redrivenFrom: undefined,
  } as const;
  return { offset, groupId: 0, group: "default", message, attempts: 1, reason: "bad", diedAtMs: 1, history: undefined };
}

/** Holds as many as may be, at offsets from `firstOffset`, and counts what is read. */
class FullStore implements DeadLetterStore {
  reads = 0;
  readonly #firstOffset: number;

  constructor(firstOffset: number) {
    this.#firstOffset = firstOffset;
  }

  readTotals(): { messages: number; bytes: number } {
    return { messages: LIMITS.deadLettersMax, bytes: 0 };
  }

  readFrom({ offset, groupId }: DeadLetterKey): DeadLetter | undefined {
    this.reads += 1;
    const found = Math.max(groupId === 0 ? offset : offset + 1, this.#firstOffset);
    return found < this.#firstOffset + LIMITS.deadLettersMax ? letterAt(found) : undefined;
  }

  readFates(): readonly DeadLetterFate[] {
    return [];
  }
}

describe("src/channel/dead-letters", () => {
  test("[DL2] beyond the limit those with the least offsets are dropped, each looked at once", () => {
    const store = new FullStore(1);
    const letters = new DeadLetters(store);

    for (let count = 0; count < 1000; count++) letters.add(letterAt(LIMITS.deadLettersMax + 1 + count));

    const changes = letters.takeChanges();
    expect(letters.totals.messages).toBe(LIMITS.deadLettersMax);
    expect(changes?.delete).toEqual(Array.from({ length: 1000 }, (_, index) => ({ offset: index + 1, groupId: 0 })));
    expect(changes?.insert).toHaveLength(1000);
    expect(store.reads).toBeLessThanOrEqual(2000);
  });

  test("[DL2] the limit holds too for messages that die late, the last of them first", () => {
    const letters = new DeadLetters(new FullStore(5000));

    for (let offset = 1000; offset > 0; offset--) letters.add(letterAt(offset));

    expect(letters.totals.messages).toBe(LIMITS.deadLettersMax);
    expect(letters.takeChanges()?.insert ?? []).toEqual([]);
  });
});
