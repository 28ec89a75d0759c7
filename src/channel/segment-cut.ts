// Cuts the records of a commit into segments: as few rows as the limits of a row allow.
import { LIMITS } from "../protocol/limits.ts";
import { encodeGonePlaces } from "./gone-places.ts";
import { endOffset, type PendingRun, type Run } from "./run.ts";
import type { MessageIdEntry, NewSegment, Totals } from "./store.ts";

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
  let before = totalsBefore(run, fromPlace);
  for (let start = fromPlace; start < run.count;) {
    const end = findEnd(run, start);
    const part = start === 0 && end === run.count ? run : run.slice(start, end, before);
    if (part.gone.size < part.count) {
      cuts.push(buildCut(part));
      before = { ...before, segments: before.segments + 1 };
    }
    before = { messages: before.messages + part.messages, bytes: before.bytes + part.bytes, segments: before.segments };
    start = end;
  }
  return cuts;
}

/** About what a record adds to a block besides its counted bytes: flags and lengths. Storage splits what comes out larger. */
export const RECORD_OVERHEAD_BYTES = 32;
/** A control record counts no bytes, but takes some. */
const CONTROL_BYTES = 256;

function findEnd(run: PendingRun, start: number): number {
  // Most commits fit as they are: nobody has to look at their records for that.
  const controls = run.count - run.messages;
  const bytesMax = run.bytes + run.count * RECORD_OVERHEAD_BYTES + controls * CONTROL_BYTES;
  if (run.count <= LIMITS.segmentRecordsMax && bytesMax <= LIMITS.segmentBytesMax) return run.count;
  let bytes = 0;
  let end = start;
  while (end < run.count && end - start < LIMITS.segmentRecordsMax) {
    bytes += (run.isControl(end) ? CONTROL_BYTES : run.messageBytes(end)) + RECORD_OVERHEAD_BYTES;
    if (bytes > LIMITS.segmentBytesMax && end > start) break;
    end++;
  }
  return end;
}

function totalsBefore(run: PendingRun, place: number): Totals {
  let { messages, bytes } = run.before;
  for (let index = 0; index < place; index++) {
    if (!run.isControl(index)) messages += 1;
    bytes += run.messageBytes(index);
  }
  return { messages, bytes, segments: run.before.segments };
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
