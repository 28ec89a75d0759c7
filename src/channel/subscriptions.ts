// The subscriptions of all connections, how many there are of each kind, and which connections' attachments have to be written.
import type { Origin } from "./operation.ts";
import type { Subscription } from "./subscription.ts";

export class Subscriptions {
  readonly #byConnection = new Map<number, Map<number, Subscription>>();
  readonly #changedConnections = new Set<number>();
  readonly #counts: Record<Subscription["type"], number> = { member: 0, reader: 0, watch: 0, presence: 0 };

  /** Members of groups. */
  get members(): number {
    return this.#counts.member;
  }

  /** Plain readers and taps. */
  get readers(): number {
    return this.#counts.reader;
  }

  get watches(): number {
    return this.#counts.watch;
  }

  /** Those who watch presence. */
  get presences(): number {
    return this.#counts.presence;
  }

  find({ connection, request }: Origin): Subscription | undefined {
    return this.#byConnection.get(connection)?.get(request);
  }

  ofConnection(connection: number): readonly Subscription[] {
    return [...(this.#byConnection.get(connection)?.values() ?? [])];
  }

  all(): readonly Subscription[] {
    return [...this.#byConnection.values()].flatMap((ofConnection) => [...ofConnection.values()]);
  }

  /** Adds a subscription, or replaces what was known of it. */
  set(subscription: Subscription): void {
    const { connection, request } = subscription;
    let ofConnection = this.#byConnection.get(connection);
    if (ofConnection === undefined) this.#byConnection.set(connection, (ofConnection = new Map()));
    if (!ofConnection.has(request)) this.#counts[subscription.type] += 1;
    ofConnection.set(request, subscription);
    this.#changedConnections.add(connection);
  }

  /** False where it is not there. */
  delete({ connection, request, type }: Subscription): boolean {
    const ofConnection = this.#byConnection.get(connection);
    if (ofConnection?.delete(request) !== true) return false;
    if (ofConnection.size === 0) this.#byConnection.delete(connection);
    this.#counts[type] -= 1;
    this.#changedConnections.add(connection);
    return true;
  }

  get changedConnections(): ReadonlySet<number> {
    return this.#changedConnections;
  }

  takeChangedConnections(): readonly number[] {
    const changed = [...this.#changedConnections];
    this.#changedConnections.clear();
    return changed;
  }
}
