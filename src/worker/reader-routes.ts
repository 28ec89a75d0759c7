// /v1/channels/{channel}/readers: who reads and who puts, and from where.
import type { Hono } from "hono";
import type { Operation } from "../channel/operation.ts";
import type { Env } from "../object/env.ts";
import { LIMITS } from "../protocol/limits.ts";
import { readersQuerySchema } from "../protocol/reader-routes.ts";
import { ask } from "./channel-client.ts";
import { channelOf, queryOf, type AppContext } from "./request-parts.ts";

export function addReaderRoutes(app: Hono<{ Bindings: Env }>): void {
  app.get("/v1/channels/:channel/readers", handleList);
}

async function handleList(context: AppContext): Promise<Response> {
  const channel = channelOf(context);
  const { after, limit = LIMITS.readersPageDefault, colo, group, role } = queryOf(context, readersQuerySchema);
  const operation: Operation = {
    type: "list-readers",
    limit,
    ...(after !== undefined && { after }),
    ...(colo !== undefined && { colo }),
    ...(group !== undefined && { group }),
    ...(role !== undefined && { role }),
  };
  const { outcome } = await ask(context.env, channel, operation, ["readers"]);
  return context.json({ readers: outcome.readers, colos: outcome.colos, next: outcome.next });
}
