// /v1/channels/{channel}/move: takes a channel to another place.
import type { Hono } from "hono";
import type { Env } from "../object/env.ts";
import { LIMITS } from "../protocol/limits.ts";
import { placementSchema } from "../protocol/placement.ts";
import { noQuerySchema } from "../protocol/routes.ts";
import { ask, moveChannel } from "./channel-client.ts";
import { channelOf, jsonBodyOf, queryOf, type AppContext } from "./request-parts.ts";

export function addMoveRoute(app: Hono<{ Bindings: Env }>): void {
  app.post("/v1/channels/:channel/move", handleMove);
}

async function handleMove(context: AppContext): Promise<Response> {
  const channel = channelOf(context);
  queryOf(context, noQuerySchema);
  const placement = await jsonBodyOf(context, placementSchema, { bytesMax: LIMITS.controlBodyBytesMax });
  await moveChannel(context.env, channel, placement);
  const { description } = await ask(context.env, channel, { type: "describe" }, ["described"]);
  return context.json(description);
}
