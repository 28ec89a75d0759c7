// The live leases, by offset, by deadline and by the stored row that holds them (SPEC LS: one row a pull).
import { shortenTogether } from "./attempt-history.ts";
import { Deadlines } from "./deadlines.ts";
import type { Lease, LeaseRow } from "./delivery-store.ts";
import { LIMITS } from "../protocol/limits.ts";

interface Slot {
  readonly number: number;
  readonly live: Map<number, Lease>;
  /** What the stored row says, by offset. */
  stored: ReadonlyMap<number, Lease>;
}

export class LeaseBook {
  readonly #slotOf = new Map<number, Slot>();
  readonly #slots = new Map<number, Slot>();
  /** Slots without live leases, whose rows the next pulls use. */
  readonly #free: number[] = [];
  readonly #changed = new Set<Slot>();
  readonly #deadlines = new Deadlines();
  readonly #byConnection = new Map<number, Set<number>>();
  #nextSlot = 1;

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
    return this.#slotOf.size;
  }

  get firstDeadlineMs(): number | undefined {
    return this.#deadlines.firstAtMs;
  }

  find(offset: number): Lease | undefined {
    return this.#slotOf.get(offset)?.live.get(offset);
  }

  /** Connections that leases end with. */
  get connections(): number[] {
    return [...this.#byConnection.keys()];
  }

  /** The leases that end with a connection. */
  ofConnection(connection: number): Lease[] {
    const offsets = [...(this.#byConnection.get(connection) ?? [])];
    return offsets.map((offset) => this.find(offset)).filter((lease) => lease !== undefined);
  }

  offsets(): Iterable<number> {
    return this.#slotOf.keys();
  }

  /** Adds the leases of one pull. */
  add(leases: readonly Lease[]): void {
    for (let start = 0; start < leases.length; start += LIMITS.leasesPerRowMax) {
      const slot = this.#takeSlot();
      for (const lease of leases.slice(start, start + LIMITS.leasesPerRowMax)) this.#insert(slot, lease);
      this.#changed.add(slot);
    }
  }

  extend(offset: number, deadlineMs: number): void {
    const slot = this.#slotOf.get(offset);
    const lease = slot?.live.get(offset);
    if (slot === undefined || lease === undefined) return;
    this.#insert(slot, { ...lease, deadlineMs });
    this.#changed.add(slot);
  }

  /** From now on the lease ends at `deadlineMs`, and with no connection. */
  detach(offset: number, deadlineMs: number): void {
    const slot = this.#slotOf.get(offset);
    const lease = slot?.live.get(offset);
    if (slot === undefined || lease === undefined) return;
    this.#forgetConnection(lease);
    this.#insert(slot, { ...lease, deadlineMs, connection: undefined });
    this.#changed.add(slot);
  }

  remove(offset: number): void {
    const slot = this.#slotOf.get(offset);
    const lease = slot?.live.get(offset);
    if (slot === undefined || lease === undefined) return;
    slot.live.delete(offset);
    this.#forgetConnection(lease);
    this.#slotOf.delete(offset);
    this.#deadlines.delete(offset);
    this.#changed.add(slot);
    if (slot.live.size === 0) this.#free.push(slot.number);
  }

  /** Leases whose time is over, in the order of offsets, the last first: what is later in a key ends before what is earlier. */
  takeExpired(nowMs: number): Lease[] {
    const offsets = this.#deadlines.takeDue(nowMs).sort((a, b) => b - a);
    return offsets.map((offset) => this.find(offset)).filter((lease) => lease !== undefined);
  }

  clear(): void {
    this.#slotOf.clear();
    this.#slots.clear();
    this.#free.length = 0;
    this.#changed.clear();
    this.#deadlines.clear();
    this.#byConnection.clear();
    this.#nextSlot = 1;
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
    return { write, deleteSlots };
  }

  #insert(slot: Slot, lease: Lease): void {
    slot.live.set(lease.offset, lease);
    this.#slotOf.set(lease.offset, slot);
    this.#deadlines.set(lease.offset, lease.deadlineMs);
    if (lease.connection === undefined) return;
    const offsets = this.#byConnection.get(lease.connection) ?? new Set();
    this.#byConnection.set(lease.connection, offsets.add(lease.offset));
  }

  #forgetConnection({ connection, offset }: Lease): void {
    if (connection === undefined) return;
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
