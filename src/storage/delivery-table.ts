// The tables of leases and deferred messages.
import type {
  AttachedMark,
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
import { packHistory, unpackHistory, type PackedHistory } from "./packed-history.ts";
import type { Select, Statement } from "./statement.ts";

/** A row's id is its group's number times this, plus its slot or bucket, which is lower (offsets end at 2^48). */
const ROWS_PER_GROUP = 2 ** 39;
/** The row of a group that tells of leases that lie with their sockets alone; slots begin at 1. */
const MARK_SLOT = 0;

/**
 * A lease without the names of its members; `null` for what is absent. Most leases of a row are of one pull and have no history, so time
 * and reader are left out where they are those of the lease before it, and what nothing follows is left out at the end.
 */
type PackedLease = readonly [
  offset: number,
  holder: string,
  attempt: number,
  deadlineMs: number,
  key: string | null,
  connection: number | null,
  pull?: readonly [leasedAtMs: number, reader: string | null] | null,
  history?: PackedHistory | null,
  /** For a reader that was cut off. */
  graceUntilMs?: number,
];
type PackedMark = readonly [doubtBefore: number, ...connections: number[]];
type PackedDeferred = readonly [
  offset: number,
  key: string | null,
  attempts: number,
  dueAtMs: number,
  end: LeaseEnd | null,
  isQuarantined: 0 | 1,
  history?: PackedHistory,
];

export class DeliveryTables implements DeliveryStore {
  readonly #select: Select;

  constructor(select: Select) {
    this.#select = select;
  }

  readDelivery(): ReadonlyMap<number, StoredDelivery> {
    interface Rows {
      readonly leases: LeaseRow[];
      readonly deferred: DeferredRow[];
      mark?: AttachedMark;
    }
    const groups = new Map<number, Rows>();
    const groupOf = (id: number): Rows => {
      const group = groups.get(id) ?? { leases: [], deferred: [] };
      groups.set(id, group);
      return group;
    };
    for (const row of this.#select<{ row_id: number; leases_json: string }>("SELECT row_id, leases_json FROM lease")) {
      const slot = row.row_id % ROWS_PER_GROUP;
      const group = groupOf(groupOfRow(row.row_id));
      if (slot === MARK_SLOT) group.mark = unpackMark(JSON.parse(row.leases_json) as PackedMark);
      else group.leases.push({ slot, leases: unpackLeases(JSON.parse(row.leases_json) as PackedLease[]) });
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

/** Whether a row tells of leases that lie with their sockets alone. */
export function isLeaseMark(rowId: number): boolean {
  return rowId % ROWS_PER_GROUP === MARK_SLOT;
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
  if (changes.mark === null) yield { text: "DELETE FROM lease WHERE row_id = ?", bindings: [base + MARK_SLOT] };
  else if (changes.mark !== undefined) yield writeLeaseRow(base + MARK_SLOT, packMark(changes.mark));
  for (const { slot, leases } of changes.writeLeases) yield writeLeaseRow(base + slot, packLeases(leases));
  for (const { bucket, messages } of changes.writeDeferred) {
    const bindings = [base + bucket, JSON.stringify(messages.map(packDeferred))];
    yield { text: "INSERT OR REPLACE INTO deferred (row_id, messages_json) VALUES (?, ?)", bindings };
  }
}

function writeLeaseRow(rowId: number, content: readonly unknown[]): Statement {
  const bindings = [rowId, JSON.stringify(content)];
  return { text: "INSERT OR REPLACE INTO lease (row_id, leases_json) VALUES (?, ?)", bindings };
}

function packMark({ doubtBefore, connections }: AttachedMark): PackedMark {
  return [doubtBefore, ...connections];
}

function unpackMark([doubtBefore, ...connections]: PackedMark): AttachedMark {
  return { connections, doubtBefore };
}

function packLeases(leases: readonly Lease[]): PackedLease[] {
  return leases.map((lease, index) => {
    const { offset, holder, attempt, deadlineMs, key, connection, leasedAtMs, reader, history, graceUntilMs } = lease;
    const before = leases[index - 1];
    const isSamePull = before?.leasedAtMs === leasedAtMs && before.reader === reader;
    const pull = isSamePull ? null : ([leasedAtMs, reader ?? null] as const);
    const packed = [offset, holder, attempt, deadlineMs, key ?? null, connection ?? null] as const;
    const packedHistory = history && packHistory(history);
    if (graceUntilMs !== undefined) return [...packed, pull, packedHistory ?? null, graceUntilMs];
    if (packedHistory !== undefined) return [...packed, pull, packedHistory];
    return pull === null ? packed : [...packed, pull];
  });
}

function unpackLeases(packed: readonly PackedLease[]): Lease[] {
  // Leases of an earlier release have no time of their beginning.
  let pull: readonly [leasedAtMs: number, reader: string | null] = [0, null];
  return packed.map(([offset, holder, attempt, deadlineMs, key, connection, ownPull, history, graceUntilMs]) => {
    pull = ownPull ?? pull;
    const [leasedAtMs, reader] = pull;
    return {
      offset,
      holder,
      attempt,
      deadlineMs,
      key: key ?? undefined,
      connection: connection ?? undefined,
      leasedAtMs,
      reader: reader ?? undefined,
      history: history ? unpackHistory(history) : undefined,
      ...(graceUntilMs !== undefined && { graceUntilMs }),
    };
  });
}

function packDeferred({ offset, key, attempts, dueAtMs, end, isQuarantined, history }: Deferred): PackedDeferred {
  const packed = [offset, key ?? null, attempts, dueAtMs, end ?? null, isQuarantined ? 1 : 0] as const;
  return history === undefined ? packed : [...packed, packHistory(history)];
}

function unpackDeferred([offset, key, attempts, dueAtMs, end, isQuarantined, history]: PackedDeferred): Deferred {
  return {
    offset,
    key: key ?? undefined,
    attempts,
    dueAtMs,
    end: end ?? undefined,
    isQuarantined: isQuarantined === 1,
    history: history && unpackHistory(history),
  };
}
