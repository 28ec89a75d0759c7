// The command line of the simulation: plays seeds, shows progress on a terminal, and prints what failed as short as it can be made.
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { CountedProgress } from "../counted-progress.ts";
import { playOnThreads } from "./seed-threads.ts";
import { shrink } from "./shrink.ts";
import { createTally, type Failure, planSeed, playPlan, recordSeed, STEPS_PER_SEED } from "./simulate.ts";
import { showWorld } from "./world/show.ts";

const JOBS_DEFAULT = availableParallelism();

const HELP = `Usage: npm run simulate -- [options]

Plays random histories on the core of the channel with the memory store: queues, logs and channels with interest, their groups, producers,
readers, settles late and twice, times to live, connections, clock jumps, alarms that come late, twice or never, evictions and crashes at
every boundary of storage, resizes and shutdowns, delayed messages, puts that are sent again and come out of turn, checkpoints, what rides
on a settle, and subscribers: members, plain readers that come back by their tokens, and taps. After every step the guarantees G1 to G9 and a naive model of SPEC.md are compared with it. The same seed gives the
same history.

  --seeds N     how many seeds (default 1000), of ${STEPS_PER_SEED} steps each
  --seed S      the first seed (default 1)
  --jobs N      how many threads play them (default ${JOBS_DEFAULT}: as many as there are processors)
  --history     print the history of the first seed, and play no other
  --world       play routing over colos instead, with the seed: how much is read where it was put, what locality costs,
                and what a million plain readers would take
  --help        this text

Ends with 0 when all seeds pass and each operation, fault, refusal and event occurred in at least one of a thousand steps (judged from 100 seeds
on); 1 when a seed fails, with its shortened history, or when something was too rare, or the world is not as it must be; 2 for wrong options.
`;

interface Options {
  readonly seeds: number;
  readonly firstSeed: number;
  readonly jobs: number;
  readonly isHistory: boolean;
  readonly isWorld: boolean;
}

class UsageError extends Error {}

function parseOptions(args: readonly string[]): Options | "help" {
  const text = { type: "string" } as const;
  const flag = { type: "boolean", default: false } as const;
  let values;
  try {
    ({ values } = parseArgs({
      args: [...args],
      options: { seeds: text, seed: text, jobs: text, history: flag, world: flag, help: flag },
    }));
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error), { cause: error });
  }
  if (values.help) return "help";
  return {
    seeds: parseWhole("seeds", values.seeds, 1000),
    firstSeed: parseWhole("seed", values.seed, 1),
    jobs: parseWhole("jobs", values.jobs, JOBS_DEFAULT),
    isHistory: values.history,
    isWorld: values.world,
  };
}

function parseWhole(name: string, given: string | undefined, otherwise: number): number {
  const value = given === undefined ? otherwise : Number(given);
  if (!Number.isSafeInteger(value) || value < 1)
    throw new UsageError(`Expected a whole number above 0 for --${name}, got "${given}"`);
  return value;
}

/** The failure of a seed, and the shortest plan that fails in the same way. */
function explain(seed: number): { readonly failure: Failure; readonly short: Failure } {
  const plan = planSeed(seed);
  const failure = playPlan(seed, plan, createTally());
  if (failure === undefined) throw new Error(`Seed ${seed} failed on a thread, and does not when it is played again`);
  const kind = kindOf(failure.error);
  const shortest = shrink(plan, (shorter) => kindOf(playPlan(seed, [...shorter], createTally())?.error) === kind);
  return { failure, short: playPlan(seed, shortest, createTally(), true) ?? failure };
}

/** What failures of one kind share: the words before the first number or value. */
function kindOf(error: unknown): string {
  return error instanceof Error ? (error.message.split(/[\d\n{]/u, 1)[0] ?? "") : String(error);
}

async function simulate({ seeds, firstSeed, jobs }: Options): Promise<boolean> {
  const progress = new CountedProgress("simulate", "seeds", seeds);
  const { tally, failedSeed } = await playOnThreads({ seeds, firstSeed, jobs, onProgress: (played) => progress.note(played) });
  progress.stop();
  console.log(tally.format());
  if (failedSeed !== undefined) {
    const { failure, short } = explain(failedSeed);
    console.error(`Seed ${failure.seed} fails at step ${failure.step}. The shortest history that fails so:\n`);
    console.error(short.history.join("\n"));
    console.error(`\n${short.error instanceof Error ? (short.error.stack ?? short.error.message) : String(short.error)}`);
    console.error(`\nPlay it again with: npm run simulate -- --seeds 1 --seed ${failure.seed}`);
    return false;
  }
  const { tooRare } = tally;
  if (tooRare.length > 0) console.error(`Too rare to be tested: ${tooRare.join(", ")}`);
  return tooRare.length === 0;
}

try {
  const options = parseOptions(process.argv.slice(2));
  if (options === "help") console.log(HELP);
  else if (options.isHistory) console.log(recordSeed(options.firstSeed));
  else if (options.isWorld ? !showWorld(options.firstSeed, console.log) : !(await simulate(options))) process.exitCode = 1;
} catch (error) {
  console.error(error instanceof UsageError ? `${error.message}\nTry --help.` : error);
  process.exitCode = error instanceof UsageError ? 2 : 1;
}
