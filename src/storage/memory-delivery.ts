// Leases and deferred messages in memory.
import type { DeferredRow, DeliveryChanges, DeliveryStore, LeaseRow } from "../channel/delivery-store.ts";

export class MemoryDelivery implements DeliveryStore {
  readonly #leases = new Map<number, LeaseRow>();
  readonly #deferred = new Map<number, DeferredRow>();

  readLeases(): readonly LeaseRow[] {
    return [...this.#leases.values()];
  }

  readDeferred(): readonly DeferredRow[] {
    return [...this.#deferred.values()];
  }

  commit(changes: DeliveryChanges): void {
    if (changes.isCleared) {
      this.#leases.clear();
      this.#deferred.clear();
    }
    for (const slot of changes.deleteLeaseSlots) this.#leases.delete(slot);
    for (const bucket of changes.deleteDeferredBuckets) this.#deferred.delete(bucket);
    for (const row of changes.writeLeases) this.#leases.set(row.slot, row);
    for (const row of changes.writeDeferred) this.#deferred.set(row.bucket, row);
  }
}
