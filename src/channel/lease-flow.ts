// Who holds leases, counted while somebody watches presence (SPEC rule RG7). Nothing is noted else.
import type { Lease } from "./delivery-store.ts";

/** Where leases are held: a connection that they end with, or the token of a holder without one. */
export type LeaseKeeper = number | string;

export interface HeldLeases {
  readonly holder: string;
  /** What it calls itself. */
  readonly reader: string | undefined;
  readonly count: number;
}

export class LeaseFlow {
  #isWatched = false;
  /** By keeper and holder. */
  readonly #held = new Map<LeaseKeeper, Map<string, HeldLeases>>();
  #touched = new Set<LeaseKeeper>();
  #expired = new Set<LeaseKeeper>();

  /** Begins with the leases that there are. */
  begin(leases: Iterable<Lease>): void {
    this.#isWatched = true;
    for (const lease of leases) this.add(lease);
  }

  end(): void {
    this.#isWatched = false;
    this.#held.clear();
    this.take();
  }

  add(lease: Lease): void {
    this.#change(lease, 1);
  }

  remove(lease: Lease): void {
    this.#change(lease, -1);
  }

  /** The time of a lease is over. */
  noteExpired(lease: Lease): void {
    if (this.#isWatched) this.#expired.add(keeperOf(lease));
  }

  heldBy(keeper: LeaseKeeper): Iterable<HeldLeases> {
    return this.#held.get(keeper)?.values() ?? [];
  }

  keepers(): Iterable<LeaseKeeper> {
    return this.#held.keys();
  }

  /** Whose leases became more or fewer since the last call, and whose were over. */
  take(): { readonly touched: ReadonlySet<LeaseKeeper>; readonly expired: ReadonlySet<LeaseKeeper> } {
    const taken = { touched: this.#touched, expired: this.#expired };
    this.#touched = new Set();
    this.#expired = new Set();
    return taken;
  }

  #change(lease: Lease, change: 1 | -1): void {
    // One that is kept for a reader that was cut off is nobody's: nobody is there.
    if (!this.#isWatched || lease.graceUntilMs !== undefined) return;
    const { holder, reader } = lease;
    const keeper = keeperOf(lease);
    const ofKeeper = this.#held.get(keeper) ?? new Map<string, HeldLeases>();
    const count = (ofKeeper.get(holder)?.count ?? 0) + change;
    if (count > 0) ofKeeper.set(holder, { holder, reader, count });
    else ofKeeper.delete(holder);
    if (ofKeeper.size > 0) this.#held.set(keeper, ofKeeper);
    else this.#held.delete(keeper);
    this.#touched.add(keeper);
  }
}

function keeperOf({ connection, holder }: Lease): LeaseKeeper {
  return connection ?? holder;
}
