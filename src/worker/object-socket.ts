// A socket from the worker to the object of a channel: the object may hibernate meanwhile, while this side waits for free.
import type { Env } from "../object/env.ts";
import { formatPlace, PLACE_HEADER, type Place } from "../protocol/place.ts";
import { READS_HEADER, RELAY_HEADER, type READS_PLAINLY } from "../object/relay-name.ts";
import { SUBPROTOCOL_BIN, SUBPROTOCOL_JSON } from "../protocol/version.ts";
import { fetchFrom } from "./channel-client.ts";

/**
 * Opens one for who is at `place`, not accepted yet and without a greeting; null when the object did not answer with one. `isBinary`: whether
 * messages come in binary frames.
 */
export async function openObjectSocket(
  env: Env,
  channel: string,
  { place, isBinary = false }: { readonly place: Place | undefined; readonly isBinary?: boolean },
): Promise<WebSocket | null> {
  const reply = await fetchFrom(env, channel, toInternal(makeUpgrade(isBinary), place));
  return reply.webSocket;
}

/** The request for a socket of the worker's own. */
export function makeUpgrade(isBinary = false): Request {
  const headers = { Upgrade: "websocket", "Sec-WebSocket-Protocol": isBinary ? SUBPROTOCOL_BIN : SUBPROTOCOL_JSON };
  return new Request("https://channel/socket", { headers });
}

/**
 * The request as it goes to the object: with its place, or without any, and with what it is for, whatever the client says. `reads`: `plain`
 * for a connection that is opened for plain reading.
 */
export function toInternal(request: Request, place: Place | undefined, reads?: typeof READS_PLAINLY): Request {
  const internal = new Request(request);
  const { headers } = internal;
  headers.delete(RELAY_HEADER);
  if (place === undefined) headers.delete(PLACE_HEADER);
  else headers.set(PLACE_HEADER, formatPlace(place));
  if (reads === undefined) headers.delete(READS_HEADER);
  else headers.set(READS_HEADER, reads);
  return internal;
}
