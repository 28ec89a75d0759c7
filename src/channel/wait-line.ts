// Who waits: gets for messages and puts for room, each in a line of its own, first come first served (G7).
import { LIMITS } from "../protocol/limits.ts";
import { refuse, accept, type Result } from "../base/result.ts";
import type { LeaseTerms } from "./operation.ts";
import type { Refusal } from "../protocol/problems.ts";

/** A request that waits. It lives in its socket's attachment, so it survives hibernation; the body of a put is not here. */
export interface Waiter {
  readonly connection: number;
  /** The id that the connection gave the request. */
  readonly request: number;
  /** Its place in the order over all connections. */
  readonly ticket: number;
  readonly kind: "get" | "put";
  /** For a get the fewest and most messages wanted, for a put twice the number of its messages. */
  readonly min: number;
  readonly max: number;
  /** For a put the bytes of its messages, for a get 0. */
  readonly bytes: number;
  readonly deadlineMs: number;
  /** For a put that was told that there is room: until when the room is kept. */
  readonly reservedUntilMs?: number;
  /** For a get that leases what it takes. */
  readonly lease?: LeaseTerms;
  /** For a get the number of its group; gets of different groups wait in different lines. */
  readonly group: number;
  /** For a member of the group, which takes its place again after each turn: whose its leases are. It is no request that waits. */
  readonly holder?: string;
}

type WaiterKey = `${number}:${number}`;

function keyOf(connection: number, request: number): WaiterKey {
  return `${connection}:${request}`;
}

export class WaitLine {
  // A Map keeps the order of insertion and deletes in O(1), so ten thousand waiters cost no more than one.
  readonly #gets = new Map<number, Map<WaiterKey, Waiter>>();
  #getCount = 0;
  /** By group: the gets in its line that are no members. */
  readonly #getCounts = new Map<number, number>();
  readonly #puts = new Map<WaiterKey, Waiter>();
  readonly #reservations = new Map<WaiterKey, Waiter>();
  readonly #byConnection = new Map<number, Map<number, Waiter>>();
  readonly #changedConnections = new Set<number>();
  #nextTicket = 1;
  #reserved = { messages: 0, bytes: 0 };

  /** Rebuilds the lines from the attachments of the sockets, members of groups among them, in the order of the tickets. */
  restore(waiters: Iterable<Waiter>): void {
    for (const waiter of [...waiters].sort((a, b) => a.ticket - b.ticket)) {
      this.#insert(waiter);
      this.#nextTicket = Math.max(this.#nextTicket, waiter.ticket + 1);
    }
  }

  get counts(): { readonly gets: number; readonly puts: number } {
    return { gets: this.#getCount, puts: this.#puts.size + this.#reservations.size };
  }

  get size(): number {
    return this.#getCount + this.#puts.size + this.#reservations.size;
  }

  /** Room that is kept for puts whose bodies are on their way. */
  get reserved(): { readonly messages: number; readonly bytes: number } {
    return this.#reserved;
  }

  /** Numbers of the groups in which gets wait. */
  waitingGroups(): readonly number[] {
    return [...this.#gets.keys()];
  }

  firstGet(group: number): Waiter | undefined {
    return this.#gets.get(group)?.values().next().value;
  }

  /** Whether a request waits for messages of a group, and not only members. */
  hasGet(group: number): boolean {
    return this.#getCounts.has(group);
  }

  /** Those who wait for messages of a group, the first first. */
  getsOf(group: number): Iterable<Waiter> {
    return this.#gets.get(group)?.values() ?? [];
  }

  firstPut(): Waiter | undefined {
    return this.#puts.values().next().value;
  }

  find(connection: number, request: number): Waiter | undefined {
    return this.#byConnection.get(connection)?.get(request);
  }

  /** Whether a put of this connection waits or was promised room: a later one must not overtake it (G2). */
  hasPut(connection: number): boolean {
    const waiters = this.#byConnection.get(connection);
    if (waiters === undefined) return false;
    for (const waiter of waiters.values()) if (waiter.kind === "put") return true;
    return false;
  }

  /** Lets a member of a group stand in its line; how many there can be, the streams see to. */
  addMember(placeAt: (ticket: number) => Waiter): Waiter {
    const placed = placeAt(this.#nextTicket++);
    this.#insert(placed);
    return placed;
  }

  add(waiter: Omit<Waiter, "ticket">): Result<Waiter, Refusal> {
    const ofConnection = this.#byConnection.get(waiter.connection);
    if (ofConnection !== undefined && ofConnection.size >= LIMITS.waitersPerSocketMax) {
      return refuse({ kind: "too-many-waiters", limit: LIMITS.waitersPerSocketMax, retryAfterMs: 1000 });
    }
    if (this.size >= LIMITS.waitersMax) return refuse({ kind: "too-many-waiters", limit: LIMITS.waitersMax, retryAfterMs: 1000 });
    const placed: Waiter = { ...waiter, ticket: this.#nextTicket++ };
    this.#insert(placed);
    return accept(placed);
  }

  remove(waiter: Waiter): void {
    const key = keyOf(waiter.connection, waiter.request);
    if (this.#reservations.delete(key)) this.#reserve(-waiter.max, -waiter.bytes);
    else if (waiter.kind === "put") this.#puts.delete(key);
    else this.#removeGet(waiter);
    if (waiter.holder !== undefined) return;
    const ofConnection = this.#byConnection.get(waiter.connection);
    ofConnection?.delete(waiter.request);
    if (ofConnection?.size === 0) this.#byConnection.delete(waiter.connection);
    this.#changedConnections.add(waiter.connection);
  }

  /** Promises the room that the put waits for, until `reservedUntilMs`. */
  reserve(waiter: Waiter, reservedUntilMs: number): void {
    this.remove(waiter);
    this.#insert({ ...waiter, reservedUntilMs });
  }

  ofConnection(connection: number): readonly Waiter[] {
    return [...(this.#byConnection.get(connection)?.values() ?? [])];
  }

  /** Every request that waits. */
  all(): Waiter[] {
    return [
      ...[...this.#gets.values()].flatMap((gets) => [...gets.values()].filter(({ holder }) => holder === undefined)),
      ...this.#reservations.values(),
      ...this.#puts.values(),
    ];
  }

  /** The promise that ends first. Promises are made in the order of time, so it is the oldest. */
  firstReservation(): Waiter | undefined {
    return this.#reservations.values().next().value;
  }

  /** Connections whose attachments have to be written. */
  get changedConnections(): ReadonlySet<number> {
    return this.#changedConnections;
  }

  takeChangedConnections(): number[] {
    const changed = [...this.#changedConnections];
    this.#changedConnections.clear();
    return changed;
  }

  #insert(waiter: Waiter): void {
    const key = keyOf(waiter.connection, waiter.request);
    if (waiter.kind === "get") this.#insertGet(waiter);
    else if (waiter.reservedUntilMs === undefined) this.#puts.set(key, waiter);
    else {
      this.#reservations.set(key, waiter);
      this.#reserve(waiter.max, waiter.bytes);
    }
    if (waiter.holder !== undefined) return;
    let ofConnection = this.#byConnection.get(waiter.connection);
    if (ofConnection === undefined) this.#byConnection.set(waiter.connection, (ofConnection = new Map()));
    ofConnection.set(waiter.request, waiter);
    this.#changedConnections.add(waiter.connection);
  }

  #insertGet(waiter: Waiter): void {
    let gets = this.#gets.get(waiter.group);
    if (gets === undefined) this.#gets.set(waiter.group, (gets = new Map()));
    gets.set(keyOf(waiter.connection, waiter.request), waiter);
    if (waiter.holder === undefined) this.#countGet(waiter.group, 1);
  }

  #countGet(group: number, change: 1 | -1): void {
    this.#getCount += change;
    const count = (this.#getCounts.get(group) ?? 0) + change;
    if (count === 0) this.#getCounts.delete(group);
    else this.#getCounts.set(group, count);
  }

  #removeGet({ connection, request, group, holder }: Waiter): void {
    const gets = this.#gets.get(group);
    if (gets?.delete(keyOf(connection, request)) !== true) return;
    if (holder === undefined) this.#countGet(group, -1);
    if (gets.size === 0) this.#gets.delete(group);
  }

  #reserve(messages: number, bytes: number): void {
    this.#reserved = { messages: this.#reserved.messages + messages, bytes: this.#reserved.bytes + bytes };
  }
}
