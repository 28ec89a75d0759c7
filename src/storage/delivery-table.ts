// The tables of leases and deferred messages.
import type {
  Deferred,
  DeferredRow,
  DeliveryChanges,
  DeliveryStore,
  Lease,
  LeaseEnd,
  LeaseRow,
} from "../channel/delivery-store.ts";
import type { Select, Statement } from "./statement.ts";

/** A lease without the names of its members; `null` for what is absent. */
type PackedLease = readonly [
  offset: number,
  holder: string,
  attempt: number,
  deadlineMs: number,
  key: string | null,
  connection: number | null,
];
type PackedDeferred = readonly [
  offset: number,
  key: string | null,
  attempts: number,
  dueAtMs: number,
  end: LeaseEnd | null,
  isQuarantined: 0 | 1,
];

export class DeliveryTables implements DeliveryStore {
  readonly #select: Select;

  constructor(select: Select) {
    this.#select = select;
  }

  readLeases(): readonly LeaseRow[] {
    const rows = this.#select<{ slot: number; leases_json: string }>("SELECT slot, leases_json FROM lease");
    return rows.map((row) => ({ slot: row.slot, leases: (JSON.parse(row.leases_json) as PackedLease[]).map(unpackLease) }));
  }

  readDeferred(): readonly DeferredRow[] {
    const rows = this.#select<{ bucket: number; messages_json: string }>("SELECT bucket, messages_json FROM deferred");
    return rows.map((row) => ({
      bucket: row.bucket,
      messages: (JSON.parse(row.messages_json) as PackedDeferred[]).map(unpackDeferred),
    }));
  }

  *statementsOf(changes: DeliveryChanges): Iterable<Statement> {
    if (changes.isCleared) {
      yield { text: "DELETE FROM lease", bindings: [] };
      yield { text: "DELETE FROM deferred", bindings: [] };
    }
    for (const slot of changes.deleteLeaseSlots) yield { text: "DELETE FROM lease WHERE slot = ?", bindings: [slot] };
    for (const bucket of changes.deleteDeferredBuckets)
      yield { text: "DELETE FROM deferred WHERE bucket = ?", bindings: [bucket] };
    for (const { slot, leases } of changes.writeLeases) {
      const bindings = [slot, JSON.stringify(leases.map(packLease))];
      yield { text: "INSERT OR REPLACE INTO lease (slot, leases_json) VALUES (?, ?)", bindings };
    }
    for (const { bucket, messages } of changes.writeDeferred) {
      const bindings = [bucket, JSON.stringify(messages.map(packDeferred))];
      yield { text: "INSERT OR REPLACE INTO deferred (bucket, messages_json) VALUES (?, ?)", bindings };
    }
  }
}

function packLease({ offset, holder, attempt, deadlineMs, key, connection }: Lease): PackedLease {
  return [offset, holder, attempt, deadlineMs, key ?? null, connection ?? null];
}

function unpackLease([offset, holder, attempt, deadlineMs, key, connection]: PackedLease): Lease {
  return { offset, holder, attempt, deadlineMs, key: key ?? undefined, connection: connection ?? undefined };
}

function packDeferred({ offset, key, attempts, dueAtMs, end, isQuarantined }: Deferred): PackedDeferred {
  return [offset, key ?? null, attempts, dueAtMs, end ?? null, isQuarantined ? 1 : 0];
}

function unpackDeferred([offset, key, attempts, dueAtMs, end, isQuarantined]: PackedDeferred): Deferred {
  return { offset, key: key ?? undefined, attempts, dueAtMs, end: end ?? undefined, isQuarantined: isQuarantined === 1 };
}
