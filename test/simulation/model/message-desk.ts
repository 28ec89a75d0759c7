// Single messages and all of them: SPEC section RM, word by word.
import { assertNever } from "../../../src/base/assert.ts";
import type { OperationOf, Outcome } from "../../../src/channel/operation.ts";
import { LIMITS } from "../../../src/protocol/limits.ts";
import { GroupBook, groupsOf } from "./group-book.ts";
import { findPage } from "./page.ts";
import { type Book, controlOf, messageOf, refused } from "./state.ts";

export type MessageOperation = "browse" | "read" | "remove" | "remove-by-id" | "purge";

export class ModelMessageDesk {
  readonly #book: Book;

  constructor(book: Book) {
    this.#book = book;
  }

  decide(operation: OperationOf<MessageOperation>, nowMs: number): Outcome {
    switch (operation.type) {
      case "browse":
        return this.#browse(operation.fromOffset, operation.limit);
      case "read": {
        const { offset } = operation;
        const found = this.#book.find(offset);
        return found === undefined
          ? refused({ kind: "unknown-message", offset })
          : { type: "message", message: messageOf(found) };
      }
      case "remove": {
        const { offset } = operation;
        return this.#remove(offset, nowMs) ? { type: "removed", offset } : refused({ kind: "unknown-message", offset });
      }
      case "remove-by-id": {
        const { messageId } = operation;
        const offset = this.#book.messages.find(({ message }) => message.messageId === messageId)?.offset ?? 0;
        return this.#remove(offset, nowMs) ? { type: "removed", offset } : refused({ kind: "unknown-message", messageId });
      }
      case "purge":
        return { type: "purged", removedMessages: this.#purge(nowMs) };
      default:
        return assertNever(operation);
    }
  }

  /** Removes a message, for every group that had not done with it. */
  #remove(offset: number, nowMs: number): boolean {
    if (this.#book.find(offset) === undefined) return false;
    for (const group of groupsOf(this.#book)) group.finish(offset, "removed", nowMs);
    // The group of a queue has ended it already.
    if (this.#book.find(offset) !== undefined) this.#book.end([offset], "removed", nowMs);
    return true;
  }

  #purge(nowMs: number): number {
    const { depth } = this.#book;
    const { groups, removed } = this.#book.state;
    const cleared = { records: [], frontier: 0, scanMark: 0 };
    this.#book.change({
      records: [],
      groups: groups.map((group) => {
        const open = new GroupBook(this.#book, group.id).depth;
        return { ...group, ...cleared, removed: group.removed + open };
      }),
      removed: removed + depth,
      latestPutAtMs: 0,
      isTimeOrdered: true,
      changedAtMs: nowMs,
    });
    return depth;
  }

  #browse(fromOffset: number, max: number): Outcome {
    const { told } = this.#book;
    const toldNext = told?.type === "page" ? (told.nextOffset ?? this.#book.state.nextOffset) : undefined;
    const asked = { fromOffset, max, bytesMax: LIMITS.replyBytesMax, told: toldNext };
    const { messages, controls, next = null } = findPage(this.#book, asked);
    return { type: "page", messages: messages.map(messageOf), controls: controls.flatMap(controlOf), nextOffset: next };
  }
}
