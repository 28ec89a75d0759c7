// Prose of the description that the route table does not carry: parameters, headers, operations.
import type * as v from "valibot";
import type { CONDITION_HEADERS } from "../../protocol/dedup.ts";
import { FRAME_MEDIA_TYPE } from "../../protocol/version.ts";
import { LIMITS } from "../../protocol/limits.ts";
import type {
  browseQuerySchema,
  checkpointsQuerySchema,
  deleteQuerySchema,
  listQuerySchema,
  pathSchemas,
  putQuerySchema,
  eventsQuerySchema,
  scheduledQuerySchema,
  socketQuerySchema,
} from "../../protocol/routes.ts";
import type { deadLetterQuerySchema } from "../../protocol/delivery-routes.ts";
import type { relaysQuerySchema } from "../../protocol/relay-routes.ts";
import type { readersQuerySchema } from "../../protocol/reader-routes.ts";
import type { snapshotPageQuerySchema } from "../../protocol/snapshot-routes.ts";
import type { Header, HeaderFamily, Tag } from "./openapi-document.ts";

type QuerySchema =
  | typeof listQuerySchema
  | typeof deleteQuerySchema
  | typeof putQuerySchema
  | typeof browseQuerySchema
  | typeof deadLetterQuerySchema
  | typeof checkpointsQuerySchema
  | typeof scheduledQuerySchema
  | typeof eventsQuerySchema
  | typeof readersQuerySchema
  | typeof socketQuerySchema
  | typeof relaysQuerySchema
  | typeof snapshotPageQuerySchema;
type KeyOf<Schema> = Schema extends v.GenericSchema ? keyof v.InferInput<Schema> : never;
type ParameterName = keyof typeof pathSchemas | KeyOf<QuerySchema>;

const KIB = 1024;
const MIB = 1024 * KIB;
const DAY_MS = 24 * 60 * 60 * 1000;
const WAIT_MIN = LIMITS.waitMsMax / 60_000;

export const API_DESCRIPTION = [
  "Producers put messages into a named channel and readers take them in order. What was acknowledged is stored; each message has an offset of its own; a batch is stored whole or not at all.",
  "Send the deployment's token with each request: `Authorization: Bearer TOKEN`. Only `/healthz` is open. On the developer's own computer, `npm start` needs no token.",
  "A refusal is an RFC 9457 problem with a stable `kind` and the facts that are needed to recover. `retry` says whether trying again makes sense, and `retryAfterMs`, where given, when.",
  "Replies about messages report the back-pressure at their commit in the headers `Channel-Depth`, `Channel-Bytes`, `Channel-Utilization` and `Channel-Waiters`: slow down before the channel is full.",
  "Times are milliseconds and end in `Ms`. Unknown members of a body and unknown parameters of an address are refused.",
].join("\n\n");

export const TAGS: {
  readonly [Name in "service" | "channels" | "messages" | "delivery" | "groups" | "checkpoints" | "snapshots" | "socket"]: Tag;
} = {
  service: { name: "Service", description: "The deployment itself." },
  channels: { name: "Channels", description: "Create, describe, change and delete channels." },
  messages: { name: "Messages", description: "Put, look at and remove messages." },
  delivery: { name: "Delivery", description: "Take messages by lease, settle them, and look after what could not be delivered." },
  groups: {
    name: "Groups",
    description: "Readers that share the work, each group with its own position in a channel that keeps its messages.",
  },
  checkpoints: {
    name: "Checkpoints",
    description: "Named values with versions, kept beside the messages: where a reader stands, what was computed so far.",
  },
  snapshots: {
    name: "Snapshots",
    description: "All that a channel holds at one moment, read in pages while it works on; another channel goes on from it.",
  },
  socket: {
    name: "WebSocket",
    description: "The same operations as frames on one connection, in order and without a request for each.",
  },
};

export const PARAMETER_NOTES: { readonly [Name in ParameterName]: string } = {
  colo: "Only those who are at this colo: its code in capitals.",
  read: "`plain` for a connection that reads plainly and nothing else: it may be served by a relay near the client.",
  role: "Only readers, or only producers.",
  channel: "The name of the channel: letters, digits and `. _ ~ : -`, beginning with a letter or a digit.",
  offset: "The offset of the message.",
  checkpoint: "The name of the checkpoint: letters, digits and `. _ ~ : -`, beginning with a letter or a digit.",
  messageId: "The id that the message was put with, percent-encoded.",
  snapshotId: "The id that the beginning of the snapshot answered.",
  restoreId: "The id that the beginning of the restore answered.",
  page: "The number of the page, from 1. Pages are read and brought in their order; the last one may come again.",
  maxBytes: `What the page may have at most, or one row; ${LIMITS.snapshotPageBytes / MIB} MiB if absent.`,
  scheduledId: "The id that the put answered for the delayed message.",
  start: "Where reading begins: an offset, `first` (what is kept) or `last` (what comes next, the default).",
  timeMs: "Reading begins with what was put at this time, in milliseconds since 1970, or later.",
  filter: "JSON of the messages that are wanted: `keys`, of which one has to be theirs, and `headers`, all of which they need.",
  after: "Begins after this name or id: the `next` of the page before.",
  prefix: "Only names that begin with this.",
  limit: `How many entries the page has at most; ${LIMITS.browseMessagesDefault} if absent.`,
  graceMs: `How long readers may finish what is there; ${LIMITS.graceMsDefault} if absent.`,
  force: "`true` deletes at once, with what is there. Not together with `graceMs`.",
  waitMs: `How long to wait for room where the channel is full; not at all if absent, ${WAIT_MIN} minutes at most: a longer wait is cut to that.`,
  from: "The offset to begin at; the first if absent.",
  key: "Only those with this key.",
  group: "The name of the group; where it is a parameter of the query, the only one of a queue if absent.",
  reason: "Only those with this reason.",
  expectedOffset: "The put is accepted only if its first message gets this offset: that of those that enter at once.",
};

const ENCODING = "Percent-encoded UTF-8; visible ASCII other than `%` may stand as it is.";

/** What a message carries beside its body, on its way in and out. */
export const MESSAGE_HEADER_NOTES = {
  "Channel-Key": `The key of the message, at most ${LIMITS.keyBytesMax} bytes. ${ENCODING}`,
  "Channel-Message-Id": `The producer's own name for the message, at most ${LIMITS.messageIdBytesMax} bytes. ${ENCODING}`,
} as const;

const DELAY_DAYS = LIMITS.delayMsMax / DAY_MS;

/** When the message enters its channel, on its way in only. */
export const DELAY_HEADER_NOTES = {
  "Channel-Delay-Ms": `The message enters after so many milliseconds, at most ${DELAY_DAYS} days; at once if 0 or absent.`,
  "Channel-Deliver-At-Ms": `The message enters at this time, in milliseconds since 1970, at most ${DELAY_DAYS} days off; at once if it is over. Not together with \`Channel-Delay-Ms\`.`,
  "Channel-Ttl-Ms":
    "How long the message is worth handing out, in milliseconds, counted from when it enters; the channel's `messageTtlMs` if absent.",
} as const;

/** What makes a put safe to send again. */
export const CONDITION_HEADER_NOTES: { readonly [Name in keyof typeof CONDITION_HEADERS]: string } = {
  "Producer-Id":
    "The producer that numbers its puts, with `Producer-Epoch` and `Producer-Seq`. Not together with `Idempotency-Key`.",
  "Producer-Epoch": "Which life of the producer this is: a higher one shuts out those before.",
  "Producer-Seq": "The number of the put in its epoch, from 1. A number that was accepted answers its first outcome again.",
  "Idempotency-Key": `A name for this put, at most ${LIMITS.idempotencyKeyBytesMax} bytes: within the channel's \`idempotencyWindowMs\` the same key answers the first outcome again. Visible ASCII, or a quoted string (RFC 8941).`,
};

export const MESSAGE_HEADER_FAMILY: HeaderFamily = {
  name: "Channel-Header-{name}",
  description: `A header of the message, {name} in lower case; all together at most ${LIMITS.headersBytesMax / KIB} KiB. ${ENCODING}`,
};

export const MESSAGE_BODY_NOTE = `The body is the message, as it is: at most ${LIMITS.messageBytesMax / MIB} MiB, and at most the channel's \`maxMessageBytes\`. Its Content-Type is kept; where absent it is \`application/octet-stream\`. Readers of JSON get it as \`json\` or \`text\` where the type says so and the body is that, else as \`base64\`.`;

export const VALUE_BODY_NOTE = `The body is the value, as it is: at most ${LIMITS.checkpointBytesMax / MIB} MiB. Its Content-Type is kept; where absent it is \`application/octet-stream\`.`;

export const PAGE_BODY_NOTE = `The body is a page as it was read from a snapshot: at most ${LIMITS.snapshotPageBytesMax / MIB} MiB.`;

const IF_MATCH =
  'Only where the checkpoint has this version, such as `"7"`; `*` for any. Otherwise the refusal is `checkpoint-conflict`.';

/** Headers that replies share. */
export const HEADERS = {
  "Channel-Depth": { description: "Messages that wait to be taken", schema: { type: "integer", minimum: 0 } },
  "Channel-Bytes": { description: "Their bytes", schema: { type: "integer", minimum: 0 } },
  "Channel-Utilization": {
    description: "The larger of messages and bytes over their limits: 0 empty, 1 full, more after a channel was shrunk",
    schema: { type: "number", minimum: 0 },
  },
  "Channel-Waiters": { description: "Puts and gets that wait", schema: { type: "integer", minimum: 0 } },
  "Channel-Offset": { description: "The offset of the message", schema: { type: "integer", minimum: 1 } },
  "Channel-Put-At-Ms": { description: "When the message was put", schema: { type: "integer" } },
  "Channel-Redriven-From": {
    description: "The offset that the message had as a dead letter; only where it was one",
    schema: { type: "integer", minimum: 1 },
  },
  "Channel-Key": { description: MESSAGE_HEADER_NOTES["Channel-Key"], schema: { type: "string" } },
  "Channel-Message-Id": { description: MESSAGE_HEADER_NOTES["Channel-Message-Id"], schema: { type: "string" } },
  ETag: { description: 'The version of the checkpoint, such as `"7"`', schema: { type: "string" } },
  "Channel-Updated-At-Ms": { description: "When the checkpoint was written", schema: { type: "integer" } },
  "Channel-Snapshot-Last": { description: "Whether no page follows", schema: { type: "boolean" } },
  "Channel-Snapshot-Sha256": {
    description: "The hash of this page and all before it, in hex; the page ends with it",
    schema: { type: "string" },
  },
  Location: { description: "The address of the first message that entered at once", schema: { type: "string" } },
} as const satisfies Readonly<Record<string, Header>>;

export const STATE_HEADERS: readonly (keyof typeof HEADERS)[] = [
  "Channel-Depth",
  "Channel-Bytes",
  "Channel-Utilization",
  "Channel-Waiters",
];

interface OperationNotes {
  readonly description?: string;
  /** The content type of a reply without a schema: any, if absent. */
  readonly mediaType?: string;
  readonly replyHeaders?: readonly (keyof typeof HEADERS)[];
  readonly isMessageReply?: boolean;
  /** Headers of the request, with what they mean. */
  readonly requestHeaders?: Readonly<Record<string, string>>;
}

const AUTO_CREATE = `Where the deployment's \`AUTO_CREATE\` is on, a channel that does not exist is created with the default settings, to expire after ${LIMITS.autoCreatedExpireAfterIdleMs / DAY_MS} idle days.`;
const BATCH = `At most ${LIMITS.batchMessagesMax} messages and ${LIMITS.batchBytesMax / MIB} MiB, in a body of at most ${LIMITS.requestBodyBytesMax / MIB} MiB.`;

/** By operationId. */
export const OPERATION_NOTES: Readonly<Record<string, OperationNotes>> = {
  getDocs: { mediaType: "text/html" },
  createChannel: {
    description:
      "Settings that are absent get their defaults in a new channel, and are not compared with an existing one. Without a body: all of them.",
  },
  changeChannel: {
    description:
      "Members that are absent stay. Smaller limits than the depth keep what is there and take nothing more until there is room. A resize and a close put a control record in its place among the messages.",
  },
  deleteChannel: {
    description: `A channel that is empty is deleted at once. Another drains first: it takes no more puts, and is deleted when it is empty or \`graceMs\` is over. The name answers \`channel-deleted\` for ${LIMITS.tombstoneMs / 3_600_000} hours, then \`unknown-channel\`; creating it anew is possible at any time.`,
  },
  putMessage: {
    description: `It is stored when the reply comes. With a delay it has no offset yet, and can be cancelled by its \`scheduledId\`. ${AUTO_CREATE}`,
    replyHeaders: ["Location"],
  },
  putBatch: {
    description: `${BATCH} They get consecutive offsets, except those with a delay: \`scheduled\` lists them. As \`${FRAME_MEDIA_TYPE}\` the body is a binary \`put\` frame, as over a socket, whose head is \`{}\`. ${AUTO_CREATE}`,
    replyHeaders: ["Location"],
  },
  pullMessages: {
    description: `The reply comes when \`min\` messages are there or \`waitMs\` is over. It holds at most ${LIMITS.replyBytesMax / MIB} MiB of messages, or one larger message. Messages are leased until they are settled or the lease ends; then they are handed out again. With \`ack\` = \`auto\` they are removed at once: messages of a reply that is lost on its way are lost. Where \`Accept\` names \`${FRAME_MEDIA_TYPE}\`, a reply with messages is a binary \`got\` frame, as over a socket but without an id. ${AUTO_CREATE}`,
  },
  settleMessages: {
    description:
      "Each entry is judged by itself; those that are refused are named with the reason. An ack counts only when every earlier message of its key is done or is acked in the same call. What is retried, released or expires ends the leases of the later messages of its key. An id that this channel did not make, or one that comes twice, refuses the whole call.",
  },
  createGroup: {
    description:
      "Where the channel's retention is `interest` or `log`. A group begins with the next message unless `start` says otherwise. One that exists is left as it is.",
  },
  changeGroup: { description: "A paused group hands out nothing; what its readers hold they may settle." },
  seekGroup: {
    description:
      "Forwards, what is passed counts as skipped, and leases on it end. Back, all leases of the group end, and its counts begin anew at the new position.",
  },
  redriveDeadLetters: {
    description:
      "In the order of their offsets, at most `max` in a call. Each names its old offset as `redrivenFrom`. With `ratePerSecond` a job of the channel moves those that have died so far, at most so many a second, until none is left; it waits while there is no room.",
  },
  browseMessages: { description: `A page ends early at ${LIMITS.replyBytesMax / MIB} MiB of messages.` },
  listScheduled: {
    description: `A page ends early at ${LIMITS.replyBytesMax / MIB} MiB of messages. They count against the limits of the channel, and are not in its depth.`,
  },
  readMessage: {
    replyHeaders: ["Channel-Offset", "Channel-Put-At-Ms", "Channel-Redriven-From", "Channel-Key", "Channel-Message-Id"],
    isMessageReply: true,
  },
  getMessageHistory: {
    description: `Kept while the message or its dead letter is, of each message the last ${LIMITS.historyEventsMax} attempts that did not end with an ack; \`omitted\` counts those before. An attempt without an end goes on.`,
  },
  writeCheckpoint: {
    description: `Each write gives the checkpoint its next version. A channel keeps at most ${LIMITS.checkpointsMax} checkpoints, and ${LIMITS.checkpointsBytesMax / MIB} MiB of values. It has to exist: a checkpoint does not create it.`,
    replyHeaders: ["ETag"],
    requestHeaders: {
      "If-Match": IF_MATCH,
      "If-None-Match": "`*`: only where there is no such checkpoint. Not together with If-Match.",
    },
  },
  readCheckpoint: { replyHeaders: ["ETag", "Channel-Updated-At-Ms"] },
  deleteCheckpoint: {
    description: "A checkpoint that is written again later goes on above the version that it had.",
    requestHeaders: { "If-Match": IF_MATCH },
  },
  beginSnapshot: {
    description: `It ends when it is not read for ${LIMITS.snapshotIdleMs / 1000} s. While it is open, each stored row that changes costs another.`,
  },
  readSnapshot: {
    replyHeaders: ["Channel-Snapshot-Last", "Channel-Snapshot-Sha256"],
    mediaType: "application/octet-stream",
  },
  beginRestore: { description: `It is dropped when no page comes for ${LIMITS.restoreIdleMs / 60_000} minutes.` },
  stagePage: { description: "A page that is of another version, cut, changed or not the next is refused and changes nothing." },
  commitRestore: {
    description:
      "All of it becomes visible at once. The channel goes on where the first one stood; leases have ended, and their ids are not known.",
  },
  moveChannel: {
    description:
      "Nothing is lost or comes twice, and offsets go on. Requests wait meanwhile; connections are closed with 4410 and come back at the new place. The reply comes when the channel is there.",
  },
  readEvents: {
    description:
      "For `EventSource`. `Last-Event-ID` goes on where a stream ended. Without it and `start` or `timeMs` reading begins with what comes next, in a channel that is no log as a tap.",
    mediaType: "text/event-stream",
  },
  openSocket: {
    description:
      "A request without the upgrade, or which offers only other subprotocols, is refused. The first frame of the client is `hello`.",
  },
};
