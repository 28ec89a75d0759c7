// The checkpoints of a channel in SQLite: a row each, and one for what deletions leave behind.
import { assert } from "../base/assert.ts";
import type {
  CheckpointChanges,
  CheckpointDeletions,
  CheckpointRange,
  CheckpointStore,
  CheckpointTotals,
} from "../channel/checkpoint-store.ts";
import type { Checkpoint, CheckpointEntry } from "../protocol/checkpoint.ts";
import type { Select, Statement } from "./statement.ts";

type EntryRow = { name: string; version: number; updated_at_ms: number; value_bytes: number; content_type: string };

const ENTRY_COLUMNS = "name, version, updated_at_ms, value_bytes, content_type";
const SELECT_TOTALS =
  "SELECT count(*) AS count, coalesce(sum(value_bytes), 0) AS bytes, coalesce(max(updated_at_ms), 0) AS updated_at_ms FROM checkpoint";
const SELECT_ENTRY = `SELECT ${ENTRY_COLUMNS} FROM checkpoint WHERE name = ?`;
const SELECT_CHECKPOINT = `SELECT ${ENTRY_COLUMNS}, value FROM checkpoint WHERE name = ?`;
// Two, since of two lower bounds SQLite seeks by one and reads everything up to the other.
const SELECT_AFTER = `SELECT ${ENTRY_COLUMNS} FROM checkpoint WHERE name > ? AND name < ? ORDER BY name LIMIT ?`;
const SELECT_FROM = `SELECT ${ENTRY_COLUMNS} FROM checkpoint WHERE name >= ? AND name < ? ORDER BY name LIMIT ?`;
const UPSERT_CHECKPOINT = `INSERT OR REPLACE INTO checkpoint (name, version, updated_at_ms, value_bytes, content_type, value)
  VALUES (?, ?, ?, ?, ?, ?)`;
const UPSERT_DELETIONS = "INSERT OR REPLACE INTO checkpoint_deletions (id, version_max, deleted_at_ms) VALUES (1, ?, ?)";

/** Comes after every character of a name. */
const AFTER_ALL = "\u007f";

export class CheckpointTable implements CheckpointStore {
  readonly #select: Select;

  constructor(select: Select) {
    this.#select = select;
  }

  readTotals(): CheckpointTotals {
    const [row] = this.#select<{ count: number; bytes: number; updated_at_ms: number }>(SELECT_TOTALS);
    return { count: row?.count ?? 0, bytes: row?.bytes ?? 0, updatedAtMs: row?.updated_at_ms ?? 0 };
  }

  readDeletions(): CheckpointDeletions | undefined {
    const select = "SELECT version_max, deleted_at_ms FROM checkpoint_deletions";
    const [row] = this.#select<{ version_max: number; deleted_at_ms: number }>(select);
    return row === undefined ? undefined : { versionMax: row.version_max, deletedAtMs: row.deleted_at_ms };
  }

  readEntry(name: string): CheckpointEntry | undefined {
    const [row] = this.#select<EntryRow>(SELECT_ENTRY, name);
    return row === undefined ? undefined : parseEntry(row);
  }

  read(name: string): Checkpoint | undefined {
    const [row] = this.#select<EntryRow & { value: ArrayBuffer }>(SELECT_CHECKPOINT, name);
    return row === undefined ? undefined : { ...parseEntry(row), value: new Uint8Array(row.value) };
  }

  list({ after, prefix, limit }: CheckpointRange): readonly CheckpointEntry[] {
    const [select, bound] = after < prefix ? [SELECT_FROM, prefix] : [SELECT_AFTER, after];
    return this.#select<EntryRow>(select, bound, prefix + AFTER_ALL, limit).map(parseEntry);
  }

  *statementsOf(changes: CheckpointChanges): Iterable<Statement> {
    if (changes.isReset) {
      yield { text: "DELETE FROM checkpoint", bindings: [] };
      yield { text: "DELETE FROM checkpoint_deletions", bindings: [] };
    }
    for (const name of changes.delete) yield { text: "DELETE FROM checkpoint WHERE name = ?", bindings: [name] };
    for (const { name, version, updatedAtMs, bytes, contentType, value } of changes.write) {
      assert(bytes === value.buffer.byteLength, "a value is the whole of its memory");
      yield { text: UPSERT_CHECKPOINT, bindings: [name, version, updatedAtMs, bytes, contentType, value.buffer] };
    }
    if (changes.deletions !== undefined) {
      yield { text: UPSERT_DELETIONS, bindings: [changes.deletions.versionMax, changes.deletions.deletedAtMs] };
    }
  }
}

function parseEntry(row: EntryRow): CheckpointEntry {
  const { name, version, updated_at_ms: updatedAtMs, value_bytes: bytes, content_type: contentType } = row;
  return { name, version, contentType, bytes, updatedAtMs };
}
