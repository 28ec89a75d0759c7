// Compaction: segments of which less than half is still there are written anew, together, without what was removed.
import { encodeStoredBlock, type BlockRecord } from "../protocol/block-writer.ts";
import { LIMITS } from "../protocol/limits.ts";
import { endOffset, StoredRun, type Run } from "./run.ts";
import { RECORD_OVERHEAD_BYTES } from "./run-part.ts";
import { addTotals, NO_TOTALS, subtractTotals, type ChannelStore, type NewSegment } from "./store.ts";

export interface Compaction {
  /** The runs that are rewritten, whose segments have to be deleted. */
  readonly runs: readonly Run[];
  readonly insertSegments: readonly NewSegment[];
  /** Bytes of the removed messages that are not stored any more. */
  readonly lostBytes: number;
}

interface Sparse {
  readonly run: Run;
  readonly liveBytes: number;
  readonly deadBytes: number;
}

interface CompactionRequest {
  readonly headOffset: number;
  /** Runs in which this commit removes more places: the store does not show these yet. */
  readonly changed: Iterable<Run>;
  /** First offsets of segments that this commit deletes. */
  readonly deleted: Iterable<number>;
}

export class Compactor {
  readonly #store: ChannelStore;
  /** Where the next look begins, unless the head is further on. */
  #fromOffset = 0;

  constructor(store: ChannelStore) {
    this.#store = store;
  }

  /**
   * Looks at segments behind the head in which places were removed, from where the last look ended and then from the head on, and
   * rewrites those of which at most half is left. Neighbours are merged, up to the size of a segment.
   */
  compact(request: CompactionRequest): Compaction {
    const changed = new Map(Array.from(request.changed, (run) => [run.firstOffset, run]));
    const runs: Run[] = [];
    const insertSegments: NewSegment[] = [];
    let lostBytes = 0;
    let group: Sparse[] = [];
    const flush = (): void => {
      if (group.length > 0) insertSegments.push(merge(group));
      for (const { run, deadBytes } of group) {
        runs.push(run);
        lostBytes += deadBytes;
      }
      group = [];
    };
    let readBytes = 0;
    for (const offset of this.#findCandidates(request, [...changed.keys()])) {
      if (readBytes > LIMITS.compactedBytesMax) break;
      this.#fromOffset = offset + 1;
      const sparse = measure(this.#store, offset, changed);
      readBytes += (sparse?.liveBytes ?? 0) + (sparse?.deadBytes ?? 0);
      if (sparse === undefined || sparse.deadBytes < sparse.liveBytes) flush();
      else {
        if (!mayJoin(this.#store, group, sparse)) flush();
        group.push(sparse);
      }
    }
    flush();
    return { runs, insertSegments, lostBytes };
  }

  /** First offsets of segments with removed places; the segment that the head stands in is left alone. */
  #findCandidates({ headOffset, deleted }: CompactionRequest, changed: readonly number[]): number[] {
    const gone = new Set(deleted);
    const limit = LIMITS.compactedSegmentsMax;
    const findFrom = (from: number): number[] => {
      const found = new Set([
        ...this.#store.readGoneFrom(from, limit + gone.size),
        ...changed.filter((offset) => offset >= from),
      ]);
      return [...found].filter((offset) => !gone.has(offset)).sort((a, b) => a - b);
    };
    const first = headOffset + 1;
    const from = Math.max(first, this.#fromOffset);
    const again = from === first ? [] : findFrom(first).filter((offset) => offset < from);
    return [...findFrom(from), ...again].slice(0, limit);
  }
}

function measure(store: ChannelStore, offset: number, changed: ReadonlyMap<number, Run>): Sparse | undefined {
  const run = changed.get(offset) ?? readRun(store, offset);
  if (run === undefined) return undefined;
  let deadBytes = 0;
  for (const place of run.gone) deadBytes += run.messageBytes(place);
  return { run, deadBytes, liveBytes: run.bytes - deadBytes };
}

function readRun(store: ChannelStore, offset: number): Run | undefined {
  const segment = store.readSegmentFrom(offset);
  return segment?.firstOffset === offset ? new StoredRun(segment) : undefined;
}

/** Whether a segment directly follows the others, and all of them are not too large together. */
function mayJoin(store: ChannelStore, group: readonly Sparse[], { run, liveBytes }: Sparse): boolean {
  const last = group.at(-1);
  if (last === undefined) return true;
  const bytes = group.reduce((sum, one) => sum + one.liveBytes, liveBytes);
  const records = group.reduce((sum, one) => sum + countLive(one.run), countLive(run));
  if (bytes + records * RECORD_OVERHEAD_BYTES > LIMITS.segmentBytesMax || records > LIMITS.segmentRecordsMax) return false;
  return store.readSegmentFrom(endOffset(last.run))?.firstOffset === run.firstOffset;
}

function countLive(run: Run): number {
  return run.present - run.gone.size;
}

function merge(group: readonly Sparse[]): NewSegment {
  const records: BlockRecord[] = [];
  const offsets: number[] = [];
  let messages = 0;
  let bytes = 0;
  let end = 0;
  let put = NO_TOTALS;
  for (const { run } of group) {
    put = addTotals(run.before, { messages: run.messages, bytes: run.bytes, segments: 0 });
    end = endOffset(run);
    for (let place = 0; place < run.count; place++) {
      if (run.isGone(place)) continue;
      const isControl = run.isControl(place);
      records.push({ ...run.message(place), isControl });
      offsets.push(run.firstOffset + place);
      if (isControl) continue;
      messages += 1;
      bytes += run.messageBytes(place);
    }
  }
  const firstOffset = offsets[0] ?? 0;
  return {
    firstOffset,
    count: end - firstOffset,
    messages,
    bytes,
    // What is left out counts as lying before the first record, wherever it lay.
    before: { ...subtractTotals(put, { messages, bytes, segments: 0 }), segments: group[0]?.run.before.segments ?? 0 },
    putAtMs: records.at(-1)?.putAtMs ?? 0,
    block: encodeStoredBlock(records, firstOffset, offsets),
  };
}
