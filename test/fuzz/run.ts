// The command line of the fuzz test: plays inputs against the codec of binary frames and the core, and tells the seed of the first that fails.
import { parseArgs } from "node:util";
import { CountedProgress } from "../counted-progress.ts";
import { type Fate, fuzzOne, PAST_FINDINGS } from "./fuzz.ts";

const HELP = `Usage: npm run fuzz -- [options]

Plays inputs against the codec of binary frames, the core and the memory store: frames that may be put, the same with bits, bytes and lengths
changed, cut, doubled and spliced, and bytes of chance. Each is refused in words, or stored and read back as what it says. The seeds of inputs
that once showed a fault are played first.

  --inputs N    how many inputs (default 100000)
  --seed S      the seed of the first (default: by the time); the next ones follow it
  --help        this text

Ends with 0 when all inputs pass, 1 when one fails, 2 for wrong options.
`;

class UsageError extends Error {}

function parseWhole(name: string, given: string | undefined, otherwise: number): number {
  const value = given === undefined ? otherwise : Number(given);
  if (!Number.isSafeInteger(value) || value < 1)
    throw new UsageError(`Expected a whole number above 0 for --${name}, got "${given}"`);
  return value;
}

function parseOptions(args: readonly string[]): { readonly inputs: number; readonly seed: number } | "help" {
  const text = { type: "string" } as const;
  let values;
  try {
    ({ values } = parseArgs({
      args: [...args],
      options: { inputs: text, seed: text, help: { type: "boolean", default: false } },
    }));
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error), { cause: error });
  }
  if (values.help) return "help";
  return { inputs: parseWhole("inputs", values.inputs, 100_000), seed: parseWhole("seed", values.seed, Date.now() % 2 ** 31) };
}

function run({ inputs, seed }: { readonly inputs: number; readonly seed: number }): boolean {
  const fates: Record<Fate, number> = { accepted: 0, refused: 0 };
  const seeds = [...PAST_FINDINGS, ...Array.from({ length: inputs }, (_, index) => seed + index)];
  const progress = new CountedProgress("fuzz", "inputs", seeds.length);
  for (const [index, one] of seeds.entries()) {
    try {
      fates[fuzzOne(one)]++;
    } catch (error) {
      progress.stop();
      console.error(`The input of seed ${one} fails: ${error instanceof Error ? error.stack : String(error)}`);
      console.error(`\nPlay it again with: npm run fuzz -- --inputs 1 --seed ${one}`);
      return false;
    }
    if (index % 1000 === 0) progress.note(index);
  }
  progress.stop();
  console.log(
    `${seeds.length} inputs from seed ${seed}: ${fates.accepted} accepted and read back, ${fates.refused} refused, none failed`,
  );
  return true;
}

try {
  const options = parseOptions(process.argv.slice(2));
  if (options === "help") console.log(HELP);
  else if (!run(options)) process.exitCode = 1;
} catch (error) {
  console.error(error instanceof UsageError ? `${error.message}\nTry --help.` : error);
  process.exitCode = error instanceof UsageError ? 2 : 1;
}
