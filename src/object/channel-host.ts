// What the object of a channel does, apart from the runtime that it lives in: takes requests from workers and sockets, queues them for the
// commit loop, does what is due when the alarm fires. Clock, chance, timers, storage and sockets are given to it.
import type { Moment, Operation, Origin } from "../channel/operation.ts";
import type { Refusal } from "../protocol/problems.ts";
import type { ChannelRecord } from "../channel/store.ts";
import { Block } from "../protocol/block.ts";
import { CLOSE_CODES } from "../protocol/frames.ts";
import { PROTOCOL_VERSIONS } from "../protocol/version.ts";
import { LIMITS } from "../protocol/limits.ts";
import { Committer, type Entry, type ObjectRequest, type ObjectStorage, type Performed, type SoundStore } from "./committer.ts";
import { CommitLoop, type Timers } from "./commit-loop.ts";
import type { Connections } from "./connections.ts";
import type { Registration, Removal } from "./directory-shard.ts";
import { HeldFrames } from "./held-frames.ts";
import { logWarning } from "./log.ts";
import { unpackOperation, type PackedOperation } from "./packing.ts";
import { formatProblemFrame } from "./reply-frames.ts";
import { readFrame, type FrameAction, type FrameSender } from "./socket-frames.ts";

/** The runtime around the object. */
export interface Runtime extends Timers {
  nowMs(): number;
  /** A name that nothing else has. */
  freshName(): string;
  /** A random whole number of 32 bits. */
  draw32(): number;
}

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
  /** Whether the first use of an unknown channel creates it. */
  readonly mayCreate: () => boolean;
  readonly moveState: MoveState;
}

/** Where a frame came from, and its size. */
interface Came {
  readonly socket: WebSocket;
  readonly connection: number;
  readonly bytes: number;
}

/** The close code of an end that is not the client's choice, as of a tab or a deploy: it may come back. */
const GOING_AWAY = 1001;
const ALARM_INTERVAL_MS_MIN = 1000;

export class ChannelHost {
  readonly #options: ChannelHostOptions;
  readonly #name: string;
  readonly #storage: HostedStorage;
  readonly #connections: Connections;
  readonly #committer: Committer;
  readonly #loop: CommitLoop<Entry>;
  readonly #held = new HeldFrames();
  /** When commits may look for silent connections again. */
  #nextLookAtMs = 0;
  /** When the timer that is set first fires. */
  #timerAtMs = Infinity;

  constructor(options: ChannelHostOptions) {
    this.#options = options;
    const { name, storage, connections, openStore, moveState } = options;
    this.#name = name;
    this.#storage = storage;
    this.#connections = connections;
    const takeMoment = (): Moment => this.#takeMoment();
    const nextMoveLookAtMs = (): number | undefined => moveState.nextLookAtMs;
    this.#committer = new Committer({ name, storage, openStore, connections, takeMoment, nextMoveLookAtMs });
    this.#loop = new CommitLoop<Entry>({
      commit: (entries) => {
        // Nobody waits for an answer then: connections were closed, and calls wait at the door.
        if (moveState.isSuspended) return;
        this.#committer.commit(entries);
        // What subscribers are owed beyond a frame follows at once, behind what has come meanwhile.
        if (this.#committer.hasMoreToDeliver) this.#loop.pushCall({ request: { type: "tick" } }, 0);
        this.#armTimer();
        this.#endSilent({ isForced: false });
      },
      sync: () => this.#storage.sync(),
      ownerOf: ({ request }) => ownerOf(request),
      delayMs: () => this.#committer.channel.record?.settings.commitDelayMs ?? 0,
      timers: options.runtime,
    });
    this.#armTimer();
  }

  /** What is kept of the channel; undefined where there is none. */
  get record(): ChannelRecord | undefined {
    return this.#committer.channel.record;
  }

  /** Carries an operation out, and answers when it is committed. `origin` names the connection and request whose promised room it uses. */
  perform(packed: PackedOperation, origin?: Origin): Promise<Performed> {
    const operation = unpackOperation(packed);
    return new Promise((answer) =>
      this.#loop.pushCall(
        { request: { type: "operate", operation, origin }, answer },
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
    const closed: Entry[] = [];
    for (const socket of sockets) {
      const connection = this.#connections.remove(socket)?.connection;
      if (connection === undefined) continue;
      this.#held.drop(connection);
      closed.push({ request: { type: "closed", connection, isClean: false } });
    }
    if (closed.length > 0) this.#committer.commit(closed);
    for (const socket of sockets) socket.close(CLOSE_CODES.moved, "The channel moves: connect again");
  }

  /** Goes on after it was suspended. */
  resume(): void {
    this.arm();
    this.#armTimer();
  }

  /** Begins anew with what is stored: something else, or nothing. */
  reload(): void {
    this.#committer.wake();
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
    const found = this.#connections.find(socket);
    if (found === undefined) return;
    const { connection } = found;
    this.#connections.noteHeard(connection, this.#options.runtime.nowMs());
    const action = this.#readFrame(data, found);
    const bytes = typeof data === "string" ? data.length : data.byteLength;
    if (action.type === "hear") {
      this.#connections.hear(socket, action.echo);
      this.#held.release(connection, () => !this.#connections.isUnread(connection));
    } else if (this.#held.has(connection) || this.#connections.isUnread(connection)) {
      this.#hold({ socket, connection, bytes }, () => this.#act(action, { socket, connection, bytes }));
    } else this.#act(action, { socket, connection, bytes });
  }

  #act(action: Exclude<FrameAction, { type: "hear" }>, { socket, connection, bytes }: Came): void {
    switch (action.type) {
      case "operate": {
        const { operation, request } = action;
        const size = bytes + answerBytesOf(operation);
        this.#loop.push({ request: { type: "operate", operation, origin: { connection, request } } }, size);
        return;
      }
      case "greet": {
        const { version, joinsFrames, pings } = action;
        this.#connections.greet(socket, { joinsFrames, pingsSinceMs: pings ? this.#options.runtime.nowMs() : undefined });
        // The alarm has to look whether it goes on.
        if (pings) this.#loop.push({ request: { type: "tick" } }, 0);
        const welcome = { type: "welcome", version, versions: PROTOCOL_VERSIONS, channel: this.#name, connection };
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

  /** Ends connections whose clients are gone though the runtime tells nothing of it (rule CN5). */
  #endSilent({ isForced }: { readonly isForced: boolean }): void {
    const nowMs = this.#options.runtime.nowMs();
    if (!isForced && nowMs < this.#nextLookAtMs) return;
    this.#nextLookAtMs = nowMs + LIMITS.silenceLookMs;
    for (const socket of this.#connections.findSilent(nowMs)) {
      this.#forget(socket, false);
      socket.close(CLOSE_CODES.silent, "No ping came for too long");
    }
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

  /** Does what is due, tells the directory, and sets the next alarm at least a second away. May run twice. */
  async alarm(): Promise<void> {
    this.#committer.noteAlarm();
    if (this.#options.moveState.isSuspended) {
      this.#committer.armAlarm(this.#takeMoment().nowMs + ALARM_INTERVAL_MS_MIN, this.#options.moveState);
      return;
    }
    this.#endSilent({ isForced: true });
    await this.#doWhatIsDue();
    await this.#tellDirectory();
    const { nowMs } = this.#takeMoment();
    if (this.#committer.channel.isForgotten(nowMs)) {
      await this.#options.moveState.eraseChannel();
      this.#committer.wake();
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

  /** No frame stays unanswered, not even one that shows a fault of ours. */
  #readFrame(data: string | ArrayBuffer, sender: FrameSender): FrameAction {
    try {
      return readFrame(data, sender);
    } catch (error) {
      logWarning("frame-failed", { channel: this.#name }, error);
      return { type: "refuse", refused: { refusal: { kind: "internal", outcome: "not-applied" } } };
    }
  }

  #forget(socket: WebSocket, isClean: boolean): void {
    const removed = this.#connections.remove(socket);
    if (removed === undefined) return;
    const { connection, isNews } = removed;
    this.#held.drop(connection);
    if (isNews) this.#committer.noteNews();
    this.#loop.push({ request: { type: "closed", connection, isClean } }, 0);
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
    return { nowMs: runtime.nowMs(), freshLife: runtime.freshName(), mayCreate: mayCreate(), draw32: () => runtime.draw32() };
  }
}

/** The connection that a request is of. */
function ownerOf(request: ObjectRequest): number | undefined {
  if (request.type === "operate") return request.origin?.connection;
  return request.type === "closed" ? request.connection : undefined;
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
