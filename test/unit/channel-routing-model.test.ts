// Random histories of a group whose messages are routed. A failure prints its seed and its shortest plan. SPEC sections RD and LR.
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { STRATEGY_NAMES } from "../../src/protocol/settings.ts";
import { RoutedWorld } from "./routed-world.ts";

// MODEL_RUNS=50 plays 2,000 histories of each strategy.
const RUNS = Number(process.env["MODEL_RUNS"] ?? 1);

describe("src/channel/routed-readers", () => {
  test.each(STRATEGY_NAMES)("[RD2] [G3] [G5] random histories: %s", (strategy) => {
    const steps = fc.array(fc.tuple(fc.nat(11), fc.nat(1000), fc.nat(1000)), { minLength: 20, maxLength: 60 });
    const histories = fc.property(steps, (all) => {
      const world = new RoutedWorld(strategy);
      for (const step of all) world.step(step);
      expect(world.finish()).toEqual({ depth: 0, open: [] });
    });
    fc.assert(histories, { numRuns: 40 * RUNS });
  });
});
