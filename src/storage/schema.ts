// The tables of a channel and their history. Migrations are only ever appended: an object may wake with any earlier schema.
import { IDEMPOTENCY_TABLES } from "./idempotency-table.ts";
import type { MeteredStorage } from "./metered-storage.ts";
import { PRODUCER_TABLES } from "./producers-table.ts";

/** Each entry brings the schema from its place in the list to the next version. */
const MIGRATIONS: readonly (readonly string[])[] = [
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
  [...PRODUCER_TABLES, ...IDEMPOTENCY_TABLES],
];

export const SCHEMA_VERSION = MIGRATIONS.length;

/** The version of the tables that are there; 0 when there are none. Reads the catalogue, since user_version is not allowed. */
export function readSchemaVersion(storage: MeteredStorage): number {
  const tables = storage.exec("SELECT name FROM sqlite_master WHERE type = 'table' AND name = 'schema_version'");
  if (tables.length === 0) return 0;
  return storage.exec<{ version: number }>("SELECT version FROM schema_version")[0]?.version ?? 0;
}

/** Brings the tables to the present version. Has to run in a transaction. Throws when they are newer than this code. */
export function migrate(storage: MeteredStorage, fromVersion: number): void {
  if (fromVersion > SCHEMA_VERSION) {
    throw new Error(`Cannot open storage of schema version ${fromVersion}: this code knows versions up to ${SCHEMA_VERSION}`);
  }
  if (fromVersion === SCHEMA_VERSION) return;
  for (const statements of MIGRATIONS.slice(fromVersion)) {
    for (const statement of statements) storage.exec(statement);
  }
  storage.exec(
    "CREATE TABLE IF NOT EXISTS schema_version (id INTEGER PRIMARY KEY CHECK (id = 1), version INTEGER NOT NULL) STRICT",
  );
  storage.exec(
    "INSERT INTO schema_version (id, version) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET version = excluded.version",
    SCHEMA_VERSION,
  );
}
