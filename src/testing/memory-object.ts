// The object of a channel without its runtime: the same host over storage, sockets and an alarm in memory.
import type { Origin } from "../channel/operation.ts";
import { ChannelHost } from "../object/channel-host.ts";
import type { Runtime } from "../object/runtime.ts";
import type {
  ArriveOrder,
  ChannelStub,
  Decision,
  DepartOrder,
  Misdirected,
  PeerStub,
  RouteNews,
} from "../object/channel-stub.ts";
import type { Performed } from "../object/committer.ts";
import { Connections } from "../object/connections.ts";
import { ObjectDoor } from "../object/object-door.ts";
import { formatObjectName, type Placement } from "../protocol/placement.ts";
import { PING_FRAME, PONG_FRAME } from "../protocol/version.ts";
import type { PackedOperation } from "../object/packing.ts";
import { replyWithProblem } from "../object/problem-reply.ts";
import { acceptSocket, refuseUpgrade } from "../object/upgrade.ts";
import { Whereabouts, type Standing, type StandingStore } from "../object/whereabouts.ts";
import type { Chance } from "./chance.ts";
import type { Clock } from "./clock.ts";
import type { ReplyWatch } from "./lost-replies.ts";
import { MemoryStorage } from "./memory-storage.ts";
import { SocketPair } from "./socket-pair.ts";

export interface MemoryObjectOptions {
  /** Of the object; that of its channel may be another (`formatObjectName`). */
  readonly name: string;
  /** Another object, by its name; there is none if absent. */
  readonly find?: (name: string) => PeerStub;
  readonly clock: Clock;
  readonly chance: Chance;
  readonly mayCreate: boolean;
}

/** What a deployment does to an object and to what waits for its answers. */
class ObjectResetError extends Error {}

/** All of one stay in memory: between two deployments. */
interface Stay {
  readonly host: ChannelHost;
  readonly door: ObjectDoor;
  readonly whereabouts: Whereabouts;
  readonly connections: Connections;
  readonly pairs: Set<SocketPair>;
  /** When pings were answered, as the runtime does it. */
  readonly pingedAt: WeakMap<WebSocket, Date>;
  /** Aborted when it is over. */
  readonly ending: AbortController;
}

export class MemoryObject implements ChannelStub {
  readonly #options: MemoryObjectOptions;
  readonly #storage: MemoryStorage;
  readonly #standing: StandingStore;
  readonly #watches = new WeakMap<Request, ReplyWatch>();
  #stopAlarm: () => void = () => undefined;
  #stay: Stay;

  constructor(options: MemoryObjectOptions) {
    this.#options = options;
    this.#storage = new MemoryStorage((atMs) => this.#arm(atMs));
    this.#standing = new MemoryStanding(this.#storage);
    this.#stay = this.#wake();
  }

  /** Whether there is a channel, and how it is set. */
  get host(): ChannelHost {
    return this.#stay.host;
  }

  /** The channel that it serves, or serves no more; undefined for an object that has nothing to do with one now. */
  get served(): string | undefined {
    const { whereabouts } = this.#stay;
    return whereabouts.isSuspended ? undefined : whereabouts.channel;
  }

  /** As a call between isolates does, it takes and gives copies. */
  perform(operation: PackedOperation, origin?: Origin, epoch?: number): Promise<Performed | Misdirected> {
    return this.#call((door) => door.perform(structuredClone(operation), origin, epoch));
  }

  move(placement: Placement): Promise<Decision> {
    return this.#call((door) => door.move(placement));
  }

  place(placement: Placement): Promise<Decision> {
    return this.#call((door) => door.place(placement));
  }

  tellRoute(): Promise<RouteNews> {
    return this.#call((door) => door.tellRoute());
  }

  comeHome(generation: number): Promise<void> {
    return this.#call((door) => door.comeHome(generation));
  }

  depart(order: DepartOrder): Promise<Decision> {
    return this.#call((door) => door.depart(structuredClone(order)));
  }

  arrive(order: ArriveOrder): Promise<void> {
    return this.#call((door) => door.arrive(structuredClone(order)));
  }

  async #call<Value>(call: (door: ObjectDoor) => Promise<Value>): Promise<Value> {
    const { door, ending } = this.#stay;
    const reset = Promise.withResolvers<never>();
    const onReset = (): void => reset.reject(new ObjectResetError("The object was reset because its code was updated"));
    ending.signal.addEventListener("abort", onReset, { once: true });
    try {
      return structuredClone(await Promise.race([call(door), reset.promise]));
    } finally {
      ending.signal.removeEventListener("abort", onReset);
    }
  }

  fetch(request: Request): Promise<Response> {
    return this.#stay.door.fetch(request);
  }

  /** Answers an upgrade. `watch` sees what the program sends and is sent. */
  connect(request: Request, watch?: ReplyWatch): Promise<Response> {
    if (watch !== undefined) this.#watches.set(request, watch);
    return this.fetch(request);
  }

  #accept(request: Request): Response {
    const { host, connections, pairs, pingedAt, ending } = this.#stay;
    const watch = this.#watches.get(request);
    const refusal = refuseUpgrade(request, connections);
    if (refusal !== undefined) return replyWithProblem(refusal);
    const pair: SocketPair = new SocketPair({
      soon: (callback) => this.#options.clock.soon(callback),
      onFrame: (frame) => {
        if (frame === PING_FRAME) {
          pingedAt.set(socket, new Date(this.#options.clock.nowMs));
          pair.object.send(PONG_FRAME);
          return;
        }
        watch?.noteRequest(frame);
        host.receive(socket, frame);
      },
      onClose: (code, wasClean) => {
        pairs.delete(pair);
        // Code that was replaced hears of nothing.
        if (!ending.signal.aborted) host.end(socket, code, wasClean);
      },
      breaksAt: (frame) => watch?.loses(frame) ?? false,
    });
    // Of a socket the object uses what this end has.
    const socket = pair.object as unknown as WebSocket;
    pairs.add(pair);
    const headers = acceptSocket(request, socket, connections);
    // A reply of status 101 can be made nowhere but in the runtime.
    return Object.assign(new Response(null, { headers }), { webSocket: pair.program as unknown as WebSocket });
  }

  /** New code takes over: memory and connections are gone, and what was not committed yet. What is stored stays, and the alarm. */
  reset(): void {
    const { pairs, ending } = this.#stay;
    ending.abort();
    for (const pair of pairs) pair.cut();
    this.#stay = this.#wake();
  }

  #wake(): Stay {
    const { name: objectName, find = findNone, clock, chance, mayCreate } = this.#options;
    const nowMs = (): number => clock.nowMs;
    const whereabouts = new Whereabouts({ objectName, store: this.#standing, nowMs });
    const { channel: name } = whereabouts;
    const ending = new AbortController();
    const pairs = new Set<SocketPair>();
    // Sockets of the time before are gone.
    const pingedAt = new WeakMap<WebSocket, Date>();
    const keeper = {
      acceptWebSocket: () => undefined,
      getWebSockets: () => [],
      getWebSocketAutoResponseTimestamp: (socket: WebSocket) => pingedAt.get(socket) ?? null,
    };
    const connections = new Connections(keeper, () => chance.draw32(), name);
    const startTimer = clock.timersOf("service");
    const runtime: Runtime = {
      nowMs,
      freshName: () => chance.freshName(),
      callHoldMs: 0,
      draw32: () => chance.draw32(),
      setTimeout: (callback, delayMs) => {
        startTimer(() => {
          if (!ending.signal.aborted) callback();
        }, delayMs);
      },
    };
    const host = new ChannelHost({
      name,
      runtime,
      storage: this.#storage,
      openStore: () => this.#storage.store,
      connections,
      // The list of channels is that of the objects.
      registry: { register: () => Promise.resolve(), unregister: () => Promise.resolve() },
      relays: {
        store: { list: () => [], add: () => undefined, remove: () => undefined },
        jurisdiction: () => undefined,
        wake: () => Promise.resolve({ readers: 0 }),
      },
      mayCreate: () => mayCreate,
      moveState: whereabouts,
    });
    const door = new ObjectDoor({
      host,
      whereabouts,
      timers: runtime,
      nowMs,
      sync: () => this.#storage.sync(),
      find: ({ generation }) => whileAlive(find(formatObjectName(name, generation)), ending.signal),
      accept: (request) => this.#accept(request),
    });
    return { host, door, whereabouts, connections, pairs, pingedAt, ending };
  }

  #arm(atMs: number | undefined): void {
    this.#stopAlarm();
    this.#stopAlarm = () => undefined;
    if (atMs === undefined) return;
    const { clock } = this.#options;
    this.#stopAlarm = clock.timersOf("service")(() => {
      this.#storage.noteAlarm();
      void this.#ring(this.#stay);
    }, atMs - clock.nowMs);
  }

  async #ring({ door, host }: Stay): Promise<void> {
    await door.look();
    await host.alarm();
  }
}

/** What code that was replaced asked for never comes back to it. */
function whileAlive(peer: PeerStub, ending: AbortSignal): PeerStub {
  const heard = <Value>(coming: Promise<Value>): Promise<Value> =>
    new Promise((resolve, reject) => {
      coming.then(
        (value) => ending.aborted || resolve(value),
        (error: unknown) => ending.aborted || reject(error),
      );
    });
  return {
    tellRoute: () => heard(peer.tellRoute()),
    comeHome: (generation) => heard(peer.comeHome(generation)),
    depart: (order) => heard(peer.depart(order)),
    arrive: (order) => heard(peer.arrive(order)),
  };
}

function findNone(name: string): never {
  throw new Error(`There is no object ${name}`);
}

/** Where the channel is, beside what lies under its store. */
class MemoryStanding implements StandingStore {
  readonly #storage: MemoryStorage;
  #standing: Standing | undefined;

  constructor(storage: MemoryStorage) {
    this.#storage = storage;
  }

  read(): Standing | undefined {
    return this.#standing;
  }

  write(standing: Standing): void {
    this.#standing = standing;
  }

  eraseOthers(): void {
    this.#storage.deleteAll();
  }

  eraseAll(): Promise<void> {
    this.#standing = undefined;
    this.#storage.deleteAll();
    return Promise.resolve();
  }
}
