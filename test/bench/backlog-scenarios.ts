// What a large backlog costs: on waking, and beside which puts and gets go on.
import type { LocalRuntime } from "../../src/cli/local-runtime.ts";
import { runPairedRounds } from "./paired-rounds.ts";
import { getDriver, getFrames, Product, putBatchFrames, putDriver, putFrames, TEXT_100_B } from "./product.ts";
import { type Measured, measuredOfPairs, measuredOfValues } from "./report.ts";
import { atLeast, freshName, loadExactly, runPairs, type Bench, type Scenario } from "./scenario.ts";

const WAKE_MESSAGES = 200_000;
const WAKE_BATCH = 1_000;
const BACKLOG_OPERATIONS = 2_000;
const BACKLOG_WINDOW = 16;

export const BACKLOG_SCENARIOS: readonly Scenario[] = [
  {
    measures: [
      { id: "wake-200k", unit: "ms", baseline: "wake with 100 waiting", goal: null },
      {
        id: "wake-200k-rows",
        unit: "rows read",
        baseline: "wake with 100 waiting",
        goal: { of: "value", bound: "below", limit: 1_000 },
      },
    ],
    run: runWake,
  },
  {
    measures: [{ id: "backlog-200k", unit: "operations/s", baseline: "the same with none waiting", goal: atLeast(0.8) }],
    run: runBacklog,
  },
];

async function fill(product: Product, channel: string, messages: number): Promise<void> {
  await product.create(channel);
  const batch = Math.min(WAKE_BATCH, messages);
  await loadExactly(product.socketUrl(channel), putDriver(putBatchFrames(TEXT_100_B, batch)), 8, messages / batch);
}

interface Waking {
  readonly firstMs: number;
  readonly rowsRead: number;
}

/** Every round starts workerd again on the same storage, as after an eviction; the first operation takes one message. */
async function runWake(bench: Bench): Promise<readonly Measured[]> {
  if (bench.isFloorsOnly) return [measuredOfValues([Number.NaN]), measuredOfValues([Number.NaN])];
  let runtime: LocalRuntime = await bench.servers.startProduct("wake");
  await fill(new Product(runtime.url), "full", WAKE_MESSAGES);
  await fill(new Product(runtime.url), "short", 100);
  const wake = async (channel: string): Promise<Waking> => {
    await runtime.stop();
    runtime = await bench.servers.startProduct("wake");
    const product = new Product(runtime.url);
    await product.touch();
    const startedAtMs = performance.now();
    await product.pullOne(channel);
    const firstMs = performance.now() - startedAtMs;
    return { firstMs, rowsRead: (await product.stats(channel)).rows.read };
  };
  const sides = { ours: () => wake("full"), floor: () => wake("short") };
  const pairs = await runPairedRounds<Waking>(bench.rounds, sides, bench.onRound);
  await runtime.stop();
  return [
    measuredOfPairs(pairs.map(({ ours, floor }) => ({ ours: ours.firstMs, floor: floor.firstMs }))),
    measuredOfPairs(pairs.map(({ ours, floor }) => ({ ours: ours.rowsRead, floor: floor.rowsRead }))),
  ];
}

async function runBacklog(bench: Bench): Promise<readonly Measured[]> {
  if (bench.isFloorsOnly) return [measuredOfValues([Number.NaN])];
  const product = new Product(await bench.servers.productUrl());
  const [full, empty] = [freshName(), freshName()];
  await fill(product, full, WAKE_MESSAGES);
  await product.create(empty);
  const measure = async (channel: string): Promise<number> => {
    const url = product.socketUrl(channel);
    const [puts, gets] = [putDriver(putFrames(TEXT_100_B)), getDriver(getFrames(1), 1, TEXT_100_B.length)];
    let operations = 0;
    let elapsedMs = 0;
    while (elapsedMs < bench.roundMs) {
      for (const driver of [puts, gets]) {
        // Gets follow puts: side by side they would meet as waiting gets, which never reach the backlog.
        const result = await loadExactly(url, driver, BACKLOG_WINDOW, BACKLOG_OPERATIONS);
        operations += result.answers;
        elapsedMs += result.elapsedMs;
      }
    }
    return (operations * 1_000) / elapsedMs;
  };
  const pairs = await runPairs(bench, { ours: () => measure(full), floor: () => measure(empty) });
  await product.drop(full);
  await product.drop(empty);
  return [measuredOfPairs(pairs)];
}
