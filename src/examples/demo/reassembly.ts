// Puts numbered lines that come in another order back in theirs, and hashes them as they follow each other.
import { createHash } from "node:crypto";

/**
 * Several readers take from the channel side by side, so lines arrive a little out of order. What came too early is kept until the lines
 * before it are there. Invariant: no more than `aheadMax` lines are kept, however long the file is.
 */
export class Reassembly {
  readonly #aheadMax: number;
  readonly #hash = createHash("sha256");
  readonly #ahead = new Map<number, Uint8Array>();
  #next = 1;
  #bytes = 0;
  #aheadMost = 0;

  constructor(aheadMax: number) {
    this.#aheadMax = aheadMax;
  }

  /** Takes a line. Throws when it came before, or when more would have to be kept than is allowed. */
  add(number: number, bytes: Uint8Array): void {
    if (number < this.#next || this.#ahead.has(number)) throw new Error(`Line ${number} came twice`);
    this.#ahead.set(number, bytes);
    this.#bytes += bytes.byteLength;
    for (let line = this.#ahead.get(this.#next); line !== undefined; line = this.#ahead.get(this.#next)) {
      this.#hash.update(line);
      this.#ahead.delete(this.#next);
      this.#next += 1;
    }
    this.#aheadMost = Math.max(this.#aheadMost, this.#ahead.size);
    if (this.#ahead.size <= this.#aheadMax) return;
    throw new Error(`${this.#ahead.size} lines came before line ${this.#next}: at most ${this.#aheadMax} were expected to`);
  }

  /** The first line that is missing. */
  get next(): number {
    return this.#next;
  }

  /** How many lines came. */
  get count(): number {
    return this.#next - 1 + this.#ahead.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** How many lines are kept because one before them is missing. */
  get ahead(): number {
    return this.#ahead.size;
  }

  /** The most lines that were kept at any time. */
  get aheadMost(): number {
    return this.#aheadMost;
  }

  /** The SHA-256 of all lines in their order, in hexadecimal. To be called once, at the end. */
  digest(): string {
    if (this.#ahead.size > 0) throw new Error(`Line ${this.#next} never came`);
    return this.#hash.digest("hex");
  }
}
