// The client as programs use it: a producer with many unanswered puts, and the same with a consumer that acks what comes.
import { setTimeout as delay } from "node:timers/promises";
import { type Channel, EdgeChannel, type Producer } from "../../src/client/index.ts";
import { TEXT_1_KB } from "./product.ts";
import { measuredOfPairs } from "./report.ts";
import {
  atLeast,
  loadFloor,
  PUT_BATCH,
  rate,
  runPairs,
  WARM_UP_MS,
  withChannel,
  withFloor,
  type Bench,
  type Scenario,
} from "./scenario.ts";

/** Puts that are not answered. */
const OUTSTANDING = 1_000;
/** Twice what may be on its way through the channel, so that credit never runs out. */
const CREDIT = { prefetch: 8_000, prefetchBytes: 16 * 1024 * 1024 };
/** Messages that were put and are not worked on yet: who puts faster waits, so that both go at one rate. */
const UNHANDLED_MAX = 4_000;
const BATCH_SIZE = 1_000;

export const SDK_SCENARIOS: readonly Scenario[] = [
  {
    measures: [{ id: "sdk-put", unit: "messages/s", baseline: "packed", goal: atLeast(1), floorReference: 37_000 }],
    run: async (bench) => [
      measuredOfPairs(
        await runPairs(bench, {
          ours: () => putBySdk(bench),
          floor: () => withFloor(bench, "row", async (url) => rate(PUT_BATCH, await loadFloor(bench, url, PUT_BATCH))),
        }),
      ),
    ],
  },
  {
    measures: [{ id: "sdk-end-to-end", unit: "messages/s", baseline: "sdk-put", goal: atLeast(0.7) }],
    run: async (bench) => [
      measuredOfPairs(await runPairs(bench, { ours: () => goEndToEnd(bench), floor: () => putBySdk(bench) })),
    ],
  },
];

async function withClient<T>(bench: Bench, use: (channel: Channel) => Promise<T>): Promise<T> {
  return await withChannel(bench, async (_product, name) => {
    const client = EdgeChannel.connect(await bench.servers.productUrl(), { transport: "socket" });
    const result = await use(client.channel(name));
    await client.close();
    return result;
  });
}

async function putBySdk(bench: Bench): Promise<number> {
  return await withClient(bench, async (channel) => {
    const load = new PutLoad(channel.producer());
    await load.run(WARM_UP_MS);
    const [stored, startedAtMs] = [load.stored, performance.now()];
    await load.run(bench.roundMs);
    const ratePerS = ((load.stored - stored) * 1_000) / (performance.now() - startedAtMs);
    await load.stop();
    return ratePerS;
  });
}

/** Counts what the channel says was acked. */
async function goEndToEnd(bench: Bench): Promise<number> {
  return await withClient(bench, async (channel) => {
    const load = new PutLoad(channel.producer(), UNHANDLED_MAX);
    const consumer = channel.consume((messages) => load.handle(messages.length), { ...CREDIT, batchSize: BATCH_SIZE });
    await load.run(WARM_UP_MS);
    const [before, startedAtMs] = [await channel.stats(), performance.now()];
    await load.run(bench.roundMs);
    const [after, endedAtMs] = [await channel.stats(), performance.now()];
    await load.stop();
    await consumer.stop();
    return ((after.counts.acked - before.counts.acked) * 1_000) / (endedAtMs - startedAtMs);
  });
}

/** So many calls of `put`, each of which is followed by another one when it is answered. A refusal rejects. */
class PutLoad {
  stored = 0;
  readonly #producer: Producer;
  readonly #unhandledMax: number;
  readonly #calls: Promise<unknown>;
  #isPutting = true;
  #handled = 0;
  #room = Promise.withResolvers<void>();

  /** @param unhandledMax How many messages may be stored that nobody has worked on. */
  constructor(producer: Producer, unhandledMax = Number.POSITIVE_INFINITY) {
    this.#producer = producer;
    this.#unhandledMax = unhandledMax;
    this.#calls = Promise.all(Array.from({ length: OUTSTANDING }, () => this.#keepPutting()));
  }

  /** Lets it go on for so long. */
  async run(durationMs: number): Promise<void> {
    await Promise.race([delay(durationMs), this.#calls]);
  }

  handle(count: number): void {
    this.#handled += count;
    this.#room.resolve();
    this.#room = Promise.withResolvers();
  }

  /** Resolves when every put is answered. */
  async stop(): Promise<void> {
    this.#isPutting = false;
    this.#room.resolve();
    await this.#calls;
    await this.#producer.close();
  }

  async #keepPutting(): Promise<void> {
    while (this.#isPutting) {
      await this.#producer.put(TEXT_1_KB);
      this.stored += 1;
      while (this.#isPutting && this.stored - this.#handled >= this.#unhandledMax) await this.#room.promise;
    }
  }
}
