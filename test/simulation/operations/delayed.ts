// Producers whose messages enter later, and who has second thoughts about them.
import type { Operation } from "../../../src/channel/operation.ts";
import { LIMITS } from "../../../src/protocol/limits.ts";
import type { PutMessage } from "../../../src/protocol/message.ts";
import type { MessageDelay } from "../../../src/protocol/schedule.ts";
import type { Random } from "../random.ts";
import type { World } from "../world.ts";
import { type ActorOperation, drawGroup, drawOrigin, drawOriginOrNone, drawWaitMs } from "./operation.ts";
import { drawBatch } from "./producers.ts";

function drawDelay(random: Random, nowMs: number): MessageDelay["delay"] {
  const ms = random.oneOf(0, 1, 400, 1_000, 1_000, 2_500, 2_500, 30_000);
  // As of clients whose clocks are ahead or behind.
  return random.chance(50) ? { afterMs: ms } : { atMs: nowMs - 500 + ms };
}

/** Delays of some of the messages. */
export function drawDelays(random: Random, messages: readonly PutMessage[], nowMs: number): MessageDelay[] {
  const places = random.some([...messages.keys()], 60);
  return places.map((index) => ({ index, pointer: `/messages/${index}/delayMs`, delay: drawDelay(random, nowMs) }));
}

/** Mostly one of a message that is scheduled, sometimes one of a message that has entered, was cancelled or never was. */
function drawScheduledId(world: World, random: Random): string {
  const scheduledId = random.chance(80) ? random.pick(world.model.scheduled)?.scheduledId : undefined;
  return scheduledId ?? random.pick(world.ledger.scheduledIds) ?? "1800000000000-1800000000000";
}

function drawDelayedPut(world: World, random: Random): Extract<Operation, { type: "put" }> {
  const messages = drawBatch(random);
  return { type: "put", messages, delays: drawDelays(random, messages, world.nowMs) };
}

export const DELAYED: readonly ActorOperation[] = [
  {
    name: "put for later",
    weight: 45,
    run: (world, random) => {
      world.perform(drawDelayedPut(world, random), drawOriginOrNone(world, random));
    },
  },
  {
    name: "put for later and wait",
    weight: 10,
    run: (world, random) => {
      world.perform({ ...drawDelayedPut(world, random), waitMs: drawWaitMs(random) }, drawOrigin(world, random));
    },
  },
  {
    name: "put for too late",
    weight: 3,
    run: (world, random) => {
      const ms = LIMITS.delayMsMax + random.oneOf(0, 1);
      const delay = random.chance(50) ? { afterMs: ms } : { atMs: world.nowMs + ms };
      world.perform({ type: "put", messages: drawBatch(random), delays: [{ index: 0, pointer: "/messages/0/delayMs", delay }] });
    },
  },
  {
    name: "list what is scheduled",
    weight: 5,
    run: (world, random) => {
      const after = random.chance(60) ? { after: drawScheduledId(world, random) } : {};
      world.perform({ type: "list-scheduled", limit: random.between(1, 4), ...after });
    },
  },
  {
    name: "cancel what is scheduled",
    weight: 16,
    run: (world, random) => {
      const scheduledId = drawScheduledId(world, random);
      world.perform({ type: "cancel-scheduled", scheduledId });
      if (random.chance(20)) world.perform({ type: "cancel-scheduled", scheduledId });
    },
  },
  {
    name: "end what is scheduled",
    weight: 6,
    run: (world, random) => {
      // The end has to wait for what is to come.
      const messages = drawBatch(random).slice(0, 1);
      const delay = { afterMs: random.oneOf(400, 2_500, 30_000) };
      world.perform({ type: "put", messages, delays: [{ index: 0, pointer: "/messages/0/delayMs", delay }] });
      if (random.chance(50)) world.perform({ type: "patch", patch: { state: "draining" } });
      else world.perform({ type: "delete", graceMs: random.oneOf(1_000, 20_000) });
      world.perform({ type: "get", max: 8, ...drawGroup(world, random) });
      world.perform({ type: "get", waitMs: drawWaitMs(random), ...drawGroup(world, random) }, drawOrigin(world, random));
    },
  },
  {
    name: "just in time",
    weight: 16,
    run: (world, random) => {
      // Whoever asks at that moment finds it, and whoever cancels then comes too late.
      const first = world.model.scheduled[0];
      if (first === undefined) return;
      world.jump(Math.max(0, first.deliverAtMs - random.oneOf(0, 0, 1) - world.nowMs));
      if (random.chance(50)) world.perform({ type: "cancel-scheduled", scheduledId: first.scheduledId });
      else world.perform({ type: "get", max: 8, lease: { leaseMs: 30_000, isDetached: true }, ...drawGroup(world, random) });
      // Then nothing enters while what was asked for is tried again (SD6).
      if (random.chance(30)) world.end("commit-fails");
    },
  },
];
