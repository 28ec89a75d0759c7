// Readers that settle: in time, late, twice, out of order, in parts, and with ids that are not theirs.
import type { SettleEntry } from "../../../src/channel/operation.ts";
import type { KnownLease } from "../ledger.ts";
import type { Random } from "../random.ts";
import type { World } from "../world.ts";
import type { ActorOperation } from "./operation.ts";

const REASONS = ["no disk", "cannot be parsed"];

export function drawEntry(
  random: Random,
  { leaseId }: Pick<KnownLease, "leaseId">,
  index: number,
  verb?: SettleEntry["verb"],
): SettleEntry {
  const base = { leaseId, pointer: `/${String(index).padStart(3, "0")}/leaseId` };
  const reason = random.chance(50) ? random.pick(REASONS) : undefined;
  const drawn = verb ?? random.oneOf<SettleEntry["verb"]>("ack", "ack", "ack", "retry", "retry", "extend", "reject", "release");
  switch (drawn) {
    case "retry":
      return {
        ...base,
        verb: drawn,
        reason,
        delayMs: random.oneOf<number | undefined>(undefined, undefined, 0, 1, 2_000, 60_000),
      };
    case "extend":
      return { ...base, verb: drawn, leaseMs: random.oneOf(1_000, 5_000, 60_000) };
    case "reject":
      return { ...base, verb: drawn, reason };
    default:
      return { ...base, verb: drawn };
  }
}

/** Leases that are held now, as their readers know them. */
export function heldLeases(world: World): KnownLease[] {
  return world.ledger.leases.filter(({ leaseId }) => world.model.findLeased(leaseId)?.state === "leased");
}

/** A lease of which an earlier one of its key is held too. */
export function pickOutOfOrder(world: World, random: Random): KnownLease | undefined {
  const held = heldLeases(world).filter(({ key }) => key !== undefined);
  return random.pick(held.filter(({ key }, index) => held.slice(0, index).some((earlier) => earlier.key === key)));
}

function settle(world: World, entries: readonly SettleEntry[]): void {
  world.perform({ type: "settle", entries });
}

export const SETTLERS: readonly ActorOperation[] = [
  {
    name: "settle",
    weight: 70,
    run: (world, random) => {
      const leases = random.some(heldLeases(world), 60);
      settle(
        world,
        leases.map((lease, index) => drawEntry(random, lease, index)),
      );
    },
  },
  {
    name: "ack",
    weight: 45,
    run: (world, random) => {
      const leases = random.some(heldLeases(world), 80);
      settle(
        world,
        leases.map((lease, index) => drawEntry(random, lease, index, "ack")),
      );
    },
  },
  {
    name: "release what was asked for",
    weight: 10,
    run: (world, random) => {
      const leases = random.some(world.ledger.askedLeases, 80);
      settle(
        world,
        leases.map((lease, index) => drawEntry(random, lease, index, "release")),
      );
    },
  },
  {
    name: "settle late",
    weight: 25,
    run: (world, random) => {
      // The oldest that are remembered: most of them are over.
      const leases = random.some(world.ledger.leases.slice(0, 12), 30);
      settle(
        world,
        leases.map((lease, index) => drawEntry(random, lease, index)),
      );
    },
  },
  {
    name: "settle what was lost",
    weight: 58,
    run: (world, random) => {
      const lost = random.some(
        world.ledger.leases.filter(({ leaseId }) => world.model.findLeased(leaseId)?.state === "back"),
        70,
      );
      settle(
        world,
        lost.map((lease, index) => drawEntry(random, lease, index)),
      );
    },
  },
  {
    name: "settle twice",
    weight: 12,
    run: (world, random) => {
      const lease = random.pick(heldLeases(world)) ?? random.pick(world.ledger.leases);
      if (lease === undefined) return;
      const entry = drawEntry(random, lease, 0, random.chance(40) ? "release" : undefined);
      settle(world, [entry]);
      settle(world, [random.chance(50) ? entry : drawEntry(random, lease, 0)]);
    },
  },
  {
    name: "settle out of order",
    weight: 18,
    run: (world, random) => {
      const last = pickOutOfOrder(world, random);
      if (last === undefined) return;
      settle(world, [drawEntry(random, last, 0, random.chance(70) ? "ack" : undefined)]);
    },
  },
  {
    name: "settle after an earlier one came back",
    weight: 18,
    run: (world, random) => {
      const held = heldLeases(world).filter(({ key }) => key !== undefined);
      const first = held.find(({ key, offset }) => held.some((later) => later.key === key && later.offset > offset));
      if (first === undefined) return;
      settle(world, [drawEntry(random, first, 0, "retry")]);
      const later = held.filter(({ key, offset }) => key === first.key && offset > first.offset);
      settle(
        world,
        later.map((lease, index) => drawEntry(random, lease, index)),
      );
    },
  },
  {
    name: "settle after all closed cleanly",
    weight: 7,
    run: (world, random) => {
      const held = heldLeases(world);
      for (const connection of world.openConnections) world.disconnect(connection, true);
      settle(
        world,
        held.map((lease, index) => drawEntry(random, lease, index)),
      );
    },
  },
  {
    name: "settle with a bad id",
    weight: 8,
    run: (world, random) => {
      const own = random.some(world.ledger.leases.slice(-6), 40).map((lease, index) => drawEntry(random, lease, index));
      const leaseId = own[0]?.leaseId ?? "1-1-0123456789abcdef-0123456789abcdef";
      const bad = random.oneOf("", "nonsense", `${leaseId}0`, leaseId.slice(0, -1), leaseId);
      settle(world, [...own, drawEntry(random, { leaseId: bad }, own.length)]);
    },
  },
];
