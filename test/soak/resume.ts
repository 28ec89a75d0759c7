// Messages through a log to members of a group and to plain readers, while connections are cut off, the channel's object is evicted and the
// runtime is killed: nobody may lose a message or have one twice, and the order is kept.
import { setTimeout as delay } from "node:timers/promises";
import { type Channel, type Consumer, EdgeChannel, type EdgeChannelError } from "../../src/client/index.ts";
import { Random } from "../simulation/random.ts";
import { CutSockets } from "./cut-sockets.ts";
import { GroupLedger } from "./group-ledger.ts";
import { Faults, makeMessage, ReaderLedger } from "./ledger.ts";
import { SoakServer } from "./server.ts";

export interface ResumePlan {
  readonly messages: number;
  readonly disconnections: number;
  readonly evictions: number;
  readonly kills: number;
  readonly seed: number;
}

export interface ResumeReport {
  readonly stored: number;
  readonly disconnections: number;
  /** Seen by the object itself: it woke anew. */
  readonly evictions: number;
  readonly kills: number;
  /** New connections that clients made after one was lost. */
  readonly reconnections: number;
  readonly group: Pick<GroupLedger, "done" | "accepted" | "deliveries" | "refused">;
  /** What the channel itself counts for the group: were a message acked twice, another one would be left. */
  readonly ackedByChannel: number;
  readonly depth: number;
  readonly faults: Faults;
  readonly seconds: number;
}

type Event = "disconnect" | "evict" | "kill";

const MEMBERS = 5;
const READERS = 5;
const CHANNEL = "soak";
const GROUP = "members";
/** The runtime evicts an object that was idle for ten seconds. */
const IDLE_MS = 11_000;
const EVICTION_TRIES = 3;
/** So few are on their way that an event meets the messages that it was drawn for. */
const OUTSTANDING_BYTES_MAX = 64 * 1024;
const CREDIT_MESSAGES = 200;
const STALL_MS_MAX = 60_000;
const LOOK_MS = 20;

/** Rejects where nothing comes any more for a minute, or a stream ends by itself. */
export async function soakResume(plan: ResumePlan, onProgress: (line: string) => void = () => undefined): Promise<ResumeReport> {
  const server = await SoakServer.start();
  try {
    return await new ResumeSoak(plan, server, onProgress).run();
  } finally {
    await server.stop();
  }
}

class ResumeSoak {
  readonly #plan: ResumePlan;
  readonly #server: SoakServer;
  readonly #onProgress: (line: string) => void;
  readonly #random: Random;
  readonly #sockets = new CutSockets();
  readonly #clients: EdgeChannel[] = [];
  readonly #faults = new Faults();
  readonly #group: GroupLedger;
  readonly #readers: readonly ReaderLedger[];
  readonly #done = { disconnections: 0, evictions: 0, kills: 0 };
  readonly #failed = Promise.withResolvers<never>();
  readonly #startedAtMs = performance.now();
  #reconnections = 0;
  #stored = 0;
  /** A runtime that is killed and started again. */
  #restarting: Promise<void> = Promise.resolve();

  constructor(plan: ResumePlan, server: SoakServer, onProgress: (line: string) => void) {
    this.#plan = plan;
    this.#server = server;
    this.#onProgress = onProgress;
    this.#random = new Random(plan.seed);
    this.#group = new GroupLedger(plan.messages, this.#faults);
    this.#readers = Array.from({ length: READERS }, (_, index) => new ReaderLedger(`Reader ${index + 1}`, this.#faults));
    this.#failed.promise.catch(() => undefined);
  }

  async run(): Promise<ResumeReport> {
    const admin = EdgeChannel.connect(this.#server.url, { retries: 10 }).channel(CHANNEL);
    await admin.create({ retention: "log" });
    await admin.groups.create(GROUP, { start: { at: "first" } });
    const stop = new AbortController();
    const reading = this.#readers.map((ledger) => this.#read(ledger, stop.signal));
    const members = Array.from({ length: MEMBERS }, () => this.#consume());
    await this.#produce(admin);
    await this.#untilAllCame();
    stop.abort();
    await Promise.all([...reading, ...members.map((member) => member.stop())]);
    await Promise.all(this.#clients.map((client) => client.close()));
    const { counts, depth } = await admin.groups.describe(GROUP);
    this.#group.finish();
    for (const ledger of this.#readers) ledger.finish(this.#plan.messages);
    const { done, accepted, deliveries, refused } = this.#group;
    return {
      stored: this.#stored,
      ...this.#done,
      reconnections: this.#reconnections,
      group: { done, accepted, deliveries, refused },
      ackedByChannel: counts.acked,
      depth,
      faults: this.#faults,
      seconds: (performance.now() - this.#startedAtMs) / 1000,
    };
  }

  /** A client of its own, with a connection of its own. */
  #connect(): Channel {
    const client = EdgeChannel.connect(this.#server.url, { transport: "socket", openSocket: this.#sockets.openSocket });
    this.#clients.push(client);
    return client.channel(CHANNEL);
  }

  readonly #countLoss = ({ kind }: EdgeChannelError): void => {
    if (kind === "connection-lost") this.#reconnections++;
  };

  async #read(ledger: ReaderLedger, signal: AbortSignal): Promise<void> {
    const options = { credit: { messages: CREDIT_MESSAGES }, onReconnect: this.#countLoss, signal };
    try {
      for await (const message of this.#connect().subscribe({ from: { at: "first" }, ...options })) ledger.take(message);
    } catch (error) {
      this.#failed.reject(error);
    }
  }

  #consume(): Consumer {
    const options = { group: GROUP, concurrency: 16, prefetch: CREDIT_MESSAGES, onReconnect: this.#countLoss };
    const channel = this.#connect();
    const consumer = channel.consume(this.#group.join(channel), {
      ...options,
      onError: (error) => this.#failed.reject(error),
    });
    consumer.done.catch((error: unknown) => this.#failed.reject(error));
    return consumer;
  }

  async #produce(admin: Channel): Promise<void> {
    const { messages } = this.#plan;
    const events = this.#drawEvents();
    const producer = this.#connect().producer({ maxOutstandingBytes: OUTSTANDING_BYTES_MAX, onRetry: this.#countLoss });
    const put = async (index: number): Promise<void> => {
      try {
        await producer.put(makeMessage(index));
        this.#stored++;
      } catch (error) {
        this.#failed.reject(error);
      }
    };
    for (let index = 0; index < messages; index++) {
      await Promise.race([producer.ready(), this.#failed.promise]);
      void put(index);
      for (const event of events.get(index) ?? []) {
        if (event === "evict") await producer.flush();
        await this.#happen(event, admin, index);
      }
    }
    await Promise.race([producer.close(), this.#failed.promise]);
    await this.#restarting;
  }

  /** Which events come behind which message. */
  #drawEvents(): ReadonlyMap<number, readonly Event[]> {
    const { messages, disconnections, evictions, kills } = this.#plan;
    const drawn = new Map<number, Event[]>();
    const draw = (event: Event, count: number): void => {
      for (let left = count; left > 0; left--) {
        const index = this.#random.below(messages);
        drawn.set(index, [...(drawn.get(index) ?? []), event]);
      }
    };
    draw("disconnect", disconnections);
    draw("evict", evictions);
    draw("kill", kills);
    return drawn;
  }

  async #happen(event: Event, admin: Channel, index: number): Promise<void> {
    await this.#restarting;
    if (event === "disconnect") await this.#disconnect();
    else if (event === "evict") await this.#evict(admin, index + 1);
    else {
      // The load goes on meanwhile.
      this.#restarting = this.#server.killAndStart();
      this.#restarting.catch((error: unknown) => this.#failed.reject(error));
      this.#done.kills++;
    }
    const { disconnections, evictions, kills } = this.#done;
    const { done } = this.#group;
    this.#onProgress(`${index + 1} put, ${done} acked; ${disconnections} disconnections, ${evictions} evictions, ${kills} kills`);
  }

  async #disconnect(): Promise<void> {
    // All are being opened after a kill.
    while (!this.#sockets.cutOne(this.#random)) await delay(LOOK_MS);
    this.#done.disconnections++;
  }

  /** Holds still with all sockets open, until the object itself says that it woke later. */
  async #evict(admin: Channel, count: number): Promise<void> {
    await this.#untilCame(count);
    for (let tries = 0; tries < EVICTION_TRIES; tries++) {
      const heldAtMs = Date.now();
      await delay(IDLE_MS);
      const { rows } = await admin.stats();
      if (rows.sinceMs <= heldAtMs) continue;
      this.#done.evictions++;
      return;
    }
    throw new Error(`The object was not evicted though it was idle for ${IDLE_MS} ms, ${EVICTION_TRIES} times`);
  }

  #untilAllCame(): Promise<void> {
    return this.#untilCame(this.#plan.messages);
  }

  /** Until so many messages were read by all readers and acked by the group. */
  async #untilCame(count: number): Promise<void> {
    let before = "";
    let sinceMs = performance.now();
    for (;;) {
      const reached = [this.#group.done, ...this.#readers.map(({ next }) => next)];
      if (reached.every((each) => each >= count)) return;
      if (reached.join() !== before) sinceMs = performance.now();
      before = reached.join();
      if (performance.now() - sinceMs > STALL_MS_MAX) {
        throw new Error(`Nothing came for ${STALL_MS_MAX} ms: of ${count} messages ${reached.join(", ")} were acked and read`);
      }
      await Promise.race([delay(LOOK_MS), this.#failed.promise]);
    }
  }
}
