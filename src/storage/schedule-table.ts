// Delayed messages in SQLite: a row each in the order of entering, and one row of totals.
import { assert } from "../base/assert.ts";
import type {
  NewScheduled,
  ScheduleChanges,
  ScheduledEntry,
  ScheduledKey,
  ScheduleStore,
  ScheduleTotals,
} from "../channel/schedule-store.ts";
import { joinParts, splitParts } from "./row-parts.ts";
import type { Select, Statement } from "./statement.ts";

type EntryRow = { due_at_ms: number; scheduled_id: number; message_bytes: number };
type TotalsRow = { message_count: number; message_bytes: number; next_at_ms: number | null; last_id: number };

const SELECT_TOTALS = "SELECT message_count, message_bytes, next_at_ms, last_id FROM schedule";
const UPSERT_TOTALS = `INSERT OR REPLACE INTO schedule (id, message_count, message_bytes, next_at_ms, last_id)
  VALUES (1, ?, ?, ?, ?)`;
const SELECT_AFTER = `SELECT due_at_ms, scheduled_id, message_bytes FROM scheduled WHERE (due_at_ms, scheduled_id) > (?, ?)
  AND due_at_ms <= ? ORDER BY due_at_ms, scheduled_id LIMIT ?`;
const SELECT_ENTRY = "SELECT due_at_ms, scheduled_id, message_bytes FROM scheduled WHERE due_at_ms = ? AND scheduled_id = ?";
const SELECT_BODY = "SELECT part_count, body FROM scheduled WHERE due_at_ms = ? AND scheduled_id = ?";
const SELECT_PARTS = "SELECT body FROM scheduled_part WHERE due_at_ms = ? AND scheduled_id = ? ORDER BY part";
const INSERT_ENTRY = `INSERT INTO scheduled (due_at_ms, scheduled_id, message_bytes, part_count, body)
  VALUES (?, ?, ?, ?, ?)`;
const INSERT_PART = "INSERT INTO scheduled_part (due_at_ms, scheduled_id, part, body) VALUES (?, ?, ?, ?)";
const TABLES = ["scheduled", "scheduled_part"] as const;

export class ScheduleTable implements ScheduleStore {
  readonly #select: Select;

  /** `select` runs a query, and finds nothing while there are no tables. */
  constructor(select: Select) {
    this.#select = select;
  }

  readTotals(): ScheduleTotals | undefined {
    const row = this.#select<TotalsRow>(SELECT_TOTALS)[0];
    if (row === undefined) return undefined;
    return { messages: row.message_count, bytes: row.message_bytes, nextAtMs: row.next_at_ms, lastId: row.last_id };
  }

  readEntriesAfter({ dueAtMs, id }: ScheduledKey, range: { dueByMs: number; limit: number }): readonly ScheduledEntry[] {
    return this.#select<EntryRow>(SELECT_AFTER, dueAtMs, id, range.dueByMs, range.limit).map(parseEntry);
  }

  readEntry({ dueAtMs, id }: ScheduledKey): ScheduledEntry | undefined {
    const row = this.#select<EntryRow>(SELECT_ENTRY, dueAtMs, id)[0];
    return row === undefined ? undefined : parseEntry(row);
  }

  readBlock({ dueAtMs, id }: ScheduledKey): Uint8Array {
    const row = this.#select<{ part_count: number; body: ArrayBuffer }>(SELECT_BODY, dueAtMs, id)[0];
    assert(row !== undefined, "a scheduled message that is listed has a row");
    const rest = row.part_count === 1 ? [] : this.#select<{ body: ArrayBuffer }>(SELECT_PARTS, dueAtMs, id);
    return joinParts([row.body, ...rest.map((part) => part.body)]);
  }

  /** Deletions come first: they make room where storage is full. */
  *statementsOf({ isCleared, deleteUpTo, deleteEntries, insertEntries, totals }: ScheduleChanges): Iterable<Statement> {
    for (const table of TABLES) {
      if (isCleared) yield { text: `DELETE FROM ${table}`, bindings: [] };
      if (deleteUpTo !== undefined) {
        const { dueAtMs, id } = deleteUpTo;
        yield { text: `DELETE FROM ${table} WHERE (due_at_ms, scheduled_id) <= (?, ?)`, bindings: [dueAtMs, id] };
      }
      for (const { dueAtMs, id } of deleteEntries) {
        yield { text: `DELETE FROM ${table} WHERE due_at_ms = ? AND scheduled_id = ?`, bindings: [dueAtMs, id] };
      }
    }
    for (const entry of insertEntries) yield* insertEntry(entry);
    yield { text: UPSERT_TOTALS, bindings: [totals.messages, totals.bytes, totals.nextAtMs, totals.lastId] };
  }
}

function* insertEntry({ dueAtMs, id, bytes, block }: NewScheduled): Iterable<Statement> {
  const [first, ...rest] = splitParts(block);
  assert(first !== undefined, "a block has bytes");
  yield { text: INSERT_ENTRY, bindings: [dueAtMs, id, bytes, rest.length + 1, first] };
  for (const [index, part] of rest.entries()) yield { text: INSERT_PART, bindings: [dueAtMs, id, index + 1, part] };
}

function parseEntry(row: EntryRow): ScheduledEntry {
  return { dueAtMs: row.due_at_ms, id: row.scheduled_id, bytes: row.message_bytes };
}
