// Where the channel of an object is, in one row. Most objects never have one: the table is made by the first write, and is no part of the
// schema of a channel, of its snapshots and of what erases it.
import type { MeteredStorage } from "./metered-storage.ts";

const TABLE = "standing";
const IS_THERE = `SELECT name FROM sqlite_master WHERE type = 'table' AND name = '${TABLE}'`;
const OTHER_TABLES = `SELECT name FROM sqlite_master WHERE type = 'table' AND name <> '${TABLE}' AND name NOT LIKE '\\_cf\\_%' ESCAPE '\\'
  AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'`;

export class StandingTable<Standing> {
  readonly #storage: MeteredStorage;
  #isThere: boolean;

  constructor(storage: MeteredStorage) {
    this.#storage = storage;
    this.#isThere = storage.exec(IS_THERE).length > 0;
  }

  read(): Standing | undefined {
    if (!this.#isThere) return undefined;
    const [row] = this.#storage.exec<{ standing_json: string }>(`SELECT standing_json FROM ${TABLE}`);
    return row === undefined ? undefined : (JSON.parse(row.standing_json) as Standing);
  }

  write(standing: Standing): void {
    if (!this.#isThere) {
      this.#storage.exec(`CREATE TABLE ${TABLE} (id INTEGER PRIMARY KEY CHECK (id = 1), standing_json TEXT NOT NULL) STRICT`);
    }
    this.#isThere = true;
    const statement = `INSERT OR REPLACE INTO ${TABLE} (id, standing_json) VALUES (1, ?)`;
    this.#storage.exec(statement, JSON.stringify(standing));
  }

  /** Erases the channel, in one transaction: where it is stays. */
  eraseOthers(): void {
    this.#storage.transaction(() => {
      for (const { name } of this.#storage.exec<{ name: string }>(OTHER_TABLES)) this.#storage.exec(`DROP TABLE ${name}`);
    });
  }

  /** Erases everything, this too. */
  async eraseAll(): Promise<void> {
    this.#isThere = false;
    await this.#storage.deleteAll();
  }
}
