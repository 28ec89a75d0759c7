// Commits queued requests: lets the core decide them, writes once, and answers. The only place where a channel's storage is written.
import { assertNever } from "../base/assert.ts";
import { Channel } from "../channel/channel.ts";
import type { ChannelFacts, Effect, Moment, Operation, Origin, Outcome } from "../channel/operation.ts";
import type { Changes, ChannelRecord, ChannelStore } from "../channel/store.ts";
import { ownBytes } from "../protocol/bytes.ts";
import type { ChannelDescription, PressureState } from "../protocol/description.ts";
import { findColo } from "../protocol/colos.ts";
import { makePlace, type Place } from "../protocol/place.ts";
import type { PutMessage } from "../protocol/message.ts";
import type { Refusal } from "../protocol/problems.ts";
import type { RowCounts } from "../storage/metered-storage.ts";
import { measureLeaseRoom, type Connections } from "./connections.ts";
import { DeliveredFrames } from "./delivered-frames.ts";
import { JoinedFrames } from "./joined-frames.ts";
import { logWarning } from "./log.ts";
import { packOutcome, type PackedOutcome } from "./packing.ts";

/** The answer to a worker. Refusals are values: classes thrown over RPC lose their type. */
export interface Performed {
  readonly outcome: PackedOutcome;
  /** The state at the commit; null where there is no channel. */
  readonly state: PressureState | null;
  /** For operations that describe the channel. */
  readonly description?: ChannelDescription;
}

/** An operation, or something that happened to the object itself. */
export type ObjectRequest =
  | { readonly type: "operate"; readonly operation: Operation; readonly origin: Origin | undefined }
  | { readonly type: "closed"; readonly connection: number; readonly isClean: boolean }
  | { readonly type: "tick" }
  | { readonly type: "settle-outbox"; readonly version: number; readonly isDone: boolean };

export interface Entry {
  readonly request: ObjectRequest;
  /** Answers a worker; without it the reply goes to the origin's socket. */
  readonly answer?: (performed: Performed) => void;
  /** Whether that answer is wanted with its messages in a binary frame. */
  readonly isFramed?: boolean;
}

/** What lies under the store of a channel. */
export interface ObjectStorage {
  /** Rows since the object woke. */
  readonly rows: RowCounts;
  /** Runs `work` whole or not at all; a throw takes back everything in it, the alarm too. */
  transaction<Value>(work: () => Value): Value;
  setAlarm(atMs: number): void;
  /** Throws where another instance of the object has taken the place of this one. */
  assertCurrent(): void;
}

/** One that can tell whether what lies in it is what a channel stores. */
export interface SoundStore extends ChannelStore {
  readonly isSound: boolean;
}

export interface CommitterOptions {
  readonly name: string;
  readonly storage: ObjectStorage;
  /** Opens what the storage holds. */
  readonly openStore: () => SoundStore;
  readonly connections: Connections;
  readonly takeMoment: () => Moment;
  /** When the alarm has to look how a move of the channel stands; never if absent. */
  readonly nextMoveLookAtMs?: () => number | undefined;
  /** When somebody has to look whether relays were told of what a commit brings; undefined where they are told by it. */
  readonly nextCallAtMs: (nowMs: number) => number | undefined;
  /** Records were written, or the channel stands otherwise than before: those that follow the channel have to be told. */
  readonly noteRecords: () => void;
  /** Whether a relay is not subscribed that may have readers. */
  readonly isRelayAway: () => boolean;
  readonly describePlace: () => OwnPlace;
  /** The names of relays, in their order. */
  readonly listRelays: () => readonly string[];
}

const NO_ALARM_AT_MS = Number.MAX_SAFE_INTEGER;
const NO_AREAS = { region: undefined, continent: undefined, country: undefined };
const NO_STATE: PressureState = { depth: 0, bytes: 0, utilization: 0, waiters: 0 };

/** Where the object is, as the description says it, and the area that it is in; undefined where that is not known. */
export interface OwnPlace {
  readonly place: ChannelDescription["place"];
  readonly region: string | undefined;
}

/** What has to be said after a commit, and to whom. */
interface Answer {
  readonly entry: Entry | Effect;
  readonly outcome: Outcome;
}

/** What the answers of one commit share. */
interface Told {
  /** The JSON text of the state. */
  readonly state: () => string;
  readonly frames: JoinedFrames;
  readonly formats: DeliveredFrames;
}

/** Storage refused a commit, or could not be read. */
class StorageFailure extends Error {}

/** What was staged is not what a channel stores: somebody made pages of their own. */
class ForgedSnapshot extends Error {}

export class Committer {
  readonly #options: CommitterOptions;
  readonly #wokeAtMs: number;
  #store: SoundStore;
  #channel: Channel;
  /** How the channel stood when readers were told last. */
  #standing: string;
  /** Set while storage could not be read after a failure: what is in memory was never written. */
  #isStale = false;
  /** Whether operations were carried out after a failure, and subscribers not sent what they brought. */
  #isDeliveryOwed = false;
  /** When the alarm is known to be set, at the latest; later than any time where that is not known (rule RC8). */
  #alarmAtMs = NO_ALARM_AT_MS;

  constructor(options: CommitterOptions) {
    this.#options = options;
    this.#wokeAtMs = options.takeMoment().nowMs;
    this.#store = options.openStore();
    this.#channel = this.#buildChannel();
    this.#standing = formatStanding(this.#channel.record);
    const alarmAtMs = this.#withLook(this.#channel.findAlarmOnWaking(this.#wokeAtMs), this.#wokeAtMs) ?? NO_ALARM_AT_MS;
    // One whose time is over fires now, or was given up by the runtime after it had failed too often.
    this.#alarmAtMs = alarmAtMs > this.#wokeAtMs ? alarmAtMs : NO_ALARM_AT_MS;
  }

  get channel(): Channel {
    return this.#channel;
  }

  /** Whether another commit has to follow at once, to send subscribers what they are owed. */
  get hasMoreToDeliver(): boolean {
    return this.#isDeliveryOwed || (!this.#isStale && this.#channel.hasMoreToDeliver);
  }

  /** Builds the channel from what is stored and from the sockets, as on waking. */
  wake(): void {
    try {
      this.#store = this.#options.openStore();
      this.#channel = this.#buildChannel();
    } catch (error) {
      throw new StorageFailure("The channel cannot be read", { cause: error });
    }
    this.#isStale = false;
    // An alarm that was rolled back, has fired or was erased is not set any more.
    this.#alarmAtMs = NO_ALARM_AT_MS;
  }

  /** A time at which something comes due before the alarm does; a timer has to serve it. */
  get dueBeforeAlarmAtMs(): number | undefined {
    const dueAtMs = this.#isStale ? undefined : this.#channel.nextDueAtMs;
    return dueAtMs !== undefined && dueAtMs < this.#alarmAtMs ? dueAtMs : undefined;
  }

  /**
   * Applies the entries in order in one transaction and answers each. When that fails, nothing of it stands: the entries are applied
   * one by one, those that free room first, so that a full disk can be drained. Never throws and leaves nobody unanswered.
   */
  commit(entries: readonly Entry[]): void {
    // A restore puts another channel in the place of this one: what comes before and after it is committed by itself.
    const place = entries.findIndex(isRestore);
    if (place >= 0 && entries.length > 1) {
      for (const part of [entries.slice(0, place), entries.slice(place, place + 1), entries.slice(place + 1)]) {
        if (part.length > 0) this.commit(part);
      }
      return;
    }
    let answers: readonly Answer[];
    try {
      if (this.#isStale) this.wake();
      answers = this.#apply(entries);
    } catch (error) {
      logWarning("commit-failed", { channel: this.#options.name, operations: entries.length }, error);
      this.#commitOneByOne(entries);
      return;
    }
    this.#forgetClosed(entries);
    this.#perform(answers);
  }

  /** Notes that a socket of which nothing was known has told of leases that it held: the channel is built anew with them. */
  noteNews(): void {
    this.#isStale = true;
  }

  /** Notes that the alarm fires, and so is not set any more: what is committed from now on sets it again. */
  noteAlarm(): void {
    this.#alarmAtMs = NO_ALARM_AT_MS;
  }

  /**
   * Sets the alarm for what is due next, `earliestMs` at the earliest; to be called when the last one has done its work. Of a channel that is
   * suspended only a look at its move is due.
   */
  armAlarm(earliestMs: number, { isSuspended = false } = {}): void {
    const dueAtMs = isSuspended ? this.#options.nextMoveLookAtMs?.() : this.#withLook(this.#channel.nextAlarmAtMs, earliestMs);
    if (dueAtMs === undefined) return;
    const atMs = Math.max(dueAtMs, earliestMs);
    if (atMs !== this.#alarmAtMs) this.#setAlarm(atMs);
  }

  #commitOneByOne(entries: readonly Entry[]): void {
    const ordered = [...entries.filter(freesRoom), ...entries.filter((entry) => !freesRoom(entry))];
    for (const entry of ordered) {
      let answers: readonly Answer[];
      try {
        this.wake();
        answers = this.#apply([entry], { isRecovering: true });
        this.#isDeliveryOwed ||= entry.request.type === "operate";
        this.#forgetClosed([entry]);
      } catch (error) {
        logWarning("operation-failed", { channel: this.#options.name }, error);
        answers = [{ entry, outcome: refusedAfter(error) }];
        this.#dropDraft();
      }
      this.#perform(answers);
    }
  }

  /** What connections held that have closed is stored by now, or has ended. */
  #forgetClosed(entries: readonly Entry[]): void {
    for (const { request } of entries) if (request.type === "closed") this.#options.connections.forget(request.connection);
  }

  /** Forgets what was decided and not written. While storage can not be read, the channel is stale and decides nothing. */
  #dropDraft(): void {
    this.#isStale = true;
    try {
      this.wake();
    } catch (error) {
      logWarning("wake-failed", { channel: this.#options.name }, error);
    }
  }

  /** Decides the entries and writes what that changes; throws when the write fails. */
  #apply(entries: readonly Entry[], { isRecovering = false } = {}): readonly Answer[] {
    const moment: Moment = { ...this.#options.takeMoment(), isRecovering };
    const answers: Answer[] = [];
    for (const entry of entries) {
      const outcome = this.#decide(entry.request, moment);
      if (outcome !== undefined) answers.push({ entry, outcome });
      for (const effect of this.#channel.takeEffects()) answers.push({ entry: effect, outcome: effect.outcome });
    }
    // Leases may be rows: what frees room must not fail because of them.
    if (!isRecovering) {
      this.#isDeliveryOwed = false;
      this.#channel.deliver(moment);
      for (const effect of this.#channel.takeEffects()) answers.push({ entry: effect, outcome: effect.outcome });
    }
    this.#write(moment.nowMs);
    return answers;
  }

  /** Tells everybody. What was written stands, so a failure here must not reach `commit`. */
  #perform(answers: readonly Answer[]): void {
    // One text for all replies of the commit, made when the first is sent: by then all of it is decided.
    let stateJson: string | undefined;
    const state = (): string => (stateJson ??= JSON.stringify(this.#channel.pressure ?? NO_STATE));
    const changed = this.#isStale ? [] : this.#channel.takeChangedConnections();
    for (const connection of changed) {
      const kept = { waiters: this.#channel.waitersOf(connection), subscriptions: this.#channel.subscriptionsOf(connection) };
      this.#options.connections.write(connection, kept, this.#channel.leasesOf(connection));
    }
    const frames = new JoinedFrames(this.#options.connections);
    const commit: Told = { state, frames, formats: new DeliveredFrames() };
    for (const { entry, outcome } of answers) {
      try {
        if ("connection" in entry) this.#tell(entry, commit);
        else this.#answer(entry, outcome, commit);
      } catch (error) {
        logWarning("answer-failed", { channel: this.#options.name, outcome: outcome.type }, error);
      }
    }
    frames.flush();
  }

  #decide(request: ObjectRequest, moment: Moment): Outcome | undefined {
    switch (request.type) {
      case "operate":
        return this.#channel.apply(request.operation, moment, request.origin);
      case "closed":
        this.#channel.disconnect(request.connection, moment, request.isClean);
        return undefined;
      case "tick":
        this.#channel.tick(moment);
        return undefined;
      case "settle-outbox":
        this.#channel.settleOutbox(request.version, request.isDone, moment.nowMs);
        return undefined;
      default:
        return assertNever(request);
    }
  }

  #write(nowMs: number): void {
    const changes = this.#channel.takeChanges(nowMs);
    const standing = formatStanding(changes?.channel ?? this.#channel.record);
    const isForReaders = changes !== undefined && (changes.insertSegments.length > 0 || standing !== this.#standing);
    const callAtMs = isForReaders ? this.#options.nextCallAtMs(nowMs) : undefined;
    const lookAtMs = this.#withLook(this.#findDeadline(changes), nowMs);
    const dueAtMs = callAtMs === undefined ? lookAtMs : Math.min(callAtMs, lookAtMs ?? Infinity);
    const alarmAtMs = dueAtMs !== undefined && dueAtMs < this.#alarmAtMs ? dueAtMs : undefined;
    try {
      if (changes !== undefined && this.#channel.snapshots.isInstalled) this.#replace(changes, nowMs);
      else if (changes === undefined) {
        // Answers follow, and messages that sockets' leases go with: who touches no storage never learns that it is superseded (rule RC11).
        if (alarmAtMs === undefined) this.#options.storage.assertCurrent();
        else this.#setAlarm(alarmAtMs);
      } else if (alarmAtMs === undefined) this.#store.commit(changes);
      else {
        this.#options.storage.transaction(() => {
          this.#store.commit(changes);
          this.#setAlarm(alarmAtMs);
        });
      }
    } catch (error) {
      if (error instanceof ForgedSnapshot) throw error;
      throw new StorageFailure("The transaction was rolled back", { cause: error });
    }
    this.#standing = standing;
    if (isForReaders) this.#options.noteRecords();
  }

  /** Writes a restored channel and begins to work with it; where it can not be worked with, nothing of it stands. */
  #replace(changes: Changes, nowMs: number): void {
    this.#options.storage.transaction(() => {
      this.#store.commit(changes);
      try {
        this.wake();
        if (!this.#store.isSound) throw new Error("The rows do not agree with each other");
        this.#channel.apply({ type: "describe" }, this.#options.takeMoment());
      } catch (error) {
        throw new ForgedSnapshot("The restored channel cannot be read", { cause: error });
      }
      // The directory has to be told of it.
      this.#setAlarm(nowMs);
    });
  }

  /** The nearest deadline that a commit can have brought (rule RC8). */
  #findDeadline(changes: Changes | undefined): number | undefined {
    // A get that begins to wait changes nothing that is stored, but somebody has to look when what it waits for comes back.
    if (changes === undefined) return this.#channel.nextServiceAtMs;
    // Only a change of the record brings a look at idleness that no alarm has arranged for.
    return changes.channel === undefined ? this.#channel.nextDueAtMs : this.#channel.nextAlarmAtMs;
  }

  /** That, or the next look for silent connections if it is before (rule CN6). Nobody looks where there is no channel. */
  #withLook(dueAtMs: number | undefined, nowMs: number): number | undefined {
    const lookAtMs = this.#channel.record && this.#options.connections.nextLookAtMs(nowMs);
    return leastOf(leastOf(dueAtMs, lookAtMs), this.#options.nextMoveLookAtMs?.());
  }

  #setAlarm(atMs: number): void {
    this.#options.storage.setAlarm(atMs);
    this.#alarmAtMs = atMs;
  }

  #answer({ request, answer, isFramed }: Entry, outcome: Outcome, commit: Told): void {
    if (answer !== undefined) {
      const packed = packOutcome(withOwnBodies(outcome), isFramed === true ? commit.state() : undefined);
      const performed: Performed = { outcome: packed, state: this.#channel.pressure ?? null };
      answer("facts" in outcome ? { ...performed, description: this.#describe(outcome.facts) } : performed);
      return;
    }
    if (request.type !== "operate" || request.origin === undefined) return;
    const { connection, request: id } = request.origin;
    if (outcome.type === "described") commit.frames.send(connection, this.#formatStats(id, outcome.facts));
    else this.#tell({ connection, request: id, outcome }, commit);
  }

  #tell({ connection, request, outcome }: Effect, commit: Told): void {
    const isBinary = this.#options.connections.isBinary(connection);
    const frame = commit.formats.format(request, outcome, isBinary, commit.state);
    if (frame !== undefined) commit.frames.send(connection, frame);
  }

  #formatStats(id: number, facts: ChannelFacts): string {
    return JSON.stringify({ type: "stats", id, stats: this.#describe(facts) });
  }

  #describe(facts: ChannelFacts): ChannelDescription {
    const { name, storage, connections, listRelays } = this.#options;
    const { place, region } = this.#options.describePlace();
    const { suggestedLocationHint: main } = facts;
    const suggestedLocationHint = main === region ? null : main;
    const rows = { ...storage.rows, sinceMs: this.#wokeAtMs };
    return { channel: name, ...facts, suggestedLocationHint, connections: connections.count, place, relays: listRelays(), rows };
  }

  #buildChannel(): Channel {
    const { name, connections } = this.#options;
    const channel = new Channel({
      name,
      store: this.#store,
      waiters: connections.waiters(),
      subscriptions: connections.subscriptions(),
      leases: connections.leases(),
      measureLeaseRoom,
      isConnected: (connection) => connections.isOpen(connection),
      placeOf: (connection) => connections.placeOf(connection),
      isRelayAway: this.#options.isRelayAway,
      ownPlace: () => placeOfColo(this.#options.describePlace().place.colo),
    });
    connections.skip(channel.lostConnections);
    return channel;
  }
}

/** For a reply that leaves the isolate: a body alone, and not the whole segment that it lies in. */
function withOwnBodies(outcome: Outcome): Outcome {
  if (outcome.type === "message") return { ...outcome, message: withOwnBody(outcome.message) };
  if (outcome.type === "quarantine") {
    return { ...outcome, messages: outcome.messages.map((one) => ({ ...one, message: withOwnBody(one.message) })) };
  }
  if (outcome.type === "dead-letter-page") {
    return { ...outcome, letters: outcome.letters.map((letter) => ({ ...letter, message: withOwnBody(letter.message) })) };
  }
  if (outcome.type === "page") return { ...outcome, messages: outcome.messages.map(withOwnBody) };
  if (outcome.type === "scheduled-page") return { ...outcome, messages: outcome.messages.map(withOwnBody) };
  return outcome;
}

function withOwnBody<Kind extends PutMessage>(message: Kind): Kind {
  return { ...message, body: ownBytes(message.body) };
}

function refusedAfter(error: unknown): Outcome {
  if (error instanceof ForgedSnapshot)
    return { type: "refused", refusal: { kind: "snapshot-invalid", reason: "content", page: 1 } };
  const refusal: Refusal =
    error instanceof StorageFailure
      ? { kind: "storage-failed", outcome: "not-applied", retryAfterMs: 1000 }
      : { kind: "internal", outcome: "not-applied" };
  return { type: "refused", refusal };
}

const FREEING: ReadonlySet<Operation["type"]> = new Set([
  "get",
  "settle",
  "drop-dead-letters",
  "drop-quarantine",
  "remove",
  "remove-by-id",
  "purge",
  "cancel-scheduled",
  "delete",
  "delete-checkpoint",
  "end-snapshot",
  "abort-restore",
  "cancel",
]);

function placeOfColo(colo: string | null): Place | undefined {
  return colo === null ? undefined : makePlace(colo, findColo(colo) ?? NO_AREAS);
}

/** What readers have to be told of a channel's own record: which life it is, and how it stands. */
function formatStanding(record: ChannelRecord | undefined): string {
  return record === undefined ? "" : `${record.life} ${record.state}`;
}

function leastOf(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? (a ?? b) : Math.min(a, b);
}

function isRestore({ request }: Entry): boolean {
  return request.type === "operate" && request.operation.type === "commit-restore";
}

function freesRoom({ request }: Entry): boolean {
  return request.type !== "operate" || FREEING.has(request.operation.type);
}
