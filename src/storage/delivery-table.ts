// The tables of leases and deferred messages.
import type {
  Deferred,
  DeferredRow,
  DeliveryChanges,
  DeliveryStore,
  GroupDeliveryChanges,
  Lease,
  LeaseEnd,
  LeaseRow,
  StoredDelivery,
} from "../channel/delivery-store.ts";
import type { Select, Statement } from "./statement.ts";

/** A row's id is its group's number times this, plus its slot or bucket, which is lower (offsets end at 2^48). */
const ROWS_PER_GROUP = 2 ** 39;

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

  readDelivery(): ReadonlyMap<number, StoredDelivery> {
    const groups = new Map<number, { leases: LeaseRow[]; deferred: DeferredRow[] }>();
    const groupOf = (id: number): { leases: LeaseRow[]; deferred: DeferredRow[] } => {
      const group = groups.get(id) ?? { leases: [], deferred: [] };
      groups.set(id, group);
      return group;
    };
    for (const row of this.#select<{ row_id: number; leases_json: string }>("SELECT row_id, leases_json FROM lease")) {
      const leases = (JSON.parse(row.leases_json) as PackedLease[]).map(unpackLease);
      groupOf(groupOfRow(row.row_id)).leases.push({ slot: row.row_id % ROWS_PER_GROUP, leases });
    }
    for (const row of this.#select<{ row_id: number; messages_json: string }>("SELECT row_id, messages_json FROM deferred")) {
      const messages = (JSON.parse(row.messages_json) as PackedDeferred[]).map(unpackDeferred);
      groupOf(groupOfRow(row.row_id)).deferred.push({ bucket: row.row_id % ROWS_PER_GROUP, messages });
    }
    return groups;
  }

  *statementsOf(changes: DeliveryChanges): Iterable<Statement> {
    for (const [group, groupChanges] of changes) yield* statementsOfGroup(group * ROWS_PER_GROUP, groupChanges);
  }
}

function groupOfRow(rowId: number): number {
  return Math.floor(rowId / ROWS_PER_GROUP);
}

/** The rows of a group have the ids from `base` on. */
function* statementsOfGroup(base: number, changes: GroupDeliveryChanges): Iterable<Statement> {
  if (changes.isCleared) {
    const bindings = [base, base + ROWS_PER_GROUP];
    yield { text: "DELETE FROM lease WHERE row_id >= ? AND row_id < ?", bindings };
    yield { text: "DELETE FROM deferred WHERE row_id >= ? AND row_id < ?", bindings };
  }
  for (const slot of changes.deleteLeaseSlots) yield { text: "DELETE FROM lease WHERE row_id = ?", bindings: [base + slot] };
  for (const bucket of changes.deleteDeferredBuckets) {
    yield { text: "DELETE FROM deferred WHERE row_id = ?", bindings: [base + bucket] };
  }
  for (const { slot, leases } of changes.writeLeases) {
    const bindings = [base + slot, JSON.stringify(leases.map(packLease))];
    yield { text: "INSERT OR REPLACE INTO lease (row_id, leases_json) VALUES (?, ?)", bindings };
  }
  for (const { bucket, messages } of changes.writeDeferred) {
    const bindings = [base + bucket, JSON.stringify(messages.map(packDeferred))];
    yield { text: "INSERT OR REPLACE INTO deferred (row_id, messages_json) VALUES (?, ?)", bindings };
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
