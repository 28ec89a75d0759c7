// Whether the rows of a restored channel agree with each other: blocks that lie in several rows, totals that are kept beside what they
// count, and where the segments lie. Reads every segment's numbers once, and the blocks only of those where the numbers are not enough.
import { decodeGonePlaces } from "../channel/gone-places.ts";
import type { ChannelStore, Segment, Totals } from "../channel/store.ts";
import type { Block } from "../protocol/block.ts";
import { readForeignBlock } from "../protocol/block-check.ts";
import type { SqlValue } from "./metered-storage.ts";
import { joinParts, partRange } from "./row-parts.ts";
import { isMessageBlock, isScheduledBlock, isSegmentBlock } from "./snapshot-content.ts";
import type { Select } from "./statement.ts";

type SegmentNumbers = {
  first_offset: number;
  record_count: number;
  message_count: number;
  message_bytes: number;
  before_messages: number;
  before_bytes: number;
  before_segments: number;
  part_count: number;
  is_gone: number;
};
type PartedRow = Record<string, SqlValue> & { body: ArrayBuffer };

const SEGMENTS_AT_ONCE = 256;
const SELECT_SEGMENTS = `SELECT segment.first_offset, record_count, message_count, message_bytes, before_messages, before_bytes,
  before_segments, part_count, places IS NOT NULL AS is_gone FROM segment LEFT JOIN gone ON gone.first_offset = segment.first_offset
  WHERE segment.first_offset > ? ORDER BY segment.first_offset LIMIT ?`;
const SELECT_SCHEDULED = `SELECT count(*) AS messages, coalesce(sum(message_bytes), 0) AS bytes, min(due_at_ms) AS first_at_ms,
  coalesce(max(scheduled_id), 0) AS last_id FROM scheduled`;

/** Tables whose blocks may go on in another, and how to find the rest. */
const PARTED: readonly {
  readonly keys: string;
  readonly rows: string;
  readonly parts: string;
  readonly bind: (row: PartedRow) => SqlValue[];
  readonly isRight: (block: Block, cells: Readonly<Record<string, string | number | null>>) => boolean;
}[] = [
  {
    keys: "SELECT first_offset FROM segment WHERE part_count > 1",
    rows: "SELECT first_offset, record_count, message_count, message_bytes, part_count, body FROM segment WHERE first_offset = ?",
    parts: "SELECT body FROM segment_part WHERE part_id > ? AND part_id < ? ORDER BY part_id",
    bind: ({ first_offset: offset }) => partRange(Number(offset)),
    isRight: isSegmentBlock,
  },
  {
    keys: "SELECT record_offset, group_id FROM dead_letter WHERE part_count > 1",
    rows: "SELECT record_offset, group_id, part_count, body FROM dead_letter WHERE record_offset = ? AND group_id = ?",
    parts: "SELECT body FROM dead_letter_part WHERE record_offset = ? AND group_id = ? ORDER BY part",
    bind: ({ record_offset: offset = null, group_id: group = null }) => [offset, group],
    isRight: isMessageBlock,
  },
  {
    keys: "SELECT due_at_ms, scheduled_id FROM scheduled WHERE part_count > 1",
    rows: "SELECT due_at_ms, scheduled_id, message_bytes, part_count, body FROM scheduled WHERE due_at_ms = ? AND scheduled_id = ?",
    parts: "SELECT body FROM scheduled_part WHERE due_at_ms = ? AND scheduled_id = ? ORDER BY part",
    bind: ({ due_at_ms: dueAtMs = null, scheduled_id: id = null }) => [dueAtMs, id],
    isRight: isScheduledBlock,
  },
];

/** The store and the tables beneath it, with all that a restore brought; each row is sound by itself (snapshot-content.ts). */
export function isSoundWhole(store: ChannelStore, select: Select): boolean {
  return (
    isScheduleCounted(store, select) &&
    areLettersCounted(store, select) &&
    areBlocksWhole(select) &&
    isBacklogCounted(store, select)
  );
}

function isScheduleCounted(store: ChannelStore, select: Select): boolean {
  const [found] = select<{ messages: number; bytes: number; first_at_ms: number | null; last_id: number }>(SELECT_SCHEDULED);
  const totals = store.schedule.readTotals() ?? { messages: 0, bytes: 0, nextAtMs: null, lastId: 0 };
  if (found === undefined || found.messages !== totals.messages || found.bytes !== totals.bytes) return false;
  if (found.last_id > totals.lastId) return false;
  return found.first_at_ms === null ? totals.nextAtMs === null : totals.nextAtMs !== null && totals.nextAtMs <= found.first_at_ms;
}

function areLettersCounted(store: ChannelStore, select: Select): boolean {
  return (
    select<{ letters: number }>("SELECT count(*) AS letters FROM dead_letter")[0]?.letters ===
    store.deadLetters.readTotals().messages
  );
}

/** One block at a time is in memory. */
function areBlocksWhole(select: Select): boolean {
  return PARTED.every(({ keys, rows, parts, bind, isRight }) =>
    select<Record<string, SqlValue>>(keys).every((key) => {
      const row = select<PartedRow>(rows, ...Object.values(key))[0];
      if (row === undefined) return false;
      const rest = select<{ body: ArrayBuffer }>(parts, ...bind(row));
      const block = readForeignBlock(joinParts([row.body, ...rest.map(({ body }) => body)]));
      const { body: _, ...cells } = row;
      return rest.length + 1 === row["part_count"] && block !== undefined && isRight(block, numbersOf(cells));
    }),
  );
}

function numbersOf(cells: Record<string, SqlValue>): Record<string, number> {
  return Object.fromEntries(Object.entries(cells).map(([name, value]) => [name, Number(value)]));
}

/** Whether what was put, less what was passed and removed, is what is there: what a get will find when it walks over it. */
function isBacklogCounted(store: ChannelStore, select: Select): boolean {
  const position = store.readPosition();
  const givenHead = position?.headOffset ?? 1;
  const live = { messages: 0, bytes: 0 };
  let last: Segment | undefined;
  let head: Segment | undefined;
  for (const row of readSegments(select)) {
    const segment = parseNumbers(row);
    if (last !== undefined && !follows(segment, last)) return false;
    last = segment;
    if (endOf(segment) <= givenHead) continue;
    head ??= segment;
    const isSplit = row.is_gone === 1 || segment.firstOffset < givenHead;
    const part = isSplit ? measureLive(store, segment, givenHead) : segment;
    if (part === undefined) return false;
    live.messages += part.messages;
    live.bytes += part.bytes;
  }
  const put = putOf(last, position);
  const isPassedByHead = head !== undefined && head.firstOffset > givenHead;
  const passed = isPassedByHead ? head?.before : position?.passed;
  const removed = position?.removedAhead;
  const headOffset = isPassedByHead ? (head?.firstOffset ?? givenHead) : givenHead;
  if (put === undefined || headOffset > put.nextOffset) return false;
  return (["messages", "bytes"] as const).every(
    (unit) => put.totals[unit] - (passed?.[unit] ?? 0) - (removed?.[unit] ?? 0) === live[unit],
  );
}

function* readSegments(select: Select): Iterable<SegmentNumbers> {
  for (let after = 0; ;) {
    const rows = select<SegmentNumbers>(SELECT_SEGMENTS, after, SEGMENTS_AT_ONCE);
    yield* rows;
    const end = rows.at(-1);
    if (end === undefined || rows.length < SEGMENTS_AT_ONCE) return;
    after = end.first_offset;
  }
}

function parseNumbers(row: SegmentNumbers): Segment {
  return {
    firstOffset: row.first_offset,
    count: row.record_count,
    messages: row.message_count,
    bytes: row.message_bytes,
    before: { messages: row.before_messages, bytes: row.before_bytes, segments: row.before_segments },
    putAtMs: 0,
  };
}

function endOf({ firstOffset, count }: Segment): number {
  return firstOffset + count;
}

function totalsAfter({ before, messages, bytes }: Segment): Totals {
  return { messages: before.messages + messages, bytes: before.bytes + bytes, segments: before.segments + 1 };
}

function isAtLeast(a: Totals, b: Totals): boolean {
  return a.messages >= b.messages && a.bytes >= b.bytes && a.segments >= b.segments;
}

function follows(segment: Segment, last: Segment): boolean {
  return segment.firstOffset >= endOf(last) && isAtLeast(segment.before, totalsAfter(last));
}

/** What was put, as a waking channel finds it: the segments tell it where they go further than the row. */
function putOf(
  last: Segment | undefined,
  position: ReturnType<ChannelStore["readPosition"]>,
): { readonly totals: Totals; readonly nextOffset: number } | undefined {
  const nextOffset = position?.nextOffset ?? 1;
  const totals = position?.put ?? { messages: 0, bytes: 0, segments: 0 };
  if (last === undefined) return { totals, nextOffset };
  if (endOf(last) > nextOffset) return { totals: totalsAfter(last), nextOffset: endOf(last) };
  return isAtLeast(totals, totalsAfter(last)) ? { totals, nextOffset } : undefined;
}

/** What of a segment is still there from `headOffset` on; undefined where a place that was removed is none of its records. */
function measureLive(store: ChannelStore, segment: Segment, headOffset: number): { messages: number; bytes: number } | undefined {
  const stored = store.readSegmentFrom(segment.firstOffset);
  const block = stored === undefined ? undefined : readForeignBlock(stored.block);
  if (block === undefined) return undefined;
  const gone = decodeGonePlaces(stored?.gone);
  const live = { messages: 0, bytes: 0 };
  let found = 0;
  for (let place = 0; place < block.count; place++) {
    const offset = block.offsetOf(place);
    const isGone = gone.has(offset - segment.firstOffset);
    if (isGone) found += 1;
    if (isGone || offset < headOffset) continue;
    if (!block.isControl(place)) live.messages += 1;
    live.bytes += block.messageBytes(place);
  }
  return found === gone.size ? live : undefined;
}
