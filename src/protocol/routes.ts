// The HTTP routes: what each takes and answers. The worker checks requests with these schemas and OpenAPI is built from the same.
import * as v from "valibot";
import { DELIVERY_REPLY_SCHEMAS, DELIVERY_ROUTES } from "./delivery-routes.ts";
import { checkpointEntrySchema } from "./checkpoint.ts";
import { count, channelDescriptionSchema, channelEntrySchema, pressureStateSchema } from "./description.ts";
import { messagesSchema } from "./frames.ts";
import { LIMITS } from "./limits.ts";
import { channelNameSchema, checkpointNameSchema, groupNameSchema, OFFSET_MAX } from "./names.ts";
import { GROUP_REPLY_SCHEMAS, GROUP_ROUTES } from "./group-routes.ts";
import { RELAY_REPLY_SCHEMAS, RELAY_ROUTES } from "./relay-routes.ts";
import { READER_REPLY_SCHEMAS, READER_ROUTES } from "./reader-routes.ts";
import { HISTORY_ROUTE, messageHistorySchema } from "./history.ts";
import { MOVE_ROUTE } from "./move-route.ts";
import { messageIdSchema } from "./message.ts";
import { scheduledIdSchema } from "./schedule.ts";
import type { RefusalKind } from "./problems.ts";
import { CHANNEL, GONE, messageEntries, numberText, takenEntries, type Route } from "./route.ts";
import { SNAPSHOT_PATH_SCHEMAS, SNAPSHOT_REPLY_SCHEMAS, SNAPSHOT_ROUTES } from "./snapshot-routes.ts";
import { createBodySchema } from "./placement.ts";
import { channelPatchSchema } from "./settings.ts";

/** The values of `Channel-Delay-Ms`, `Channel-Deliver-At-Ms` and `Channel-Ttl-Ms`. */
export const delayMsTextSchema = numberText(0, LIMITS.delayMsMax);
export const deliverAtMsTextSchema = numberText(0, Number.MAX_SAFE_INTEGER);
export const ttlMsTextSchema = numberText(LIMITS.ttlMsMin, LIMITS.ttlMsMax);

const waitMsText = numberText(0, Number.MAX_SAFE_INTEGER);

export const pathSchemas = {
  channel: channelNameSchema,
  offset: numberText(1, OFFSET_MAX),
  messageId: messageIdSchema,
  group: groupNameSchema,
  checkpoint: checkpointNameSchema,
  scheduledId: scheduledIdSchema,
  ...SNAPSHOT_PATH_SCHEMAS,
} as const;

export const listQuerySchema = v.strictObject({
  after: v.optional(channelNameSchema),
  prefix: v.optional(channelNameSchema),
  limit: v.optional(numberText(1, LIMITS.directoryPageMax)),
});
export const deleteQuerySchema = v.strictObject({
  graceMs: v.optional(numberText(0, LIMITS.graceMsMax)),
  force: v.optional(v.picklist(["true", "false"], "Expected true or false")),
});
export const putQuerySchema = v.strictObject({
  waitMs: v.optional(waitMsText),
  expectedOffset: v.optional(numberText(1, OFFSET_MAX)),
});
export const browseQuerySchema = v.strictObject({
  from: v.optional(numberText(1, OFFSET_MAX)),
  limit: v.optional(numberText(1, LIMITS.browseMessagesMax)),
});
export const checkpointsQuerySchema = v.strictObject({
  after: v.optional(checkpointNameSchema),
  prefix: v.optional(checkpointNameSchema),
  limit: v.optional(numberText(1, LIMITS.checkpointsPageMax)),
});
/** Where a stream of events begins, unless `Last-Event-ID` says so: an offset, the first record, or the next. `filter` is JSON. */
export const eventsQuerySchema = v.strictObject({
  start: v.optional(v.union([v.picklist(["first", "last"]), numberText(1, OFFSET_MAX)], 'Expected an offset, "first" or "last"')),
  timeMs: v.optional(numberText(0, Number.MAX_SAFE_INTEGER)),
  filter: v.optional(v.string()),
});
/** What a connection is for: `plain` for plain reading alone; anything if absent. */
export const socketQuerySchema = v.strictObject({ read: v.optional(v.picklist(["plain"], "Expected plain")) });
export const scheduledQuerySchema = v.strictObject({
  after: v.optional(scheduledIdSchema),
  limit: v.optional(numberText(1, LIMITS.scheduledPageMax)),
});
export const noQuerySchema = v.strictObject({});

export const batchBodySchema = v.strictObject({ messages: messagesSchema });
const scheduledMessageSchema = v.object({ scheduledId: v.string(), deliverAtMs: count, ...messageEntries });

export const REPLY_SCHEMAS = {
  health: v.object({ status: v.literal("ok") }),
  list: v.object({ channels: v.array(channelEntrySchema), next: v.nullable(v.string()) }),
  description: channelDescriptionSchema,
  deleted: v.object({ state: v.literal("deleted"), droppedMessages: count }),
  page: v.object({ ...takenEntries, next: v.nullable(count) }),
  history: messageHistorySchema,
  removed: v.object({ offset: count }),
  purged: v.object({ removedMessages: count }),
  ...DELIVERY_REPLY_SCHEMAS,
  ...GROUP_REPLY_SCHEMAS,
  ...READER_REPLY_SCHEMAS,
  ...RELAY_REPLY_SCHEMAS,
  ...SNAPSHOT_REPLY_SCHEMAS,
  checkpoints: v.object({ checkpoints: v.array(checkpointEntrySchema), next: v.nullable(v.string()) }),
  checkpointWritten: checkpointEntrySchema,
  checkpointDeleted: v.object({ name: v.string(), version: count }),
  put: v.object({
    offset: v.nullable(count),
    count: count,
    duplicate: v.optional(v.literal(true)),
    scheduledId: v.optional(v.string()),
    scheduled: v.optional(v.array(v.object({ index: count, scheduledId: v.string(), deliverAtMs: count }))),
    state: pressureStateSchema,
  }),
  scheduledPage: v.object({ scheduled: v.array(scheduledMessageSchema), next: v.nullable(v.string()) }),
  unscheduled: v.object({ scheduledId: v.string() }),
} as const;

const PUT_REFUSALS: readonly RefusalKind[] = [
  ...GONE,
  "producer-sequence-gap",
  "stale-producer-epoch",
  "producer-sequence-reused",
  "idempotency-key-reused",
  "offset-conflict",
  "no-readers",
  "channel-draining",
  "channel-closed",
  "message-too-large",
  "batch-too-large",
  "request-too-large",
  "channel-full",
  "too-many-waiters",
  "too-many-producers",
  "too-many-idempotency-keys",
];

export const ROUTES: readonly Route[] = [
  {
    method: "get",
    path: "/healthz",
    operationId: "getHealth",
    summary: "Whether the service answers",
    isPublic: true,
    replies: { 200: { description: "It does", schema: REPLY_SCHEMAS.health } },
    refusals: [],
  },
  {
    method: "get",
    path: "/openapi.json",
    operationId: "getOpenApi",
    summary: "This description",
    replies: { 200: { description: "An OpenAPI 3.1 document", schema: v.object({}) } },
    refusals: [],
  },
  {
    method: "get",
    path: "/docs",
    operationId: "getDocs",
    summary: "The browsable reference",
    replies: { 200: { description: "A page" } },
    refusals: [],
  },
  {
    method: "get",
    path: "/v1/channels",
    operationId: "listChannels",
    summary: "List channels in the order of their names",
    query: listQuerySchema,
    replies: { 200: { description: "A page; pass `next` as `after` for the following one", schema: REPLY_SCHEMAS.list } },
    refusals: ["unavailable"],
  },
  {
    method: "put",
    path: CHANNEL,
    operationId: "createChannel",
    summary: "Create a channel, or confirm that it exists with these settings",
    query: noQuerySchema,
    body: createBodySchema,
    isBodyOptional: true,
    replies: {
      200: { description: "It existed with these settings", schema: REPLY_SCHEMAS.description },
      201: { description: "It was created", schema: REPLY_SCHEMAS.description },
    },
    refusals: ["settings-conflict", "jurisdiction-unavailable"],
  },
  {
    method: "get",
    path: CHANNEL,
    operationId: "describeChannel",
    summary: "Describe a channel: settings, state, depth, counts",
    query: noQuerySchema,
    hasStateHeaders: true,
    replies: { 200: { description: "The description", schema: REPLY_SCHEMAS.description } },
    refusals: GONE,
  },
  {
    method: "patch",
    path: CHANNEL,
    operationId: "changeChannel",
    summary: "Change settings, resize, open, drain or close",
    query: noQuerySchema,
    body: channelPatchSchema,
    replies: { 200: { description: "The channel as it is now", schema: REPLY_SCHEMAS.description } },
    refusals: [...GONE, "settings-conflict"],
  },
  {
    method: "delete",
    path: CHANNEL,
    operationId: "deleteChannel",
    summary: "Shut down and delete: `graceMs` lets readers finish, `force` does not wait",
    query: deleteQuerySchema,
    replies: {
      200: { description: "It is deleted", schema: REPLY_SCHEMAS.deleted },
      202: { description: "It drains and is deleted when it is empty or the grace is over", schema: REPLY_SCHEMAS.description },
    },
    refusals: GONE,
  },
  {
    method: "post",
    path: `${CHANNEL}/messages`,
    operationId: "putMessage",
    summary: "Put one message: the body is the message",
    query: putQuerySchema,
    isMessageBody: true,
    hasConditionHeaders: true,
    hasStateHeaders: true,
    replies: { 201: { description: "It is stored", schema: REPLY_SCHEMAS.put } },
    refusals: PUT_REFUSALS,
  },
  {
    method: "post",
    path: `${CHANNEL}/messages/batch`,
    operationId: "putBatch",
    summary: "Put many messages, all or none",
    query: putQuerySchema,
    body: batchBodySchema,
    mayBeFramed: true,
    hasConditionHeaders: true,
    hasStateHeaders: true,
    replies: { 201: { description: "All are stored, at consecutive offsets or to enter later", schema: REPLY_SCHEMAS.put } },
    refusals: PUT_REFUSALS,
  },
  ...DELIVERY_ROUTES,
  ...GROUP_ROUTES,
  ...READER_ROUTES,
  ...RELAY_ROUTES,
  {
    method: "get",
    path: `${CHANNEL}/messages`,
    operationId: "browseMessages",
    summary: "Look at messages without taking them",
    query: browseQuerySchema,
    hasStateHeaders: true,
    replies: { 200: { description: "A page; pass `next` as `from` for the following one", schema: REPLY_SCHEMAS.page } },
    refusals: GONE,
  },
  {
    method: "delete",
    path: `${CHANNEL}/messages`,
    operationId: "purgeMessages",
    summary: "Remove all messages",
    query: noQuerySchema,
    hasStateHeaders: true,
    replies: { 200: { description: "How many were removed", schema: REPLY_SCHEMAS.purged } },
    refusals: GONE,
  },
  {
    method: "get",
    path: `${CHANNEL}/messages/{offset}`,
    operationId: "readMessage",
    summary: "Read one message without taking it: the reply's body is the message",
    query: noQuerySchema,
    hasStateHeaders: true,
    replies: { 200: { description: "The message" } },
    refusals: [...GONE, "unknown-message"],
  },
  HISTORY_ROUTE,
  {
    method: "delete",
    path: `${CHANNEL}/messages/{offset}`,
    operationId: "removeMessage",
    summary: "Remove one message by its offset",
    query: noQuerySchema,
    hasStateHeaders: true,
    replies: { 200: { description: "It is removed", schema: REPLY_SCHEMAS.removed } },
    refusals: [...GONE, "unknown-message"],
  },
  {
    method: "delete",
    path: `${CHANNEL}/messages/by-id/{messageId}`,
    operationId: "removeMessageById",
    summary: "Remove the first message that was put with this Channel-Message-Id",
    query: noQuerySchema,
    hasStateHeaders: true,
    replies: { 200: { description: "It is removed", schema: REPLY_SCHEMAS.removed } },
    refusals: [...GONE, "unknown-message"],
  },
  {
    method: "get",
    path: `${CHANNEL}/checkpoints`,
    operationId: "listCheckpoints",
    summary: "List checkpoints in the order of their names, without their values",
    query: checkpointsQuerySchema,
    replies: { 200: { description: "A page; pass `next` as `after` for the following one", schema: REPLY_SCHEMAS.checkpoints } },
    refusals: GONE,
  },
  {
    method: "put",
    path: `${CHANNEL}/checkpoints/{checkpoint}`,
    operationId: "writeCheckpoint",
    summary: "Write a checkpoint: the body is the value",
    query: noQuerySchema,
    isValueBody: true,
    replies: {
      200: { description: "It has the value; there was another", schema: REPLY_SCHEMAS.checkpointWritten },
      201: { description: "It was created", schema: REPLY_SCHEMAS.checkpointWritten },
    },
    refusals: [...GONE, "checkpoint-conflict", "checkpoint-too-large", "too-many-checkpoints"],
  },
  {
    method: "get",
    path: `${CHANNEL}/checkpoints/{checkpoint}`,
    operationId: "readCheckpoint",
    summary: "Read a checkpoint: the reply's body is the value",
    query: noQuerySchema,
    replies: { 200: { description: "The value" } },
    refusals: [...GONE, "unknown-checkpoint"],
  },
  {
    method: "delete",
    path: `${CHANNEL}/checkpoints/{checkpoint}`,
    operationId: "deleteCheckpoint",
    summary: "Delete a checkpoint",
    query: noQuerySchema,
    replies: { 200: { description: "It is deleted; it had this version", schema: REPLY_SCHEMAS.checkpointDeleted } },
    refusals: [...GONE, "unknown-checkpoint", "checkpoint-conflict"],
  },
  {
    method: "get",
    path: `${CHANNEL}/scheduled`,
    operationId: "listScheduled",
    summary: "Look at delayed messages, in the order in which they will enter",
    query: scheduledQuerySchema,
    hasStateHeaders: true,
    replies: {
      200: { description: "A page; pass `next` as `after` for the following one", schema: REPLY_SCHEMAS.scheduledPage },
    },
    refusals: GONE,
  },
  {
    method: "delete",
    path: `${CHANNEL}/scheduled/{scheduledId}`,
    operationId: "cancelScheduled",
    summary: "Cancel a delayed message that has not entered yet",
    query: noQuerySchema,
    hasStateHeaders: true,
    replies: { 200: { description: "It is cancelled", schema: REPLY_SCHEMAS.unscheduled } },
    refusals: [...GONE, "unknown-scheduled"],
  },
  ...SNAPSHOT_ROUTES,
  MOVE_ROUTE,
  {
    method: "get",
    path: `${CHANNEL}/events`,
    operationId: "readEvents",
    summary: "Read messages as Server-Sent Events, as they come",
    query: eventsQuerySchema,
    replies: { 200: { description: "The stream of events; see PROTOCOL.md" } },
    refusals: [...GONE, "wrong-retention", "seek-out-of-range", "resume-lost", "too-many-connections", "too-many-subscriptions"],
  },
  {
    method: "get",
    path: `${CHANNEL}/socket`,
    operationId: "openSocket",
    summary: "Open a WebSocket with the subprotocol channel.v1.json; `read=plain` for plain reading alone",
    query: socketQuerySchema,
    replies: { 101: { description: "The upgrade; see PROTOCOL.md for the frames" } },
    refusals: ["upgrade-required", "too-many-connections"],
  },
];

const PATTERNS = ROUTES.map(({ method, path }) => ({
  methods: method === "get" ? ["GET", "HEAD"] : [method.toUpperCase()],
  parameters: path.split("{").length - 1,
  pattern: new RegExp(`^${path.replaceAll(/\{\w+\}/g, "[^/]+")}$`),
}));

/**
 * The methods that an address takes, in upper case; none when nothing is served there. A name that a route spells out is not the
 * parameter of another: `…/messages/pull` is no offset.
 */
export function findMethods(path: string): string[] {
  const matching = PATTERNS.filter(({ pattern }) => pattern.test(path));
  const least = Math.min(...matching.map(({ parameters }) => parameters));
  return matching.flatMap(({ methods, parameters }) => (parameters === least ? methods : []));
}
