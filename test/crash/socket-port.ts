// The service over one WebSocket. Requests are pipelined; those in flight when the connection ends are unknown.
import { once } from "node:events";
import { WebSocket } from "ws";
import type { Answer, SettleLists } from "./history.ts";
import {
  formatSettle,
  isNotApplied,
  type Port,
  putText,
  readGot,
  readPulled,
  readPut,
  readSettled,
  type ReplyJson,
} from "./port.ts";
import type { Reply } from "./recorder.ts";

const OPEN_TIMEOUT_MS = 20_000;

interface Frame extends ReplyJson {
  readonly type: string;
  readonly id?: number;
  readonly inReplyTo?: number;
  readonly problem?: { readonly kind: string; readonly outcome?: string };
}

interface Request {
  /** A put that waited is sent again when there is room for it. */
  readonly frame: object;
  readonly timer: NodeJS.Timeout | undefined;
  readonly settle: (frame: Frame | undefined) => void;
}

export class SocketPort implements Port {
  readonly channel: string;
  readonly isDetaching = false;
  readonly #name: string;
  readonly #socket: WebSocket;
  readonly #requests = new Map<number, Request>();
  #lastId = 0;

  private constructor(channel: string, name: string, socket: WebSocket) {
    this.channel = channel;
    this.#name = name;
    this.#socket = socket;
    // oxlint-disable-next-line typescript/no-base-to-string -- a text frame is one Buffer
    socket.on("message", (data) => this.#receive(JSON.parse(String(data)) as Frame));
    socket.on("close", () => this.#loseAll());
  }

  /** Resolves when the service welcomed the connection. */
  static async open(url: string, channel: string, name: string): Promise<SocketPort> {
    const address = `${url.replace("http", "ws")}/v1/channels/${channel}/socket`;
    const socket = new WebSocket(address, "channel.v1.json", { perMessageDeflate: false });
    // A killed server is an "error" first; "close" follows.
    socket.on("error", () => undefined);
    await arrival(socket, "open");
    const welcome = arrival(socket, "message");
    socket.send('{"type":"hello","versions":[1]}');
    await welcome;
    return new SocketPort(channel, name, socket);
  }

  get isOpen(): boolean {
    return this.#socket.readyState === WebSocket.OPEN;
  }

  connection(): string {
    return this.#name;
  }

  put(names: readonly string[], { waitMs }: { waitMs: number }): Promise<Reply<Answer<"put">>> {
    const messages = names.map(putText);
    const frame = messages.length === 1 ? { type: "put", ...messages[0] } : { type: "put-batch", messages };
    return this.#request({ ...frame, waitMs }, { waitMs, read: readPut });
  }

  pull(want: { max: number; leaseMs: number; isDetached: boolean; waitMs: number }): Promise<Reply<Answer<"pull">>> {
    const { max, leaseMs, isDetached, waitMs } = want;
    const frame = { type: "pull", max, leaseMs, waitMs, ...(isDetached && { detached: true }) };
    return this.#request(frame, { waitMs, read: readPulled });
  }

  get({ max, waitMs }: { max: number; waitMs: number }): Promise<Reply<Answer<"get">>> {
    return this.#request({ type: "get", max, waitMs }, { waitMs, read: readGot });
  }

  settle(lists: SettleLists): Promise<Reply<Answer<"settle">>> {
    return this.#request({ type: "settle", ...formatSettle(lists) }, { waitMs: 0, read: (reply) => readSettled(reply, lists) });
  }

  async close(how: "clean" | "cut"): Promise<void> {
    if (this.#socket.readyState === WebSocket.CLOSED) return;
    const closed = once(this.#socket, "close");
    if (how === "clean") this.#socket.close(1000);
    else this.#socket.terminate();
    await closed;
  }

  #request<Value>(
    request: object,
    { waitMs, read }: { readonly waitMs: number; readonly read: (reply: ReplyJson) => Value },
  ): Promise<Reply<Value>> {
    if (!this.isOpen) return Promise.resolve({ type: "unknown" });
    const { promise, resolve } = Promise.withResolvers<Reply<Value>>();
    this.#lastId += 1;
    const id = this.#lastId;
    const frame = { ...request, id };
    // The client keeps the deadline of what waits.
    const timer = waitMs === 0 ? undefined : setTimeout(() => this.#send({ type: "cancel", id }), waitMs);
    const settle = (reply: Frame | undefined): void => {
      clearTimeout(timer);
      if (reply?.problem !== undefined && isNotApplied(reply.problem)) resolve({ type: "fail", kind: reply.problem.kind });
      else if (reply === undefined || reply.problem !== undefined) resolve({ type: "unknown" });
      else resolve({ type: "ok", value: read(reply) });
    };
    this.#requests.set(id, { frame, timer, settle });
    this.#send(frame);
    return promise;
  }

  #receive(frame: Frame): void {
    const id = frame.id ?? frame.inReplyTo ?? 0;
    const request = this.#requests.get(id);
    // A put whose promise was over before it came is told so a second time.
    if (request === undefined && frame.problem?.kind === "promise-lost") return;
    if (request === undefined) throw new Error(`An answer to no request: ${JSON.stringify(frame).slice(0, 400)}`);
    if (frame.type === "wait") return;
    if (frame.type === "echo") return this.#send(frame);
    if (frame.type === "room") {
      this.#send({ ...request.frame, promised: true });
      return;
    }
    this.#requests.delete(id);
    request.settle(frame);
  }

  #send(frame: object): void {
    if (this.isOpen) this.#socket.send(JSON.stringify(frame));
  }

  #loseAll(): void {
    for (const { settle } of this.#requests.values()) settle(undefined);
    this.#requests.clear();
  }
}

/** Rejects when the socket closes before the event comes, or when it takes too long. */
async function arrival(socket: WebSocket, event: "open" | "message"): Promise<void> {
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(new Error(`No "${event}" within ${OPEN_TIMEOUT_MS} ms`)), OPEN_TIMEOUT_MS);
  const onClose = (): void => abort.abort(new Error(`The connection closed before "${event}"`));
  socket.once("close", onClose);
  try {
    await once(socket, event, { signal: abort.signal });
  } finally {
    clearTimeout(timer);
    socket.off("close", onClose);
  }
}
