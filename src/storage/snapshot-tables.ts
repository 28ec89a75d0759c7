// Snapshots and restores in SQLite. While a snapshot is open, triggers keep what its rows were, in a table beside each; without one
// nothing is there and nothing costs a row. What is restored is staged in tables of its own, which then take the place of the others.
import type { SnapshotChanges, SnapshotRow, SnapshotState, SnapshotStore } from "../channel/snapshot-store.ts";
import { createKeyTable, KEY_TABLE_PREFIX } from "./idempotency-table.ts";
import type { SqlValue } from "./metered-storage.ts";
import { isSoundRow } from "./snapshot-content.ts";
import type { Select, Statement } from "./statement.ts";

export const SNAPSHOT_TABLES: readonly string[] = [
  // One row, once a snapshot or a restore was begun: where they stand.
  `CREATE TABLE snapshot_state (
     id INTEGER PRIMARY KEY CHECK (id = 1),
     state_json TEXT NOT NULL
   ) STRICT`,
];

/** Everything that a snapshot holds, besides the channel's record and the tables of idempotency keys. */
const TABLES = [
  "checkpoint",
  "checkpoint_deletions",
  "dead_letter",
  "dead_letter_part",
  "dead_letter_totals",
  "deferred",
  "gone",
  "group_done",
  "idempotency_generation",
  "lease",
  "message_id",
  "position",
  "producer",
  "reader_group",
  "schedule",
  "scheduled",
  "scheduled_part",
  "segment",
  "segment_part",
] as const;

/** Rows of these may have 2 MB. */
const LARGE: ReadonlySet<string> = new Set([
  "checkpoint",
  "dead_letter",
  "dead_letter_part",
  "scheduled",
  "scheduled_part",
  "segment",
  "segment_part",
]);
const LARGE_ROWS_AT_ONCE = 2;
const SMALL_ROWS_AT_ONCE = 256;

/** Names the table that keeps what the rows of another were. */
const KEPT = "kept_";
/** Names the table whose rows will take the place of another's. */
const STAGED = "staged_";
const KEY_TABLE = new RegExp(`^${KEY_TABLE_PREFIX}[1-9]\\d{0,8}$`);

type ColumnRow = { name: string; type: string; notnull: number; pk: number };

interface Table {
  readonly name: string;
  readonly columns: readonly ColumnRow[];
  /** The names of those of the primary key, in its order. */
  readonly key: readonly string[];
}

export class SnapshotTables implements SnapshotStore {
  readonly version: number;
  readonly #select: Select;
  #isOpen: boolean;
  /** The columns of tables that rows were staged for. */
  readonly #staged = new Map<string, readonly ColumnRow[]>();

  constructor(select: Select, version: number) {
    this.#select = select;
    this.version = version;
    this.#isOpen = (this.readState()?.snapshot ?? null) !== null;
  }

  /** Whether tables that are not needed any more may still be read by a snapshot. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  readState(): SnapshotState | undefined {
    const row = this.#select<{ state_json: string }>("SELECT state_json FROM snapshot_state")[0];
    return row === undefined ? undefined : (JSON.parse(row.state_json) as SnapshotState);
  }

  *readRows(after: string | null): Iterable<{ row: SnapshotRow; cursor: string }> {
    const [start = "", ...startKey] = after === null ? [] : (JSON.parse(after) as [string, ...SqlValue[]]);
    const names = this.#names("table", KEPT).map((name) => name.slice(KEPT.length));
    for (const name of names) {
      if (name < start) continue;
      const table = this.#describe(name);
      let last: readonly SqlValue[] | undefined = name === start ? startKey : undefined;
      const limit = LARGE.has(name) ? LARGE_ROWS_AT_ONCE : SMALL_ROWS_AT_ONCE;
      for (let isMore = true; isMore;) {
        const bound: readonly SqlValue[] = last ?? [];
        const rows = this.#select(selectKept(table, last !== undefined), ...bound, ...bound, limit);
        for (const row of rows) {
          last = table.key.map((column) => row[column] ?? null);
          const values = table.columns.map(({ name: column }) => row[column] ?? null);
          const cursor = JSON.stringify([name, ...last]);
          yield {
            row: { table: name, values: values.map((value) => (value instanceof ArrayBuffer ? new Uint8Array(value) : value)) },
            cursor,
          };
        }
        isMore = rows.length === limit;
      }
    }
  }

  accepts({ table, values }: SnapshotRow): boolean {
    const isKnown = TABLES.some((name) => name === table) || KEY_TABLE.test(table);
    // Every table of keys is like the one that a staging begins with.
    if (!isKnown) return false;
    const columns = this.#columnsOf(KEY_TABLE.test(table) ? STAGED + KEY_TABLE_PREFIX + 0 : table);
    if (columns.length !== values.length) return false;
    const isTyped = columns.every(({ type, notnull, pk }, place) => {
      const value = values[place];
      if (value === null) return notnull === 0 && pk === 0;
      if (type === "INTEGER") return Number.isSafeInteger(value);
      return type === "TEXT" ? typeof value === "string" : value instanceof Uint8Array;
    });
    return isTyped && isSoundRow(table, Object.fromEntries(columns.map(({ name }, place) => [name, values[place] ?? null])));
  }

  /** What comes before the rest of a commit. To be run one by one: later ones read what earlier ones made. */
  *statementsBefore(changes: SnapshotChanges): Iterable<Statement> {
    if (changes.isEnded) yield* this.#end();
    if (changes.isUnstaged) for (const name of this.#names("table", STAGED)) yield plain(`DROP TABLE ${name}`);
    if (changes.isStaging) yield* this.#beginStaging();
    for (const table of new Set(changes.stage.map((row) => row.table))) {
      if (KEY_TABLE.test(table)) yield plain(createKeyTable(STAGED + table));
    }
    for (const row of changes.stage) yield stage(row);
    if (changes.isInstalled) yield* this.#install();
    const text = "INSERT OR REPLACE INTO snapshot_state (id, state_json) VALUES (1, ?)";
    yield { text, bindings: [JSON.stringify(changes.state)] };
  }

  /** What comes after the rest of a commit: from here on what is stored is kept as it is. */
  *statementsAfter(changes: SnapshotChanges): Iterable<Statement> {
    this.#isOpen = changes.state.snapshot !== null;
    if (!changes.isBegun) return;
    for (const name of [...TABLES, ...this.#names("table", KEY_TABLE_PREFIX)]) yield* keep(this.#describe(name));
  }

  *#end(): Iterable<Statement> {
    for (const name of this.#names("trigger", KEPT)) yield plain(`DROP TRIGGER ${name}`);
    for (const name of this.#names("table", KEPT)) yield plain(`DROP TABLE ${name}`);
    const rows = this.#select<{ generation_id: number }>("SELECT generation_id FROM idempotency_generation");
    const needed = new Set(rows.map((row) => KEY_TABLE_PREFIX + row.generation_id));
    // Those that were not needed any more were left to the snapshot.
    for (const name of this.#names("table", KEY_TABLE_PREFIX)) if (!needed.has(name)) yield plain(`DROP TABLE ${name}`);
  }

  *#beginStaging(): Iterable<Statement> {
    for (const name of TABLES) {
      const [row] = this.#select<{ sql: string }>("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?", name);
      yield plain((row?.sql ?? "").replace(/^CREATE TABLE "?\w+"?/, `CREATE TABLE ${STAGED}${name}`));
    }
    yield plain(createKeyTable(STAGED + KEY_TABLE_PREFIX + 0));
  }

  *#install(): Iterable<Statement> {
    yield plain(`DROP TABLE ${STAGED}${KEY_TABLE_PREFIX}0`);
    for (const name of [...TABLES, ...this.#names("table", KEY_TABLE_PREFIX)]) yield plain(`DROP TABLE ${name}`);
    for (const name of this.#names("table", STAGED)) yield plain(`ALTER TABLE ${name} RENAME TO ${name.slice(STAGED.length)}`);
  }

  /** The names that begin so, in their order. */
  #names(type: "table" | "trigger", prefix: string): string[] {
    const select = "SELECT name FROM sqlite_master WHERE type = ? AND name GLOB ? ORDER BY name";
    return this.#select<{ name: string }>(select, type, `${prefix}*`).map((row) => row.name);
  }

  /** Read once: a page has many rows. */
  #columnsOf(name: string): readonly ColumnRow[] {
    const columns = this.#staged.get(name) ?? this.#describe(name).columns;
    if (columns.length > 0) this.#staged.set(name, columns);
    return columns;
  }

  #describe(name: string): Table {
    const select = 'SELECT name, type, "notnull", pk FROM pragma_table_info(?) ORDER BY cid';
    const columns = this.#select<ColumnRow>(select, name);
    const key = columns.filter(({ pk }) => pk > 0).sort((a, b) => a.pk - b.pk);
    return { name, columns, key: key.map((column) => column.name) };
  }
}

function plain(text: string): Statement {
  return { text, bindings: [] };
}

function namesOf({ columns }: Table): string {
  return columns.map(({ name }) => name).join(", ");
}

/** The rows of a table as they were, in the order of its key: those that did not change, and those that are kept. */
function selectKept(table: Table, isContinued: boolean): string {
  const { name, key } = table;
  const order = key.join(", ");
  const after = isContinued ? ` AND (${order}) > (${key.map(() => "?").join(", ")})` : "";
  return `SELECT ${namesOf(table)} FROM ${name} WHERE NOT EXISTS (SELECT 1 FROM ${KEPT}${name} AS kept WHERE ${matches(key, "kept", name)})${after}
    UNION ALL SELECT ${namesOf(table)} FROM ${KEPT}${name} WHERE was_there = 1${after} ORDER BY ${order} LIMIT ?`;
}

function matches(key: readonly string[], left: string, right: string): string {
  return key.map((column) => `${left}.${column} = ${right}.${column}`).join(" AND ");
}

/**
 * A table that keeps what the rows of another were before they were changed or deleted, and notes those that came new. The triggers
 * ask first whether a row is noted: a conflict clause of theirs would be overridden by that of the statement that fires them.
 */
function* keep(table: Table): Iterable<Statement> {
  const { name, key } = table;
  const columns = namesOf(table);
  const kept = KEPT + name;
  yield plain(`CREATE TABLE ${kept} (${columns}, was_there, PRIMARY KEY (${key.join(", ")})) WITHOUT ROWID`);
  const isNew = (row: string): string => `NOT EXISTS (SELECT 1 FROM ${kept} AS kept WHERE ${matches(key, "kept", row)})`;
  const keepOld = (row: string): string =>
    `INSERT INTO ${kept} (${columns}, was_there) SELECT ${columns}, 1 FROM ${name} WHERE ${matches(key, name, row)} AND ${isNew(row)};`;
  const noteNew = `INSERT INTO ${kept} (${key.join(", ")}, was_there) SELECT ${key.map((column) => `NEW.${column}`).join(", ")}, 0 WHERE ${isNew("NEW")};`;
  yield plain(`CREATE TRIGGER ${kept}_insert BEFORE INSERT ON ${name} BEGIN ${keepOld("NEW")} ${noteNew} END`);
  yield plain(`CREATE TRIGGER ${kept}_update BEFORE UPDATE ON ${name} BEGIN ${keepOld("OLD")} END`);
  yield plain(`CREATE TRIGGER ${kept}_delete BEFORE DELETE ON ${name} BEGIN ${keepOld("OLD")} END`);
}

/** The first of two rows with one key counts, and one that a table does not take is left out. */
function stage({ table, values }: SnapshotRow): Statement {
  const places = values.map(() => "?").join(", ");
  return { text: `INSERT OR IGNORE INTO ${STAGED}${table} VALUES (${places})`, bindings: values.map(bind) };
}

/** Large numbers as text, since a number that is bound is a double, which SQLite takes for a whole number only below 2^51. */
function bind(value: SnapshotRow["values"][number]): SqlValue {
  if (typeof value === "number") return Math.abs(value) < 2 ** 50 ? value : String(value);
  return value instanceof Uint8Array ? new Uint8Array(value).buffer : value;
}
