// The frames that the server sends, as schemas: the examples of PROTOCOL.md are held against them, and what the worker really sends.
import * as v from "valibot";
import { checkpointEntrySchema } from "../src/protocol/checkpoint.ts";
import { channelDescriptionSchema, count, pressureStateSchema } from "../src/protocol/description.ts";
import { DELIVERY_REPLY_SCHEMAS } from "../src/protocol/delivery-routes.ts";
import type { ServerFrame } from "../src/protocol/frames.ts";
import { PROBLEM_TYPES } from "../src/protocol/problems.ts";
import { messageSchema, takenEntries } from "../src/protocol/route.ts";
import { REPLY_SCHEMAS } from "../src/protocol/routes.ts";

const id = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const state = v.strictObject(pressureStateSchema.entries);
const credit = v.strictObject({ messages: count, bytes: count });

/** Exactly one member holds the body. */
function hasOneBody(shown: object): boolean {
  return ["json", "text", "base64"].filter((member) => member in shown).length === 1;
}

const message = v.pipe(
  v.strictObject(messageSchema.entries),
  v.check((shown) => hasOneBody(shown), "Expected one body"),
);
const leased = v.pipe(
  v.strictObject({ ...messageSchema.entries, leaseId: v.string(), attempt: count, redelivered: v.boolean() }),
  v.check((shown) => hasOneBody(shown), "Expected one body"),
);
const controls = v.optional(v.pipe(v.array(v.strictObject(takenEntries.controls.wrapped.item.entries)), v.minLength(1)));
const problem = v.looseObject({
  type: v.pipe(v.string(), v.startsWith("urn:edge-channel:problem:")),
  kind: v.picklist(Object.keys(PROBLEM_TYPES)),
  title: v.string(),
  status: count,
  detail: v.pipe(v.string(), v.nonEmpty()),
  retry: v.picklist(["never", "after", "refetch"]),
});
const checkpoint = v.strictObject(checkpointEntrySchema.entries);

/** A member is told until when it holds what it is given, and nobody else. */
const takenByLease = { messages: v.pipe(v.array(leased), v.minLength(1)), controls, leaseUntilMs: count };
const takenWithout = { messages: v.array(message), controls };
const delivered = { type: v.literal("deliver"), id, bytes: count, state };

const SCHEMAS = {
  welcome: v.strictObject({
    type: v.literal("welcome"),
    version: count,
    versions: v.array(count),
    channel: v.string(),
    connection: count,
  }),
  joined: v.strictObject({
    type: v.literal("joined"),
    frames: v.pipe(
      v.array(v.lazy((): v.GenericSchema<ServerFrame> => serverFrameSchema)),
      v.minLength(2, "One frame goes by itself"),
    ),
  }),
  "put-ok": v.strictObject({ type: v.literal("put-ok"), id, ...REPLY_SCHEMAS.put.entries, state }),
  got: v.union([
    v.strictObject({ type: v.literal("got"), id, ...takenWithout, state }),
    v.strictObject({ type: v.literal("got"), id, ...takenByLease, state }),
  ]),
  settled: v.strictObject({
    type: v.literal("settled"),
    id,
    ...DELIVERY_REPLY_SCHEMAS.settled.entries,
    refused: v.array(v.strictObject({ pointer: v.string(), problem })),
    state,
  }),
  rebalance: v.strictObject({ type: v.literal("rebalance") }),
  subscribed: v.strictObject({ type: v.literal("subscribed"), id, resume: v.optional(v.string()) }),
  deliver: v.union([
    v.strictObject({ ...delivered, ...takenByLease }),
    v.strictObject({
      ...delivered,
      ...takenWithout,
      gap: v.optional(v.strictObject({ fromOffset: count, toOffset: count })),
      resume: v.optional(v.string()),
    }),
  ]),
  revoke: v.strictObject({
    type: v.literal("revoke"),
    id,
    leases: v.pipe(v.array(v.strictObject({ leaseId: v.string(), count: v.optional(count) })), v.minLength(1)),
  }),
  pressure: v.strictObject({ type: v.literal("pressure"), id, level: v.picklist(["low", "high"]), credit, state }),
  present: v.strictObject({
    type: v.literal("present"),
    id,
    readers: count,
    colos: v.array(v.strictObject({ colo: v.nullable(v.string()), readers: count })),
  }),
  presence: v.strictObject({
    type: v.literal("presence"),
    id,
    changes: v.array(
      v.strictObject({ change: v.picklist(["join", "leave", "expiry"]), reader: v.string(), colo: v.nullable(v.string()) }),
    ),
  }),
  ended: v.strictObject({ type: v.literal("ended"), id, problem: v.optional(problem) }),
  checkpoint: v.pipe(
    v.strictObject({
      type: v.literal("checkpoint"),
      id,
      ...checkpoint.entries,
      json: v.optional(v.unknown()),
      text: v.optional(v.string()),
      base64: v.optional(v.string()),
    }),
    v.check((shown) => hasOneBody(shown), "Expected one value"),
  ),
  "checkpoint-written": v.strictObject({
    type: v.literal("checkpoint-written"),
    id,
    ...checkpoint.entries,
    created: v.boolean(),
  }),
  "checkpoint-deleted": v.strictObject({ type: v.literal("checkpoint-deleted"), id, name: v.string(), version: count }),
  checkpoints: v.strictObject({
    type: v.literal("checkpoints"),
    id,
    checkpoints: v.array(checkpoint),
    next: v.nullable(v.string()),
  }),
  echo: v.strictObject({ type: v.literal("echo"), echo: count }),
  pong: v.strictObject({ type: v.literal("pong") }),
  wait: v.strictObject({ type: v.literal("wait"), id }),
  room: v.strictObject({ type: v.literal("room"), id, reservedMs: count }),
  stats: v.strictObject({ type: v.literal("stats"), id, stats: v.strictObject(channelDescriptionSchema.entries) }),
  problem: v.strictObject({ type: v.literal("problem"), inReplyTo: v.optional(id), problem }),
} as const satisfies { readonly [Type in ServerFrame["type"]]: v.GenericSchema };

export const SERVER_FRAME_TYPES: readonly string[] = Object.keys(SCHEMAS);

/** What is wrong with a frame of the server; empty where nothing is. */
export function findFaults(frame: unknown): string[] {
  const type = (frame as { readonly type?: unknown }).type;
  const schema = Object.entries(SCHEMAS).find(([name]) => name === type)?.[1];
  if (schema === undefined) return [`There is no frame of type ${String(type)}`];
  const result = v.safeParse(schema, frame);
  return result.success ? [] : result.issues.map((issue) => `${String(type)} ${v.getDotPath(issue) ?? ""}: ${issue.message}`);
}

const serverFrameSchema = v.custom<ServerFrame>((frame) => findFaults(frame).length === 0, "Not a frame of the server");
