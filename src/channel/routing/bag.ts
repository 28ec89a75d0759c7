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

  get size(): number {
    return this.#slots.length;
  }

  add(slot: Slot<Owner>): void {
    assert(slot.place === -1, "what is added to a bag lies in none");
    slot.place = this.#slots.length;
    this.#slots.push(slot);
  }

  /** The last one takes its place. */
  remove(slot: Slot<Owner>): void {
    const last = this.#slots.pop();
    assert(last !== undefined, "what is removed from a bag lies in it");
    if (last !== slot) {
      this.#slots[slot.place] = last;
      last.place = slot.place;
    }
    slot.place = -1;
  }

  at(place: number): Owner {
    const slot = this.#slots[place];
    assert(slot !== undefined, "a place in a bag is below its size");
    return slot.owner;
  }

  /** In no order that means anything. */
  owners(): readonly Owner[] {
    return this.#slots.map(({ owner }) => owner);
  }
}

/** A whole number from 0 to below `end`. */
export function drawBelow(draw32: () => number, end: number): number {
  return Math.floor((draw32() / 2 ** 32) * end);
}
