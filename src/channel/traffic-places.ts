// Where the traffic of a channel comes from lately. SPEC rule NM12.
import { REGIONS } from "../protocol/colos.ts";
import type { LocationHint } from "../protocol/placement.ts";

/** Messages in a second that somebody put or was sent, in an area. */
export interface TrafficShare {
  readonly region: string | undefined;
  readonly ratePerSecond: number;
}

/** The area that more than half of the traffic comes from whose place is known; null where none is, or nothing comes. */
export function findMainRegion(shares: Iterable<TrafficShare>): LocationHint | null {
  const rates = new Map<string, number>();
  let total = 0;
  for (const { region, ratePerSecond } of shares) {
    if (region === undefined) continue;
    rates.set(region, (rates.get(region) ?? 0) + ratePerSecond);
    total += ratePerSecond;
  }
  return REGIONS.find((region) => 2 * (rates.get(region) ?? 0) > total) ?? null;
}
