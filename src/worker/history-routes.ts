// /v1/channels/{channel}/messages/{offset}/history: what happened to a message.
import type { Hono } from "hono";
import type { Env } from "../object/env.ts";
import { noQuerySchema } from "../protocol/routes.ts";
import { ask } from "./channel-client.ts";
import { formatStateHeaders } from "./message-headers.ts";
import { channelOf, offsetOf, queryOf, type AppContext } from "./request-parts.ts";

export function addHistoryRoutes(app: Hono<{ Bindings: Env }>): void {
  app.get("/v1/channels/:channel/messages/:offset/history", handleHistory);
}

async function handleHistory(context: AppContext): Promise<Response> {
  const channel = channelOf(context);
  const offset = offsetOf(context);
  queryOf(context, noQuerySchema);
  const { outcome, state } = await ask(context.env, channel, { type: "history", offset }, ["history"]);
  return context.json(outcome.history, 200, formatStateHeaders(state));
}
