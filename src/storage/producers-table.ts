// Producers in SQLite: one row each.
import type { ProducersChanges, ProducersStore, StoredProducer } from "../channel/producers-store.ts";
import type { Select, Statement } from "./statement.ts";

export const PRODUCER_TABLES: readonly string[] = [
  // Without a rowid, so that a row is written once. What a look at a whole bucket needs comes first: it does not read the outcomes.
  `CREATE TABLE producer (
     bucket INTEGER NOT NULL,
     producer_id TEXT NOT NULL,
     used_at_ms INTEGER NOT NULL,
     epoch INTEGER NOT NULL,
     last_seq INTEGER NOT NULL,
     outcomes BLOB NOT NULL,
     PRIMARY KEY (bucket, producer_id)
   ) STRICT, WITHOUT ROWID`,
];

type ProducerRow = { used_at_ms: number; epoch: number; last_seq: number; outcomes: ArrayBuffer };
type UseRow = { producer_id: string; used_at_ms: number };

const SELECT_PRODUCER = "SELECT used_at_ms, epoch, last_seq, outcomes FROM producer WHERE bucket = ? AND producer_id = ?";
const UPSERT_PRODUCER = `INSERT INTO producer (bucket, producer_id, used_at_ms, epoch, last_seq, outcomes) VALUES (?, ?, ?, ?, ?, ?)
  ON CONFLICT (bucket, producer_id) DO UPDATE SET used_at_ms = excluded.used_at_ms, epoch = excluded.epoch,
  last_seq = excluded.last_seq, outcomes = excluded.outcomes`;

export class ProducersTable implements ProducersStore {
  readonly #select: Select;

  /** `select` runs a query, and finds nothing while there are no tables. */
  constructor(select: Select) {
    this.#select = select;
  }

  read(bucket: number, id: string): StoredProducer | undefined {
    const row = this.#select<ProducerRow>(SELECT_PRODUCER, bucket, id)[0];
    if (row === undefined) return undefined;
    const { used_at_ms: usedAtMs, epoch, last_seq: lastSeq, outcomes } = row;
    return { id, bucket, epoch, lastSeq, usedAtMs, outcomes: new Uint8Array(outcomes) };
  }

  readBucket(bucket: number): readonly { readonly id: string; readonly usedAtMs: number }[] {
    const rows = this.#select<UseRow>("SELECT producer_id, used_at_ms FROM producer WHERE bucket = ?", bucket);
    return rows.map((row) => ({ id: row.producer_id, usedAtMs: row.used_at_ms }));
  }

  *statementsOf(changes: ProducersChanges): Iterable<Statement> {
    if (changes.isReset) yield { text: "DELETE FROM producer", bindings: [] };
    for (const { bucket, id } of changes.deletes) {
      yield { text: "DELETE FROM producer WHERE bucket = ? AND producer_id = ?", bindings: [bucket, id] };
    }
    for (const { bucket, id, usedAtMs, epoch, lastSeq, outcomes } of changes.writes) {
      // As text, since a number that is bound is a double, which SQLite takes for a whole number only below 2^51.
      yield { text: UPSERT_PRODUCER, bindings: [bucket, id, usedAtMs, epoch, String(lastSeq), outcomes.buffer] };
    }
  }
}
