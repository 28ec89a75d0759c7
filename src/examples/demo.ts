// `npm run demo`: streams a file through a small channel and proves that every byte came out again, once and in order. With `--world` it plays
// readers in eight colos instead.
import { createHash, type Hash } from "node:crypto";
import { type FileHandle, mkdtemp, open, rm } from "node:fs/promises";
import { constants, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { batchLines } from "./demo/lines.ts";
import { CHANNEL_MESSAGES_MAX, type Pace, Pipeline, PRODUCERS, READERS, type Summary, type Tally } from "./demo/pipeline.ts";
import { formatAmount, formatCount, showProgress, type Step } from "./demo/progress.ts";
import { type Server, startServer } from "./demo/server.ts";
import { LANES, LOCAL_SHARE_MIN } from "./demo/world.ts";
import { showWorld, WORLD_MESSAGES_DEFAULT, WORLD_MESSAGES_MAX, WORLD_MESSAGES_MIN } from "./demo/world-show.ts";

const DEFAULT_FILE = fileURLToPath(new URL("../../package-lock.json", import.meta.url));
const STOP_SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

const SMALL_FILE_BYTES_MAX = 1024 * 1024;
/** Slow enough to watch. */
const SMALL_FILE_PACE: Pace = { putMessages: 20, getMessages: 10, pauseMs: 40 };
/** Readers that are slower by so little that a large file takes no patience. */
const LARGE_FILE_PACE: Pace = { putMessages: 100, getMessages: 60, pauseMs: 10 };

const HELP = `npm run demo [-- --file PATH | --world [--messages N]]

Starts the service on a free port, with its storage in a temporary folder, and streams the lines of a file through one channel of at most
${CHANNEL_MESSAGES_MAX} messages: ${PRODUCERS} producers put them, ${READERS} slower readers get them, and the producers wait whenever the channel is full. Then it puts the
lines back in order and compares the SHA-256 of what came out with that of the file.

  --file PATH   any file, text or binary, of any size; default: package-lock.json of the project
  --world       instead: producers and readers in ${Object.keys(LANES).length} colos of the world, each over a WebSocket; shows who got what and why, on a map
                too, and how much was read where it was put
  --messages N  for --world, ${formatCount(WORLD_MESSAGES_MIN)} to ${formatCount(WORLD_MESSAGES_MAX)}; default: ${formatCount(WORLD_MESSAGES_DEFAULT)}, which takes some six seconds
  --help        prints this

Exit code: 0 if every line came once and the bytes are the same, or of --world every message was handled and acknowledged once and at least
${LOCAL_SHARE_MIN} of them where they were put; 1 if not, 2 for a mistake in the call, 130 after Ctrl-C.`;

/** A mistake of the person who called. */
class UsageError extends Error {}

interface Source {
  readonly path: string;
  readonly handle: FileHandle;
  readonly bytes: number;
}

type Wanted =
  | { readonly type: "help" }
  | { readonly type: "file"; readonly path: string }
  | { readonly type: "world"; readonly messages: number };

function parseWanted(args: readonly string[]): Wanted {
  const flag = { type: "boolean", default: false } as const;
  const options = { file: { type: "string" }, world: flag, messages: { type: "string" }, help: { ...flag, short: "h" } } as const;
  let values;
  try {
    ({ values } = parseArgs({ args: [...args], options }));
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
  const { file, world, messages, help } = values;
  if (help) return { type: "help" };
  if (world && file !== undefined) throw new UsageError("Cannot take --file with --world: it puts messages of its own");
  if (!world && messages !== undefined) throw new UsageError("Cannot take --messages without --world");
  return world ? { type: "world", messages: parseMessages(messages) } : { type: "file", path: resolve(file ?? DEFAULT_FILE) };
}

function parseMessages(given: string | undefined): number {
  const messages = given === undefined ? WORLD_MESSAGES_DEFAULT : Number(given);
  if (Number.isSafeInteger(messages) && messages >= WORLD_MESSAGES_MIN && messages <= WORLD_MESSAGES_MAX) return messages;
  throw new UsageError(`Expected --messages to be ${WORLD_MESSAGES_MIN} to ${WORLD_MESSAGES_MAX}, got "${given}"`);
}

async function openSource(path: string): Promise<Source> {
  const handle = await open(path).catch((error: NodeJS.ErrnoException) => {
    throw new UsageError(`Cannot read ${path}: ${error.code === "ENOENT" ? "there is no such file" : error.message}`);
  });
  const stats = await handle.stat();
  if (stats.isFile()) return { path, handle, bytes: stats.size };
  await handle.close();
  throw new UsageError(`Cannot read ${path}: it is ${stats.isDirectory() ? "a folder" : "not a regular file"}`);
}

/** Passes the chunks on, hashing them as they are in the file. */
async function* hashChunks(chunks: AsyncIterable<Uint8Array>, hash: Hash): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) {
    hash.update(chunk);
    yield chunk;
  }
}

/** Returns whether what came out is what went in. */
async function stream(source: Source, url: string, signal: AbortSignal): Promise<boolean> {
  const pace = source.bytes <= SMALL_FILE_BYTES_MAX ? SMALL_FILE_PACE : LARGE_FILE_PACE;
  console.log(
    `${PRODUCERS} producers put up to ${pace.putMessages} lines at a time; ${READERS} readers take up to ${pace.getMessages} and rest ` +
      `${pace.pauseMs} ms after each; the channel holds at most ${CHANNEL_MESSAGES_MAX}.\n`,
  );
  const hash = createHash("sha256");
  const chunks = source.handle.createReadStream({ autoClose: false }) as AsyncIterable<Uint8Array>;
  const batches = batchLines(hashChunks(chunks, hash), pace.putMessages);
  const pipeline = new Pipeline({ channelUrl: `${url}/v1/channels/demo`, batches, pace, signal });
  const progress = showProgress(source.bytes, () => describeTally(pipeline.tally));
  let summary: Summary;
  try {
    summary = await pipeline.run();
  } finally {
    progress.stop();
  }
  const sha256 = hash.digest("hex");
  console.log(formatSummary(summary, sha256));
  return summary.sha256 === sha256;
}

function describeTally({ put, got, gotBytes, depth, waits }: Tally): Step {
  const counts = `${formatCount(put)} put, ${formatCount(got)} got, ${depth} in the channel`;
  return { done: gotBytes, text: `${counts}, ${formatCount(waits)} waits for room` };
}

function formatSummary(summary: Summary, sha256: string): string {
  const { put, got, gotBytes, waits, depthMost, aheadMost, elapsedMs, stats } = summary;
  const seconds = elapsedMs / 1000;
  const rows = put === 0 ? "no message" : `${(stats.rows.written / put).toFixed(3)} rows written per message`;
  return `
Put      ${formatAmount(put, "message")}; a producer waited for room ${formatAmount(waits, "time")}
Got      ${formatAmount(got, "message")}, ${formatAmount(gotBytes, "byte")}, each message once; at most ${aheadMost} came before one that was due
Channel  held at most ${depthMost} of ${CHANNEL_MESSAGES_MAX} messages when it replied; ${rows}
Speed    ${formatAmount(Math.round(put / seconds), "message")}/s for ${seconds.toFixed(1)} s
SHA-256  of the file      ${sha256}
         of what came out ${summary.sha256} ${summary.sha256 === sha256 ? "(the same)" : "(DIFFERENT)"}
`;
}

async function runStream(source: Source, signal: AbortSignal): Promise<number> {
  console.log(`Streaming ${source.path} (${formatAmount(source.bytes, "byte")}) through a channel. Starting the server …`);
  try {
    return await withServer(signal, async ({ url }) => {
      const isSame = await stream(source, url, signal);
      if (isSame) console.log("Go on with your own messages: npm start");
      else console.error("FAILED: what came out is not what went in");
      return isSame;
    });
  } finally {
    await source.handle.close();
  }
}

async function runWorld(messages: number, signal: AbortSignal): Promise<number> {
  console.log(`Playing the world on this machine with ${formatAmount(messages, "message")}. Starting the server …`);
  return await withServer(signal, ({ url }) => showWorld({ url, messages, signal }));
}

/** The exit code: of what `work` found, or of what ended it. Leaves nothing behind. */
async function withServer(signal: AbortSignal, work: (server: Server) => Promise<boolean>): Promise<number> {
  const storageDir = await mkdtemp(join(tmpdir(), "edge-channel-demo-"));
  let server: Server | undefined;
  try {
    server = await startServer(storageDir, signal);
    return (await work(server)) ? 0 : 1;
  } catch (error) {
    if (signal.aborted) return endedBy(signal);
    console.error(`FAILED: ${error instanceof Error ? error.message : String(error)}`);
    if (server !== undefined) console.error(`\nThe last words of the server:\n${server.output().trim()}`);
    return 1;
  } finally {
    await server?.stop();
    await rm(storageDir, { recursive: true, force: true });
  }
}

function endedBy(signal: AbortSignal): number {
  const name = STOP_SIGNALS.find((known) => known === signal.reason) ?? "SIGINT";
  console.error(`\nStopped by ${name}`);
  return 128 + constants.signals[name];
}

async function main(): Promise<number> {
  const stopping = new AbortController();
  // The second time the signal does what it always does.
  for (const name of STOP_SIGNALS) process.on(name, () => stopping.abort(name));
  try {
    const wanted = parseWanted(process.argv.slice(2));
    if (wanted.type === "world") return await runWorld(wanted.messages, stopping.signal);
    if (wanted.type === "file") return await runStream(await openSource(wanted.path), stopping.signal);
    console.log(HELP);
    return 0;
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    console.error(`${error.message}\n\n${HELP}`);
    return 2;
  }
}

process.exitCode = await main();
