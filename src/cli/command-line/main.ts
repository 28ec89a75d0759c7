// Chooses the command, runs it until it ends or a signal stops it, and says what went wrong.
import { constants } from "node:os";
import { setTimeout as delay } from "node:timers/promises";
import { EdgeChannelError } from "../../client/index.ts";
import { checkAddress } from "./address.ts";
import { type Command, EXIT, formatHelp, formatOverview } from "./command.ts";
import { describeFailure } from "./failure.ts";
import { Given, UsageError } from "./given.ts";
import { Output, OutputClosedError } from "./output.ts";
import { Session } from "./session.ts";
import { COMMANDS } from "../commands/all.ts";
import manifest from "../../../package.json" with { type: "json" };

const DEFAULT_URL = "http://127.0.0.1:8787";
const STOP_SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
/** How long what is held may take to be released. */
const STOP_GRACE_MS = 3_000;

type StopSignal = (typeof STOP_SIGNALS)[number];

/** Aborts with the name of the signal that asks for the end; the second one ends at once. */
function watchForStop(): AbortSignal {
  const stopping = new AbortController();
  const stop = (name: StopSignal): void => {
    const exit = (): never => process.exit(exitCodeOf(name));
    if (stopping.signal.aborted) exit();
    setTimeout(exit, STOP_GRACE_MS).unref();
    stopping.abort(name);
  };
  for (const name of STOP_SIGNALS) process.on(name, stop);
  return stopping.signal;
}

function exitCodeOf(name: StopSignal): number {
  return 128 + constants.signals[name];
}

async function run(command: Command, given: Given, url: string): Promise<number> {
  checkAddress(url);
  const signal = watchForStop();
  const token = readToken(process.env["EDGE_CHANNEL_TOKEN"]);
  const output = new Output(process.stdout, { wantsJson: given.has("json") });
  const streams = { input: process.stdin, output, errors: process.stderr };
  const session = new Session({ url, token, ...streams, signal });
  try {
    const exitCode = await command.run(given, session);
    return signal.aborted ? exitCodeOf(signal.reason as StopSignal) : exitCode;
  } catch (error) {
    // Whoever stops a command, or no longer reads it, knows why it ended.
    if (signal.aborted && isOfTheStop(error, signal)) return exitCodeOf(signal.reason as StopSignal);
    if (error instanceof OutputClosedError) return EXIT.ok;
    throw error;
  } finally {
    await closeInTime(session);
  }
}

/** What a header can carry; without the line end that a file may have given it. */
function readToken(given: string | undefined): string | undefined {
  const token = given?.trim() ?? "";
  if (!/^[\x21-\x7e]*$/.test(token))
    throw new UsageError("Cannot use EDGE_CHANNEL_TOKEN: a token has visible ASCII characters only");
  return token === "" ? undefined : token;
}

/** A server that hangs does not say that a connection is closed. */
async function closeInTime(session: Session): Promise<void> {
  const closed = new AbortController();
  const timeout = delay(STOP_GRACE_MS, undefined, { signal: closed.signal }).catch(() => undefined);
  await Promise.race([session.close(), timeout]);
  closed.abort();
}

function isOfTheStop(error: unknown, signal: AbortSignal): boolean {
  if (error === signal.reason || (error instanceof Error && error.name === "AbortError")) return true;
  return error instanceof EdgeChannelError && ["aborted", "connection-closed", "connection-lost"].includes(error.kind);
}

/** Returns the exit code. */
export async function main([name, ...args]: readonly string[]): Promise<number> {
  const url = process.env["EDGE_CHANNEL_URL"] || DEFAULT_URL;
  const command = COMMANDS.find((each) => each.name === name);
  try {
    if (name === "--help" || name === "-h" || name === "help") {
      console.log(formatOverview(COMMANDS));
      return EXIT.ok;
    }
    if (name === "--version") {
      console.log(manifest.version);
      return EXIT.ok;
    }
    if (command === undefined) throw new UsageError(name === undefined ? "No command is given" : `There is no command "${name}"`);
    const given = Given.parse(args, command);
    if (!given.has("help")) return await run(command, given, url);
    console.log(formatHelp(command));
    return EXIT.ok;
  } catch (error) {
    const { line, exitCode } = describeFailure(error, url);
    if (!(error instanceof UsageError)) console.error(`channel: ${line}`);
    else console.error(`channel: ${line}: see channel ${command === undefined ? "--help" : `${command.name} --help`}`);
    return error instanceof UsageError ? EXIT.usage : exitCode;
  }
}
