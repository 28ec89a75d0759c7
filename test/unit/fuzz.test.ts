// A few inputs of the fuzz test; `npm run fuzz` plays many.
import { describe, expect, test } from "vitest";
import { type Fate, fuzzOne, PAST_FINDINGS } from "../fuzz/fuzz.ts";

const SEEDS = Array.from({ length: 3000 }, (_, index) => 1 + index);

describe("test/fuzz", () => {
  test("[RB1] [RB2] [RB3] an input is refused in words, or stored and read back as what it says", () => {
    const fates: Fate[] = [...PAST_FINDINGS, ...SEEDS].map(fuzzOne);

    for (const fate of ["accepted", "refused"] as const)
      expect(fates.filter((one) => one === fate).length).toBeGreaterThan(SEEDS.length / 10);
  });
});
