// /v1/channels/{channel}/relays: what stands between a channel and its plain readers.
import type { Hono } from "hono";
import type { Env } from "../object/env.ts";
import { logWarning } from "../object/log.ts";
import { findRelay } from "../object/relay-stub.ts";
import { parseJurisdiction } from "../object/relay-name.ts";
import { LIMITS } from "../protocol/limits.ts";
import { relaysQuerySchema } from "../protocol/relay-routes.ts";
import { ask } from "./channel-client.ts";
import { RefusalError } from "./refusal-error.ts";
import { channelOf, queryOf, type AppContext } from "./request-parts.ts";

export function addRelayRoutes(app: Hono<{ Bindings: Env }>): void {
  app.get("/v1/channels/:channel/relays", handleList);
}

async function handleList(context: AppContext): Promise<Response> {
  const channel = channelOf(context);
  const { after = "", limit = LIMITS.relaysPageMax } = queryOf(context, relaysQuerySchema);
  const { description } = await ask(context.env, channel, { type: "describe" }, ["described"]);
  const names = description?.relays.filter((name) => name > after) ?? [];
  const { RELAYS } = context.env;
  if (RELAYS === undefined) return context.json({ relays: [], next: null });
  const asked = names.slice(0, limit);
  const jurisdiction = parseJurisdiction(description?.place.jurisdiction);
  try {
    const relays = await Promise.all(asked.map((relay) => findRelay(RELAYS, { channel, relay, jurisdiction }).describe()));
    return context.json({ relays, next: asked.length < names.length ? (asked.at(-1) ?? null) : null });
  } catch (error) {
    logWarning("relay-unavailable", { channel }, error);
    throw new RefusalError({ kind: "unavailable", outcome: "not-applied", retryAfterMs: 1000 });
  }
}
