// `npm start`: runs the service on this computer with `wrangler dev`, open to programs on this computer only.
// Wrangler gets a process group of its own, so that it can be ended with all that it started, and gets no signal but ours.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createRequire } from "node:module";
import { type AddressInfo, createServer } from "node:net";
import { constants } from "node:os";
import { dirname, join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { endWithUs, findStarters, isRunning } from "./processes.ts";
import { lockStorage, type StorageLock, StorageTakenError } from "./storage-lock.ts";

const PROJECT_DIR = fileURLToPath(new URL("../../", import.meta.url));
const DEFAULT_STORAGE_DIR = join(PROJECT_DIR, ".wrangler", "state");
const HOST = "127.0.0.1";
const DEFAULT_PORT = 8787;
const PORTS_TRIED_MAX = 100;
const START_TIMEOUT_MS = 60_000;
const HEALTH_TIMEOUT_MS = 2_000;
const HEALTH_INTERVAL_MS = 100;
const STOP_GRACE_MS = 5_000;
const STARTERS_INTERVAL_MS = 500;
/** Why a storage folder cannot be used, by the code of the system's error. */
const STORAGE_REASONS: ReadonlyMap<unknown, string> = new Map([
  ["EEXIST", "it is not a folder"],
  ["ENOTDIR", "it is not in a folder"],
  ["EACCES", "it cannot be written to"],
]);
const STOP_SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

const HELP = `npm start [-- --port N] [--storage DIR]

Runs the service at http://${HOST}:PORT, without keys, for this computer only, until Ctrl-C. One at a time works on a storage folder.

  --port N       where to listen; 0 for any free port; default: ${DEFAULT_PORT}, or the next free one if it is taken
  --storage DIR  where the channels are kept; default: .wrangler/state in the project
  --help         prints this`;

/** A mistake of the person who called. */
class UsageError extends Error {}

interface StartOptions {
  /** Undefined for the default or the next free one. */
  readonly port: number | undefined;
  readonly storageDir: string;
}

function parseOptions(args: readonly string[]): StartOptions | "help" {
  const { values } = parseCommandLine(args);
  if (values.help === true) return "help";
  const port = values.port === undefined ? undefined : Number(values.port);
  if (port !== undefined && !(Number.isInteger(port) && port >= 0 && port <= 65_535 && /^\d+$/.test(values.port ?? ""))) {
    throw new UsageError(`Cannot use port "${values.port}": expected a whole number from 0 to 65535`);
  }
  return { port, storageDir: values.storage === undefined ? DEFAULT_STORAGE_DIR : resolve(values.storage) };
}

function parseCommandLine(args: readonly string[]) {
  try {
    const options = { port: { type: "string" }, storage: { type: "string" }, help: { type: "boolean", short: "h" } } as const;
    return parseArgs({ args: [...args], options });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

async function choosePort(wanted: number | undefined): Promise<number> {
  if (wanted !== undefined) {
    const port = await findFreePort(wanted);
    if (port === undefined) throw new UsageError(`Cannot listen on port ${wanted}: it is taken`);
    return port;
  }
  for (let port = DEFAULT_PORT; port < DEFAULT_PORT + PORTS_TRIED_MAX; port += 1) {
    if ((await findFreePort(port)) !== undefined) return port;
  }
  throw new Error(
    `Cannot find a free port from ${DEFAULT_PORT} to ${DEFAULT_PORT + PORTS_TRIED_MAX - 1}: choose one with --port`,
  );
}

/** `port` if it is free, for 0 any that is; undefined if it is taken. Another program may take it before we do: wrangler says so then. */
async function findFreePort(port: number): Promise<number | undefined> {
  const server = createServer();
  try {
    server.listen(port, HOST);
    await once(server, "listening");
    return (server.address() as AddressInfo).port;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "EADDRINUSE") return undefined;
    throw error;
  } finally {
    server.close();
  }
}

/** Wrangler would start all the same where the folder cannot be used, and fail at the first request. */
async function takeStorage(dir: string): Promise<StorageLock> {
  try {
    return await lockStorage(dir);
  } catch (error) {
    // What the system and SQLite say has a code.
    if (!(error instanceof Error && "code" in error)) throw error;
    throw new UsageError(`Cannot keep the channels in ${dir}: ${STORAGE_REASONS.get(error.code) ?? error.message}`);
  }
}

function spawnWrangler(port: number, storageDir: string): ChildProcess {
  const script = join(dirname(createRequire(import.meta.url).resolve("wrangler/package.json")), "bin", "wrangler.js");
  const args = ["dev", "--ip", HOST, "--port", String(port), "--inspector-port", "0", "--var", "DEVELOPMENT:1"];
  args.push("--persist-to", storageDir);
  const env = {
    ...process.env,
    // Nothing is asked of the internet: no location of this computer, no news of versions, no reports.
    CLOUDFLARE_CF_FETCH_ENABLED: "false",
    WRANGLER_HIDE_BANNER: "true",
    WRANGLER_SEND_METRICS: "false",
  };
  return spawn(process.execPath, [script, ...args], {
    cwd: PROJECT_DIR,
    env,
    detached: true,
    stdio: ["ignore", "inherit", "inherit"],
  });
}

async function isHealthy(url: string): Promise<boolean> {
  try {
    const reply = await fetch(`${url}/healthz`, { signal: AbortSignal.timeout(HEALTH_TIMEOUT_MS) });
    await reply.body?.cancel();
    return reply.ok;
  } catch {
    return false;
  }
}

/** Resolves when the service answers, or when `signal` aborts. */
async function waitUntilReady(url: string, signal: AbortSignal): Promise<void> {
  const deadlineMs = performance.now() + START_TIMEOUT_MS;
  while (!signal.aborted && !(await isHealthy(url))) {
    if (performance.now() > deadlineMs)
      throw new Error(`Cannot start: ${url}/healthz did not answer within ${START_TIMEOUT_MS / 1000} s`);
    await delay(HEALTH_INTERVAL_MS);
  }
}

function formatWelcome(url: string): string {
  const messages = `${url}/v1/channels/demo/messages`;
  return `
Edge Channel is ready at ${url}

Put a message, and get it, from another terminal:

  curl -X POST ${messages} -H 'content-type: text/plain' -d 'hello'
  curl --json '{"ack":"auto"}' ${messages}/pull

Stop with Ctrl-C.
`;
}

/** Asks wrangler to end, and ends it with all that it started when it has not done so in time. */
async function stopWrangler(child: ChildProcess, exited: Promise<unknown>): Promise<void> {
  child.kill("SIGTERM");
  const abort = new AbortController();
  await Promise.race([exited, delay(STOP_GRACE_MS, undefined, { signal: abort.signal }).catch(() => undefined)]);
  abort.abort();
  killGroup(child);
  await exited;
}

function killGroup(child: ChildProcess): void {
  try {
    if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
  } catch {
    // Nobody is left in the group.
  }
}

/**
 * Aborts when wrangler ends, when a signal asks for the end (the reason is its name), and when the program ends that started us with a
 * channel to it, or as npm does.
 */
function watchForEnd(exited: Promise<unknown>): AbortSignal {
  const ending = new AbortController();
  for (const signal of STOP_SIGNALS) process.on(signal, () => ending.abort(signal));
  const end = (): void => ending.abort();
  process.once("disconnect", end);
  exited.then(end, end);
  if (process.env["npm_lifecycle_event"] === "start") void watchNpm(ending);
  return ending.signal;
}

/** A signal to npm ends npm, or the shell that it starts us with, and does not reach us: we would serve on and nobody would know. */
async function watchNpm(ending: AbortController): Promise<void> {
  const { ppid } = process;
  const starters = await findStarters();
  while (!ending.signal.aborted) {
    // A process without its parent is given another.
    if (process.ppid !== ppid || !starters.every(isRunning)) ending.abort("SIGTERM");
    await delay(STARTERS_INTERVAL_MS, undefined, { ref: false });
  }
}

/** Runs until the end, and returns the exit code: wrangler's own, or that of the signal that ended it. */
async function run(options: StartOptions): Promise<number> {
  const port = await choosePort(options.port);
  const lock = await takeStorage(options.storageDir);
  try {
    return await serve(port, options.storageDir, lock);
  } finally {
    lock.release();
  }
}

async function serve(port: number, storageDir: string, lock: StorageLock): Promise<number> {
  const url = `http://${HOST}:${port}`;
  const child = spawnWrangler(port, storageDir);
  const exited = once(child, "exit") as Promise<[number | null, NodeJS.Signals | null]>;
  if (child.pid !== undefined) {
    endWithUs(child, -child.pid);
    lock.noteGroup(child.pid);
  }
  const ending = watchForEnd(exited);
  const killLeftovers = (): void => killGroup(child);
  process.once("exit", killLeftovers);
  try {
    await waitUntilReady(url, ending);
    if (!ending.aborted) {
      console.log(formatWelcome(url));
      process.send?.({ type: "ready", url });
      await once(ending, "abort");
    }
  } finally {
    await stopWrangler(child, exited);
    process.off("exit", killLeftovers);
  }
  // Asked to end by a signal, wrangler always says 143: whoever pressed Ctrl-C expects 130.
  const asked = STOP_SIGNALS.find((signal) => signal === ending.reason);
  if (asked !== undefined) return 128 + constants.signals[asked];
  const [code, signal] = await exited;
  return code ?? (signal === null ? 1 : 128 + constants.signals[signal]);
}

async function main(): Promise<number> {
  try {
    const options = parseOptions(process.argv.slice(2));
    if (options !== "help") return await run(options);
    console.log(HELP);
    return 0;
  } catch (error) {
    if (error instanceof StorageTakenError) {
      console.error(error.message);
      return 1;
    }
    if (!(error instanceof UsageError)) throw error;
    console.error(`${error.message}\n\n${HELP}`);
    return 2;
  }
}

process.exitCode = await main();
// An open channel to the program that started us would keep the process alive.
if (process.connected) process.disconnect();
