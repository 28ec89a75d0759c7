// What `npm run simulate -- --world` prints, and whether it is as it must be.
import { GOALS, type Shown, showGoal } from "./eight-colos.ts";

/** Enough that a share differs by less than half a percent from seed to seed. */
const MESSAGES = 100_000;

/** Prints the world of a seed; false where something in it is not as it must be. */
export function showWorld(seed: number, print: (line: string) => void): boolean {
  print(
    `Seed ${seed}. Eight colos, in each 3 readers with 4 slots and 50 ms of work for each of ${MESSAGES} messages; Poisson arrivals,`,
  );
  print("from the busiest colo a third more than from the quietest.\n");
  print("load  wait    read in their colo  goal   added p50 wait  p99 wait  left though their colo was free");
  const shown = GOALS.map((goal) => showGoal(goal, seed, MESSAGES));
  for (const one of shown) print(formatShown(one));
  return shown.every(({ isMet }) => isMet);
}

function formatShown({ goal, stayed, addedP50Ms, waitP99Ms, leftThoughFree, isMet }: Shown): string {
  const cells = [
    goal.load.toFixed(1).padEnd(4),
    `${goal.localityWaitMs} ms`.padEnd(6),
    formatShare(stayed).padEnd(18),
    formatShare(goal.stayedMin).padEnd(5),
    formatMs(addedP50Ms).padEnd(14),
    formatMs(waitP99Ms).padEnd(8),
    `${leftThoughFree}`.padEnd(4),
    isMet ? "met" : "NOT MET",
  ];
  return cells.join("  ");
}

function formatShare(share: number): string {
  return share.toFixed(3);
}

function formatMs(ms: number): string {
  return `${ms.toFixed(1)} ms`;
}
