// Numbers that look random and are the same for the same seed, on every machine (splitmix32).

export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 0;
  }

  /** 32 random bits, as a whole number from 0. */
  draw32(): number {
    this.#state = (this.#state + 0x9e3779b9) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 16), 0x21f0aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
    return (mixed ^ (mixed >>> 15)) >>> 0;
  }

  /** A whole number from 0 to below `end`. */
  below(end: number): number {
    return Math.floor((this.draw32() / 2 ** 32) * end);
  }

  between(min: number, max: number): number {
    return min + this.below(max - min + 1);
  }

  /** True in `percent` of a hundred cases. */
  chance(percent: number): boolean {
    return this.below(100) < percent;
  }

  /** One of `items`; undefined when there is none. */
  pick<Item>(items: readonly Item[]): Item | undefined {
    return items[this.below(items.length)];
  }

  /** One of `first` and `rest`. */
  oneOf<Item>(first: Item, ...rest: readonly Item[]): Item {
    return this.pick([first, ...rest]) ?? first;
  }

  /** Some of `items`, in their order: each with this chance. */
  some<Item>(items: readonly Item[], percent: number): Item[] {
    return items.filter(() => this.chance(percent));
  }
}
