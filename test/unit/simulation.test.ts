// The simulation itself: the same seed gives the same history, failures are found and shortened, and what is too rare is told.
// `npm run simulate` plays many seeds; here a few.
import { describe, expect, test } from "vitest";
import { LIMITS } from "../../src/protocol/limits.ts";
import { expectSame } from "../simulation/same.ts";
import { shrink } from "../simulation/shrink.ts";
import { playOnThreads } from "../simulation/seed-threads.ts";
import { createTally, planSeed, playPlan, recordSeed, STEPS_PER_SEED } from "../simulation/simulate.ts";
import { Tally } from "../simulation/tally.ts";

describe("test/simulation/simulate", () => {
  test("the same seed gives the same history, to the byte, and another seed another", () => {
    const [first, second, other] = [recordSeed(7), recordSeed(7), recordSeed(8)];

    expect(second).toBe(first);
    expect(other).not.toBe(first);
    expect(first?.split("\n").length).toBeGreaterThan(STEPS_PER_SEED);
  });

  test.each(Array.from({ length: 20 }, (_, index) => 1_000_001 + index))(
    "[G1] [G4] [G7] seed %d keeps the guarantees",
    (seed) => {
      expect(playPlan(seed, planSeed(seed), createTally())).toBeUndefined();
    },
  );

  test("the limits are what they were afterwards", () => {
    const before = { ...LIMITS };

    playPlan(6, planSeed(6), createTally());

    expect(LIMITS).toEqual(before);
  });

  test("a plan from which steps were left out can be played", () => {
    const plan = planSeed(5).filter((_, index) => index % 3 !== 0);

    expect(playPlan(5, plan, createTally())).toBeUndefined();
  });
});

describe("test/simulation/seed-threads", () => {
  test("on several threads all are played, and the same is counted as on one", async () => {
    const counts = createTally();
    for (let seed = 31; seed < 31 + 11; seed++) playPlan(seed, planSeed(seed), counts);
    const told: number[] = [];
    const onProgress = (played: number): void => void told.push(played);

    const { tally, failedSeed } = await playOnThreads({ firstSeed: 31, seeds: 11, jobs: 2, onProgress });

    expect(failedSeed).toBeUndefined();
    expect(tally.format()).toBe(counts.format());
    expect(told.at(-1)).toBe(11);
  });
});

describe("test/simulation/shrink", () => {
  test.each([
    [[3], [3]],
    [
      [2, 97],
      [2, 97],
    ],
    [[], []],
    [
      [0, 50, 99],
      [0, 50, 99],
    ],
  ])("keeps just what makes it fail: %j", (needed, expected) => {
    const items = Array.from({ length: 100 }, (_, index) => index);
    const isFailing = (some: readonly number[]): boolean => needed.every((item) => some.includes(item));

    expect(shrink(items, isFailing)).toEqual(expected);
  });
});

function listOf(text: string): object {
  return { list: [{ body: new TextEncoder().encode(text), key: undefined, retryAfterMs: 1 }] };
}

describe("test/simulation/same", () => {
  test("a difference is told by its path, absent and undefined are one, estimates do not count", () => {
    const plain = { list: [{ body: new TextEncoder().encode("a"), retryAfterMs: 2 }] };

    expect(() => expectSame(listOf("a"), plain, "It")).not.toThrow();
    expect(() => expectSame(plain, listOf("a"), "It")).not.toThrow();
    expect(() => expectSame(listOf("b"), plain, "It")).toThrow("It/list/0/body");
    expect(() => expectSame({ a: 1 }, { a: 1, b: 2 }, "It")).toThrow("It/b");
    expect(() => expectSame([], {}, "It")).toThrow("It");
  });
});

describe("test/simulation/tally", () => {
  test("what occurs in less than one of a thousand steps is too rare, and a short run says nothing", () => {
    const tally = new Tally();
    tally.expect("fault", ["evict", "never"]);
    for (let count = 0; count < 100; count++) tally.count("fault", "evict");
    tally.steps = 1000;
    expect(tally.tooRare).toEqual([]);

    tally.steps = 100_000;

    expect(tally.tooRare).toEqual(["fault never"]);
    expect(tally.format()).toMatch(/fault evict +100 +0\.10 %/);
  });
});
