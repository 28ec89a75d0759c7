// Where a channel is: which object of its name holds it, and where that was asked to be (SPEC section NM).
import * as v from "valibot";
import { REGIONS } from "./colos.ts";
import { givenSettingsSchema } from "./settings.ts";

/** Where an object can be asked to be near, as the platform names it. */
export const LOCATION_HINTS = REGIONS;
/** What an object can be bound to. */
export const JURISDICTIONS = ["eu", "fedramp"] as const;

export type LocationHint = (typeof LOCATION_HINTS)[number];
export type Jurisdiction = (typeof JURISDICTIONS)[number];

export interface Placement {
  readonly locationHint?: LocationHint;
  readonly jurisdiction?: Jurisdiction;
}

/** As a program gives it: one of both. */
export interface PlacementGiven {
  readonly locationHint?: LocationHint | undefined;
  readonly jurisdiction?: Jurisdiction | undefined;
}

/** The object that holds a channel. */
export interface ChannelRoute extends Placement {
  /** Rises by one with each change of the route. */
  readonly epoch: number;
  /** The number of the object: 0 is the authority, and no other number is used twice. */
  readonly generation: number;
}

/** That of every channel that never moved. */
export const HOME_ROUTE: ChannelRoute = { epoch: 0, generation: 0 };

const hintSchema = v.picklist(LOCATION_HINTS, `Expected one of ${LOCATION_HINTS.join(", ")}`);
const jurisdictionSchema = v.picklist(JURISDICTIONS, `Expected one of ${JURISDICTIONS.join(", ")}`);

/** The members that name a place. */
const placementEntries = { locationHint: v.exactOptional(hintSchema), jurisdiction: v.exactOptional(jurisdictionSchema) };

/** One of both. */
export const placementSchema = v.pipe(
  v.strictObject(placementEntries),
  v.check(
    ({ locationHint, jurisdiction }) => (locationHint === undefined) !== (jurisdiction === undefined),
    "Expected either locationHint or jurisdiction",
  ),
);

/** The body of `PUT /v1/channels/{channel}`: every member is optional. A place counts at creation alone. */
export const createBodySchema = v.pipe(
  v.strictObject({ ...givenSettingsSchema.entries, ...placementEntries }),
  v.check(
    ({ locationHint, jurisdiction }) => locationHint === undefined || jurisdiction === undefined,
    "Expected either locationHint or jurisdiction",
  ),
);

/** Whether both name the same place. */
export function isSamePlacement(a: Placement, b: Placement): boolean {
  return a.locationHint === b.locationHint && a.jurisdiction === b.jurisdiction;
}

/** Of a route alone. */
export function placementOf({ locationHint, jurisdiction }: Placement): Placement {
  return { ...(locationHint !== undefined && { locationHint }), ...(jurisdiction !== undefined && { jurisdiction }) };
}

/**
 * Whether `next` may take the place of `known`, the route by which an object was asked that sent on to `next`; undefined where the authority was
 * asked because nothing was known. A route that points at the object that told it, or is of an epoch that is over, leads nowhere (rule NM4).
 */
export function leadsOn(next: ChannelRoute, known: ChannelRoute | undefined): boolean {
  if (known === undefined) return next.generation > 0;
  return next.epoch > known.epoch && next.generation !== known.generation;
}

/** The name of an object. No name of a channel has a slash. */
export function formatObjectName(channel: string, generation: number): string {
  return generation === 0 ? channel : `${generation}/${channel}`;
}

/** What the name of an object says. */
export function parseObjectName(name: string): { readonly channel: string; readonly generation: number } {
  const slash = name.indexOf("/");
  return slash === -1
    ? { channel: name, generation: 0 }
    : { channel: name.slice(slash + 1), generation: Number(name.slice(0, slash)) };
}

/** A route as a header has it; undefined for text that is none. */
export function parseRoute(text: string | null): ChannelRoute | undefined {
  return text === null ? undefined : (JSON.parse(text) as ChannelRoute);
}
