// Streams lines through one small channel: producers that are faster than the readers, so that they have to wait for room.
import { setTimeout as delay } from "node:timers/promises";
import { ChannelSocket } from "../../client/channel-socket.ts";
import type { ReceivedMessage } from "../../client/message-json.ts";
import type { GetResult } from "../../client/transport.ts";
import type { ChannelDescription, PressureState } from "../../protocol/description.ts";
import type { Line } from "./lines.ts";
import { Reassembly } from "./reassembly.ts";

export const CHANNEL_MESSAGES_MAX = 500;
export const PRODUCERS = 2;
export const READERS = 3;

const LINE_HEADER = "line";
const PUT_WAIT_MS = 60_000;
const GET_WAIT_MS = 1_000;
const AHEAD_PAUSE_MS = 10;
const STALL_MS = 30_000;

/** What makes the readers slower than the producers. */
export interface Pace {
  /** Lines of one put. */
  readonly putMessages: number;
  /** The most messages that a reader takes at a time. */
  readonly getMessages: number;
  /** How long a reader rests after each of its batches. */
  readonly pauseMs: number;
}

/** How far it is. */
export interface Tally {
  readonly put: number;
  readonly got: number;
  readonly gotBytes: number;
  /** Messages in the channel at the last reply. */
  readonly depth: number;
  readonly depthMost: number;
  /** How often a put was told to wait for room. */
  readonly waits: number;
}

export interface Summary extends Tally {
  /** The most lines that were kept because one before them was missing. */
  readonly aheadMost: number;
  /** From the first put to the last get. */
  readonly elapsedMs: number;
  /** SHA-256 of all lines in their order, in hexadecimal. */
  readonly sha256: string;
  readonly stats: ChannelDescription;
}

export interface PipelineOptions {
  readonly channelUrl: string;
  readonly batches: AsyncIterable<readonly Line[]>;
  readonly pace: Pace;
  /** Aborting it rejects the run. */
  readonly signal: AbortSignal;
}

/**
 * One run through a new channel. Each line is a message whose header tells its number; the readers' lines are put back in order by it.
 *
 * Why memory stays bounded: producers take batches strictly in turn and send the next when the last is stored, so in the channel's order
 * no line is more than two batches away from its place. A reader asks for more only while fewer than `CHANNEL_MESSAGES_MAX` lines wait
 * for an earlier one, so at most that many and what the readers have asked for already are kept. It always goes on: the missing line is
 * in the hands of a producer or of a reader, who bring it, or so near the head of the channel that few lines came before it.
 */
export class Pipeline {
  readonly #options: PipelineOptions;
  readonly #reassembly: Reassembly;
  /** Aborts when the first thing goes wrong, with it as the reason. */
  readonly #failing = new AbortController();
  /** Aborts when every line has come. */
  readonly #finishing = new AbortController();
  readonly #ending: AbortSignal;
  #total: number | undefined;
  #put = 0;
  #waits = 0;
  #depth = 0;
  #depthMost = 0;
  #lastCameAtMs = performance.now();

  constructor(options: PipelineOptions) {
    this.#options = options;
    this.#reassembly = new Reassembly(CHANNEL_MESSAGES_MAX + READERS * options.pace.getMessages);
    this.#ending = AbortSignal.any([options.signal, this.#failing.signal, this.#finishing.signal]);
  }

  get tally(): Tally {
    const { count: got, bytes: gotBytes } = this.#reassembly;
    return { put: this.#put, got, gotBytes, depth: this.#depth, depthMost: this.#depthMost, waits: this.#waits };
  }

  /** Resolves when every line was put and got once; rejects with the first thing that goes wrong. */
  async run(): Promise<Summary> {
    await this.#createChannel();
    const sockets: ChannelSocket[] = [];
    try {
      const producers = await this.#connect(PRODUCERS, sockets);
      const readers = await this.#connect(READERS, sockets);
      const startedAtMs = performance.now();
      const tasks = [this.#produce(producers), ...readers.map((reader) => this.#read(reader))];
      for (const task of tasks) task.catch((error: unknown) => this.#failing.abort(error));
      await Promise.race([Promise.all(tasks), rejectOnAbort(AbortSignal.any([this.#options.signal, this.#failing.signal]))]);
      const elapsedMs = performance.now() - startedAtMs;
      return { ...(await this.#summarize(sockets)), elapsedMs };
    } finally {
      this.#failing.abort();
      // Nobody waits for the other side to agree: the server is stopped next.
      for (const socket of sockets) void socket.close();
    }
  }

  async #createChannel(): Promise<void> {
    const { channelUrl, signal } = this.#options;
    const body = JSON.stringify({ maxMessages: CHANNEL_MESSAGES_MAX });
    const reply = await fetch(channelUrl, { method: "PUT", headers: { "content-type": "application/json" }, body, signal });
    const text = await reply.text();
    if (reply.status !== 201) throw new Error(`Cannot create the channel: ${reply.status} ${text}`);
  }

  async #connect(count: number, opened: ChannelSocket[]): Promise<ChannelSocket[]> {
    const sockets: ChannelSocket[] = [];
    for (let index = 0; index < count; index += 1) {
      const options = { signal: this.#options.signal, onWait: () => void (this.#waits += 1) };
      sockets.push(await ChannelSocket.connect(`${this.#options.channelUrl}/socket`, options));
    }
    opened.push(...sockets);
    return sockets;
  }

  /** Deals the batches to the producers in turn; each sends its next when its last is stored. */
  async #produce(producers: readonly ChannelSocket[]): Promise<void> {
    const busy = new Map<ChannelSocket, Promise<void>>();
    const turns = cycle(producers);
    for await (const batch of this.#options.batches) {
      const producer = turns.next().value;
      await busy.get(producer);
      if (this.#ending.aborted) return;
      const putting = this.#putBatch(producer, batch);
      putting.catch((error: unknown) => this.#failing.abort(error));
      busy.set(producer, putting);
    }
    await Promise.all(busy.values());
    this.#total = this.#put;
    this.#finishWhenComplete();
  }

  async #putBatch(producer: ChannelSocket, batch: readonly Line[]): Promise<void> {
    const messages = batch.map(({ number, bytes }) => ({ body: bytes, headers: { [LINE_HEADER]: String(number) } }));
    const { count, state } = await producer.putBatch(messages, { waitMs: PUT_WAIT_MS, signal: this.#ending });
    if (count !== batch.length) throw new Error(`The channel stored ${count} of ${batch.length} messages`);
    this.#put += count;
    this.#note(state);
  }

  async #read(reader: ChannelSocket): Promise<void> {
    const { getMessages, pauseMs } = this.#options.pace;
    while (!this.#ending.aborted) {
      while (this.#reassembly.ahead >= CHANNEL_MESSAGES_MAX && !this.#ending.aborted) {
        this.#refuseStall();
        await pause(AHEAD_PAUSE_MS, this.#ending);
      }
      // Cancelled, it still answers: with what it took before, so that nothing is lost.
      const got = await reader.get({ max: getMessages, waitMs: GET_WAIT_MS, signal: this.#ending });
      this.#take(got);
      if (got.messages.length === 0) this.#refuseStall();
      else await pause(pauseMs, this.#ending);
    }
  }

  #take({ messages, state }: GetResult): void {
    for (const message of messages) this.#reassembly.add(lineNumberOf(message), bytesOf(message));
    if (messages.length > 0) this.#lastCameAtMs = performance.now();
    this.#note(state);
    this.#finishWhenComplete();
  }

  #note({ depth }: PressureState): void {
    if (depth > CHANNEL_MESSAGES_MAX)
      throw new Error(`The channel holds ${depth} messages: the limit is ${CHANNEL_MESSAGES_MAX}`);
    this.#depth = depth;
    this.#depthMost = Math.max(this.#depthMost, depth);
  }

  #refuseStall(): void {
    if (this.#ending.aborted || performance.now() - this.#lastCameAtMs < STALL_MS) return;
    const { count, next } = this.#reassembly;
    throw new Error(`Nothing came for ${STALL_MS / 1000} s: ${this.#put} lines were put and ${count} came, line ${next} did not`);
  }

  #finishWhenComplete(): void {
    if (this.#total !== undefined && this.#reassembly.count >= this.#total) this.#finishing.abort();
  }

  async #summarize([socket]: readonly ChannelSocket[]): Promise<Omit<Summary, "elapsedMs">> {
    if (socket === undefined) throw new Error("No connection is open");
    const stats = await socket.stats();
    const { counts, depth } = stats;
    const isConsistent = depth === 0 && counts.put === this.#put && counts.acked === this.#put && counts.removed === 0;
    if (!isConsistent)
      throw new Error(`The channel counts otherwise: ${this.#put} lines were put, but it says ${JSON.stringify(counts)}`);
    return { ...this.tally, aheadMost: this.#reassembly.aheadMost, sha256: this.#reassembly.digest(), stats };
  }
}

function* cycle<Item>(items: readonly Item[]): Generator<Item, never> {
  for (;;) yield* items;
}

function lineNumberOf(message: ReceivedMessage): number {
  const number = Number(message.headers?.[LINE_HEADER]);
  if (!Number.isSafeInteger(number) || number < 1)
    throw new Error(`The message at offset ${message.offset} does not tell its line`);
  return number;
}

function bytesOf(message: ReceivedMessage): Uint8Array {
  if (message.body instanceof Uint8Array) return message.body;
  throw new Error(`The message at offset ${message.offset} was put as bytes and came as something else`);
}

async function pause(delayMs: number, signal: AbortSignal): Promise<void> {
  await delay(delayMs, undefined, { signal }).catch(() => undefined);
}

function rejectOnAbort(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const fail = (): void => {
      const reason: unknown = signal.reason;
      reject(reason instanceof Error ? reason : new Error(String(reason)));
    };
    if (signal.aborted) fail();
    else signal.addEventListener("abort", fail);
  });
}
