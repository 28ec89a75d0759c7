// Connections for plain reading: the channel says whether they are its own or a relay's, and that is remembered for a moment.
import type { Env } from "../object/env.ts";
import { findRelay } from "../object/relay-stub.ts";
import { logWarning } from "../object/log.ts";
import {
  formatRelayName,
  parseJurisdiction,
  RELAY_FULL_HEADER,
  RELAY_HEADER,
  RELAY_JURISDICTION_HEADER,
} from "../object/relay-name.ts";
import { LIMITS } from "../protocol/limits.ts";
import type { Place } from "../protocol/place.ts";
import type { Jurisdiction } from "../protocol/placement.ts";
import { fetchFrom } from "./channel-client.ts";
import { toInternal } from "./object-socket.ts";
import { RefusalError } from "./refusal-error.ts";

/** Where readers of a channel at a colo are sent: the first relay that was not full, in the jurisdiction of the channel. */
interface RelayRoute {
  readonly place: number;
  readonly jurisdiction: Jurisdiction | undefined;
  readonly untilMs: number;
}

/** Of this isolate. By channel and colo. */
const routes = new Map<string, RelayRoute>();

/** Hands the upgrade of a connection for plain reading to who serves it. */
export async function fetchPlain(env: Env, channel: string, request: Request, place: Place | undefined): Promise<Response> {
  const { RELAYS } = env;
  if (RELAYS === undefined || place === undefined) return await fetchFrom(env, channel, toInternal(request, place, "plain"));
  const key = `${place.colo} ${channel}`;
  const known = routes.get(key);
  if (known !== undefined && known.untilMs > Date.now()) {
    const reply = await askRelays(RELAYS, { channel, request, place, first: known.place, jurisdiction: known.jurisdiction });
    if (reply !== undefined) return reply;
  }
  routes.delete(key);
  const reply = await fetchFrom(env, channel, toInternal(request, place, "plain"));
  if (!reply.headers.has(RELAY_HEADER)) return reply;
  const jurisdiction = parseJurisdiction(reply.headers.get(RELAY_JURISDICTION_HEADER));
  const relayed = await askRelays(RELAYS, { channel, request, place, first: 0, jurisdiction });
  if (relayed !== undefined) return relayed;
  throw new RefusalError({ kind: "unavailable", outcome: "not-applied", retryAfterMs: 1000 });
}

interface RelayedRequest {
  readonly channel: string;
  readonly request: Request;
  readonly place: Place;
  /** Which relay of the colo is asked first. */
  readonly first: number;
  readonly jurisdiction: Jurisdiction | undefined;
}

/** Asks the relays of a colo in turn, for one that is not full; undefined where none of them serves the request. */
async function askRelays(
  relays: DurableObjectNamespace,
  { channel, request, place, first, jurisdiction }: RelayedRequest,
): Promise<Response | undefined> {
  const { colo } = place;
  for (let which = first; which < LIMITS.relaysPerColoMax; which++) {
    const relay = formatRelayName({ colo, place: which });
    try {
      const reply = await findRelay(relays, { channel, relay, jurisdiction }).fetch(toInternal(request, place, "plain"));
      if (reply.headers.has(RELAY_FULL_HEADER)) continue;
      remember(`${colo} ${channel}`, { place: which, jurisdiction });
      return reply;
    } catch (error) {
      logWarning("relay-unavailable", { channel, relay, jurisdiction }, error);
      return undefined;
    }
  }
  return undefined;
}

function remember(key: string, route: Omit<RelayRoute, "untilMs">): void {
  if (routes.size >= LIMITS.relayRoutesMax) routes.clear();
  routes.set(key, { ...route, untilMs: Date.now() + LIMITS.relayRouteMs });
}
