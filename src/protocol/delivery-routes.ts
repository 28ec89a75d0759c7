// The HTTP routes of delivery: pull, settle, dead letters and quarantine.
import * as v from "valibot";
import { count, pressureStateSchema, redriveDescriptionSchema } from "./description.ts";
import { reasonSchema, riderEntries, settleEntries, takeEntries } from "./frames.ts";
import { LIMITS } from "./limits.ts";
import { keySchema } from "./message.ts";
import { groupNameSchema, OFFSET_MAX, readerNameSchema } from "./names.ts";
import { CHANNEL, GONE, messageSchema, numberText, takenEntries, type Route } from "./route.ts";
import { leaseMsSchema, wholeNumber } from "./settings.ts";

/** `ack: "auto"` removes at once: at-most-once delivery, which has to be asked for. Otherwise messages are leased for `leaseMs`. */
export const pullBodySchema = v.pipe(
  v.strictObject({
    ack: v.optional(v.literal("auto", 'Expected "auto"')),
    ...takeEntries,
    leaseMs: v.optional(leaseMsSchema),
    reader: v.optional(readerNameSchema),
    group: v.optional(groupNameSchema),
  }),
  v.forward(
    v.check(({ ack, leaseMs }) => ack === undefined || leaseMs === undefined, 'Expected no leaseMs beside "ack": "auto"'),
    ["leaseMs"],
  ),
  v.forward(
    v.check(({ ack, reader }) => ack === undefined || reader === undefined, 'Expected no reader beside "ack": "auto"'),
    ["reader"],
  ),
);

export const settleBodySchema = v.strictObject({ ...settleEntries, ...riderEntries });

export const deadLetterQuerySchema = v.strictObject({
  from: v.optional(numberText(1, OFFSET_MAX)),
  limit: v.optional(numberText(1, LIMITS.browseMessagesMax)),
  key: v.optional(keySchema),
  group: v.optional(groupNameSchema),
  reason: v.optional(reasonSchema),
});

/** Which dead letters; an absent member means any. The search begins at `from`. */
export const deadLetterBodySchema = v.strictObject({
  offset: v.optional(wholeNumber(1, OFFSET_MAX)),
  key: v.optional(keySchema),
  group: v.optional(groupNameSchema),
  reason: v.optional(reasonSchema),
  olderThanMs: v.optional(wholeNumber(0, Number.MAX_SAFE_INTEGER)),
  from: v.optional(wholeNumber(1, OFFSET_MAX)),
  max: v.optional(wholeNumber(1, LIMITS.browseMessagesMax)),
});

/** With `ratePerSecond` a job begins, which moves all that died before. */
export const redriveBodySchema = v.pipe(
  v.strictObject({ ...deadLetterBodySchema.entries, ratePerSecond: v.optional(wholeNumber(1, LIMITS.redrivePerSecondMax)) }),
  v.forward(
    v.check(({ max, ratePerSecond }) => max === undefined || ratePerSecond === undefined, "Expected no max beside ratePerSecond"),
    ["max"],
  ),
);

export const quarantineQuerySchema = v.strictObject({
  group: v.optional(groupNameSchema),
  limit: v.optional(numberText(1, LIMITS.browseMessagesMax)),
});

/** Which quarantined messages: the one at an offset, or those of a key. */
export const quarantineBodySchema = v.pipe(
  v.strictObject({
    group: v.optional(groupNameSchema),
    offset: v.optional(wholeNumber(1, OFFSET_MAX)),
    key: v.optional(keySchema),
  }),
  v.check(({ offset, key }) => (offset === undefined) !== (key === undefined), "Expected either offset or key"),
);

const leasedMessageSchema = v.object({
  ...messageSchema.entries,
  leaseId: v.optional(v.string()),
  attempt: v.optional(count),
  redelivered: v.optional(v.boolean()),
});
const refusedEntrySchema = v.object({
  pointer: v.string(),
  problem: v.object({
    type: v.string(),
    kind: v.string(),
    title: v.string(),
    status: count,
    detail: v.string(),
    retry: v.picklist(["never", "after", "refetch"]),
  }),
});
const deadLetterSchema = v.object({
  ...messageSchema.entries,
  group: v.string(),
  attempts: count,
  reason: v.string(),
  diedAtMs: count,
});

export const DELIVERY_REPLY_SCHEMAS = {
  pulled: v.object({
    ...takenEntries,
    messages: v.array(leasedMessageSchema),
    leaseUntilMs: v.optional(count),
    state: pressureStateSchema,
  }),
  settled: v.object({
    acked: count,
    retried: count,
    extended: count,
    rejected: count,
    released: count,
    refused: v.array(refusedEntrySchema),
    checkpointVersion: v.optional(count),
    putOffset: v.optional(count),
    state: pressureStateSchema,
  }),
  deadLetters: v.object({ deadLetters: v.array(deadLetterSchema), next: v.nullable(count) }),
  moved: v.object({ moved: count, isMore: v.boolean(), next: v.optional(count) }),
  redriveJob: v.object({ redrive: redriveDescriptionSchema }),
  quarantined: v.object({ messages: v.array(v.object({ ...messageSchema.entries, attempts: count })) }),
} as const;

const GROUP_UNKNOWN = ["unknown-group", "wrong-retention"] as const;

export const DELIVERY_ROUTES: readonly Route[] = [
  {
    method: "post",
    path: `${CHANNEL}/messages/pull`,
    operationId: "pullMessages",
    summary: "Take `min` to `max` messages, or none, by lease; with `ack` = `auto` they are removed at once",
    body: pullBodySchema,
    isBodyOptional: true,
    hasFramedReply: true,
    hasStateHeaders: true,
    replies: {
      200: { description: "The messages; none if fewer than `min` came in time", schema: DELIVERY_REPLY_SCHEMAS.pulled },
    },
    refusals: [...GONE, ...GROUP_UNKNOWN, "channel-draining", "channel-closed", "batch-too-large", "too-many-waiters"],
  },
  {
    method: "post",
    path: `${CHANNEL}/messages/settle`,
    operationId: "settleMessages",
    summary: "Ack, retry, extend, reject or release leased messages; each entry is judged by itself",
    body: settleBodySchema,
    hasStateHeaders: true,
    replies: {
      200: { description: "How many were accepted, and which were refused and why", schema: DELIVERY_REPLY_SCHEMAS.settled },
    },
    refusals: [...GONE, "invalid-lease", "settle-refused"],
  },
  {
    method: "get",
    path: `${CHANNEL}/dead-letters`,
    operationId: "listDeadLetters",
    summary: "Look at dead letters, in the order of their offsets",
    query: deadLetterQuerySchema,
    hasStateHeaders: true,
    replies: {
      200: { description: "A page; pass `next` as `from` for the following one", schema: DELIVERY_REPLY_SCHEMAS.deadLetters },
    },
    refusals: GONE,
  },
  {
    method: "post",
    path: `${CHANNEL}/dead-letters/redrive`,
    operationId: "redriveDeadLetters",
    summary: "Put dead letters again, as new messages, as many as fit; with `ratePerSecond`, all of them, so many a second",
    body: redriveBodySchema,
    isBodyOptional: true,
    hasStateHeaders: true,
    replies: {
      200: {
        description: "How many, and whether more may be left; pass `next` as `from` to go on",
        schema: DELIVERY_REPLY_SCHEMAS.moved,
      },
      202: { description: "A job began; the description of the channel shows it", schema: DELIVERY_REPLY_SCHEMAS.redriveJob },
    },
    refusals: [...GONE, "channel-draining", "channel-closed", "redrive-running", "no-readers"],
  },
  {
    method: "delete",
    path: `${CHANNEL}/dead-letters/redrive`,
    operationId: "stopRedrive",
    summary: "Stop the redrive that runs; what it has put again stays",
    hasStateHeaders: true,
    replies: { 200: { description: "It is stopped; how far it came", schema: DELIVERY_REPLY_SCHEMAS.redriveJob } },
    refusals: [...GONE, "unknown-redrive"],
  },
  {
    method: "post",
    path: `${CHANNEL}/dead-letters/drop`,
    operationId: "dropDeadLetters",
    summary: "Delete dead letters",
    body: deadLetterBodySchema,
    isBodyOptional: true,
    hasStateHeaders: true,
    replies: {
      200: {
        description: "How many, and whether more may be left; pass `next` as `from` to go on",
        schema: DELIVERY_REPLY_SCHEMAS.moved,
      },
    },
    refusals: GONE,
  },
  {
    method: "get",
    path: `${CHANNEL}/quarantine`,
    operationId: "listQuarantine",
    summary: "Look at messages that used up their attempts and stop their keys",
    query: quarantineQuerySchema,
    hasStateHeaders: true,
    replies: { 200: { description: "The first of them", schema: DELIVERY_REPLY_SCHEMAS.quarantined } },
    refusals: [...GONE, ...GROUP_UNKNOWN],
  },
  {
    method: "post",
    path: `${CHANNEL}/quarantine/release`,
    operationId: "releaseQuarantine",
    summary: "Hand quarantined messages out again, their attempts counted anew",
    body: quarantineBodySchema,
    hasStateHeaders: true,
    replies: { 200: { description: "How many", schema: DELIVERY_REPLY_SCHEMAS.moved } },
    refusals: [...GONE, ...GROUP_UNKNOWN, "unknown-message"],
  },
  {
    method: "post",
    path: `${CHANNEL}/quarantine/drop`,
    operationId: "dropQuarantine",
    summary: "Remove quarantined messages; their keys go on",
    body: quarantineBodySchema,
    hasStateHeaders: true,
    replies: { 200: { description: "How many", schema: DELIVERY_REPLY_SCHEMAS.moved } },
    refusals: [...GONE, ...GROUP_UNKNOWN, "unknown-message"],
  },
];
