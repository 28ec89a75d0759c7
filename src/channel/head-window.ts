// The runs at the head of a channel that are in memory: a cache over the store, contiguous from the head, bounded in bytes.
import { LIMITS } from "../protocol/limits.ts";
import { endOffset, StoredRun, type Run } from "./run.ts";
import type { ChannelStore, StoredSegment } from "./store.ts";

/**
 * Reading a segment costs its whole row, so the one at the head is read once and kept until it is passed. Runs that were just stored
 * are kept as well while the window reaches the channel's end, so that a reader that keeps up never reads storage.
 */
export class HeadWindow {
  readonly #store: ChannelStore;
  readonly #runs: Run[] = [];
  #bytes = 0;
  /**
   * Runs read elsewhere whose gone places changed in this commit. A second look at the same segment before the commit must see them,
   * and the store does not show them yet.
   */
  readonly #touched = new Map<number, Run>();
  /** First offsets of segments that this commit deletes; the store still shows them. */
  readonly #deleted = new Set<number>();
  /** What was handed over and, as far as is known, is not stored yet: whether it writes segments anew. */
  #handedOver: { readonly isCompacted: boolean } | undefined;
  /** The run outside the window that was looked at last: settling a segment's messages one after the other reads it once. */
  #recent: Run | undefined;

  constructor(store: ChannelStore) {
    this.#store = store;
  }

  /** The first run that ends after `offset`, from the window or the store. */
  runFrom(offset: number): Run | undefined {
    const kept = this.#findKept(offset);
    if (kept !== undefined) return kept;
    if (this.#recent !== undefined && this.#recent.firstOffset <= offset && endOffset(this.#recent) > offset) return this.#recent;
    // The head passes one run after the other.
    const touched = this.#deleted.has(offset) ? undefined : this.#touched.get(offset);
    if (touched !== undefined) return touched;
    const upTo = this.#store.readSegmentUpTo(offset);
    if (upTo !== undefined && endOffset(upTo) > offset && !this.#deleted.has(upTo.firstOffset)) return this.#load(upTo);
    let from = this.#store.readSegmentFrom(offset + 1);
    while (from !== undefined && this.#deleted.has(from.firstOffset)) from = this.#store.readSegmentFrom(endOffset(from));
    return from === undefined ? undefined : this.#load(from);
  }

  /** Keeps `run` if it directly follows the window and there is room; the first run is kept whatever its size. */
  keep(run: Run): void {
    const last = this.#runs.at(-1);
    if (last !== undefined && endOffset(last) > run.firstOffset) return;
    if (last !== undefined && this.#bytes + run.bytes > LIMITS.headWindowBytesMax) return;
    this.#runs.push(run);
    this.#bytes += run.bytes;
  }

  /** Whether the next run after the window begins at `offset`, so that `keep` leaves no hole. */
  reaches(offset: number): boolean {
    const last = this.#runs.at(-1);
    return last !== undefined && endOffset(last) === offset;
  }

  /** Forgets the runs that end at or before `offset`. */
  dropBelow(offset: number): void {
    let dropped = 0;
    for (const run of this.#runs) {
      if (endOffset(run) > offset) break;
      this.#bytes -= run.bytes;
      dropped++;
    }
    if (dropped > 0) this.#runs.splice(0, dropped);
  }

  /** Remembers a run whose gone places changed, until the commit. */
  touch(run: Run): void {
    this.#touched.set(run.firstOffset, run);
  }

  /** Hides a run whose records are all gone. */
  delete(run: Run): void {
    this.#deleted.add(run.firstOffset);
    if (this.#recent === run) this.#recent = undefined;
    const index = this.#runs.indexOf(run);
    if (index < 0) return;
    this.#runs.splice(index, 1);
    this.#bytes -= run.bytes;
  }

  /** Notes that the commit goes to the store. Until `noteStored` the runs that it changed go before what the store shows. */
  handOver(isCompacted: boolean): void {
    this.#handedOver = { isCompacted };
  }

  /** Forgets what only the commit needed: the store shows it now. Segments that were written anew are read anew. */
  noteStored(): void {
    if (this.#handedOver?.isCompacted === true) this.clear();
    else if (this.#handedOver !== undefined) this.#forgetCommit();
  }

  clear(): void {
    this.#runs.length = 0;
    this.#bytes = 0;
    this.#recent = undefined;
    this.#forgetCommit();
  }

  #forgetCommit(): void {
    this.#touched.clear();
    this.#deleted.clear();
    this.#handedOver = undefined;
  }

  #load(segment: StoredSegment): Run {
    return (this.#recent = this.#touched.get(segment.firstOffset) ?? new StoredRun(segment));
  }

  #findKept(offset: number): Run | undefined {
    const first = this.#runs[0];
    const last = this.#runs.at(-1);
    if (first === undefined || last === undefined || offset < first.firstOffset || offset >= endOffset(last)) return undefined;
    let low = 0;
    let high = this.#runs.length - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const run = this.#runs[middle];
      if (run !== undefined && endOffset(run) > offset) high = middle;
      else low = middle + 1;
    }
    return this.#runs[low];
  }
}
