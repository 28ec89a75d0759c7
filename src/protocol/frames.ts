// The frames of the WebSocket subprotocol channel.v1.json: one JSON object a frame, its `type` a verb.
import * as v from "valibot";
import { refuse, type Result } from "../base/result.ts";
import { CHECKPOINT_FRAME_SCHEMAS, checkpointWriteEntries, type CheckpointFrame } from "./checkpoint-frames.ts";
import { conditionEntries } from "./dedup.ts";
import type { PressureState } from "./description.ts";
import { parseJson, parseWith, invalidRequest } from "./fault.ts";
import { leaseList } from "./lease-list.ts";
import { LIMITS } from "./limits.ts";
import { hasPlainBody, putMessageSchema } from "./message.ts";
import { groupNameSchema, readerNameSchema } from "./names.ts";
import type { Problem, Refusal } from "./problems.ts";
import type { ScheduledReceipt } from "./schedule.ts";
import { withShortcut } from "./shortcut.ts";
import { leaseMsSchema, wholeNumber } from "./settings.ts";
import { STREAM_FRAME_SCHEMAS, type PresenceFrame, type StreamFrame } from "./stream-frames.ts";
import { MOVED_CLOSE_CODE } from "./version.ts";

const idSchema = wholeNumber(0, Number.MAX_SAFE_INTEGER);
/** A longer wait is accepted and capped at `LIMITS.waitMsMax`. */
const waitMsSchema = wholeNumber(0, Number.MAX_SAFE_INTEGER);

const helloSchema = v.strictObject({
  type: v.literal("hello"),
  versions: v.pipe(
    v.array(wholeNumber(1, 65_535)),
    v.minLength(1, "Expected at least one version"),
    v.maxLength(16, "Expected at most 16 versions"),
  ),
  /** Set by a client that reads `joined` frames. */
  joined: v.optional(v.literal(true)),
  /** Whether it pings: its silence tells then that it is gone. */
  pings: v.optional(v.literal(true)),
});

/** Set when the put is sent for room that it was promised: if the promise is gone by then, nothing is stored. */
const promisedSchema = v.optional(v.literal(true));

const putSchema = withShortcut(
  v.strictObject({
    type: v.literal("put"),
    id: idSchema,
    waitMs: v.optional(waitMsSchema),
    promised: promisedSchema,
    ...conditionEntries,
    ...putMessageSchema.entries,
  }),
  isPlainPut,
);

/** Whether it has a body beside its type and id, and nothing else. */
function isPlainPut(frame: unknown): boolean {
  if (!hasPlainBody(frame, 3) || !("type" in frame && frame.type === "put" && "id" in frame)) return false;
  return Number.isSafeInteger(frame.id) && Number(frame.id) >= 0;
}

export const messagesSchema = v.pipe(
  v.unknown(),
  // Counted before any message is looked at.
  v.check(
    (input) => !Array.isArray(input) || input.length <= LIMITS.batchMessagesMax,
    `Expected at most ${LIMITS.batchMessagesMax} messages`,
  ),
  v.array(putMessageSchema, "Expected a list of messages"),
  v.maxLength(LIMITS.batchMessagesMax, `Expected at most ${LIMITS.batchMessagesMax} messages`),
);

const putBatchSchema = v.strictObject({
  type: v.literal("put-batch"),
  id: idSchema,
  waitMs: v.optional(waitMsSchema),
  promised: promisedSchema,
  ...conditionEntries,
  messages: messagesSchema,
});

/** Asks for room without sending the bodies: the put with the same id follows on `room`. */
const reserveSchema = v.strictObject({
  type: v.literal("reserve"),
  id: idSchema,
  messages: wholeNumber(1, LIMITS.batchMessagesMax),
  bytes: wholeNumber(0, LIMITS.batchBytesMax + LIMITS.headersBytesMax),
  waitMs: v.optional(waitMsSchema),
});

/** How many messages a get asks for: at least `min`, at most `max`, exactly so many when they are equal. */
export const takeEntries = {
  max: v.optional(wholeNumber(0, LIMITS.batchMessagesMax)),
  min: v.optional(wholeNumber(0, LIMITS.batchMessagesMax)),
  waitMs: v.optional(waitMsSchema),
};

/** `detached`: the leases outlive the connection; without it they end when it closes. */
const pullSchema = v.strictObject({
  type: v.literal("pull"),
  id: idSchema,
  ...takeEntries,
  leaseMs: v.optional(leaseMsSchema),
  detached: v.optional(v.literal(true)),
  reader: v.optional(readerNameSchema),
  group: v.optional(groupNameSchema),
});

/** What a reader says of a message that it gives back or rejects. */
export const reasonSchema = v.pipe(
  v.string(),
  v.maxBytes(LIMITS.reasonBytesMax, `A reason has at most ${LIMITS.reasonBytesMax} bytes`),
  v.check((text) => text.isWellFormed(), "Expected well-formed Unicode, without lone surrogates"),
);

/** What is settled, by verb; each lease once in a call. */
export const settleEntries = {
  acks: leaseList({}),
  retries: leaseList({ delayMs: v.optional(wholeNumber(0, LIMITS.retryDelayMsMax)), reason: v.optional(reasonSchema) }),
  extends: leaseList({ leaseMs: leaseMsSchema }),
  rejects: leaseList({ reason: v.optional(reasonSchema) }),
  releases: leaseList({}),
};

/** What rides on a settle call: with it, the call is carried out as a whole or not at all. */
export const riderEntries = {
  checkpoint: v.optional(v.strictObject(checkpointWriteEntries)),
  puts: v.optional(messagesSchema),
};

const settleSchema = v.strictObject({ type: v.literal("settle"), id: idSchema, ...settleEntries, ...riderEntries });

const getSchema = v.strictObject({
  type: v.literal("get"),
  id: idSchema,
  ...takeEntries,
  group: v.optional(groupNameSchema),
});
const cancelSchema = v.strictObject({ type: v.literal("cancel"), id: idSchema });
/** Shows that all that was sent before the frame with this number has been read. */
const echoSchema = v.strictObject({ type: v.literal("echo"), echo: wholeNumber(0, 2 ** 32 - 1) });
const statsSchema = v.strictObject({ type: v.literal("stats"), id: idSchema });

export const CLIENT_FRAME_SCHEMAS = {
  hello: helloSchema,
  put: putSchema,
  "put-batch": putBatchSchema,
  reserve: reserveSchema,
  get: getSchema,
  pull: pullSchema,
  settle: settleSchema,
  cancel: cancelSchema,
  stats: statsSchema,
  echo: echoSchema,
  ...CHECKPOINT_FRAME_SCHEMAS,
  ...STREAM_FRAME_SCHEMAS,
} as const;

const CLIENT_FRAME_TYPES = Object.keys(CLIENT_FRAME_SCHEMAS);

export type ClientFrame = {
  [Type in keyof typeof CLIENT_FRAME_SCHEMAS]: v.InferOutput<(typeof CLIENT_FRAME_SCHEMAS)[Type]>;
}[keyof typeof CLIENT_FRAME_SCHEMAS];

/** What the server sends. `problem` without `inReplyTo` answers a frame whose id could not be read. */
export type ServerFrame =
  | {
      readonly type: "welcome";
      readonly version: number;
      readonly versions: readonly number[];
      readonly channel: string;
      readonly connection: number;
    }
  /** What one commit has to say to a connection that asked for it, in its order. */
  | { readonly type: "joined"; readonly frames: readonly ServerFrame[] }
  | {
      readonly type: "put-ok";
      readonly id: number;
      /** Null when all messages enter later, and for a duplicate whose first outcome is not kept any more. */
      readonly offset: number | null;
      readonly count: number;
      /** Where the put was of one message, which enters later. */
      readonly scheduledId?: string;
      readonly scheduled?: readonly ScheduledReceipt[];
      readonly duplicate?: true;
      readonly state: PressureState;
    }
  | {
      readonly type: "got";
      readonly id: number;
      readonly messages: readonly unknown[];
      readonly controls?: readonly unknown[];
      readonly leaseUntilMs?: number;
      readonly state: PressureState;
    }
  | {
      readonly type: "settled";
      readonly id: number;
      readonly acked: number;
      readonly retried: number;
      readonly extended: number;
      readonly rejected: number;
      readonly released: number;
      readonly refused: readonly { readonly pointer: string; readonly problem: Problem }[];
      /** The version of the checkpoint that rode along. */
      readonly checkpointVersion?: number;
      /** The offset of the first message that was put along. */
      readonly putOffset?: number;
      readonly state: PressureState;
    }
  | StreamFrame
  | PresenceFrame
  | CheckpointFrame
  /** To be sent back as it is. */
  | { readonly type: "echo"; readonly echo: number }
  /** Of a connection for plain reading: another one is served from nearer, and this one is closed. */
  | { readonly type: "rebalance" }
  /** Answers a ping. */
  | { readonly type: "pong" }
  | { readonly type: "wait"; readonly id: number }
  | { readonly type: "room"; readonly id: number; readonly reservedMs: number }
  | { readonly type: "stats"; readonly id: number; readonly stats: object }
  | { readonly type: "problem"; readonly inReplyTo?: number; readonly problem: Problem };

/** Close codes of our own. 1009 is the standard's: a frame was too large. */
export const CLOSE_CODES = {
  frameTooLarge: 1009,
  unsupportedVersion: 4400,
  framesUnread: 4408,
  silent: 4409,
  moved: MOVED_CLOSE_CODE,
} as const;

/** A refused frame, with the request it answers where that could be read. */
export interface FrameRefusal {
  readonly refusal: Refusal;
  readonly inReplyTo?: number;
}

/** How most clients begin a frame: what comes behind it need not be read to know which request it is. */
const BEGINNING = /^\{"type":"[a-z-]{1,64}","id":(\d{1,15})\s*[,}]/u;

export function parseClientFrame(text: string): Result<ClientFrame, FrameRefusal> {
  const parsed = parseJson(text);
  if (!parsed.ok) {
    const [, id] = BEGINNING.exec(text) ?? [];
    return refuse({ refusal: parsed.refusal, ...(id !== undefined && { inReplyTo: Number(id) }) });
  }
  const frame = parsed.value;
  if (typeof frame !== "object" || frame === null || Array.isArray(frame)) {
    return refuse({ refusal: invalidRequest("", "Expected a JSON object") });
  }
  const id = "id" in frame && Number.isSafeInteger(frame.id) && Number(frame.id) >= 0 ? { inReplyTo: Number(frame.id) } : {};
  const type = "type" in frame ? frame.type : undefined;
  if (typeof type !== "string") return refuse({ refusal: invalidRequest("/type", "Expected the type of the frame"), ...id });
  if (!isClientFrameType(type)) {
    return refuse({ refusal: { kind: "unknown-frame", frameType: type.slice(0, 64), frameTypes: CLIENT_FRAME_TYPES }, ...id });
  }
  const checked = parseWith(CLIENT_FRAME_SCHEMAS[type], frame);
  return checked.ok ? checked : refuse({ refusal: checked.refusal, ...id });
}

function isClientFrameType(type: string): type is keyof typeof CLIENT_FRAME_SCHEMAS {
  return Object.hasOwn(CLIENT_FRAME_SCHEMAS, type);
}
