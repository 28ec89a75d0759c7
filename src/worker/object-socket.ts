// A socket from the worker to the object of a channel: the object may hibernate meanwhile, while this side waits for free.
import type { Env } from "../object/env.ts";
import { formatPlace, PLACE_HEADER, type Place } from "../protocol/place.ts";
import { SUBPROTOCOL_JSON } from "../protocol/version.ts";
import { fetchFrom } from "./channel-client.ts";

/**
 * Opens one for who is at `place`, not accepted yet and without a greeting; null when the object did not answer with one.
 */
export async function openObjectSocket(env: Env, channel: string, place: Place | undefined): Promise<WebSocket | null> {
  const headers = { Upgrade: "websocket", "Sec-WebSocket-Protocol": SUBPROTOCOL_JSON };
  const reply = await fetchFrom(env, channel, withPlace(new Request("https://channel/socket", { headers }), place));
  return reply.webSocket;
}

/** The request as it goes to the object: with its place, or without any, whatever the client says. */
export function withPlace(request: Request, place: Place | undefined): Request {
  const placed = new Request(request);
  if (place === undefined) placed.headers.delete(PLACE_HEADER);
  else placed.headers.set(PLACE_HEADER, formatPlace(place));
  return placed;
}
