// What the demo of the world draws and says: pure functions of what was counted.
import { describe, expect, test } from "vitest";
import { nearnessOf, needColo } from "../../src/examples/demo/nearness.ts";
import { drawMap, MAP_COLUMNS_MAX, MAP_COLUMNS_MIN } from "../../src/examples/demo/world-map.ts";
import {
  type ExampleRoute,
  explainRoute,
  formatReaders,
  localShareOf,
  mapDeliveries,
  type ReaderTally,
} from "../../src/examples/demo/world-report.ts";

const READERS: readonly ReaderTally[] = [
  { name: "IAD-1", colo: "IAD", got: { colo: 1200, region: 30, continent: 4, any: 0 } },
  { name: "GRU-1", colo: "GRU", got: { colo: 60, region: 0, continent: 0, any: 6 } },
];

const EXAMPLE: ExampleRoute = {
  offset: 7,
  origin: "IAD",
  reader: "EWR-2",
  colo: "EWR",
  nearness: "region",
  route: { tier: "region", reason: "pow2", candidates: 2, load: 1 },
};

describe("src/examples/demo/nearness", () => {
  test.each([
    ["IAD", "IAD", "colo"],
    ["IAD", "EWR", "region"],
    ["IAD", "SJC", "continent"],
    ["IAD", "GRU", "any"],
  ])("from %s to %s is %s", (origin, reader, expected) => {
    expect(nearnessOf(needColo(origin), needColo(reader))).toBe(expected);
  });

  test("a colo that does not exist is an error", () => {
    expect(() => needColo("XYZ")).toThrow("There is no colo XYZ");
  });
});

describe("src/examples/demo/world-map", () => {
  test.each([60, 80, 100, 160])("in %i columns it is as wide, and each place is at its mark", (columns) => {
    const lines = drawMap([label("SIN", "here")], columns);

    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(columns);
    expect(lines.length).toBe(Math.round((columns * 130) / 720));
    const row = lines.findIndex((line) => line.includes("o"));
    const { latitude, longitude } = needColo("SIN");
    expect(row).toBe(Math.floor(((75 - latitude) / 130) * lines.length));
    expect(lines[row]?.indexOf("o")).toBe(Math.floor(((longitude + 170) / 360) * columns));
    expect(lines[row]).toContain("here");
  });

  test("it is recognised: Europe, Africa and Australia are land, and the oceans are not", () => {
    const lines = drawMap([], 120);
    const isLand = (latitude: number, longitude: number): boolean => {
      const row = Math.floor(((75 - latitude) / 130) * lines.length);
      return lines[row]?.[Math.floor(((longitude + 170) / 360) * 120)] === ".";
    };

    const land = [isLand(48, 10), isLand(0, 20), isLand(-25, 135), isLand(40, -100), isLand(-10, -55), isLand(60, 100)];
    expect(land).toEqual([true, true, true, true, true, true]);
    expect([isLand(40, -40), isLand(-30, 80), isLand(0, -140), isLand(-30, -20)]).toEqual([false, false, false, false]);
  });

  test("places that are near to each other keep their whole texts", () => {
    const codes = ["LHR", "FRA", "CDG", "AMS", "BRU", "IAD", "EWR"];

    const text = drawMap(
      codes.map((code) => label(code, `${code} 1,234`)),
      80,
    ).join("\n");

    for (const code of codes) expect(text).toContain(`${code} 1,234`);
  });

  test("where there is no room for a text its mark stands alone", () => {
    const lines = drawMap([label("FRA", "x".repeat(200))], 80);

    expect(lines.join("")).not.toContain("x");
    expect(lines.join("").match(/o/gu)).toHaveLength(1);
  });

  test("a text at the edge of the world stays on the map", () => {
    const lines = drawMap([label("AKL", "AKL 1,234"), label("HNL", "HNL 1,234")], 80);

    expect(lines.join("\n")).toMatch(/AKL 1,234 ?\.?o/u);
    expect(lines.join("\n")).toContain("HNL 1,234");
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(80);
  });

  test.each([
    [10, MAP_COLUMNS_MIN],
    [1000, MAP_COLUMNS_MAX],
  ])("a terminal of %i columns gets a map of %i", (columns, width) => {
    expect(drawMap([], columns)).toEqual(drawMap([], width));
  });
});

describe("src/examples/demo/world-report", () => {
  test("the table has a line for each reader, and the sum", () => {
    expect(formatReaders(READERS)).toEqual([
      "reader  colo             got  put there  in its region  its continent  elsewhere",
      "IAD-1   IAD Ashburn    1,234      1,200             30              4          0",
      "GRU-1   GRU São Paulo     66         60              0              0          6",
      "all                    1,300      1,260             30              4          6",
    ]);
  });

  test("the share that stayed local is of all messages", () => {
    expect(localShareOf(READERS)).toBeCloseTo(1260 / 1300, 10);
    expect(localShareOf([])).toBe(0);
  });

  test("the map tells what was handled in each colo, of all its readers together", () => {
    const text = mapDeliveries([...READERS, ...READERS], 100).join("\n");

    expect(text).toContain("IAD 2,468");
    expect(text).toContain("GRU 132");
  });

  test("why a message went to its reader is a sentence", () => {
    expect(explainRoute(EXAMPLE)).toBe(
      "message 7, put in IAD, went to EWR-2 in EWR, in the same region, since nobody nearer took it in time; " +
        "of 2 free ones: the less loaded of two drawn; it held 1",
    );
    const here = { ...EXAMPLE, reader: "IAD-1", colo: "IAD", nearness: "colo" } as const;
    expect(explainRoute({ ...here, route: { tier: "colo", reason: "pow2", candidates: 1, load: 0 } })).toBe(
      "message 7, put in IAD, went to IAD-1 there; the only one free; it held 0",
    );
  });
});

function label(code: string, text: string): Parameters<typeof drawMap>[0][number] {
  const { latitude, longitude } = needColo(code);
  return { latitude, longitude, text };
}
