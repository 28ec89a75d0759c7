// Work that hides what fetching takes.
import { setTimeout as delay } from "node:timers/promises";
import { EdgeChannel, type WebSocketLike } from "../../src/client/index.ts";
import { TEXT_1_KB } from "./product.ts";
import { measuredOfPairs } from "./report.ts";
import { atMost, runPairs, withChannel, type Bench, type Scenario } from "./scenario.ts";

const ITEMS = 100;
const FETCH_MS = 20;
const WORK_MS = 20;

export const PIPELINING_SCENARIOS: readonly Scenario[] = [
  pipeliningScenario("pipelining", 2),
  pipeliningScenario("pipelining-depth-1", 1),
];

/**
 * Items come over a connection that takes as long as a fetch does, there and back together. Beside it stands the same work in plain code: one
 * item after the other, or with each fetched while the one before it is worked on.
 */
function pipeliningScenario(id: string, prefetch: 1 | 2): Scenario {
  return {
    measures: [{ id, unit: "ms", baseline: "the same work alone", goal: atMost(1.15) }],
    run: async (bench) => [
      measuredOfPairs(
        await runPairs(bench, {
          ours: () => withChannel(bench, (_product, channel) => workOnItems(bench, channel, prefetch)),
          floor: prefetch === 1 ? workInTurns : workPipelined,
        }),
      ),
    ],
  };
}

function work(): Promise<void> {
  return delay(WORK_MS);
}

async function fetchItem(): Promise<void> {
  await delay(FETCH_MS / 2);
  await delay(FETCH_MS / 2);
}

async function workInTurns(): Promise<number> {
  const startedAtMs = performance.now();
  for (let item = 0; item < ITEMS; item += 1) {
    await fetchItem();
    await work();
  }
  return performance.now() - startedAtMs;
}

async function workPipelined(): Promise<number> {
  const startedAtMs = performance.now();
  let next = fetchItem();
  for (let item = 0; item < ITEMS; item += 1) {
    await next;
    next = fetchItem();
    await work();
  }
  await next;
  return performance.now() - startedAtMs;
}

async function workOnItems(bench: Bench, name: string, prefetch: number): Promise<number> {
  const client = EdgeChannel.connect(await bench.servers.productUrl(), { transport: "socket", WebSocket: SlowSocket });
  const channel = client.channel(name);
  await channel.putBatch(Array.from({ length: ITEMS }, () => TEXT_1_KB));
  const done = Promise.withResolvers<number>();
  let items = 0;
  const startedAtMs = performance.now();
  const consumer = channel.consume(
    async () => {
      await work();
      items += 1;
      if (items === ITEMS) done.resolve(performance.now() - startedAtMs);
    },
    { prefetch },
  );
  consumer.done.catch(done.reject);
  const elapsedMs = await done.promise;
  await consumer.stop();
  await client.close();
  return elapsedMs;
}

/** What is sent and what comes takes half a fetch longer. */
class SlowSocket implements WebSocketLike {
  readonly #socket: globalThis.WebSocket;

  constructor(url: string, protocols: string[]) {
    this.#socket = new globalThis.WebSocket(url, protocols);
    this.#socket.binaryType = "arraybuffer";
  }

  get protocol(): string {
    return this.#socket.protocol;
  }

  get readyState(): number {
    return this.#socket.readyState;
  }

  send(data: string | Uint8Array<ArrayBuffer>): void {
    setTimeout(() => this.#socket.send(data), FETCH_MS / 2);
  }

  close(code?: number, reason?: string): void {
    setTimeout(() => this.#socket.close(code, reason), FETCH_MS / 2);
  }

  addEventListener(type: string, listener: (event: never) => void): void {
    this.#socket.addEventListener(type, (event) => setTimeout(() => listener(event as never), FETCH_MS / 2));
  }
}
