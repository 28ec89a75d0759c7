// Whoever keeps the groups of a channel: begins them anywhere, changes, pauses and moves them, and ends them.
import type { GroupStart } from "../../../src/channel/operation.ts";
import type { GivenDelivery } from "../../../src/protocol/settings.ts";
import type { Random } from "../random.ts";
import type { World } from "../world.ts";
import { drawDelivery } from "./keepers.ts";
import { type ActorOperation, drawOffset, GROUPS } from "./operation.ts";

function drawName(world: World, random: Random): string {
  const found = random.chance(95) ? random.pick(world.model.state.groups) : undefined;
  return found?.name ?? random.pick(GROUPS) ?? "a";
}

function drawGroupSettings(random: Random): GivenDelivery {
  const { maxInFlight = 1, ...others } = drawDelivery(random);
  return random.oneOf<GivenDelivery>({}, { maxInFlight }, others);
}

export function drawStart(world: World, random: Random): GroupStart {
  const { records, isTimeOrdered } = world.model.state;
  const timeMs = (random.pick(records)?.putAtMs ?? world.nowMs) + random.oneOf(-1, 0, 0, 1);
  return random.oneOf<GroupStart>(
    { at: "first" },
    { at: "last" },
    { offset: drawOffset(world, random) },
    { offset: drawOffset(world, random) },
    // Where the clock was set back, no place is the first of a time.
    isTimeOrdered ? { timeMs } : { at: "first" },
  );
}

export const GROUP_KEEPERS: readonly ActorOperation[] = [
  {
    name: "create a group",
    weight: 14,
    run: (world, random) => {
      const group = random.pick(GROUPS) ?? "a";
      const start = random.chance(80) ? { start: drawStart(world, random) } : {};
      world.perform({ type: "create-group", group, settings: drawGroupSettings(random), ...start });
    },
  },
  {
    name: "create the first group",
    weight: 40,
    run: (world, random) => {
      // Without one most of what readers ask would only be refused.
      const { record, groups } = world.model.state;
      if (record === undefined || record.state === "deleted" || groups.length > 0) return;
      const group = random.pick(GROUPS) ?? "a";
      world.perform({ type: "create-group", group, settings: drawGroupSettings(random), start: { at: "first" } });
    },
  },
  {
    name: "create all groups",
    weight: 5,
    run: (world) => {
      for (const group of GROUPS) world.perform({ type: "create-group", group, settings: {}, start: { at: "first" } });
    },
  },
  {
    name: "describe a group",
    weight: 4,
    run: (world, random) => {
      world.perform({ type: "describe-group", group: drawName(world, random) });
    },
  },
  {
    name: "list groups",
    weight: 4,
    run: (world, random) => {
      const after = random.pick(GROUPS) ?? "a";
      world.perform({ type: "list-groups", limit: random.between(1, 2), ...(random.chance(50) && { after }) });
    },
  },
  {
    name: "change a group",
    weight: 6,
    run: (world, random) => {
      world.perform({ type: "change-group", group: drawName(world, random), settings: drawGroupSettings(random) });
    },
  },
  {
    name: "pause a group",
    weight: 5,
    run: (world, random) => {
      world.perform({ type: "change-group", group: drawName(world, random), isPaused: true });
    },
  },
  {
    name: "resume groups",
    weight: 12,
    run: (world) => {
      for (const { name, isPaused } of world.model.state.groups) {
        if (isPaused) world.perform({ type: "change-group", group: name, isPaused: false });
      }
    },
  },
  {
    name: "seek",
    weight: 22,
    run: (world, random) => {
      world.perform({ type: "seek-group", group: drawName(world, random), to: drawStart(world, random) });
    },
  },
  {
    name: "seek out of range",
    weight: 6,
    run: (world, random) => {
      const { headOffset, state } = world.model;
      const offset = random.oneOf(Math.max(0, headOffset - 1), state.nextOffset + 1, state.nextOffset + 1_000);
      world.perform({ type: "seek-group", group: drawName(world, random), to: { offset } });
    },
  },
  {
    name: "delete a group",
    weight: 7,
    run: (world, random) => {
      world.perform({ type: "delete-group", group: drawName(world, random) });
    },
  },
];
