// The command line of the mutants: breaks a copy of the sources in one place after the other, and lets the simulation and the tests find it.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import type { Mutant } from "./mutant.ts";
import { CONTROL, MUTANTS } from "./mutants.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const COPIED = ["src", "test", "package.json", "tsconfig.json", "wrangler.toml"];
/** The test of the mutants' own texts fails for every one of them, and so says nothing. */
const NOT_COPIED = "test/unit/mutants.test.ts";
/** Enough for the simulation to meet nearly everything; the unit tests come after it. */
const SEEDS = 60;
/** Many times what a step takes: one that hangs fails, and one that is only slow must not. */
const STEP_MS_MAX = 600_000;

const JOBS_DEFAULT = availableParallelism();

const HELP = `Usage: npm run mutants -- [options]

Breaks ${MUTANTS.length} invariants on purpose, one at a time, in a copy of the sources: a small simulation, the unit tests and where it needs them the
tests in the runtime have to find each, or those that are named for it.

  --only TEXT   only the mutants whose name or file contains it
  --jobs N      how many are looked for at a time, each in a copy of its own (default ${JOBS_DEFAULT}: as many as there are processors)
  --help        this text

Ends with 0 when all were found; 1 when one survived, or when its text is not in the sources any more; 2 for wrong options.
`;

type Verdict = "simulation" | "unit tests" | "runtime tests" | "SURVIVED" | "TEXT NOT FOUND";

interface Judged {
  readonly mutant: Mutant;
  readonly verdict: Verdict;
  readonly seconds: number;
}

interface Checks {
  /** Undefined: the simulation and all unit tests. */
  readonly tests: readonly string[] | undefined;
  readonly workersTests: readonly string[];
}

/** Runs a command in the copy; whether it failed, which for a mutant is good. */
async function fails(copy: string, command: readonly string[]): Promise<boolean> {
  const [program = "", ...args] = command;
  const [code] = (await once(spawn(program, args, { cwd: copy, stdio: "ignore", timeout: STEP_MS_MAX }), "close")) as [
    number | null,
  ];
  return code !== 0;
}

function vitest(...args: readonly string[]): string[] {
  return [process.execPath, "node_modules/vitest/vitest.mjs", "run", "--config", "test/vitest.config.ts", "--bail", "1", ...args];
}

/** Who finds the broken copy, the quickest first. */
async function findBreak(copy: string, { tests, workersTests }: Checks): Promise<Verdict> {
  if (tests === undefined) {
    const simulation = ["test/simulation/run.ts", "--seeds", String(SEEDS), "--jobs", "1"];
    if (await fails(copy, [process.execPath, ...simulation])) return "simulation";
    if (await fails(copy, vitest("--project", "unit*"))) return "unit tests";
  } else if (tests.length > 0 && (await fails(copy, vitest("--project", "unit", ...tests)))) return "unit tests";
  if (workersTests.length > 0 && (await fails(copy, vitest("--project", "workers", ...workersTests)))) return "runtime tests";
  return "SURVIVED";
}

/** All that have to find one of them. */
function checksOf(mutants: readonly Mutant[]): Checks {
  const named = mutants.map(({ tests }) => tests);
  return {
    tests: named.includes(undefined) ? undefined : [...new Set(named.flatMap((tests = []) => tests))],
    workersTests: [...new Set(mutants.flatMap(({ workersTest = [] }) => workersTest))],
  };
}

async function judge(copy: string, mutant: Mutant, checks = checksOf([mutant])): Promise<Judged> {
  const begunAtMs = performance.now();
  const path = join(copy, mutant.file);
  const source = readFileSync(path, "utf8");
  const parts = source.split(mutant.from);
  let verdict: Verdict = "TEXT NOT FOUND";
  if (parts.length === 2) {
    writeFileSync(path, parts.join(mutant.to));
    verdict = await findBreak(copy, checks);
    writeFileSync(path, source);
  }
  return { mutant, verdict, seconds: (performance.now() - begunAtMs) / 1000 };
}

function formatRow({ mutant, verdict, seconds }: Judged): string {
  return `${verdict.padEnd(14)} ${seconds.toFixed(1).padStart(6)} s  ${mutant.name}`;
}

/** Runs `work` with a copy of the sources, which goes with it. */
async function withCopy<Value>(work: (copy: string) => Promise<Value>): Promise<Value> {
  const copy = mkdtempSync(join(tmpdir(), "mutants-"));
  try {
    for (const name of COPIED) cpSync(join(ROOT, name), join(copy, name), { recursive: true });
    rmSync(join(copy, NOT_COPIED));
    symlinkSync(join(ROOT, "node_modules"), join(copy, "node_modules"));
    return await work(copy);
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
}

async function runMutants({ mutants, jobs }: Options): Promise<boolean> {
  // What fails where nothing is broken finds nothing.
  const control = await withCopy((copy) => judge(copy, CONTROL, checksOf(mutants)));
  if (control.verdict !== "SURVIVED") {
    console.error(`The sources fail though nothing is broken: ${control.verdict}`);
    return false;
  }
  const waiting = mutants.values();
  const judged: Judged[] = [];
  const judgeNext = (): Promise<void> =>
    withCopy(async (copy) => {
      for (const mutant of waiting) {
        const one = await judge(copy, mutant);
        judged.push(one);
        // At once: all of them take minutes.
        console.log(formatRow(one));
      }
    });
  await Promise.all(Array.from({ length: jobs }, judgeNext));
  const survivors = judged.filter(({ verdict }) => verdict === "SURVIVED" || verdict === "TEXT NOT FOUND");
  console.log(`${judged.length - survivors.length} of ${judged.length} found`);
  return survivors.length === 0;
}

interface Options {
  readonly mutants: readonly Mutant[];
  readonly jobs: number;
}

function parseOptions(args: readonly string[]): Options | "help" {
  const jobsOption = { type: "string", default: String(JOBS_DEFAULT) } as const;
  const options = { only: { type: "string", default: "" }, jobs: jobsOption, help: { type: "boolean", default: false } } as const;
  const { values } = parseArgs({ args: [...args], options });
  if (values.help) return "help";
  const mutants = MUTANTS.filter(({ name, file }) => `${name} ${file}`.includes(values.only));
  if (mutants.length === 0) throw new Error(`No mutant is named so: ${values.only}`);
  const jobs = Number(values.jobs);
  if (!Number.isSafeInteger(jobs) || jobs < 1)
    throw new Error(`Expected a whole number above 0 for --jobs, got "${values.jobs}"`);
  return { mutants, jobs };
}

let chosen: ReturnType<typeof parseOptions> | undefined;
try {
  chosen = parseOptions(process.argv.slice(2));
} catch (error) {
  console.error(`${error instanceof Error ? error.message : String(error)}\nTry --help.`);
  process.exitCode = 2;
}
if (chosen === "help") console.log(HELP);
else if (chosen !== undefined && !(await runMutants(chosen))) process.exitCode = 1;
