// Puts that are sent again, and puts that come out of turn: SPEC section DD, word by word.
import { listMessages } from "../../../src/channel/put-batch.ts";
import type { OperationOf, Outcome } from "../../../src/channel/operation.ts";
import type { ProducerMark } from "../../../src/protocol/dedup.ts";
import { LIMITS } from "../../../src/protocol/limits.ts";
import { messageBytes, type PutMessage } from "../../../src/protocol/message.ts";
import type { ModelKey, ModelOutcome, ModelProducer } from "./beside.ts";
import { type Book, refused, sum } from "./state.ts";

type Put = OperationOf<"put">;

/** Whether a key that was put then is still stored. */
export type IsKeyStored = (idempotencyKey: string, putAtMs: number) => boolean;

export class ModelDedup {
  readonly #book: Book;

  constructor(book: Book) {
    this.#book = book;
  }

  /** DD9: the outcome of a put that is a duplicate or out of turn; undefined for one that may be carried out. */
  judge({ producer, idempotencyKey, expectedOffset, ...put }: Put, nowMs: number): Outcome | undefined {
    const messages = listMessages(put.messages);
    const byNumber = producer && this.#judgeNumber(producer, messages, nowMs);
    if (byNumber !== undefined) return byNumber;
    const byKey = idempotencyKey === undefined ? undefined : this.#judgeKey(idempotencyKey, messages, nowMs);
    if (byKey !== undefined) return byKey;
    const { nextOffset } = this.#book.state;
    if (expectedOffset === undefined || expectedOffset === nextOffset) return undefined;
    return refused({ kind: "offset-conflict", expectedOffset, nextOffset });
  }

  /** A put was accepted: `offset` and `entered` tell of what entered at once. */
  note({ producer, idempotencyKey, messages }: Put, { offset, entered }: Omit<ModelOutcome, "messages">, nowMs: number): void {
    const outcome: ModelOutcome = { offset, entered, messages: listMessages(messages) };
    if (producer !== undefined) {
      const { id, epoch } = producer;
      const known = this.#find(id, nowMs);
      const outcomes = known?.epoch === epoch ? [...known.outcomes, outcome] : [outcome];
      this.#keep({ id, epoch, outcomes, usedAtMs: nowMs });
    }
    if (idempotencyKey !== undefined) {
      this.#book.change({ keys: [...this.#book.state.keys, { ...outcome, idempotencyKey, putAtMs: nowMs }] });
    }
  }

  /** Keys that storage does not have any more are forgotten: none may be forgotten early (rule DD7). */
  adopt(isStored: IsKeyStored, nowMs: number): string | undefined {
    const gone = this.#book.state.keys.filter(({ idempotencyKey, putAtMs }) => !isStored(idempotencyKey, putAtMs));
    const early = gone.find((key) => this.#isWithinWindow(key, nowMs));
    if (early !== undefined) return `[DD7] the key ${early.idempotencyKey} was forgotten early`;
    this.#book.note({ keys: this.#book.state.keys.filter((key) => !gone.includes(key)) });
    return undefined;
  }

  #judgeNumber(mark: ProducerMark, messages: readonly PutMessage[], nowMs: number): Outcome | undefined {
    const { id: producerId, epoch, seq } = mark;
    const known = this.#find(producerId, nowMs);
    if (known === undefined && seq === 1) return this.#judgeNew(producerId, nowMs);
    if (known !== undefined && epoch < known.epoch) {
      return refused({ kind: "stale-producer-epoch", producerId, epoch: known.epoch });
    }
    const outcomes = known?.epoch === epoch ? known.outcomes : [];
    const expectedSeq = outcomes.length + 1;
    if (seq === expectedSeq) return undefined;
    if (seq > expectedSeq) return refused({ kind: "producer-sequence-gap", producerId, epoch, expectedSeq });
    const first = outcomes[seq - 1];
    // DD4
    if (first === undefined || seq <= outcomes.length - LIMITS.producerOutcomesMax) return duplicateOf(undefined, messages);
    const isReused = first.messages.length !== messages.length || bytesOf(first.messages) !== bytesOf(messages);
    if (!isReused) return duplicateOf(first, messages);
    const count = first.messages.length;
    return refused({ kind: "producer-sequence-reused", producerId, epoch, seq, offset: offsetOf(first), count });
  }

  #judgeKey(idempotencyKey: string, messages: readonly PutMessage[], nowMs: number): Outcome | undefined {
    const first = this.#book.state.keys.findLast((key) => key.idempotencyKey === idempotencyKey);
    if (first === undefined || !this.#isWithinWindow(first, nowMs)) return this.#judgeRoom(nowMs);
    const isSame =
      first.messages.length === messages.length && first.messages.every((one, index) => isSameMessage(one, messages[index]));
    return isSame ? duplicateOf(first, messages) : refused({ kind: "idempotency-key-reused", idempotencyKey });
  }

  /** DD5: whether there is a place for one more producer. */
  #judgeNew(id: string, nowMs: number): Outcome | undefined {
    const { producers } = this.#book.state;
    if (producers.length < LIMITS.producersMax || producers.some((one) => one.id === id)) return undefined;
    if (nowMs - longestIdleSince(producers) >= LIMITS.producerIdleMsMin) return undefined;
    return refused({ kind: "too-many-producers", limit: LIMITS.producersMax, retryAfterMs: 0 });
  }

  /** DD5: a new producer takes the place of the longest idle one where there is no other; of several of these, of any. */
  #keep(producer: ModelProducer): void {
    const { producers } = this.#book.state;
    if (producers.some(({ id }) => id === producer.id)) {
      this.#book.change({ producers: producers.map((one) => (one.id === producer.id ? producer : one)) });
      return;
    }
    const isFull = producers.length >= LIMITS.producersMax;
    const idle = isFull ? producers.find(({ usedAtMs }) => usedAtMs === longestIdleSince(producers)) : undefined;
    this.#book.change({ producers: [...producers.filter((one) => one !== idle), producer] });
  }

  /** DD7. How long keys take up room after their window is over no rule says. */
  #judgeRoom(nowMs: number): Outcome | undefined {
    const { keys } = this.#book.state;
    const tooMany = refused({ kind: "too-many-idempotency-keys", limit: LIMITS.idempotencyKeysMax, retryAfterMs: 0 });
    if (keys.length < LIMITS.idempotencyKeysMax) return undefined;
    const mustRefuse = keys.filter((key) => this.#isWithinWindow(key, nowMs)).length >= LIMITS.idempotencyKeysMax;
    const { told } = this.#book;
    const isRefused = told?.type === "refused" && told.refusal.kind === tooMany.refusal.kind;
    return mustRefuse || isRefused ? tooMany : undefined;
  }

  #isWithinWindow({ putAtMs }: ModelKey, nowMs: number): boolean {
    return nowMs < putAtMs + this.#book.existing.settings.idempotencyWindowMs;
  }

  /** DD5: unless it is forgotten. */
  #find(id: string, nowMs: number): ModelProducer | undefined {
    return this.#book.state.producers.find((one) => one.id === id && nowMs < one.usedAtMs + LIMITS.producerIdleMs);
  }
}

/** DD10: whether a put may have its turn later. */
export function isEarly({ producer, expectedOffset }: Put, judged: Outcome): boolean {
  if (judged.type !== "refused") return false;
  const { refusal } = judged;
  if (refusal.kind === "offset-conflict") return (expectedOffset ?? 0) > refusal.nextOffset;
  return refusal.kind === "producer-sequence-gap" && (producer?.seq ?? 0) > refusal.expectedSeq;
}

/** The offset that a put answers: null when none of its messages entered at once (rule DD13). */
export function offsetOf({ offset, entered, messages }: ModelOutcome): number | null {
  return entered === 0 && messages.length > 0 ? null : offset;
}

function duplicateOf(first: ModelOutcome | undefined, messages: readonly PutMessage[]): Outcome {
  if (first === undefined) return { type: "put", offset: null, count: messages.length, isDuplicate: true };
  return { type: "put", offset: offsetOf(first), count: first.entered, isDuplicate: true };
}

function longestIdleSince(producers: readonly ModelProducer[]): number {
  return Math.min(...producers.map(({ usedAtMs }) => usedAtMs));
}

function bytesOf(messages: readonly PutMessage[]): number {
  return sum(messages.map(messageBytes));
}

function isSameMessage(a: PutMessage, b: PutMessage | undefined): boolean {
  const { body, ...rest } = a;
  const { body: otherBody, ...otherRest } = b ?? { body: undefined };
  return otherBody !== undefined && Buffer.compare(body, otherBody) === 0 && JSON.stringify(rest) === JSON.stringify(otherRest);
}
