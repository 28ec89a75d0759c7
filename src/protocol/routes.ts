// The HTTP routes: what each takes and answers. The worker checks requests with these schemas and OpenAPI is built from the same.
import * as v from "valibot";
import { count, channelDescriptionSchema, channelEntrySchema, pressureStateSchema } from "./description.ts";
import { messagesSchema, takeEntries } from "./frames.ts";
import { LIMITS } from "./limits.ts";
import { channelNameSchema, OFFSET_MAX } from "./names.ts";
import { messageIdSchema } from "./message.ts";
import type { RefusalKind } from "./problems.ts";
import { channelPatchSchema, givenSettingsSchema, wholeNumber } from "./settings.ts";

/** A whole number in an address. */
function numberText(min: number, max: number): v.GenericSchema<string, number> {
  return v.pipe(
    v.string(),
    v.regex(/^\d{1,15}$/, `Expected a whole number of at least ${min}`),
    v.transform(Number),
    wholeNumber(min, max),
  );
}

const waitMsText = numberText(0, Number.MAX_SAFE_INTEGER);

export const pathSchemas = {
  channel: channelNameSchema,
  offset: numberText(1, OFFSET_MAX),
  messageId: messageIdSchema,
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
export const noQuerySchema = v.strictObject({});

export const batchBodySchema = v.strictObject({ messages: messagesSchema });
/** `ack: "auto"` removes at once: at-most-once delivery. It has to be said, so that a later default can be safer. */
export const pullBodySchema = v.strictObject({ ack: v.literal("auto", 'Expected "auto"'), ...takeEntries });

const messageSchema = v.object({
  offset: count,
  putAtMs: count,
  contentType: v.string(),
  key: v.optional(v.string()),
  messageId: v.optional(v.string()),
  headers: v.optional(v.record(v.string(), v.string())),
  json: v.optional(v.unknown()),
  text: v.optional(v.string()),
  base64: v.optional(v.string()),
});
const controlSchema = v.object({
  offset: count,
  putAtMs: count,
  control: v.variant("type", [
    v.object({ type: v.literal("resize"), maxMessages: count, maxBytes: count }),
    v.object({ type: v.literal("close") }),
  ]),
});
const takenEntries = { messages: v.array(messageSchema), controls: v.optional(v.array(controlSchema)) };

export const REPLY_SCHEMAS = {
  health: v.object({ status: v.literal("ok") }),
  list: v.object({ channels: v.array(channelEntrySchema), next: v.nullable(v.string()) }),
  description: channelDescriptionSchema,
  deleted: v.object({ state: v.literal("deleted"), droppedMessages: count }),
  put: v.object({
    offset: v.nullable(count),
    count: count,
    duplicate: v.optional(v.literal(true)),
    state: pressureStateSchema,
  }),
  pulled: v.object({ ...takenEntries, state: pressureStateSchema }),
  page: v.object({ ...takenEntries, next: v.nullable(count) }),
  removed: v.object({ offset: count }),
  purged: v.object({ removedMessages: count }),
} as const;

export interface Reply {
  readonly description: string;
  /** Absent for bytes and for the upgrade. */
  readonly schema?: v.GenericSchema;
}

export interface Route {
  readonly method: "get" | "put" | "post" | "patch" | "delete";
  /** OpenAPI form: parameters in braces. */
  readonly path: string;
  readonly operationId: string;
  readonly summary: string;
  readonly query?: v.GenericSchema;
  /** A JSON body; `isBodyOptional` where an absent one means an empty object. */
  readonly body?: v.GenericSchema;
  readonly isBodyOptional?: boolean;
  /** The body is the message itself. */
  readonly isMessageBody?: boolean;
  /** Takes the headers `CONDITION_HEADERS` that make a put safe to send again. */
  readonly hasConditionHeaders?: boolean;
  readonly isPublic?: boolean;
  readonly hasStateHeaders?: boolean;
  readonly replies: Readonly<Record<string, Reply>>;
  /** Refusals besides those that every route can give. */
  readonly refusals: readonly RefusalKind[];
}

const CHANNEL = "/v1/channels/{channel}";
const GONE: readonly RefusalKind[] = ["unknown-channel", "channel-deleted"];
const PUT_REFUSALS: readonly RefusalKind[] = [
  ...GONE,
  "producer-sequence-gap",
  "stale-producer-epoch",
  "producer-sequence-reused",
  "idempotency-key-reused",
  "offset-conflict",
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
    body: givenSettingsSchema,
    isBodyOptional: true,
    replies: {
      200: { description: "It existed with these settings", schema: REPLY_SCHEMAS.description },
      201: { description: "It was created", schema: REPLY_SCHEMAS.description },
    },
    refusals: ["settings-conflict"],
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
    refusals: GONE,
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
    hasConditionHeaders: true,
    hasStateHeaders: true,
    replies: { 201: { description: "All are stored, at consecutive offsets", schema: REPLY_SCHEMAS.put } },
    refusals: PUT_REFUSALS,
  },
  {
    method: "post",
    path: `${CHANNEL}/messages/pull`,
    operationId: "pullMessages",
    summary: "Take `min` to `max` messages, or none",
    query: noQuerySchema,
    body: pullBodySchema,
    hasStateHeaders: true,
    replies: { 200: { description: "The messages; none if fewer than `min` came in time", schema: REPLY_SCHEMAS.pulled } },
    refusals: [...GONE, "channel-draining", "channel-closed", "batch-too-large", "too-many-waiters"],
  },
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
    path: `${CHANNEL}/socket`,
    operationId: "openSocket",
    summary: "Open a WebSocket with the subprotocol channel.v1.json",
    query: noQuerySchema,
    replies: { 101: { description: "The upgrade; see PROTOCOL.md for the frames" } },
    refusals: ["upgrade-required", "too-many-connections"],
  },
];

/** The methods that an address takes, in upper case; none when nothing is served there. */
export function findMethods(path: string): string[] {
  const matching = ROUTES.filter((route) => new RegExp(`^${route.path.replaceAll(/\{\w+\}/g, "[^/]+")}$`).test(path));
  return matching.map((route) => route.method.toUpperCase());
}
