// Where a request was made: as the runtime says, or in development as the request itself says, so that one machine can play the world.
import type { Env } from "../object/env.ts";
import { CONTINENTS, findColo, REGIONS } from "../protocol/colos.ts";
import { invalidRequest } from "../protocol/fault.ts";
import { makePlace, type Place } from "../protocol/place.ts";
import { isDevelopment } from "./auth.ts";
import { RefusalError } from "./refusal-error.ts";

/** The headers by which a request chooses its place in development. A deployment ignores them. */
const CHOICE = {
  colo: "Edge-Colo",
  region: "Edge-Region",
  continent: "Edge-Continent",
  country: "Edge-Country",
} as const;

/**
 * Undefined where the runtime tells nothing, as locally. Where a known colo lies is what the table of colos says; the runtime's continent
 * and country serve for one that is not in it.
 */
export function findPlace(request: Request, env: Env): Place | undefined {
  if (request.headers.has(CHOICE.colo) && isDevelopment(new URL(request.url).hostname, env)) return readChoice(request.headers);
  const { cf } = request;
  if (cf === undefined) return undefined;
  const colo = typeof cf["colo"] === "string" ? findColo(cf["colo"]) : undefined;
  return colo === undefined
    ? makePlace(cf["colo"], { region: undefined, continent: cf["continent"], country: cf["country"] })
    : makePlace(colo.code, colo);
}

/** Throws for a colo or an area that does not exist. */
function readChoice(headers: Headers): Place | undefined {
  const colo = findColo(headers.get(CHOICE.colo) ?? "");
  if (colo === undefined) throw refuseChoice(CHOICE.colo, "the code of one of Cloudflare's colos in capitals, as FRA");
  const region = headers.get(CHOICE.region) ?? colo.region;
  if (!REGIONS.some((one) => one === region)) throw refuseChoice(CHOICE.region, `one of ${REGIONS.join(", ")}`);
  const continent = headers.get(CHOICE.continent) ?? colo.continent;
  if (!CONTINENTS.some((one) => one === continent)) throw refuseChoice(CHOICE.continent, `one of ${CONTINENTS.join(", ")}`);
  const country = headers.get(CHOICE.country) ?? colo.country;
  if (!/^[A-Z]{2}$/.test(country)) throw refuseChoice(CHOICE.country, "two capitals, as DE");
  return makePlace(colo.code, { region, continent, country });
}

function refuseChoice(header: string, expected: string): RefusalError {
  return new RefusalError(invalidRequest(`/header/${header}`, `Expected ${expected}`));
}
