// A socket from the worker to the object of a channel: the object may hibernate meanwhile, while this side waits for free.
import type { Env } from "../object/env.ts";
import { SUBPROTOCOL_JSON } from "../protocol/version.ts";
import { fetchFrom } from "./channel-client.ts";

/** Opens one, not accepted yet and without a greeting; null when the object did not answer with one. */
export async function openObjectSocket(env: Env, channel: string): Promise<WebSocket | null> {
  const upgrade = new Request("https://channel/socket", {
    headers: { Upgrade: "websocket", "Sec-WebSocket-Protocol": SUBPROTOCOL_JSON },
  });
  const reply = await fetchFrom(env, channel, upgrade);
  return reply.webSocket;
}
