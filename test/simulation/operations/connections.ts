// Sockets that open, close cleanly or not, are cut without a word, and requests that are cancelled.
import { LIMITS } from "../../../src/protocol/limits.ts";
import { type ActorOperation, drawGroup, drawOrigin } from "./operation.ts";

const CONNECTIONS_MAX = 4;

export const CONNECTIONS: readonly ActorOperation[] = [
  {
    name: "connect",
    weight: 14,
    run: (world) => {
      if (world.connections.length < CONNECTIONS_MAX) world.connect();
    },
  },
  {
    name: "close cleanly",
    weight: 8,
    run: (world, random) => {
      world.disconnect(drawOrigin(world, random).connection, true);
    },
  },
  {
    name: "close uncleanly",
    weight: 6,
    run: (world, random) => {
      world.disconnect(drawOrigin(world, random).connection, false);
    },
  },
  {
    name: "cut",
    weight: 6,
    run: (world, random) => {
      world.cut(drawOrigin(world, random).connection);
    },
  },
  {
    name: "hear of a cut",
    weight: 12,
    run: (world, random) => {
      const cut = random.pick(world.connections.filter((connection) => !world.isOpen(connection)));
      if (cut !== undefined) world.disconnect(cut, random.chance(50));
    },
  },
  {
    name: "crowd",
    weight: 9,
    run: (world, random) => {
      // Fills the places of a connection: the first requests may be in use, the last find no place.
      const { connection } = drawOrigin(world, random);
      for (let request = 1; request <= LIMITS.waitersPerSocketMax + 2; request++) {
        world.perform({ type: "get", min: 2, max: 2, waitMs: 5_000, ...drawGroup(world, random) }, { connection, request });
      }
    },
  },
  {
    name: "close all cleanly",
    weight: 8,
    run: (world) => {
      for (const connection of world.openConnections) world.disconnect(connection, true);
    },
  },
  {
    name: "cancel",
    weight: 12,
    run: (world, random) => {
      const { gets, puts, promises } = world.model.state;
      const waiter = random.chance(80) ? random.pick([...gets, ...puts, ...promises]) : undefined;
      const { connection, request } = waiter ?? drawOrigin(world, random);
      world.perform({ type: "cancel", request }, { connection, request });
    },
  },
];
