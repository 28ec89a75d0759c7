// One reader stops granting credit under full load: what that costs the memory of the runtime, and the other readers.
import { readFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { type Channel, EdgeChannel, type Producer, type Subscription } from "../../src/client/index.ts";
import { median, runPairedRounds, type Pair } from "../bench/paired-rounds.ts";
import { SoakServer } from "./server.ts";

export interface SlowReaderPlan {
  /** How long the reader stands still while the memory is watched. */
  readonly seconds: number;
  /** How often the others are measured then, with and without one that stands still, in turns: the machine's speed drifts. */
  readonly rounds: number;
  readonly readers: number;
  readonly bytes: number;
}

export interface SlowReaderReport {
  /** Deliveries a second of all other readers together, `ours` with the slow reader and `floor` without it. */
  readonly rates: readonly Pair<number>[];
  /** The resident memory of workerd while the reader stood still, each second, in MiB. */
  readonly rssMib: readonly number[];
  /** Messages that the reader took after it had stood still. */
  readonly takenAfter: number;
  /** Records that the log gave up meanwhile, of which it was told. */
  readonly missed: number;
}

const CHANNEL = "slow-reader";
/** A log keeps so many, so that storage does not grow all the time. */
const MESSAGES_MAX = 200_000;
/** Puts that have not come to the slowest of the other readers. */
const WINDOW = 10_000;
const CREDIT_MESSAGES = 2_000;
const STALLED_CREDIT_MESSAGES = 500;
/** Until the heap of the runtime has the size that the load needs. */
const WARM_UP_SECONDS = 60;
/** Each side of a round. */
const ROUND_SECONDS = 5;
const GO_ON_SECONDS = 10;
const SECOND_MS = 1000;
const KIB_PER_MIB = 1024;

export async function measureSlowReader(plan: SlowReaderPlan, onPhase: (phase: string) => void): Promise<SlowReaderReport> {
  const server = await SoakServer.start();
  try {
    return await new SlowReaderRun(plan, server, onPhase).run();
  } finally {
    await server.stop();
  }
}

class SlowReaderRun {
  readonly #plan: SlowReaderPlan;
  readonly #server: SoakServer;
  readonly #onPhase: (phase: string) => void;
  readonly #clients: EdgeChannel[] = [];
  readonly #stop = new AbortController();
  readonly #failed = Promise.withResolvers<never>();
  /** Messages that each of the other readers has. */
  readonly #counts: number[];
  #wakeProducer: () => void = () => undefined;
  #missed = 0;

  constructor(plan: SlowReaderPlan, server: SoakServer, onPhase: (phase: string) => void) {
    this.#plan = plan;
    this.#server = server;
    this.#onPhase = onPhase;
    this.#counts = Array.from({ length: plan.readers }, () => 0);
    this.#failed.promise.catch(() => undefined);
  }

  async run(): Promise<SlowReaderReport> {
    const { seconds, rounds } = this.#plan;
    await this.#connect().create({ retention: "log", maxMessages: MESSAGES_MAX });
    const reading = this.#counts.map((_, reader) => this.#watch(this.#read(reader)));
    const producing = this.#watch(this.#produce(this.#connect().producer()));
    await this.#measure("warming up", WARM_UP_SECONDS);
    const stream = await this.#stall();
    const { rssMib } = await this.#measure("while the reader stands still", seconds);
    const takenAfter = await this.#goOn(stream);
    const rates = await this.#compare(rounds);
    this.#stop.abort();
    this.#wakeProducer();
    await Promise.all([producing, ...reading]);
    await Promise.all(this.#clients.map((client) => client.close()));
    return { rates, rssMib, takenAfter, missed: this.#missed };
  }

  async #compare(rounds: number): Promise<Pair<number>[]> {
    const measure = async (phase: string): Promise<number> => median((await this.#measure(phase, ROUND_SECONDS)).rates);
    const measureWith = async (): Promise<number> => {
      const stream = await this.#stall();
      const rate = await measure("with a slow reader");
      await stream.return();
      return rate;
    };
    return await runPairedRounds(rounds, { ours: measureWith, floor: () => measure("without one") }, () => undefined);
  }

  #connect(): Channel {
    const client = EdgeChannel.connect(this.#server.url, { transport: "socket" });
    this.#clients.push(client);
    return client.channel(CHANNEL);
  }

  #watch(running: Promise<void>): Promise<void> {
    running.catch((error: unknown) => this.#failed.reject(error));
    return running;
  }

  async #produce(producer: Producer): Promise<void> {
    const body = "x".repeat(this.#plan.bytes);
    for (let puts = 0; !this.#stop.signal.aborted; puts++) {
      while (puts - Math.min(...this.#counts) >= WINDOW && !this.#stop.signal.aborted) {
        await new Promise<void>((resolve) => (this.#wakeProducer = resolve));
      }
      await producer.ready();
      producer.put(body).catch((error: unknown) => this.#failed.reject(error));
    }
    await producer.close();
  }

  async #read(reader: number): Promise<void> {
    const { signal } = this.#stop;
    const options = { from: { at: "first" }, credit: { messages: CREDIT_MESSAGES }, signal } as const;
    for await (const _ of this.#connect().subscribe(options)) {
      this.#counts[reader] = (this.#counts[reader] ?? 0) + 1;
      this.#wakeProducer();
    }
  }

  /** A reader that takes a message, and then stands still with the rest of what it gave credit for. */
  async #stall(): Promise<Subscription> {
    const stream = this.#connect().subscribe({
      credit: { messages: STALLED_CREDIT_MESSAGES },
      onGap: ({ fromOffset, toOffset }) => (this.#missed += toOffset - fromOffset + 1),
    });
    await this.#next(stream);
    return stream;
  }

  /** It takes messages again, for some seconds. */
  async #goOn(stream: Subscription): Promise<number> {
    this.#onPhase("the reader goes on");
    let taken = 0;
    const endMs = performance.now() + GO_ON_SECONDS * SECOND_MS;
    for (; performance.now() < endMs; taken++) await this.#next(stream);
    await stream.return();
    return taken;
  }

  async #next(stream: Subscription): Promise<void> {
    const { done } = await Promise.race([stream.next(), this.#failed.promise]);
    if (done === true) throw new Error("The slow reader's stream ended");
  }

  async #measure(phase: string, seconds: number): Promise<{ readonly rates: number[]; readonly rssMib: number[] }> {
    this.#onPhase(`${phase}: ${seconds} s`);
    const [rates, rssMib]: [number[], number[]] = [[], []];
    let [delivered, atMs] = [this.#delivered, performance.now()];
    for (let second = 0; second < seconds; second++) {
      await Promise.race([delay(SECOND_MS), this.#failed.promise]);
      const [deliveredNow, nowMs] = [this.#delivered, performance.now()];
      rates.push(((deliveredNow - delivered) * SECOND_MS) / (nowMs - atMs));
      [delivered, atMs] = [deliveredNow, nowMs];
      rssMib.push(await readRssMib(this.#server.pid));
    }
    return { rates, rssMib };
  }

  get #delivered(): number {
    return this.#counts.reduce((sum, count) => sum + count, 0);
  }
}

/** Linux tells it in KiB. */
async function readRssMib(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  const [, kib] = /^VmRSS:\s+(\d+) kB$/m.exec(status) ?? [];
  if (kib === undefined) throw new Error(`Cannot read the memory of process ${pid}`);
  return Number(kib) / KIB_PER_MIB;
}
