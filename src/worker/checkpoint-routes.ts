// /v1/channels/{channel}/checkpoints: list, write, read and delete. The version of a checkpoint is its entity tag.
import type { Hono } from "hono";
import type { CheckpointCondition } from "../channel/operation.ts";
import type { Env } from "../object/env.ts";
import { invalidRequest, parseWith } from "../protocol/fault.ts";
import { LIMITS } from "../protocol/limits.ts";
import { contentTypeSchema } from "../protocol/message.ts";
import { checkpointsQuerySchema, noQuerySchema } from "../protocol/routes.ts";
import { ask } from "./channel-client.ts";
import { INERT_HEADERS } from "./message-headers.ts";
import { RefusalError } from "./refusal-error.ts";
import { bytesOf, channelOf, checkpointOf, orThrow, queryOf, refuseBody, type AppContext } from "./request-parts.ts";

const CHECKPOINTS = "/v1/channels/:channel/checkpoints";

/** A proxy that compresses a reply makes its tag weak, and the client sends it back so. */
const VERSION_TAG = /^(?:W\/)?"(0|[1-9]\d{0,14})"$/;

export function addCheckpointRoutes(app: Hono<{ Bindings: Env }>): void {
  app.get(CHECKPOINTS, handleList);
  app.put(`${CHECKPOINTS}/:checkpoint`, handleWrite);
  app.get(`${CHECKPOINTS}/:checkpoint`, handleRead);
  app.delete(`${CHECKPOINTS}/:checkpoint`, handleDelete);
}

async function handleList(context: AppContext): Promise<Response> {
  const channel = channelOf(context);
  const { after, prefix, limit } = queryOf(context, checkpointsQuerySchema);
  const range = { ...(after !== undefined && { after }), ...(prefix !== undefined && { prefix }) };
  const operation = { type: "list-checkpoints", ...range, limit: limit ?? LIMITS.checkpointsPageDefault } as const;
  const { outcome } = await ask(context.env, channel, operation, ["checkpoints"]);
  return context.json({ checkpoints: outcome.checkpoints, next: outcome.next });
}

async function handleWrite(context: AppContext): Promise<Response> {
  const channel = channelOf(context);
  const name = checkpointOf(context);
  queryOf(context, noQuerySchema);
  const { headers } = context.req.raw;
  const given = headers.get("Content-Type") ?? "application/octet-stream";
  const contentType = orThrow(parseWith(contentTypeSchema, given, "/header/Content-Type"));
  const condition = parseWriteCondition(headers);
  const limit = LIMITS.checkpointBytesMax;
  const value = await bytesOf(context, limit, (bytes) => ({ kind: "checkpoint-too-large", checkpoint: name, bytes, limit }));
  const write = { name, value, contentType, ...condition };
  const { outcome } = await ask(context.env, channel, { type: "write-checkpoint", write }, ["checkpoint-written"]);
  const { checkpoint, isCreated } = outcome;
  return context.json(checkpoint, isCreated ? 201 : 200, { ETag: formatTag(checkpoint.version) });
}

async function handleRead(context: AppContext): Promise<Response> {
  const channel = channelOf(context);
  const name = checkpointOf(context);
  queryOf(context, noQuerySchema);
  const { outcome } = await ask(context.env, channel, { type: "read-checkpoint", name }, ["checkpoint"]);
  const { version, contentType, updatedAtMs, value } = outcome.checkpoint;
  const headers = {
    "Content-Type": contentType,
    ...INERT_HEADERS,
    ETag: formatTag(version),
    "Channel-Updated-At-Ms": String(updatedAtMs),
  };
  return new Response(value, { headers });
}

async function handleDelete(context: AppContext): Promise<Response> {
  const channel = channelOf(context);
  const name = checkpointOf(context);
  queryOf(context, noQuerySchema);
  await refuseBody(context);
  const { headers } = context.req.raw;
  // Not left out in silence: what is meant as a condition must not delete without one.
  if (headers.has("If-None-Match")) throw new RefusalError(invalidRequest("/header/If-None-Match", "Expected If-Match"));
  const operation = { type: "delete-checkpoint", name, ...parseIfMatch(headers) } as const;
  const { outcome } = await ask(context.env, channel, operation, ["checkpoint-deleted"]);
  return context.json({ name: outcome.name, version: outcome.version });
}

interface Condition {
  readonly ifMatch?: CheckpointCondition;
}

function parseWriteCondition(headers: Headers): Condition {
  const ifNoneMatch = headers.get("If-None-Match");
  if (ifNoneMatch === null) return parseIfMatch(headers);
  if (headers.has("If-Match")) {
    throw new RefusalError(invalidRequest("/header/If-None-Match", "Expected either If-Match or If-None-Match"));
  }
  if (ifNoneMatch.trim() !== "*") throw new RefusalError(invalidRequest("/header/If-None-Match", "Expected *"));
  return { ifMatch: "absent" };
}

function parseIfMatch(headers: Headers): Condition {
  const given = headers.get("If-Match")?.trim();
  if (given === undefined) return {};
  if (given === "*") return { ifMatch: "present" };
  const [, version] = VERSION_TAG.exec(given) ?? [];
  if (version === undefined) throw new RefusalError(invalidRequest("/header/If-Match", 'Expected a version such as "7", or *'));
  return { ifMatch: Number(version) };
}

function formatTag(version: number): string {
  return `"${version}"`;
}
