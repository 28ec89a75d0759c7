// Leases and deferred messages in memory.
import type {
  AttachedMark,
  DeferredRow,
  DeliveryChanges,
  DeliveryStore,
  LeaseRow,
  StoredDelivery,
} from "../channel/delivery-store.ts";

interface GroupRows {
  readonly leases: Map<number, LeaseRow>;
  readonly deferred: Map<number, DeferredRow>;
  mark: AttachedMark | undefined;
}

export class MemoryDelivery implements DeliveryStore {
  readonly #groups = new Map<number, GroupRows>();

  readDelivery(): ReadonlyMap<number, StoredDelivery> {
    const stored = [...this.#groups].map(
      ([id, { leases, deferred, mark }]) =>
        [id, { leases: [...leases.values()], deferred: [...deferred.values()], ...(mark !== undefined && { mark }) }] as const,
    );
    return new Map(stored);
  }

  dump(): object {
    return [...this.readDelivery()];
  }

  load(groups: [number, StoredDelivery][]): void {
    this.#groups.clear();
    const none = { isCleared: true, deleteLeaseSlots: [], deleteDeferredBuckets: [] };
    this.commit(
      new Map(
        groups.map(([id, { leases, deferred, mark }]) => [id, { ...none, writeLeases: leases, writeDeferred: deferred, mark }]),
      ),
    );
  }

  commit(changes: DeliveryChanges): void {
    for (const [id, group] of changes) {
      const rows: GroupRows = (group.isCleared ? undefined : this.#groups.get(id)) ?? {
        leases: new Map(),
        deferred: new Map(),
        mark: undefined,
      };
      const { leases, deferred } = rows;
      this.#groups.set(id, rows);
      if (group.mark !== undefined) rows.mark = group.mark ?? undefined;
      for (const slot of group.deleteLeaseSlots) leases.delete(slot);
      for (const bucket of group.deleteDeferredBuckets) deferred.delete(bucket);
      for (const row of group.writeLeases) leases.set(row.slot, row);
      for (const row of group.writeDeferred) deferred.set(row.bucket, row);
      if (leases.size + deferred.size === 0 && rows.mark === undefined) this.#groups.delete(id);
    }
  }
}
