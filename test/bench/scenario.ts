// What scenarios are made of: goals, loads that either side runs, a fresh object for each round.
import { type Pair, runPairedRounds, type Sides } from "./paired-rounds.ts";
import { SUBPROTOCOL_BIN } from "../../src/protocol/version.ts";
import {
  getFrames,
  type FrameMaker,
  Product,
  putBatchFrames,
  putBlockFrames,
  putDriver,
  putFrames,
  type Replies,
  TEXT_100_B,
  TEXT_1_KB,
} from "./product.ts";
import type { Described, Goal, Measured } from "./report.ts";
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

export const WARM_UP_MS = 250;
/** Of every load over HTTP; a batch put over a socket keeps its own window of 8. */
export const HTTP_CONNECTIONS = 16;

export const atLeast = (limit: number): Goal => ({ of: "ratio", bound: "at-least", limit });
export const atMost = (limit: number): Goal => ({ of: "ratio", bound: "at-most", limit });
export const atMostRows = (limit: number): Goal => ({ of: "value", bound: "at-most", limit });

/** A load that either side runs; the floors see the same frames, windows and sockets. */
export interface Shape {
  readonly frames: FrameMaker;
  /** What is spoken to the product; JSON if absent. */
  readonly subprotocol?: string;
  /** How the product replies; joined if absent. The floors reply to each frame. */
  readonly replies?: Replies;
  readonly sockets: number;
  readonly window: number;
  readonly messagesPerFrame: number;
}

export const PUT_1_KB = putFrames(TEXT_1_KB);
export const PUT_1: Shape = { frames: PUT_1_KB, sockets: 1, window: 1, messagesPerFrame: 1 };
export const PUT_64: Shape = { frames: PUT_1_KB, replies: "each", sockets: 1, window: 64, messagesPerFrame: 1 };
export const PUT_64_JOINED: Shape = { ...PUT_64, replies: "joined" };
export const PUT_32X4: Shape = { frames: PUT_1_KB, sockets: 32, window: 4, messagesPerFrame: 1 };
export const PUT_BATCH: Shape = { frames: putBatchFrames(TEXT_1_KB, 100), sockets: 1, window: 8, messagesPerFrame: 100 };
export const PUT_BATCH_BINARY: Shape = {
  frames: putBlockFrames(TEXT_1_KB, 100),
  subprotocol: SUBPROTOCOL_BIN,
  sockets: 1,
  window: 8,
  messagesPerFrame: 100,
};
export const PUT_BATCH_OF_SMALL: Shape = {
  ...PUT_BATCH_BINARY,
  frames: putBlockFrames(TEXT_100_B, 1_000),
  messagesPerFrame: 1_000,
};
export const GET_BATCH: Shape = { frames: getFrames(100), sockets: 1, window: 8, messagesPerFrame: 100 };

export function rate(shape: Shape, result: LoadResult): number {
  return (result.answers * shape.messagesPerFrame * 1_000) / result.elapsedMs;
}

export async function runPairs(bench: Bench, sides: Sides<number>): Promise<Pair<number>[]> {
  const ours = bench.isFloorsOnly ? async (): Promise<number> => Number.NaN : sides.ours;
  return await runPairedRounds(bench.rounds, { ours, floor: sides.floor }, bench.onRound);
}

export async function runRounds(bench: Bench, measure: () => Promise<number>): Promise<number[]> {
  const pairs = await runPairs(bench, { ours: measure, floor: async () => Number.NaN });
  return pairs.map(({ ours }) => ours);
}

let namesGiven = 0;

/** No two rounds share an object: what an earlier one left behind would slow the later ones. */
export function freshName(): string {
  namesGiven += 1;
  return `bench-${namesGiven}`;
}

/** Creates a channel for the time of one measurement; `settings` beside those that every channel has here. */
export async function withChannel<T>(
  bench: Bench,
  use: (product: Product, channel: string) => Promise<T>,
  settings: object = {},
): Promise<T> {
  const product = new Product(await bench.servers.productUrl());
  const channel = freshName();
  await product.create(channel, settings);
  const result = await use(product, channel);
  await product.drop(channel);
  return result;
}

export async function withFloor<T>(bench: Bench, kind: string, use: (url: string) => Promise<T>): Promise<T> {
  const url = `${await bench.servers.floorsUrl()}/${kind}/${freshName()}`;
  const result = await use(url);
  const dropped = await fetch(url, { method: "DELETE" });
  if (!dropped.ok) throw new Error(`DELETE ${url} was answered ${dropped.status}`);
  return result;
}

/** A floor answers in order and its frames carry no id. */
export function floorDriver(frames: FrameMaker): Driver {
  return { request: frames, answered: () => "oldest" };
}

export async function loadProduct(bench: Bench, product: Product, channel: string, shape: Shape): Promise<LoadResult> {
  return await runShape(bench, product.socketUrl(channel), shape, putDriver(shape.frames, shape));
}

export async function loadFloor(bench: Bench, url: string, shape: Shape): Promise<LoadResult> {
  return await runShape(bench, url.replace("http", "ws"), shape, floorDriver(shape.frames));
}

async function runShape(bench: Bench, url: string, shape: Shape, driver: Driver): Promise<LoadResult> {
  const sockets = await openSockets(url, shape.sockets, driver);
  const result = await runWsLoad({ sockets, driver, window: shape.window, warmUpMs: WARM_UP_MS, durationMs: bench.roundMs });
  await closeSockets(sockets);
  return result;
}

/** Sends exactly so many frames over one socket, however long it takes. */
export async function loadExactly(
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
