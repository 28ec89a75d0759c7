// What `npm run demo -- --world` prints.
import { formatAmount, formatCount, showProgress, type Step } from "./progress.ts";
import {
  CONCURRENCY,
  LANES,
  LOCAL_SHARE_MIN,
  READERS_OF_COLO,
  WORK_MS_MAX,
  WORK_MS_MIN,
  World,
  type WorldOptions,
  type WorldTally,
} from "./world.ts";
import { explainRoute, formatReaders, localShareOf, mapDeliveries } from "./world-report.ts";

export const WORLD_MESSAGES_DEFAULT = 1_500;
/** Fewer would not make the readers of any colo busy. */
export const WORLD_MESSAGES_MIN = 200;
export const WORLD_MESSAGES_MAX = 100_000;

const MAP_COLUMNS_DEFAULT = 100;

/** Plays the world and prints it; false where something is not as it must be. Rejects with what goes wrong on the way. */
export async function showWorld(options: WorldOptions): Promise<boolean> {
  const lanes = Object.entries(LANES).map(([colo, count]) => `${count} in ${colo}`);
  console.log(
    `In each of ${lanes.length} colos ${READERS_OF_COLO} readers work on up to ${CONCURRENCY} messages at a time, ` +
      `${WORK_MS_MIN} to ${WORK_MS_MAX} ms on each.\nSo many messages are under way at a time: ${lanes.join(", ")}.\n`,
  );
  const world = new World(options);
  const progress = showProgress(options.messages, () => describeTally(world.tally));
  const result = await world.run().finally(() => progress.stop());
  const { readers, examples, elapsedMs, faults } = result;
  const share = localShareOf(readers);
  const columns = process.stdout.isTTY ? process.stdout.columns : MAP_COLUMNS_DEFAULT;
  console.log(`\n${formatReaders(readers).join("\n")}\n`);
  console.log(`Why, as the histories of some messages tell:\n  ${examples.map(explainRoute).join("\n  ")}\n`);
  console.log(`Messages handled in each colo:\n\n${mapDeliveries(readers, columns).join("\n")}\n`);
  const perSecond = Math.round((options.messages * 1000) / elapsedMs);
  console.log(
    `Handled  ${formatAmount(options.messages, "message")} in ${(elapsedMs / 1000).toFixed(1)} s, ${formatCount(perSecond)}/s`,
  );
  console.log(
    `Local    ${formatPercent(share)} were read in the colo where they were put; at least ${formatPercent(LOCAL_SHARE_MIN)} must be`,
  );
  if (faults.length > 0) console.error(`FAILED: ${faults.join("; ")}`);
  else console.log("Lost     nothing: each message was handled once, and the channel counts as many acknowledged");
  return faults.length === 0;
}

function describeTally({ put, handled, local }: WorldTally): Step {
  return {
    done: handled,
    text: `${formatCount(put)} put, ${formatCount(handled)} handled, ${formatCount(local)} where they were put`,
  };
}

function formatPercent(part: number): string {
  return `${(part * 100).toFixed(1)} %`;
}
