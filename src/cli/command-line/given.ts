// What a person wrote behind a command, checked: operands and options as numbers, times, sizes and texts.
import { parseArgs } from "node:util";
import { assert } from "../../base/assert.ts";
import { parseWith } from "../../protocol/fault.ts";
import { channelNameSchema } from "../../protocol/names.ts";

/** A mistake of the person who called. */
export class UsageError extends Error {}

export interface Option {
  readonly name: string;
  /** What stands for its value in the help; an option without one is a switch. */
  readonly value?: string;
  /** May be given more than once. */
  readonly isMany?: true;
  readonly text: string;
}

/** What can be written behind a command. */
export interface Syntax {
  /** The operands that have to be there, in their order, and those that may follow. */
  readonly needed: readonly string[];
  readonly optional?: readonly string[];
  readonly options: readonly Option[];
}

const HELP: Option = { name: "help", text: "this text" };
const JSON_OUTPUT: Option = {
  name: "json",
  text: "JSON lines also on a terminal; they are what is written where the output is no terminal",
};
/** Those of every command. */
export const COMMON_OPTIONS: readonly Option[] = [JSON_OUTPUT, HELP];

const TIME_UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const SIZE_UNITS: Readonly<Record<string, number>> = { "": 1, B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 };

type Value = string | boolean | readonly (string | boolean)[] | undefined;

export class Given {
  readonly #operands: ReadonlyMap<string, string>;
  readonly #values: Readonly<Record<string, Value>>;
  readonly #options: ReadonlySet<string>;

  private constructor(
    operands: ReadonlyMap<string, string>,
    values: Readonly<Record<string, Value>>,
    options: ReadonlySet<string>,
  ) {
    this.#operands = operands;
    this.#values = values;
    this.#options = options;
  }

  /** @param args What follows the command's name. With `--help` among them nothing else has to be there. */
  static parse(args: readonly string[], { needed, optional = [], options }: Syntax): Given {
    const all = [...options, ...COMMON_OPTIONS];
    const { values, positionals } = splitArguments(args, all);
    const names = [...needed, ...optional];
    const missing = needed[positionals.length];
    if (missing !== undefined && values["help"] !== true) throw new UsageError(`${missing} is missing`);
    const extra = positionals[names.length];
    if (extra !== undefined)
      throw new UsageError(`Cannot use "${extra}": nothing more is expected there (quote what has spaces)`);
    const operands = new Map(positionals.map((text, index) => [names[index] ?? "", text]));
    return new Given(operands, values, new Set(all.map(({ name }) => name)));
  }

  /** The operand CHANNEL. */
  get channel(): string {
    const name = this.operand("CHANNEL") ?? "";
    const parsed = parseWith(channelNameSchema, name, "/path/channel");
    if (!parsed.ok)
      throw new UsageError(`Cannot use the channel name "${name}": ${parsed.refusal.errors[0]?.detail ?? "it is none"}`);
    return name;
  }

  operand(name: string): string | undefined {
    return this.#operands.get(name);
  }

  has(option: string): boolean {
    return this.#value(option) !== undefined;
  }

  text(option: string): string | undefined {
    const value = this.#value(option);
    return typeof value === "string" ? value : undefined;
  }

  texts(option: string): readonly string[] {
    const value = this.#value(option);
    return Array.isArray(value) ? value.map(String) : [];
  }

  /** A whole number. */
  whole(option: string, min: number, max: number): number | undefined {
    const text = this.text(option);
    return text === undefined ? undefined : parseWhole(`--${option}`, text, min, max);
  }

  /** A time with its unit, in milliseconds. */
  timeMs(option: string, min: number, max: number): number | undefined {
    const wanted = "a time such as 500ms, 10s, 5m, 2h or 1d";
    return this.#quantity(option, /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/, TIME_UNITS, { wanted, unit: " ms", min, max });
  }

  /** A number of bytes. */
  bytes(option: string, min: number, max: number): number | undefined {
    const wanted = "a size such as 5000, 64KiB, 10MiB or 1GiB";
    return this.#quantity(option, /^(\d+(?:\.\d+)?)(|B|KiB|MiB|GiB)$/, SIZE_UNITS, { wanted, unit: " bytes", min, max });
  }

  /** One of a few words. */
  word<Word extends string>(option: string, words: readonly Word[]): Word | undefined {
    const text = this.text(option);
    const word = words.find((each) => each === text);
    if (text !== undefined && word === undefined) {
      throw new UsageError(`Cannot use --${option} "${text}": expected ${words.join(", ")}`);
    }
    return word;
  }

  #quantity(
    option: string,
    pattern: RegExp,
    units: Readonly<Record<string, number>>,
    { wanted, unit, min, max }: { readonly wanted: string; readonly unit: string; readonly min: number; readonly max: number },
  ): number | undefined {
    const text = this.text(option);
    if (text === undefined) return undefined;
    const [, digits, name = ""] = pattern.exec(text) ?? [];
    if (digits === undefined) throw new UsageError(`Cannot use --${option} "${text}": expected ${wanted}`);
    const quantity = Math.round(Number(digits) * (units[name] ?? 1));
    if (quantity >= min && quantity <= max) return quantity;
    throw new UsageError(`Cannot use --${option} "${text}": expected ${min} to ${max}${unit}`);
  }

  #value(option: string): Value {
    assert(this.#options.has(option), `the command has an option --${option}`);
    return this.#values[option];
  }
}

/** A whole number in decimal digits; undefined where it is none, or out of range. */
export function readWhole(text: string, min: number, max: number): number | undefined {
  const number = Number(text);
  return /^\d+$/.test(text) && number >= min && number <= max ? number : undefined;
}

export function parseWhole(name: string, text: string, min: number, max: number): number {
  const number = readWhole(text, min, max);
  if (number !== undefined) return number;
  throw new UsageError(`Cannot use ${name} "${text}": expected a whole number from ${min} to ${max}`);
}

function splitArguments(
  args: readonly string[],
  options: readonly Option[],
): { readonly values: Readonly<Record<string, Value>>; readonly positionals: readonly string[] } {
  const known = Object.fromEntries(
    options.map(({ name, value, isMany }) => [
      name,
      {
        type: value === undefined ? ("boolean" as const) : ("string" as const),
        multiple: isMany === true,
        ...(name === HELP.name && { short: "h" }),
      },
    ]),
  );
  try {
    const joined = joinNegatives(args, options);
    const { values, positionals, tokens } = parseArgs({ args: joined, options: known, allowPositionals: true, tokens: true });
    const given = tokens.flatMap((token) => (token.kind === "option" ? [token.name] : []));
    const twice = options.find(({ name, value, isMany }) => {
      return value !== undefined && isMany !== true && given.indexOf(name) !== given.lastIndexOf(name);
    });
    // Which of its values is meant nobody can tell.
    if (twice !== undefined) throw new UsageError(`Cannot use --${twice.name} twice: give it once`);
    return { values, positionals };
  } catch (error) {
    if (error instanceof UsageError) throw error;
    // The first sentence says what is wrong; further ones explain how arguments are written.
    const [sentence = ""] = (error instanceof Error ? error.message : String(error)).split(/\. |\n/);
    throw new UsageError(sentence, { cause: error });
  }
}

/** A negative number behind an option is its value, which a number refuses and a text takes: the parser would take it for an option without a name. */
function joinNegatives(args: readonly string[], options: readonly Option[]): string[] {
  const valued = new Set(options.flatMap(({ name, value }) => (value === undefined ? [] : [`--${name}`])));
  const joined: string[] = [];
  for (const arg of args) {
    const option = joined.at(-1) ?? "";
    const isItsValue = /^-\d/.test(arg) && valued.has(option) && !joined.includes("--");
    if (isItsValue) joined[joined.length - 1] = `${option}=${arg}`;
    else joined.push(arg);
  }
  return joined;
}
