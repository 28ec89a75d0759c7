// What is measured, against which floor, and what it must reach. A scenario measures one or several ids in the same rounds.
import type { LocalRuntime } from "../../src/cli/local-runtime.ts";
import { post } from "./http-client.ts";
import { type CycleOptions, HttpCycle } from "./http-cycle.ts";
import { runHttpLoad } from "./http-load.ts";
import { measurePutToWaitingGet } from "./latency.ts";
import { median, type Pair, quantile, runPairedRounds, type Sides } from "./paired-rounds.ts";
import {
  askStats,
  type FrameMaker,
  getDriver,
  getFrames,
  Product,
  putBatchFrames,
  putDriver,
  putFrames,
  TEXT_100_B,
  TEXT_1_KB,
} from "./product.ts";
import { type Described, type Goal, type Measured, measuredOfPairs, measuredOfValues } from "./report.ts";
import type { Servers } from "./servers.ts";
import { closeSockets, type Driver, type LoadResult, openSockets, runWsLoad } from "./ws-load.ts";

export interface Bench {
  readonly servers: Servers;
  readonly rounds: number;
  readonly roundMs: number;
  /** Measures the baselines only. */
  readonly isFloorsOnly: boolean;
  readonly onRound: () => void;
}

export interface Scenario {
  readonly measures: readonly Described[];
  /** In the order of `measures`. */
  run(bench: Bench): Promise<readonly Measured[]>;
}

const WARM_UP_MS = 250;
const P99_SAMPLES_MIN = 10_000;
const WAKE_MESSAGES = 200_000;
const WAKE_BATCH = 1_000;
/** What is filled before a get round: more than 100 KB frames can be taken in the time on this kind of machine. */
const GET_FRAMES_PER_S = 1_500;
/** Over so many batches rows are counted. */
const PULLED_BATCHES = 1_000;
const BACKLOG_OPERATIONS = 2_000;
const BACKLOG_WINDOW = 16;

/** Of every load over HTTP; a batch put over a socket keeps its own window of 8. */
const HTTP_CONNECTIONS = 16;
const PRODUCER = { "producer-id": "bench", "producer-epoch": "0" };

const atLeast = (limit: number): Goal => ({ of: "ratio", bound: "at-least", limit });
const atMost = (limit: number): Goal => ({ of: "ratio", bound: "at-most", limit });
const atMostRows = (limit: number): Goal => ({ of: "value", bound: "at-most", limit });

/** A load that either side runs; the floors see the same frames, windows and sockets. */
interface Shape {
  readonly frames: FrameMaker;
  readonly sockets: number;
  readonly window: number;
  readonly messagesPerFrame: number;
}

const PUT_1_KB = putFrames(TEXT_1_KB);
const PUT_1: Shape = { frames: PUT_1_KB, sockets: 1, window: 1, messagesPerFrame: 1 };
const PUT_64: Shape = { frames: PUT_1_KB, sockets: 1, window: 64, messagesPerFrame: 1 };
const PUT_32X4: Shape = { frames: PUT_1_KB, sockets: 32, window: 4, messagesPerFrame: 1 };
const PUT_BATCH: Shape = { frames: putBatchFrames(TEXT_1_KB, 100), sockets: 1, window: 8, messagesPerFrame: 100 };
const GET_BATCH: Shape = { frames: getFrames(100), sockets: 1, window: 8, messagesPerFrame: 100 };

export const SCENARIOS: readonly Scenario[] = [
  putScenario(PUT_1, "row", { id: "put-1", baseline: "row-per-put", goal: atLeast(0.85), floorReference: 1_200 }),
  putScenario(PUT_64, "echo", { id: "put-64", baseline: "echo", goal: atLeast(1.1), floorReference: 8_000 }),
  putScenario(PUT_64, "row", { id: "put-64-vs-row", baseline: "row-per-put", goal: atLeast(5), floorReference: 1_650 }),
  putScenario(PUT_64, "queued-echo", { id: "put-64-vs-queued-echo", baseline: "queued-echo", goal: atLeast(0.8) }),
  putScenario(PUT_32X4, "echo", { id: "put-32x4", baseline: "echo", goal: atLeast(1), floorReference: 5_700 }),
  putScenario(PUT_BATCH, "row", { id: "put-batch-100", baseline: "packed", goal: atLeast(0.7), floorReference: 37_000 }),
  {
    measures: [{ id: "get-batch-100", unit: "messages/s", baseline: "get-batch", goal: null }],
    run: async (bench) => [measuredOfPairs(await runPairs(bench, getBatchRounds(bench)))],
  },
  {
    measures: [{ id: "http-put", unit: "requests/s", baseline: "rpc-row-per-put", goal: atLeast(1.3), floorReference: 1_050 }],
    run: async (bench) => [measuredOfPairs(await runPairs(bench, httpRounds(bench)))],
  },
  {
    measures: [
      { id: "latency-put-to-waiting-get", unit: "ms", baseline: "row-per-put round trip", goal: atMost(1.7) },
      { id: "latency-put-to-waiting-get-p99", unit: "ms", baseline: "row-per-put round trip", goal: null },
    ],
    run: runLatency,
  },
  {
    measures: [{ id: "pull-ack-100", unit: "messages/s", baseline: "packed", goal: atLeast(0.3), floorReference: 37_000 }],
    run: async (bench) => [measuredOfPairs(await runPairs(bench, cycleRounds(bench)))],
  },
  {
    measures: [{ id: "rows-put-64", unit: "rows/message", baseline: null, goal: atMostRows(0.1) }],
    run: async (bench) => [measuredOfValues(await runRounds(bench, () => countRowsOfPuts(bench)))],
  },
  pulledRowsScenario("rows-pulled-100", 4, {}),
  pulledRowsScenario("rows-pulled-100-idempotent", 5, {
    putHeaders: (index) => ({ ...PRODUCER, "producer-seq": String(index + 1) }),
  }),
  {
    measures: [
      { id: "wake-200k", unit: "ms", baseline: "wake with 100 waiting", goal: null },
      {
        id: "wake-200k-rows",
        unit: "rows read",
        baseline: "wake with 100 waiting",
        goal: { of: "value", bound: "below", limit: 1_000 },
      },
    ],
    run: runWake,
  },
  {
    measures: [{ id: "backlog-200k", unit: "operations/s", baseline: "the same with none waiting", goal: atLeast(0.8) }],
    run: runBacklog,
  },
];

function putScenario(shape: Shape, floorKind: string, described: Omit<Described, "unit">): Scenario {
  return {
    measures: [{ ...described, unit: "messages/s" }],
    run: async (bench) => {
      const pairs = await runPairs(bench, {
        ours: () =>
          withChannel(bench, async (product, channel) => rate(shape, await loadProduct(bench, product, channel, shape))),
        floor: () => withFloor(bench, floorKind, async (url) => rate(shape, await loadFloor(bench, url, shape))),
      });
      return [measuredOfPairs(pairs)];
    },
  };
}

function rate(shape: Shape, result: LoadResult): number {
  return (result.answers * shape.messagesPerFrame * 1_000) / result.elapsedMs;
}

async function runPairs(bench: Bench, sides: Sides<number>): Promise<Pair<number>[]> {
  const ours = bench.isFloorsOnly ? async (): Promise<number> => Number.NaN : sides.ours;
  return await runPairedRounds(bench.rounds, { ours, floor: sides.floor }, bench.onRound);
}

async function runRounds(bench: Bench, measure: () => Promise<number>): Promise<number[]> {
  const pairs = await runPairs(bench, { ours: measure, floor: async () => Number.NaN });
  return pairs.map(({ ours }) => ours);
}

let namesGiven = 0;

/** No two rounds share an object: what an earlier one left behind would slow the later ones. */
function freshName(): string {
  namesGiven += 1;
  return `bench-${namesGiven}`;
}

async function withChannel<T>(bench: Bench, use: (product: Product, channel: string) => Promise<T>): Promise<T> {
  const product = new Product(await bench.servers.productUrl());
  const channel = freshName();
  await product.create(channel);
  const result = await use(product, channel);
  await product.drop(channel);
  return result;
}

async function withFloor<T>(bench: Bench, kind: string, use: (url: string) => Promise<T>): Promise<T> {
  const url = `${await bench.servers.floorsUrl()}/${kind}/${freshName()}`;
  const result = await use(url);
  const dropped = await fetch(url, { method: "DELETE" });
  if (!dropped.ok) throw new Error(`DELETE ${url} was answered ${dropped.status}`);
  return result;
}

/** A floor answers in order and its frames carry no id. */
function floorDriver(frames: FrameMaker): Driver {
  return { request: frames, answered: () => "oldest" };
}

async function loadProduct(bench: Bench, product: Product, channel: string, shape: Shape): Promise<LoadResult> {
  return await runShape(bench, product.socketUrl(channel), shape, putDriver(shape.frames));
}

async function loadFloor(bench: Bench, url: string, shape: Shape): Promise<LoadResult> {
  return await runShape(bench, url.replace("http", "ws"), shape, floorDriver(shape.frames));
}

async function runShape(bench: Bench, url: string, shape: Shape, driver: Driver): Promise<LoadResult> {
  const sockets = await openSockets(url, shape.sockets, driver);
  const result = await runWsLoad({ sockets, driver, window: shape.window, warmUpMs: WARM_UP_MS, durationMs: bench.roundMs });
  await closeSockets(sockets);
  return result;
}

/** Sends exactly so many frames over one socket, however long it takes. */
async function loadExactly(
  url: string,
  driver: Driver,
  window: number,
  frames: number,
  durationMs = 600_000,
): Promise<LoadResult> {
  const sockets = await openSockets(url, 1, driver);
  const result = await runWsLoad({ sockets, driver, window, warmUpMs: 0, durationMs, requestsMax: frames });
  await closeSockets(sockets);
  return result;
}

function getBatchRounds(bench: Bench): Sides<number> {
  const frames = Math.ceil((GET_FRAMES_PER_S * bench.roundMs) / 1_000);
  const { window } = GET_BATCH;
  return {
    ours: () =>
      withChannel(bench, async (product, channel) => {
        const url = product.socketUrl(channel);
        await loadExactly(url, putDriver(PUT_BATCH.frames), window, frames);
        const driver = getDriver(GET_BATCH.frames, GET_BATCH.messagesPerFrame, TEXT_1_KB.length);
        return rate(GET_BATCH, await loadExactly(url, driver, window, frames, bench.roundMs));
      }),
    floor: () =>
      withFloor(bench, "take", async (httpUrl) => {
        const url = httpUrl.replace("http", "ws");
        await loadExactly(url, floorDriver(PUT_BATCH.frames), window, frames);
        return rate(GET_BATCH, await loadExactly(url, floorDriver(GET_BATCH.frames), window, frames, bench.roundMs));
      }),
  };
}

function httpRounds(bench: Bench): Sides<number> {
  const times = { connections: HTTP_CONNECTIONS, warmUpMs: WARM_UP_MS, durationMs: bench.roundMs };
  const [headers, body] = [{ "content-type": "text/plain" }, Buffer.from(TEXT_1_KB)];
  const load = (url: string): Promise<number> => runHttpLoad(times, (agent) => post(agent, { url, headers, body }));
  return {
    ours: () => withChannel(bench, (product, channel) => load(product.messagesUrl(channel))),
    floor: () => withFloor(bench, "row", load),
  };
}

function cycleRounds(bench: Bench): Sides<number> {
  const times = { connections: HTTP_CONNECTIONS, warmUpMs: WARM_UP_MS, durationMs: bench.roundMs };
  const count = PUT_BATCH.messagesPerFrame;
  return {
    ours: () =>
      withChannel(bench, async (product, channel) => {
        const cycle = new HttpCycle({ messagesUrl: product.messagesUrl(channel), text: TEXT_1_KB, count });
        return count * (await runHttpLoad(times, (agent) => cycle.run(agent)));
      }),
    floor: () => withFloor(bench, "row", async (url) => rate(PUT_BATCH, await loadFloor(bench, url, PUT_BATCH))),
  };
}

async function runLatency(bench: Bench): Promise<readonly Measured[]> {
  const times = { warmUpMs: WARM_UP_MS, durationMs: bench.roundMs };
  const driver = putDriver(PUT_1_KB);
  const pairs = await runPairedRounds<readonly number[]>(
    bench.rounds,
    {
      ours: async () => {
        if (bench.isFloorsOnly) return [];
        return await withChannel(bench, async (product, channel) => {
          const sockets = await openSockets(product.socketUrl(channel), 2, driver);
          const [putter, getter] = sockets;
          if (putter === undefined || getter === undefined) throw new Error("Cannot measure: two sockets are needed");
          const latenciesMs = await measurePutToWaitingGet(putter, getter, times);
          await closeSockets(sockets);
          return latenciesMs;
        });
      },
      floor: () => withFloor(bench, "row", async (url) => (await loadFloor(bench, url, PUT_1)).latenciesMs),
    },
    bench.onRound,
  );
  const pooled = { ours: pairs.flatMap(({ ours }) => ours), floor: pairs.flatMap(({ floor }) => floor) };
  const value = quantile(pooled.ours, 0.99);
  const baselineValue = quantile(pooled.floor, 0.99);
  const samples = Math.min(pooled.floor.length, bench.isFloorsOnly ? Number.POSITIVE_INFINITY : pooled.ours.length);
  if (samples < P99_SAMPLES_MIN) console.error(`The p99 stands on ${samples} samples only: it takes ${P99_SAMPLES_MIN}.`);
  const p99Ratios = pairs.map(({ ours, floor }) => quantile(ours, 0.99) / quantile(floor, 0.99));
  return [
    measuredOfPairs(pairs.map(({ ours, floor }) => ({ ours: median(ours), floor: median(floor) }))),
    { value, baselineValue, ratio: value / baselineValue, spread: p99Ratios },
  ];
}

async function countRowsOfPuts(bench: Bench): Promise<number> {
  return await withChannel(bench, async (product, channel) => {
    const driver = putDriver(PUT_64.frames);
    const sockets = await openSockets(product.socketUrl(channel), 1, driver);
    const [socket] = sockets;
    if (socket === undefined) throw new Error("Cannot measure: a socket is needed");
    const before = await askStats(socket);
    const load = { sockets, driver, window: PUT_64.window, warmUpMs: WARM_UP_MS, durationMs: bench.roundMs };
    const { answersInAll } = await runWsLoad(load);
    const after = await askStats(socket);
    await closeSockets(sockets);
    return (after.rows.written - before.rows.written) / answersInAll;
  });
}

function pulledRowsScenario(id: string, limit: number, puts: Pick<CycleOptions, "putHeaders">): Scenario {
  const countRows = (bench: Bench): Promise<number> =>
    withChannel(bench, async (product, channel) => {
      const cycle = new HttpCycle({ messagesUrl: product.messagesUrl(channel), text: TEXT_1_KB, count: 100, ...puts });
      // The first batch creates what the others use again.
      await cycle.runTimes(1);
      const before = await product.stats(channel);
      await cycle.runTimes(PULLED_BATCHES);
      const after = await product.stats(channel);
      if (after.depth > 0) throw new Error(`Expected nothing to be left over, found ${after.depth} messages`);
      return (after.rows.written - before.rows.written) / PULLED_BATCHES;
    });
  return {
    measures: [{ id, unit: "rows/batch", baseline: null, goal: atMostRows(limit) }],
    run: async (bench) => [measuredOfValues(await runRounds(bench, () => countRows(bench)))],
  };
}

async function fill(product: Product, channel: string, messages: number): Promise<void> {
  await product.create(channel);
  const batch = Math.min(WAKE_BATCH, messages);
  await loadExactly(product.socketUrl(channel), putDriver(putBatchFrames(TEXT_100_B, batch)), 8, messages / batch);
}

interface Waking {
  readonly firstMs: number;
  readonly rowsRead: number;
}

/** Every round starts workerd again on the same storage, as after an eviction; the first operation takes one message. */
async function runWake(bench: Bench): Promise<readonly Measured[]> {
  if (bench.isFloorsOnly) return [measuredOfValues([Number.NaN]), measuredOfValues([Number.NaN])];
  let runtime: LocalRuntime = await bench.servers.startProduct("wake");
  await fill(new Product(runtime.url), "full", WAKE_MESSAGES);
  await fill(new Product(runtime.url), "short", 100);
  const wake = async (channel: string): Promise<Waking> => {
    await runtime.stop();
    runtime = await bench.servers.startProduct("wake");
    const product = new Product(runtime.url);
    await product.touch();
    const startedAtMs = performance.now();
    await product.pullOne(channel);
    const firstMs = performance.now() - startedAtMs;
    return { firstMs, rowsRead: (await product.stats(channel)).rows.read };
  };
  const sides = { ours: () => wake("full"), floor: () => wake("short") };
  const pairs = await runPairedRounds<Waking>(bench.rounds, sides, bench.onRound);
  await runtime.stop();
  return [
    measuredOfPairs(pairs.map(({ ours, floor }) => ({ ours: ours.firstMs, floor: floor.firstMs }))),
    measuredOfPairs(pairs.map(({ ours, floor }) => ({ ours: ours.rowsRead, floor: floor.rowsRead }))),
  ];
}

async function runBacklog(bench: Bench): Promise<readonly Measured[]> {
  if (bench.isFloorsOnly) return [measuredOfValues([Number.NaN])];
  const product = new Product(await bench.servers.productUrl());
  const [full, empty] = [freshName(), freshName()];
  await fill(product, full, WAKE_MESSAGES);
  await product.create(empty);
  const measure = async (channel: string): Promise<number> => {
    const url = product.socketUrl(channel);
    const [puts, gets] = [putDriver(putFrames(TEXT_100_B)), getDriver(getFrames(1), 1, TEXT_100_B.length)];
    let operations = 0;
    let elapsedMs = 0;
    while (elapsedMs < bench.roundMs) {
      for (const driver of [puts, gets]) {
        // Gets follow puts: side by side they would meet as waiting gets, which never reach the backlog.
        const result = await loadExactly(url, driver, BACKLOG_WINDOW, BACKLOG_OPERATIONS);
        operations += result.answers;
        elapsedMs += result.elapsedMs;
      }
    }
    return (operations * 1_000) / elapsedMs;
  };
  const pairs = await runPairs(bench, { ours: () => measure(full), floor: () => measure(empty) });
  await product.drop(full);
  await product.drop(empty);
  return [measuredOfPairs(pairs)];
}
