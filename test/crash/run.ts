// The command line of the crash harness: `npm run crash -- --rounds N`.
import { mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { Presets, SingleBar } from "cli-progress";
import { chooseSeed } from "../e2e/hostile/seeded-random.ts";
import { HistoryChecker } from "./checker.ts";
import { readHistory } from "./history.ts";
import { formatSummary, listFailures } from "./report.ts";
import { runRounds, type RoundsSummary } from "./rounds.ts";
import { Tally } from "./tally.ts";

// On the project's disk and not in the system's temporary folder, which may be memory.
const CACHE_DIR = fileURLToPath(new URL("../../node_modules/.cache/", import.meta.url));
const DEFAULT_ROUNDS = 30;
const LINE_INTERVAL_MS = 10_000;

const HELP = `Usage: npm run crash -- [options]

Runs the service on the real runtime with its storage on disk, under load from several producers and readers, and kills it with
signal 9 at random moments, again and again on the same storage. A checker reads the history of all operations: nothing that was
acknowledged may be lost, acknowledged twice or out of order, and no channel may hold more than its limit.

  --rounds N    how often (default ${DEFAULT_ROUNDS}); a round has at least 1,000 acknowledged operations and takes about a second
  --seed N      repeats what a run drew by chance; the timing differs (default: a fresh one)
  --keep DIR    keeps storage and history there, an empty or absent folder; without it they are kept only when something is wrong
  --check FILE  checks the history of an earlier run and runs nothing
  --help        this text

Ends with 0 when the run is clean, 1 when it is not or failed, 2 for wrong options.`;

class UsageError extends Error {}

interface Options {
  readonly rounds: number;
  readonly seed: number;
  readonly keepDir: string | undefined;
  readonly checkPath: string | undefined;
}

function parseOptions(args: readonly string[]): Options | "help" {
  const text = { type: "string" } as const;
  const options = { rounds: text, seed: text, keep: text, check: text, help: { type: "boolean", short: "h" } } as const;
  let values;
  try {
    ({ values } = parseArgs({ args: [...args], options }));
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error), { cause: error });
  }
  if (values.help === true) return "help";
  return {
    rounds: parseWhole("rounds", values.rounds, 1, 1_000_000) ?? DEFAULT_ROUNDS,
    seed: parseWhole("seed", values.seed, 0, 2 ** 32 - 1) ?? chooseSeed(),
    keepDir: values.keep === undefined ? undefined : resolve(values.keep),
    checkPath: values.check === undefined ? undefined : resolve(values.check),
  };
}

function parseWhole(name: string, given: string | undefined, min: number, max: number): number | undefined {
  if (given === undefined) return undefined;
  const value = Number(given);
  if (!/^\d+$/.test(given) || value < min || value > max) {
    throw new UsageError(`Expected a whole number from ${min} to ${max} for --${name}, got "${given}"`);
  }
  return value;
}

/** What is there already would look like messages that nobody put. */
async function refuseUsed(dir: string): Promise<void> {
  const files = await readdir(dir).catch(() => []);
  if (files.length > 0) throw new UsageError(`Cannot keep the run in ${dir}: expected a folder that is empty or absent`);
}

async function check(path: string): Promise<boolean> {
  const checker = new HistoryChecker();
  const tally = new Tally();
  for await (const event of readHistory(path)) {
    checker.feed(event);
    tally.feed(event);
  }
  const summary = { tally, verdict: checker.verdict() };
  console.log(formatSummary(summary));
  return listFailures(summary).length === 0;
}

async function run({ rounds, seed, keepDir }: Options): Promise<boolean> {
  if (keepDir !== undefined) await refuseUsed(keepDir);
  await mkdir(CACHE_DIR, { recursive: true });
  const dir = keepDir ?? (await mkdtemp(join(CACHE_DIR, "crash-")));
  console.log(`${rounds} rounds, seed ${seed}`);
  const startedAtMs = performance.now();
  const progress = process.stdout.isTTY ? showBar(rounds) : showLines();
  let summary: RoundsSummary;
  try {
    summary = await runRounds({ rounds, seed, dir, onRound: progress.update });
  } catch (error) {
    progress.stop();
    console.error(`The run failed. Storage and history are kept in ${dir}`);
    throw error;
  }
  progress.stop();
  const isClean = listFailures(summary).length === 0;
  console.log(formatSummary(summary));
  console.log(`${Math.round((performance.now() - startedAtMs) / 1000)} s, seed ${seed}`);
  if (isClean && keepDir === undefined) await rm(dir, { recursive: true, force: true });
  else console.log(`history: ${summary.historyPath}`);
  return isClean;
}

interface Progress {
  readonly update: (tally: Tally) => void;
  readonly stop: () => void;
}

function showBar(rounds: number): Progress {
  const format = "{bar} {value}/{total} rounds · {kills} kills · {ok} operations acknowledged · {eta} s left";
  const bar = new SingleBar({ format, stream: process.stdout, hideCursor: true, barsize: 30 }, Presets.shades_classic);
  bar.start(rounds, 0, { kills: 0, ok: 0 });
  const update = ({ rounds: done, kills, ok }: Tally): void => bar.update(done, { kills, ok: ok.toLocaleString("en") });
  return { update, stop: () => bar.stop() };
}

function showLines(): Progress {
  let lastMs = performance.now();
  const update = ({ rounds, kills, ok }: Tally): void => {
    if (performance.now() - lastMs < LINE_INTERVAL_MS) return;
    lastMs = performance.now();
    console.log(`round ${rounds}: ${kills} kills, ${ok.toLocaleString("en")} operations acknowledged`);
  };
  return { update, stop: () => undefined };
}

// Ends through "exit", where the runtime is ended too.
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(130));

try {
  const options = parseOptions(process.argv.slice(2));
  if (options === "help") console.log(HELP);
  else {
    const isClean = options.checkPath === undefined ? await run(options) : await check(options.checkPath);
    if (!isClean) process.exitCode = 1;
  }
} catch (error) {
  console.error(error instanceof UsageError ? `${error.message}\nTry --help.` : error);
  process.exitCode = error instanceof UsageError ? 2 : 1;
}
