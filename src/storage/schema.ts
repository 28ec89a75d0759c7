// The tables of a channel and their history. Migrations are only ever appended: an object may wake with any earlier schema.
import { renewBlocks } from "./block-migration.ts";
import { IDEMPOTENCY_TABLES } from "./idempotency-table.ts";
import type { MeteredStorage } from "./metered-storage.ts";
import { PRODUCER_TABLES } from "./producers-table.ts";
import { SNAPSHOT_TABLES } from "./snapshot-tables.ts";

/** Statements, or what has to be done with what is stored already: new storage goes without. */
type Migration = readonly string[] | ((storage: MeteredStorage) => void);

/** Each entry brings the schema from its place in the list to the next version. */
const MIGRATIONS: readonly Migration[] = [
  [
    // One row: what changes with settings and life cycle only.
    `CREATE TABLE channel (
       id INTEGER PRIMARY KEY CHECK (id = 1),
       record_json TEXT NOT NULL
     ) STRICT`,
    // One row: what the segments alone do not tell (rule RC2).
    `CREATE TABLE position (
       id INTEGER PRIMARY KEY CHECK (id = 1),
       next_offset INTEGER NOT NULL,
       head_offset INTEGER NOT NULL,
       put_messages INTEGER NOT NULL,
       put_bytes INTEGER NOT NULL,
       put_segments INTEGER NOT NULL,
       passed_messages INTEGER NOT NULL,
       passed_bytes INTEGER NOT NULL,
       passed_segments INTEGER NOT NULL,
       ahead_messages INTEGER NOT NULL,
       ahead_bytes INTEGER NOT NULL,
       ahead_segments INTEGER NOT NULL,
       removed_messages INTEGER NOT NULL,
       last_control_offset INTEGER NOT NULL,
       written_at_ms INTEGER NOT NULL
     ) STRICT`,
    // A segment: consecutive records in one block. The body is the last column, so that reading the others skips it.
    `CREATE TABLE segment (
       first_offset INTEGER PRIMARY KEY,
       record_count INTEGER NOT NULL,
       message_count INTEGER NOT NULL,
       message_bytes INTEGER NOT NULL,
       before_messages INTEGER NOT NULL,
       before_bytes INTEGER NOT NULL,
       before_segments INTEGER NOT NULL,
       put_at_ms INTEGER NOT NULL,
       part_count INTEGER NOT NULL,
       body BLOB NOT NULL
     ) STRICT`,
    // The rest of a block that is too large for one row: part_id = first_offset * 16 + part, from 1.
    `CREATE TABLE segment_part (
       part_id INTEGER PRIMARY KEY,
       body BLOB NOT NULL
     ) STRICT`,
    // The places of a segment that were removed ahead of the head.
    `CREATE TABLE gone (
       first_offset INTEGER PRIMARY KEY,
       places BLOB NOT NULL
     ) STRICT`,
    // Only messages that carry an id have a row here. Without a rowid an entry costs one row, not two.
    `CREATE TABLE message_id (
       message_id TEXT NOT NULL,
       record_offset INTEGER NOT NULL,
       PRIMARY KEY (message_id, record_offset)
     ) STRICT, WITHOUT ROWID`,
  ],
  [
    "ALTER TABLE position ADD COLUMN dead_lettered_messages INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE position ADD COLUMN dropped_messages INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE position ADD COLUMN scan_mark INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE position ADD COLUMN lost_ahead_bytes INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE position ADD COLUMN last_ttl_offset INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE position ADD COLUMN expired_messages INTEGER NOT NULL DEFAULT 0",
    `CREATE TABLE reader_group (
       group_id INTEGER PRIMARY KEY,
       record_json TEXT NOT NULL
     ) STRICT`,
    // What a group has done with ahead of its head, in one range of offsets.
    `CREATE TABLE group_done (
       row_id INTEGER PRIMARY KEY,
       places BLOB NOT NULL
     ) STRICT`,
    // The leases of one pull: JSON lists in the order of delivery-table.ts. A row whose leases ended before the head is used again.
    `CREATE TABLE lease (
       row_id INTEGER PRIMARY KEY,
       leases_json TEXT NOT NULL
     ) STRICT`,
    // Deferred messages of one range of offsets.
    `CREATE TABLE deferred (
       row_id INTEGER PRIMARY KEY,
       messages_json TEXT NOT NULL
     ) STRICT`,
    // A dead letter: a block of one record, the body last.
    `CREATE TABLE dead_letter (
       record_offset INTEGER NOT NULL,
       group_id INTEGER NOT NULL,
       group_name TEXT NOT NULL,
       attempts INTEGER NOT NULL,
       reason TEXT NOT NULL,
       died_at_ms INTEGER NOT NULL,
       part_count INTEGER NOT NULL,
       body BLOB NOT NULL,
       PRIMARY KEY (record_offset, group_id)
     ) STRICT, WITHOUT ROWID`,
    // The rest of a block that is too large for one row, from part 1.
    `CREATE TABLE dead_letter_part (
       record_offset INTEGER NOT NULL,
       group_id INTEGER NOT NULL,
       part INTEGER NOT NULL,
       body BLOB NOT NULL,
       PRIMARY KEY (record_offset, group_id, part)
     ) STRICT, WITHOUT ROWID`,
    `CREATE TABLE dead_letter_totals (
       id INTEGER PRIMARY KEY CHECK (id = 1),
       messages INTEGER NOT NULL,
       bytes INTEGER NOT NULL
     ) STRICT`,
  ],
  [
    // A checkpoint. What is known without its value comes first, so that reading that skips the value.
    `CREATE TABLE checkpoint (
       name TEXT NOT NULL PRIMARY KEY,
       version INTEGER NOT NULL,
       updated_at_ms INTEGER NOT NULL,
       value_bytes INTEGER NOT NULL,
       content_type TEXT NOT NULL,
       value BLOB NOT NULL
     ) STRICT, WITHOUT ROWID`,
    // One row, once a checkpoint was deleted (rule CP2).
    `CREATE TABLE checkpoint_deletions (
       id INTEGER PRIMARY KEY CHECK (id = 1),
       version_max INTEGER NOT NULL,
       deleted_at_ms INTEGER NOT NULL
     ) STRICT`,
  ],
  [
    // A delayed message, in the order of entering (rule SD4). The body is a block of one record.
    `CREATE TABLE scheduled (
       due_at_ms INTEGER NOT NULL,
       scheduled_id INTEGER NOT NULL,
       message_bytes INTEGER NOT NULL,
       part_count INTEGER NOT NULL,
       body BLOB NOT NULL,
       PRIMARY KEY (due_at_ms, scheduled_id)
     ) STRICT, WITHOUT ROWID`,
    // The rest of a block that is too large for one row; parts count from 1.
    `CREATE TABLE scheduled_part (
       due_at_ms INTEGER NOT NULL,
       scheduled_id INTEGER NOT NULL,
       part INTEGER NOT NULL,
       body BLOB NOT NULL,
       PRIMARY KEY (due_at_ms, scheduled_id, part)
     ) STRICT, WITHOUT ROWID`,
    // One row: totals, so that waking scans nothing.
    `CREATE TABLE schedule (
       id INTEGER PRIMARY KEY CHECK (id = 1),
       message_count INTEGER NOT NULL,
       message_bytes INTEGER NOT NULL,
       next_at_ms INTEGER,
       last_id INTEGER NOT NULL
     ) STRICT`,
  ],
  [...PRODUCER_TABLES, ...IDEMPOTENCY_TABLES],
  // What came of the attempts of a dead letter (packed-history.ts).
  ["ALTER TABLE dead_letter ADD COLUMN history_json TEXT"],
  SNAPSHOT_TABLES,
  // The index of a block begins with what every record has, and is sent as it is stored (block-layout.ts).
  renewBlocks,
];

export const SCHEMA_VERSION = MIGRATIONS.length;

/** The version of the tables that are there; 0 when there are none. Reads the catalogue, since user_version is not allowed. */
export function readSchemaVersion(storage: MeteredStorage): number {
  const tables = storage.exec("SELECT name FROM sqlite_master WHERE type = 'table' AND name = 'schema_version'");
  if (tables.length === 0) return 0;
  return storage.exec<{ version: number }>("SELECT version FROM schema_version")[0]?.version ?? 0;
}

/** Brings the tables to a later version, the present one. Has to run in a transaction. Throws when they are newer than this code. */
export function migrate(storage: MeteredStorage, fromVersion: number, toVersion: number = SCHEMA_VERSION): void {
  if (fromVersion > SCHEMA_VERSION) {
    throw new Error(`Cannot open storage of schema version ${fromVersion}: this code knows versions up to ${SCHEMA_VERSION}`);
  }
  if (fromVersion === toVersion) return;
  for (const migration of MIGRATIONS.slice(fromVersion, toVersion)) {
    if (typeof migration !== "function") for (const statement of migration) storage.exec(statement);
    else if (fromVersion > 0) migration(storage);
  }
  storage.exec(
    "CREATE TABLE IF NOT EXISTS schema_version (id INTEGER PRIMARY KEY CHECK (id = 1), version INTEGER NOT NULL) STRICT",
  );
  storage.exec(
    "INSERT INTO schema_version (id, version) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET version = excluded.version",
    toVersion,
  );
}
