// Readers: gets that remove at once, and pulls that lease; both may wait.
import type { LeaseTerms, Operation } from "../../../src/channel/operation.ts";
import type { Random } from "../random.ts";
import { type ActorOperation, drawGroup, drawOrigin, drawOriginOrNone, drawWaitMs } from "./operation.ts";

type Get = Extract<Operation, { type: "get" }>;

/** How many are asked for; now and then more than can be had, or what makes no sense. */
function drawCounts(random: Random): Pick<Get, "min" | "max"> {
  const max = random.oneOf(1, 1, 2, 3, 4, 8);
  const min = random.oneOf(0, 1, 1, 2, max);
  return random.oneOf<Pick<Get, "min" | "max">>(
    {},
    { max },
    { max },
    { max },
    { min: Math.min(min, max), max },
    { min, max },
    { min },
  );
}

function drawLease(random: Random): LeaseTerms {
  return { leaseMs: random.oneOf(1_000, 2_500, 30_000, 30_000, 600_000), isDetached: random.chance(40) };
}

export const READERS: readonly ActorOperation[] = [
  {
    name: "get",
    weight: 22,
    run: (world, random) => {
      world.perform({ type: "get", ...drawCounts(random), ...drawGroup(world, random) }, drawOriginOrNone(world, random));
    },
  },
  {
    name: "get and wait",
    weight: 10,
    run: (world, random) => {
      const operation: Get = { type: "get", ...drawCounts(random), ...drawGroup(world, random), waitMs: drawWaitMs(random) };
      world.perform(operation, drawOrigin(world, random));
    },
  },
  {
    name: "pull",
    weight: 110,
    run: (world, random) => {
      const operation: Get = { type: "get", ...drawCounts(random), ...drawGroup(world, random), lease: drawLease(random) };
      world.perform(operation, drawOriginOrNone(world, random));
    },
  },
  {
    name: "pull and wait",
    weight: 30,
    run: (world, random) => {
      const terms = { waitMs: drawWaitMs(random), lease: drawLease(random) };
      const operation: Get = { type: "get", ...drawCounts(random), ...drawGroup(world, random), ...terms };
      world.perform(operation, drawOrigin(world, random));
    },
  },
  {
    name: "pull more than ever",
    weight: 3,
    run: (world, random) => {
      const min = (world.model.state.record?.limits.maxMessages ?? 1) + random.between(1, 30);
      world.perform({ type: "get", min, max: min, lease: drawLease(random), ...drawGroup(world, random) });
    },
  },
  {
    name: "pull nothing",
    weight: 3,
    run: (world, random) => {
      world.perform({ type: "get", max: 0, lease: drawLease(random), ...drawGroup(world, random) });
    },
  },
];
