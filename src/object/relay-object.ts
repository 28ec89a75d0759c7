// The Durable Object of a relay: the runtime's side of it. What it does is in relay-host.ts. It stores nothing.
import { DurableObject } from "cloudflare:workers";
import { LIMITS } from "../protocol/limits.ts";
import { formatPlace, makePlace, PLACE_HEADER } from "../protocol/place.ts";
import { parseRoute } from "../protocol/placement.ts";
import type { RelayDescription } from "../protocol/relay-routes.ts";
import { PING_FRAME, PONG_FRAME, SUBPROTOCOL_BIN } from "../protocol/version.ts";
import { MeteredStorage } from "../storage/metered-storage.ts";
import { EPOCH_HEADER, findObject, ROUTE_HEADER, type RelayedStub } from "./channel-stub.ts";
import { Connections } from "./connections.ts";
import type { Env } from "./env.ts";
import { logWarning } from "./log.ts";
import { RelayHost } from "./relay-host.ts";
import { RelayLink } from "./relay-link.ts";
import {
  parseRelayObject,
  RELAY_FULL_HEADER,
  RELAY_HEADER,
  RELAY_JURISDICTION_HEADER,
  RELAY_MISPLACED_HEADER,
} from "./relay-name.ts";
import type { RelayStub } from "./relay-stub.ts";
import { acceptUpgrade } from "./upgrade.ts";

const draw32 = (): number => crypto.getRandomValues(new Uint32Array(1))[0] ?? 0;

/** Connects with whoever has the channel: its authority tells where it is. */
async function connectWith(env: Env, channel: string, headers: Readonly<Record<string, string>>): Promise<Response> {
  const request = (more: object): Request => new Request("https://channel/socket", { headers: { ...headers, ...more } });
  const reply = await findObject(env.CHANNELS, channel, undefined).fetch(request({}));
  const route = parseRoute(reply.headers.get(ROUTE_HEADER));
  if (route === undefined) return reply;
  return await findObject(env.CHANNELS, channel, route).fetch(request({ [EPOCH_HEADER]: String(route.epoch) }));
}

export class RelayObject extends DurableObject<Env> implements RelayStub {
  readonly #connections: Connections;
  readonly #host: RelayHost;

  constructor(context: DurableObjectState, env: Env) {
    super(context, env);
    const storage = new MeteredStorage(context.storage);
    const { channel, relay: name, colo, jurisdiction } = parseRelayObject(context.id.name ?? "");
    context.setWebSocketAutoResponse(new WebSocketRequestResponsePair(PING_FRAME, PONG_FRAME));
    this.#connections = new Connections(context, draw32, name);
    this.#host = new RelayHost({
      channel,
      relay: name,
      connections: this.#connections,
      runtime: { nowMs: () => Date.now(), draw32, setTimeout: (callback, delayMs) => void setTimeout(callback, delayMs) },
      openLink: async (listener) => {
        const place = makePlace(colo, { region: undefined, continent: undefined, country: undefined });
        const headers = {
          Upgrade: "websocket",
          "Sec-WebSocket-Protocol": SUBPROTOCOL_BIN,
          [RELAY_HEADER]: name,
          ...(jurisdiction !== undefined && { [RELAY_JURISDICTION_HEADER]: jurisdiction }),
          ...(place !== undefined && { [PLACE_HEADER]: formatPlace(place) }),
        };
        const { webSocket, status, headers: told } = await connectWith(env, channel, headers);
        if (told.has(RELAY_MISPLACED_HEADER)) return "misplaced";
        if (webSocket === null) throw new Error(`The channel answered the upgrade with ${status}`);
        return new RelayLink(webSocket, listener);
      },
      startTimer: (callback, delayMs) => {
        const timer = setTimeout(callback, delayMs);
        return () => clearTimeout(timer);
      },
      leave: () => {
        storage.assertCurrent();
        (findObject(env.CHANNELS, channel, undefined) as RelayedStub)
          .leaveRelay(name)
          .catch((error: unknown) => logWarning("relay-leave-failed", { channel, relay: name }, error));
      },
      setAlarm: (atMs) => storage.setAlarm(atMs),
    });
  }

  wake(): Promise<{ readonly readers: number }> {
    return Promise.resolve(this.#host.wake());
  }

  describe(): Promise<RelayDescription> {
    return Promise.resolve(this.#host.describe());
  }

  override fetch(request: Request): Promise<Response> {
    if (this.#connections.count >= LIMITS.relayReadersMax) {
      return Promise.resolve(new Response(null, { status: 503, headers: { [RELAY_FULL_HEADER]: "1" } }));
    }
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
  override alarm(): void {
    this.#host.alarm();
  }
}
