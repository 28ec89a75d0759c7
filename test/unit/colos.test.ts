// The table of Cloudflare's colos, and distances between them.
import { describe, expect, test } from "vitest";
import { allColos, CONTINENTS, distanceKm, findColo, REGIONS, type Colo } from "../../src/protocol/colos.ts";

/** The continents that lie in each region. Countries between two continents are where networks lead, not where maps draw the line. */
const CONTINENTS_OF: Readonly<Record<(typeof REGIONS)[number], readonly string[]>> = {
  wnam: ["NA"],
  enam: ["NA"],
  sam: ["SA"],
  weur: ["EU"],
  eeur: ["EU", "AS"],
  apac: ["AS"],
  oc: ["OC"],
  afr: ["AF"],
  me: ["AS"],
};

function need(code: string): Colo {
  const colo = findColo(code);
  if (colo === undefined) throw new Error(`No colo ${code}`);
  return colo;
}

function isSound({ code, city, country, continent, region, latitude, longitude }: Colo): boolean {
  const isNamed = /^[A-Z]{3}$/u.test(code) && /^\p{Lu}[\p{L}.' -]+$/u.test(city) && /^[A-Z]{2}$/u.test(country);
  const isPlaced = CONTINENTS.includes(continent) && CONTINENTS_OF[region].includes(continent);
  const isOnLand = Math.abs(latitude) < 72 && Math.abs(longitude) <= 180 && (latitude !== 0 || longitude !== 0);
  return isNamed && isPlaced && isOnLand;
}

describe("the table of colos", () => {
  test("has all that Cloudflare publishes, each row sound", () => {
    const colos = allColos();

    // As many as the rows: a code that came twice would be one here.
    expect(colos.size).toBe(339);
    expect([...colos].filter(([code, colo]) => colo.code !== code || !isSound(colo))).toEqual([]);
  });

  test("has a colo in each region, and no city twice", () => {
    const colos = [...allColos().values()];

    expect(new Set(colos.map(({ city, country }) => `${city} ${country}`)).size).toBe(colos.length);
    expect(new Set(colos.map(({ region }) => region))).toEqual(new Set(REGIONS));
  });

  test.each([
    ["FRA", "Frankfurt", "DE", "EU", "weur", 50.03, 8.54],
    ["WAW", "Warsaw", "PL", "EU", "eeur", 52.17, 20.97],
    ["IAD", "Ashburn", "US", "NA", "enam", 38.94, -77.46],
    ["SJC", "San Jose", "US", "NA", "wnam", 37.36, -121.93],
    ["YYC", "Calgary", "CA", "NA", "wnam", 51.11, -114.02],
    ["GRU", "São Paulo", "BR", "SA", "sam", -23.44, -46.47],
    ["NRT", "Tokyo", "JP", "AS", "apac", 35.76, 140.39],
    ["SYD", "Sydney", "AU", "OC", "oc", -33.95, 151.18],
    ["JNB", "Johannesburg", "ZA", "AF", "afr", -26.13, 28.25],
    ["DXB", "Dubai", "AE", "AS", "me", 25.25, 55.36],
    ["SSA", "Salvador", "BR", "SA", "sam", -12.91, -38.32],
  ])("has %s, %s", (code, city, country, continent, region, latitude, longitude) => {
    expect(findColo(code)).toEqual({ code, city, country, continent, region, latitude, longitude });
  });

  test("says of what is not in it that it is not", () => {
    for (const code of ["", "XXX", "fra", "FRA ", "__proto__"]) expect(findColo(code)).toBeUndefined();
  });
});

describe("distances", () => {
  test.each([
    ["LHR", "EWR", 5570],
    ["FRA", "SIN", 10_260],
    ["SYD", "LAX", 12_050],
    ["SUV", "HNL", 5090],
  ])("from %s to %s are about %i km", (from, to, expected) => {
    expect(Math.abs(distanceKm(need(from), need(to)) - expected)).toBeLessThan(50);
    expect(distanceKm(need(to), need(from))).toBeCloseTo(distanceKm(need(from), need(to)), 6);
  });

  test("are none to itself, and at most half of the earth's circumference", () => {
    expect(distanceKm(need("FRA"), need("FRA"))).toBe(0);
    expect(distanceKm({ latitude: 10, longitude: 20 }, { latitude: -10, longitude: -160 })).toBeCloseTo(Math.PI * 6371, 3);
  });
});
