// What an actor can do in one step. Its choices are drawn from the step's own random numbers against the world as it is then, so that
// steps before it can be left out when a history is shortened.
import type { Origin } from "../../../src/channel/operation.ts";
import type { Random } from "../random.ts";
import type { World } from "../world.ts";

export interface ActorOperation {
  /** Unique; it is counted under this name. */
  readonly name: string;
  /** How often it is chosen, beside the others. */
  readonly weight: number;
  run(world: World, random: Random): void;
}

const REQUESTS = 6;

/** A connection to ask from and an id for the request, which may be in use; one connects first when nobody is there. */
export function drawOrigin(world: World, random: Random): Origin {
  if (world.openConnections.length === 0) world.connect();
  return { connection: random.pick(world.openConnections) ?? 0, request: random.between(1, REQUESTS) };
}

/** As a worker, which is no connection, or from one. */
export function drawOriginOrNone(world: World, random: Random): Origin | undefined {
  return random.chance(40) ? undefined : drawOrigin(world, random);
}

/** Mostly the offset of a message that is kept, sometimes one before or behind. */
export function drawOffset(world: World, random: Random): number {
  const offset = random.chance(85) ? random.pick(world.model.messages)?.offset : undefined;
  return offset ?? Math.max(1, random.between(world.model.headOffset - 2, world.model.state.nextOffset + 1));
}

export const GROUPS = ["a", "b", "c", "default"];

/** Mostly a group that is there, for what readers ask. */
export function drawGroup(world: World, random: Random): { readonly group?: string } {
  const found = random.chance(93) ? random.pick(world.model.state.groups) : undefined;
  const group = found?.name ?? random.pick(GROUPS);
  return group === undefined || (group === "default" && random.chance(50)) ? {} : { group };
}

export function drawWaitMs(random: Random): number {
  return random.oneOf(500, 3_000, 20_000, 60_000, 1_000_000_000);
}
