// The world simulation: few messages of one seed, what it must show, and that it would see a fault.
import { describe, expect, test } from "vitest";
import { ROUTING_DEFAULTS } from "../../../src/channel/routing/routing-settings.ts";
import { showAllColos } from "../../simulation/world/all-colos.ts";
import { GOALS, needColo, showGoal } from "../../simulation/world/eight-colos.ts";
import { quantileOf, World } from "../../simulation/world/world.ts";
import { Random } from "../../simulation/random.ts";

const SEED = 5;
const MESSAGES = 20_000;

describe("test/simulation/world", () => {
  test.each(GOALS)(
    "[LR5] [LR6] at load $load with $localityWaitMs ms enough messages stay in their colo, and none leaves a free one",
    (goal) => {
      const shown = showGoal(goal, SEED, MESSAGES);

      expect(shown).toMatchObject({ leftThoughFree: 0, isMet: true });
      expect(shown.stayed).toBeGreaterThan(goal.stayedMin);
      expect(shown.addedP50Ms).toBeLessThan(goal.localityWaitMs + 1);
    },
  );

  test("[LR5] over all colos locality by origin brings readers and origins together, and is fair", () => {
    const { shown, isMet, colos } = showAllColos(SEED, 3000);
    const [none, , origin] = shown;

    expect([isMet, shown.map(({ locality }) => locality)]).toEqual([true, ["none", "channel", "origin"]]);
    expect(colos).toBeGreaterThan(300);
    expect(origin?.stayed).toBeGreaterThan(0.95);
    expect(none?.stayed).toBeLessThan(0.05);
    expect(origin?.apartKm).toBeLessThan((none?.apartKm ?? 0) / 20);
  });

  test("without locality few stay, and leaving a free colo is seen and counted", () => {
    const colos = ["LHR", "NRT"].map((code) => ({ colo: needColo(code), weight: 1, readers: 2, slotsOfReader: 6 }));
    const settings = { ...ROUTING_DEFAULTS, locality: "none" as const };
    const result = new World({ colos, settings, messages: 2000, load: 0.5, workMs: 50 }, new Random(SEED)).run();

    expect(result.messages).toBe(2000);
    expect(Math.abs(result.stayed / 2000 - 0.5)).toBeLessThan(0.05);
    expect(result.leftThoughFree).toBeGreaterThan(900);
    expect(result.fairness).toBeGreaterThan(0.99);
  });

  test("the same seed gives the same world, and what travels takes its time", () => {
    const colos = ["LHR", "NRT"].map((code) => ({ colo: needColo(code), weight: 1, readers: 2, slotsOfReader: 6 }));
    const plan = { colos, settings: ROUTING_DEFAULTS, messages: 500, load: 0.3, workMs: 50, channel: needColo("LHR") };
    const [first, second] = [new World(plan, new Random(SEED)).run(), new World(plan, new Random(SEED)).run()];

    expect(second).toEqual(first);
    // 9,600 km of glass there and back again, and nothing but two sends for those beside the channel.
    expect(quantileOf(first.deliveriesMs, 0)).toBeCloseTo(0.028, 3);
    expect(quantileOf(first.deliveriesMs, 1)).toBeGreaterThan(95);
    expect(quantileOf(first.waitsMs, 0.5)).toBe(0);
  });
});
