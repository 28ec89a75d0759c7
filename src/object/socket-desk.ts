// Takes what comes over sockets: reads frames, greets, refuses, holds back what those ask for that do not read, ends connections. What is
// asked for it hands on.
import type { Operation, Origin } from "../channel/operation.ts";
import { CLOSE_CODES } from "../protocol/frames.ts";
import { LIMITS } from "../protocol/limits.ts";
import { PROTOCOL_VERSIONS } from "../protocol/version.ts";
import type { Timers } from "./commit-loop.ts";
import type { Connections } from "./connections.ts";
import { HeldFrames } from "./held-frames.ts";
import { logWarning } from "./log.ts";
import { formatProblemFrame } from "./reply-frames.ts";
import { readFrame, type FrameAction, type FrameSender } from "./socket-frames.ts";

interface ClosedConnection {
  readonly connection: number;
  readonly isClean: boolean;
  /** Whether what it held was not known before. */
  readonly isNews: boolean;
  /** The relay that it was of. */
  readonly relay: string | undefined;
}

interface SocketDeskOptions {
  /** The channel that is served, as clients are told it. */
  readonly channel: string;
  readonly connections: Connections;
  readonly runtime: Timers & { nowMs(): number };
  /** An operation was asked for by a frame of so many bytes. */
  readonly operate: (operation: Operation, origin: Origin, bytes: number) => void;
  /** Somebody said that it pings: from now on there has to be a look whether it goes on. */
  readonly beginLooks: () => void;
  /** A connection is over. */
  readonly forget: (closed: ClosedConnection) => void;
}

/** Where a frame came from, and its size. */
interface Came {
  readonly socket: WebSocket;
  readonly connection: number;
  readonly bytes: number;
}

const REBALANCE = JSON.stringify({ type: "rebalance" });
/** The close code of an end that is not the client's choice, as of a tab or a deploy: it may come back. */
const GOING_AWAY = 1001;

export class SocketDesk {
  readonly #options: SocketDeskOptions;
  readonly #connections: Connections;
  readonly #held = new HeldFrames();
  /** When it may look for silent connections again. */
  #nextLookAtMs = 0;

  constructor(options: SocketDeskOptions) {
    this.#options = options;
    this.#connections = options.connections;
  }

  /** A frame has come. */
  receive(socket: WebSocket, data: string | ArrayBuffer): void {
    const found = this.#connections.find(socket);
    if (found === undefined) return;
    const { connection } = found;
    this.#connections.noteHeard(socket, () => this.#options.runtime.nowMs());
    const action = this.#readFrame(data, found);
    const bytes = typeof data === "string" ? data.length : data.byteLength;
    if (action.type === "hear") {
      this.#connections.hear(socket, action.echo);
      this.#held.release(connection, () => !this.#connections.isUnread(connection));
    } else if (this.#held.has(connection) || this.#connections.isUnread(connection)) {
      this.#hold({ socket, connection, bytes }, () => this.#act(action, { socket, connection, bytes }));
    } else this.#act(action, { socket, connection, bytes });
  }

  /** A socket has closed. */
  end(socket: WebSocket, code: number, wasClean: boolean): void {
    this.#forget(socket, wasClean && code !== GOING_AWAY);
    closeQuietly(socket, code);
  }

  /** A socket is broken. */
  lose(socket: WebSocket): void {
    this.#forget(socket, false);
  }

  /** Forgets connections, of which nobody is told, and returns their numbers. */
  release(sockets: readonly WebSocket[]): readonly number[] {
    const connections = sockets.flatMap((socket) => this.#connections.remove(socket)?.connection ?? []);
    for (const connection of connections) this.#held.drop(connection);
    return connections;
  }

  /** Parts with connections that others serve from nearer (rule RY11): behind what they were sent. */
  move(sockets: readonly WebSocket[]): void {
    for (const socket of sockets) {
      const connection = this.#connections.find(socket)?.connection;
      if (connection === undefined) continue;
      this.#connections.send(connection, REBALANCE);
      this.#forget(socket, true);
      socket.close(CLOSE_CODES.moved, "Come back: you are served from nearer");
    }
  }

  /** Ends connections whose clients are gone though the runtime tells nothing of it (rule CN5). */
  endSilent({ isForced }: { readonly isForced: boolean }): void {
    const nowMs = this.#options.runtime.nowMs();
    if (!isForced && nowMs < this.#nextLookAtMs) return;
    this.#nextLookAtMs = nowMs + LIMITS.silenceLookMs;
    for (const socket of this.#connections.findSilent(nowMs)) {
      this.#forget(socket, false);
      socket.close(CLOSE_CODES.silent, "No ping came for too long");
    }
  }

  #act(action: Exclude<FrameAction, { type: "hear" }>, { socket, connection, bytes }: Came): void {
    switch (action.type) {
      case "operate":
        this.#options.operate(action.operation, { connection, request: action.request }, bytes);
        return;
      case "greet": {
        const { version, joinsFrames, pings } = action;
        this.#connections.greet(socket, { joinsFrames, heardAtMs: pings ? this.#options.runtime.nowMs() : undefined });
        if (pings) this.#options.beginLooks();
        const { channel } = this.#options;
        const welcome = { type: "welcome", version, versions: PROTOCOL_VERSIONS, channel, connection };
        this.#connections.send(connection, JSON.stringify(welcome));
        return;
      }
      case "close":
        this.#connections.send(connection, formatProblemFrame(action.refused.refusal, action.refused.inReplyTo));
        this.#forget(socket, true);
        socket.close(action.code, action.reason);
        return;
      case "refuse":
        this.#connections.send(connection, formatProblemFrame(action.refused.refusal, action.refused.inReplyTo));
        return;
    }
  }

  /** The connection does not read: what it asks for waits until it does, and not for long (rule CN3). */
  #hold(came: Came, act: () => void): void {
    const { connection, bytes } = came;
    const isFirst = !this.#held.has(connection);
    if (!this.#held.add(connection, act, bytes)) this.#closeUnread(came);
    else if (isFirst) this.#awaitEcho(came);
  }

  #awaitEcho(came: Came): void {
    const { connection } = came;
    const echoes = this.#connections.echoesOf(connection);
    // It keeps the object awake: what is held lies in memory alone.
    this.#options.runtime.setTimeout(() => {
      if (!this.#held.has(connection)) return;
      if (this.#connections.echoesOf(connection) === echoes) this.#closeUnread(came);
      else this.#awaitEcho(came);
    }, LIMITS.unreadMsMax);
  }

  #closeUnread({ socket }: Came): void {
    this.#forget(socket, false);
    socket.close(CLOSE_CODES.framesUnread, "Read what is sent, and send each echo back");
  }

  /** No frame stays unanswered, not even one that shows a fault of ours. */
  #readFrame(data: string | ArrayBuffer, sender: FrameSender): FrameAction {
    try {
      return readFrame(data, sender);
    } catch (error) {
      logWarning("frame-failed", { channel: this.#options.channel }, error);
      return { type: "refuse", refused: { refusal: { kind: "internal", outcome: "not-applied" } } };
    }
  }

  #forget(socket: WebSocket, isClean: boolean): void {
    const removed = this.#connections.remove(socket);
    if (removed === undefined) return;
    this.#held.drop(removed.connection);
    this.#options.forget({ ...removed, isClean });
  }
}

/** Answers a close. The runtime does so by itself for sockets that were accepted otherwise, but not for hibernating ones (measured). */
function closeQuietly(socket: WebSocket, code: number): void {
  // 1005, 1006 and 1015 tell that no close frame came; they must not be sent.
  const mayBeSent = code !== 1005 && code !== 1006 && code !== 1015;
  try {
    socket.close(mayBeSent ? code : 1000);
  } catch {
    // It is closed already.
  }
}
