// The WebSockets of a channel: numbers, attachments that survive hibernation, and sends that can not throw.
import type { CarriedLeases } from "../channel/attached-leases.ts";
import type { AttachedRequests } from "../channel/socket-room.ts";
import type { Waiter } from "../channel/wait-line.ts";
import type { Subscription } from "../channel/subscription.ts";
import { formatPlace, parsePlace, type Place } from "../protocol/place.ts";
import { LIMITS } from "../protocol/limits.ts";
import { packSubscription, unpackSubscription, type PackedSubscription } from "./packed-subscription.ts";
import { logWarning } from "./log.ts";
import { Pings } from "./pings.ts";
import { Unread, type PackedUnread } from "./unread.ts";

/**
 * What a socket carries through hibernation, 16 KiB at most. Arrays keep it small: 64 waiters take about 5 KB, 13 with long readers. What
 * is left is for leases.
 */
interface Attachment {
  readonly connection: number;
  readonly hasGreeted: boolean;
  readonly waiters: readonly PackedWaiter[];
  /** Absent for a socket that an earlier release accepted. */
  readonly subscriptions?: readonly PackedSubscription[];
  /** Leases of its streams, packed; absent for none. */
  readonly leases?: Uint8Array;
  /** Where its puts come from; absent for a socket that an earlier release accepted. */
  readonly source?: string;
  /** Where its client is (protocol/place.ts); absent where that is not known. */
  readonly place?: string;
  /** Whether it is sent the frames of a commit in one. */
  readonly joinsFrames?: true;
  /** Whether binary frames carry its messages. */
  readonly isBinary?: true;
  /** When a frame of it came, as far as that was written; absent for one that did not say that it pings. */
  readonly heardAtMs?: number;
  /** Whether it was opened for plain reading alone. */
  readonly readsPlainly?: true;
  /** Which relay it is of; absent for a client's. */
  readonly relay?: string;
  /** What it has not shown to have read, where it is asked for an echo. */
  readonly unread?: PackedUnread;
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
export type SocketKeeper = Pick<DurableObjectState, "acceptWebSocket" | "getWebSockets" | "getWebSocketAutoResponseTimestamp">;

interface AcceptOptions {
  /** Where the puts of the socket come from. */
  readonly source: string;
  /** Where its client is. */
  readonly place: Place | undefined;
  readonly isBinary: boolean;
  readonly readsPlainly: boolean;
  readonly relay: string | undefined;
}

interface RemovedConnection {
  readonly connection: number;
  /** Whether what it held was not known. */
  readonly isNews: boolean;
  /** The relay that it was of. */
  readonly relay: string | undefined;
}

const NO_LEASES = new Uint8Array();
/** What all members of an attachment but its requests and leases take, and the names of these. */
const OTHER_BYTES_MAX = 400;
/** How often is written that a frame came: an attachment is too much to be written for each. */
const HEARD_INTERVAL_MS = LIMITS.silenceMsMax / 5;

export class Connections {
  readonly #context: SocketKeeper;
  readonly #sockets = new Map<number, WebSocket>();
  readonly #draw32: () => number;
  readonly #attachments = new Map<WebSocket, Attachment>();
  readonly #unread = new Map<number, Unread>();
  readonly #pings: Pings;
  /** What sockets carried that have closed, until the channel has decided what becomes of it. */
  readonly #left = new Map<number, Uint8Array>();
  readonly #relays = new Map<number, string>();
  /** Connections for plain reading by colo. */
  readonly #plain = new Map<string, Set<number>>();
  #lastConnection = 0;

  /** Finds the sockets that stayed open while the object slept. `name`: of the channel. */
  constructor(context: SocketKeeper, draw32: () => number, name: string) {
    this.#context = context;
    this.#pings = new Pings(name);
    this.#draw32 = draw32;
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

  /** What all sockets that are known carry of leases. */
  *leases(): Iterable<CarriedLeases> {
    for (const { connection, leases = NO_LEASES } of this.#attachments.values()) yield { connection, bytes: leases };
    for (const [connection, bytes] of this.#left) yield { connection, bytes };
  }

  /** Numbers that no new connection may get. */
  skip(connections: readonly number[]): void {
    for (const connection of connections) this.#lastConnection = Math.max(this.#lastConnection, connection);
  }

  /** All sockets that are known. */
  get sockets(): readonly WebSocket[] {
    return [...this.#sockets.values()];
  }

  accept(socket: WebSocket, options: AcceptOptions): void {
    this.#context.acceptWebSocket(socket);
    const connection = this.#lastConnection + 1;
    const { source, place, isBinary, readsPlainly, relay } = options;
    const given = {
      ...(place !== undefined && { place: formatPlace(place) }),
      ...(isBinary && { isBinary }),
      ...(readsPlainly && { readsPlainly }),
      ...(relay !== undefined && { relay }),
    };
    const attachment: Attachment = { connection, hasGreeted: false, waiters: [], source, ...given };
    this.#keep(socket, attachment);
    socket.serializeAttachment(attachment);
  }

  /** The number of a socket and where it comes from; undefined for one that was closed. */
  find(
    socket: WebSocket,
  ): Pick<Attachment, "connection" | "hasGreeted" | "source" | "isBinary" | "readsPlainly" | "relay"> | undefined {
    return this.#attachments.get(socket);
  }

  /** `heardAtMs`: the time, of a client that pings. */
  greet(
    socket: WebSocket,
    { joinsFrames, heardAtMs }: { readonly joinsFrames: boolean; readonly heardAtMs: number | undefined },
  ): void {
    this.#update(socket, {
      hasGreeted: true,
      ...(joinsFrames && { joinsFrames }),
      ...(heardAtMs !== undefined && { heardAtMs }),
    });
    const attachment = this.#attachments.get(socket);
    if (attachment?.heardAtMs !== undefined) this.#pings.begin(attachment.connection, attachment.heardAtMs);
  }

  /** Notes that a frame came: who pings is not gone then. */
  noteHeard(socket: WebSocket, readNowMs: () => number): void {
    const { connection, heardAtMs } = this.#attachments.get(socket) ?? {};
    if (connection === undefined || heardAtMs === undefined) return;
    const nowMs = readNowMs();
    this.#pings.begin(connection, nowMs);
    if (Math.abs(nowMs - heardAtMs) >= HEARD_INTERVAL_MS) this.#update(socket, { heardAtMs: nowMs });
  }

  /** When the alarm has to look for silent connections (rule CN6); undefined where nobody pings. */
  nextLookAtMs(nowMs: number): number | undefined {
    return this.#pings.nextLookAtMs(nowMs);
  }

  /** The sockets of clients that ping and were not heard for too long. */
  findSilent(nowMs: number): readonly WebSocket[] {
    const readPingedAtMs = (connection: number): number => {
      const socket = this.#sockets.get(connection);
      return (socket && this.#context.getWebSocketAutoResponseTimestamp(socket)?.getTime()) ?? 0;
    };
    return this.#pings.findSilent(nowMs, readPingedAtMs).flatMap((connection) => this.#sockets.get(connection) ?? []);
  }

  /** Whether a connection asked to be sent the frames of a commit in one. */
  joinsFrames(connection: number): boolean {
    const socket = this.#sockets.get(connection);
    return socket !== undefined && this.#attachments.get(socket)?.joinsFrames === true;
  }

  /** Whether binary frames carry what a connection is sent of messages. */
  isBinary(connection: number): boolean {
    const socket = this.#sockets.get(connection);
    return socket !== undefined && this.#attachments.get(socket)?.isBinary === true;
  }

  /** Where the client of a connection is; undefined where that is not known. */
  placeOf(connection: number): Place | undefined {
    const socket = this.#sockets.get(connection);
    return socket && parsePlace(this.#attachments.get(socket)?.place);
  }

  isOpen(connection: number): boolean {
    return this.#sockets.get(connection)?.readyState === WebSocket.OPEN;
  }

  /** Keeps what a connection waits for, is subscribed to and holds. */
  write(connection: number, kept: AttachedRequests, leases: Uint8Array | undefined): void {
    const socket = this.#sockets.get(connection);
    const attachment = socket && this.#attachments.get(socket);
    if (socket === undefined || attachment === undefined) return;
    const { waiters, subscriptions } = packRequests(kept);
    // A commit writes those of all its readers: leaving a member out of a copy takes many times as long as adding some.
    const next: Attachment = { ...attachment, waiters, subscriptions };
    this.#put(socket, leases === undefined && attachment.leases === undefined ? next : withLeases(next, leases));
  }

  /** Sends a frame, text or bytes, to a connection that may have closed meanwhile. */
  send(connection: number, frame: string | Uint8Array): void {
    const socket = this.#sockets.get(connection);
    if (socket?.readyState !== WebSocket.OPEN) return;
    try {
      socket.send(frame);
    } catch (error) {
      logWarning("send-failed", { connection }, error);
      return;
    }
    const unread = this.#unread.get(connection);
    if (unread === undefined) return;
    if (unread.note(typeof frame === "string" ? frame.length : frame.byteLength)) this.#writeUnread(socket, unread);
    this.#askIfDue(connection, socket, unread);
  }

  /** Whether a connection was sent so much, and has not shown to have read it, that nothing is done for it any more. */
  isUnread(connection: number): boolean {
    return this.#unread.get(connection)?.isTooMuch === true;
  }

  /** How often it has shown that it reads, since the object woke. */
  echoesOf(connection: number): number {
    return this.#unread.get(connection)?.echoes ?? 0;
  }

  /** A client has sent back an echo. */
  hear(socket: WebSocket, echo: number): void {
    const attachment = this.#attachments.get(socket);
    const unread = attachment && this.#unread.get(attachment.connection);
    if (attachment === undefined || unread === undefined) return;
    const { echoes } = unread;
    unread.hear(echo);
    if (unread.echoes === echoes) return;
    this.#writeUnread(socket, unread);
    // It may be time for the next.
    this.#askIfDue(attachment.connection, socket, unread);
  }

  /**
   * Forgets a socket and returns its number, and whether what it held is news: one whose end woke the object is not among the open ones, but
   * carries its attachment.
   */
  remove(socket: WebSocket): RemovedConnection | undefined {
    const known = this.#attachments.get(socket);
    const attachment = known ?? (socket.deserializeAttachment() as Attachment | null);
    if (attachment === null) return undefined;
    const { connection, leases, relay } = attachment;
    if (socket.readyState === WebSocket.OPEN) socket.serializeAttachment(null);
    if (known !== undefined) this.#countPlain(known, -1);
    this.#relays.delete(connection);
    this.#attachments.delete(socket);
    this.#sockets.delete(connection);
    this.#unread.delete(connection);
    this.#pings.end(connection);
    // Also nothing is told: who is not known to have closed counts as lost (rule LS9).
    this.#left.set(connection, leases ?? NO_LEASES);
    return { connection, isNews: known === undefined && leases !== undefined, relay };
  }

  /** Has to be called for each connection that closed, when it is decided and stored what became of its leases. */
  forget(connection: number): void {
    this.#left.delete(connection);
  }

  /** Connections of relays. */
  relays(): ReadonlyMap<number, string> {
    return this.#relays;
  }

  /** How many connections for plain reading at a colo are no relay's. */
  countPlain(colo: string): number {
    return this.#plain.get(colo)?.size ?? 0;
  }

  /** Their sockets. */
  plainOf(colo: string): readonly WebSocket[] {
    return [...(this.#plain.get(colo) ?? [])].flatMap((connection) => this.#sockets.get(connection) ?? []);
  }

  #countPlain({ connection, readsPlainly, relay, place }: Attachment, change: 1 | -1): void {
    const colo = readsPlainly === true && relay === undefined ? parsePlace(place)?.colo : undefined;
    if (colo === undefined) return;
    const known = this.#plain.get(colo) ?? new Set();
    if (change === 1) known.add(connection);
    else known.delete(connection);
    if (known.size === 0) this.#plain.delete(colo);
    else this.#plain.set(colo, known);
  }

  #askIfDue(connection: number, socket: WebSocket, unread: Unread): void {
    if (!unread.isDue) return;
    const echo = this.#draw32();
    unread.ask(echo);
    this.#writeUnread(socket, unread);
    this.send(connection, JSON.stringify({ type: "echo", echo }));
  }

  #writeUnread(socket: WebSocket, unread: Unread): void {
    const attachment = this.#attachments.get(socket);
    if (attachment === undefined) return;
    const { unread: _, ...rest } = attachment;
    const packed = unread.pack();
    this.#put(socket, { ...rest, ...(packed !== undefined && { unread: packed }) });
  }

  #keep(socket: WebSocket, attachment: Attachment): void {
    const { unread, heardAtMs, relay } = attachment;
    if (relay !== undefined) this.#relays.set(attachment.connection, relay);
    this.#countPlain(attachment, 1);
    // Of frames that came so soon after that nothing was written.
    if (heardAtMs !== undefined) this.#pings.begin(attachment.connection, heardAtMs + HEARD_INTERVAL_MS);
    this.#unread.set(attachment.connection, unread === undefined ? new Unread() : Unread.unpack(unread));
    this.#sockets.set(attachment.connection, socket);
    this.#attachments.set(socket, attachment);
    this.#lastConnection = Math.max(this.#lastConnection, attachment.connection);
  }

  #update(socket: WebSocket, change: Partial<Attachment>): void {
    const attachment = this.#attachments.get(socket);
    if (attachment === undefined) return;
    this.#put(socket, { ...attachment, ...change });
  }

  #put(socket: WebSocket, attachment: Attachment): void {
    this.#attachments.set(socket, attachment);
    if (socket.readyState === WebSocket.OPEN) socket.serializeAttachment(attachment);
  }
}

function withLeases(attachment: Attachment, leases: Uint8Array | undefined): Attachment {
  const { leases: _, ...rest } = attachment;
  return leases === undefined ? rest : { ...rest, leases };
}

/** Bytes of leases that fit a socket beside what else it carries. */
export function measureLeaseRoom(kept: AttachedRequests): number {
  const { attachmentBytesMax, attachedLeasesBytesMax } = LIMITS;
  const room = attachmentBytesMax - OTHER_BYTES_MAX - measureSerialized(packRequests(kept));
  return Math.max(0, Math.min(attachedLeasesBytesMax, room));
}

/** At least what the runtime makes of a value (the format of `structuredClone`). */
function measureSerialized(value: unknown): number {
  if (typeof value === "number") return Math.abs(value) < 2 ** 30 ? 6 : 9;
  // Text that is not Latin-1 takes two bytes a character, and one to align it.
  if (typeof value === "string") return 5 + value.length * (/^[\0-\xff]*$/u.test(value) ? 1 : 2);
  if (typeof value !== "object" || value === null) return 1;
  const parts = Array.isArray(value) ? value : Object.entries(value).flat();
  return parts.reduce((bytes: number, part) => bytes + measureSerialized(part), 12);
}

function packRequests({ waiters, subscriptions }: AttachedRequests): Required<Pick<Attachment, "waiters" | "subscriptions">> {
  return { waiters: waiters.map(packWaiter), subscriptions: subscriptions.map(packSubscription) };
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
