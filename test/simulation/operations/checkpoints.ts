// Readers that keep checkpoints, with and without a look at the version that is there; and settle calls that write one or put more.
import type { CheckpointCondition, CheckpointWrite, OperationOf } from "../../../src/channel/operation.ts";
import { LIMITS } from "../../../src/protocol/limits.ts";
import type { Random } from "../random.ts";
import type { World } from "../world.ts";
import type { ActorOperation } from "./operation.ts";
import { drawBatch } from "./producers.ts";
import { drawEntry, heldLeases, pickOutOfOrder } from "./settlers.ts";

const NAMES = ["cursor", "offset", "page", "shard/1", "shard/2"];

function drawName(random: Random): string {
  return random.oneOf("cursor", ...NAMES);
}

function drawCondition(world: World, random: Random, name: string): { readonly ifMatch?: CheckpointCondition } {
  const version = world.model.state.checkpoints.find((checkpoint) => checkpoint.name === name)?.version;
  const ifMatch = random.oneOf<CheckpointCondition | undefined>(
    undefined,
    undefined,
    version ?? "absent",
    version ?? "absent",
    (version ?? 1) + random.oneOf(-1, 1),
    "present",
    "absent",
  );
  return ifMatch === undefined ? {} : { ifMatch };
}

function drawWrite(world: World, random: Random): CheckpointWrite {
  const name = drawName(random);
  const bytes = random.oneOf(0, 8, 30, 30, LIMITS.checkpointBytesMax, LIMITS.checkpointBytesMax + 1);
  const value = Uint8Array.from({ length: bytes }, () => random.below(256));
  const contentType = random.oneOf("application/json", "text/plain");
  return { name, value, contentType, ...drawCondition(world, random, name) };
}

/** A checkpoint, puts, or both. */
function drawRiders(world: World, random: Random): Pick<OperationOf<"settle">, "checkpoint" | "puts"> {
  const isWriting = random.chance(65);
  const puts = isWriting && random.chance(40) ? {} : { puts: random.chance(8) ? [] : drawBatch(random) };
  return { ...(isWriting && { checkpoint: drawWrite(world, random) }), ...puts };
}

const KEPT: readonly ActorOperation[] = [
  {
    name: "write a checkpoint",
    weight: 34,
    run: (world, random) => {
      world.perform({ type: "write-checkpoint", write: drawWrite(world, random) });
    },
  },
  {
    name: "delete a checkpoint",
    weight: 14,
    run: (world, random) => {
      const name = drawName(random);
      world.perform({ type: "delete-checkpoint", name, ...drawCondition(world, random, name) });
    },
  },
  {
    name: "begin a checkpoint anew",
    weight: 4,
    run: (world, random) => {
      // Its versions go on (CP2), also when the deletion was in another commit.
      const name = drawName(random);
      world.perform({ type: "delete-checkpoint", name });
      world.end(random.oneOf("hold", "evict"));
      const write = { name, value: new Uint8Array(4), contentType: "text/plain", ifMatch: "absent" } as const;
      world.perform({ type: "write-checkpoint", write });
    },
  },
  {
    name: "read a checkpoint",
    weight: 5,
    run: (world, random) => {
      world.perform({ type: "read-checkpoint", name: drawName(random) });
    },
  },
  {
    name: "list checkpoints",
    weight: 5,
    run: (world, random) => {
      const after = random.chance(40) ? { after: drawName(random) } : {};
      const prefix = random.chance(30) ? { prefix: "shard/" } : {};
      world.perform({ type: "list-checkpoints", limit: random.between(1, 3), ...after, ...prefix });
    },
  },
];

const RIDING: readonly ActorOperation[] = [
  {
    name: "settle with riders",
    weight: 36,
    run: (world, random) => {
      const entries = random.some(heldLeases(world), 70).map((lease, index) => drawEntry(random, lease, index));
      world.perform({ type: "settle", entries, ...drawRiders(world, random) });
    },
  },
  {
    name: "ack with riders",
    weight: 20,
    run: (world, random) => {
      const entries = heldLeases(world).map((lease, index) => drawEntry(random, lease, index, "ack"));
      world.perform({ type: "settle", entries, ...drawRiders(world, random) });
    },
  },
  {
    name: "ack out of order with riders",
    weight: 48,
    run: (world, random) => {
      const last = pickOutOfOrder(world, random);
      if (last === undefined) return;
      world.perform({ type: "settle", entries: [drawEntry(random, last, 0, "ack")], ...drawRiders(world, random) });
    },
  },
  {
    name: "put more for nobody",
    weight: 18,
    run: (world, random) => {
      // Where only groups keep messages and there is none, a settle call can put none either (GP7).
      for (const group of world.model.state.groups) world.perform({ type: "delete-group", group: group.name });
      world.perform({ type: "settle", entries: [], ...drawRiders(world, random) });
    },
  },
  {
    name: "settle late with riders",
    weight: 12,
    run: (world, random) => {
      const some = random.some(world.ledger.leases, 20);
      const entries = some.map((lease, index) => drawEntry(random, lease, index));
      world.perform({ type: "settle", entries, ...drawRiders(world, random) });
    },
  },
];

export const CHECKPOINTS: readonly ActorOperation[] = [...KEPT, ...RIDING];
