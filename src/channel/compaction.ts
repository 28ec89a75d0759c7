// Compaction: segments of which less than half is still there are written anew, together, without what was removed.
import { encodeBlock, type BlockRecord } from "../protocol/block.ts";
import { LIMITS } from "../protocol/limits.ts";
import { endOffset, StoredRun } from "./run.ts";
import { addTotals, NO_TOTALS, subtractTotals, type ChannelStore, type NewSegment } from "./store.ts";

export interface Compaction {
  readonly deleteSegments: readonly number[];
  readonly insertSegments: readonly NewSegment[];
  /** Bytes of the removed messages that are not stored any more. */
  readonly lostBytes: number;
  /** Where to go on looking. */
  readonly nextOffset: number;
}

interface Sparse {
  readonly run: StoredRun;
  readonly liveBytes: number;
  readonly deadBytes: number;
}

/**
 * Looks at the next segments from `fromOffset` on in which places were removed, and rewrites those of which at most half is left.
 * Neighbours are merged, up to the size of a segment. What `isBusy` says is left alone: the commit changes it otherwise.
 */
export function compact(
  store: ChannelStore,
  { fromOffset, isBusy }: { readonly fromOffset: number; readonly isBusy: (firstOffset: number) => boolean },
): Compaction {
  const offsets = store.readGoneFrom(fromOffset, LIMITS.compactedSegmentsMax);
  const deleteSegments: number[] = [];
  const insertSegments: NewSegment[] = [];
  let lostBytes = 0;
  let group: Sparse[] = [];
  const flush = (): void => {
    if (group.length > 0) {
      insertSegments.push(merge(group));
      for (const { run, deadBytes } of group) {
        deleteSegments.push(run.firstOffset);
        lostBytes += deadBytes;
      }
    }
    group = [];
  };
  for (const offset of offsets) {
    const sparse = isBusy(offset) ? undefined : measure(store, offset);
    if (sparse === undefined || sparse.deadBytes < sparse.liveBytes) flush();
    else {
      if (!mayJoin(store, group, sparse)) flush();
      group.push(sparse);
    }
  }
  flush();
  return { deleteSegments, insertSegments, lostBytes, nextOffset: (offsets.at(-1) ?? 0) + 1 };
}

function measure(store: ChannelStore, offset: number): Sparse | undefined {
  const segment = store.readSegmentFrom(offset);
  if (segment?.firstOffset !== offset) return undefined;
  const run = new StoredRun(segment);
  let deadBytes = 0;
  for (const place of run.gone) deadBytes += run.messageBytes(place);
  return { run, deadBytes, liveBytes: run.bytes - deadBytes };
}

/** Whether a segment directly follows the others, and all of them are not too large together. */
function mayJoin(store: ChannelStore, group: readonly Sparse[], { run, liveBytes }: Sparse): boolean {
  const last = group.at(-1);
  if (last === undefined) return true;
  const bytes = group.reduce((sum, one) => sum + one.liveBytes, liveBytes);
  const records = group.reduce((sum, one) => sum + one.run.present, run.present);
  if (bytes > LIMITS.segmentBytesMax || records > LIMITS.segmentRecordsMax) return false;
  return store.readSegmentFrom(endOffset(last.run))?.firstOffset === run.firstOffset;
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
    block: encodeBlock(records, firstOffset, offsets),
  };
}
