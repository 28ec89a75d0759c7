// /v1/channels: create, list, describe, change and delete channels, and the upgrade of their sockets.
import type { Hono } from "hono";
import type { ChannelPage, ChannelQuery } from "../object/directory.ts";
import type { Env } from "../object/env.ts";
import { logWarning } from "../object/log.ts";
import { invalidRequest } from "../protocol/fault.ts";
import { LIMITS } from "../protocol/limits.ts";
import { deleteQuerySchema, listQuerySchema, noQuerySchema, socketQuerySchema } from "../protocol/routes.ts";
import { createBodySchema, placementOf } from "../protocol/placement.ts";
import { channelPatchSchema } from "../protocol/settings.ts";
import { ask, fetchFrom, placeChannel } from "./channel-client.ts";
import { formatStateHeaders } from "./message-headers.ts";
import { toInternal } from "./object-socket.ts";
import { fetchPlain } from "./plain-socket.ts";
import { RefusalError } from "./refusal-error.ts";
import { channelOf, jsonBodyOf, placeOf, queryOf, refuseBody, type AppContext } from "./request-parts.ts";

export type ListChannels = (env: Env, query: ChannelQuery) => Promise<ChannelPage>;

export function addChannelRoutes(app: Hono<{ Bindings: Env }>, listChannels: ListChannels): void {
  app.get("/v1/channels", (context) => handleList(context, listChannels));
  app.put("/v1/channels/:channel", handleCreate);
  app.get("/v1/channels/:channel", handleDescribe);
  app.patch("/v1/channels/:channel", handlePatch);
  app.delete("/v1/channels/:channel", handleDelete);
  app.get("/v1/channels/:channel/socket", handleSocket);
}

async function handleList(context: AppContext, listChannels: ListChannels): Promise<Response> {
  const { after, prefix, limit } = queryOf(context, listQuerySchema);
  const query = { ...(after !== undefined && { after }), ...(prefix !== undefined && { prefix }) };
  try {
    return context.json(await listChannels(context.env, { ...query, limit: limit ?? LIMITS.directoryPageDefault }));
  } catch (error) {
    logWarning("directory-unavailable", {}, error);
    throw new RefusalError({ kind: "unavailable", outcome: "not-applied", retryAfterMs: 1000 });
  }
}

async function handleCreate(context: AppContext): Promise<Response> {
  const channel = channelOf(context);
  queryOf(context, noQuerySchema);
  const body = await jsonBodyOf(context, createBodySchema, { bytesMax: LIMITS.controlBodyBytesMax, fallback: {} });
  const { locationHint, jurisdiction, ...settings } = body;
  if (locationHint !== undefined || jurisdiction !== undefined) await placeChannel(context.env, channel, placementOf(body));
  const { outcome, description } = await ask(context.env, channel, { type: "create", settings }, ["created", "confirmed"]);
  return context.json(description, outcome.type === "created" ? 201 : 200);
}

async function handleDescribe(context: AppContext): Promise<Response> {
  const channel = channelOf(context);
  queryOf(context, noQuerySchema);
  const { state, description } = await ask(context.env, channel, { type: "describe" }, ["described"]);
  return context.json(description, 200, formatStateHeaders(state));
}

async function handlePatch(context: AppContext): Promise<Response> {
  const channel = channelOf(context);
  queryOf(context, noQuerySchema);
  const patch = await jsonBodyOf(context, channelPatchSchema, { bytesMax: LIMITS.controlBodyBytesMax });
  const { description } = await ask(context.env, channel, { type: "patch", patch }, ["patched"]);
  return context.json(description);
}

async function handleDelete(context: AppContext): Promise<Response> {
  const channel = channelOf(context);
  const { graceMs, force } = queryOf(context, deleteQuerySchema);
  await refuseBody(context);
  if (force === "true" && graceMs !== undefined && graceMs > 0) {
    throw new RefusalError(invalidRequest("/query/force", "Expected either force or graceMs: force does not wait"));
  }
  const operation = { type: "delete", graceMs: force === "true" ? 0 : (graceMs ?? LIMITS.graceMsDefault) } as const;
  const { outcome, description } = await ask(context.env, channel, operation, ["deleted", "deleting"]);
  if (outcome.type === "deleting") return context.json(description, 202);
  return context.json({ state: "deleted", droppedMessages: outcome.droppedMessages });
}

/** Hands the upgrade to the object. The reply is wrapped anew: middleware can not change the headers of a foreign one. */
async function handleSocket(context: AppContext): Promise<Response> {
  const channel = channelOf(context);
  const { read } = queryOf(context, socketQuerySchema);
  const [request, place] = [context.req.raw, placeOf(context)];
  const reply =
    read === "plain"
      ? await fetchPlain(context.env, channel, request, place)
      : await fetchFrom(context.env, channel, toInternal(request, place));
  return new Response(reply.body, { status: reply.status, headers: reply.headers, webSocket: reply.webSocket });
}
