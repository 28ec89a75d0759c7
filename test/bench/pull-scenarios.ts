// Taking: gets of batches, and batches that are put, pulled or streamed, and acked, with the rows that these write.
import { type BatchForm, type CycleOptions, HttpCycle } from "./http-cycle.ts";
import { runHttpLoad } from "./http-load.ts";
import type { Sides } from "./paired-rounds.ts";
import { getDriver, putDriver, TEXT_1_KB } from "./product.ts";
import { measuredOfPairs, measuredOfValues } from "./report.ts";
import {
  atLeast,
  atMostRows,
  floorDriver,
  GET_BATCH,
  HTTP_CONNECTIONS,
  loadExactly,
  loadFloor,
  PUT_BATCH,
  PUT_BATCH_BINARY,
  rate,
  runPairs,
  runRounds,
  WARM_UP_MS,
  withChannel,
  withFloor,
  type Bench,
  type Scenario,
  type Shape,
} from "./scenario.ts";
import { StreamCycle, type StreamCycleOptions } from "./stream-cycle.ts";
import { closeSockets, openSockets } from "./ws-load.ts";

/** What is filled before a get round: more than 100 KB frames can be taken in the time on this kind of machine. */
const GET_FRAMES_PER_S = 1_500;
/** Over so many batches rows are counted. */
const COUNTED_BATCHES = 1_000;
const PRODUCER = { "producer-id": "bench", "producer-epoch": "0" };

export const PULL_SCENARIOS: readonly Scenario[] = [
  {
    measures: [{ id: "get-batch-100", unit: "messages/s", baseline: "get-batch", goal: null }],
    run: async (bench) => [measuredOfPairs(await runPairs(bench, getBatchRounds(bench)))],
  },
  {
    measures: [{ id: "pull-ack-100", unit: "messages/s", baseline: "packed", goal: atLeast(0.3), floorReference: 37_000 }],
    run: async (bench) => [measuredOfPairs(await runPairs(bench, cycleRounds(bench, "binary", PUT_BATCH_BINARY)))],
  },
  {
    measures: [{ id: "pull-ack-100-json", unit: "messages/s", baseline: "packed", goal: null, floorReference: 37_000 }],
    run: async (bench) => [measuredOfPairs(await runPairs(bench, cycleRounds(bench, "json", PUT_BATCH)))],
  },
  pulledRowsScenario("rows-pulled-100", 4, {}),
  pulledRowsScenario("rows-pulled-100-idempotent", 5, {
    putHeaders: (index) => ({ ...PRODUCER, "producer-seq": String(index + 1) }),
  }),
  streamedRowsScenario("rows-streamed-100", 2, {}),
  streamedRowsScenario("rows-streamed-100-idempotent", 3, {
    putMembers: (index) => ({ producer: { id: "bench", epoch: 0, seq: index + 1 } }),
  }),
];

function getBatchRounds(bench: Bench): Sides<number> {
  const frames = Math.ceil((GET_FRAMES_PER_S * bench.roundMs) / 1_000);
  const { window } = GET_BATCH;
  return {
    ours: () =>
      withChannel(bench, async (product, channel) => {
        const url = product.socketUrl(channel);
        await loadExactly(url, putDriver(PUT_BATCH.frames), window, frames);
        const driver = getDriver(GET_BATCH.frames, GET_BATCH.messagesPerFrame, TEXT_1_KB.length);
        return rate(GET_BATCH, await loadExactly(url, driver, window, frames, bench.roundMs));
      }),
    floor: () =>
      withFloor(bench, "take", async (httpUrl) => {
        const url = httpUrl.replace("http", "ws");
        await loadExactly(url, floorDriver(PUT_BATCH.frames), window, frames);
        return rate(GET_BATCH, await loadExactly(url, floorDriver(GET_BATCH.frames), window, frames, bench.roundMs));
      }),
  };
}

/** `packed`: the frames in which the floor is sent the same messages. */
function cycleRounds(bench: Bench, form: BatchForm, packed: Shape): Sides<number> {
  const times = { connections: HTTP_CONNECTIONS, warmUpMs: WARM_UP_MS, durationMs: bench.roundMs };
  const count = packed.messagesPerFrame;
  return {
    ours: () =>
      withChannel(bench, async (product, channel) => {
        const cycle = new HttpCycle({ messagesUrl: product.messagesUrl(channel), text: TEXT_1_KB, count, form });
        return count * (await runHttpLoad(times, (agent) => cycle.run(agent)));
      }),
    floor: () => withFloor(bench, "row", async (url) => rate(packed, await loadFloor(bench, url, packed))),
  };
}

function pulledRowsScenario(id: string, limit: number, puts: Pick<CycleOptions, "putHeaders">): Scenario {
  const countRows = (bench: Bench): Promise<number> =>
    withChannel(bench, async (product, channel) => {
      const options = { messagesUrl: product.messagesUrl(channel), text: TEXT_1_KB, count: 100, form: "binary" } as const;
      const cycle = new HttpCycle({ ...options, ...puts });
      // The first batch creates what the others use again.
      await cycle.runTimes(1);
      const before = await product.stats(channel);
      await cycle.runTimes(COUNTED_BATCHES);
      const after = await product.stats(channel);
      if (after.depth > 0) throw new Error(`Expected nothing to be left over, found ${after.depth} messages`);
      return (after.rows.written - before.rows.written) / COUNTED_BATCHES;
    });
  return rowsScenario(id, limit, countRows);
}

function streamedRowsScenario(id: string, limit: number, puts: Pick<StreamCycleOptions, "putMembers">): Scenario {
  const countRows = (bench: Bench): Promise<number> =>
    withChannel(bench, async (product, channel) => {
      const sockets = await openSockets(product.socketUrl(channel), 1, putDriver(PUT_BATCH.frames));
      const [socket] = sockets;
      if (socket === undefined) throw new Error("Cannot measure: a socket is needed");
      const cycle = new StreamCycle(socket, { text: TEXT_1_KB, count: 100, ...puts });
      await cycle.subscribe();
      // The first batch creates what the others use again.
      await cycle.run();
      const before = await product.stats(channel);
      for (let batch = 0; batch < COUNTED_BATCHES; batch++) await cycle.run();
      const after = await product.stats(channel);
      await closeSockets(sockets);
      if (after.depth > 0) throw new Error(`Expected nothing to be left over, found ${after.depth} messages`);
      return (after.rows.written - before.rows.written) / COUNTED_BATCHES;
    });
  return rowsScenario(id, limit, countRows);
}

function rowsScenario(id: string, limit: number, countRows: (bench: Bench) => Promise<number>): Scenario {
  return {
    measures: [{ id, unit: "rows/batch", baseline: null, goal: atMostRows(limit) }],
    run: async (bench) => [measuredOfValues(await runRounds(bench, () => countRows(bench)))],
  };
}
