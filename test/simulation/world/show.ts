// What `npm run simulate -- --world` prints, and whether it is as it must be.
import { type AllColos, showAllColos, type ShownLocality } from "./all-colos.ts";
import { GOALS, type Shown, showGoal } from "./eight-colos.ts";
import { showMillion } from "./show-million.ts";

/** Enough that a share differs by less than half a percent from seed to seed. */
const MESSAGES = 100_000;
const MESSAGES_OF_ALL_COLOS = 30_000;

/** Prints the world of a seed; false where something in it is not as it must be. */
export function showWorld(seed: number, print: (line: string) => void): boolean {
  const shown = GOALS.map((goal) => showGoal(goal, seed, MESSAGES));
  print(
    `Seed ${seed}. Eight colos, in each 3 readers with 4 slots and 50 ms of work for each of ${MESSAGES} messages; Poisson arrivals,`,
  );
  print("from the busiest colo a third more than from the quietest; nothing is on the way for any time.\n");
  print("load  wait    read in their colo  goal   added p50 wait  p99 wait  left though their colo was free");
  for (const one of shown) print(formatShown(one));
  const all = showAllColos(seed, MESSAGES_OF_ALL_COLOS);
  printAllColos(all, print);
  showMillion(seed, print);
  return shown.every(({ isMet }) => isMet) && all.isMet;
}

function formatShown({ goal, stayed, addedP50Ms, waitP99Ms, leftThoughFree, isMet }: Shown): string {
  const cells = [
    goal.load.toFixed(1).padEnd(4),
    `${goal.localityWaitMs} ms`.padEnd(6),
    stayed.toFixed(3).padEnd(18),
    goal.stayedMin.toFixed(3).padEnd(5),
    formatMs(addedP50Ms).padEnd(14),
    formatMs(waitP99Ms).padEnd(8),
    `${leftThoughFree}`.padEnd(4),
    isMet ? "met" : "NOT MET",
  ];
  return cells.join("  ");
}

function printAllColos({ colos, readers, channel, load, workMs, shown, isMet }: AllColos, print: (line: string) => void): void {
  print(
    `\n${readers} readers with 4 slots in ${colos} colos, the channel in ${channel}; each message goes from its origin over the channel to its`,
  );
  print(
    `reader, great circles at two thirds of the speed of light. Load ${load} of ${workMs} ms of work, and of the way to the reader and back.\n`,
  );
  print("locality  read in their colo  origin to reader  delivery p50  p99       wait p99  fairness");
  for (const one of shown) print(formatLocality(one));
  if (!isMet) print("NOT MET: with locality by origin a message left its colo although a reader there was free");
}

function formatLocality({ locality, stayed, apartKm, deliveryP50Ms, deliveryP99Ms, waitP99Ms, fairness }: ShownLocality): string {
  const cells = [
    locality.padEnd(8),
    stayed.toFixed(3).padEnd(18),
    `${apartKm.toFixed(0)} km`.padEnd(16),
    formatMs(deliveryP50Ms).padEnd(12),
    formatMs(deliveryP99Ms).padEnd(8),
    formatMs(waitP99Ms).padEnd(8),
    fairness.toFixed(2),
  ];
  return cells.join("  ");
}

function formatMs(ms: number): string {
  return `${ms.toFixed(1)} ms`;
}
