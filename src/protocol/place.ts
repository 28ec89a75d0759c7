// Where a request was made: the edge location that it reached, with the areas that this lies in. The worker tells the object by one short text.

export interface Place {
  /** The edge location, an IATA code in capitals. */
  readonly colo: string;
  /** The group of colos, named as the location hint that stands for it; absent where it is not known. */
  readonly region?: string;
  /** Two letters. */
  readonly continent?: string;
  /** ISO 3166-1 alpha-2. */
  readonly country?: string;
}

/** The code of a colo, also of one that is not in the table: those of airports have three letters. */
export const COLO_PATTERN = /^[A-Z]{3}$/;

/** The header of a worker's request to an object. Nobody else reaches an object, and what a client sends under this name is not passed on. */
export const PLACE_HEADER = "Edge-Place";

/** `colo/region/continent/country`, the unknown ones empty. */
export function formatPlace({ colo, region = "", continent = "", country = "" }: Place): string {
  return `${colo}/${region}/${continent}/${country}`;
}

/** Undefined for what is no place. */
export function parsePlace(text: string | null | undefined): Place | undefined {
  const [colo = "", region = "", continent = "", country = ""] = text?.split("/") ?? [];
  return makePlace(colo, { region, continent, country });
}

/** A place of what the runtime says, of whatever type: parts that are no short names are left out. Undefined without a colo. */
export function makePlace(
  colo: unknown,
  areas: Readonly<Record<"region" | "continent" | "country", unknown>>,
): Place | undefined {
  if (typeof colo !== "string" || !COLO_PATTERN.test(colo)) return undefined;
  const [region, continent, country] = [nameOf(areas.region), nameOf(areas.continent), nameOf(areas.country)];
  return {
    colo,
    ...(region !== undefined && { region }),
    ...(continent !== undefined && { continent }),
    ...(country !== undefined && { country }),
  };
}

function nameOf(value: unknown): string | undefined {
  return typeof value === "string" && /^[A-Za-z0-9]{1,8}$/.test(value) ? value : undefined;
}
