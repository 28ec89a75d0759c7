// Delayed messages: SPEC section SD, word by word.
import { listMessages } from "../../../src/channel/put-batch.ts";
import type { OperationOf, Outcome } from "../../../src/channel/operation.ts";
import { LIMITS } from "../../../src/protocol/limits.ts";
import { messageBytes, type PutMessage, type ScheduledMessage } from "../../../src/protocol/message.ts";
import type { MessageDelay, ScheduledReceipt } from "../../../src/protocol/schedule.ts";
import type { ModelScheduled } from "./beside.ts";
import { type Book, invalid, refused } from "./state.ts";

/** When each message of a put is due, by its place; undefined for one that enters at once. */
export type DueTimes = readonly (number | undefined)[];

/** A receipt before the channel has named the message. */
type UnnamedReceipt = Omit<ScheduledReceipt, "scheduledId">;

export class ModelSchedule {
  readonly #book: Book;
  #lastOrder = 0;
  /** Every id that was told. Never forgotten, as clients do not forget; ids that nobody was told of do no harm. */
  readonly #issued = new Map<string, Pick<ModelScheduled, "dueAtMs" | "order">>();

  constructor(book: Book) {
    this.#book = book;
  }

  /** SD1. */
  resolve({ messages, delays = [] }: OperationOf<"put">, nowMs: number): DueTimes | Outcome {
    const due: (number | undefined)[] = listMessages(messages).map(() => undefined);
    for (const { index, pointer, delay } of delays) {
      const dueAtMs = dueTime(delay, nowMs);
      if (dueAtMs > nowMs + LIMITS.delayMsMax) return invalid(pointer);
      if (dueAtMs > nowMs) due[index] = dueAtMs;
    }
    return due;
  }

  /** Accepts those messages of a put that enter later. */
  add(messages: readonly PutMessage[], due: DueTimes, nowMs: number): UnnamedReceipt[] {
    const receipts: UnnamedReceipt[] = [];
    for (const [index, message] of messages.entries()) {
      const dueAtMs = due[index];
      if (dueAtMs === undefined) continue;
      this.#lastOrder += 1;
      const entry = { order: this.#lastOrder, dueAtMs, putAtMs: nowMs, bytes: messageBytes(message), message };
      this.#book.change({ scheduled: [...this.#book.state.scheduled, { ...entry, scheduledId: undefined }] });
      receipts.push({ index, deliverAtMs: dueAtMs });
    }
    return receipts;
  }

  /** The names that the channel gave to what was put last. */
  issue(receipts: readonly ScheduledReceipt[]): void {
    const names = receipts.map(({ scheduledId }) => scheduledId);
    const scheduled = this.#book.state.scheduled.map((entry) => {
      const scheduledId = entry.scheduledId ?? names.shift();
      if (scheduledId !== undefined) this.#issued.set(scheduledId, entry);
      return { ...entry, scheduledId };
    });
    this.#book.note({ scheduled });
  }

  /** SD5 and SD6. */
  enterDue(nowMs: number): void {
    let { messages, bytes } = this.#book.state.entered;
    const entering: ModelScheduled[] = [];
    for (const entry of this.#inOrder.filter(({ dueAtMs }) => dueAtMs <= nowMs)) {
      const isTooMuch = messages > 0 && bytes + entry.bytes > LIMITS.scheduledEntryBytesMax;
      if (messages >= LIMITS.scheduledEntryMessagesMax || isTooMuch) break;
      entering.push(entry);
      messages += 1;
      bytes += entry.bytes;
    }
    if (entering.length === 0) return;
    const scheduled = this.#book.state.scheduled.filter((entry) => !entering.includes(entry));
    this.#book.change({ scheduled, entered: { messages, bytes } });
    this.#book.append(
      entering.map(({ message }) => message),
      entering.map((entry) => entry.bytes),
      nowMs,
    );
  }

  /** SD8. */
  cancel(scheduledId: string, nowMs: number): Outcome {
    const scheduled = this.#book.state.scheduled.filter((entry) => entry.scheduledId !== scheduledId);
    if (scheduled.length === this.#book.state.scheduled.length) return refused({ kind: "unknown-scheduled", scheduledId });
    this.#book.change({ scheduled });
    // SD10: a channel with a scheduled message is not idle, so its idle time begins when none is left.
    if (scheduled.length === 0) this.#book.change({ changedAtMs: nowMs });
    return { type: "unscheduled", scheduledId };
  }

  /** SD9. */
  list(after: string | undefined, limit: number): Outcome {
    const place = after === undefined ? undefined : this.#issued.get(after);
    const behind = this.#inOrder.filter((entry) => place === undefined || compare(entry, place) > 0);
    const messages: ScheduledMessage[] = [];
    let bytes = 0;
    for (const entry of behind) {
      bytes += entry.bytes;
      const isFull = messages.length === limit || (messages.length > 0 && bytes > LIMITS.replyBytesMax);
      if (isFull) return { type: "scheduled-page", messages, next: messages.at(-1)?.scheduledId ?? null };
      messages.push(scheduledMessageOf(entry));
    }
    return { type: "scheduled-page", messages, next: null };
  }

  /** All of them, in the order of entering. */
  get all(): ScheduledMessage[] {
    return this.#inOrder.map(scheduledMessageOf);
  }

  get #inOrder(): ModelScheduled[] {
    return [...this.#book.state.scheduled].sort(compare);
  }
}

function dueTime(delay: MessageDelay["delay"], nowMs: number): number {
  return "atMs" in delay ? delay.atMs : nowMs + delay.afterMs;
}

function compare(a: Pick<ModelScheduled, "dueAtMs" | "order">, b: Pick<ModelScheduled, "dueAtMs" | "order">): number {
  return a.dueAtMs - b.dueAtMs || a.order - b.order;
}

function scheduledMessageOf({ message, dueAtMs, putAtMs, scheduledId = "" }: ModelScheduled): ScheduledMessage {
  return { ...message, scheduledId, deliverAtMs: dueAtMs, putAtMs };
}
