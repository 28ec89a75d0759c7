// A naive channel that follows SPEC.md word by word: plain lists of messages, one for the channel and one for each group, in which each
// message has a state; no indexes, no segments, no storage.
// It decides what every operation answers, what a pull may return and in which order, when leases end and delays are over, and what dies.
import type { Deferred } from "../../../src/channel/delivery-store.ts";
import type { Effect, Moment, Operation, OperationOf, Origin, Outcome } from "../../../src/channel/operation.ts";
import type { GroupDescription } from "../../../src/protocol/description.ts";
import { LIMITS } from "../../../src/protocol/limits.ts";
import type { ScheduledMessage } from "../../../src/protocol/message.ts";
import type { ScheduledReceipt } from "../../../src/protocol/schedule.ts";
import { DEFAULT_SETTINGS } from "../../../src/protocol/settings.ts";
import { NOTHING_ENTERED } from "./beside.ts";
import { ModelCheckpoints } from "./checkpoints.ts";
import { type IsKeyStored, ModelDedup } from "./dedup.ts";
import { ModelDelivery } from "./delivery.ts";
import { type GroupBook, groupsOf } from "./group-book.ts";
import { ModelGroups } from "./groups.ts";
import { ModelLetterDesk } from "./letter-desk.ts";
import { ModelLife } from "./life.ts";
import { type MessageOperation, ModelMessageDesk } from "./message-desk.ts";
import { ModelRiders } from "./riders.ts";
import { ModelSchedule } from "./schedule.ts";
import {
  Book,
  deletedRefusal,
  type GroupRecord,
  type KeptMessage,
  type ModelGroup,
  type ModelMessage,
  type ModelState,
  refused,
  sum,
} from "./state.ts";
import { ModelStealing } from "./stealing.ts";
import { type FindPosition, ModelStreams } from "./streams.ts";
import { linesAfter, ModelTraffic } from "./traffic.ts";
import { ModelWatches } from "./watches.ts";

/** What is stored of a group's delivery. */
export interface StoredGroup {
  readonly id: number;
  readonly deferred: readonly Deferred[];
  readonly scanMark: number;
}

/** What is stored or carried of leases when a channel wakes. */
export interface LeftOver {
  hasLease(group: number, offset: number): boolean;
  /** Connections that a group gave leases to which lay with their sockets, and that are gone with these. */
  lostHolders(group: number): readonly number[];
}

export class Model {
  readonly #book = new Book();
  readonly #delivery = new ModelDelivery(this.#book);
  readonly #groups: ModelGroups;
  readonly #schedule = new ModelSchedule(this.#book);
  readonly #dedup = new ModelDedup(this.#book);
  readonly #checkpoints = new ModelCheckpoints(this.#book);
  readonly #traffic: ModelTraffic;
  readonly #riders: ModelRiders;
  readonly #letters: ModelLetterDesk;
  readonly #messages = new ModelMessageDesk(this.#book);
  readonly #life: ModelLife;
  readonly #streams: ModelStreams;
  readonly #watches: ModelWatches;
  readonly #stealing: ModelStealing;
  readonly #isConnected: (connection: number) => boolean;
  /** Whether a turn of the last commit found messages whose time was over. */
  #hasExpired = false;
  /** Connections that a crash cut off: their leases begin their grace when the channel next acts (LS9). */
  #lost: readonly number[] = [];
  /** Groups that lost leases with sockets: what they may have been of is in doubt when the channel next acts (LS8). */
  #doubted: ReadonlyMap<number, readonly number[]> = new Map();

  constructor(isConnected: (connection: number) => boolean) {
    this.#isConnected = isConnected;
    this.#groups = new ModelGroups(this.#book, {
      refuseReaders: (group, refusal) => {
        this.#traffic.refuseReaders(group, refusal);
      },
      endGroup: (group, refusal) => {
        this.#streams.endGroup(group, refusal);
      },
    });
    const parts = { book: this.#book, delivery: this.#delivery, groups: this.#groups };
    this.#traffic = new ModelTraffic({ ...parts, schedule: this.#schedule, dedup: this.#dedup, isConnected });
    this.#letters = new ModelLetterDesk(this.#book, this.#traffic);
    this.#riders = new ModelRiders({ ...parts, traffic: this.#traffic, checkpoints: this.#checkpoints });
    this.#watches = new ModelWatches(this.#book, this.#traffic);
    this.#streams = new ModelStreams({ ...parts, traffic: this.#traffic, watches: this.#watches, isConnected });
    this.#stealing = new ModelStealing({ ...parts, streams: this.#streams });
    this.#life = new ModelLife({ ...parts, traffic: this.#traffic, streams: this.#streams, watches: this.#watches });
  }

  get state(): ModelState {
    return this.#book.state;
  }

  /** What the channel keeps. */
  get messages(): readonly KeptMessage[] {
    return this.#book.messages;
  }

  /** What the groups have not done with, of all of them. */
  get openMessages(): readonly ModelMessage[] {
    return groupsOf(this.#book).flatMap((group) => group.messages);
  }

  /** The message that a lease was of, as its group sees it now. */
  findLeased(leaseId: string): ModelMessage | undefined {
    return this.#delivery.findLeased(leaseId);
  }

  get headOffset(): number {
    return this.#book.headOffset;
  }

  /** Rises with every change, so that a refusal can be seen to change nothing. */
  get version(): number {
    return this.#book.version;
  }

  /** When the alarm has to ring at the latest; `isWithoutIdle` for a channel that is not looked after when it becomes idle. */
  nextAlarmAtMs(nowMs: number, isWithoutIdle = false): number | undefined {
    return this.#life.nextAlarmAtMs(nowMs, isWithoutIdle);
  }

  /** Whether a put waits and the first message of a group may expire, with a control record before it (TL3). */
  get waitsBehindControl(): boolean {
    const isBehind = ({ state: { records }, messages: [first] }: GroupBook): boolean =>
      records[0]?.control !== undefined && first !== undefined && this.#delivery.expiresAtMs(first) !== undefined;
    return this.state.puts.length > 0 && groupsOf(this.#book).some(isBehind);
  }

  /** Whether leases were lost, so that some messages may have been handed out unknown. */
  get hasDoubts(): boolean {
    return this.#doubted.size > 0;
  }

  /**
   * A commit failed, or the object was evicted or killed: what was stored, and the waiters of sockets that are still open. Returns what is
   * wrong with what is left.
   */
  wake(stored: ModelState, left: LeftOver): string | undefined {
    const isThere = ({ connection }: { connection: number }): boolean => this.#isConnected(connection);
    const gets = stored.gets.filter(isThere);
    this.#book.takeEffects();
    this.#book.change({
      ...stored,
      groups: stored.groups.map((group) => wakeGroup(group, stored.nextOffset, left)).sort((a, b) => a.id - b.id),
      inUseAtMs: 0,
      gets,
      lines: linesAfter([], gets),
      puts: stored.puts.filter(isThere),
      promises: stored.promises.filter(isThere),
      subscriptions: stored.subscriptions.filter(isThere),
      watches: stored.watches.filter(isThere),
    });
    this.#checkpoints.wake();
    this.#stealing.wake();
    const holders = this.openMessages.flatMap(({ lease }) => (lease?.connection === undefined ? [] : [lease.connection]));
    this.#lost = holders.filter((connection) => !this.#isConnected(connection));
    this.#doubted = new Map(
      stored.groups.map(({ id }) => [id, left.lostHolders(id)] as const).filter(([, lost]) => lost.length > 0),
    );
    return findLoss(stored, left);
  }

  /** A commit was written, and the next one begins. `isKeyStored` is given when keys were dropped. */
  noteCommit(nowMs: number, isKeyStored: IsKeyStored | undefined): string | undefined {
    this.#book.note({ entered: NOTHING_ENTERED });
    return isKeyStored && this.state.record && this.#dedup.adopt(isKeyStored, nowMs);
  }

  /**
   * After a commit: what no rule fixes is taken from what was stored, if it is allowed: random pauses (RT1) and scan marks (KO5).
   * Numbers of groups that were deleted may be given again.
   */
  adopt(stored: readonly StoredGroup[]): string | undefined {
    this.#book.note({ deletedGroups: [] });
    for (const group of groupsOf(this.#book)) {
      const found = stored.find(({ id }) => id === group.id);
      const problem = this.#adoptGroup(group, found ?? { id: group.id, deferred: [], scanMark: 0 });
      if (problem !== undefined) return problem;
    }
    return undefined;
  }

  /** The ids of the leases that a pull was answered with, for those that the model made; returns the number of their group. */
  issue(leaseIds: readonly string[], made: readonly string[]): number | undefined {
    return this.#delivery.issue(leaseIds, made);
  }

  /** The ids of messages that the last put delayed. */
  issueScheduled(receipts: readonly ScheduledReceipt[]): void {
    this.#schedule.issue(receipts);
  }

  /** In the order of entering. */
  get scheduled(): readonly ScheduledMessage[] {
    return this.#schedule.all;
  }

  takeEffects(): Effect[] {
    return this.#book.takeEffects();
  }

  /** `told` is what the channel answered; it is only asked where the rules leave the choice to it. */
  apply(operation: Operation, moment: Moment, origin: Origin | undefined, told: Outcome): Outcome {
    this.#book.told = told;
    this.#meetDeadlines(moment.nowMs, moment.isRecovering);
    this.#traffic.serve(moment.nowMs);
    this.#life.finishDrain(moment.nowMs);
    const outcome = this.#decide(operation, moment, origin);
    this.#groups.applyRetention(moment.nowMs);
    this.#traffic.serve(moment.nowMs);
    this.#life.finishDrain(moment.nowMs);
    return outcome;
  }

  /** SB4: what the operations of a commit brought is sent. */
  deliver(nowMs: number, findPosition: FindPosition): void {
    if (!this.#isAlive) return;
    const expired = this.#countExpired();
    const served = new Set<number>();
    for (let isServed = this.#hasMembers; isServed;) {
      const waiting = this.#book.waiters.length;
      isServed = this.#streams.serveMembers(nowMs, served);
      // What expired makes room, and may have been the last.
      this.#groups.applyRetention(nowMs);
      this.#traffic.serve(nowMs);
      isServed ||= this.#book.waiters.length < waiting;
    }
    this.#hasExpired = this.#countExpired() > expired;
    this.#life.finishDrain(nowMs);
    if (!this.#isAlive) return;
    this.#streams.serveReaders(this.#book.existing, findPosition);
    this.#watches.tell(this.#book.existing);
  }

  /**
   * Whether anybody would be sent anything if there were another commit. Where so many wait that a turn looked no further (KO4), and some of
   * them expired, the next one may look further, whenever it comes.
   */
  isDeliveryOwed(nowMs: number, findPosition: FindPosition): boolean {
    const isLookAheadShort = LIMITS.lookAheadMax < this.openMessages.length;
    if (this.state.subscriptions.length === 0 || (this.#hasExpired && isLookAheadShort)) return false;
    const { state, version } = this.#book;
    this.deliver(nowMs, findPosition);
    const isOwed = this.#book.takeEffects().length > 0;
    this.#book.state = state;
    this.#book.version = version;
    return isOwed;
  }

  /** SB13: a member is asked for leases; returns what is wrong with that. */
  ask(origin: Origin, leaseIds: readonly string[], nowMs: number): string | undefined {
    return this.#stealing.ask(origin, leaseIds, nowMs);
  }

  tick(nowMs: number): void {
    this.#meetDeadlines(nowMs);
    this.#traffic.serve(nowMs);
    this.#life.finishDrain(nowMs);
    this.#life.expireIdle(nowMs);
  }

  disconnect(connection: number, isClean: boolean, nowMs: number): void {
    // It is not lost: it says how it ended (LS9).
    this.#lost = this.#lost.filter((lost) => lost !== connection);
    this.#meetDeadlines(nowMs);
    for (const waiter of this.#book.waiters) if (waiter.connection === connection) this.#traffic.forget(waiter);
    this.#streams.disconnect(connection);
    this.#watches.disconnect(connection);
    this.#delivery.endLeasesOf(connection, isClean, nowMs);
    this.#traffic.serve(nowMs);
    this.#life.finishDrain(nowMs);
  }

  settleOutbox(version: number, isDone: boolean, nowMs: number): void {
    this.#life.settleOutbox(version, isDone, nowMs);
  }

  isForgotten(nowMs: number): boolean {
    return this.#life.isForgotten(nowMs);
  }

  #countExpired(): number {
    return sum(this.state.groups.map(({ expired, deadLettered }) => expired + deadLettered));
  }

  get #isAlive(): boolean {
    const { record } = this.#book.state;
    return record !== undefined && record.state !== "deleted";
  }

  get #hasMembers(): boolean {
    return this.#book.state.subscriptions.some(({ type }) => type === "member");
  }

  #adoptGroup(group: GroupBook, { deferred, scanMark }: StoredGroup): string | undefined {
    for (const { offset, dueFromMs, dueAtMs } of group.messages) {
      if (dueFromMs === undefined) continue;
      const found = deferred.find((one) => one.offset === offset);
      if (found === undefined || found.dueAtMs < dueFromMs || found.dueAtMs > dueAtMs)
        return `[RT1] the pause of ${offset} ends at ${found?.dueAtMs}, not from ${dueFromMs} to ${dueAtMs}`;
      group.note(offset, { dueAtMs: found.dueAtMs, dueFromMs: undefined });
    }
    const from = Math.max(scanMark, group.headOffset);
    const parked = group.messages.findLast(({ state }) => state === "parked")?.offset ?? 0;
    if (parked - from > LIMITS.scanMarkLagMax || scanMark > Math.max(group.state.frontier, group.headOffset))
      return `[KO5] the scan mark is ${scanMark}, the head ${group.headOffset}, and ${parked} is parked`;
    if (scanMark !== group.state.scanMark) this.#book.noteGroup(group.id, { scanMark });
    return undefined;
  }

  /** In the order of their names. */
  describeGroups(nowMs: number): GroupDescription[] {
    return groupsOf(this.#book)
      .map((group) => group.describe(nowMs))
      .sort((a, b) => (a.group < b.group ? -1 : 1));
  }

  #meetDeadlines(nowMs: number, isRecovering = false): void {
    for (const group of groupsOf(this.#book)) {
      const lost = this.#doubted.get(group.id);
      if (lost !== undefined) this.#delivery.doubt(group, lost, nowMs);
    }
    this.#doubted = new Map();
    for (const connection of this.#lost) this.#delivery.endLeasesOf(connection, false, nowMs);
    this.#lost = [];
    this.#delivery.advance(nowMs);
    this.#life.meetDeadline(nowMs);
    if (!isRecovering) this.#schedule.enterDue(nowMs);
    this.#groups.applyRetention(nowMs);
  }

  #decide(operation: Operation, moment: Moment, origin: Origin | undefined): Outcome {
    if (operation.type === "create") return this.#life.create(operation.settings, moment);
    const before = this.state;
    const isMissing = before.record === undefined || before.record.isExpired;
    const isUse = isUseOf(operation);
    if (isMissing && isUse && moment.mayCreate) {
      this.#life.begin({ ...DEFAULT_SETTINGS, expireAfterIdleMs: LIMITS.autoCreatedExpireAfterIdleMs }, moment);
      const outcome = this.#decideOnRecord(operation, moment, origin);
      // LC7: a refusal creates no channel.
      if (outcome.type === "refused") this.#book.state = before;
      return outcome;
    }
    return this.#decideOnRecord(operation, moment, origin);
  }

  #isInUse(origin: Origin, operation: Operation): boolean {
    // SB1: a subscription has its id for itself.
    if ((this.#streams.find(origin) ?? this.#watches.find(origin)) !== undefined) return true;
    const usesPromise = operation.type === "put" && operation.isPromised === true;
    return !usesPromise && this.#book.hasUntoldEnd(origin);
  }

  #decideOnRecord(operation: Exclude<Operation, { type: "create" }>, moment: Moment, origin: Origin | undefined): Outcome {
    const { record } = this.state;
    const { nowMs } = moment;
    if (record === undefined || record.isExpired) return refused({ kind: "unknown-channel", channel: "orders" });
    if (record.state === "deleted") return refused(deletedRefusal(record));
    if (origin !== undefined && isUseOf(operation) && this.#isInUse(origin, operation))
      return refused({ kind: "request-in-use", id: origin.request });
    switch (operation.type) {
      case "subscribe":
      case "credit":
      case "unsubscribe":
      case "watch":
        return this.#streams.decide(record, operation, nowMs, origin);
      case "put":
        return this.#traffic.put(record, operation, nowMs, origin);
      case "reserve":
        return this.#traffic.reserve(record, operation, nowMs, origin);
      case "get":
        // SB4: members that stand before it have their turns.
        if (moment.isRecovering !== true) this.#streams.serveMembers(nowMs, new Set());
        return this.#traffic.get(record, operation, nowMs, origin);
      case "settle":
        return this.#riders.settle(operation, nowMs);
      case "cancel":
        if (origin !== undefined) this.#traffic.cancel({ ...origin, request: operation.request });
        return { type: "cancelled" };
      case "patch":
        return this.#life.patch(record, operation.patch, nowMs);
      case "delete":
        return this.#life.delete(record, operation.graceMs, nowMs);
      case "describe":
        return this.#life.described("described", nowMs);
      case "list-groups":
      case "describe-group":
      case "create-group":
      case "change-group":
      case "seek-group":
      case "delete-group":
        return this.#groups.decide(operation, nowMs);
      case "list-checkpoints":
      case "read-checkpoint":
      case "write-checkpoint":
      case "delete-checkpoint":
        return this.#checkpoints.decide(operation, nowMs);
      case "list-scheduled":
        return this.#schedule.list(operation.after, operation.limit);
      case "cancel-scheduled":
        return this.#schedule.cancel(operation.scheduledId, nowMs);
      case "dead-letters":
      case "drop-dead-letters":
      case "redrive":
      case "quarantine":
      case "release-quarantine":
      case "drop-quarantine":
        return this.#letters.decide(operation, nowMs);
      default:
        return this.#messages.decide(operation as OperationOf<MessageOperation>, nowMs);
    }
  }
}

function isUseOf({ type }: Operation): boolean {
  return type === "put" || type === "get" || type === "reserve" || type === "subscribe" || type === "watch";
}

/** LS13: a lease that is neither stored nor carried is lost; it was the first of its message, and whoever had it is gone. */
function findLoss(stored: ModelState, left: LeftOver): string | undefined {
  for (const { id, records, scanMark } of stored.groups) {
    for (const { offset, message, ...record } of records) {
      if (message === undefined || !("lease" in record) || record.lease === undefined || left.hasLease(id, offset)) continue;
      const { connection = 0 } = record.lease;
      if (!left.lostHolders(id).includes(connection) || record.attempts !== 1 || offset < scanMark)
        return `[LS8] the lease of ${offset} is lost, and nothing tells of it`;
    }
  }
  return undefined;
}

/** What was only parked behind the scan mark is found again by the scan, and so is what was leased and is lost. */
function wakeGroup(group: ModelGroup, nextOffset: number, left: LeftOver): ModelGroup {
  const { records, scanMark } = group;
  const headOffset = records[0]?.offset ?? nextOffset;
  const frontier = Math.max(scanMark, headOffset);
  return { ...group, records: records.map((record) => forgetLost(forgetParked(record, scanMark), group.id, left)), frontier };
}

function forgetLost(record: GroupRecord, group: number, left: LeftOver): GroupRecord {
  if (record.message === undefined || record.state !== "leased" || left.hasLease(group, record.offset)) return record;
  const fresh: ModelMessage = { ...record, state: "fresh", attempts: 0, lease: undefined };
  return fresh;
}

function forgetParked(record: GroupRecord, scanMark: number): GroupRecord {
  if (record.message === undefined || record.state !== "parked" || record.offset < scanMark) return record;
  const fresh: ModelMessage = { ...record, state: "fresh" };
  return fresh;
}
