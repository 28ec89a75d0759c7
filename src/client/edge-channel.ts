// The way in: one service, its channels by their names.
import type { ChannelEntry } from "../protocol/description.ts";
import { checkOptions, expectType, type CallOptions } from "./call-options.ts";
import { Channel } from "./channel.ts";
import { ChannelCalls } from "./channel-calls.ts";
import { ChannelSocket } from "./channel-socket.ts";
import { consumeWith } from "./consume.ts";
import type { ConsumeBatchesOptions, ConsumeWithOptions } from "./consume-options.ts";
import type { Consumer } from "./consumer.ts";
import { EdgeChannelError } from "./edge-channel-error.ts";
import { checkNumbers, type NumberBounds } from "./given-number.ts";
import type { BatchHandler, MessageHandler } from "./handlers.ts";
import { HttpTransport } from "./http-transport.ts";
import type { SocketOptions } from "./open-socket.ts";
import { Requester, type RequesterOptions } from "./requester.ts";
import { Retries, type RetryOptions } from "./retries.ts";
import { SocketTransport } from "./socket-transport.ts";
import type { Transport } from "./transport.ts";

export interface EdgeChannelOptions extends RequesterOptions, SocketOptions, RetryOptions {
  /**
   * What carries puts, gets and settles: `"http"`, a request each, or `"socket"`, a WebSocket for each channel, which is faster for many of
   * them and the only way to keep the order of puts that are not awaited. Checkpoints go the same way, all else over HTTP either way. In Workers a WebSocket
   * belongs to the event in which it was opened, and so does a client that uses one. Default: `"http"`.
   */
  readonly transport?: "http" | "socket" | undefined;
  /** Called each time a put over a socket is told to wait for room: this is where a producer feels back-pressure. Default: none. */
  readonly onWait?: (() => void) | undefined;
  /** How long a WebSocket may take to open before the calls that wait for it reject, in milliseconds, at most 600,000. Default: 30,000. */
  readonly connectMsMax?: number | undefined;
}

const CONNECT_MS_BOUNDS: { readonly connectMsMax: NumberBounds } = { connectMsMax: [30_000, 1, 600_000] };
/** Each has a connection, or a request that waits, and messages that are held here. */
const CONSUMED_MAX = 16;

export interface ListChannelsOptions extends CallOptions {
  /** Only names that begin so. Default: all. */
  readonly prefix?: string | undefined;
  /** Only names behind this one. Default: all. */
  readonly after?: string | undefined;
  /** Channels of one request, at most 1,000. Default: 100. */
  readonly pageSize?: number | undefined;
}

/**
 * A client of one service. It runs in Node from version 22, browsers and Workers.
 *
 * @example
 * const client = EdgeChannel.connect("https://channels.example.com", { token, transport: "socket" });
 * const orders = client.channel("orders");
 * await orders.put({ json: { order: 7 } }, { waitMs: 5_000 });
 * await client.close();
 */
export class EdgeChannel {
  readonly #options: EdgeChannelOptions;
  readonly #connectMsMax: number;
  readonly #requester: Requester;
  readonly #retries: Retries;
  /** Those that have a connection of their own. */
  readonly #connected = new Map<string, Channel>();

  private constructor(url: string | URL, options: EdgeChannelOptions) {
    this.#options = checkOptions(options);
    if (!/^(http|socket)$/.test(options.transport ?? "http"))
      throw EdgeChannelError.refused('Cannot take the transport: expected "http" or "socket"');
    this.#connectMsMax = checkNumbers(options, CONNECT_MS_BOUNDS).connectMsMax;
    this.#requester = new Requester(url, options);
    this.#retries = new Retries(options);
  }

  /**
   * Sends nothing yet: connections are made by the first call that needs them, and again after they were lost.
   *
   * @param url The address of the service, `http(s)://HOST`, with the path that comes before `/v1` if there is one.
   */
  static connect(url: string | URL, options: EdgeChannelOptions = {}): EdgeChannel {
    return new EdgeChannel(url, options);
  }

  /** A channel by its name: 1 to 128 letters, digits and `. _ ~ : -`. Over sockets the same name is the same connection, until that is ended. */
  channel(name: string): Channel {
    expectType("string", name, "the name of a channel");
    const known = this.#connected.get(name);
    if (known !== undefined) return known;
    const calls = new ChannelCalls(this.#requester, this.#retries, name);
    const channel = new Channel(name, this.#openTransport(name), calls, this.#retries);
    if (this.#options.transport === "socket") this.#connected.set(name, channel);
    return channel;
  }

  /**
   * Consumes several channels in an order of preference, up to 16: a message of a later one is only begun when none of the earlier ones has
   * any ready here. `concurrency` is that of all together; `prefetch` that of each channel, whose messages are held here meanwhile: keep it
   * small where other programs read the later ones. A connection that is lost stops nothing but its own channel until it is back. A
   * channel that ends ends all.
   *
   * @example
   * const work = (message, { channel }) => console.log(channel, message.body);
   * await using consumer = client.consume(["urgent", "normal", "bulk"], work, { concurrency: 8 });
   */
  consume(names: readonly string[], handler: BatchHandler, options: ConsumeBatchesOptions): Consumer;
  consume(names: readonly string[], handler: MessageHandler, options?: ConsumeWithOptions): Consumer;
  consume(
    names: readonly string[],
    handler: MessageHandler | BatchHandler,
    options: ConsumeWithOptions | ConsumeBatchesOptions = {},
  ): Consumer {
    const isFew = names.length > 0 && names.length <= CONSUMED_MAX && new Set(names).size === names.length;
    if (!isFew) throw EdgeChannelError.refused(`Cannot consume: expected 1 to ${CONSUMED_MAX} names of channels, each once`);
    const retries = this.#retries;
    const channels = names.map((channel) => ({ channel, transport: this.channel(channel).transport, retries }));
    return consumeWith({ channels, retries }, handler, options);
  }

  /** All channels in the order of their names, from a directory that is seconds behind. */
  async *channels(options: ListChannelsOptions = {}): AsyncGenerator<ChannelEntry, void, undefined> {
    const calls = new ChannelCalls(this.#requester, this.#retries, undefined);
    for await (const { channels } of calls.pages<ChannelsReply>([], options)) yield* channels;
  }

  /**
   * Ends all WebSockets; what is unanswered over them rejects with kind `connection-closed`, and so does all that the channels that used
   * them would send over one later: puts, gets, pulls, settles, stats, streams, checkpoints. `channel()` makes new ones from then on. The channels
   * themselves go on. Over HTTP there is nothing to end: calls go on, also those that went over HTTP beside a WebSocket, and consumers
   * have to be stopped by their own `stop` or signal.
   */
  async close(): Promise<void> {
    await Promise.all([...this.#connected.values()].map((channel) => channel.disconnect()));
  }

  #openTransport(name: string): Transport {
    if (this.#options.transport !== "socket") return new HttpTransport(this.#requester, name);
    const path = [name, "socket"];
    const url = this.#requester.addressOf(path);
    const connect = (query: string, signal: AbortSignal): Promise<ChannelSocket> =>
      ChannelSocket.connect(url + query, { ...this.#options, signal }).catch((error: unknown) =>
        this.#explain(error, path, signal),
      );
    return new SocketTransport({
      connect: (signal) => connect("", signal),
      connectPlain: (signal) => connect("?read=plain", signal),
      connectMsMax: this.#connectMsMax,
      startTimer: this.#retries.startTimer,
      onClose: () => this.#connected.delete(name),
    });
  }

  /**
   * Throws why a socket did not open. No platform tells what the server said to its upgrade, so the same address is asked over HTTP: what
   * the service refuses for good there, it refuses as a socket. It answers `upgrade-required` where it would have let it in.
   */
  async #explain(error: unknown, path: readonly string[], signal: AbortSignal): Promise<never> {
    if (!(error instanceof EdgeChannelError && error.kind === "connection-failed" && error.retryable)) throw error;
    const told: unknown = await this.#requester.requestJson({ method: "GET", path, signal }).catch((reason: unknown) => reason);
    const isRefusal = told instanceof EdgeChannelError && told.problem?.retry === "never" && told.kind !== "upgrade-required";
    throw isRefusal ? told : error;
  }
}

interface ChannelsReply {
  readonly channels: readonly ChannelEntry[];
  readonly next: string | null;
}
