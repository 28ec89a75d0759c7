// Points in time by offset: the nearest is found at once, and one may be moved or withdrawn.
import { MinHeap } from "../base/min-heap.ts";

/** Below so many times at which nothing ends it is not worth the while to build the heap anew. */
const STALE_MIN = 64;

export class Deadlines {
  readonly #atMs = new Map<number, number>();
  /** What is handed out together ends at one time. */
  readonly #offsetsAt = new Map<number, Set<number>>();
  /** May hold times at which nothing ends any more; they are skipped, and bounded by building it anew. */
  readonly #times = new MinHeap<number>((a, b) => a < b);

  /** Sets or moves the deadline of `offset`. */
  set(offset: number, atMs: number): void {
    const beforeMs = this.#atMs.get(offset);
    if (beforeMs === atMs) return;
    if (beforeMs !== undefined) this.#leave(beforeMs, offset);
    this.#atMs.set(offset, atMs);
    const offsets = this.#offsetsAt.get(atMs);
    if (offsets !== undefined) offsets.add(offset);
    else this.#open(atMs, offset);
  }

  delete(offset: number): void {
    const atMs = this.#atMs.get(offset);
    if (atMs === undefined) return;
    this.#atMs.delete(offset);
    this.#leave(atMs, offset);
  }

  /** The nearest deadline. */
  get firstAtMs(): number | undefined {
    for (let first = this.#times.peek(); first !== undefined; first = this.#times.peek()) {
      if (this.#offsetsAt.has(first)) return first;
      this.#times.pop();
    }
    return undefined;
  }

  /** Takes every offset whose deadline is not later than `nowMs`, the nearest first. */
  takeDue(nowMs: number): number[] {
    const due: number[] = [];
    for (let atMs = this.firstAtMs; atMs !== undefined && atMs <= nowMs; atMs = this.firstAtMs) {
      const offsets = [...(this.#offsetsAt.get(atMs) ?? [])].sort((a, b) => a - b);
      this.#offsetsAt.delete(atMs);
      for (const offset of offsets) {
        this.#atMs.delete(offset);
        due.push(offset);
      }
    }
    return due;
  }

  clear(): void {
    this.#atMs.clear();
    this.#offsetsAt.clear();
    this.#times.clear();
  }

  #open(atMs: number, offset: number): void {
    this.#offsetsAt.set(atMs, new Set([offset]));
    this.#times.push(atMs);
    if (this.#times.size > STALE_MIN + 2 * this.#offsetsAt.size) this.#rebuild();
  }

  #leave(atMs: number, offset: number): void {
    const offsets = this.#offsetsAt.get(atMs);
    offsets?.delete(offset);
    if (offsets?.size === 0) this.#offsetsAt.delete(atMs);
  }

  #rebuild(): void {
    this.#times.clear();
    for (const atMs of this.#offsetsAt.keys()) this.#times.push(atMs);
  }
}
