// What a command is, and its help.
import { COMMON_OPTIONS, type Given, type Option, type Syntax } from "./given.ts";
import type { Session } from "./session.ts";

/** How the program ends, unless a signal ended it. */
export const EXIT = { ok: 0, refused: 1, usage: 2, unreachable: 3 } as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

export interface Command extends Syntax {
  readonly name: string;
  /** A line for the list of commands. */
  readonly summary: string;
  /** What there is to know besides the options. */
  readonly notes?: string;
  readonly run: (given: Given, session: Session) => Promise<ExitCode>;
}

const ENVIRONMENT = `EDGE_CHANNEL_URL is the address of the service (default http://127.0.0.1:8787), EDGE_CHANNEL_TOKEN its token (default none).`;
const EXIT_CODES = `Ends with 0 when all is well, 1 when the server refused or nothing was there, 2 for wrong usage, 3 when the server cannot be reached
or does not answer within 30s, and 128 and the signal's number (130 after Ctrl-C) when it was stopped: what was not settled is released then.`;

export function formatOverview(commands: readonly Command[]): string {
  const rows = commands.map((command): [string, string] => [formatSynopsis(command), command.summary]);
  return `Usage: channel COMMAND …

${formatRows(rows)}

channel COMMAND --help explains a command, channel --version tells the release. A time is written with its unit: 500ms, 10s, 5m, 2h, 1d.
${ENVIRONMENT}
${EXIT_CODES}`;
}

export function formatHelp(command: Command): string {
  const options = [...command.options, ...COMMON_OPTIONS].map((option): [string, string] => [formatOption(option), option.text]);
  const notes = command.notes === undefined ? "" : `${command.notes}\n\n`;
  return `Usage: channel ${formatSynopsis(command)} [options]

${command.summary}.

${notes}${formatRows(options)}

${ENVIRONMENT}
${EXIT_CODES}`;
}

function formatSynopsis({ name, needed, optional = [] }: Command): string {
  return [name, ...needed, ...optional.map((operand) => `[${operand}]`)].join(" ");
}

function formatOption({ name, value, isMany }: Option): string {
  return `--${name}${value === undefined ? "" : ` ${value}`}${isMany === true ? " …" : ""}`;
}

function formatRows(rows: readonly (readonly [string, string])[]): string {
  const width = Math.max(...rows.map(([left]) => left.length));
  return rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`).join("\n");
}
