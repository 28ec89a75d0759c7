// The Durable Object of a channel: the runtime's side of it. What it does is in channel-host.ts.
import { DurableObject } from "cloudflare:workers";
import type { Origin } from "../channel/operation.ts";
import { PING_FRAME, PONG_FRAME } from "../protocol/version.ts";
import { MeteredStorage } from "../storage/metered-storage.ts";
import { SqliteStore } from "../storage/sqlite-store.ts";
import { ChannelHost, type Runtime } from "./channel-host.ts";
import type { Performed } from "./committer.ts";
import { Connections } from "./connections.ts";
import { registerChannel, unregisterChannel } from "./directory.ts";
import type { Env } from "./env.ts";
import type { PackedOperation } from "./packing.ts";
import { acceptUpgrade } from "./upgrade.ts";

/** What a worker can ask of the object of a channel. */
export interface ChannelStub {
  /** `origin` names the connection and request whose promised room a put uses. */
  perform(operation: PackedOperation, origin?: Origin): Promise<Performed>;
  fetch(request: Request): Promise<Response>;
}

const RUNTIME: Runtime = {
  nowMs: () => Date.now(),
  freshName: () => crypto.randomUUID(),
  draw32: () => crypto.getRandomValues(new Uint32Array(1))[0] ?? 0,
  setTimeout: (callback, delayMs) => void setTimeout(callback, delayMs),
};

export class ChannelObject extends DurableObject<Env> implements ChannelStub {
  readonly #connections: Connections;
  readonly #host: ChannelHost;

  constructor(context: DurableObjectState, env: Env) {
    super(context, env);
    const storage = new MeteredStorage(context.storage);
    const name = context.id.name ?? context.id.toString();
    // Kept alive connections do not wake the object.
    context.setWebSocketAutoResponse(new WebSocketRequestResponsePair(PING_FRAME, PONG_FRAME));
    this.#connections = new Connections(context, () => RUNTIME.draw32(), name);
    this.#host = new ChannelHost({
      name,
      runtime: RUNTIME,
      storage,
      openStore: () => new SqliteStore(storage),
      connections: this.#connections,
      registry: {
        register: (entry) => registerChannel(env.DIRECTORY, entry),
        unregister: (removal) => unregisterChannel(env.DIRECTORY, removal),
      },
      mayCreate: () => this.env.AUTO_CREATE === "true",
    });
  }

  perform(operation: PackedOperation, origin?: Origin): Promise<Performed> {
    return this.#host.perform(operation, origin);
  }

  override fetch(request: Request): Promise<Response> {
    return Promise.resolve(acceptUpgrade(request, this.#connections));
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
  override alarm(): Promise<void> {
    return this.#host.alarm();
  }
}
