// Idempotency keys in SQLite: one row each, in a table for each generation that is made when it begins and dropped when it ends.
import type { IdempotencyChanges, IdempotencyStore, KeyGeneration, KeyOutcome } from "../channel/idempotency-store.ts";
import type { Select, Statement } from "./statement.ts";

export const IDEMPOTENCY_TABLES: readonly string[] = [
  `CREATE TABLE idempotency_generation (
     generation_id INTEGER PRIMARY KEY,
     until_ms INTEGER NOT NULL,
     keys_max INTEGER NOT NULL
   ) STRICT`,
];

type GenerationRow = { generation_id: number; until_ms: number; keys_max: number };
type KeyRow = { fingerprint: number; put_offset: number; entered_count: number; message_count: number; put_at_ms: number };

const SELECT_GENERATIONS = "SELECT generation_id, until_ms, keys_max FROM idempotency_generation ORDER BY generation_id";
const UPSERT_GENERATION = "INSERT OR REPLACE INTO idempotency_generation (generation_id, until_ms, keys_max) VALUES (?, ?, ?)";

export class IdempotencyTable implements IdempotencyStore {
  readonly #select: Select;

  /** `select` runs a query, and finds nothing while there are no tables. */
  constructor(select: Select) {
    this.#select = select;
  }

  readGenerations(): readonly KeyGeneration[] {
    const rows = this.#select<GenerationRow>(SELECT_GENERATIONS);
    return rows.map((row) => ({ id: row.generation_id, untilMs: row.until_ms, keysMax: row.keys_max }));
  }

  find(generationId: number, idempotencyKey: string): KeyOutcome | undefined {
    const select = `SELECT fingerprint, put_offset, entered_count, message_count, put_at_ms FROM ${tableOf(generationId)}
      WHERE idempotency_key = ?`;
    const row = this.#select<KeyRow>(select, idempotencyKey)[0];
    if (row === undefined) return undefined;
    const { fingerprint, put_offset: offset, entered_count: entered, message_count: count, put_at_ms: putAtMs } = row;
    return { idempotencyKey, fingerprint, offset, entered, count, putAtMs };
  }

  countKeys(generationId: number): number {
    return this.#select<{ keys: number }>(`SELECT count(*) AS keys FROM ${tableOf(generationId)}`)[0]?.keys ?? 0;
  }

  findLastPutMs(generationId: number): number {
    const text = `SELECT max(put_at_ms) AS last_ms FROM ${tableOf(generationId)}`;
    return this.#select<{ last_ms: number | null }>(text)[0]?.last_ms ?? 0;
  }

  /** `keepsTables`: an open snapshot still reads the keys of generations that are dropped, and drops their tables when it ends. */
  *statementsOf(changes: IdempotencyChanges, keepsTables: boolean): Iterable<Statement> {
    for (const id of changes.dropGenerations) {
      if (!keepsTables) yield { text: `DROP TABLE IF EXISTS ${tableOf(id)}`, bindings: [] };
      yield { text: "DELETE FROM idempotency_generation WHERE generation_id = ?", bindings: [id] };
    }
    for (const { id, untilMs, keysMax } of changes.writeGenerations) {
      yield { text: createKeyTable(tableOf(id)), bindings: [] };
      yield { text: UPSERT_GENERATION, bindings: [id, untilMs, keysMax] };
    }
    for (const { generationId, idempotencyKey, fingerprint, offset, entered, count, putAtMs } of changes.insertKeys) {
      const text = `INSERT OR REPLACE INTO ${tableOf(generationId)} (idempotency_key, fingerprint, put_offset, entered_count,
        message_count, put_at_ms) VALUES (?, ?, ?, ?, ?, ?)`;
      yield { text, bindings: [idempotencyKey, fingerprint, offset, entered, count, putAtMs] };
    }
  }
}

export const KEY_TABLE_PREFIX = "idempotency_key_";

/** Ids are small whole numbers of ours, so that few texts of statements arise and none carries anything foreign. */
function tableOf(generationId: number): string {
  return KEY_TABLE_PREFIX + generationId;
}

/** Without a rowid a key costs one row, not two. */
export function createKeyTable(table: string): string {
  return `CREATE TABLE IF NOT EXISTS ${table} (
    idempotency_key TEXT PRIMARY KEY,
    fingerprint INTEGER NOT NULL,
    put_offset INTEGER NOT NULL,
    entered_count INTEGER NOT NULL,
    message_count INTEGER NOT NULL,
    put_at_ms INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID`;
}
