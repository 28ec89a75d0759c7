// Kills workerd while producers pipeline puts, again and again on one storage directory, and checks what is left (G1, G2, G4, G8).
// As a script, for longer runs: node test/e2e/kill-rounds.ts --rounds 200 --seed 7
import { once } from "node:events";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { isDeepStrictEqual, parseArgs } from "node:util";
import { WebSocket } from "ws";
import { buildWorker, type LocalRuntime, startLocalRuntime } from "../../src/cli/local-runtime.ts";
import type { ChannelDescription } from "../../src/protocol/description.ts";
import { chooseSeed, SeededRandom } from "./hostile/seeded-random.ts";

// On the project's disk and not in the system's temporary folder, which may be memory.
const CACHE_DIR = fileURLToPath(new URL("../../node_modules/.cache/", import.meta.url));
const CHANNEL = "kill";
const PRODUCERS = 4;
const WINDOW = 64;
const GETS_WINDOW = 4;
const ACKED_MIN = 1000;
const ACKED_FURTHER_MAX = 1200;
const BROWSE_LIMIT = 1000;
/** Waits for events end here, so that a hang is reported as one. */
const STALL_MS = 20_000;

/** One put: `count` messages of a producer, numbered from `first`. */
export interface SentPut {
  readonly producer: number;
  readonly first: number;
  readonly count: number;
  /** The offset that the acknowledgement named; undefined where none came. */
  offset?: number;
}

export interface Seen {
  readonly offset: number;
  readonly text: string;
  readonly key?: string;
  readonly messageId?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Counts {
  readonly depth: number;
  readonly bytes: number;
  readonly nextOffset: number;
  readonly put: number;
  readonly acked: number;
  readonly removed: number;
}

/** What happened between two looks at the channel. */
export interface Round {
  /** Of each producer in the order of sending; a producer has one connection a round. */
  readonly puts: readonly SentPut[];
  /** Messages in replies to gets, in the order of the replies. */
  readonly taken: readonly Seen[];
  /** The most messages that gets without a reply may have taken. */
  readonly lostGetsMax: number;
  /** Everything that is there afterwards. */
  readonly browsed: readonly Seen[];
  readonly counts: Counts;
}

/** The text of a message: it names its producer and number, and every other character follows from them. */
export function textOf(producer: number, number: number): string {
  const name = `${producer}/${number}/`;
  const length = 200 + ((Math.imul(producer * 65_537 + number, 2_654_435_761) >>> 0) % 1800);
  return name + name.repeat(Math.ceil(length / name.length)).slice(0, length);
}

/** What a message has besides its text: each combination of key, id and headers, told by its number. */
export function metadataOf(number: number): Omit<Seen, "offset" | "text"> {
  return {
    ...(number % 3 === 0 && { key: `key-${number % 7}` }),
    ...(number % 4 === 0 && { messageId: `id-${number}` }),
    ...(number % 5 === 0 && { headers: { number: String(number), "trace-id": "ž" } }),
  };
}

/** What a message counts against `maxBytes` (PT6). */
export function bytesOf({ text, key = "", messageId = "", headers = {} }: Seen): number {
  return Buffer.byteLength([text, key, messageId, ...Object.entries(headers).flat()].join(""));
}

type Fate = "kept" | "taken" | "gone" | "unknown";

interface Tracked {
  readonly producer: number;
  readonly number: number;
  fate: Fate;
  offset: number | undefined;
}

/** Follows every message over all rounds, and says what is wrong. Knows nothing of servers. */
export class KillChecker {
  readonly #messages = new Map<string, Tracked>();
  #violations: string[] = [];
  #takenInAll = 0;
  #lostInAll = 0;

  /** The violations of a round; empty when all is well. */
  check(round: Round): string[] {
    this.#violations = [];
    this.#track(round.puts);
    this.#checkTaken(round.taken);
    this.#checkBrowsed(round.browsed);
    this.#checkMissing(round);
    this.#checkWholeness(round);
    this.#checkCounts(round);
    return this.#violations;
  }

  #track(puts: readonly SentPut[]): void {
    for (const { producer, first, count, offset } of puts) {
      for (let index = 0; index < count; index++) {
        const acked = offset === undefined ? undefined : offset + index;
        const tracked: Tracked = {
          producer,
          number: first + index,
          fate: acked === undefined ? "unknown" : "kept",
          offset: acked,
        };
        this.#messages.set(textOf(producer, first + index), tracked);
      }
    }
  }

  #checkTaken(taken: readonly Seen[]): void {
    let lastOffset = 0;
    for (const seen of taken) {
      const tracked = this.#identify(seen, "taken");
      if (seen.offset <= lastOffset) this.#violations.push(`taken out of order: ${seen.offset} after ${lastOffset}`);
      lastOffset = seen.offset;
      if (tracked === undefined) continue;
      if (tracked.fate === "taken" || tracked.fate === "gone") this.#violations.push(`taken twice: ${nameOf(tracked)}`);
      tracked.fate = "taken";
      this.#takenInAll += 1;
    }
  }

  #checkBrowsed(browsed: readonly Seen[]): void {
    const lastNumbers = new Map<number, number>();
    const names = new Set<Tracked>();
    let lastOffset = 0;
    for (const seen of browsed) {
      const isHole = lastOffset > 0 && seen.offset > lastOffset + 1;
      if (seen.offset <= lastOffset) this.#violations.push(`offsets do not rise: ${seen.offset} after ${lastOffset}`);
      if (isHole) this.#violations.push(`offsets have a hole: ${seen.offset} after ${lastOffset}`);
      lastOffset = seen.offset;
      const tracked = this.#identify(seen, "browsed");
      if (tracked === undefined) continue;
      if (names.has(tracked)) this.#violations.push(`there twice: ${nameOf(tracked)} at ${seen.offset}`);
      names.add(tracked);
      if (tracked.fate === "taken" || tracked.fate === "gone")
        this.#violations.push(`came back: ${nameOf(tracked)} at ${seen.offset}`);
      else tracked.fate = "kept";
      const lastNumber = lastNumbers.get(tracked.producer) ?? 0;
      if (tracked.number <= lastNumber) this.#violations.push(`out of order: ${nameOf(tracked)} after number ${lastNumber}`);
      lastNumbers.set(tracked.producer, tracked.number);
    }
  }

  /** What was acknowledged is there, unless a get without a reply may have taken it: from the head, in order, and not too many. */
  #checkMissing({ browsed, counts, lostGetsMax }: Round): void {
    const there = new Set(browsed.map((seen) => seen.text));
    const head = browsed[0]?.offset ?? counts.nextOffset;
    let missing = 0;
    for (const [text, tracked] of this.#messages) {
      if (tracked.fate !== "kept" || there.has(text)) continue;
      missing += 1;
      const isExplained = lostGetsMax > 0 && tracked.offset !== undefined && tracked.offset < head;
      if (!isExplained) this.#violations.push(`lost: ${nameOf(tracked)}, acknowledged at ${tracked.offset ?? "?"}`);
      tracked.fate = "gone";
    }
    if (missing > lostGetsMax)
      this.#violations.push(`lost: ${missing} messages, but gets without a reply explain ${lostGetsMax}`);
  }

  /** A batch is stored whole, and with a put everything that its connection sent before (G2, G8). */
  #checkWholeness({ puts, lostGetsMax }: Round): void {
    const producersAtEnd = new Set<number>();
    for (const { producer, first, count } of puts) {
      const fates = Array.from({ length: count }, (_, index) => this.#messages.get(textOf(producer, first + index))?.fate);
      const stored = fates.filter((fate) => fate !== "unknown").length;
      const name = `${producer}/${first}+${count}`;
      // What was stored, and then taken by a get without a reply, can not be told from what was never stored.
      const mayBeTaken = lostGetsMax > 0 && fates[0] === "unknown";
      if (stored > 0 && stored < count && !mayBeTaken) this.#violations.push(`stored in part: ${name}`);
      if (stored > 0 && producersAtEnd.has(producer)) this.#violations.push(`stored without what was sent before: ${name}`);
      if (stored === 0 && lostGetsMax === 0) producersAtEnd.add(producer);
    }
    // An unknown put that is not there now was never stored, or taken: it must not appear later.
    for (const tracked of this.#messages.values()) if (tracked.fate === "unknown") tracked.fate = "gone";
  }

  #checkCounts({ browsed, counts, lostGetsMax }: Round): void {
    const { put, depth, bytes, acked, removed, nextOffset } = counts;
    this.#lostInAll += lostGetsMax;
    const wrong = (what: string): void => void this.#violations.push(`${what}: ${JSON.stringify(counts)}`);
    if (put !== depth + acked + removed) wrong("put is not depth + acked + removed");
    if (depth !== browsed.length) wrong(`depth is not the ${browsed.length} messages that are there`);
    const there = browsed.reduce((sum, seen) => sum + bytesOf(seen), 0);
    if (bytes !== there) wrong(`bytes are not the ${there} of the messages that are there`);
    if (put !== nextOffset - 1) wrong("put is not the last offset");
    if (removed !== 0) wrong("nothing was removed");
    if (acked < this.#takenInAll || acked > this.#takenInAll + this.#lostInAll) {
      wrong(`acked is not the ${this.#takenInAll} that were taken, and at most ${this.#lostInAll} more`);
    }
    const last = browsed.at(-1);
    if (last !== undefined && last.offset !== nextOffset - 1) wrong(`the last message is at ${last.offset}`);
  }

  #identify(seen: Seen, how: string): Tracked | undefined {
    const tracked = this.#messages.get(seen.text);
    if (tracked === undefined) {
      this.#violations.push(`${how} but never sent: "${seen.text.slice(0, 40)}" at ${seen.offset}`);
      return undefined;
    }
    const { key, messageId, headers } = seen;
    const isWhole = isDeepStrictEqual(withoutAbsent({ key, messageId, headers }), metadataOf(tracked.number));
    if (!isWhole) this.#violations.push(`damaged: ${nameOf(tracked)} has ${JSON.stringify({ key, messageId, headers })}`);
    if (tracked.offset !== undefined && tracked.offset !== seen.offset) {
      this.#violations.push(`moved: ${nameOf(tracked)} was at ${tracked.offset} and is ${how} at ${seen.offset}`);
    }
    tracked.offset = seen.offset;
    return tracked;
  }
}

function withoutAbsent(members: Readonly<Record<string, unknown>>): object {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined));
}

function nameOf({ producer, number }: Tracked): string {
  return `${producer}/${number}`;
}

interface Frame {
  readonly type: string;
  readonly id: number;
  readonly offset: number;
  readonly messages: readonly Seen[];
}

async function openSocket(url: string): Promise<WebSocket> {
  const address = `${url.replace("http", "ws")}/v1/channels/${CHANNEL}/socket`;
  const socket = new WebSocket(address, "channel.v1.json", { perMessageDeflate: false });
  await once(socket, "open", { signal: AbortSignal.timeout(STALL_MS) });
  // A killed server is an "error" first; "close" follows.
  socket.on("error", () => undefined);
  const welcome = once(socket, "message", { signal: AbortSignal.timeout(STALL_MS) });
  socket.send('{"type":"hello","versions":[1]}');
  await welcome;
  return socket;
}

/** The traffic of one round, up to the kill. */
class Traffic {
  readonly puts: SentPut[] = [];
  readonly taken: Seen[] = [];
  readonly #random: SeededRandom;
  readonly #nextNumbers: number[];
  readonly #failed = Promise.withResolvers<never>();
  readonly #enough = Promise.withResolvers<void>();
  readonly #ackedWanted: number;
  readonly #getsInFlight = new Map<number, number>();
  #acked = 0;
  #isOver = false;

  constructor(random: SeededRandom, nextNumbers: number[], ackedWanted: number) {
    this.#random = random;
    this.#nextNumbers = nextNumbers;
    this.#ackedWanted = ackedWanted;
  }

  get acked(): number {
    return this.#acked;
  }

  get unknown(): number {
    return this.puts.filter((put) => put.offset === undefined).length;
  }

  get lostGetsMax(): number {
    return [...this.#getsInFlight.values()].reduce((sum, max) => sum + max, 0);
  }

  /** Resolves when enough is acknowledged, with puts still in flight. */
  async runUntilEnough(producers: readonly WebSocket[], reader: WebSocket | undefined): Promise<void> {
    for (const [producer, socket] of producers.entries()) this.#produce(producer, socket);
    if (reader !== undefined) this.#read(reader);
    const stalled = AbortSignal.timeout(STALL_MS);
    stalled.addEventListener("abort", () => this.#failed.reject(new Error(`Only ${this.#acked} puts were acknowledged in time`)));
    await Promise.race([this.#enough.promise, this.#failed.promise]);
  }

  /** What arrives from now on was sent before the kill; nothing more is sent. */
  end(): void {
    this.#isOver = true;
  }

  #produce(producer: number, socket: WebSocket): void {
    const inFlight = new Map<number, SentPut>();
    const sendNext = (): void => {
      const put = this.#makePut(producer);
      inFlight.set(put.first, put);
      socket.send(formatPut(put));
    };
    this.#onFrame(socket, (frame) => {
      const put = inFlight.get(frame.id);
      if (frame.type !== "put-ok" || put === undefined) return this.#fail(`Unexpected answer to a put: ${JSON.stringify(frame)}`);
      inFlight.delete(frame.id);
      put.offset = frame.offset;
      this.#acked += put.count;
      if (this.#acked >= this.#ackedWanted) this.#enough.resolve();
      if (!this.#isOver) sendNext();
    });
    this.#watch(socket);
    for (let sent = 0; sent < WINDOW; sent++) sendNext();
  }

  #makePut(producer: number): SentPut {
    const first = this.#nextNumbers[producer] ?? 1;
    const count = this.#random.chance(0.1) ? this.#random.int(2, 8) : 1;
    this.#nextNumbers[producer] = first + count;
    const put: SentPut = { producer, first, count };
    this.puts.push(put);
    return put;
  }

  #read(socket: WebSocket): void {
    let id = 0;
    const sendNext = (): void => {
      id += 1;
      const max = this.#random.int(1, 20);
      this.#getsInFlight.set(id, max);
      socket.send(JSON.stringify({ type: "get", id, max }));
    };
    this.#onFrame(socket, (frame) => {
      if (frame.type !== "got") return this.#fail(`Unexpected answer to a get: ${JSON.stringify(frame)}`);
      this.#getsInFlight.delete(frame.id);
      this.taken.push(...frame.messages);
      if (!this.#isOver) sendNext();
    });
    this.#watch(socket);
    for (let sent = 0; sent < GETS_WINDOW; sent++) sendNext();
  }

  #watch(socket: WebSocket): void {
    socket.on("close", (code) => {
      if (!this.#isOver) this.#fail(`A connection was closed with ${code}`);
    });
  }

  #onFrame(socket: WebSocket, listener: (frame: Frame) => void): void {
    socket.on("message", (data) => {
      // oxlint-disable-next-line typescript/no-base-to-string -- a text frame is one Buffer
      const text = String(data);
      const frame = JSON.parse(text) as Frame;
      if (frame.type === "echo") socket.send(text);
      else listener(frame);
    });
  }

  #fail(reason: string): void {
    this.#failed.reject(new Error(reason));
  }
}

function formatPut({ producer, first, count }: SentPut): string {
  const messages = Array.from({ length: count }, (_, index) => ({
    text: textOf(producer, first + index),
    ...metadataOf(first + index),
  }));
  return JSON.stringify(count === 1 ? { type: "put", id: first, ...messages[0] } : { type: "put-batch", id: first, messages });
}

interface Page {
  readonly messages: readonly Seen[];
  readonly next: number | null;
}

async function browseAll(url: string): Promise<Seen[]> {
  const all: Seen[] = [];
  for (let from: number | null = 1; from !== null;) {
    const page: Page = await fetchJson<Page>(`${url}/v1/channels/${CHANNEL}/messages?from=${from}&limit=${BROWSE_LIMIT}`);
    for (const message of page.messages) all.push(message);
    from = page.next;
  }
  return all;
}

async function readCounts(url: string): Promise<Counts> {
  const { depth, bytes, nextOffset, counts } = await fetchJson<ChannelDescription>(`${url}/v1/channels/${CHANNEL}`);
  return { depth, bytes, nextOffset, put: counts.put, acked: counts.acked, removed: counts.removed };
}

async function fetchJson<Value>(address: string): Promise<Value> {
  const reply = await fetch(address, { signal: AbortSignal.timeout(STALL_MS) });
  if (!reply.ok) throw new Error(`${address} answered ${reply.status}: ${await reply.text()}`);
  return (await reply.json()) as Value;
}

/** Takes `count` messages one get after another, without a kill, so that the backlog stays small. */
async function takeSome(url: string, count: number): Promise<Seen[]> {
  const socket = await openSocket(url);
  const taken: Seen[] = [];
  while (taken.length < count) {
    socket.send(JSON.stringify({ type: "get", id: 1, max: Math.min(1000, count - taken.length) }));
    const { messages } = await readAnswer(socket);
    if (messages.length === 0) break;
    for (const message of messages) taken.push(message);
  }
  socket.terminate();
  return taken;
}

/** The next frame that is no question whether frames are read; that is sent back. */
async function readAnswer(socket: WebSocket): Promise<Frame> {
  const [data] = (await once(socket, "message", { signal: AbortSignal.timeout(STALL_MS) })) as [Buffer];
  const frame = JSON.parse(data.toString()) as Frame;
  if (frame.type !== "echo") return frame;
  socket.send(data.toString());
  return await readAnswer(socket);
}

export interface KillOptions {
  readonly rounds: number;
  readonly seed: number;
  readonly onRound?: (round: number, summary: KillSummary) => void;
}

export interface KillSummary {
  readonly rounds: number;
  readonly acked: number;
  /** Puts that were in flight when the process was killed. */
  readonly unknown: number;
  readonly taken: number;
  readonly lostGetsMax: number;
  readonly violations: readonly string[];
}

/** Runs the rounds and stops after the first with a violation. */
export async function runKillRounds({ rounds, seed, onRound }: KillOptions): Promise<KillSummary> {
  await mkdir(CACHE_DIR, { recursive: true });
  const dir = await mkdtemp(join(CACHE_DIR, "kill-"));
  const { bundle } = await buildWorker({ outDir: join(dir, "bundle") });
  const start = (): Promise<LocalRuntime> =>
    startLocalRuntime({ bundle, storageDir: join(dir, "storage"), vars: { DEVELOPMENT: "1" } });
  const random = new SeededRandom(seed);
  const checker = new KillChecker();
  const nextNumbers = Array.from({ length: PRODUCERS }, () => 1);
  let summary: KillSummary = { rounds: 0, acked: 0, unknown: 0, taken: 0, lostGetsMax: 0, violations: [] };
  let runtime = await start();
  try {
    for (let round = 1; round <= rounds && summary.violations.length === 0; round++) {
      const traffic = new Traffic(random.fork(), nextNumbers, ACKED_MIN + random.int(0, ACKED_FURTHER_MAX));
      const hasReader = round % 3 === 0;
      await runToKill(runtime, traffic, { hasReader, turns: random.int(0, 20) });
      runtime = await start();
      const browsed = await browseAll(runtime.url);
      const counts = await readCounts(runtime.url);
      const { puts, taken, lostGetsMax } = traffic;
      const violations = checker.check({ puts, taken, lostGetsMax, browsed, counts });
      // Every few rounds down to a few messages, or to none.
      const drained = round % 4 === 0 ? await takeSome(runtime.url, Math.max(0, counts.depth - random.int(0, 600))) : [];
      if (drained.length > 0) violations.push(...(await checkAfter(checker, runtime.url, drained)));
      summary = {
        rounds: round,
        acked: summary.acked + traffic.acked,
        unknown: summary.unknown + traffic.unknown,
        taken: summary.taken + taken.length + drained.length,
        lostGetsMax: summary.lostGetsMax + lostGetsMax,
        violations: violations.map((violation) => `round ${round}: ${violation}`),
      };
      onRound?.(round, summary);
    }
    return summary;
  } finally {
    await runtime.kill();
    await rm(dir, { recursive: true, force: true });
  }
}

/** Opens the connections, lets them work, and kills workerd itself in the middle. Resolves when it and the connections are gone. */
async function runToKill(runtime: LocalRuntime, traffic: Traffic, plan: { hasReader: boolean; turns: number }): Promise<void> {
  const producers = await Promise.all(Array.from({ length: PRODUCERS }, () => openSocket(runtime.url)));
  const reader = plan.hasReader ? await openSocket(runtime.url) : undefined;
  const sockets = reader === undefined ? producers : [...producers, reader];
  await traffic.runUntilEnough(producers, reader);
  // Some turns of the event loop more: the kill shall not always follow the arrival of a frame.
  for (let turn = 0; turn < plan.turns; turn++) await new Promise((resolve) => setImmediate(resolve));
  const closed = Promise.all(sockets.map((socket) => once(socket, "close")));
  process.kill(runtime.pid, "SIGKILL");
  traffic.end();
  await runtime.kill();
  // Replies that left before the kill are still read: they are acknowledgements like all others.
  await closed;
}

async function checkAfter(checker: KillChecker, url: string, taken: readonly Seen[]): Promise<string[]> {
  return checker.check({ puts: [], taken, lostGetsMax: 0, browsed: await browseAll(url), counts: await readCounts(url) });
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { rounds: { type: "string", default: "100" }, seed: { type: "string" } } });
  const seed = values.seed === undefined ? chooseSeed() : Number(values.seed);
  const rounds = Number(values.rounds);
  console.log(`${rounds} rounds, seed ${seed}`);
  const startedAtMs = performance.now();
  const summary = await runKillRounds({
    rounds,
    seed,
    onRound: (round, { acked, unknown, taken }) => {
      if (round % 10 === 0)
        console.log(`round ${round}: ${acked} acknowledged, ${unknown} puts in flight at a kill, ${taken} taken`);
    },
  });
  console.log(JSON.stringify({ seed, ...summary, seconds: Math.round((performance.now() - startedAtMs) / 1000) }, undefined, 2));
  if (summary.violations.length > 0) process.exitCode = 1;
}

if (import.meta.main) await main();
