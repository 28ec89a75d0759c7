// Cuts the records of a commit into segments: as few rows as the limits of a row allow.
import { LIMITS } from "../protocol/limits.ts";
import { encodeGonePlaces } from "./gone-places.ts";
import { endOffset, type PendingRun, type Run } from "./run.ts";
import { addTotals, type MessageIdEntry, type NewSegment } from "./store.ts";

export interface Cut {
  readonly segment: NewSegment;
  readonly run: PendingRun;
  readonly messageIds: readonly MessageIdEntry[];
}

/**
 * Packs the records of `run` from `fromPlace` on. A record that is larger than a segment gets one of its own, which storage splits
 * over rows. A stretch that was removed before it was ever stored leaves no segment.
 */
export function cutSegments(run: PendingRun, fromPlace: number): Cut[] {
  const cuts: Cut[] = [];
  const passed = run.slice(0, fromPlace, run.before);
  let before = addTotals(run.before, { messages: passed.messages, bytes: passed.bytes, segments: 0 });
  for (let start = fromPlace; start < run.count;) {
    const end = run.fit(start, { bytes: LIMITS.segmentBytesMax, records: LIMITS.segmentRecordsMax });
    const part = start === 0 && end === run.count ? run : run.slice(start, end, before);
    if (part.gone.size < part.count) {
      cuts.push(buildCut(part));
      before = { ...before, segments: before.segments + 1 };
    }
    before = addTotals(before, { messages: part.messages, bytes: part.bytes, segments: 0 });
    start = end;
  }
  return cuts;
}

function buildCut(run: PendingRun): Cut {
  const messageIds: MessageIdEntry[] = [];
  for (let place = 0; run.hasMessageIds && place < run.count; place++) {
    const messageId = run.messageId(place);
    if (messageId !== undefined && !run.gone.has(place)) messageIds.push({ messageId, offset: run.firstOffset + place });
  }
  const segment: NewSegment = {
    firstOffset: run.firstOffset,
    count: run.count,
    messages: run.messages,
    bytes: run.bytes,
    before: run.before,
    putAtMs: run.times(run.count - 1).putAtMs,
    block: run.toBlock(0, run.count, true),
  };
  return { segment, run, messageIds };
}

/** The removed places of those runs that are kept, by their first offsets. */
export function encodeGone(runs: readonly Run[], headOffset: number): Map<number, Uint8Array<ArrayBuffer>> {
  const gone = new Map<number, Uint8Array<ArrayBuffer>>();
  for (const run of runs) {
    const isKept = endOffset(run) > headOffset && run.gone.size < run.present;
    if (isKept && run.gone.size > 0) gone.set(run.firstOffset, encodeGonePlaces(run.gone));
  }
  return gone;
}
