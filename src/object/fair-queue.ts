// What waits for the commit loop: in the order of arrival, but nobody's many operations hold up those of others (SPEC rule CN7).
import { LIMITS } from "../protocol/limits.ts";

/** Not bounded by itself: whoever adds looks at `length` and `bytes`. */
export class FairQueue<Entry> {
  readonly #ownerOf: (entry: Entry) => number | undefined;
  #entries: Entry[] = [];
  /** The bytes of each, in the same order. */
  #sizes: number[] = [];
  #bytes = 0;

  /** `ownerOf`: the connection that an entry is of; undefined for one that is nobody's, and always has its turn. */
  constructor(ownerOf: (entry: Entry) => number | undefined) {
    this.#ownerOf = ownerOf;
  }

  get length(): number {
    return this.#entries.length;
  }

  get bytes(): number {
    return this.#bytes;
  }

  add(entry: Entry, bytes: number): void {
    this.#entries.push(entry);
    this.#sizes.push(bytes);
    this.#bytes += bytes;
  }

  /** Takes the first `turnOperationsMax` entries of each connection, and all that are nobody's, in their order. */
  takeTurn(): readonly Entry[] {
    if (this.#entries.length <= LIMITS.turnOperationsMax) return this.#takeAll();
    const [entries, sizes] = [this.#entries, this.#sizes];
    const taken: Entry[] = [];
    const counts = new Map<number, number>();
    this.#entries = [];
    this.#sizes = [];
    this.#bytes = 0;
    for (const [index, entry] of entries.entries()) {
      const owner = this.#ownerOf(entry);
      const count = owner === undefined ? 0 : (counts.get(owner) ?? 0);
      if (owner !== undefined) counts.set(owner, count + 1);
      if (count < LIMITS.turnOperationsMax) taken.push(entry);
      else this.add(entry, sizes[index] ?? 0);
    }
    return taken;
  }

  #takeAll(): readonly Entry[] {
    const entries = this.#entries;
    this.#entries = [];
    this.#sizes = [];
    this.#bytes = 0;
    return entries;
  }
}
