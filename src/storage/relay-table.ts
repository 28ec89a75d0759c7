// The names of a channel's relays in SQLite, a row each. The table is made with the first of them: most channels have none.
import type { RelayStore } from "../channel/relay/relay-store.ts";
import type { MeteredStorage } from "./metered-storage.ts";

export class RelayTable implements RelayStore {
  readonly #storage: MeteredStorage;

  constructor(storage: MeteredStorage) {
    this.#storage = storage;
  }

  list(): readonly string[] {
    if (!this.#isThere()) return [];
    return this.#storage.exec<{ name: string }>("SELECT name FROM relay ORDER BY name").map(({ name }) => name);
  }

  add(relay: string): void {
    this.#storage.exec("CREATE TABLE IF NOT EXISTS relay (name TEXT NOT NULL PRIMARY KEY) STRICT, WITHOUT ROWID");
    this.#storage.exec("INSERT OR IGNORE INTO relay (name) VALUES (?)", relay);
  }

  remove(relay: string): void {
    if (this.#isThere()) this.#storage.exec("DELETE FROM relay WHERE name = ?", relay);
  }

  /** What erases a channel takes the table with it. */
  #isThere(): boolean {
    return this.#storage.exec("SELECT name FROM sqlite_master WHERE type = 'table' AND name = 'relay'").length > 0;
  }
}
