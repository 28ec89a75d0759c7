// Connections for plain reading: the channel says whether they are its own or a relay's, and that is remembered for a moment.
import type { Env } from "../object/env.ts";
import type { RelayStub } from "../object/relay-stub.ts";
import { logWarning } from "../object/log.ts";
import { formatRelayName, formatRelayObject, RELAY_FULL_HEADER, RELAY_HEADER } from "../object/relay-name.ts";
import { LIMITS } from "../protocol/limits.ts";
import type { Place } from "../protocol/place.ts";
import { fetchFrom } from "./channel-client.ts";
import { toInternal } from "./object-socket.ts";
import { RefusalError } from "./refusal-error.ts";

/** Where readers of a channel at a colo are sent: the first relay that was not full. */
interface RelayRoute {
  readonly place: number;
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
    const reply = await askRelays(RELAYS, { channel, request, place, first: known.place });
    if (reply !== undefined) return reply;
  }
  routes.delete(key);
  const reply = await fetchFrom(env, channel, toInternal(request, place, "plain"));
  if (!reply.headers.has(RELAY_HEADER)) return reply;
  const relayed = await askRelays(RELAYS, { channel, request, place, first: 0 });
  if (relayed !== undefined) return relayed;
  throw new RefusalError({ kind: "unavailable", outcome: "not-applied", retryAfterMs: 1000 });
}

interface RelayedRequest {
  readonly channel: string;
  readonly request: Request;
  readonly place: Place;
  /** Which relay of the colo is asked first. */
  readonly first: number;
}

/** Asks the relays of a colo in turn, for one that is not full; undefined where none of them serves the request. */
async function askRelays(
  relays: DurableObjectNamespace,
  { channel, request, place, first }: RelayedRequest,
): Promise<Response | undefined> {
  const { colo, region } = place;
  for (let which = first; which < LIMITS.relaysPerColoMax; which++) {
    const name = formatRelayObject(channel, formatRelayName({ colo, place: which }));
    const hint = region === undefined ? {} : { locationHint: region as DurableObjectLocationHint };
    const stub = relays.getByName(name, hint) as unknown as RelayStub;
    try {
      const reply = await stub.fetch(toInternal(request, place, "plain"));
      if (reply.headers.has(RELAY_FULL_HEADER)) continue;
      remember(`${colo} ${channel}`, which);
      return reply;
    } catch (error) {
      logWarning("relay-unavailable", { channel, relay: name }, error);
      return undefined;
    }
  }
  return undefined;
}

function remember(key: string, place: number): void {
  if (routes.size >= LIMITS.relayRoutesMax) routes.clear();
  routes.set(key, { place, untilMs: Date.now() + LIMITS.relayRouteMs });
}
