// Names of relays: which of them is meant, and how the worker, the channel and a relay tell each other.
import { LIMITS } from "../protocol/limits.ts";
import { JURISDICTIONS, type Jurisdiction } from "../protocol/placement.ts";

/** A relay of a channel: where its readers are, and the how manieth of that colo it is, from 0. */
export interface RelayName {
  readonly colo: string;
  readonly place: number;
}

/** Of a request from the worker to a channel: the connection is for plain reading alone. Clients do not get through with it. */
export const READS_HEADER = "Edge-Reads";
export const READS_PLAINLY = "plain";

/** Of a relay's request to its channel: which one it is. Of a channel's answer: the colo whose relay is to be asked. */
export const RELAY_HEADER = "Edge-Relay";

/** Of a relay's request to its channel, and of the channel's answer: the jurisdiction of the relay; absent without one. */
export const RELAY_JURISDICTION_HEADER = "Edge-Relay-Jurisdiction";

/** Of a channel's answer to a relay that is not where its relays are. */
export const RELAY_MISPLACED_HEADER = "Edge-Relay-Misplaced";

/** Of a relay's answer: it has as many readers as it may. */
export const RELAY_FULL_HEADER = "Edge-Relay-Full";

export function formatRelayName({ colo, place }: RelayName): string {
  return `${colo}/${place}`;
}

/** Undefined for what is no such name. */
export function parseRelayName(text: string | null | undefined): RelayName | undefined {
  const { colo, place } = /^(?<colo>[A-Z]{3})\/(?<place>0|[1-9]\d{0,3})$/.exec(text ?? "")?.groups ?? {};
  return colo === undefined || Number(place) >= LIMITS.relaysPerColoMax ? undefined : { colo, place: Number(place) };
}

/** Which object a relay is: its name (`formatRelayName`), and the jurisdiction of its channel. */
export interface RelayAddress {
  readonly channel: string;
  readonly relay: string;
  readonly jurisdiction: Jurisdiction | undefined;
}

/** The name of the object, by which it knows its jurisdiction too. */
export function formatRelayObject({ channel, relay, jurisdiction }: RelayAddress): string {
  return jurisdiction === undefined ? `${relay}/${channel}` : `${relay}@${jurisdiction}/${channel}`;
}

/** The channel of an object, and which of its relays that is. Throws for what is no relay's. */
export function parseRelayObject(name: string): RelayAddress & RelayName {
  const {
    relay = "",
    within,
    channel,
  } = /^(?<relay>[^/]+\/[^/@]+)(?:@(?<within>[^/]+))?\/(?<channel>.+)$/.exec(name)?.groups ?? {};
  const [parsed, jurisdiction] = [parseRelayName(relay), parseJurisdiction(within)];
  if (parsed === undefined || channel === undefined || (within !== undefined && jurisdiction === undefined))
    throw new Error(`Not the name of a relay: ${name}`);
  return { channel, relay, jurisdiction, ...parsed };
}

/** Undefined for none. */
export function parseJurisdiction(text: string | null | undefined): Jurisdiction | undefined {
  return JURISDICTIONS.find((jurisdiction) => jurisdiction === text);
}
