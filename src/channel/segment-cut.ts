// Cuts the records of a commit into segments: as few rows as the limits of a row allow.
import { encodeBlock } from "../protocol/block.ts";
import { LIMITS } from "../protocol/limits.ts";
import { encodeGonePlaces } from "./gone-places.ts";
import { endOffset, RecordRun, type Run } from "./run.ts";
import type { MessageIdEntry, NewSegment, Totals } from "./store.ts";

export interface Cut {
  readonly segment: NewSegment;
  readonly run: RecordRun;
  readonly messageIds: readonly MessageIdEntry[];
}

/**
 * Packs the records of `run` from `fromPlace` on. A record that is larger than a segment gets one of its own, which storage splits
 * over rows. A stretch that was removed before it was ever stored leaves no segment.
 */
export function cutSegments(run: RecordRun, fromPlace: number): Cut[] {
  const cuts: Cut[] = [];
  let before = totalsBefore(run, fromPlace);
  for (let start = fromPlace; start < run.count;) {
    const end = findEnd(run, start);
    const part = start === 0 && end === run.count ? run : copyPart(run, start, end, before);
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

function findEnd(run: RecordRun, start: number): number {
  let bytes = 0;
  let end = start;
  while (end < run.count && end - start < LIMITS.segmentRecordsMax) {
    // A control record counts no bytes, but takes some.
    bytes += (run.records[end]?.isControl === true ? 256 : run.messageBytes(end)) + RECORD_OVERHEAD_BYTES;
    if (bytes > LIMITS.segmentBytesMax && end > start) break;
    end++;
  }
  return end;
}

function totalsBefore(run: RecordRun, place: number): Totals {
  let { messages, bytes } = run.before;
  for (let index = 0; index < place; index++) {
    if (!run.isControl(index)) messages += 1;
    bytes += run.messageBytes(index);
  }
  return { messages, bytes, segments: run.before.segments };
}

function copyPart(run: RecordRun, start: number, end: number, before: Totals): RecordRun {
  const part = new RecordRun(run.firstOffset + start, before);
  for (let place = start; place < end; place++) {
    const record = run.records[place];
    if (record !== undefined) part.push(record);
    if (run.gone.has(place)) part.gone.add(place - start);
  }
  return part;
}

function buildCut(run: RecordRun): Cut {
  const messageIds: MessageIdEntry[] = [];
  for (const [place, record] of run.records.entries()) {
    if (record.messageId === undefined || run.gone.has(place)) continue;
    messageIds.push({ messageId: record.messageId, offset: run.firstOffset + place });
  }
  const segment: NewSegment = {
    firstOffset: run.firstOffset,
    count: run.count,
    messages: run.messages,
    bytes: run.bytes,
    before: run.before,
    putAtMs: run.records.at(-1)?.putAtMs ?? 0,
    block: encodeBlock(run.records, run.firstOffset),
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
