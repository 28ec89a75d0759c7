// Streams of plain readers: one message to many of them, by the channel itself and by relays.
import type { WebSocket } from "ws";
import { LIMITS } from "../../src/protocol/limits.ts";
import type { RelayDescription } from "../../src/protocol/relay-routes.ts";
import { SUBPROTOCOL_BIN } from "../../src/protocol/version.ts";
import { readCpuMs } from "./cpu-time.ts";
import { type FanOutLoadOptions, measureFanOut, putOneByOne } from "./fan-out.ts";
import { type Product, putDriver } from "./product.ts";
import { subscribeAll } from "./reader-place.ts";
import { type Described, type Measured, measuredOfPairs, measuredOfSums } from "./report.ts";
import {
  atLeast,
  atMost,
  floorDriver,
  PUT_1_KB,
  runPairs,
  WARM_UP_MS,
  withChannel,
  withFloor,
  type Bench,
  type Scenario,
} from "./scenario.ts";
import { closeSockets, type Driver, openSockets } from "./ws-load.ts";

const COLOS = ["AMS", "ATL", "CDG", "DFW", "FRA", "GRU", "LHR", "NRT", "SIN", "SYD"];
/** Messages on their way. */
const WINDOW = 8;
/** Commits of a round, and before it. Those of the few readers are more, because each takes less than the clock tells apart. */
const COMMITS_OF_MANY = 100;
const COMMITS_OF_FEW = 1_000;
const COMMITS_BEFORE = 50;
const COMMITS_COUNTED = 20;

/** Readers of one log. */
interface Crowd {
  /** In each of `colos`, over connections for plain reading, where there are any. */
  readonly readers: number;
  readonly colos?: readonly string[];
  readonly relays: { readonly from: number } | null;
  readonly subprotocol?: string;
  readonly creditBytes?: number;
}

const HUNDRED: Crowd = { readers: 100, relays: null };
const THOUSAND: Crowd = { readers: 100, colos: COLOS, relays: null };
const RELAYED: Crowd = { ...THOUSAND, relays: { from: 1 } };
/** What the channel sees of `RELAYED`: a binary reader at each colo, with the credit of a relay. */
const RELAY_LINKS: Crowd = {
  readers: 1,
  colos: COLOS,
  relays: null,
  subprotocol: SUBPROTOCOL_BIN,
  creditBytes: LIMITS.relayCreditBytes,
};

export const STREAM_SCENARIOS: readonly Scenario[] = [
  broadcastScenario({ id: "fanout-100", goal: atLeast(0.6) }, HUNDRED, WINDOW),
  broadcastScenario({ id: "fanout-100-window-1", goal: null }, HUNDRED, 1),
  broadcastScenario({ id: "fanout-1000", goal: atLeast(0.6) }, THOUSAND, WINDOW),
  broadcastScenario({ id: "fanout-1000-window-1", goal: atLeast(0.6) }, THOUSAND, 1),
  relayScenario({ id: "fanout-1000-relayed", baseline: "fanout-1000" }, WINDOW),
  relayScenario({ id: "fanout-1000-relayed-window-1", baseline: "fanout-1000-window-1" }, 1),
  {
    measures: [{ id: "fanout-1000-channel-frames", unit: "frames/commit", baseline: "1,000 readers", goal: atMost(1 / 100) }],
    run: async (bench) => {
      const sides = { ours: () => countFrames(bench, RELAYED), floor: () => countFrames(bench, THOUSAND) };
      return [measuredOfPairs(await runPairs(bench, sides))];
    },
  },
  {
    measures: [{ id: "fanout-1000-channel-cpu", unit: "ms/commit", baseline: "1,000 readers", goal: atMost(1 / 20) }],
    run: runChannelCpu,
  },
];

/** Against a raw worker that sends the same to as many sockets. */
function broadcastScenario(described: Pick<Described, "id" | "goal">, crowd: Crowd, window: number): Scenario {
  return {
    measures: [{ ...described, unit: "deliveries/s", baseline: "broadcast" }],
    run: async (bench) => {
      const sides = { ours: () => fanOut(bench, crowd, window), floor: () => fanOutOfFloor(bench, crowd, window) };
      return [measuredOfPairs(await runPairs(bench, sides))];
    },
  };
}

/** Against the channel itself, which sends to all of them. */
function relayScenario(described: Pick<Described, "id" | "baseline">, window: number): Scenario {
  return {
    measures: [{ ...described, unit: "deliveries/s", goal: atLeast(0.8) }],
    run: async (bench) => {
      const sides = { ours: () => fanOut(bench, RELAYED, window), floor: () => fanOut(bench, THOUSAND, window) };
      return [measuredOfPairs(await runPairs(bench, sides))];
    },
  };
}

/**
 * The same frames are put over one socket on both sides, at the rate at which the readers get them: as many are on their way as the window
 * holds. The floor sends each frame on as it came, to each reader; ours may send those of one commit in one.
 */
async function fanOut(bench: Bench, crowd: Crowd, window: number): Promise<number> {
  return await withCrowd(bench, crowd, async (open) => {
    const ratePerS = await runFanOut({ ...open, bench, window });
    if (crowd.relays !== null) await readRelays(open, crowd);
    return ratePerS;
  });
}

async function fanOutOfFloor(bench: Bench, crowd: Crowd, window: number): Promise<number> {
  return await withFloor(bench, "fan-out", async (url) => {
    const socketUrl = url.replace("http", "ws");
    const putter = await openPutter(socketUrl, floorDriver(PUT_1_KB));
    const readers = await openReaders(socketUrl, floorDriver(PUT_1_KB), crowd);
    const ratePerS = await runFanOut({ bench, window, putter, readers, countMessages: () => 1 });
    await closeSockets([putter, ...readers]);
    return ratePerS;
  });
}

interface OpenCrowd extends Pick<FanOutLoadOptions, "putter" | "readers" | "countMessages"> {
  readonly product: Product;
  readonly channel: string;
}

/** Creates a log, with a socket that puts and subscribed readers. */
async function withCrowd<T>(bench: Bench, crowd: Crowd, use: (open: OpenCrowd) => Promise<T>): Promise<T> {
  const { relays, subprotocol, creditBytes } = crowd;
  return await withChannel(
    bench,
    async (product, channel) => {
      const url = product.socketUrl(channel);
      const putter = await openPutter(url, putDriver(PUT_1_KB));
      const readers = await openReaders(
        crowd.colos === undefined ? url : `${url}?read=plain`,
        putDriver(PUT_1_KB, { subprotocol }),
        crowd,
      );
      const places = await subscribeAll(readers, creditBytes);
      const countMessages = (frame: Buffer, reader: number): number => places[reader]?.advance(frame) ?? 0;
      const result = await use({ product, channel, putter, readers, countMessages });
      await closeSockets([putter, ...readers]);
      return result;
    },
    { retention: "log", relays },
  );
}

async function openPutter(url: string, driver: Driver): Promise<WebSocket> {
  const [putter] = await openSockets(url, 1, driver);
  if (putter === undefined) throw new Error("Cannot measure: a socket is needed");
  return putter;
}

/** Colo by colo: a thousand at once would wait longer for their upgrades than they may. */
async function openReaders(url: string, driver: Driver, { readers, colos }: Crowd): Promise<readonly WebSocket[]> {
  const opened: WebSocket[] = [];
  for (const headers of colos?.map((colo) => ({ "Edge-Colo": colo })) ?? [{}])
    opened.push(...(await openSockets(url, readers, driver, headers)));
  return opened;
}

interface FanOut extends Pick<FanOutLoadOptions, "putter" | "readers" | "countMessages" | "window"> {
  readonly bench: Bench;
}

async function runFanOut({ bench, putter, readers, countMessages, window }: FanOut): Promise<number> {
  const times = { warmUpMs: WARM_UP_MS, durationMs: bench.roundMs };
  return await measureFanOut({ putter, readers, putFrame: PUT_1_KB, countMessages, window, ...times });
}

/** What the relays say of themselves. Throws unless all readers read by them. */
async function readRelays({ product, channel }: OpenCrowd, { readers, colos = [] }: Crowd): Promise<readonly RelayDescription[]> {
  const relays = await product.relays(channel);
  if (relays.length !== colos.length || relays.some((one) => one.readers !== readers))
    throw new Error(`Expected ${colos.length} relays with ${readers} readers each, got ${JSON.stringify(relays)}`);
  return relays;
}

/** Frames of messages that the channel sends for a commit: counted by those who get them, its relays or its readers. */
async function countFrames(bench: Bench, crowd: Crowd): Promise<number> {
  return await withCrowd(bench, crowd, async (open) => {
    let frames = 0;
    const countMessages = (frame: Buffer, reader: number): number => {
      frames += 1;
      return open.countMessages(frame, reader);
    };
    await putOneByOne({ ...open, putFrame: PUT_1_KB, countMessages }, COMMITS_COUNTED);
    if (crowd.relays !== null) frames = (await readRelays(open, crowd)).reduce((sum, { framesIn }) => sum + framesIn, 0);
    return frames / COMMITS_COUNTED;
  });
}

/**
 * The processor time that the runtime of the channel takes for a commit, from the put to the last byte that is sent, with ten relays and with
 * a thousand readers. The readers' relays would be in the same process, so that sockets of the bench stand for the relays' connections: they
 * are at the same colos, speak as relays do, and get the same frames.
 */
async function runChannelCpu(bench: Bench): Promise<readonly Measured[]> {
  const ours = (): Promise<number> => measureCpu(bench, RELAY_LINKS, COMMITS_OF_FEW);
  const floor = (): Promise<number> => measureCpu(bench, THOUSAND, COMMITS_OF_MANY);
  return [measuredOfSums(await runPairs(bench, { ours, floor }))];
}

/** Milliseconds for each commit. */
async function measureCpu(bench: Bench, crowd: Crowd, commits: number): Promise<number> {
  const pid = await bench.servers.productPid();
  return await withCrowd(bench, crowd, async ({ putter, readers, countMessages }) => {
    // One message in a frame: that is a frame for each commit and reader.
    const countOne = (frame: Buffer, reader: number): number => {
      const count = countMessages(frame, reader);
      if (count !== 1) throw new Error(`Expected one message in a frame, got ${count}`);
      return count;
    };
    const load = { putter, readers, putFrame: PUT_1_KB, countMessages: countOne };
    await putOneByOne(load, COMMITS_BEFORE);
    const beforeMs = await readCpuMs(pid);
    await putOneByOne(load, commits);
    return ((await readCpuMs(pid)) - beforeMs) / commits;
  });
}
