// Points in time by offset: the nearest is found at once, and one may be moved or withdrawn.
import { MinHeap } from "../base/min-heap.ts";

interface Deadline {
  readonly atMs: number;
  readonly offset: number;
}

/** Below so many withdrawn entries it is not worth the while to build the heap anew. */
const STALE_MIN = 64;

export class Deadlines {
  readonly #atMs = new Map<number, number>();
  /** May hold entries that were moved or withdrawn; they are skipped, and bounded by building it anew. */
  readonly #heap = new MinHeap<Deadline>((a, b) => a.atMs < b.atMs || (a.atMs === b.atMs && a.offset < b.offset));

  /** Sets or moves the deadline of `offset`. */
  set(offset: number, atMs: number): void {
    if (this.#atMs.get(offset) === atMs) return;
    this.#atMs.set(offset, atMs);
    this.#heap.push({ atMs, offset });
    if (this.#heap.size > STALE_MIN + 2 * this.#atMs.size) this.#rebuild();
  }

  delete(offset: number): void {
    this.#atMs.delete(offset);
  }

  /** The nearest deadline. */
  get firstAtMs(): number | undefined {
    return this.#first()?.atMs;
  }

  /** Takes every offset whose deadline is not later than `nowMs`, the nearest first. */
  takeDue(nowMs: number): number[] {
    const due: number[] = [];
    for (let first = this.#first(); first !== undefined && first.atMs <= nowMs; first = this.#first()) {
      this.#atMs.delete(first.offset);
      due.push(first.offset);
    }
    return due;
  }

  clear(): void {
    this.#atMs.clear();
    this.#heap.clear();
  }

  #first(): Deadline | undefined {
    for (let first = this.#heap.peek(); first !== undefined; first = this.#heap.peek()) {
      if (this.#atMs.get(first.offset) === first.atMs) return first;
      this.#heap.pop();
    }
    return undefined;
  }

  #rebuild(): void {
    this.#heap.clear();
    for (const [offset, atMs] of this.#atMs) this.#heap.push({ atMs, offset });
  }
}
