// Idempotency keys: which of them were used within the window, and what became of their puts. Rules DD6 and DD7.
import { LIMITS } from "../protocol/limits.ts";
import type { Refusal } from "../protocol/problems.ts";
import { fingerprintOf } from "./fingerprint.ts";
import type { IdempotencyChanges, IdempotencyStore, KeyGeneration, KeyOutcome, NewKey } from "./idempotency-store.ts";
import { countOf, type PutBatch } from "./put-batch.ts";
import { refused } from "./refused.ts";

export type KeyVerdict =
  | { readonly type: "new" }
  | { readonly type: "duplicate"; readonly outcome: Pick<KeyOutcome, "offset" | "entered" | "count"> }
  | { readonly type: "refused"; readonly refusal: Refusal };

interface Generation {
  readonly id: number;
  untilMs: number;
  /** As it is stored, or will be with this commit. */
  keysMax: number;
  /** Keys in it: exact, or at most so many while it is as it was found on waking. */
  keys: number;
  /** Whether storage knows it. */
  isStored: boolean;
}

/** A key is looked for in each generation, and is kept for up to one longer than the window. */
const GENERATIONS_OF_WINDOW = 4;
/** How far ahead the count of a generation is written: one row for so many keys, and so many too many after a wake. */
const KEYS_AHEAD = 1024;

/**
 * Background: a row for each key is written anyway, but to delete it again would cost another. A table that is dropped costs none, so
 * keys lie in tables by the time at which they came, four to a window: generations. A key whose window is over is not found any more
 * though it still lies there, so the window is exact and only the room is given back late.
 *
 * The bound needs the number of keys, but a count that is stored with each put would cost a row as well. So it is stored ahead, 1,024
 * keys at once, and is too high by some after a wake, never too low. Only when such a count says that there is no room are the keys
 * counted one by one, once after a wake.
 */
export class IdempotencyKeys {
  readonly #store: IdempotencyStore;
  /** In the order of their ids; undefined until they are needed. */
  #generations: Generation[] | undefined;
  #isExact = false;
  readonly #changed = new Set<Generation>();
  #dropped: number[] = [];
  /** Keys of this commit. */
  readonly #added = new Map<string, NewKey>();

  constructor(store: IdempotencyStore) {
    this.#store = store;
  }

  /** Judges a put with a key. Changes nothing. */
  judge(idempotencyKey: string, messages: PutBatch, when: { nowMs: number; windowMs: number }): KeyVerdict {
    const { nowMs, windowMs } = when;
    const found = this.#find(idempotencyKey);
    if (found === undefined || found.putAtMs + windowMs <= nowMs) return this.#judgeRoom(nowMs, windowMs);
    if (found.fingerprint !== fingerprintOf(messages)) return refused({ kind: "idempotency-key-reused", idempotencyKey });
    return { type: "duplicate", outcome: found };
  }

  /** Notes the outcome of a put whose key was judged to be new. */
  note(
    idempotencyKey: string,
    put: { readonly messages: PutBatch; readonly offset: number; readonly entered: number },
    when: { nowMs: number; windowMs: number },
  ): void {
    const generation = this.#openGeneration(when.nowMs, when.windowMs);
    generation.keys += 1;
    if (generation.keys > generation.keysMax) {
      generation.keysMax = generation.keys + KEYS_AHEAD - 1;
      this.#changed.add(generation);
    }
    const { messages, offset, entered } = put;
    const outcome = { fingerprint: fingerprintOf(messages), offset, entered, count: countOf(messages), putAtMs: when.nowMs };
    this.#added.set(idempotencyKey, { idempotencyKey, ...outcome, generationId: generation.id });
  }

  /** Forgets all keys: a life is over. */
  restart(): void {
    this.#dropped.push(...this.#load().map((generation) => generation.id));
    this.#generations = [];
    this.#changed.clear();
    this.#added.clear();
  }

  /** Hands over what has to be written and begins the next commit; undefined when nothing changed. */
  takeChanges(nowMs: number, windowMs: number): IdempotencyChanges | undefined {
    this.#dropExpired(nowMs, windowMs);
    if (this.#dropped.length === 0 && this.#changed.size === 0 && this.#added.size === 0) return undefined;
    const changes: IdempotencyChanges = {
      dropGenerations: this.#dropped,
      writeGenerations: Array.from(this.#changed, ({ id, untilMs, keysMax }): KeyGeneration => ({ id, untilMs, keysMax })),
      insertKeys: [...this.#added.values()],
    };
    for (const generation of this.#changed) generation.isStored = true;
    this.#dropped = [];
    this.#changed.clear();
    this.#added.clear();
    return changes;
  }

  /** The last put with this key, however long ago. */
  #find(idempotencyKey: string): Omit<NewKey, "generationId"> | undefined {
    const added = this.#added.get(idempotencyKey);
    if (added !== undefined) return added;
    for (const { id, isStored } of this.#load().toReversed()) {
      const found = isStored ? this.#store.find(id, idempotencyKey) : undefined;
      if (found !== undefined) return found;
    }
    return undefined;
  }

  #judgeRoom(nowMs: number, windowMs: number): KeyVerdict {
    if (this.#countKeys() >= LIMITS.idempotencyKeysMax) {
      this.#dropExpired(nowMs, windowMs);
      this.#countExactly();
    }
    if (this.#countKeys() < LIMITS.idempotencyKeysMax) return { type: "new" };
    const untilMs = this.#load()[0]?.untilMs ?? nowMs;
    const retryAfterMs = Math.max(1, untilMs + windowMs - nowMs);
    return refused({ kind: "too-many-idempotency-keys", limit: LIMITS.idempotencyKeysMax, retryAfterMs });
  }

  #countKeys(): number {
    return this.#load().reduce((keys, generation) => keys + generation.keys, 0);
  }

  #countExactly(): void {
    if (this.#isExact) return;
    this.#isExact = true;
    const added = [...this.#added.values()];
    for (const generation of this.#load()) {
      const stored = generation.isStored ? this.#store.countKeys(generation.id) : 0;
      generation.keys = stored + added.filter(({ generationId }) => generationId === generation.id).length;
      // What is stored is corrected with the next key.
      generation.keysMax = generation.keys;
    }
  }

  /** The generation that new keys go to. */
  #openGeneration(nowMs: number, windowMs: number): Generation {
    const generations = this.#load();
    const spanMs = Math.ceil(windowMs / GENERATIONS_OF_WINDOW);
    const newest = generations.at(-1);
    // One that was begun for a much longer window would keep its keys for too long. A clock that steps back a little begins none.
    const isOpen = newest !== undefined && nowMs < newest.untilMs && newest.untilMs <= nowMs + 2 * spanMs;
    if (isOpen) return newest;
    const isLast = generations.length >= LIMITS.idempotencyGenerationsMax;
    if (newest !== undefined && (isLast || newest.untilMs > nowMs)) {
      // The window was shortened, or the clock was set back: then its keys may have been put later than now.
      newest.untilMs = Math.max(nowMs + (isLast ? spanMs : 1), this.#findLastPutMs(newest) + 1);
      this.#changed.add(newest);
      if (isLast) return newest;
    }
    const generation: Generation = { id: (newest?.id ?? 0) + 1, untilMs: nowMs + spanMs, keysMax: 0, keys: 0, isStored: false };
    generations.push(generation);
    return generation;
  }

  /** When the last of its keys was put. */
  #findLastPutMs({ id, isStored }: Generation): number {
    const added = [...this.#added.values()].filter(({ generationId }) => generationId === id);
    return added.reduce((last, { putAtMs }) => Math.max(last, putAtMs), isStored ? this.#store.findLastPutMs(id) : 0);
  }

  #dropExpired(nowMs: number, windowMs: number): void {
    const generations = this.#load();
    // They end in the order of their ids, but for changes of the window; what is left over goes with the next.
    while (generations[0] !== undefined && generations[0].untilMs + windowMs <= nowMs) {
      const [expired] = generations.splice(0, 1);
      if (expired === undefined) return;
      this.#dropped.push(expired.id);
      this.#changed.delete(expired);
    }
  }

  #load(): Generation[] {
    this.#generations ??= this.#store
      .readGenerations()
      .map(({ id, untilMs, keysMax }) => ({ id, untilMs, keysMax, keys: keysMax, isStored: true }));
    return this.#generations;
  }
}
