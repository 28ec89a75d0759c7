// The WebSockets of a channel: numbers, attachments that survive hibernation, and sends that can not throw.
import type { Waiter } from "../channel/wait-line.ts";
import type { Subscription } from "../channel/subscription.ts";
import { LIMITS } from "../protocol/limits.ts";
import { packSubscription, unpackSubscription, type PackedSubscription } from "./packed-subscription.ts";
import { logWarning } from "./log.ts";

/** What a socket carries through hibernation. Arrays keep it small: 64 waiters take about 5 KB of the 16 that are allowed, 13 with long readers. */
interface Attachment {
  readonly connection: number;
  readonly hasGreeted: boolean;
  readonly waiters: readonly PackedWaiter[];
  /** Absent for a socket that an earlier release accepted. */
  readonly subscriptions?: readonly PackedSubscription[];
  /** Where its puts come from; absent for a socket that an earlier release accepted. */
  readonly source?: string;
  /** Whether it is sent the frames of a commit in one. */
  readonly joinsFrames?: true;
}

type PackedWaiter = readonly [
  request: number,
  ticket: number,
  kind: "get" | "put",
  min: number,
  max: number,
  bytes: number,
  deadlineMs: number,
  reservedUntilMs: number | null,
  leaseMs: number | null,
  isDetached: boolean,
  group: number,
  reader?: string,
];

/** What keeps the sockets while the object sleeps. */
export type SocketKeeper = Pick<DurableObjectState, "acceptWebSocket" | "getWebSockets">;

export class Connections {
  readonly #context: SocketKeeper;
  readonly #sockets = new Map<number, WebSocket>();
  readonly #attachments = new Map<WebSocket, Attachment>();
  #lastConnection = 0;

  /** Finds the sockets that stayed open while the object slept. */
  constructor(context: SocketKeeper) {
    this.#context = context;
    for (const socket of context.getWebSockets()) {
      const attachment = socket.deserializeAttachment() as Attachment | null;
      if (attachment !== null) this.#keep(socket, attachment);
    }
  }

  get count(): number {
    return this.#sockets.size;
  }

  get isFull(): boolean {
    return this.#sockets.size >= LIMITS.connectionsMax;
  }

  /** The waiting requests of all sockets. */
  *waiters(): Iterable<Waiter> {
    for (const { connection, waiters } of this.#attachments.values()) {
      for (const packed of waiters) yield unpackWaiter(connection, packed);
    }
  }

  /** The subscriptions of all sockets. */
  *subscriptions(): Iterable<Subscription> {
    for (const { connection, subscriptions = [] } of this.#attachments.values()) {
      for (const packed of subscriptions) yield unpackSubscription(connection, packed);
    }
  }

  /** Numbers that no new connection may get. */
  skip(connections: readonly number[]): void {
    for (const connection of connections) this.#lastConnection = Math.max(this.#lastConnection, connection);
  }

  /** `source`: where the puts of the socket come from. */
  accept(socket: WebSocket, source: string): void {
    this.#context.acceptWebSocket(socket);
    const attachment: Attachment = { connection: this.#lastConnection + 1, hasGreeted: false, waiters: [], source };
    this.#keep(socket, attachment);
    socket.serializeAttachment(attachment);
  }

  /** The number of a socket and where it comes from; undefined for one that was closed. */
  find(socket: WebSocket): Pick<Attachment, "connection" | "hasGreeted" | "source"> | undefined {
    return this.#attachments.get(socket);
  }

  greet(socket: WebSocket, { joinsFrames }: { readonly joinsFrames: boolean }): void {
    this.#update(socket, { hasGreeted: true, ...(joinsFrames && { joinsFrames }) });
  }

  /** Whether a connection asked to be sent the frames of a commit in one. */
  joinsFrames(connection: number): boolean {
    const socket = this.#sockets.get(connection);
    return socket !== undefined && this.#attachments.get(socket)?.joinsFrames === true;
  }

  isOpen(connection: number): boolean {
    return this.#sockets.get(connection)?.readyState === WebSocket.OPEN;
  }

  /** Keeps what a connection waits for and is subscribed to. */
  write(
    connection: number,
    kept: { readonly waiters: readonly Waiter[]; readonly subscriptions: readonly Subscription[] },
  ): void {
    const socket = this.#sockets.get(connection);
    if (socket === undefined) return;
    const { waiters, subscriptions } = kept;
    this.#update(socket, { waiters: waiters.map(packWaiter), subscriptions: subscriptions.map(packSubscription) });
  }

  /** Sends text to a connection that may have closed meanwhile. */
  send(connection: number, text: string): void {
    const socket = this.#sockets.get(connection);
    if (socket?.readyState !== WebSocket.OPEN) return;
    try {
      socket.send(text);
    } catch (error) {
      logWarning("send-failed", { connection }, error);
    }
  }

  /** Forgets a socket and returns its number. One whose end woke the object is not among the open ones, but carries its attachment. */
  remove(socket: WebSocket): number | undefined {
    const attachment = this.#attachments.get(socket) ?? (socket.deserializeAttachment() as Attachment | null);
    if (attachment === null) return undefined;
    if (socket.readyState === WebSocket.OPEN) socket.serializeAttachment(null);
    this.#attachments.delete(socket);
    this.#sockets.delete(attachment.connection);
    return attachment.connection;
  }

  #keep(socket: WebSocket, attachment: Attachment): void {
    this.#sockets.set(attachment.connection, socket);
    this.#attachments.set(socket, attachment);
    this.#lastConnection = Math.max(this.#lastConnection, attachment.connection);
  }

  #update(socket: WebSocket, change: Partial<Attachment>): void {
    const attachment = this.#attachments.get(socket);
    if (attachment === undefined) return;
    const changed: Attachment = { ...attachment, ...change };
    this.#attachments.set(socket, changed);
    if (socket.readyState === WebSocket.OPEN) socket.serializeAttachment(changed);
  }
}

function packWaiter(waiter: Waiter): PackedWaiter {
  const { request, ticket, kind, min, max, bytes, deadlineMs, reservedUntilMs, lease, group } = waiter;
  const packedLease = [lease?.leaseMs ?? null, lease?.isDetached ?? false, group] as const;
  const packed = [request, ticket, kind, min, max, bytes, deadlineMs, reservedUntilMs ?? null, ...packedLease] as const;
  return lease?.reader === undefined ? packed : [...packed, lease.reader];
}

function unpackWaiter(connection: number, packed: PackedWaiter): Waiter {
  const [request, ticket, kind, min, max, bytes, deadlineMs, reservedUntilMs, leaseMs, isDetached, group, reader] = packed;
  return {
    connection,
    request,
    ticket,
    kind,
    min,
    max,
    bytes,
    deadlineMs,
    group,
    ...(reservedUntilMs !== null && { reservedUntilMs }),
    ...(leaseMs !== null && { lease: { leaseMs, isDetached, ...(reader !== undefined && { reader }) } }),
  };
}
