// How long a message takes from one socket to another.
import { measurePutToSubscriber, measurePutToWaitingGet, type Times } from "./latency.ts";
import { median, quantile, runPairedRounds } from "./paired-rounds.ts";
import { putDriver } from "./product.ts";
import { type Measured, measuredOfPairs } from "./report.ts";
import { atMost, loadFloor, PUT_1, PUT_1_KB, WARM_UP_MS, withChannel, withFloor, type Bench, type Scenario } from "./scenario.ts";
import { closeSockets, openSockets } from "./ws-load.ts";

const P99_SAMPLES_MIN = 10_000;

export const LATENCY_SCENARIOS: readonly Scenario[] = [
  latencyScenario("latency-put-to-waiting-get", 1.7, {}, measurePutToWaitingGet),
  latencyScenario("latency-put-to-subscriber", 1.5, { retention: "log" }, measurePutToSubscriber),
];

function latencyScenario(id: string, limit: number, settings: object, measure: typeof measurePutToWaitingGet): Scenario {
  const described = { unit: "ms", baseline: "row-per-put round trip" };
  return {
    measures: [
      { id, ...described, goal: atMost(limit) },
      { id: `${id}-p99`, ...described, goal: null },
    ],
    run: async (bench) => {
      const driver = putDriver(PUT_1_KB);
      return await runLatency(bench, (times) =>
        withChannel(
          bench,
          async (product, channel) => {
            const sockets = await openSockets(product.socketUrl(channel), 2, driver);
            const [putter, reader] = sockets;
            if (putter === undefined || reader === undefined) throw new Error("Cannot measure: two sockets are needed");
            const latenciesMs = await measure(putter, reader, times);
            await closeSockets(sockets);
            return latenciesMs;
          },
          settings,
        ),
      );
    },
  };
}

async function runLatency(bench: Bench, measure: (times: Times) => Promise<readonly number[]>): Promise<readonly Measured[]> {
  const times = { warmUpMs: WARM_UP_MS, durationMs: bench.roundMs };
  const pairs = await runPairedRounds<readonly number[]>(
    bench.rounds,
    {
      ours: async () => (bench.isFloorsOnly ? [] : await measure(times)),
      floor: () => withFloor(bench, "row", async (url) => (await loadFloor(bench, url, PUT_1)).latenciesMs),
    },
    bench.onRound,
  );
  const pooled = { ours: pairs.flatMap(({ ours }) => ours), floor: pairs.flatMap(({ floor }) => floor) };
  const value = quantile(pooled.ours, 0.99);
  const baselineValue = quantile(pooled.floor, 0.99);
  const samples = Math.min(pooled.floor.length, bench.isFloorsOnly ? Number.POSITIVE_INFINITY : pooled.ours.length);
  if (samples < P99_SAMPLES_MIN) console.error(`The p99 stands on ${samples} samples only: it takes ${P99_SAMPLES_MIN}.`);
  const p99Ratios = pairs.map(({ ours, floor }) => quantile(ours, 0.99) / quantile(floor, 0.99));
  return [
    measuredOfPairs(pairs.map(({ ours, floor }) => ({ ours: median(ours), floor: median(floor) }))),
    { value, baselineValue, ratio: value / baselineValue, spread: p99Ratios },
  ];
}
