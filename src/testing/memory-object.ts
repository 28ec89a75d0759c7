// The object of a channel without its runtime: the same host over storage, sockets and an alarm in memory.
import type { Origin } from "../channel/operation.ts";
import { ChannelHost } from "../object/channel-host.ts";
import type { ChannelStub } from "../object/channel-object.ts";
import type { Performed } from "../object/committer.ts";
import { Connections } from "../object/connections.ts";
import { PING_FRAME, PONG_FRAME } from "../protocol/version.ts";
import type { PackedOperation } from "../object/packing.ts";
import { replyWithProblem } from "../object/problem-reply.ts";
import { acceptSocket, refuseUpgrade } from "../object/upgrade.ts";
import type { Chance } from "./chance.ts";
import type { Clock } from "./clock.ts";
import type { ReplyWatch } from "./lost-replies.ts";
import { MemoryStorage } from "./memory-storage.ts";
import { SocketPair } from "./socket-pair.ts";

export interface MemoryObjectOptions {
  readonly name: string;
  readonly clock: Clock;
  readonly chance: Chance;
  readonly mayCreate: boolean;
}

/** What a deployment does to an object and to what waits for its answers. */
class ObjectResetError extends Error {}

/** All of one stay in memory: between two deployments. */
interface Stay {
  readonly host: ChannelHost;
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
  #stopAlarm: () => void = () => undefined;
  #stay: Stay;

  constructor(options: MemoryObjectOptions) {
    this.#options = options;
    this.#storage = new MemoryStorage((atMs) => this.#arm(atMs));
    this.#stay = this.#wake();
  }

  /** Whether there is a channel, and how it is set. */
  get host(): ChannelHost {
    return this.#stay.host;
  }

  /** As a call between isolates does, it takes and gives copies. */
  async perform(operation: PackedOperation, origin?: Origin): Promise<Performed> {
    const { host, ending } = this.#stay;
    const reset = Promise.withResolvers<never>();
    const onReset = (): void => reset.reject(new ObjectResetError("The object was reset because its code was updated"));
    ending.signal.addEventListener("abort", onReset, { once: true });
    try {
      return structuredClone(await Promise.race([host.perform(structuredClone(operation), origin), reset.promise]));
    } finally {
      ending.signal.removeEventListener("abort", onReset);
    }
  }

  fetch(request: Request): Promise<Response> {
    return Promise.resolve(this.connect(request));
  }

  /** Answers an upgrade. `watch` sees what the program sends and is sent. */
  connect(request: Request, watch?: ReplyWatch): Response {
    const { host, connections, pairs, pingedAt, ending } = this.#stay;
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
    const { name, clock, chance, mayCreate } = this.#options;
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
    const host = new ChannelHost({
      name,
      runtime: {
        nowMs: () => clock.nowMs,
        freshName: () => chance.freshName(),
        draw32: () => chance.draw32(),
        setTimeout: (callback, delayMs) => {
          startTimer(() => {
            if (!ending.signal.aborted) callback();
          }, delayMs);
        },
      },
      storage: this.#storage,
      openStore: () => this.#storage.store,
      connections,
      // The list of channels is that of the objects.
      registry: { register: () => Promise.resolve(), unregister: () => Promise.resolve() },
      mayCreate: () => mayCreate,
    });
    return { host, connections, pairs, pingedAt, ending };
  }

  #arm(atMs: number | undefined): void {
    this.#stopAlarm();
    this.#stopAlarm = () => undefined;
    if (atMs === undefined) return;
    const { clock } = this.#options;
    this.#stopAlarm = clock.timersOf("service")(() => {
      this.#storage.noteAlarm();
      void this.#stay.host.alarm();
    }, atMs - clock.nowMs);
  }
}
