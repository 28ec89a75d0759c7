// Bags by a level, for drawing among those with the least. A move costs the same however many there are, the least the logarithm of the levels.
import { MinHeap } from "../../base/min-heap.ts";
import { Bag, makeSlot, type Slot } from "./bag.ts";

/** Empty bags that are kept beside as many as there are filled ones. */
const EMPTY_BAGS_MAX = 64;

export interface LevelSlot<Owner> extends Slot<Owner> {
  level: number;
}

export function makeLevelSlot<Owner>(owner: Owner): LevelSlot<Owner> {
  return { ...makeSlot(owner), level: -1 };
}

export class Levels<Owner> {
  /** A bag that became empty stays until it is met as the least, as it is likely to be filled again. */
  readonly #bags = new Map<number, Bag<Owner>>();
  /** The levels of the bags, each once. */
  readonly #order = new MinHeap<number>((a, b) => a < b);
  #filled = 0;

  /** Adds it, or moves it to another level. */
  put(slot: LevelSlot<Owner>, level: number): void {
    if (slot.place !== -1 && slot.level === level) return;
    this.remove(slot);
    let bag = this.#bags.get(level);
    if (bag === undefined) {
      this.#bags.set(level, (bag = new Bag()));
      this.#order.push(level);
    }
    if (bag.size === 0) this.#filled += 1;
    bag.add(slot);
    slot.level = level;
  }

  remove(slot: LevelSlot<Owner>): void {
    if (slot.place === -1) return;
    const bag = this.#bags.get(slot.level);
    bag?.remove(slot);
    if (bag?.size !== 0) return;
    this.#filled -= 1;
    if (this.#bags.size > 2 * this.#filled + EMPTY_BAGS_MAX) this.#dropEmpty();
  }

  /** Those with the least level; undefined where there are none. */
  least(): Bag<Owner> | undefined {
    for (let level = this.#order.peek(); level !== undefined; level = this.#order.peek()) {
      const bag = this.#bags.get(level);
      if (bag !== undefined && bag.size > 0) return bag;
      this.#order.pop();
      this.#bags.delete(level);
    }
    return undefined;
  }

  #dropEmpty(): void {
    this.#order.clear();
    for (const [level, bag] of this.#bags) {
      if (bag.size === 0) this.#bags.delete(level);
      else this.#order.push(level);
    }
  }
}
