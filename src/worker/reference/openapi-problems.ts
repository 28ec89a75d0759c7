// Refusals in the description: which of them a route can give, and the schema of each problem with its facts.
import type { JsonSchema } from "@valibot/to-json-schema";
import { JURISDICTIONS, LOCATION_HINTS } from "../../protocol/placement.ts";
import { formatProblem } from "../../protocol/problem-format.ts";
import { PROBLEM_TYPES, type Refusal, type RefusalKind } from "../../protocol/problems.ts";
import type { Route } from "../../protocol/route.ts";
import type { ApiResponse, ApiSchema, Header } from "./openapi-document.ts";
import { referenceTo } from "./openapi-schemas.ts";

const PROBLEM_MEDIA_TYPE = "application/problem+json";

const KINDS = Object.keys(PROBLEM_TYPES) as RefusalKind[];

const text: JsonSchema = { type: "string" };
const texts: JsonSchema = { type: "array", items: text };
const whole: JsonSchema = { type: "integer" };
const wholeOrNull: JsonSchema = { anyOf: [whole, { type: "null" }] };
const limit: JsonSchema = { type: "integer", description: "The limit that was met" };
const outcome = (...values: string[]): JsonSchema => ({
  enum: values,
  description: "Whether the operation was carried out, as far as is known",
});
const retryAfterMs: JsonSchema = {
  type: "integer",
  description: "The pause before the same may be tried again; Retry-After in seconds",
};

const scheduled: JsonSchema = {
  type: "object",
  description: "Delayed messages, which count against the limits as well; absent where there is none",
  properties: { messages: whole, bytes: whole },
  required: ["messages", "bytes"],
};

const jurisdiction: JsonSchema = { enum: [...JURISDICTIONS] };

/** The facts of each kind. The type asks for exactly those of the refusal. */
const FACTS: { readonly [Kind in RefusalKind]: { readonly [Fact in keyof FactsOf<Kind>]-?: JsonSchema } } = {
  "invalid-request": {
    errors: {
      type: "array",
      items: {
        type: "object",
        properties: {
          pointer: {
            type: "string",
            description: "RFC 6901 pointer into the body, or `/query/NAME`, `/header/NAME`, `/path/NAME`",
          },
          detail: text,
        },
        required: ["pointer", "detail"],
      },
    },
  },
  "unsupported-version": { supported: { type: "array", items: whole } },
  "unknown-frame": { frameType: text, frameTypes: texts },
  "request-in-use": { id: whole },
  "promise-lost": { id: whole },
  unauthorized: {},
  forbidden: { reason: text },
  "not-configured": { setting: text, remedy: text },
  "unknown-channel": { channel: text },
  "unknown-message": {
    offset: whole,
    messageId: text,
    isKept: { const: true, description: "The message is there, and only not quarantined" },
  },
  "unknown-checkpoint": { checkpoint: text },
  "unknown-scheduled": { scheduledId: text },
  "unknown-subscription": { id: whole },
  "resume-lost": { resume: text },
  "taken-over": {},
  "plain-reading-only": { frameType: text },
  "unknown-redrive": {},
  "redrive-running": { ratePerSecond: whole, moved: whole },
  "unknown-snapshot": { snapshotId: text },
  "unknown-restore": { channel: text, restoreId: text },
  "unknown-route": { path: text },
  "method-not-allowed": { allow: texts },
  "invalid-lease": { pointer: text },
  "lease-lost": {
    offset: whole,
    cause: {
      enum: ["settled", "expired", "retried", "released", "predecessor", "disconnected", "superseded"],
      description: "How the lease ended; `settled`: the message is not there any more, perhaps by an earlier call",
    },
  },
  "out-of-order": { offset: whole, openOffset: { type: "integer", description: "The earlier message of the key" } },
  "settle-refused": {
    refused: {
      type: "array",
      items: {
        type: "object",
        properties: { pointer: text, problem: { $ref: referenceTo("Problem") } },
        required: ["pointer", "problem"],
      },
    },
  },
  "unknown-group": { group: text },
  "wrong-retention": { retention: text, needed: texts },
  "too-many-groups": { limit },
  "no-readers": { retryAfterMs },
  "seek-out-of-range": { firstOffset: whole, nextOffset: whole },
  "settings-conflict": { conflicts: texts, current: { $ref: referenceTo("Settings") } },
  "too-many-checkpoints": { checkpoint: text, size: whole, limit, unit: { enum: ["checkpoints", "bytes"] } },
  "producer-sequence-gap": { producerId: text, epoch: whole, expectedSeq: whole },
  "stale-producer-epoch": { producerId: text, epoch: whole },
  "producer-sequence-reused": { producerId: text, epoch: whole, seq: whole, offset: wholeOrNull, count: whole },
  "offset-conflict": { expectedOffset: whole, nextOffset: whole },
  "channel-exists": { channel: text },
  "snapshot-invalid": {
    reason: { enum: ["not-a-snapshot", "version", "cut", "order", "hash", "content"] },
    page: { type: "integer", description: "The page that is wrong, or the first that is missing" },
  },
  "too-many-snapshots": { of: { enum: ["snapshots", "restores"] }, limit, retryAfterMs },
  "channel-moving": { outcome: outcome("not-applied"), retryAfterMs },
  "already-there": { locationHint: { enum: [...LOCATION_HINTS] }, jurisdiction },
  "jurisdiction-unavailable": { jurisdiction },
  "channel-draining": { drainUntilMs: wholeOrNull },
  "channel-closed": {},
  "channel-deleted": { deletedAtMs: whole, droppedMessages: whole },
  "checkpoint-conflict": {
    checkpoint: text,
    current: { ...wholeOrNull, description: "The version that is there; `null` where there is none" },
  },
  "checkpoint-too-large": { checkpoint: text, bytes: whole, limit },
  "message-too-large": { bytes: whole, limit },
  "batch-too-large": { size: whole, limit, unit: { enum: ["messages", "bytes"] } },
  "request-too-large": { limit },
  "unsupported-media-type": { accepted: texts, acceptedEncodings: texts },
  "idempotency-key-reused": { idempotencyKey: text },
  "upgrade-required": { protocols: texts },
  "channel-full": {
    retryAfterMs,
    depth: whole,
    maxMessages: whole,
    bytes: whole,
    maxBytes: whole,
    scheduled,
    promisedMessages: { type: "integer", description: "Room kept for puts that waited, until their bodies come" },
    promisedBytes: whole,
  },
  "too-many-waiters": { limit, retryAfterMs },
  "too-many-connections": { limit, retryAfterMs },
  "too-many-subscriptions": { limit, retryAfterMs },
  "too-many-producers": { limit, retryAfterMs },
  "too-many-idempotency-keys": { limit, retryAfterMs },
  "storage-failed": { outcome: outcome("not-applied"), retryAfterMs },
  unavailable: { outcome: outcome("unknown", "not-applied"), retryAfterMs },
  internal: { outcome: outcome("unknown", "not-applied") },
};

type FactsOf<Kind extends RefusalKind> = Omit<Extract<Refusal, { kind: Kind }>, "kind">;

/** Facts that are not in every problem of their kind. */
const OPTIONAL_FACTS: { readonly [Kind in RefusalKind]?: readonly string[] } = {
  "unknown-message": ["offset", "messageId", "isKept"],
  "unsupported-media-type": ["accepted", "acceptedEncodings"],
  "channel-full": ["scheduled", "promisedMessages", "promisedBytes"],
};

/** The refusals of a route: its own, and those that follow from its shape. In the order of the problem table. */
export function refusalsOf(route: Route): RefusalKind[] {
  const isOnChannel = route.path.includes("{channel}");
  const isRaw = route.isMessageBody === true || route.isValueBody === true || route.isPageBody === true;
  const hasBody = route.body !== undefined || isRaw;
  const kinds = new Set<RefusalKind>([...route.refusals, "method-not-allowed", "internal"]);
  if (route.isPublic !== true) for (const kind of ["unauthorized", "forbidden", "not-configured"] as const) kinds.add(kind);
  if (route.query !== undefined || hasBody || route.path.includes("{")) kinds.add("invalid-request");
  if (hasBody) for (const kind of ["unsupported-media-type", "request-too-large"] as const) kinds.add(kind);
  if (isOnChannel) kinds.add("unavailable").add("channel-moving");
  // Whatever reaches a channel may be part of a commit that fails; the upgrade commits nothing.
  if (isOnChannel && route.replies["101"] === undefined) kinds.add("storage-failed");
  return KINDS.filter((kind) => kinds.has(kind));
}

/** The refusals of a route as replies, one for each status. */
export function buildRefusals(route: Route): Record<string, ApiResponse> {
  const byStatus = Map.groupBy(refusalsOf(route), (kind) => PROBLEM_TYPES[kind].status);
  const replies = Array.from(byStatus, ([status, kinds]) => [String(status), buildRefusal(kinds)] as const);
  return Object.fromEntries(replies);
}

function buildRefusal(kinds: readonly RefusalKind[]): ApiResponse {
  const headers = Object.fromEntries(kinds.flatMap((kind) => Object.entries(headersOf(kind))));
  return {
    description: kinds.map((kind) => `\`${kind}\`: ${PROBLEM_TYPES[kind].title}`).join("; "),
    ...(Object.keys(headers).length > 0 && { headers }),
    content: { [PROBLEM_MEDIA_TYPE]: { schema: refusalSchema(kinds) } },
    "x-problem-kinds": kinds,
  };
}

function refusalSchema(kinds: readonly RefusalKind[]): ApiSchema {
  const references = kinds.map((kind) => ({ $ref: referenceTo(schemaNameOf(kind)) }));
  const [first] = references;
  if (first !== undefined && references.length === 1) return first;
  const mapping = Object.fromEntries(kinds.map((kind) => [kind, referenceTo(schemaNameOf(kind))]));
  return { oneOf: references, discriminator: { propertyName: "kind", mapping } };
}

function headersOf(kind: RefusalKind): Record<string, Header> {
  if ("retryAfterMs" in FACTS[kind])
    return { "Retry-After": { description: "`retryAfterMs` in seconds, rounded up", schema: whole } };
  if (kind === "unauthorized")
    return { "WWW-Authenticate": { description: "The scheme that is expected", schema: { const: "Bearer" } } };
  if (kind === "method-not-allowed") return { Allow: { description: "The methods that this address takes", schema: text } };
  if (kind === "upgrade-required")
    return { Upgrade: { description: "The upgrade that is needed", schema: { const: "websocket" } } };
  return {};
}

/** `Problem`, and a schema for each kind that adds its facts. */
export function buildProblemSchemas(): Record<string, JsonSchema> {
  const problem: JsonSchema = {
    description:
      "A refusal (RFC 9457). `kind` is stable; the wording of `title` and `detail` may change. The facts of the kind stand beside.",
    type: "object",
    properties: {
      type: { type: "string", description: "A URI that ends in the kind" },
      kind: { type: "string", enum: KINDS },
      title: { type: "string", description: "The same for each problem of the kind" },
      status: { type: "integer", description: "The status of the reply, also where the problem came in a frame" },
      detail: { type: "string", description: "What happened this time, for people" },
      retry: {
        type: "string",
        enum: ["never", "after", "refetch"],
        description: "What may be tried: nothing, the same after a pause, or the same after reading the current state",
      },
    },
    required: ["type", "kind", "title", "status", "detail", "retry"],
  };
  const kinds = KINDS.map((kind) => [schemaNameOf(kind), kindSchema(kind)] as const);
  return { Problem: problem, ...Object.fromEntries(kinds) };
}

function kindSchema(kind: RefusalKind): JsonSchema {
  const { title, status, retry } = PROBLEM_TYPES[kind];
  const facts: Readonly<Record<string, JsonSchema>> = FACTS[kind];
  const required = Object.keys(facts).filter((fact) => OPTIONAL_FACTS[kind]?.includes(fact) !== true);
  const properties = { kind: { const: kind }, status: { const: status }, retry: { const: retry }, ...facts };
  return {
    description: title,
    allOf: [{ $ref: referenceTo("Problem") }, { type: "object", properties, required: ["kind", ...required] }],
  };
}

function schemaNameOf(kind: RefusalKind): string {
  const words = kind.split("-").map((word) => word.charAt(0).toUpperCase() + word.slice(1));
  return `${words.join("")}Problem`;
}

/** A problem to show. */
export const PROBLEM_EXAMPLE = formatProblem({
  kind: "channel-full",
  retryAfterMs: 1200,
  depth: 1000,
  maxMessages: 1000,
  bytes: 812_440,
  maxBytes: 1_073_741_824,
});
