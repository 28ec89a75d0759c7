// The world on one machine: producers and readers of one channel in eight colos, each over a WebSocket of its own that says where it is.
import { setTimeout as delay } from "node:timers/promises";
import type { Channel } from "../../client/channel.ts";
import type { Consumer } from "../../client/consumer.ts";
import { EdgeChannel } from "../../client/edge-channel.ts";
import type { LeasedMessage } from "../../client/leased-message.ts";
import type { OpenSocket, WebSocketLike } from "../../client/open-socket.ts";
import type { Producer } from "../../client/producer.ts";
import type { ChannelDescription } from "../../protocol/description.ts";
import { type Nearness, nearnessOf, NEARNESSES, needColo } from "./nearness.ts";
import { type ExampleRoute, localShareOf, type ReaderTally } from "./world-report.ts";

/**
 * How many messages that were put in a colo are on the way or worked on at a time: the next is put when one is done, so that a slow machine
 * plays the same world more slowly. Only IAD and GRU have more than their own readers work on at a time.
 */
export const LANES = { IAD: 7, EWR: 2, SJC: 2, LHR: 2, FRA: 3, NRT: 2, SIN: 2, GRU: 6 } as const;
export const READERS_OF_COLO = 2;
/** A reader works on so many messages at a time, and gives credit for no more. */
export const CONCURRENCY = 2;
export const WORK_MS_MIN = 30;
export const WORK_MS_MAX = 70;
/** Of 26 messages at a time 21 find a reader in their colo, which is 0.81; one in eight would if messages went anywhere. */
export const LOCAL_SHARE_MIN = 0.6;

const CHANNEL = "world";
const JOIN_PAUSE_MS = 20;
const STALL_MS = 15_000;
const STALL_LOOK_MS = 1_000;
/** Histories that are asked for, of messages that were put equally near. */
const EXAMPLES_OF_NEARNESS = 2;

export interface WorldTally {
  readonly put: number;
  readonly handled: number;
  /** Of these, in the colo where they were put. */
  readonly local: number;
}

export interface WorldResult {
  readonly readers: readonly ReaderTally[];
  readonly examples: readonly ExampleRoute[];
  readonly elapsedMs: number;
  /** What is not as it must be, in words; none when all is well. */
  readonly faults: readonly string[];
}

export interface WorldOptions {
  /** The address of the service, in development. */
  readonly url: string;
  /** How many messages are put altogether. */
  readonly messages: number;
  /** Aborting it rejects the run. */
  readonly signal: AbortSignal;
}

interface Reader extends ReaderTally {
  readonly got: Record<Nearness, number>;
}

type WithHeaders = new (
  url: string,
  options: { readonly protocols: readonly string[]; readonly headers: object },
) => WebSocketLike;

/** Node's WebSocket takes headers, though its type does not say so. */
function openFrom(colo: string): OpenSocket {
  const Socket = globalThis.WebSocket as unknown as WithHeaders;
  return (url, headers, protocols) => new Socket(url, { protocols, headers: { ...headers, "Edge-Colo": colo } });
}

export class World {
  readonly #options: WorldOptions;
  readonly #readers: Reader[] = [];
  readonly #consumers: Consumer[] = [];
  readonly #clients: EdgeChannel[] = [];
  /** How often each message was handled. */
  readonly #handledOf: Uint32Array;
  /** Who waits for a message to be handled. */
  readonly #waiting = new Map<number, () => void>();
  readonly #examples: ExampleRoute[] = [];
  /** How many examples were begun with. */
  readonly #asked = { colo: 0, region: 0, continent: 0, any: 0 };
  /** Aborts with what goes wrong first, or when it is over. */
  readonly #ending = new AbortController();
  readonly #signal: AbortSignal;
  /** Over HTTP, from nowhere. */
  readonly #channel: Channel;
  #next = 0;
  #put = 0;
  #handled = 0;
  #lastHandledAtMs = 0;

  constructor(options: WorldOptions) {
    this.#options = options;
    this.#handledOf = new Uint32Array(options.messages);
    this.#signal = AbortSignal.any([options.signal, this.#ending.signal]);
    this.#channel = EdgeChannel.connect(options.url).channel(CHANNEL);
  }

  get tally(): WorldTally {
    return { put: this.#put, handled: this.#handled, local: this.#readers.reduce((sum, { got }) => sum + got.colo, 0) };
  }

  /** Resolves when every message was handled; rejects with the first thing that goes wrong. */
  async run(): Promise<WorldResult> {
    try {
      await this.#channel.create({}, { signal: this.#signal });
      for (const colo of Object.keys(LANES)) for (let number = 1; number <= READERS_OF_COLO; number++) this.#read(colo, number);
      await this.#untilAllRead();
      const startedAtMs = performance.now();
      this.#lastHandledAtMs = startedAtMs;
      const producing = Object.entries(LANES).map(([colo, lanes]) => this.#produce(colo, lanes));
      await Promise.race([Promise.all(producing), this.#watch()]);
      const elapsedMs = performance.now() - startedAtMs;
      await Promise.all(this.#consumers.map((consumer) => consumer.stop({ signal: this.#signal })));
      const faults = this.#findFaults(await this.#channel.stats({ signal: this.#signal }));
      return { readers: this.#readers, examples: this.#listExamples(), elapsedMs, faults };
    } catch (error) {
      throw this.#ending.signal.aborted ? this.#ending.signal.reason : error;
    } finally {
      this.#ending.abort();
      await Promise.all(this.#clients.map((client) => client.close()));
    }
  }

  /** The channel over a socket of its own, in a colo. */
  #connect(colo: string): Channel {
    const client = EdgeChannel.connect(this.#options.url, { transport: "socket", openSocket: openFrom(colo) });
    this.#clients.push(client);
    return client.channel(CHANNEL);
  }

  #read(colo: string, number: number): void {
    const reader: Reader = { name: `${colo}-${number}`, colo, got: { colo: 0, region: 0, continent: 0, any: 0 } };
    this.#readers.push(reader);
    const fail = (error: unknown): void => this.#ending.abort(error);
    const options = { reader: reader.name, concurrency: CONCURRENCY, prefetch: CONCURRENCY, signal: this.#signal, onError: fail };
    const consumer = this.#connect(colo).consume((message) => this.#handle(reader, message), options);
    consumer.done.catch(fail);
    this.#consumers.push(consumer);
  }

  /** The channel itself tells who is there, and where. */
  async #untilAllRead(): Promise<void> {
    const startedAtMs = performance.now();
    for (;;) {
      const reply = await fetch(`${this.#options.url}/v1/channels/${CHANNEL}/readers?role=reader`, { signal: this.#signal });
      const { colos } = (await reply.json()) as {
        readonly colos: readonly { readonly colo: string; readonly readers: number }[];
      };
      const present = colos.filter(({ colo, readers }) => colo in LANES && readers === READERS_OF_COLO).length;
      if (present === Object.keys(LANES).length) return;
      if (performance.now() - startedAtMs > STALL_MS) throw new Error(`Readers are in ${present} of the colos only`);
      await delay(JOIN_PAUSE_MS, undefined, { signal: this.#signal });
    }
  }

  async #produce(colo: string, lanes: number): Promise<void> {
    await using producer = this.#connect(colo).producer({ signal: this.#signal });
    await Promise.all(Array.from({ length: lanes }, () => this.#putOneByOne(colo, producer)));
  }

  async #putOneByOne(colo: string, producer: Producer): Promise<void> {
    while (this.#next < this.#options.messages) {
      const number = this.#next++;
      const handled = Promise.withResolvers<void>();
      this.#waiting.set(number, handled.resolve);
      await producer.put({ json: { number, colo } });
      this.#put += 1;
      await handled.promise;
    }
  }

  /** Rejects when nothing comes any more, or something went wrong. */
  async #watch(): Promise<never> {
    for (;;) {
      await delay(STALL_LOOK_MS, undefined, { signal: this.#signal });
      if (performance.now() - this.#lastHandledAtMs > STALL_MS)
        throw new Error(`Nothing came for ${STALL_MS / 1000} s: ${this.#put} messages were put and ${this.#handled} handled`);
    }
  }

  async #handle(reader: Reader, message: LeasedMessage): Promise<void> {
    const { number, colo: origin } = readBody(message);
    const nearness = nearnessOf(needColo(origin), needColo(reader.colo));
    const working = delay(workMsOf(number), undefined, { signal: this.#signal });
    await Promise.all([working, this.#noteExample(reader, message.offset, origin, nearness)]);
    this.#handledOf[number] = (this.#handledOf[number] ?? 0) + 1;
    reader.got[nearness] += 1;
    this.#handled += 1;
    this.#lastHandledAtMs = performance.now();
    this.#waiting.get(number)?.();
    this.#waiting.delete(number);
  }

  /** Asks the history of a message why it came here, as long as the reader has it; of the first of each kind. */
  async #noteExample({ name: reader, colo }: Reader, offset: number, origin: string, nearness: Nearness): Promise<void> {
    if (this.#asked[nearness] >= EXAMPLES_OF_NEARNESS) return;
    this.#asked[nearness] += 1;
    const { groups } = await this.#channel.history(offset, { signal: this.#signal });
    const route = groups[0]?.events.at(-1)?.route;
    if (route === undefined) throw new Error(`The history of message ${offset} does not tell why it went to ${reader}`);
    this.#examples.push({ offset, origin, reader, colo, nearness, route });
  }

  #listExamples(): readonly ExampleRoute[] {
    return NEARNESSES.flatMap((one) => this.#examples.filter(({ nearness }) => nearness === one));
  }

  #findFaults({ counts, depth }: ChannelDescription): readonly string[] {
    const { messages } = this.#options;
    const missing = this.#handledOf.filter((times) => times === 0).length;
    const repeated = this.#handledOf.filter((times) => times > 1).length;
    const share = localShareOf(this.#readers);
    const isCounted = depth === 0 && counts.put === messages && counts.acked === messages;
    return [
      ...(missing === 0 ? [] : [`${missing} messages were not handled`]),
      ...(repeated === 0 ? [] : [`${repeated} messages were handled more than once`]),
      ...(isCounted ? [] : [`the channel counts otherwise: depth ${depth}, ${JSON.stringify(counts)}`]),
      ...(share >= LOCAL_SHARE_MIN ? [] : [`${share.toFixed(3)} of the messages stayed local: expected ${LOCAL_SHARE_MIN}`]),
    ];
  }
}

/** From message to message another, and in every run the same. */
function workMsOf(number: number): number {
  return WORK_MS_MIN + ((number * 17) % (WORK_MS_MAX - WORK_MS_MIN + 1));
}

function readBody({ offset, body }: LeasedMessage): { readonly number: number; readonly colo: string } {
  if (typeof body === "object" && "json" in body) return body.json as { number: number; colo: string };
  throw new Error(`The message at offset ${offset} was put as JSON and came as something else`);
}
