// Operations on single messages and on all of them, whether they are there or to come: browse, read, remove, purge, list, cancel.
import { assertNever } from "../base/assert.ts";
import { LIMITS } from "../protocol/limits.ts";
import type { Backlog } from "./backlog.ts";
import type { DeadLetters } from "./dead-letters.ts";
import type { Groups } from "./groups.ts";
import { browse } from "./log-reading.ts";
import { findHistory, type HistoryParts } from "./message-history.ts";
import type { OperationOf, Outcome } from "./operation.ts";
import type { Schedule } from "./schedule.ts";
import { refused } from "./refused.ts";

export type MessageOperation = OperationOf<
  "browse" | "read" | "history" | "remove" | "remove-by-id" | "purge" | "list-scheduled" | "cancel-scheduled"
>;

export class MessageDesk {
  readonly #backlog: Backlog;
  readonly #groups: Groups;
  readonly #schedule: Schedule;
  readonly #deadLetters: DeadLetters;

  constructor(parts: HistoryParts & { readonly schedule: Schedule }) {
    this.#backlog = parts.backlog;
    this.#groups = parts.groups;
    this.#schedule = parts.schedule;
    this.#deadLetters = parts.deadLetters;
  }

  decide(operation: MessageOperation, nowMs: number): Outcome {
    switch (operation.type) {
      case "browse": {
        const { fromOffset, limit } = operation;
        const page = browse(this.#backlog, { fromOffset, messagesMax: limit, bytesMax: LIMITS.replyBytesMax });
        return { type: "page", messages: page.selection.messages, controls: page.controls, nextOffset: page.nextOffset ?? null };
      }
      case "read": {
        const message = this.#backlog.read(operation.offset);
        return message === undefined
          ? refused({ kind: "unknown-message", offset: operation.offset })
          : { type: "message", message };
      }
      case "history": {
        const { offset } = operation;
        const parts = { backlog: this.#backlog, groups: this.#groups, deadLetters: this.#deadLetters };
        const history = findHistory(parts, offset, nowMs);
        return history === undefined ? refused({ kind: "unknown-message", offset }) : { type: "history", history };
      }
      case "remove": {
        const { offset } = operation;
        return this.#remove(offset) ? { type: "removed", offset } : refused({ kind: "unknown-message", offset });
      }
      case "remove-by-id": {
        const { messageId } = operation;
        const offset = this.#backlog.findMessageId(messageId);
        if (offset === undefined || !this.#remove(offset)) return refused({ kind: "unknown-message", messageId });
        return { type: "removed", offset };
      }
      case "purge":
        return { type: "purged", removedMessages: this.#purge() };
      case "list-scheduled":
        return { type: "scheduled-page", ...this.#schedule.list(operation.after, operation.limit) };
      case "cancel-scheduled":
        return this.#cancelScheduled(operation.scheduledId);
      default:
        return assertNever(operation);
    }
  }

  /** Removes one message, for every group. */
  #remove(offset: number): boolean {
    if (!this.#backlog.isKept(offset)) return false;
    let isRemoved = false;
    for (const { delivery, view } of this.#groups.all()) {
      const isFinished = delivery.finish(offset, "removed");
      // The group of a queue has removed it from the channel; where groups have views, it is still there.
      if (view === undefined) isRemoved = isFinished;
    }
    return isRemoved || this.#backlog.finishAll([offset], "removed").length > 0;
  }

  #purge(): number {
    const removed = this.#backlog.purge();
    for (const { delivery, view } of this.#groups.all()) {
      delivery.clear();
      view?.notePurge();
    }
    return removed;
  }

  #cancelScheduled(scheduledId: string): Outcome {
    if (!this.#schedule.cancel(scheduledId)) return refused({ kind: "unknown-scheduled", scheduledId });
    // With nothing left to come the channel may be idle from now on.
    if (this.#schedule.messages === 0) this.#backlog.noteChange();
    return { type: "unscheduled", scheduledId };
  }
}
