// Where a request was made: as the runtime says, or in development as the request itself says, so that one machine can play the world.
import type { Env } from "../object/env.ts";
import { makePlace, type Place } from "../protocol/place.ts";
import { isDevelopment } from "./auth.ts";

/** The headers by which a request chooses its place in development. A deployment ignores them. */
const CHOICE = {
  colo: "Edge-Colo",
  region: "Edge-Region",
  continent: "Edge-Continent",
  country: "Edge-Country",
} as const;

/** Undefined where the runtime tells nothing, as locally. */
export function findPlace(request: Request, env: Env): Place | undefined {
  if (request.headers.has(CHOICE.colo) && isDevelopment(new URL(request.url).hostname, env)) return readChoice(request.headers);
  const { cf } = request;
  return cf === undefined
    ? undefined
    : makePlace(cf["colo"], { region: undefined, continent: cf["continent"], country: cf["country"] });
}

function readChoice(headers: Headers): Place | undefined {
  const { colo, region, continent, country } = CHOICE;
  return makePlace(headers.get(colo), {
    region: headers.get(region),
    continent: headers.get(continent),
    country: headers.get(country),
  });
}
