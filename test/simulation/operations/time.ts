// The clock and the alarm: time that passes with all alarms in time, and time that passes with alarms that come late, twice or never.
import type { Random } from "../random.ts";
import { type ActorOperation, drawGroup } from "./operation.ts";

function drawMs(random: Random): number {
  return random.oneOf(1, 400, 999, 1_000, 1_001, 2_500, 5_000, 30_000, 30_000, 61_000);
}

export const TIME: readonly ActorOperation[] = [
  {
    name: "time passes",
    weight: 60,
    run: (world, random) => {
      world.pass(drawMs(random));
    },
  },
  {
    name: "clock jump",
    weight: 6,
    run: (world, random) => {
      world.jump(random.oneOf(120_000, 700_000, 3_600_000, 90_000_000));
    },
  },
  {
    name: "wake on a machine whose clock is behind",
    weight: 4,
    run: (world, random) => {
      world.end("evict");
      world.jump(-random.oneOf(1, 900, 10_000));
    },
  },
  {
    name: "clock set back",
    weight: 4,
    run: (world, random) => {
      const retrying = random.pick(
        world.model.openMessages.filter(({ state, dueAtMs }) => state === "back" && dueAtMs > world.nowMs),
      );
      world.jump((retrying?.dueAtMs ?? world.nowMs) - world.nowMs);
      world.tick();
      // What was due just now is not due any more.
      world.jump(-random.oneOf(1, 900, 10_000));
      world.perform({ type: "get", max: 8, lease: { leaseMs: 1_000, isDetached: true }, ...drawGroup(world, random) });
    },
  },
  {
    name: "alarm late",
    weight: 12,
    run: (world, random) => {
      world.jump(drawMs(random));
      world.ring();
    },
  },
  {
    name: "alarm twice",
    weight: 8,
    run: (world, random) => {
      world.jump(drawMs(random));
      world.ring();
      world.ring();
    },
  },
  {
    name: "alarm lost",
    weight: 10,
    run: (world, random) => {
      world.loseAlarm();
      world.jump(drawMs(random));
    },
  },
];
