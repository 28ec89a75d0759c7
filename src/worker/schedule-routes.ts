// /v1/channels/{channel}/scheduled: look at delayed messages and cancel them.
import type { Hono } from "hono";
import type { Env } from "../object/env.ts";
import { LIMITS } from "../protocol/limits.ts";
import { formatScheduled } from "../protocol/message.ts";
import { noQuerySchema, scheduledQuerySchema } from "../protocol/routes.ts";
import { ask } from "./channel-client.ts";
import { formatStateHeaders, replyJson } from "./message-headers.ts";
import { channelOf, queryOf, refuseBody, scheduledIdOf, type AppContext } from "./request-parts.ts";

const SCHEDULED = "/v1/channels/:channel/scheduled";

export function addScheduleRoutes(app: Hono<{ Bindings: Env }>): void {
  app.get(SCHEDULED, handleList);
  app.delete(`${SCHEDULED}/:scheduledId`, handleCancel);
}

async function handleList(context: AppContext): Promise<Response> {
  const channel = channelOf(context);
  const { after, limit = LIMITS.scheduledPageDefault } = queryOf(context, scheduledQuerySchema);
  const operation = { type: "list-scheduled", limit, ...(after !== undefined && { after }) } as const;
  const { outcome, state } = await ask(context.env, channel, operation, ["scheduled-page"]);
  const { messages, next } = outcome;
  return replyJson(`{"scheduled":[${messages.map(formatScheduled).join(",")}],"next":${JSON.stringify(next)}}`, state);
}

async function handleCancel(context: AppContext): Promise<Response> {
  const channel = channelOf(context);
  const scheduledId = scheduledIdOf(context);
  queryOf(context, noQuerySchema);
  await refuseBody(context);
  const operation = { type: "cancel-scheduled", scheduledId } as const;
  const { outcome, state } = await ask(context.env, channel, operation, ["unscheduled"]);
  return context.json({ scheduledId: outcome.scheduledId }, 200, formatStateHeaders(state));
}
