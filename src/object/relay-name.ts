// Names of relays: which of them is meant, and how the worker, the channel and a relay tell each other.
import { LIMITS } from "../protocol/limits.ts";

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

/** The name of the object. */
export function formatRelayObject(channel: string, relay: string): string {
  return `${relay}/${channel}`;
}

/** The channel of an object, and which of its relays that is. Throws for what is no relay's. */
export function parseRelayObject(name: string): { readonly channel: string; readonly relay: RelayName } {
  const { relay, channel } = /^(?<relay>[^/]+\/[^/]+)\/(?<channel>.+)$/.exec(name)?.groups ?? {};
  const parsed = parseRelayName(relay);
  if (parsed === undefined || channel === undefined) throw new Error(`Not the name of a relay: ${name}`);
  return { channel, relay: parsed };
}
