// Producers in memory.
import type { ProducersChanges, ProducersStore, StoredProducer } from "../channel/producers-store.ts";

export class MemoryProducers implements ProducersStore {
  readonly #producers = new Map<string, StoredProducer>();

  read(bucket: number, id: string): StoredProducer | undefined {
    const producer = this.#producers.get(id);
    return producer?.bucket === bucket ? producer : undefined;
  }

  readBucket(bucket: number): readonly { readonly id: string; readonly usedAtMs: number }[] {
    const inBucket = [...this.#producers.values()].filter((producer) => producer.bucket === bucket);
    return inBucket.map(({ id, usedAtMs }) => ({ id, usedAtMs }));
  }

  dump(): object {
    return [...this.#producers.values()];
  }

  load(producers: StoredProducer[]): void {
    this.commit({ isReset: true, deletes: [], writes: producers });
  }

  commit({ isReset, deletes, writes }: ProducersChanges): void {
    if (isReset) this.#producers.clear();
    for (const { id } of deletes) this.#producers.delete(id);
    for (const producer of writes) this.#producers.set(producer.id, producer);
  }
}
