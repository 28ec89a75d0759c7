// The Durable Object of a channel: the runtime's side of it. What it does is in channel-host.ts, and for whom in object-door.ts.
import { DurableObject } from "cloudflare:workers";
import type { Origin } from "../channel/operation.ts";
import type { Placement } from "../protocol/placement.ts";
import { PING_FRAME, PONG_FRAME } from "../protocol/version.ts";
import { MeteredStorage } from "../storage/metered-storage.ts";
import { RelayTable } from "../storage/relay-table.ts";
import { SqliteStore } from "../storage/sqlite-store.ts";
import { StandingTable } from "../storage/standing-table.ts";
import { ChannelHost } from "./channel-host.ts";
import {
  findObject,
  type ArriveOrder,
  type RelayedStub,
  type Decision,
  type DepartOrder,
  type Misdirected,
  type RouteNews,
} from "./channel-stub.ts";
import type { Performed } from "./committer.ts";
import { Connections } from "./connections.ts";
import { registerChannel, unregisterChannel } from "./directory.ts";
import type { Env } from "./env.ts";
import { ObjectDoor } from "./object-door.ts";
import { learnOwnColo } from "./own-colo.ts";
import type { PackedOperation } from "./packing.ts";
import { findRelay } from "./relay-stub.ts";
import type { Runtime } from "./runtime.ts";
import { acceptUpgrade } from "./upgrade.ts";
import { Whereabouts, type Standing } from "./whereabouts.ts";

const RUNTIME: Runtime = {
  nowMs: () => Date.now(),
  freshName: () => crypto.randomUUID(),
  callHoldMs: 1,
  draw32: drawFrom(new Uint32Array(256)),
  setTimeout: (callback, delayMs) => void setTimeout(callback, delayMs),
};

/** Takes them from what was drawn before, all at once: a call of the runtime costs much more than a number. */
function drawFrom(drawn: Uint32Array<ArrayBuffer>): () => number {
  let next = drawn.length;
  return () => {
    if (next === drawn.length) {
      crypto.getRandomValues(drawn);
      next = 0;
    }
    return drawn[next++] ?? 0;
  };
}

export class ChannelObject extends DurableObject<Env> implements RelayedStub {
  readonly #host: ChannelHost;
  readonly #door: ObjectDoor;

  constructor(context: DurableObjectState, env: Env) {
    super(context, env);
    const storage = new MeteredStorage(context.storage);
    const nowMs = (): number => RUNTIME.nowMs();
    const objectName = context.id.name ?? context.id.toString();
    const whereabouts = new Whereabouts({ objectName, store: new StandingTable<Standing>(storage), nowMs });
    const { channel: name } = whereabouts;
    // Kept alive connections do not wake the object.
    context.setWebSocketAutoResponse(new WebSocketRequestResponsePair(PING_FRAME, PONG_FRAME));
    const connections = new Connections(context, () => RUNTIME.draw32(), name);
    this.#host = new ChannelHost({
      name,
      runtime: RUNTIME,
      storage,
      openStore: () => new SqliteStore(storage),
      connections,
      registry: {
        register: (entry) => registerChannel(env.DIRECTORY, entry),
        unregister: (removal) => unregisterChannel(env.DIRECTORY, removal),
      },
      relays: {
        store: new RelayTable(storage),
        jurisdiction: () => whereabouts.jurisdiction,
        wake: async (relay) => {
          const { jurisdiction } = whereabouts;
          if (env.RELAYS === undefined) return { readers: 0 };
          storage.assertCurrent();
          return await findRelay(env.RELAYS, { channel: name, relay, jurisdiction }).wake();
        },
      },
      mayCreate: () => this.env.AUTO_CREATE === "true",
      moveState: whereabouts,
    });
    if (env.LEARN_OWN_COLO === "true") context.waitUntil(learnOwnColo().then((colo) => (whereabouts.colo = colo)));
    this.#door = new ObjectDoor({
      host: this.#host,
      whereabouts,
      timers: RUNTIME,
      nowMs,
      sync: () => storage.sync(),
      find: (route) => findObject(env.CHANNELS, name, route),
      accept: (request) => this.#host.findRelay(request) ?? acceptUpgrade(request, connections),
    });
  }

  perform(operation: PackedOperation, origin?: Origin, epoch?: number): Promise<Performed | Misdirected> {
    return this.#door.perform(operation, origin, epoch);
  }

  override fetch(request: Request): Promise<Response> {
    return this.#door.fetch(request);
  }

  move(placement: Placement): Promise<Decision> {
    return this.#door.move(placement);
  }

  place(placement: Placement): Promise<Decision> {
    return this.#door.place(placement);
  }

  tellRoute(): Promise<RouteNews> {
    return this.#door.tellRoute();
  }

  comeHome(generation: number): Promise<void> {
    return this.#door.comeHome(generation);
  }

  depart(order: DepartOrder): Promise<Decision> {
    return this.#door.depart(order);
  }

  arrive(order: ArriveOrder): Promise<void> {
    return this.#door.arrive(order);
  }

  leaveRelay(relay: string): Promise<void> {
    this.#host.relays.leave(relay);
    return Promise.resolve();
  }

  override webSocketMessage(socket: WebSocket, data: string | ArrayBuffer): void {
    this.#host.receive(socket, data);
  }

  override webSocketClose(socket: WebSocket, code: number, _reason: string, wasClean: boolean): void {
    this.#host.end(socket, code, wasClean);
  }

  override webSocketError(socket: WebSocket): void {
    this.#host.lose(socket);
  }

  /** May run twice. */
  override async alarm(): Promise<void> {
    await this.#door.look();
    await this.#host.alarm();
  }
}
