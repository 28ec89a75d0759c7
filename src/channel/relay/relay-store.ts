// Where a channel keeps the names of its relays.

export interface RelayStore {
  list(): readonly string[];
  add(relay: string): void;
  remove(relay: string): void;
}
