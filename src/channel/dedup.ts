// Judges the conditions of a put: is it a retry, is it its producer's turn, is it at the expected offset? Rules DD of SPEC.md.
import type { Settings } from "../protocol/settings.ts";
import { IdempotencyKeys, type KeyVerdict } from "./idempotency.ts";
import type { OperationOf, Outcome } from "./operation.ts";
import { offsetOf, type PutOutcome } from "./outcome-window.ts";
import { countOf, type PutBatch } from "./put-batch.ts";
import { Producers, type NumberVerdict } from "./producers.ts";
import type { Changes, ChannelStore } from "./store.ts";
import { refused } from "./refused.ts";

/** When a put is judged, and how long keys are kept. */
interface When {
  readonly nowMs: number;
  readonly settings: Settings;
}

export class Dedup {
  readonly #producers: Producers;
  readonly #keys: IdempotencyKeys;

  constructor(store: ChannelStore) {
    this.#producers = new Producers(store.producers);
    this.#keys = new IdempotencyKeys(store.idempotency);
  }

  /** The outcome of a put that is a duplicate or must not be carried out; undefined for one that may be. Changes nothing. */
  judge(put: OperationOf<"put">, nextOffset: number, { nowMs, settings }: When): Outcome | undefined {
    const { producer, idempotencyKey, expectedOffset, messages } = put;
    const windowMs = settings.idempotencyWindowMs;
    if (producer !== undefined) {
      const decided = outcomeOf(this.#producers.judge(producer, messages, nowMs), messages);
      if (decided !== undefined) return decided;
    }
    if (idempotencyKey !== undefined) {
      const decided = outcomeOf(this.#keys.judge(idempotencyKey, messages, { nowMs, windowMs }), messages);
      if (decided !== undefined) return decided;
    }
    if (expectedOffset === undefined || expectedOffset === nextOffset) return undefined;
    return refused({ kind: "offset-conflict", expectedOffset, nextOffset });
  }

  /** Notes a put that was accepted, so that its retry is found. */
  note(put: OperationOf<"put">, outcome: PutOutcome, { nowMs, settings }: When): void {
    const { producer, idempotencyKey, messages } = put;
    if (producer !== undefined) this.#producers.note(producer, outcome, nowMs);
    if (idempotencyKey !== undefined) {
      const { offset, entered } = outcome;
      this.#keys.note(idempotencyKey, { messages, offset, entered }, { nowMs, windowMs: settings.idempotencyWindowMs });
    }
  }

  /** Forgets everything: a life is over. */
  restart(): void {
    this.#producers.restart();
    this.#keys.restart();
  }

  /** Hands over what has to be written and begins the next commit. */
  takeChanges(nowMs: number, windowMs: number): Pick<Changes, "producers" | "idempotency"> {
    return { producers: this.#producers.takeChanges(), idempotency: this.#keys.takeChanges(nowMs, windowMs) };
  }
}

/** Whether a put was refused only because puts before it are missing: it may have its turn later (rule DD10). */
export function isEarly({ producer, expectedOffset }: OperationOf<"put">, outcome: Outcome): boolean {
  if (outcome.type !== "refused") return false;
  const { refusal } = outcome;
  if (refusal.kind === "offset-conflict") return expectedOffset !== undefined && expectedOffset > refusal.nextOffset;
  return refusal.kind === "producer-sequence-gap" && producer !== undefined && producer.seq > refusal.expectedSeq;
}

function outcomeOf(verdict: NumberVerdict | KeyVerdict, messages: PutBatch): Outcome | undefined {
  switch (verdict.type) {
    case "duplicate": {
      const { outcome } = verdict;
      if (outcome === undefined) return { type: "put", offset: null, count: countOf(messages), isDuplicate: true };
      return { type: "put", offset: offsetOf(outcome), count: outcome.entered, isDuplicate: true };
    }
    case "refused":
      return refused(verdict.refusal);
    default:
      return undefined;
  }
}
