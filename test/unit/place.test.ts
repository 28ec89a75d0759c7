// Where a request was made, as the worker tells the object.
import { describe, expect, test } from "vitest";
import { formatPlace, makePlace, parsePlace, type Place } from "../../src/protocol/place.ts";

const FRANKFURT: Place = { colo: "FRA", region: "weur", continent: "EU", country: "DE" };

describe("src/protocol/place", () => {
  test.each<Place>([FRANKFURT, { colo: "FRA" }, { colo: "XXX", continent: "EU" }, { colo: "FRA", country: "DE" }])(
    "reads what it writes: %o",
    (place) => {
      expect(parsePlace(formatPlace(place))).toEqual(place);
    },
  );

  test.each([null, undefined, "", "/weur/EU/DE", "a b/weur/EU/DE", "TOOLONGNAME"])("takes %j for no place", (text) => {
    expect(parsePlace(text)).toBeUndefined();
  });

  test("leaves out what is no short name, and is nothing without a colo", () => {
    const areas = { region: undefined, continent: "EU", country: "no/country" };
    expect(makePlace("FRA", areas)).toEqual({ colo: "FRA", continent: "EU" });
    expect([undefined, 7, "", "a/b"].map((colo) => makePlace(colo, areas))).toEqual([undefined, undefined, undefined, undefined]);
  });
});
