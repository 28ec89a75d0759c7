// Options of the soaks: whole numbers, each with a default.
import { parseArgs } from "node:util";

/** Prints what is asked for by `--help`, or wrong, and returns nothing then: the exit code is set. */
export function parseWholeOptions<Name extends string>(
  args: readonly string[],
  help: string,
  defaults: Readonly<Record<Name, number>>,
): Record<Name, number> | undefined {
  const names = Object.keys(defaults) as Name[];
  const text = { type: "string" } as const;
  try {
    const options = Object.fromEntries(names.map((name) => [name, text]));
    const { values } = parseArgs({ args: [...args], options: { ...options, help: { type: "boolean", short: "h" } } });
    if (values["help"] === true) {
      console.log(help);
      return undefined;
    }
    const given = values as Readonly<Partial<Record<Name, string>>>;
    const entries = names.map((name) => [name, parseWhole(name, given[name]) ?? defaults[name]]);
    return Object.fromEntries(entries) as Record<Name, number>;
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : String(error)}\nTry --help.`);
    process.exitCode = 2;
    return undefined;
  }
}

function parseWhole(name: string, given: string | undefined): number | undefined {
  if (given === undefined || /^\d{1,10}$/.test(given)) return given === undefined ? undefined : Number(given);
  throw new Error(`Expected a whole number for --${name}, got "${given}"`);
}
