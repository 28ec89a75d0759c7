// What a thread of the simulation does: plays some seeds, one after the other, up to the first that fails.
import { createTally, planSeed, playPlan } from "./simulate.ts";
import type { TallyCounts } from "./tally.ts";

/** The seeds from `first` to before `end`. */
export interface SeedRange {
  readonly first: number;
  readonly end: number;
}

export interface PlayedSeeds {
  readonly counts: TallyCounts;
  readonly failedSeed: number | undefined;
}

export function playSeeds({ first, end }: SeedRange): PlayedSeeds {
  const tally = createTally();
  for (let seed = first; seed < end; seed++) {
    if (playPlan(seed, planSeed(seed), tally) !== undefined) return { counts: tally.counts, failedSeed: seed };
  }
  return { counts: tally.counts, failedSeed: undefined };
}
