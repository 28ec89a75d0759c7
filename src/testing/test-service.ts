// The service in the memory of a test: the routes, the core and the commit loop of a deployment, without its runtime.
import { checkOptions, refuseUnknown } from "../client/call-options.ts";
import { EdgeChannelError } from "../client/edge-channel-error.ts";
import { EdgeChannel, type EdgeChannelOptions } from "../client/edge-channel.ts";
import { checkNumbers } from "../client/given-number.ts";
import type { Fetch } from "../client/http-reply.ts";
import { loadBlockCodec } from "../client/load-block-codec.ts";
import { upgradeWith, type OpenSocket } from "../client/open-socket.ts";
import type { Env } from "../object/env.ts";
import { EPOCH_HEADER, ROUTE_HEADER } from "../object/channel-stub.ts";
import { replyWithProblem } from "../object/problem-reply.ts";
import type { ChannelPage, ChannelQuery } from "../object/directory.ts";
import { LEASE_MS_DEFAULT } from "../protocol/client-limits.ts";
import type { ChannelEntry } from "../protocol/description.ts";
import { parseWith } from "../protocol/fault.ts";
import { formatObjectName, parseRoute } from "../protocol/placement.ts";
import { pathSchemas } from "../protocol/routes.ts";
import { buildApp, type App } from "../worker/build-app.ts";
import { Chance } from "./chance.ts";
import { Clock } from "./clock.ts";
import { CALL_KINDS, LostReplies, readCall, ReplyWatch, type LostReplyOptions } from "./lost-replies.ts";
import { MemoryObject } from "./memory-object.ts";

export interface TestServiceOptions {
  /** Whether the first use of an unknown channel creates it. Default: true. */
  readonly autoCreate?: boolean | undefined;
  /** When time begins, in milliseconds since 1970. Default: 1,800,000,000,000, in January 2027. */
  readonly startMs?: number | undefined;
  /** Of all that is left to chance: leases' ids, pauses. The same seed makes the same test. Default: 1. */
  readonly seed?: number | undefined;
}

export type TestClientOptions = Omit<
  EdgeChannelOptions,
  "token" | "fetch" | "WebSocket" | "openSocket" | "startTimer" | "random" | "now"
>;

const ADDRESS = "http://edge-channel.test";
/** The end of time is that of `Date`. */
const NUMBERS = { startMs: [1_800_000_000_000, 0, 8.64e15], seed: [1, 0, 2 ** 32 - 1] } as const;

/**
 * A service of its own, with channels in memory, a time that stands still until it is moved, and faults.
 *
 * @example
 * const service = new TestService();
 * const jobs = service.connect({ transport: "socket" }).channel("jobs");
 * await jobs.put("one");
 * service.loseReply({ to: "settle" });
 * await service.advance(30_000);
 */
export class TestService {
  readonly #clock: Clock;
  readonly #chance: Chance;
  readonly #mayCreate: boolean;
  readonly #app: App;
  readonly #env: Env;
  readonly #objects = new Map<string, MemoryObject>();
  readonly #lostReplies = new LostReplies();
  /** Consumers, producers and sockets load it with the first of them: no time is moved before it is there. */
  #moved: Promise<unknown> = Promise.all([import("../client/machinery.ts"), loadBlockCodec()]);

  constructor(options: TestServiceOptions = {}) {
    const { autoCreate = true, startMs, seed, ...rest } = checkOptions(options);
    refuseUnknown(rest);
    const checked = checkNumbers({ startMs, seed }, NUMBERS);
    this.#clock = new Clock(checked.startMs);
    this.#chance = new Chance(checked.seed);
    this.#mayCreate = autoCreate;
    this.#app = buildApp({
      listChannels: (_, query) => Promise.resolve(this.#list(query)),
      startTimer: this.#clock.timersOf("service"),
    });
    // Of its namespaces the worker asks for an object by its name, and the directory is not asked at all.
    const namespace = { getByName: (name: string) => this.#objectOf(name), jurisdiction: () => namespace };
    this.#env = { CHANNELS: namespace, DIRECTORY: namespace } as unknown as Env;
  }

  /** The time of the service and of all its clients, in milliseconds since 1970. */
  get nowMs(): number {
    return this.#clock.nowMs;
  }

  /** A client of this service, with all that `edge-channel/client` has. Its pauses and deadlines go by the time of this service. */
  connect(options: TestClientOptions = {}): EdgeChannel {
    const { fetch, openSocket } = this;
    const random = (): number => this.#chance.draw();
    const now = (): number => this.#clock.nowMs;
    return EdgeChannel.connect(ADDRESS, {
      ...options,
      fetch,
      openSocket,
      random,
      now,
      startTimer: this.#clock.timersOf("program"),
    });
  }

  /** Serves a request, as `fetch` for clients of the program's own making. Sockets are opened by `openSocket`, and `…/events` is not served. */
  readonly fetch: Fetch = async (url, init) => {
    const { pathname: path } = new URL(url);
    if (/^\/v1\/channels\/[^/]+\/events$/.test(path)) return replyWithProblem({ kind: "unknown-route", path });
    const reply = await orAborted(Promise.resolve(this.#app.fetch(new Request(url, init), this.#env)), init.signal);
    if (reply.ok && this.#lostReplies.takes(readCall(url, init))) throw new TypeError("The reply was lost");
    return reply;
  };

  /** Opens the socket of a channel. */
  readonly openSocket: OpenSocket = upgradeWith(async (url, { headers }) => {
    const segment = new URL(url).pathname.split("/").at(-2) ?? "";
    const channel = parseWith(pathSchemas.channel, decodeURIComponent(segment), "/path/channel");
    if (!channel.ok) return replyWithProblem(channel.refusal);
    const watch = new ReplyWatch(this.#lostReplies, channel.value);
    const reply = await this.#objectOf(channel.value).connect(new Request(url, { headers: headers ?? {} }), watch);
    const route = parseRoute(reply.headers.get(ROUTE_HEADER));
    if (route === undefined) return reply;
    const request = new Request(url, { headers: headers ?? {} });
    request.headers.set(EPOCH_HEADER, String(route.epoch));
    return await this.#objectOf(formatObjectName(channel.value, route.generation)).connect(request, watch);
  });

  /**
   * Moves time on by `ms`, for the service and its clients: what is due by then happens at its own time, leases end, delayed messages enter,
   * waits are over, pauses too. Resolves when all that this brings has happened. One that is called before another one is done follows it.
   */
  advance(ms: number): Promise<void> {
    return this.#inTurn(() => this.#clock.advance(ms));
  }

  /**
   * Loses the next reply to a successful call: what was asked for is done, and the call rejects with `outcome` `"unknown"`. Over a socket the
   * connection breaks in its place. Each call of this method loses one.
   */
  loseReply(options: LostReplyOptions = {}): void {
    const { channel, to = "other", ...rest } = checkOptions(options);
    refuseUnknown(rest);
    if (!CALL_KINDS.includes(to))
      throw EdgeChannelError.refused(`Cannot lose the reply to "${to}": expected one of ${CALL_KINDS.join(", ")}`);
    this.#lostReplies.add(options);
  }

  /**
   * Lets the leases end that are over within `leaseMs`, 30,000 unless given, the time of a lease that asks for none. For so long the program
   * stands still, as one whose computer sleeps: what it would have done meanwhile to keep them comes too late.
   */
  expireLeases(leaseMs: number = LEASE_MS_DEFAULT): Promise<void> {
    return this.#inTurn(() => this.#clock.skip(leaseMs));
  }

  /** Replaces the running code: all connections are cut and what waits for an answer fails. What is stored stays; subscriptions resume. */
  deploy(): Promise<void> {
    return this.#inTurn(async () => {
      await this.#clock.settle();
      for (const object of this.#objects.values()) object.reset();
      await this.#clock.settle();
    });
  }

  /** Time has one hand that moves it. */
  #inTurn(move: () => Promise<void>): Promise<void> {
    const moved = this.#moved.then(move);
    this.#moved = moved.catch(() => undefined);
    return moved;
  }

  #objectOf(name: string): MemoryObject {
    const known = this.#objects.get(name);
    if (known !== undefined) return known;
    const find = (other: string): MemoryObject => this.#objectOf(other);
    const object = new MemoryObject({ name, find, clock: this.#clock, chance: this.#chance, mayCreate: this.#mayCreate });
    this.#objects.set(name, object);
    return object;
  }

  #list({ after = "", prefix = "", limit }: ChannelQuery): ChannelPage {
    const entries: ChannelEntry[] = [];
    for (const { served: channel, host } of this.#objects.values()) {
      const { record } = host;
      if (
        channel === undefined ||
        record === undefined ||
        record.state === "deleted" ||
        channel <= after ||
        !channel.startsWith(prefix)
      )
        continue;
      entries.push({ channel, createdAtMs: record.createdAtMs, settings: record.settings });
    }
    const channels = entries.sort((a, b) => (a.channel < b.channel ? -1 : 1)).slice(0, limit);
    return { channels, next: entries.length > limit ? (channels.at(-1)?.channel ?? null) : null };
  }
}

/** What comes, or the reason of an abort: who gave a request up does not hear what comes of it. */
async function orAborted<Value>(coming: Promise<Value>, signal: AbortSignal | null | undefined): Promise<Value> {
  const aborted = Promise.withResolvers<never>();
  const onAbort = (): void => aborted.reject(signal?.reason);
  signal?.addEventListener("abort", onAbort);
  try {
    return await Promise.race([coming, aborted.promise]);
  } finally {
    signal?.removeEventListener("abort", onAbort);
  }
}
