// What the object of a channel does, apart from the runtime that it lives in: takes requests from workers and sockets, queues them for the
// commit loop, does what is due when the alarm fires. Clock, chance, timers, storage and sockets are given to it.
import type { Moment, Operation, Origin } from "../channel/operation.ts";
import type { Refusal } from "../protocol/problems.ts";
import type { ChannelRecord } from "../channel/store.ts";
import { isFollowing, type Subscription } from "../channel/subscription.ts";
import { Block } from "../protocol/block.ts";
import { CLOSE_CODES } from "../protocol/frames.ts";
import { LIMITS } from "../protocol/limits.ts";
import { parsePlace, PLACE_HEADER } from "../protocol/place.ts";
import {
  Committer,
  type Entry,
  type ObjectRequest,
  type ObjectStorage,
  type OwnPlace,
  type Performed,
  type SoundStore,
} from "./committer.ts";
import { CommitLoop } from "./commit-loop.ts";
import { MISDIRECTED_STATUS } from "./channel-stub.ts";
import type { Connections } from "./connections.ts";
import type { Registration, Removal } from "./directory-shard.ts";
import { logWarning } from "./log.ts";
import { unpackOperation, type PackedOperation } from "./packing.ts";
import { RelayBook, type RelayPorts } from "./relay-book.ts";
import { RelayMoves } from "./relay-moves.ts";
import {
  parseJurisdiction,
  parseRelayName,
  READS_HEADER,
  READS_PLAINLY,
  RELAY_HEADER,
  RELAY_JURISDICTION_HEADER,
  RELAY_MISPLACED_HEADER,
} from "./relay-name.ts";
import type { Runtime } from "./runtime.ts";
import { SocketDesk } from "./socket-desk.ts";
import { refuseUpgrade } from "./upgrade.ts";

/** Where a channel tells that it exists, and how it is set. May be told the same more than once (DR2, DR3). */
interface Registry {
  register(entry: Registration): Promise<void>;
  unregister(removal: Removal): Promise<void>;
}

export interface HostedStorage extends ObjectStorage {
  /** Resolves when everything written so far is on disk. */
  sync(): Promise<void>;
}

/** What the host of an object asks about a move of its channel (whereabouts.ts). */
interface MoveState {
  /** Whether nothing may be done here: the channel is elsewhere, or on its way. */
  readonly isSuspended: boolean;
  /** When the alarm has to look how it stands. */
  readonly nextLookAtMs: number | undefined;
  describePlace(): OwnPlace;
  /** Erases the channel, the alarm too, and not where it is. */
  eraseChannel(): Promise<void>;
}

export interface ChannelHostOptions {
  readonly name: string;
  readonly runtime: Runtime;
  readonly storage: HostedStorage;
  readonly openStore: () => SoundStore;
  readonly connections: Connections;
  readonly registry: Registry;
  readonly relays: RelayPorts;
  /** Whether the first use of an unknown channel creates it. */
  readonly mayCreate: () => boolean;
  readonly moveState: MoveState;
}

const ALARM_INTERVAL_MS_MIN = 1000;

export class ChannelHost {
  readonly #options: ChannelHostOptions;
  readonly #name: string;
  readonly #storage: HostedStorage;
  readonly #committer: Committer;
  readonly #loop: CommitLoop<Entry>;
  readonly #desk: SocketDesk;
  readonly #connections: Connections;
  readonly #relays: RelayBook;
  readonly #moves: RelayMoves;
  /** When the timer that is set first fires. */
  #timerAtMs = Infinity;

  constructor(options: ChannelHostOptions) {
    this.#options = options;
    const { name, storage, connections, openStore, moveState } = options;
    this.#name = name;
    this.#storage = storage;
    this.#connections = connections;
    this.#relays = new RelayBook({
      ...options.relays,
      channel: name,
      connections,
      runtime: options.runtime,
      isSubscribed: (connection) => this.#committer.channel.subscriptionsOf(connection).some(isFollowing),
    });
    this.#moves = new RelayMoves({
      connections,
      timers: options.runtime,
      hasRelay: (colo) => this.#relays.has(colo),
      // A tap has no token (rule RY11).
      mustStay: (socket) => this.#subscriptionsOf(socket).some((one) => one.type === "reader" && one.isTap),
      move: (sockets) => this.#desk.move(sockets),
    });
    this.#committer = new Committer({
      name,
      storage,
      openStore,
      connections,
      takeMoment: () => this.#takeMoment(),
      nextMoveLookAtMs: () => moveState.nextLookAtMs,
      nextCallAtMs: (nowMs) => this.#relays.nextLookAtMs(nowMs),
      isRelayAway: () => this.#relays.isAway,
      noteRecords: () => this.#relays.noteRecords(),
      describePlace: () => moveState.describePlace(),
      listRelays: () => this.#relays.names,
    });
    this.#loop = new CommitLoop<Entry>({
      commit: (entries) => {
        // Nobody waits for an answer then: connections were closed, and calls wait at the door.
        if (moveState.isSuspended) return;
        this.#committer.commit(entries);
        // What subscribers are owed beyond a frame follows at once, behind what has come meanwhile.
        if (this.#committer.hasMoreToDeliver) this.#loop.pushRest({ request: { type: "tick" } });
        this.#armTimer();
        this.#desk.endSilent({ isForced: false });
      },
      sync: () => this.#storage.sync(),
      ownerOf: ({ request }) => ownerOf(request),
      delayMs: () => this.#committer.channel.record?.settings.commitDelayMs ?? 0,
      callHoldMs: options.runtime.callHoldMs,
      timers: options.runtime,
    });
    this.#desk = new SocketDesk({
      channel: name,
      connections,
      runtime: options.runtime,
      operate: (operation, origin, bytes) =>
        this.#loop.push({ request: { type: "operate", operation, origin } }, bytes + answerBytesOf(operation)),
      beginLooks: () => this.#loop.push({ request: { type: "tick" } }, 0),
      forget: ({ connection, isClean, isNews, relay }) => {
        if (isNews) this.#committer.noteNews();
        const isServed = this.#committer.channel.subscriptionsOf(connection).length > 0;
        if (relay !== undefined && (isServed || isNews)) this.#relays.noteLost(relay);
        this.#loop.push({ request: { type: "closed", connection, isClean } }, 0);
      },
    });
    this.#armTimer();
  }

  #subscriptionsOf(socket: WebSocket): readonly Subscription[] {
    const connection = this.#connections.find(socket)?.connection;
    return connection === undefined ? [] : this.#committer.channel.subscriptionsOf(connection);
  }

  /** What is kept of the channel; undefined where there is none. */
  get record(): ChannelRecord | undefined {
    return this.#committer.channel.record;
  }

  get relays(): RelayBook {
    return this.#relays;
  }

  /** Where a connection for plain reading has to go that is not the channel's own; notes a relay that comes. */
  findRelay(request: Request): Response | undefined {
    const { headers } = request;
    const relay = headers.get(RELAY_HEADER);
    const jurisdiction = this.#options.relays.jurisdiction();
    if (relay !== null && parseJurisdiction(headers.get(RELAY_JURISDICTION_HEADER)) !== jurisdiction)
      return new Response(null, { status: MISDIRECTED_STATUS, headers: { [RELAY_MISPLACED_HEADER]: "1" } });
    if (relay !== null && this.record !== undefined) {
      this.#relays.attach(relay);
      const colo = parseRelayName(relay)?.colo;
      if (colo !== undefined) this.#moves.begin(colo);
    }
    const isPlain = headers.get(READS_HEADER) === READS_PLAINLY && refuseUpgrade(request, this.#connections) === undefined;
    if (relay !== null || !isPlain || this.record === undefined) return undefined;
    const colo = this.#relays.findColo(parsePlace(headers.get(PLACE_HEADER)), this.record.settings);
    if (colo === undefined) return undefined;
    const where = jurisdiction === undefined ? {} : { [RELAY_JURISDICTION_HEADER]: jurisdiction };
    return new Response(null, { headers: { [RELAY_HEADER]: colo, ...where } });
  }

  /** Carries an operation out, and answers when it is committed. `origin` names the connection and request whose promised room it uses. */
  perform(packed: PackedOperation, origin?: Origin): Promise<Performed> {
    const operation = unpackOperation(packed);
    const isFramed = packed.type === "get" && packed.isFramed === true;
    return new Promise((answer) =>
      this.#loop.pushCall(
        { request: { type: "operate", operation, origin }, answer, isFramed },
        sizeOf(operation) + answerBytesOf(operation),
      ),
    );
  }

  /** Does what is asked for by itself and at once, also while the channel is suspended. */
  performNow(operation: Operation): Performed {
    let performed: Performed | undefined;
    const answer = (answered: Performed): void => void (performed = answered);
    this.#committer.commit([{ request: { type: "operate", operation, origin: undefined }, answer }]);
    if (performed === undefined) throw new Error(`Nothing came of ${operation.type}`);
    return performed;
  }

  /** Decides all that has come. */
  flush(): void {
    this.#loop.flush();
  }

  /** Ends all connections: what was not answered was not done. Their leases end as if they had been cut off (LS9). */
  cutAll(): void {
    const { sockets } = this.#connections;
    const closed = this.#desk
      .release(sockets)
      .map((connection) => ({ request: { type: "closed", connection, isClean: false } }) as const);
    if (closed.length > 0) this.#committer.commit(closed);
    for (const socket of sockets) socket.close(CLOSE_CODES.moved, "The channel moves: connect again");
    // Those that sleep do not see it: they connect with whoever has the channel then.
    this.#relays.callAll();
  }

  /** Goes on after it was suspended. */
  resume(): void {
    this.arm();
    this.#armTimer();
  }

  /** Begins anew with what is stored: something else, or nothing. */
  reload(): void {
    this.#committer.wake();
    this.#relays.reload();
  }

  /** Sets the alarm for what is due next. */
  arm(): void {
    this.#committer.armAlarm(this.#takeMoment().nowMs, this.#options.moveState);
  }

  /** The refusal of a snapshot, where another one is open. */
  refuseSnapshot(): Refusal | undefined {
    return this.#committer.channel.snapshots.refuseAnother(this.#takeMoment().nowMs);
  }

  /** Ends the snapshot that is open, if one is. */
  endSnapshot(): void {
    const snapshotId = this.#committer.channel.snapshots.openSnapshotId;
    if (snapshotId !== undefined) this.performNow({ type: "end-snapshot", snapshotId });
  }

  /** Whether nothing is left that anybody could ask for. */
  get isForgotten(): boolean {
    return this.#committer.channel.isForgotten(this.#takeMoment().nowMs);
  }

  /** A frame has come. */
  receive(socket: WebSocket, data: string | ArrayBuffer): void {
    this.#desk.receive(socket, data);
  }

  /** A socket has closed. */
  end(socket: WebSocket, code: number, wasClean: boolean): void {
    this.#desk.end(socket, code, wasClean);
  }

  /** A socket is broken. */
  lose(socket: WebSocket): void {
    this.#desk.lose(socket);
  }

  /** Does what is due, tells the directory, and sets the next alarm at least a second away. May run twice. Rejects where it is superseded. */
  async alarm(): Promise<void> {
    this.#committer.noteAlarm();
    if (this.#options.moveState.isSuspended) {
      this.#committer.armAlarm(this.#takeMoment().nowMs + ALARM_INTERVAL_MS_MIN, this.#options.moveState);
      return;
    }
    this.#desk.endSilent({ isForced: true });
    this.#relays.look();
    await this.#doWhatIsDue();
    await this.#tellDirectory();
    const { nowMs } = this.#takeMoment();
    if (this.#committer.channel.isForgotten(nowMs)) {
      await this.#options.moveState.eraseChannel();
      this.reload();
      return;
    }
    this.#committer.armAlarm(nowMs + ALARM_INTERVAL_MS_MIN);
    this.#armTimer();
  }

  /** One commit takes only so many delayed messages: goes on while it helps (rule SD6). */
  async #doWhatIsDue(): Promise<void> {
    let overdue = Infinity;
    for (let commits = 0; commits < LIMITS.alarmCommitsMax && overdue > 0; commits++) {
      // Each is on disk before the next, and other requests come in between.
      if (commits > 0) await this.#storage.sync();
      this.#committer.commit([{ request: { type: "tick" } }]);
      const left = this.#committer.channel.countOverdue(this.#takeMoment().nowMs);
      if (left >= overdue) return;
      overdue = left;
    }
  }

  async #tellDirectory(): Promise<void> {
    const record = this.#committer.channel.record;
    if (record === undefined || !record.outbox.isPending || record.outbox.nextAttemptAtMs > this.#takeMoment().nowMs) return;
    const { version } = record.outbox;
    const channel = this.#name;
    const { registry } = this.#options;
    // What is told was committed; one that is superseded may know an older state, and is stopped here (rule RC11).
    this.#storage.assertCurrent();
    const isDone = await (
      record.state === "deleted"
        ? registry.unregister({ channel, version, nowMs: record.deletedAtMs ?? 0 })
        : registry.register({ channel, version, createdAtMs: record.createdAtMs, settings: record.settings })
    ).then(
      () => true,
      (error: unknown) => {
        logWarning("directory-failed", { channel, attempts: record.outbox.attempts }, error);
        return false;
      },
    );
    this.#committer.commit([{ request: { type: "settle-outbox", version, isDone } }]);
  }

  /**
   * A promise of room that nobody uses is taken back on time, leases that others wait for are asked for, messages that waited long enough for a
   * member nearby go farther, and what comes due before the alarm may run again is done. A timer will do: the object is awake for 10 s after each event.
   */
  #armTimer(): void {
    if (this.#options.moveState.isSuspended) return;
    const { nextReservationEndMs = Infinity, nextStealingAtMs = Infinity, nextRouteAtMs = Infinity } = this.#committer.channel;
    const endMs = Math.min(nextReservationEndMs, nextStealingAtMs, nextRouteAtMs);
    const dueAtMs = this.#committer.dueBeforeAlarmAtMs ?? Infinity;
    if (endMs === Infinity && dueAtMs === Infinity) return;
    const { nowMs } = this.#takeMoment();
    // What is overdue could not be done at its time: the alarm tries again. What is further off than the alarm's pause is its business.
    const isForTimer = dueAtMs > nowMs && dueAtMs <= nowMs + ALARM_INTERVAL_MS_MIN;
    const atMs = Math.min(endMs, isForTimer ? dueAtMs : Infinity);
    if (atMs >= this.#timerAtMs) return;
    this.#timerAtMs = atMs;
    this.#options.runtime.setTimeout(
      () => {
        if (this.#timerAtMs === atMs) this.#timerAtMs = Infinity;
        this.#loop.push({ request: { type: "tick" } }, 0);
      },
      Math.max(0, atMs - nowMs),
    );
  }

  #takeMoment(): Moment {
    const { runtime, mayCreate } = this.#options;
    const drawLife = (): string => runtime.freshName();
    return { nowMs: runtime.nowMs(), drawLife, mayCreate: mayCreate(), draw32: () => runtime.draw32() };
  }
}

/** The connection that a request is of. */
function ownerOf(request: ObjectRequest): number | undefined {
  if (request.type === "operate") return request.origin?.connection;
  return request.type === "closed" ? request.connection : undefined;
}

/** What an answer takes in memory until it is sent, where that can be much more than the request. */
function answerBytesOf({ type }: Operation): number {
  return type === "read-checkpoint" ? LIMITS.checkpointBytesMax : 0;
}

function sizeOf(operation: Operation): number {
  if (operation.type === "stage-page") return operation.bytes.byteLength;
  if (operation.type === "write-checkpoint") return operation.write.value.byteLength;
  if (operation.type !== "put") return 0;
  const { messages } = operation;
  return messages instanceof Block ? messages.byteLength : messages.reduce((bytes, { body }) => bytes + body.byteLength, 0);
}
