// The one wrapper over a Durable Object's storage: everything that is billed by the row goes through here and is counted.

export interface RowCounts {
  readonly written: number;
  readonly read: number;
}

export type SqlValue = ArrayBuffer | string | number | null;

export class MeteredStorage {
  readonly #storage: DurableObjectStorage;
  #written = 0;
  #read = 0;

  constructor(storage: DurableObjectStorage) {
    this.#storage = storage;
  }

  /** Rows since the object woke. */
  get rows(): RowCounts {
    return { written: this.#written, read: this.#read };
  }

  /** Runs one statement and returns its rows. The text has to be constant: statements are cached by it. */
  exec<Row extends Record<string, SqlValue>>(statement: string, ...bindings: SqlValue[]): Row[] {
    const cursor = this.#storage.sql.exec<Row>(statement, ...bindings);
    // Read to the end at once: a cursor that is held over an await has no snapshot.
    const rows = cursor.toArray();
    this.#written += cursor.rowsWritten;
    this.#read += cursor.rowsRead;
    return rows;
  }

  /** Runs `work` whole or not at all; a throw rolls back everything in it, the alarm too. */
  transaction<Value>(work: () => Value): Value {
    const written = this.#written;
    try {
      return this.#storage.transactionSync(work);
    } catch (error) {
      this.#written = written;
      throw error;
    }
  }

  /**
   * Throws where another instance of the object has taken the place of this one, which only learns it by touching its storage (rule RC11).
   * Reads no row.
   */
  assertCurrent(): void {
    this.exec("SELECT 1");
  }

  /** Resolves when everything written so far is on disk. */
  sync(): Promise<void> {
    return this.#storage.sync();
  }

  /** An alarm is billed as a row that no cursor reports. */
  setAlarm(atMs: number): void {
    this.#written += 1;
    // Not awaited: the write is part of the transaction, and the output gate holds replies until it is on disk.
    void this.#storage.setAlarm(atMs);
  }

  /** Erases everything, the schema and the alarm too, so that the object ceases to exist. */
  deleteAll(): Promise<void> {
    return this.#storage.deleteAll();
  }
}
