// The power of two choices where loads are guesses: what is not known is asked for, with a deadline, as Ray Serve's router does. Here the channel
// counts exactly, so that an answer costs nothing: it is kept to compare with, and for those whose counts lie elsewhere.
// Source of the rules: Ray 2.58, python/ray/serve/_private/request_router.
import { LIMITS } from "../../protocol/limits.ts";
import { GuessedLoads } from "./guessed-loads.ts";

export interface AskTerms {
  /** How long the first answer is waited for; each further attempt waits twice as long. */
  readonly deadlineMs: number;
  /** The longest; where it is below the first, the first counts. */
  readonly deadlineMaxMs: number;
  /** How old a guess may be. */
  readonly staleMs: number;
}

export const ASK_TERMS: AskTerms = {
  deadlineMs: LIMITS.loadAnswerMsMin,
  deadlineMaxMs: LIMITS.loadAnswerMsMax,
  staleMs: LIMITS.loadGuessMs,
};

export interface Candidate {
  readonly id: string;
  /** Messages that it may hold at once. */
  readonly capacity: number;
}

/** `gone` for ever, or `unavailable` now. */
export type Answer =
  | { readonly type: "load"; readonly load: number }
  | { readonly type: "gone" }
  | { readonly type: "unavailable" };

export type GuessedChoice =
  | { readonly type: "to"; readonly reader: string; readonly load: number }
  /** Answers are on their way: try again with one, or then. */
  | { readonly type: "asked"; readonly untilMs: number }
  /** All answered, and nobody has room. */
  | { readonly type: "full" };

/** Asks a reader for its load: the answer, or undefined where it comes later, by `answer`. */
export type AskLoad = (reader: string, deadlineMs: number) => Answer | undefined;

export class LoadGuesser {
  readonly loads: GuessedLoads;
  readonly #ask: AskLoad;
  readonly #terms: AskTerms;
  /** Who was asked and has not answered, and until when that counts. */
  readonly #asked = new Map<string, number>();

  constructor(ask: AskLoad, terms: AskTerms = ASK_TERMS) {
    this.loads = new GuessedLoads(terms.staleMs);
    this.#ask = ask;
    this.#terms = terms;
  }

  get pending(): number {
    return this.#asked.size;
  }

  /** A reader that comes is asked once, so that its load is known when it is needed. */
  arrive(reader: string, nowMs: number): void {
    this.#askOne(reader, 0, nowMs);
  }

  leave(reader: string): void {
    this.#asked.delete(reader);
    this.loads.forget(reader);
  }

  /** One of a few candidates, in the order in which they were drawn: of equal ones the first. `attempt` counts from 0. */
  choose(candidates: readonly Candidate[], attempt: number, nowMs: number): GuessedChoice {
    const known = this.#leastOf(candidates, nowMs);
    const unknown = candidates.filter((one) => !this.#isKnown(one, nowMs));
    for (const { id } of unknown) this.#askOne(id, attempt, nowMs);
    // Whoever is known to have room is not held up by those who are not known.
    if (known !== undefined) return known;
    const answered = this.#leastOf(candidates, nowMs);
    if (answered !== undefined) return answered;
    const untils = unknown.flatMap(({ id }) => this.#asked.get(id) ?? []);
    return untils.length === 0 ? { type: "full" } : { type: "asked", untilMs: Math.min(...untils) };
  }

  /** An answer of somebody who was not asked, or too long ago, or left since, counts for nothing. */
  answer(reader: string, answer: Answer, nowMs: number): void {
    if (!this.#asked.delete(reader)) return;
    this.#note(reader, answer, nowMs);
  }

  /** Those whose answers are waited for no longer. */
  giveUp(nowMs: number): readonly string[] {
    const late = [...this.#asked].filter(([, untilMs]) => untilMs <= nowMs).map(([reader]) => reader);
    for (const reader of late) this.#asked.delete(reader);
    return late;
  }

  /** The readers that have room, or may have. */
  available(candidates: readonly Candidate[], nowMs: number): readonly string[] {
    const isFull = ({ id, capacity }: Candidate): boolean => (this.loads.find(id, nowMs) ?? 0) >= capacity;
    return candidates.filter((one) => !isFull(one)).map(({ id }) => id);
  }

  /** A guess that leaves no room counts as none, or a reader would be left out until it is stale. */
  #isKnown({ id, capacity }: Candidate, nowMs: number): boolean {
    return (this.loads.find(id, nowMs) ?? capacity) < capacity;
  }

  #leastOf(candidates: readonly Candidate[], nowMs: number): GuessedChoice | undefined {
    let least: (GuessedChoice & { readonly type: "to" }) | undefined;
    for (const one of candidates) {
      const load = this.#isKnown(one, nowMs) ? this.loads.find(one.id, nowMs) : undefined;
      if (load !== undefined && (least === undefined || load < least.load)) least = { type: "to", reader: one.id, load };
    }
    return least;
  }

  #askOne(reader: string, attempt: number, nowMs: number): void {
    if (this.#asked.has(reader)) return;
    const deadlineMs = answerDeadline(attempt, this.#terms);
    const answer = this.#ask(reader, deadlineMs);
    if (answer === undefined) this.#asked.set(reader, nowMs + deadlineMs);
    else this.#note(reader, answer, nowMs);
  }

  #note(reader: string, answer: Answer, nowMs: number): void {
    if (answer.type === "load") this.loads.set(reader, answer.load, nowMs);
    else this.loads.forget(reader);
  }
}

/** How long the answer is waited for, in ms; any attempt from 0 is fine. */
export function answerDeadline(attempt: number, { deadlineMs, deadlineMaxMs }: AskTerms = ASK_TERMS): number {
  return Math.min(Math.max(deadlineMs, deadlineMaxMs), deadlineMs * 2 ** attempt);
}
