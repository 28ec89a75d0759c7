// Numbers that look random and are the same in each run (mulberry32).

export class Chance {
  #state: number;
  #names = 0;

  constructor(seed: number) {
    this.#state = seed;
  }

  /** A whole number of 32 bits. */
  draw32(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return (mixed ^ (mixed >>> 14)) >>> 0;
  }

  /** From 0 to 1, without 1. */
  draw(): number {
    return this.draw32() / 2 ** 32;
  }

  /** In the form of a UUID. */
  freshName(): string {
    this.#names += 1;
    return `00000000-0000-4000-8000-${this.#names.toString(16).padStart(12, "0")}`;
  }
}
