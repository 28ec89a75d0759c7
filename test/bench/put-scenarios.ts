// Puts, one by one and in batches, over sockets and over HTTP, and the rows that they write.
import { post } from "./http-client.ts";
import { runHttpLoad } from "./http-load.ts";
import type { Sides } from "./paired-rounds.ts";
import { measuredOfPairs, measuredOfValues, type Described } from "./report.ts";
import { askStats, putDriver, TEXT_1_KB } from "./product.ts";
import { closeSockets, openSockets, runWsLoad } from "./ws-load.ts";
import {
  atLeast,
  atMostRows,
  HTTP_CONNECTIONS,
  loadFloor,
  loadProduct,
  PUT_1,
  PUT_32X4,
  PUT_64,
  PUT_64_JOINED,
  PUT_BATCH,
  PUT_BATCH_BINARY,
  PUT_BATCH_OF_SMALL,
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

export const PUT_SCENARIOS: readonly Scenario[] = [
  putScenario(PUT_1, "row", { id: "put-1", baseline: "row-per-put", goal: atLeast(0.85), floorReference: 1_200 }),
  putScenario(PUT_64, "echo", { id: "put-64", baseline: "echo", goal: atLeast(1.1), floorReference: 8_000 }),
  putScenario(PUT_64_JOINED, "echo", { id: "put-64-joined", baseline: "echo", goal: null, floorReference: 8_000 }),
  putScenario(PUT_64, "row", { id: "put-64-vs-row", baseline: "row-per-put", goal: atLeast(5), floorReference: 1_650 }),
  putScenario(PUT_64, "queued-echo", { id: "put-64-vs-queued-echo", baseline: "queued-echo", goal: atLeast(0.8) }),
  putScenario(PUT_32X4, "echo", { id: "put-32x4", baseline: "echo", goal: atLeast(1), floorReference: 5_700 }),
  putScenario(PUT_BATCH, "row", { id: "put-batch-100", baseline: "packed", goal: atLeast(0.7), floorReference: 37_000 }),
  putScenario(PUT_BATCH_BINARY, "row", {
    id: "put-batch-100-binary",
    baseline: "packed",
    goal: atLeast(1.1),
    floorReference: 67_000,
  }),
  putScenario(PUT_BATCH_OF_SMALL, "row", {
    id: "batch-1000x100B",
    baseline: "packed",
    goal: atLeast(1.1),
    floorReference: 738_000,
  }),
  {
    measures: [{ id: "http-put", unit: "requests/s", baseline: "rpc-row-per-put", goal: atLeast(1.3), floorReference: 1_050 }],
    run: async (bench) => [measuredOfPairs(await runPairs(bench, httpRounds(bench)))],
  },
  {
    measures: [{ id: "rows-put-64", unit: "rows/message", baseline: null, goal: atMostRows(0.1) }],
    run: async (bench) => [measuredOfValues(await runRounds(bench, () => countRowsOfPuts(bench)))],
  },
];

function putScenario(shape: Shape, floorKind: string, described: Omit<Described, "unit">): Scenario {
  return {
    measures: [{ ...described, unit: "messages/s" }],
    run: async (bench) => {
      const pairs = await runPairs(bench, {
        ours: () =>
          withChannel(bench, async (product, channel) => rate(shape, await loadProduct(bench, product, channel, shape))),
        floor: () => withFloor(bench, floorKind, async (url) => rate(shape, await loadFloor(bench, url, shape))),
      });
      return [measuredOfPairs(pairs)];
    },
  };
}

function httpRounds(bench: Bench): Sides<number> {
  const times = { connections: HTTP_CONNECTIONS, warmUpMs: WARM_UP_MS, durationMs: bench.roundMs };
  const [headers, body] = [{ "content-type": "text/plain" }, Buffer.from(TEXT_1_KB)];
  const load = (url: string): Promise<number> => runHttpLoad(times, (agent) => post(agent, { url, headers, body }));
  return {
    ours: () => withChannel(bench, (product, channel) => load(product.messagesUrl(channel))),
    floor: () => withFloor(bench, "row", load),
  };
}

async function countRowsOfPuts(bench: Bench): Promise<number> {
  return await withChannel(bench, async (product, channel) => {
    const driver = putDriver(PUT_64.frames);
    const sockets = await openSockets(product.socketUrl(channel), 1, driver);
    const [socket] = sockets;
    if (socket === undefined) throw new Error("Cannot measure: a socket is needed");
    const before = await askStats(socket);
    const load = { sockets, driver, window: PUT_64.window, warmUpMs: WARM_UP_MS, durationMs: bench.roundMs };
    const { answersInAll } = await runWsLoad(load);
    const after = await askStats(socket);
    await closeSockets(sockets);
    return (after.rows.written - before.rows.written) / answersInAll;
  });
}
