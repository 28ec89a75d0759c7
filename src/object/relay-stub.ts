// The object of a relay as others see it, and how it is found.
import { findColo } from "../protocol/colos.ts";
import type { Jurisdiction, LocationHint } from "../protocol/placement.ts";
import type { RelayDescription } from "../protocol/relay-routes.ts";
import { formatRelayObject, parseRelayName, type RelayAddress } from "./relay-name.ts";

/** What a channel and a worker can ask of the object of a relay. */
export interface RelayStub {
  /** Something came for its readers, or may have. */
  wake(): Promise<{ readonly readers: number }>;
  describe(): Promise<RelayDescription>;
  fetch(request: Request): Promise<Response>;
}

/** The areas that lie in a jurisdiction: a hint at another one would contradict it. */
const AREAS_WITHIN: Readonly<Record<Jurisdiction, readonly LocationHint[]>> = { eu: ["weur", "eeur"], fedramp: ["wnam", "enam"] };

/**
 * A fresh stub each time: one that failed may go on failing. The first of all places the object, in the jurisdiction of its channel and near its
 * colo (rule RY13). Throws where the runtime has no such jurisdiction.
 */
export function findRelay(relays: DurableObjectNamespace, address: RelayAddress): RelayStub {
  const { relay, jurisdiction } = address;
  const area = findColo(parseRelayName(relay)?.colo ?? "")?.region;
  const isWithin = area !== undefined && (jurisdiction === undefined || AREAS_WITHIN[jurisdiction].includes(area));
  const namespace = jurisdiction === undefined ? relays : relays.jurisdiction(jurisdiction);
  // The generic stub type knows nothing of our class; the two are deployed together.
  return namespace.getByName(formatRelayObject(address), isWithin ? { locationHint: area } : {}) as unknown as RelayStub;
}
