// What changed of the loads of a group's readers since somebody looked last. Only while somebody looks: else nothing is noted.

export interface LoadChanges {
  /** Connections whose leases became more or fewer. */
  readonly touched: ReadonlySet<number>;
  /** Holders that acked something. */
  readonly acked: ReadonlySet<string>;
  /** What was released by a settle call: the holders, by the offsets. */
  readonly released: ReadonlyMap<number, string>;
  /** Holders of leases whose time was over. */
  readonly expired: ReadonlySet<string>;
}

export class LoadWatch {
  #isWatched = false;
  #touched = new Set<number>();
  #acked = new Set<string>();
  #released = new Map<number, string>();
  #expired = new Set<string>();

  set isWatched(isWatched: boolean) {
    if (this.#isWatched && !isWatched) this.take();
    this.#isWatched = isWatched;
  }

  noteTouched(connection: number): void {
    if (this.#isWatched) this.#touched.add(connection);
  }

  noteAcked(holder: string): void {
    if (this.#isWatched) this.#acked.add(holder);
  }

  noteReleased(offset: number, holder: string): void {
    if (this.#isWatched) this.#released.set(offset, holder);
  }

  noteExpired(holder: string): void {
    if (this.#isWatched) this.#expired.add(holder);
  }

  take(): LoadChanges {
    const changes = { touched: this.#touched, acked: this.#acked, released: this.#released, expired: this.#expired };
    this.#touched = new Set();
    this.#acked = new Set();
    this.#released = new Map();
    this.#expired = new Set();
    return changes;
  }
}
