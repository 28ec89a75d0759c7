// Randomness that a seed repeats (mulberry32): a failed run is run again with the seed that it printed.

export class SeededRandom {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** At least 0, less than 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A whole number from `min` to `max`, both included. */
  int(min: number, max: number): number {
    return min + Math.floor(this.next() * (max - min + 1));
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  pick<Item>(items: readonly Item[]): Item {
    if (items.length === 0) throw new Error("Cannot pick from an empty list");
    // An item may be undefined itself.
    return items[this.int(0, items.length - 1)] as Item;
  }

  /** Yields the items in random order, over and over: all of them come equally often. */
  *shuffle<Item>(items: readonly Item[]): Generator<Item, never> {
    if (items.length === 0) throw new Error("Cannot shuffle an empty list");
    for (;;) {
      const rest = [...items];
      while (rest.length > 0) yield* rest.splice(this.int(0, rest.length - 1), 1);
    }
  }

  /** A generator of its own, so that what one part draws does not shift what another draws. */
  fork(): SeededRandom {
    return new SeededRandom(this.int(0, 2 ** 32 - 1));
  }
}

/** The seed of this run: from the environment variable SEED, else a fresh one. */
export function chooseSeed(): number {
  const given = process.env["SEED"];
  return given === undefined ? Math.floor(Math.random() * 2 ** 32) : Number(given);
}
