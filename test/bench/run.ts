// The benchmark's command line: chooses scenarios, runs them one after another, prints the table and writes the report.
import { writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { SingleBar } from "cli-progress";
import {
  type Described,
  formatGoal,
  formatTable,
  JUDGED_ROUNDS_MIN,
  JUDGED_SECONDS_MIN,
  makeResult,
  type Result,
  type Run,
} from "./report.ts";
import type { Scenario } from "./scenario.ts";
import { SCENARIOS } from "./scenarios.ts";
import { Servers } from "./servers.ts";

const MEASURES = SCENARIOS.flatMap((scenario) => scenario.measures);

const HELP = `Usage: npm run bench -- [options]

Measures the product against raw workers (test/bench/floor.ts) on the same workerd, in paired, interleaved rounds.
The ratio is taken within each pair; its median is judged. The machine should have nothing else to do.

  --only ID[,ID…]   only these ids
  --json FILE       write the report as JSON
  --rounds N        pairs per scenario (default ${JUDGED_ROUNDS_MIN}; fewer is not a judged run)
  --seconds N       length of a round (default ${JUDGED_SECONDS_MIN}; shorter is not a judged run)
  --floors          measure the floors alone
  --help            this text

Ids, with what they are compared to and what they must reach:
${MEASURES.map(formatMeasure).join("\n")}

Ends with 0 when everything asked for was measured, whatever the numbers say; 1 when a measurement failed; 2 for wrong options.
`;

function formatMeasure({ id, baseline, goal }: Described): string {
  return `  ${id.padEnd(32)} ${(baseline ?? "-").padEnd(28)} ${goal === null ? "-" : formatGoal(goal)}`;
}

interface Options {
  readonly ids: ReadonlySet<string>;
  readonly jsonPath: string | undefined;
  readonly rounds: number;
  readonly seconds: number;
  readonly isFloorsOnly: boolean;
}

class UsageError extends Error {}

function parseOptions(args: readonly string[]): Options | "help" {
  const text = { type: "string" } as const;
  const flag = { type: "boolean", default: false } as const;
  const options = { only: text, json: text, rounds: text, seconds: text, floors: flag, help: flag };
  let values;
  try {
    ({ values } = parseArgs({ args: [...args], options }));
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error), { cause: error });
  }
  if (values.help) return "help";
  const known = MEASURES.map(({ id }) => id);
  const ids = values.only === undefined ? known : values.only.split(",").map((id) => id.trim());
  const unknown = ids.filter((id) => !known.includes(id));
  if (unknown.length > 0) throw new UsageError(`Unknown id: ${unknown.join(", ")}. Known: ${known.join(", ")}`);
  const rounds = parseNumber("rounds", values.rounds, JUDGED_ROUNDS_MIN);
  if (!Number.isInteger(rounds)) throw new UsageError(`Expected a whole number for --rounds, got ${rounds}`);
  const seconds = parseNumber("seconds", values.seconds, JUDGED_SECONDS_MIN);
  return { ids: new Set(ids), jsonPath: values.json, rounds, seconds, isFloorsOnly: values.floors };
}

function parseNumber(name: string, given: string | undefined, otherwise: number): number {
  if (given === undefined) return otherwise;
  const value = Number(given);
  if (!(value > 0 && value < 10_000)) throw new UsageError(`Expected a number above 0 for --${name}, got "${given}"`);
  return value;
}

async function runScenario(scenario: Scenario, servers: Servers, options: Options): Promise<Result[]> {
  const name = scenario.measures.map(({ id }) => id).join(", ");
  // Shown on a terminal only, and on stderr: the table may be piped.
  const bar = new SingleBar({ format: `${name} {bar} {value}/{total} rounds, {duration} s`, clearOnComplete: true });
  const { rounds, seconds, isFloorsOnly } = options;
  bar.start(rounds, 0);
  try {
    const bench = { servers, rounds, roundMs: seconds * 1_000, isFloorsOnly, onRound: () => bar.increment() };
    const measured = await scenario.run(bench);
    return scenario.measures.flatMap((described, index) => {
      const values = measured[index];
      return values !== undefined && options.ids.has(described.id) ? [makeResult(described, values)] : [];
    });
  } catch (error) {
    throw new Error(`${name} failed: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  } finally {
    bar.stop();
  }
}

async function runAll(options: Options): Promise<void> {
  const servers = await Servers.open();
  const results: Result[] = [];
  try {
    for (const scenario of SCENARIOS) {
      if (!scenario.measures.some(({ id }) => options.ids.has(id))) continue;
      results.push(...(await runScenario(scenario, servers, options)));
    }
  } catch (error) {
    console.error(servers.output());
    throw error;
  } finally {
    // After a failure too: what was measured before it took its time.
    if (results.length > 0) await report(results, options);
    await servers.close();
  }
}

async function report(results: readonly Result[], options: Options): Promise<void> {
  const { rounds, seconds, isFloorsOnly } = options;
  const isJudged = rounds >= JUDGED_ROUNDS_MIN && seconds >= JUDGED_SECONDS_MIN && !isFloorsOnly;
  const run: Run = { rounds, seconds, isJudged, results };
  console.log(formatTable(run));
  if (options.jsonPath !== undefined) await writeFile(options.jsonPath, `${JSON.stringify(run, undefined, 2)}\n`);
}

// Ends through "exit", where the servers and their files are cleared away.
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(130));

try {
  const options = parseOptions(process.argv.slice(2));
  if (options === "help") console.log(HELP);
  else await runAll(options);
} catch (error) {
  console.error(error instanceof UsageError ? `${error.message}\nTry --help.` : error);
  process.exitCode = error instanceof UsageError ? 2 : 1;
}
