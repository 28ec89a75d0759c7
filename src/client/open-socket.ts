// Opens the WebSocket of a channel: as browsers do, with headers as Node and others do, or by an upgrade through fetch as Workers do.
import { SUBPROTOCOL_BIN, SUBPROTOCOL_JSON } from "../protocol/version.ts";
import { EdgeChannelError } from "./edge-channel-error.ts";
import { errorOfReply, type Fetch } from "./http-reply.ts";

/** What is used of a WebSocket. */
export interface WebSocketLike {
  readonly readyState: number;
  /** The subprotocol that the server chose, once it is open. Null, or empty, stands for `channel.v1.json`. */
  readonly protocol: string | null;
  /** How binary frames are to come. */
  binaryType?: string;
  send(data: string | Uint8Array<ArrayBuffer>): void;
  close(code?: number, reason?: string): void;
  addEventListener(type: "open" | "error", listener: (event: object) => void): void;
  addEventListener(type: "message", listener: (event: { readonly data: unknown }) => void): void;
  addEventListener(type: "close", listener: (event: { readonly code: number; readonly reason: string }) => void): void;
}

/**
 * Opens a WebSocket to a `ws(s)://` address, with these headers, and offers these subprotocols, the first of which is preferred. It may be
 * open already. One that offers `channel.v1.json` alone does as well.
 */
export type OpenSocket = (
  url: string,
  headers: Readonly<Record<string, string>>,
  protocols: readonly string[],
) => WebSocketLike | Promise<WebSocketLike>;

export type WebSocketConstructor = new (url: string, protocols: string[]) => WebSocketLike;

export interface SocketOptions {
  /** The deployment's token. Browsers cannot send one with a WebSocket: there, use HTTP. Default: none. */
  readonly token?: string | undefined;
  /** Default: the platform's `WebSocket`. */
  readonly WebSocket?: WebSocketConstructor | undefined;
  /** How to open a WebSocket, in place of `WebSocket`. Default: by its constructor, in Workers with a token by `upgradeWith(fetch)`. */
  readonly openSocket?: OpenSocket | undefined;
  /**
   * How messages go over a WebSocket: `"binary"`, in blocks, which is faster and carries bytes as they are, where the server speaks it
   * (`channel.v1.bin`), or as JSON, `"json"`. Default: `"binary"`.
   */
  readonly socketFormat?: "binary" | "json" | undefined;
}

type WithOptions = new (
  url: string,
  options: { readonly protocols: readonly string[]; readonly headers: object },
) => WebSocketLike;

/** What was agreed on with sockets that came with a reply: not every platform says it of the socket. */
const agreed = new WeakMap<WebSocketLike, string>();

/** The subprotocol of a socket that is open. */
export function protocolOf(socket: WebSocketLike): string | null {
  return agreed.get(socket) ?? socket.protocol;
}

/**
 * Opens a socket, and where that takes time, waits for it until the signal is aborted. Calls the platform at once, and returns at once where
 * it has a constructor, so that the first listener misses nothing.
 */
export function openChannelSocket(
  url: string,
  options: SocketOptions,
  signal: AbortSignal | undefined,
): WebSocketLike | Promise<WebSocketLike> {
  const opening = callPlatform(url, options);
  return opening instanceof Promise ? awaitSocket(opening, signal) : opening;
}

async function awaitSocket(opening: Promise<WebSocketLike>, signal: AbortSignal | undefined): Promise<WebSocketLike> {
  const aborted = Promise.withResolvers<never>();
  const onAbort = (): void => {
    aborted.reject(EdgeChannelError.aborted("Cannot connect", signal));
    // Nobody takes it any more.
    opening.then(
      (socket) => socket.close(),
      () => undefined,
    );
  };
  signal?.addEventListener("abort", onAbort);
  try {
    return await Promise.race([opening.catch(refuseSocket), aborted.promise]);
  } finally {
    signal?.removeEventListener("abort", onAbort);
  }
}

/** What says in our words already why there is no socket keeps them. */
function refuseSocket(error: unknown): never {
  if (error instanceof EdgeChannelError) throw error;
  throw EdgeChannelError.notConnected("Cannot connect: it was not opened", error);
}

function callPlatform(url: string, { token, WebSocket, openSocket, socketFormat }: SocketOptions): ReturnType<OpenSocket> {
  const protocols = socketFormat === "json" ? [SUBPROTOCOL_JSON] : [SUBPROTOCOL_BIN, SUBPROTOCOL_JSON];
  const headers = token === undefined ? {} : { Authorization: `Bearer ${token}` };
  if (openSocket !== undefined) return openSocket(url, headers, protocols);
  const Socket = WebSocket ?? globalThis.WebSocket;
  if (token === undefined) return construct(() => new Socket(url, protocols), "this platform refuses the address");
  const isWorker = "WebSocketPair" in globalThis;
  if (isWorker && WebSocket === undefined) return upgradeWith((address, init) => fetch(address, init))(url, headers, protocols);
  const WithHeaders = Socket as unknown as WithOptions;
  return construct(
    () => new WithHeaders(url, { protocols, headers }),
    "this platform's WebSocket takes no token: use HTTP or openSocket",
  );
}

function construct(make: () => WebSocketLike, why: string): WebSocketLike {
  try {
    return make();
  } catch (error) {
    const facts = { kind: "connection-failed", origin: "client", retry: "never", outcome: "not-applied", cause: error } as const;
    throw new EdgeChannelError(`Cannot connect: ${why}`, facts);
  }
}

/** A WebSocket that waits to be accepted, as Workers get it with a reply. */
interface UpgradedSocket extends WebSocketLike {
  accept(): void;
}

/**
 * Opens WebSockets by an upgrade through `fetch`, as Workers can: also through a service binding.
 *
 * @example
 * EdgeChannel.connect(url, { transport: "socket", openSocket: upgradeWith((url, init) => env.CHANNELS.fetch(url, init)) });
 */
export function upgradeWith(fetch: Fetch): OpenSocket {
  return async (url, given, protocols) => {
    const headers = { Upgrade: "websocket", "Sec-WebSocket-Protocol": protocols.join(", "), ...given };
    const reply = await fetch(url.replace(/^ws/, "http"), { headers });
    const socket = "webSocket" in reply ? (reply.webSocket as UpgradedSocket | null) : null;
    if (socket === null) throw await errorOfReply(reply, "not-applied");
    const protocol = reply.headers.get("Sec-WebSocket-Protocol");
    if (protocol !== null) agreed.set(socket, protocol);
    socket.accept();
    return socket;
  };
}
