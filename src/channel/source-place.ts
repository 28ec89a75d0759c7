// The place that a source tells of: its colo, with what the table of colos knows of it.
import { findColo } from "../protocol/colos.ts";
import { makePlace, type Place } from "../protocol/place.ts";
import type { Source } from "../protocol/source.ts";

/** Undefined where the source tells no colo. */
export function placeOfSource({ colo, continent }: Source): Place | undefined {
  const areas = findColo(colo ?? "") ?? { region: undefined, continent, country: undefined };
  return makePlace(colo, areas);
}
