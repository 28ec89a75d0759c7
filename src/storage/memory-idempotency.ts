// Idempotency keys in memory.
import type { IdempotencyChanges, IdempotencyStore, KeyGeneration, KeyOutcome } from "../channel/idempotency-store.ts";

export class MemoryIdempotency implements IdempotencyStore {
  readonly #generations = new Map<number, KeyGeneration>();
  readonly #keys = new Map<number, Map<string, KeyOutcome>>();

  readGenerations(): readonly KeyGeneration[] {
    return [...this.#generations.values()].sort((a, b) => a.id - b.id);
  }

  find(generationId: number, idempotencyKey: string): KeyOutcome | undefined {
    return this.#keysOf(generationId).get(idempotencyKey);
  }

  countKeys(generationId: number): number {
    return this.#keysOf(generationId).size;
  }

  findLastPutMs(generationId: number): number {
    return [...this.#keysOf(generationId).values()].reduce((last, { putAtMs }) => Math.max(last, putAtMs), 0);
  }

  dump(): object {
    return { generations: this.readGenerations(), keys: [...this.#keys].map(([id, keys]) => [id, [...keys.values()]]) };
  }

  load({ generations, keys }: { generations: KeyGeneration[]; keys: [number, KeyOutcome[]][] }): void {
    const insertKeys = keys.flatMap(([generationId, outcomes]) => outcomes.map((outcome) => ({ ...outcome, generationId })));
    this.commit({ dropGenerations: [...this.#generations.keys()], writeGenerations: generations, insertKeys });
  }

  commit({ dropGenerations, writeGenerations, insertKeys }: IdempotencyChanges): void {
    for (const id of dropGenerations) {
      this.#generations.delete(id);
      this.#keys.delete(id);
    }
    for (const generation of writeGenerations) {
      this.#generations.set(generation.id, generation);
      if (!this.#keys.has(generation.id)) this.#keys.set(generation.id, new Map());
    }
    for (const { generationId, ...key } of insertKeys) this.#keysOf(generationId).set(key.idempotencyKey, key);
  }

  /** As with SQLite, a generation that was not written has no table. */
  #keysOf(generationId: number): Map<string, KeyOutcome> {
    const keys = this.#keys.get(generationId);
    if (keys === undefined) throw new Error(`No such generation: ${generationId}`);
    return keys;
  }
}
