// Whether a row that a restore brings has the content of one that a channel writes: whoever computes the right hashes may have made it up.
// Looks at one row alone; what rows say of each other is checked where all are there (snapshot-whole.ts).
import { measureGonePlaces } from "../channel/gone-places.ts";
import type { SnapshotValue } from "../channel/snapshot-store.ts";
import type { Block } from "../protocol/block.ts";
import { readForeignBlock } from "../protocol/block-check.ts";
import { parseJson, parseWith } from "../protocol/fault.ts";
import { LIMITS } from "../protocol/limits.ts";
import { OFFSET_MAX } from "../protocol/names.ts";
import {
  deferredRowSchema,
  groupRecordSchema,
  historySchema,
  leaseMarkSchema,
  leaseRowSchema,
  ROW_SCHEMAS,
} from "../protocol/stored-rows.ts";
import { isLeaseMark } from "./delivery-table.ts";
import { PART_BYTES_MAX, PARTS_MAX } from "./row-parts.ts";

type Cells = Readonly<Record<string, SnapshotValue>>;

/** What is asked besides. A block that lies in several rows is read when all of them are there. */
const CHECKS: Readonly<Record<string, (cells: Cells) => boolean>> = {
  checkpoint: ({ value, value_bytes: bytes }) => value instanceof Uint8Array && value.byteLength === bytes,
  dead_letter: (cells) =>
    (cells["history_json"] === null || isJson(historySchema, cells["history_json"])) && isBlockSound(cells, isMessageBlock),
  deferred: ({ messages_json: text }) => isJson(deferredRowSchema, text),
  gone: ({ places }) => isPlaces(places, { countMax: LIMITS.segmentRecordsMax, endMax: OFFSET_MAX }),
  group_done: ({ places }) => isPlaces(places, { countMax: LIMITS.doneOffsetsPerRow, endMax: LIMITS.doneOffsetsPerRow }),
  lease: ({ row_id: id, leases_json: text }) => isJson(isLeaseMark(Number(id)) ? leaseMarkSchema : leaseRowSchema, text),
  reader_group: ({ group_id: id, record_json: text }) =>
    isJson(groupRecordSchema, text) && (JSON.parse(String(text)) as { readonly id: number }).id === id,
  scheduled: (cells) => isBlockSound(cells, isScheduledBlock),
  segment: (cells) => isBlockSound(cells, isSegmentBlock),
};

/** Tables whose rows hold a block, or a part of one. */
const PARTED: ReadonlySet<string> = new Set([
  "dead_letter",
  "dead_letter_part",
  "scheduled",
  "scheduled_part",
  "segment",
  "segment_part",
]);

/** `cells` are the values by their columns, of the right types. */
export function isSoundRow(table: string, cells: Cells): boolean {
  const schema = ROW_SCHEMAS[table];
  if (schema !== undefined && !parseWith(schema, cells).ok) return false;
  if (PARTED.has(table) && !isPartSound(cells)) return false;
  return CHECKS[table]?.(cells) ?? true;
}

/** Whether a block is what the other columns of its row say. */
export function isSegmentBlock(block: Block, cells: Cells): boolean {
  let messages = 0;
  let bytes = 0;
  for (let place = 0; place < block.count; place++) {
    if (!block.isControl(place)) messages += 1;
    bytes += block.messageBytes(place);
  }
  const places = Number(cells["record_count"]);
  // Places beyond those of its records are left of a compaction, and are walked over.
  const isSpanned = block.lastOffset < block.firstOffset + places && places <= block.count * LIMITS.segmentRecordsMax;
  const isCounted = messages === cells["message_count"] && bytes === cells["message_bytes"];
  return block.firstOffset === cells["first_offset"] && isSpanned && isCounted;
}

export function isMessageBlock(block: Block, cells: Cells): boolean {
  return block.count === 1 && !block.isControl(0) && block.firstOffset === cells["record_offset"];
}

export function isScheduledBlock(block: Block, cells: Cells): boolean {
  return block.count === 1 && !block.isControl(0) && block.messageBytes(0) === cells["message_bytes"];
}

function isPartSound({ body, part_count: parts = 1 }: Cells): boolean {
  const isSized = body instanceof Uint8Array && body.byteLength > 0 && body.byteLength <= PART_BYTES_MAX;
  return isSized && Number(parts) >= 1 && Number(parts) <= PARTS_MAX;
}

function isBlockSound(cells: Cells, isRight: (block: Block, cells: Cells) => boolean): boolean {
  if (cells["part_count"] !== 1) return true;
  const { body } = cells;
  const block = body instanceof Uint8Array ? readForeignBlock(body) : undefined;
  return block !== undefined && isRight(block, cells);
}

function isJson(schema: Parameters<typeof parseWith>[0], text: SnapshotValue | undefined): boolean {
  const json = parseJson(String(text));
  return json.ok && parseWith(schema, json.value).ok;
}

function isPlaces(places: SnapshotValue | undefined, { countMax, endMax }: { countMax: number; endMax: number }): boolean {
  const measured = places instanceof Uint8Array ? measureGonePlaces(places) : undefined;
  return measured !== undefined && measured.count <= countMax && measured.end <= endMax;
}
