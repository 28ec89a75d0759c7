// The channel: decides every operation. Synchronous and without I/O: time and randomness come as a `Moment`, storage through the port.
// An operation is decided against this object before anything is stored, and a refusal changes nothing; `takeChanges` hands over what
// the commit has to write. If that write fails, the object is dropped and built again from the store, as on waking.
import type { PressureState } from "../protocol/description.ts";
import { DEFAULT_SETTINGS, findConflicts, resolveSettings, type ChannelPatch, type GivenSettings } from "../protocol/settings.ts";
import { Backlog } from "./backlog.ts";
import { Checkpoints } from "./checkpoints.ts";
import { Dedup } from "./dedup.ts";
import * as lifeCycle from "./life-cycle.ts";
import { DeadLetters } from "./dead-letters.ts";
import { describeChannel, describePressure, type DescribedParts } from "./description-facts.ts";
import { GroupDesk, type DeskOperation } from "./group-desk.ts";
import { Groups, type ChannelRetention } from "./groups.ts";
import { MessageDesk } from "./message-desk.ts";
import type { ChannelFacts, Effect, Moment, Operation, OperationOf, Origin, Outcome, RestoreOperation } from "./operation.ts";
import { RedriveJob } from "./redrive-job.ts";
import { RecordCell } from "./record-cell.ts";
import { Schedule } from "./schedule.ts";
import { Snapshots } from "./snapshots.ts";
import { NO_BACKLOG_CHANGES, type ChannelRecord, type Changes, type ChannelStore } from "./store.ts";
import { refused, Traffic } from "./traffic.ts";
import { WaitLine, type Waiter } from "./wait-line.ts";

/** When what is left of a restore could have been erased. */
const LONG_AGO_MS = 1;

type LifeOperation = Exclude<Operation, { type: "create" } | RestoreOperation>;

export interface ChannelOptions {
  readonly name: string;
  readonly store: ChannelStore;
  /** Waiters found in the attachments of the open sockets. */
  readonly waiters?: Iterable<Waiter>;
  /** Whether a connection can still be told something: one that left takes nothing (G7). */
  readonly isConnected: (connection: number) => boolean;
}

export class Channel {
  readonly #name: string;
  readonly #cell: RecordCell;
  readonly #backlog: Backlog;
  readonly #groups: Groups;
  readonly #deadLetters: DeadLetters;
  readonly #groupDesk: GroupDesk;
  readonly #redriveJob: RedriveJob;
  readonly #messageDesk: MessageDesk;
  readonly #checkpoints: Checkpoints;
  readonly #schedule: Schedule;
  readonly #snapshots: Snapshots;
  readonly #line = new WaitLine();
  readonly #dedup: Dedup;
  readonly #traffic: Traffic;
  /** Connections that hold leases and were gone when the object woke; their numbers may be given again once these are detached. */
  #lostConnections: readonly number[];
  readonly #described: DescribedParts;
  /** When the channel was last found in use; the next look at it comes an idle time later. */
  #inUseAtMs = 0;

  constructor(options: ChannelOptions) {
    this.#name = options.name;
    this.#cell = new RecordCell(options.store.readChannel());
    this.#backlog = new Backlog(options.store);
    this.#deadLetters = new DeadLetters(options.store.deadLetters);
    this.#groups = new Groups({
      backlog: this.#backlog,
      deadLetters: this.#deadLetters,
      store: options.store.groups,
      deliveryStore: options.store.delivery,
      channelSettings: () => this.#retentionInForce(),
    });
    this.#lostConnections = this.#groups.connections.filter((connection) => !options.isConnected(connection));
    this.#checkpoints = new Checkpoints(options.store.checkpoints);
    this.#schedule = new Schedule(options.store.schedule);
    this.#snapshots = new Snapshots(options.store.snapshots);
    this.#line.restore(options.waiters ?? []);
    this.#line.takeChangedConnections();
    this.#dedup = new Dedup(options.store);
    this.#traffic = new Traffic({
      cell: this.#cell,
      backlog: this.#backlog,
      groups: this.#groups,
      schedule: this.#schedule,
      line: this.#line,
      dedup: this.#dedup,
      isConnected: options.isConnected,
    });
    const parts = { backlog: this.#backlog, groups: this.#groups, deadLetters: this.#deadLetters };
    const redriveParts = {
      ...parts,
      line: this.#line,
      held: () => this.#traffic.held,
      refuse: (record: ChannelRecord) => this.#traffic.refuseRedriving(record),
    };
    this.#redriveJob = new RedriveJob(this.#cell, redriveParts);
    const desk = { traffic: this.#traffic, checkpoints: this.#checkpoints, redriveParts, job: this.#redriveJob };
    this.#groupDesk = new GroupDesk({ ...parts, ...desk });
    this.#messageDesk = new MessageDesk({ ...parts, schedule: this.#schedule });
    this.#described = { ...parts, schedule: this.#schedule, line: this.#line };
    this.#resumeRestored();
  }

  /** Decides one operation. What it means for requests that wait is in `takeEffects`. */
  apply(operation: Operation, moment: Moment, origin?: Origin): Outcome {
    this.#backlog.noteStored();
    // Waiters whose time is over must not stand in the way.
    this.#advance(moment);
    const outcome = this.#decide(operation, moment, origin);
    this.#groups.applyRetention(moment.nowMs);
    this.#traffic.serve(moment);
    this.#finishDrain(moment.nowMs);
    return outcome;
  }

  /** Does what is due though nobody asks: ends leases and delays, lets messages enter, takes back room, ends a drain or an idle life. */
  tick(moment: Moment): void {
    this.#backlog.noteStored();
    this.#redriveJob.step(moment);
    this.#advance(moment);
    this.#expireIdle(moment.nowMs);
  }

  /** Forgets the waiting requests of a connection that closed, and ends its leases (rule LS9); others may be served now. */
  disconnect(connection: number, moment: Moment, isClean: boolean): void {
    this.#backlog.noteStored();
    // One whose close wakes the object is not lost: it tells how it ended.
    this.#lostConnections = this.#lostConnections.filter((lost) => lost !== connection);
    this.#meetDeadlines(moment);
    for (const waiter of this.#line.ofConnection(connection)) this.#line.remove(waiter);
    this.#endLeasesOf(connection, isClean, moment.nowMs);
    this.#traffic.serve(moment);
    this.#finishDrain(moment.nowMs);
  }

  get record(): ChannelRecord | undefined {
    return this.#cell.get();
  }

  /** Connections that were gone on waking and whose leases are not looked after yet: nobody may get their numbers meanwhile. */
  get lostConnections(): readonly number[] {
    return this.#lostConnections;
  }

  /** Depth, bytes, utilisation and waiters as they are now; undefined where there is no channel. */
  get pressure(): PressureState | undefined {
    const record = this.#cell.get();
    if (record === undefined || record.state === "deleted") return undefined;
    return describePressure(this.#described, record);
  }

  /** When `tick` has to be called though nobody asks. */
  get nextAlarmAtMs(): number | undefined {
    return this.#computeNextAlarm(() => this.#readLastUseMs());
  }

  /** The same without the look at whether the channel is idle, which each alarm arranges for the next. */
  get nextDueAtMs(): number | undefined {
    return this.#computeNextAlarm(undefined);
  }

  /** To be asked on waking: when the alarm is set to at the latest, by what is stored (rule RC8). Undefined where none may be set. */
  findAlarmOnWaking(nowMs: number): number | undefined {
    // An idle time begins anew each time the alarm finds the channel in use, which is not stored.
    return this.#computeNextAlarm(() => nowMs);
  }

  /**
   * When a get that waits may be served because a lease ends or a delay is over, or a put because a message expires; nobody else has
   * to be told of those.
   */
  get nextServiceAtMs(): number | undefined {
    const deliveryAtMs = this.#groups.nextDueAtMs(this.#line.waitingGroups());
    const roomAtMs = this.#line.firstPut() === undefined ? undefined : this.#groups.nextExpiryAtMs;
    return deliveryAtMs === undefined ? roomAtMs : Math.min(deliveryAtMs, roomAtMs ?? deliveryAtMs);
  }

  /** Delayed messages whose time has come and that have not entered: a commit takes only so many (rule SD6). */
  countOverdue(nowMs: number): number {
    const { nextAtMs } = this.#schedule;
    return nextAtMs !== undefined && nextAtMs <= nowMs ? this.#schedule.messages : 0;
  }

  /** When the oldest promise of room ends; the object is awake then, so a timer serves. */
  get nextReservationEndMs(): number | undefined {
    return this.#line.firstReservation()?.reservedUntilMs;
  }

  /** Whether a restore was committed: the channel has to be built anew from what is stored. */
  get isReplaced(): boolean {
    return this.#snapshots.isInstalled;
  }

  /** Whether all storage can be erased: the tombstone has done its work, or a restore came to nothing. */
  isForgotten(nowMs: number): boolean {
    const record = this.#cell.get();
    if (record === undefined) return this.#snapshots.isLeftOver;
    return lifeCycle.isForgotten(record, nowMs) && !this.#snapshots.isRestoring;
  }

  /** Notes the result of telling the directory about `version`; a newer change stays pending. */
  settleOutbox(version: number, isDone: boolean, nowMs: number): void {
    const record = this.#cell.get();
    if (record === undefined || record.outbox.version !== version) return;
    this.#cell.set({ ...record, outbox: lifeCycle.settleOutbox(record.outbox, isDone, nowMs) });
  }

  waitersOf(connection: number): readonly Waiter[] {
    return this.#line.ofConnection(connection);
  }

  /** Answers to requests that waited, in the order in which they were served. */
  takeEffects(): readonly Effect[] {
    return this.#traffic.takeEffects();
  }

  /** Connections whose waiting requests changed: their attachments have to be written. */
  takeChangedConnections(): readonly number[] {
    return this.#line.takeChangedConnections();
  }

  /** What the commit has to write; undefined when nothing changed. */
  takeChanges(nowMs: number): Changes | undefined {
    const channel = this.#cell.takeChanged();
    const delivery = this.#groups.takeDeliveryChanges();
    const groups = this.#groups.takeChanges();
    const deadLetters = this.#deadLetters.takeChanges();
    const changes = this.#backlog.takeChanges(nowMs);
    const checkpoints = this.#checkpoints.takeChanges();
    const schedule = this.#schedule.takeChanges();
    const { idempotencyWindowMs } = this.#cell.get()?.settings ?? DEFAULT_SETTINGS;
    const dedup = this.#dedup.takeChanges(nowMs, idempotencyWindowMs);
    const snapshots = this.#snapshots.takeChanges(this.#cell.get());
    const parts = { channel, delivery, groups, deadLetters, checkpoints, schedule, ...dedup, snapshots };
    if (changes === undefined && Object.values(parts).every((part) => part === undefined)) return undefined;
    return { ...(changes ?? NO_BACKLOG_CHANGES), ...parts };
  }

  #decide(operation: Operation, moment: Moment, origin: Origin | undefined): Outcome {
    switch (operation.type) {
      case "create":
        return this.#create(operation.settings, moment);
      case "begin-restore":
      case "stage-page":
      case "abort-restore":
        return this.#snapshots.decideRestore(operation, { channel: this.#name, record: this.#cell.get() }, moment);
      case "commit-restore":
        return this.#commitRestore(operation, moment);
      default:
        return this.#decideInLife(operation, moment, origin);
    }
  }

  #decideInLife(operation: LifeOperation, moment: Moment, origin: Origin | undefined): Outcome {
    const isUse = operation.type === "put" || operation.type === "get" || operation.type === "reserve";
    const before = this.#cell.get();
    const isFirstUse = isUse && moment.mayCreate && (before === undefined || before.isExpired);
    if (!isFirstUse) return this.#decideOnRecord(operation, moment, origin);
    const undo = this.#cell.save();
    this.#begin(lifeCycle.beginLife(lifeCycle.AUTO_CREATED_SETTINGS, before, moment));
    const outcome = this.#decideOnRecord(operation, moment, origin);
    // A refusal changes nothing: it creates no channel.
    if (outcome.type === "refused") undo();
    return outcome;
  }

  #decideOnRecord(operation: LifeOperation, moment: Moment, origin: Origin | undefined): Outcome {
    const record = this.#cell.get();
    const missing = lifeCycle.refuseMissing(record, this.#name);
    if (missing !== undefined || record === undefined)
      return refused(missing ?? { kind: "unknown-channel", channel: this.#name });
    switch (operation.type) {
      case "put":
        return this.#traffic.put(record, operation, moment.nowMs, origin);
      case "reserve":
        return this.#traffic.reserve(record, operation, moment.nowMs, origin);
      case "get":
        return this.#traffic.get(record, operation, moment, origin);
      case "cancel":
        if (origin !== undefined) this.#traffic.cancel(record, { ...origin, request: operation.request }, moment.nowMs);
        return { type: "cancelled" };
      case "describe":
        return { type: "described", facts: this.#describe(record, moment.nowMs) };
      case "patch":
        return this.#patch(record, operation.patch, moment.nowMs);
      case "delete":
        return this.#delete(record, operation.graceMs, moment.nowMs);
      case "list-checkpoints":
      case "read-checkpoint":
      case "write-checkpoint":
      case "delete-checkpoint":
        return this.#checkpoints.decide(operation, moment.nowMs);
      case "begin-snapshot":
      case "read-snapshot":
      case "end-snapshot":
        return this.#snapshots.decide(operation, moment);
      case "browse":
      case "read":
      case "history":
      case "remove":
      case "remove-by-id":
      case "purge":
      case "list-scheduled":
      case "cancel-scheduled":
        return this.#messageDesk.decide(operation, moment.nowMs);
      default:
        return this.#decideAtGroupDesk(record, operation, moment);
    }
  }

  #decideAtGroupDesk(record: ChannelRecord, operation: DeskOperation, moment: Moment): Outcome {
    const outcome = this.#groupDesk.decide(record, operation, moment);
    if (outcome.type === "settled") this.#traffic.noteDrained(outcome.counts.ack, moment.nowMs);
    return outcome;
  }

  #retentionInForce(): ChannelRetention {
    const record = this.#cell.get();
    const settings = record?.settings ?? DEFAULT_SETTINGS;
    const { retention, maxAgeMs, whenNoGroups, delivery, messageTtlMs, onExpired } = settings;
    return { retention, maxAgeMs, whenNoGroups, delivery, messageTtlMs, onExpired, limits: record?.limits ?? settings };
  }

  #create(given: GivenSettings, moment: Moment): Outcome {
    const record = this.#cell.get();
    if (record !== undefined && record.state !== "deleted") {
      const conflicts = findConflicts(given, record.settings);
      if (conflicts.length > 0) return refused({ kind: "settings-conflict", conflicts, current: record.settings });
      return { type: "confirmed", facts: this.#describe(record, moment.nowMs) };
    }
    const settings = resolveSettings(given, DEFAULT_SETTINGS);
    if (!settings.ok) return refused(settings.refusal);
    const created = lifeCycle.beginLife(settings.value, record, moment);
    this.#begin(created);
    return { type: "created", facts: this.#describe(created, moment.nowMs) };
  }

  #begin(record: ChannelRecord): void {
    const isFirst = this.#cell.get() === undefined;
    this.#cell.set(record);
    if (!isFirst) this.#restart();
  }

  /** All that a life kept is forgotten. */
  #restart(): void {
    this.#groups.clear();
    this.#deadLetters.clear();
    this.#backlog.restart();
    this.#checkpoints.restart();
    this.#schedule.clear();
    this.#dedup.restart();
    this.#snapshots.endSnapshot();
  }

  #commitRestore(operation: OperationOf<"commit-restore">, moment: Moment): Outcome {
    const restored = this.#snapshots.commitRestore(operation, { channel: this.#name, record: this.#cell.get() }, moment);
    if ("kind" in restored) return refused(restored);
    this.#cell.set(restored);
    return { type: "restored", restoreId: operation.restoreId };
  }

  /** What a restored channel does first: the leases that it has are another life's, and its idle time begins now. */
  #resumeRestored(): void {
    const record = this.#cell.get();
    if (record?.leasesEndedAtMs === undefined) return;
    this.#groups.endLeases(record.leasesEndedAtMs);
    this.#backlog.noteChange();
    const { leasesEndedAtMs: _, ...resumed } = record;
    this.#cell.set(resumed);
  }

  #patch(record: ChannelRecord, patch: ChannelPatch, nowMs: number): Outcome {
    const result = lifeCycle.patchRecord(record, patch, nowMs);
    if (!result.ok) return refused(result.refusal);
    const { patched, controls, isChanged } = result.value;
    for (const control of controls) this.#groups.appendControl(control, nowMs);
    if (isChanged) this.#backlog.noteChange();
    this.#cell.set(patched);
    // The answer shows what a log keeps by its new limits.
    this.#groups.applyRetention(nowMs);
    this.#refuseByState(patched);
    this.#finishDrain(nowMs);
    return { type: "patched", facts: this.#describe(this.#cell.get() ?? patched, nowMs) };
  }

  #delete(record: ChannelRecord, graceMs: number, nowMs: number): Outcome {
    if (graceMs === 0 || this.#isDrained) return { type: "deleted", droppedMessages: this.#erase(record, nowMs, false) };
    const drainUntilMs = Math.min(record.drainUntilMs ?? Number.MAX_SAFE_INTEGER, nowMs + graceMs);
    if (record.state !== "draining") this.#groups.appendControl({ type: "close" }, nowMs);
    const draining: ChannelRecord = { ...record, state: "draining", drainUntilMs };
    this.#cell.set(draining);
    this.#refuseByState(draining);
    return { type: "deleting", facts: this.#describe(draining, nowMs) };
  }

  /** Those who wait for what the new state does not offer are told so. */
  #refuseByState(record: ChannelRecord): void {
    const put = lifeCycle.refusePut(record);
    if (put !== undefined) this.#traffic.refuseWaiting("put", put);
    const get = lifeCycle.refuseGet(record);
    if (get !== undefined) this.#traffic.refuseWaiting("get", get);
  }

  /** A draining channel whose last message was taken is closed, or deleted if that was asked for. */
  #finishDrain(nowMs: number): void {
    const record = this.#cell.get();
    if (record?.state !== "draining" || !this.#isDrained) return;
    if (record.drainUntilMs !== null) {
      this.#erase(record, nowMs, false);
      return;
    }
    const closed: ChannelRecord = { ...record, state: "closed" };
    this.#cell.set(closed);
    this.#refuseByState(closed);
  }

  /** Does what time has brought about. */
  #advance(moment: Moment): void {
    this.#meetDeadlines(moment);
    this.#traffic.serve(moment);
    this.#finishDrain(moment.nowMs);
  }

  /** What ends or begins by time does so, wherever the alarm is: leases, delays, the grace of a deletion, what retention keeps. */
  #meetDeadlines(moment: Moment): void {
    const { nowMs } = moment;
    for (const lost of this.#lostConnections) this.#endLeasesOf(lost, false, nowMs);
    this.#lostConnections = [];
    this.#snapshots.advance(nowMs);
    for (const { settlement } of this.#groups.all()) settlement.advance(nowMs);
    const record = this.#cell.get();
    if (record?.state === "draining" && record.drainUntilMs !== null && record.drainUntilMs <= nowMs)
      this.#erase(record, nowMs, false);
    this.#enterDue(moment);
    this.#groups.applyRetention(nowMs);
  }

  /** What is due gets its offsets, before anybody asks for it (rule SD5). It fits: it was counted. */
  #enterDue({ nowMs, isRecovering }: Moment): void {
    if (isRecovering === true) return;
    const due = this.#schedule.takeDue(nowMs);
    if (due.length > 0) this.#backlog.append(due, nowMs);
  }

  #endLeasesOf(connection: number, isClean: boolean, nowMs: number): void {
    for (const { settlement } of this.#groups.all()) settlement.endLeasesOf(connection, { isClean, nowMs });
  }

  #expireIdle(nowMs: number): void {
    const record = this.#cell.get();
    if (record === undefined || record.state === "deleted" || record.settings.expireAfterIdleMs === null) return;
    const holdsMessages = this.#backlog.depth > 0 || this.#schedule.messages > 0;
    if (holdsMessages || this.#line.size > 0) this.#inUseAtMs = nowMs;
    // What changes just now has its time when it is written.
    if (this.#backlog.hasChanges) return;
    const idleSinceMs = Math.max(this.#readLastUseMs(), record.createdAtMs);
    if (idleSinceMs + record.settings.expireAfterIdleMs <= nowMs) this.#erase(record, nowMs, true);
  }

  #readLastUseMs(): number {
    return Math.max(this.#backlog.writtenAtMs, this.#checkpoints.readChangedAtMs(), this.#inUseAtMs);
  }

  /** Ends the life and returns how many messages were still there. */
  #erase(record: ChannelRecord, nowMs: number, isExpired: boolean): number {
    const droppedMessages = this.#backlog.depth + this.#schedule.messages;
    const ended = lifeCycle.endLife(record, { nowMs, droppedMessages, isExpired });
    this.#traffic.refuseWaiting("put", lifeCycle.refuseDeleted(ended));
    this.#traffic.refuseWaiting("get", lifeCycle.refuseDeleted(ended));
    this.#restart();
    this.#cell.set(ended);
    return droppedMessages;
  }

  /** Whether nothing is left to do, and nothing to come. */
  get #isDrained(): boolean {
    return this.#groups.isDrained && this.#schedule.messages === 0;
  }

  #computeNextAlarm(readLastUseMs: (() => number) | undefined): number | undefined {
    const record = this.#cell.get();
    const staleAtMs = this.#snapshots.nextDueAtMs;
    if (record === undefined) return this.#snapshots.isLeftOver ? LONG_AGO_MS : staleAtMs;
    const times = [this.#schedule.nextAtMs, this.nextServiceAtMs, this.#redriveJob.nextAtMs, staleAtMs];
    const dueAtMs = Math.min(...times.map((atMs) => atMs ?? Infinity));
    return lifeCycle.computeNextAlarm(record, { readLastUseMs, dueAtMs: dueAtMs === Infinity ? undefined : dueAtMs });
  }

  #describe(record: ChannelRecord, nowMs: number): ChannelFacts {
    return describeChannel(this.#described, record, nowMs);
  }
}
