// The live leases, by offset, by deadline and by where they are kept: a stored row (SPEC rule LS11: one for each pull) or a frame in the
// attachment of their socket (rule LS13).
import { shortenTogether } from "./attempt-history.ts";
import type { AttachedLeases, LeaseFrame } from "./attached-leases.ts";
import { Deadlines } from "./deadlines.ts";
import { endOf, type Lease, type LeaseRow } from "./delivery-store.ts";
import type { LeaseFlow } from "./lease-flow.ts";
import type { LoadWatch } from "./load-watch.ts";
import { LIMITS } from "../protocol/limits.ts";

interface Slot {
  readonly number: number;
  readonly live: Map<number, Lease>;
  /** What the stored row says, by offset. */
  stored: ReadonlyMap<number, Lease>;
}

type Keeper = Slot | LeaseFrame;

interface LeaseBookOptions {
  readonly id: number;
  readonly attached: AttachedLeases;
  readonly flow: LeaseFlow;
}

export class LeaseBook {
  /** The number of the group. */
  readonly #group: number;
  readonly #attached: AttachedLeases;
  readonly #loads: LoadWatch;
  readonly #flow: LeaseFlow;
  readonly #keeperOf = new Map<number, Keeper>();
  readonly #slots = new Map<number, Slot>();
  /** Slots without live leases, whose rows the next pulls use. */
  readonly #free: number[] = [];
  readonly #changed = new Set<Slot>();
  readonly #frames = new Set<LeaseFrame>();
  readonly #deadlines = new Deadlines();
  readonly #byConnection = new Map<number, Set<number>>();
  #nextSlot = 1;
  /** Takes the leases that come to be stored in this commit, while it has room. */
  #collecting: Slot | undefined;

  /** `id`: of the group. */
  constructor({ id, attached, flow }: LeaseBookOptions, loads: LoadWatch) {
    this.#group = id;
    this.#attached = attached;
    this.#flow = flow;
    this.#loads = loads;
  }

  /** Takes the stored leases; those of messages before `headOffset` ended before the object slept. */
  restore(rows: Iterable<LeaseRow>, isOpen: (offset: number) => boolean): Lease[] {
    const restored: Lease[] = [];
    for (const { slot: number, leases } of rows) {
      const slot: Slot = { number, live: new Map(), stored: new Map(leases.map((lease) => [lease.offset, lease])) };
      this.#slots.set(number, slot);
      this.#nextSlot = Math.max(this.#nextSlot, number + 1);
      for (const lease of leases) if (isOpen(lease.offset)) this.#insert(slot, lease);
      if (slot.live.size === 0) this.#free.push(number);
      restored.push(...slot.live.values());
    }
    return restored;
  }

  get size(): number {
    return this.#keeperOf.size;
  }

  get firstDeadlineMs(): number | undefined {
    return this.#deadlines.firstAtMs;
  }

  find(offset: number): Lease | undefined {
    return this.#keeperOf.get(offset)?.live.get(offset);
  }

  /** Connections that leases end with. */
  get connections(): number[] {
    return [...this.#byConnection.keys()];
  }

  /** How many leases end with a connection. */
  countOf(connection: number): number {
    return this.#byConnection.get(connection)?.size ?? 0;
  }

  *countByConnection(): Iterable<readonly [connection: number, leases: number]> {
    for (const [connection, offsets] of this.#byConnection) yield [connection, offsets.size];
  }

  /** The leases that end with a connection. */
  ofConnection(connection: number): Lease[] {
    const offsets = [...(this.#byConnection.get(connection) ?? [])];
    return offsets.map((offset) => this.find(offset)).filter((lease) => lease !== undefined);
  }

  /** The leases of a holder, wherever it is. */
  ofHolder(holder: string): Lease[] {
    return [...this.#keeperOf.keys()].flatMap((offset) => this.find(offset) ?? []).filter((lease) => lease.holder === holder);
  }

  *all(): Iterable<Lease> {
    for (const [offset, keeper] of this.#keeperOf) {
      const lease = keeper.live.get(offset);
      if (lease !== undefined) yield lease;
    }
  }

  offsets(): Iterable<number> {
    return this.#keeperOf.keys();
  }

  /** Adds the leases of one pull, which are stored. */
  add(leases: readonly Lease[]): void {
    for (let start = 0; start < leases.length; start += LIMITS.leasesPerRowMax) {
      const slot = this.#takeSlot();
      for (const lease of leases.slice(start, start + LIMITS.leasesPerRowMax)) this.#insert(slot, lease);
      this.#changed.add(slot);
    }
  }

  /** Adds leases that were given together and lie with the socket of `connection`. */
  attach(leases: readonly Lease[], connection: number): void {
    const [first] = leases;
    if (first === undefined) return;
    const { holder, reader, leasedAtMs, deadlineMs } = first;
    const frame = this.#attached.open({ connection, group: this.#group, holder, reader, leasedAtMs, deadlineMs });
    this.#frames.add(frame);
    for (const lease of leases) this.#insert(frame, lease);
    this.#attached.noteChange(frame);
  }

  /** Stores the leases of a frame, which does not fit its socket. */
  store(frame: LeaseFrame): void {
    for (const lease of frame.live.values()) this.#collect(lease);
  }

  /** Stores what lies with sockets, of messages before `offset`. */
  storeBefore(offset: number): void {
    for (const frame of this.#frames) {
      for (const lease of frame.live.values()) if (lease.offset < offset) this.#collect(lease);
    }
  }

  extend(offset: number, deadlineMs: number): void {
    this.#change(offset, { deadlineMs, graceUntilMs: undefined });
  }

  /** From now on the lease ends at `graceUntilMs`, if that is before its deadline, and with no connection. It is stored. */
  detach(offset: number, graceUntilMs: number): void {
    this.#change(offset, { connection: undefined, graceUntilMs });
  }

  /** From now on the lease ends with `connection`, and at its deadline. */
  takeOver(offset: number, connection: number): void {
    this.#change(offset, { connection, graceUntilMs: undefined });
  }

  remove(offset: number): void {
    const keeper = this.#keeperOf.get(offset);
    const lease = keeper?.live.get(offset);
    if (keeper === undefined || lease === undefined) return;
    keeper.live.delete(offset);
    this.#unlink(lease);
    this.#keeperOf.delete(offset);
    this.#deadlines.delete(offset);
    this.#noteRemoved(keeper);
  }

  /** Leases whose time is over, in the order of offsets, the last first: what is later in a key ends before what is earlier. */
  takeExpired(nowMs: number): Lease[] {
    const offsets = this.#deadlines.takeDue(nowMs).sort((a, b) => b - a);
    const expired = offsets.map((offset) => this.find(offset)).filter((lease) => lease !== undefined);
    for (const lease of expired) this.#flow.noteExpired(lease);
    return expired;
  }

  clear(): void {
    for (const frame of this.#frames) for (const offset of frame.live.keys()) this.remove(offset);
    for (const lease of this.all()) this.#flow.remove(lease);
    this.#keeperOf.clear();
    this.#slots.clear();
    this.#free.length = 0;
    this.#changed.clear();
    this.#deadlines.clear();
    this.#byConnection.clear();
    this.#nextSlot = 1;
    this.#collecting = undefined;
  }

  /**
   * The rows to write. A row whose ended leases all lie before the head stays as it is: waking sees that they ended, and the next pull
   * uses the row, so that a pull whose messages are acked costs one row and not two.
   */
  takeChanges(headOffset: number): { readonly write: LeaseRow[]; readonly deleteSlots: number[] } {
    const write: LeaseRow[] = [];
    const deleteSlots: number[] = [];
    for (const slot of this.#changed) {
      const open = [...slot.stored.values()].filter(({ offset }) => offset >= headOffset);
      const isTold = open.length === slot.live.size && open.every((lease) => slot.live.get(lease.offset) === lease);
      if (isTold) continue;
      for (const lease of shortenTogether(slot.live.values())) slot.live.set(lease.offset, lease);
      if (slot.live.size > 0) write.push({ slot: slot.number, leases: [...slot.live.values()] });
      else deleteSlots.push(slot.number);
      slot.stored = new Map(slot.live);
    }
    this.#changed.clear();
    this.#collecting = undefined;
    return { write, deleteSlots };
  }

  #change(offset: number, change: Partial<Lease>): void {
    const keeper = this.#keeperOf.get(offset);
    const lease = keeper?.live.get(offset);
    if (keeper === undefined || lease === undefined) return;
    const changed: Lease = { ...lease, ...change };
    if ("stored" in keeper) {
      this.#unlink(lease);
      this.#insert(keeper, changed);
      this.#changed.add(keeper);
      return;
    }
    this.remove(offset);
    if (changed.connection === undefined) this.#collect(changed);
    else this.attach([changed], changed.connection);
  }

  /** Moves a lease from where it lies to a row. */
  #collect(lease: Lease): void {
    this.remove(lease.offset);
    const isFull = (this.#collecting?.live.size ?? 0) >= LIMITS.leasesPerRowMax;
    const slot = isFull ? this.#takeSlot() : (this.#collecting ?? this.#takeSlot());
    this.#collecting = slot;
    this.#insert(slot, lease);
    this.#changed.add(slot);
  }

  #insert(keeper: Keeper, lease: Lease): void {
    keeper.live.set(lease.offset, lease);
    this.#keeperOf.set(lease.offset, keeper);
    this.#deadlines.set(lease.offset, endOf(lease));
    this.#flow.add(lease);
    if (lease.connection === undefined) return;
    this.#loads.noteTouched(lease.connection);
    const offsets = this.#byConnection.get(lease.connection) ?? new Set();
    this.#byConnection.set(lease.connection, offsets.add(lease.offset));
  }

  #noteRemoved(keeper: Keeper): void {
    if ("stored" in keeper) {
      this.#changed.add(keeper);
      if (keeper.live.size > 0) return;
      this.#free.push(keeper.number);
      if (this.#collecting === keeper) this.#collecting = undefined;
      return;
    }
    this.#attached.noteChange(keeper);
    if (keeper.live.size === 0) this.#frames.delete(keeper);
  }

  #unlink(lease: Lease): void {
    this.#flow.remove(lease);
    const { connection, offset } = lease;
    if (connection === undefined) return;
    this.#loads.noteTouched(connection);
    const offsets = this.#byConnection.get(connection);
    offsets?.delete(offset);
    if (offsets?.size === 0) this.#byConnection.delete(connection);
  }

  #takeSlot(): Slot {
    const number = this.#free.pop() ?? this.#nextSlot++;
    let slot = this.#slots.get(number);
    if (slot === undefined) this.#slots.set(number, (slot = { number, live: new Map(), stored: new Map() }));
    return slot;
  }
}
