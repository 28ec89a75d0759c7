// What is asked of dead letters and of the quarantine: SPEC section DL, word by word.
import { assertNever } from "../../../src/base/assert.ts";
import type { OperationOf, Outcome } from "../../../src/channel/operation.ts";
import { LIMITS } from "../../../src/protocol/limits.ts";
import { GroupBook } from "./group-book.ts";
import { findGroup } from "./groups.ts";
import { dropLetters, findLetters, quarantined } from "./letters.ts";
import { type Book, messageOf, type ModelMessage, refusalOfPut, refused } from "./state.ts";
import type { ModelTraffic } from "./traffic.ts";

type LetterOperation = "dead-letters" | "drop-dead-letters" | "redrive" | "release-quarantine" | "drop-quarantine" | "quarantine";

export class ModelLetterDesk {
  readonly #book: Book;
  readonly #traffic: ModelTraffic;

  constructor(book: Book, traffic: ModelTraffic) {
    this.#book = book;
    this.#traffic = traffic;
  }

  decide(operation: OperationOf<LetterOperation>, nowMs: number): Outcome {
    switch (operation.type) {
      case "dead-letters": {
        const { letters, nextOffset } = findLetters(this.#book, { ...operation, nowMs });
        return { type: "dead-letter-page", letters, nextOffset: nextOffset ?? null };
      }
      case "drop-dead-letters": {
        const { letters, nextOffset } = findLetters(this.#book, { ...operation, limit: operation.max, nowMs });
        dropLetters(this.#book, letters);
        return moved(letters.length, nextOffset);
      }
      case "redrive":
        return this.#redrive(operation, nowMs);
      case "quarantine":
      case "release-quarantine":
      case "drop-quarantine": {
        const group = findGroup(this.#book, operation.group);
        return group instanceof GroupBook ? this.#decideOnQuarantine(group, operation, nowMs) : refused(group);
      }
      default:
        return assertNever(operation);
    }
  }

  #redrive(operation: OperationOf<"redrive">, nowMs: number): Outcome {
    const byState = refusalOfPut(this.#book.existing);
    if (byState !== undefined) return refused(byState);
    // GP7
    if (this.#traffic.hasNoReaders) return refused({ kind: "no-readers", retryAfterMs: 0 });
    const { letters, nextOffset } = findLetters(this.#book, { ...operation, limit: operation.max, nowMs });
    let count = 0;
    for (const { message } of letters) {
      const { offset, putAtMs: _, ...put } = message;
      if (!this.#traffic.putAgain({ ...put, redrivenFrom: offset }, nowMs)) break;
      count += 1;
    }
    dropLetters(this.#book, letters.slice(0, count));
    return moved(count, letters[count]?.message.offset ?? nextOffset);
  }

  #decideOnQuarantine(
    group: GroupBook,
    operation: OperationOf<"quarantine" | "release-quarantine" | "drop-quarantine">,
    nowMs: number,
  ): Outcome {
    if (operation.type === "quarantine") {
      const listed = quarantined(group).slice(0, operation.limit);
      const isInReply = (_: ModelMessage, index: number): boolean =>
        index === 0 || listed.slice(0, index + 1).reduce((total, { bytes }) => total + bytes, 0) <= LIMITS.replyBytesMax;
      const messages = listed.filter(isInReply).map((one) => ({ message: messageOf(one), attempts: one.attempts }));
      return { type: "quarantine", messages };
    }
    const { offset, key } = operation;
    const found = quarantined(group, offset, key);
    if (found.length === 0 && offset !== undefined) {
      const isKept = this.#book.find(offset) !== undefined;
      return refused({ kind: "unknown-message", offset, ...(isKept && { isKept }) });
    }
    for (const message of found) {
      if (operation.type === "drop-quarantine") group.finish(message.offset, "removed", nowMs);
      else group.update(message.offset, { attempts: 0, dueAtMs: 0, dueFromMs: undefined, isQuarantined: false });
    }
    return { type: "moved", moved: found.length, isMore: false };
  }
}

function moved(count: number, nextOffset: number | undefined): Outcome {
  return { type: "moved", moved: count, isMore: nextOffset !== undefined, ...(nextOffset !== undefined && { nextOffset }) };
}
