// Streams of plain readers: one message to many of them.
import type { WebSocket } from "ws";
import { measureFanOut } from "./fan-out.ts";
import { putDriver, readAnswer, TEXT_1_KB } from "./product.ts";
import { type Described, measuredOfPairs } from "./report.ts";
import {
  atLeast,
  floorDriver,
  PUT_1_KB,
  runPairs,
  WARM_UP_MS,
  withChannel,
  withFloor,
  type Bench,
  type Scenario,
} from "./scenario.ts";
import { ask, closeSockets, formatFrame, openSockets } from "./ws-load.ts";

const READERS = 100;
/** The most that a subscription can have, and when a reader grants what it used of it. */
const CREDIT = 10_000;
const CREDIT_INTERVAL = 2_000;
const SUBSCRIPTION = 1;

export const STREAM_SCENARIOS: readonly Scenario[] = [
  fanOutScenario({ id: "fanout-100", goal: atLeast(0.6) }, 8),
  fanOutScenario({ id: "fanout-100-window-1", goal: null }, 1),
];

function fanOutScenario(described: Pick<Described, "id" | "goal">, window: number): Scenario {
  return {
    measures: [{ ...described, unit: "deliveries/s", baseline: "broadcast" }],
    run: async (bench) => {
      const sides = { ours: () => fanOut(bench, window), floor: () => fanOutOfFloor(bench, window) };
      return [measuredOfPairs(await runPairs(bench, sides))];
    },
  };
}

/**
 * The same frames are put over one socket on both sides, at the rate at which the readers get them: as many are on their way as the window
 * holds. The floor sends each frame on as it came, to each reader; ours may send those of one commit in one.
 */
async function fanOut(bench: Bench, window: number): Promise<number> {
  return await withChannel(
    bench,
    async (product, channel) => {
      const sockets = await openSockets(product.socketUrl(channel), READERS + 1, putDriver(PUT_1_KB));
      const [, ...readers] = sockets;
      const subscribe = { type: "subscribe", id: SUBSCRIPTION, from: { at: "first" }, credit: { messages: CREDIT } };
      const answers = await Promise.all(readers.map((reader) => ask(reader, JSON.stringify(subscribe))));
      for (const answer of answers) readAnswer(answer, "subscribed");
      const places = readers.map((reader) => new ReaderPlace(reader));
      return await runFanOut({ bench, window, sockets }, (frame, index) => places[index]?.advance(frame) ?? 0);
    },
    { retention: "log" },
  );
}

async function fanOutOfFloor(bench: Bench, window: number): Promise<number> {
  return await withFloor(bench, "fan-out", async (url) => {
    const sockets = await openSockets(url.replace("http", "ws"), READERS + 1, floorDriver(PUT_1_KB));
    return await runFanOut({ bench, window, sockets }, () => 1);
  });
}

/** The first socket puts, and the others read. */
async function runFanOut(
  { bench, window, sockets }: { readonly bench: Bench; readonly window: number; readonly sockets: readonly WebSocket[] },
  countMessages: (frame: Buffer, reader: number) => number,
): Promise<number> {
  const [putter, ...readers] = sockets;
  if (putter === undefined) throw new Error("Cannot measure: a socket is needed");
  const times = { warmUpMs: WARM_UP_MS, durationMs: bench.roundMs };
  const ratePerS = await measureFanOut({ putter, readers, putFrame: PUT_1_KB, countMessages, window, ...times });
  await closeSockets(sockets);
  return ratePerS;
}

/** Where a reader of a log stands, which tells how many messages a frame has; grants as many as it got, many at a time. */
class ReaderPlace {
  readonly #socket: WebSocket;
  #nextOffset = 1;
  #granted = 0;

  constructor(socket: WebSocket) {
    this.#socket = socket;
  }

  /** How many messages the frame brings. Parsing it all would take more of the bench's time than anything else it does. */
  advance(frame: Buffer): number {
    const [, next] = /"resume":"[^".]+\.(\d+)"/u.exec(frame.toString("latin1", Math.max(0, frame.length - 400))) ?? [];
    const count = Number(next) - this.#nextOffset;
    const isWhole =
      frame.toString("latin1", 0, 17) === '{"type":"deliver"' && count > 0 && frame.length > count * TEXT_1_KB.length;
    if (!isWhole) throw new Error(`Expected messages, got ${formatFrame(frame)}`);
    this.#nextOffset += count;
    if (this.#nextOffset - this.#granted > CREDIT_INTERVAL) {
      this.#granted += CREDIT_INTERVAL;
      this.#socket.send(JSON.stringify({ type: "credit", id: SUBSCRIPTION, messages: CREDIT_INTERVAL }));
    }
    return count;
  }
}
