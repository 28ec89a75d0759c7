// Plays many seeds on several threads. Each seed is played by itself, so what comes of it does not depend on how they are shared out.
import Tinypool from "tinypool";
import type { PlayedSeeds, SeedRange } from "./play-seeds.ts";
import { createTally } from "./simulate.ts";
import type { Tally } from "./tally.ts";

/** About half a second of work. */
const SEEDS_PER_TASK = 10;

export interface SeedThreadsOptions {
  readonly firstSeed: number;
  readonly seeds: number;
  readonly jobs: number;
  readonly onProgress: (played: number) => void;
}

export interface PlayedRange {
  readonly tally: Tally;
  /** The first that fails, if one does; of those after it not all were played then. */
  readonly failedSeed: number | undefined;
}

export async function playOnThreads({ firstSeed, seeds, jobs, onProgress }: SeedThreadsOptions): Promise<PlayedRange> {
  const tasks = cutRange({ first: firstSeed, end: firstSeed + seeds });
  const pool = new Tinypool({
    filename: new URL("play-seeds.ts", import.meta.url).href,
    name: "playSeeds",
    minThreads: jobs,
    maxThreads: jobs,
    isolateWorkers: false,
  });
  const tally = createTally();
  const failed: number[] = [];
  let played = 0;
  const playTasks = async (): Promise<void> => {
    // All take from the same tasks. One that stops at a failure ends them for all; those that are under way are of smaller seeds, or next to them.
    for (const task of tasks) {
      const { counts, failedSeed } = (await pool.run(task)) as PlayedSeeds;
      tally.add(counts);
      onProgress((played += task.end - task.first));
      if (failedSeed === undefined) continue;
      failed.push(failedSeed);
      return;
    }
  };
  try {
    await Promise.all(Array.from({ length: jobs }, playTasks));
  } finally {
    await pool.destroy();
  }
  return { tally, failedSeed: failed.length === 0 ? undefined : Math.min(...failed) };
}

function* cutRange({ first, end }: SeedRange): Generator<SeedRange> {
  for (let from = first; from < end; from += SEEDS_PER_TASK) yield { first: from, end: Math.min(end, from + SEEDS_PER_TASK) };
}
