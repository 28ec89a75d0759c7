// Things of which one is drawn at random. Adding, removing and drawing cost the same however many there are.
import { assert } from "../../base/assert.ts";

/** Where something lies in a bag; it lies in one at a time. */
export interface Slot<Owner> {
  readonly owner: Owner;
  /** -1 while it lies in none. */
  place: number;
}

export function makeSlot<Owner>(owner: Owner): Slot<Owner> {
  return { owner, place: -1 };
}

export class Bag<Owner> {
  readonly #slots: Slot<Owner>[] = [];
  /** Of the slots in the same places: a draw looks at one thing less. */
  readonly #owners: Owner[] = [];

  get size(): number {
    return this.#slots.length;
  }

  add(slot: Slot<Owner>): void {
    assert(slot.place === -1, "what is added to a bag lies in none");
    slot.place = this.#slots.length;
    this.#slots.push(slot);
    this.#owners.push(slot.owner);
  }

  /** The last one takes its place. */
  remove(slot: Slot<Owner>): void {
    const last = this.#slots.pop();
    assert(last !== undefined, "what is removed from a bag lies in it");
    this.#owners.pop();
    if (last !== slot) {
      this.#slots[slot.place] = last;
      this.#owners[slot.place] = last.owner;
      last.place = slot.place;
    }
    slot.place = -1;
  }

  at(place: number): Owner {
    const owner = this.#owners[place];
    assert(owner !== undefined, "a place in a bag is below its size");
    return owner;
  }

  /** In no order that means anything. */
  owners(): readonly Owner[] {
    return this.#owners;
  }
}

/** A whole number from 0 to below `end`. */
export function drawBelow(draw32: () => number, end: number): number {
  return Math.floor((draw32() / 2 ** 32) * end);
}
