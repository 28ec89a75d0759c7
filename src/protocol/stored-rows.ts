// What the columns of stored rows can hold, as far as their types do not say it: for rows that a restore brings.
import * as v from "valibot";
import { routeNoteSchema } from "./history.ts";
import { LIMITS } from "./limits.ts";
import { contentTypeSchema } from "./message.ts";
import { checkpointNameSchema, groupNameSchema, OFFSET_MAX } from "./names.ts";
import { deliverySchema, wholeNumber } from "./settings.ts";

const anyCount = wholeNumber(0, Number.MAX_SAFE_INTEGER);
const offset = wholeNumber(1, OFFSET_MAX);
const anyText = v.string();
const anyBytes = v.instance(Uint8Array);
const onlyRow = v.literal(1);

const LEASE_ENDS = ["expired", "retried", "released", "predecessor", "disconnected"] as const;
const eventParts = [
  anyCount,
  anyCount,
  anyCount,
  v.picklist([...LEASE_ENDS, "rejected"]),
  v.nullable(anyText),
  v.nullable(anyText),
] as const;
const { tier, reason, candidates, load } = routeNoteSchema.entries;
const event = v.union([
  v.strictTuple(eventParts),
  v.strictTuple([...eventParts, v.strictTuple([tier, reason, candidates, load])]),
]);
export const historySchema = v.tupleWithRest([anyCount], event);
const leaseParts = [offset, anyText, anyCount, anyCount, v.nullable(anyText), v.nullable(anyCount)] as const;
const pull = v.nullable(v.strictTuple([anyCount, v.nullable(anyText)]));
const lease = v.union([
  v.strictTuple(leaseParts),
  v.strictTuple([...leaseParts, pull]),
  v.strictTuple([...leaseParts, pull, historySchema]),
  v.strictTuple([...leaseParts, pull, v.nullable(historySchema), anyCount]),
]);
const deferredParts = [
  offset,
  v.nullable(anyText),
  anyCount,
  anyCount,
  v.nullable(v.picklist(LEASE_ENDS)),
  v.picklist([0, 1]),
] as const;
const deferred = v.union([v.strictTuple(deferredParts), v.strictTuple([...deferredParts, historySchema])]);

export const leaseRowSchema = v.array(lease);
export const leaseMarkSchema = v.tupleWithRest([anyCount], anyCount);
export const deferredRowSchema = v.array(deferred);

const fates = v.strictObject({
  deadLettered: anyCount,
  removed: anyCount,
  dropped: anyCount,
  expired: anyCount,
  skipped: anyCount,
});
/** The content of columns that are JSON. */
export const groupRecordSchema = v.strictObject({
  id: wholeNumber(1, LIMITS.groupsMax),
  name: groupNameSchema,
  createdAtMs: anyCount,
  isPaused: v.boolean(),
  settings: deliverySchema,
  position: v.strictObject({
    headOffset: offset,
    passedMessages: anyCount,
    doneAheadMessages: anyCount,
    scanMark: anyCount,
    startMessages: anyCount,
    fates,
  }),
});

/** What is asked of the columns that say more than their type. A table that is not named is taken by the types of its columns alone. */
export const ROW_SCHEMAS: Readonly<Record<string, v.GenericSchema>> = {
  checkpoint: v.object({
    name: checkpointNameSchema,
    version: anyCount,
    updated_at_ms: anyCount,
    value_bytes: wholeNumber(0, LIMITS.checkpointBytesMax),
    content_type: contentTypeSchema,
    value: anyBytes,
  }),
  checkpoint_deletions: v.object({ id: onlyRow, version_max: anyCount, deleted_at_ms: anyCount }),
  dead_letter: v.object({
    record_offset: offset,
    group_id: anyCount,
    group_name: groupNameSchema,
    attempts: anyCount,
    died_at_ms: anyCount,
  }),
  dead_letter_part: v.object({ record_offset: offset, part: anyCount }),
  dead_letter_totals: v.object({ id: onlyRow, messages: anyCount, bytes: anyCount }),
  deferred: v.object({ row_id: anyCount }),
  gone: v.object({ first_offset: offset }),
  group_done: v.object({ row_id: anyCount }),
  idempotency_generation: v.object({ generation_id: wholeNumber(1, 999_999_999), until_ms: anyCount, keys_max: anyCount }),
  lease: v.object({ row_id: anyCount }),
  message_id: v.object({ record_offset: offset }),
  position: v.object({
    id: onlyRow,
    next_offset: offset,
    head_offset: offset,
    put_messages: anyCount,
    put_bytes: anyCount,
    put_segments: anyCount,
    passed_messages: anyCount,
    passed_bytes: anyCount,
    passed_segments: anyCount,
    ahead_messages: anyCount,
    ahead_bytes: anyCount,
    ahead_segments: anyCount,
    removed_messages: anyCount,
    last_control_offset: anyCount,
    written_at_ms: anyCount,
    dead_lettered_messages: anyCount,
    dropped_messages: anyCount,
    scan_mark: anyCount,
    last_ttl_offset: anyCount,
    expired_messages: anyCount,
  }),
  producer: v.object({
    bucket: wholeNumber(0, LIMITS.producerBuckets - 1),
    used_at_ms: anyCount,
    epoch: anyCount,
    last_seq: anyCount,
    outcomes: v.pipe(
      anyBytes,
      v.check(({ byteLength }) => byteLength <= LIMITS.producerOutcomesBytesMax),
    ),
  }),
  schedule: v.object({
    id: onlyRow,
    message_count: anyCount,
    message_bytes: anyCount,
    next_at_ms: v.nullable(anyCount),
    last_id: anyCount,
  }),
  scheduled: v.object({
    due_at_ms: anyCount,
    scheduled_id: anyCount,
    message_bytes: anyCount,
  }),
  scheduled_part: v.object({ part: anyCount }),
  segment: v.object({
    first_offset: offset,
    record_count: wholeNumber(1, OFFSET_MAX),
    message_count: anyCount,
    message_bytes: anyCount,
    before_messages: anyCount,
    before_bytes: anyCount,
    before_segments: anyCount,
    put_at_ms: anyCount,
  }),
  segment_part: v.object({ part_id: anyCount }),
};
