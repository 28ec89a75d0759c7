// The raw worker that benchmarks compare against: the least that a Durable Object can do for each kind of request. It looks into
// no frame, keeps no rules and refuses nothing. `/{kind}/{name}` is one object: GET a socket, POST to put by RPC, DELETE to drop it.
import { DurableObject } from "cloudflare:workers";

interface Env {
  readonly ECHO: DurableObjectNamespace<EchoFloor>;
  readonly QUEUED_ECHO: DurableObjectNamespace<QueuedEchoFloor>;
  readonly FAN_OUT: DurableObjectNamespace<FanOutFloor>;
  readonly ROW: DurableObjectNamespace<RowFloor>;
  readonly TAKE: DurableObjectNamespace<TakeFloor>;
}

type Frame = string | ArrayBuffer;

/** One hibernatable socket or many; what a frame does is the subclass's. */
class SocketFloor extends DurableObject<Env> {
  override fetch(): Response {
    const { 0: client, 1: server } = new WebSocketPair();
    this.ctx.acceptWebSocket(server);
    return new Response(null, { status: 101, webSocket: client });
  }

  async drop(): Promise<void> {
    await this.ctx.storage.deleteAll();
  }
}

/** Sends each frame back. */
export class EchoFloor extends SocketFloor {
  override webSocketMessage(socket: WebSocket, frame: Frame): void {
    socket.send(frame);
  }
}

/** Queues each frame, drains on a zero-delay timer, sends each back: what a group commit costs beside its commit. */
export class QueuedEchoFloor extends SocketFloor {
  #queue: { socket: WebSocket; frame: Frame }[] = [];

  override webSocketMessage(socket: WebSocket, frame: Frame): void {
    this.#queue.push({ socket, frame });
    if (this.#queue.length === 1) setTimeout(() => this.#drain(), 0);
  }

  #drain(): void {
    const queue = this.#queue;
    this.#queue = [];
    for (const { socket, frame } of queue) socket.send(frame);
  }
}

/** Sends each frame to all other sockets, and "ok" back. */
export class FanOutFloor extends SocketFloor {
  override webSocketMessage(socket: WebSocket, frame: Frame): void {
    for (const reader of this.ctx.getWebSockets()) if (reader !== socket) reader.send(frame);
    socket.send("ok");
  }
}

class StoringFloor extends SocketFloor {
  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    ctx.storage.sql.exec("CREATE TABLE IF NOT EXISTS message (id INTEGER PRIMARY KEY, body BLOB NOT NULL)");
  }

  put(body: Frame): void {
    this.ctx.storage.sql.exec("INSERT INTO message (body) VALUES (?)", body);
  }
}

/**
 * Row-per-put: each frame becomes one row and one commit, and the reply follows it through the output gate. With a frame that
 * packs many messages this is the packed floor. Behind the bare worker below it is the RPC floor.
 */
export class RowFloor extends StoringFloor {
  override webSocketMessage(socket: WebSocket, frame: Frame): void {
    this.put(frame);
    socket.send("ok");
  }
}

/** Get-batch: a get frame reads one packed row by its key, deletes it and sends it. Other frames fill, outside the timed part. */
export class TakeFloor extends StoringFloor {
  #nextId = 1;

  override webSocketMessage(socket: WebSocket, frame: Frame): void {
    if (typeof frame === "string" && frame.startsWith('{"type":"get"')) {
      const id = this.#nextId++;
      const { body } = this.ctx.storage.sql.exec<{ body: Frame }>("SELECT body FROM message WHERE id = ?", id).one();
      this.ctx.storage.sql.exec("DELETE FROM message WHERE id = ?", id);
      socket.send(body);
      return;
    }
    this.put(frame);
    socket.send("ok");
  }
}

// oxlint-disable-next-line import/no-default-export -- A worker's entry point is its default export.
export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    const [, kind, name = ""] = new URL(request.url).pathname.split("/");
    const stub = findObject(kind, name, env);
    if (stub === undefined) return new Response("No such floor", { status: 404 });
    if (request.method === "GET") return await stub.fetch(request);
    if (request.method === "DELETE") {
      await stub.drop();
      return new Response("ok");
    }
    await env.ROW.getByName(name).put(await request.arrayBuffer());
    return new Response("ok");
  },
};

function findObject(kind: string | undefined, name: string, env: Env): DurableObjectStub<SocketFloor> | undefined {
  if (kind === "echo") return env.ECHO.getByName(name);
  if (kind === "queued-echo") return env.QUEUED_ECHO.getByName(name);
  if (kind === "fan-out") return env.FAN_OUT.getByName(name);
  if (kind === "row") return env.ROW.getByName(name);
  if (kind === "take") return env.TAKE.getByName(name);
  return undefined;
}
