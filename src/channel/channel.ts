// The channel: decides every operation. Synchronous and without I/O: time and randomness come as a `Moment`, storage through the port.
// An operation is decided against this object before anything is stored, and a refusal changes nothing; `takeChanges` hands over what
// the commit has to write. If that write fails, the object is dropped and built again from the store, as on waking.
import type { PressureState } from "../protocol/description.ts";
import { LIMITS } from "../protocol/limits.ts";
import { DEFAULT_SETTINGS, findConflicts, resolveSettings, type ChannelPatch, type GivenSettings } from "../protocol/settings.ts";
import { assembleParts, type ChannelOptions, type ChannelParts } from "./channel-parts.ts";
import { dismissAll, dismissByState } from "./dismissal.ts";
import * as lifeCycle from "./life-cycle.ts";
import { describeChannel, describePressure } from "./description-facts.ts";
import type { DeskOperation } from "./group-desk.ts";
import type { Effect, Moment, Operation, OperationOf, Origin, Outcome, RestoreOperation } from "./operation.ts";
import { storeExcess, type AttachedRequests } from "./socket-room.ts";
import type { Settlement } from "./settlement.ts";
import type { Subscription } from "./subscription.ts";
import { NO_BACKLOG_CHANGES, type ChannelRecord, type Changes } from "./store.ts";
import { isIdInUse } from "./request-ids.ts";
import { refused } from "./refused.ts";
import type { Waiter } from "./wait-line.ts";

/** What creates a channel where the deployment allows it (rule LC7), and what may be answered more than once. */
const USES: ReadonlySet<Operation["type"]> = new Set(["put", "get", "reserve", "subscribe", "watch", "presence"]);
/** When what is left of a restore could have been erased. */
const LONG_AGO_MS = 1;

type LifeOperation = Exclude<Operation, { type: "create" } | RestoreOperation>;

export class Channel {
  readonly #name: string;
  readonly #parts: ChannelParts;
  readonly #measureLeaseRoom: (kept: AttachedRequests) => number;
  /** Connections that hold leases and were gone when the object woke; their numbers may be given again once these are detached. */
  #lostConnections: readonly number[];
  /** When the channel was last found in use; the next look at it comes an idle time later. */
  #inUseAtMs = 0;

  constructor(options: ChannelOptions) {
    this.#name = options.name;
    this.#measureLeaseRoom = options.measureLeaseRoom ?? (() => LIMITS.attachedLeasesBytesMax);
    this.#parts = assembleParts(options);
    const { connections } = this.#parts.groups;
    this.#lostConnections = connections.filter((connection) => !options.isConnected(connection));
    this.#resumeRestored();
  }

  /** Decides one operation. What it means for requests that wait is in `takeEffects`. */
  apply(operation: Operation, moment: Moment, origin?: Origin): Outcome {
    this.#parts.backlog.noteStored();
    // Waiters whose time is over must not stand in the way.
    this.#advance(moment);
    const outcome = this.#decide(operation, moment, origin);
    this.#parts.activity.note(operation, outcome, origin);
    this.#parts.idleGroups.look(moment.nowMs);
    this.#parts.groups.applyRetention(moment.nowMs);
    this.#parts.traffic.serve(moment);
    this.#finishDrain(moment.nowMs);
    return outcome;
  }

  /** Sends subscribers what there is, each one frame at most; to be called when all operations of a commit are decided. */
  deliver(moment: Moment): void {
    const record = this.#parts.cell.get();
    this.#parts.streams.beginTurn();
    if (record === undefined || record.state === "deleted") return;
    if (this.#parts.streams.counts.members > 0) this.#deliverToMembers(record, moment);
    const left = this.#parts.cell.get();
    if (left === undefined || left.state === "deleted") return;
    if (!this.hasMoreToDeliver) this.#parts.workStealing.look(left, moment.nowMs);
    this.#parts.streams.endTurn(left);
  }

  /** When to route messages again though nothing happens (rule RD3). */
  get nextRouteAtMs(): number | undefined {
    return this.#parts.streams.nextRouteAtMs;
  }

  /** Whether another commit has to follow at once, since subscribers may be owed more than a frame. */
  get hasMoreToDeliver(): boolean {
    return this.#parts.streams.hasMore;
  }

  /** Does what is due though nobody asks: ends leases and delays, lets messages enter, takes back room, ends a drain or an idle life. */
  tick(moment: Moment): void {
    this.#parts.backlog.noteStored();
    this.#parts.redriveJob.step(moment);
    this.#advance(moment);
    this.#expireIdle(moment.nowMs);
  }

  /** Forgets the waiting requests of a connection that closed, and ends its leases (rule LS9); others may be served now. */
  disconnect(connection: number, moment: Moment, isClean: boolean): void {
    this.#parts.backlog.noteStored();
    // One whose close wakes the object is not lost: it tells how it ended.
    this.#lostConnections = this.#lostConnections.filter((lost) => lost !== connection);
    this.#meetDeadlines(moment);
    for (const waiter of this.#parts.line.ofConnection(connection)) this.#parts.line.remove(waiter);
    this.#parts.streams.disconnect(connection);
    this.#parts.activity.disconnect(connection);
    this.#endLeasesOf(connection, { isClean, isLost: false, nowMs: moment.nowMs });
    this.#parts.traffic.serve(moment);
    this.#finishDrain(moment.nowMs);
  }

  get record(): ChannelRecord | undefined {
    return this.#parts.cell.get();
  }

  /** Connections that were gone on waking and whose leases are not looked after yet: nobody may get their numbers meanwhile. */
  get lostConnections(): readonly number[] {
    return this.#lostConnections;
  }

  /** Depth, bytes, utilisation and waiters as they are now; undefined where there is no channel. */
  get pressure(): PressureState | undefined {
    const record = this.#parts.cell.get();
    if (record === undefined || record.state === "deleted") return undefined;
    return describePressure(this.#parts, record);
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
    this.#parts.idleGroups.look(nowMs);
    // An idle time begins anew each time the alarm finds the channel in use, which is not stored.
    return this.#computeNextAlarm(() => nowMs);
  }

  /**
   * When a get that waits may be served because a lease ends or a delay is over, or a put because a message expires; of those only who watches
   * presence has to be told besides (rule RG8).
   */
  get nextServiceAtMs(): number | undefined {
    const { groups, line, streams } = this.#parts;
    const deliveryAtMs = groups.nextDueAtMs(streams.isPresenceWatched ? groups.ids() : line.waitingGroups());
    const roomAtMs = line.firstPut() === undefined ? undefined : groups.nextExpiryAtMs;
    return deliveryAtMs === undefined ? roomAtMs : Math.min(deliveryAtMs, roomAtMs ?? deliveryAtMs);
  }

  /** Delayed messages whose time has come and that have not entered: a commit takes only so many (rule SD6). */
  countOverdue(nowMs: number): number {
    const { nextAtMs } = this.#parts.schedule;
    return nextAtMs !== undefined && nextAtMs <= nowMs ? this.#parts.schedule.messages : 0;
  }

  /** When the oldest promise of room ends; the object is awake then, so a timer serves. */
  get nextReservationEndMs(): number | undefined {
    return this.#parts.line.firstReservation()?.reservedUntilMs;
  }

  /** When to look whether somebody who waits can be given what others hold; a timer serves here too. */
  get nextStealingAtMs(): number | undefined {
    return this.#parts.workStealing.nextLookAtMs;
  }

  /** What is open of snapshots and restores. Where one is installed, the channel has to be built anew from what is stored. */
  get snapshots(): Pick<ChannelParts["snapshots"], "isInstalled" | "openSnapshotId" | "refuseAnother"> {
    return this.#parts.snapshots;
  }

  /** Whether all storage can be erased: the tombstone has done its work, or a restore came to nothing. */
  isForgotten(nowMs: number): boolean {
    const record = this.#parts.cell.get();
    if (record === undefined) return this.#parts.snapshots.isLeftOver;
    return lifeCycle.isForgotten(record, nowMs) && !this.#parts.snapshots.isRestoring;
  }

  /** Notes the result of telling the directory about `version`; a newer change stays pending. */
  settleOutbox(version: number, isDone: boolean, nowMs: number): void {
    const record = this.#parts.cell.get();
    if (record === undefined || record.outbox.version !== version) return;
    this.#parts.cell.set({ ...record, outbox: lifeCycle.settleOutbox(record.outbox, isDone, nowMs) });
  }

  waitersOf(connection: number): readonly Waiter[] {
    return this.#parts.line.ofConnection(connection);
  }

  subscriptionsOf(connection: number): readonly Subscription[] {
    return this.#parts.streams.ofConnection(connection);
  }

  /** Answers to requests that waited, in the order in which they were served, and what subscribers are sent. */
  takeEffects(): readonly Effect[] {
    const { activity, traffic, streams } = this.#parts;
    return activity.noteEffects(traffic.takeEffects(), streams.takeEffects());
  }

  /** What the socket of a connection has to carry of its leases; undefined for nothing. */
  leasesOf(connection: number): Uint8Array | undefined {
    return this.#parts.attached.pack(connection);
  }

  /** Connections whose waiting requests, subscriptions or leases changed: their attachments have to be written. */
  takeChangedConnections(): readonly number[] {
    const { attached, line, streams } = this.#parts;
    return [...new Set([streams, line, attached].flatMap((part) => part.takeChangedConnections()))];
  }

  /** What the commit has to write; undefined when nothing changed. */
  takeChanges(nowMs: number): Changes | undefined {
    storeExcess(this.#parts, this.#measureLeaseRoom);
    const channel = this.#parts.cell.takeChanged();
    const delivery = this.#parts.groups.takeDeliveryChanges();
    const groups = this.#parts.groups.takeChanges();
    const deadLetters = this.#parts.deadLetters.takeChanges();
    const changes = this.#parts.backlog.takeChanges(nowMs);
    const checkpoints = this.#parts.checkpoints.takeChanges();
    const schedule = this.#parts.schedule.takeChanges();
    const { idempotencyWindowMs } = this.#parts.cell.get()?.settings ?? DEFAULT_SETTINGS;
    const dedup = this.#parts.dedup.takeChanges(nowMs, idempotencyWindowMs);
    const snapshots = this.#parts.snapshots.takeChanges(this.#parts.cell.get());
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
        return this.#parts.snapshots.decideRestore(operation, { channel: this.#name, record: this.#parts.cell.get() }, moment);
      case "commit-restore":
        return this.#commitRestore(operation, moment);
      default:
        return this.#decideInLife(operation, moment, origin);
    }
  }

  #decideInLife(operation: LifeOperation, moment: Moment, origin: Origin | undefined): Outcome {
    const isUse = USES.has(operation.type);
    const before = this.#parts.cell.get();
    const isFirstUse = isUse && moment.mayCreate && (before === undefined || before.isExpired);
    if (!isFirstUse) return this.#decideOnRecord(operation, moment, origin);
    const undo = this.#parts.cell.save();
    this.#begin(lifeCycle.beginLife(lifeCycle.AUTO_CREATED_SETTINGS, before, moment));
    const outcome = this.#decideOnRecord(operation, moment, origin);
    // A refusal changes nothing: it creates no channel.
    if (outcome.type === "refused") undo();
    return outcome;
  }

  #decideOnRecord(operation: LifeOperation, moment: Moment, origin: Origin | undefined): Outcome {
    const record = this.#parts.cell.get();
    const missing = lifeCycle.refuseMissing(record, this.#name);
    if (missing !== undefined || record === undefined)
      return refused(missing ?? { kind: "unknown-channel", channel: this.#name });
    if (origin !== undefined && USES.has(operation.type) && isIdInUse(this.#parts, origin, operation))
      return refused({ kind: "request-in-use", id: origin.request });
    switch (operation.type) {
      case "subscribe":
      case "credit":
      case "unsubscribe":
      case "watch":
      case "presence":
        return this.#parts.streams.decide(record, operation, moment, origin);
      case "put":
        return this.#parts.traffic.put(record, operation, moment.nowMs, origin);
      case "reserve":
        return this.#parts.traffic.reserve(record, operation, moment.nowMs, origin);
      case "get":
        // Members that stand before it have their turn first.
        if (moment.isRecovering !== true) this.#parts.streams.serveMembers(record, moment, new Set());
        return this.#parts.traffic.get(record, operation, moment, origin);
      case "cancel":
        if (origin !== undefined) this.#parts.traffic.cancel(record, { ...origin, request: operation.request }, moment.nowMs);
        return { type: "cancelled" };
      case "describe":
        return { type: "described", facts: describeChannel(this.#parts, record, moment.nowMs) };
      case "patch":
        return this.#patch(record, operation.patch, moment.nowMs);
      case "delete":
        return this.#delete(record, operation.graceMs, moment.nowMs);
      case "list-checkpoints":
      case "read-checkpoint":
      case "write-checkpoint":
      case "delete-checkpoint":
        return this.#parts.checkpoints.decide(operation, moment.nowMs);
      case "begin-snapshot":
      case "read-snapshot":
      case "end-snapshot":
        return this.#parts.snapshots.decide(operation, moment);
      case "browse":
      case "read":
      case "history":
      case "remove":
      case "remove-by-id":
      case "purge":
      case "list-scheduled":
      case "cancel-scheduled":
        return this.#parts.messageDesk.decide(operation, moment.nowMs);
      default:
        return this.#decideAtGroupDesk(record, operation, moment);
    }
  }

  /** Ends: each round sends or answers something. */
  #deliverToMembers(record: ChannelRecord, moment: Moment): void {
    const { groups, line, streams, traffic } = this.#parts;
    const served = new Set<string>();
    for (let isServed = true; isServed;) {
      const waiting = line.size;
      isServed = streams.serveMembers(record, moment, served);
      // What was found to have expired makes room, and may have been the last.
      groups.applyRetention(moment.nowMs);
      traffic.serve(moment);
      isServed ||= line.size < waiting;
    }
    this.#finishDrain(moment.nowMs);
  }

  #decideAtGroupDesk(record: ChannelRecord, operation: DeskOperation, moment: Moment): Outcome {
    const outcome = this.#parts.groupDesk.decide(record, operation, moment);
    if (outcome.type === "settled") this.#parts.traffic.noteDrained(outcome.counts.ack, moment.nowMs);
    return outcome;
  }

  #create(given: GivenSettings, moment: Moment): Outcome {
    const record = this.#parts.cell.get();
    if (record !== undefined && record.state !== "deleted") {
      const conflicts = findConflicts(given, record.settings);
      if (conflicts.length > 0) return refused({ kind: "settings-conflict", conflicts, current: record.settings });
      return { type: "confirmed", facts: describeChannel(this.#parts, record, moment.nowMs) };
    }
    const settings = resolveSettings(given, DEFAULT_SETTINGS);
    if (!settings.ok) return refused(settings.refusal);
    const created = lifeCycle.beginLife(settings.value, record, moment);
    this.#begin(created);
    return { type: "created", facts: describeChannel(this.#parts, created, moment.nowMs) };
  }

  #begin(record: ChannelRecord): void {
    const isFirst = this.#parts.cell.get() === undefined;
    this.#parts.cell.set(record);
    if (!isFirst) this.#restart();
  }

  /** All that a life kept is forgotten. */
  #restart(): void {
    this.#parts.groups.clear();
    this.#parts.deadLetters.clear();
    this.#parts.backlog.restart();
    this.#parts.checkpoints.restart();
    this.#parts.schedule.clear();
    this.#parts.dedup.restart();
    this.#parts.snapshots.endSnapshot();
    this.#parts.workStealing.clear();
  }

  #commitRestore(operation: OperationOf<"commit-restore">, moment: Moment): Outcome {
    const target = { channel: this.#name, record: this.#parts.cell.get() };
    const restored = this.#parts.snapshots.commitRestore(operation, target, moment);
    if ("kind" in restored) return refused(restored);
    this.#parts.cell.set(restored);
    return { type: "restored", restoreId: operation.restoreId };
  }

  /** What a restored channel does first: the leases that it has are another life's, and its idle time begins now. */
  #resumeRestored(): void {
    const record = this.#parts.cell.get();
    if (record?.leasesEndedAtMs === undefined) return;
    this.#parts.groups.endLeases(record.leasesEndedAtMs);
    this.#parts.backlog.noteChange();
    const { leasesEndedAtMs: _, ...resumed } = record;
    this.#parts.cell.set(resumed);
  }

  #patch(record: ChannelRecord, patch: ChannelPatch, nowMs: number): Outcome {
    const result = lifeCycle.patchRecord(record, patch, nowMs);
    if (!result.ok) return refused(result.refusal);
    const { patched, controls, isChanged } = result.value;
    for (const control of controls) this.#parts.groups.appendControl(control, nowMs);
    if (isChanged) this.#parts.backlog.noteChange();
    this.#parts.cell.set(patched);
    // The answer shows what a log keeps by its new limits.
    this.#parts.groups.applyRetention(nowMs);
    dismissByState(this.#parts, patched);
    this.#finishDrain(nowMs);
    return { type: "patched", facts: describeChannel(this.#parts, this.#parts.cell.get() ?? patched, nowMs) };
  }

  #delete(record: ChannelRecord, graceMs: number, nowMs: number): Outcome {
    if (graceMs === 0 || this.#isDrained) return { type: "deleted", droppedMessages: this.#erase(record, nowMs, false) };
    const drainUntilMs = Math.min(record.drainUntilMs ?? Number.MAX_SAFE_INTEGER, nowMs + graceMs);
    if (record.state !== "draining") this.#parts.groups.appendControl({ type: "close" }, nowMs);
    const draining: ChannelRecord = { ...record, state: "draining", drainUntilMs };
    this.#parts.cell.set(draining);
    dismissByState(this.#parts, draining);
    return { type: "deleting", facts: describeChannel(this.#parts, draining, nowMs) };
  }

  /** A draining channel whose last message was taken is closed, or deleted if that was asked for. */
  #finishDrain(nowMs: number): void {
    const record = this.#parts.cell.get();
    if (record?.state !== "draining" || !this.#isDrained) return;
    if (record.drainUntilMs !== null) {
      this.#erase(record, nowMs, false);
      return;
    }
    const closed: ChannelRecord = { ...record, state: "closed" };
    this.#parts.cell.set(closed);
    dismissByState(this.#parts, closed);
  }

  /** Does what time has brought about. */
  #advance(moment: Moment): void {
    this.#meetDeadlines(moment);
    this.#parts.traffic.serve(moment);
    this.#finishDrain(moment.nowMs);
  }

  /** What ends or begins by time does so, wherever the alarm is: leases, delays, the grace of a deletion, what retention keeps. */
  #meetDeadlines(moment: Moment): void {
    const { nowMs } = moment;
    this.#parts.activity.nowMs = nowMs;
    for (const lost of this.#lostConnections) this.#endLeasesOf(lost, { isClean: false, isLost: true, nowMs });
    this.#lostConnections = [];
    this.#parts.snapshots.advance(nowMs);
    for (const { settlement } of this.#parts.groups.all()) settlement.advance(nowMs);
    const record = this.#parts.cell.get();
    if (record?.state === "draining" && record.drainUntilMs !== null && record.drainUntilMs <= nowMs)
      this.#erase(record, nowMs, false);
    this.#enterDue(moment);
    this.#expireGroups(nowMs);
    this.#parts.groups.applyRetention(nowMs);
  }

  /** A group that nobody reads ends, and what it held back makes room (rule GP10). */
  #expireGroups(nowMs: number): void {
    const { idleGroups, groupDesk } = this.#parts;
    idleGroups.look(nowMs);
    for (const group of idleGroups.findIdle(nowMs)) groupDesk.delete(group);
  }

  /** What is due gets its offsets, before anybody asks for it (rule SD5). It fits: it was counted. */
  #enterDue({ nowMs, isRecovering }: Moment): void {
    if (isRecovering === true) return;
    const due = this.#parts.schedule.takeDue(nowMs);
    if (due.length > 0) this.#parts.backlog.append(due, nowMs);
  }

  #endLeasesOf(connection: number, how: Parameters<Settlement["endLeasesOf"]>[1]): void {
    for (const { settlement } of this.#parts.groups.all()) settlement.endLeasesOf(connection, how);
  }

  #expireIdle(nowMs: number): void {
    const record = this.#parts.cell.get();
    if (record === undefined || record.state === "deleted" || record.settings.expireAfterIdleMs === null) return;
    const { backlog, schedule, line, streams } = this.#parts;
    const isHeld = backlog.depth > 0 || schedule.messages > 0 || line.size > 0 || streams.size > 0;
    if (isHeld) this.#inUseAtMs = nowMs;
    // What changes just now has its time when it is written.
    if (backlog.hasChanges) return;
    const idleSinceMs = Math.max(this.#readLastUseMs(), record.createdAtMs);
    if (idleSinceMs + record.settings.expireAfterIdleMs <= nowMs) this.#erase(record, nowMs, true);
  }

  #readLastUseMs(): number {
    return Math.max(this.#parts.backlog.writtenAtMs, this.#parts.checkpoints.readChangedAtMs(), this.#inUseAtMs);
  }

  /** Ends the life and returns how many messages were still there. */
  #erase(record: ChannelRecord, nowMs: number, isExpired: boolean): number {
    const droppedMessages = this.#parts.backlog.depth + this.#parts.schedule.messages;
    const ended = lifeCycle.endLife(record, { nowMs, droppedMessages, isExpired });
    dismissAll(this.#parts, lifeCycle.refuseDeleted(ended));
    this.#restart();
    this.#parts.cell.set(ended);
    return droppedMessages;
  }

  /** Whether nothing is left to do, and nothing to come. */
  get #isDrained(): boolean {
    return this.#parts.groups.isDrained && this.#parts.schedule.messages === 0;
  }

  #computeNextAlarm(readLastUseMs: (() => number) | undefined): number | undefined {
    const { cell, idleGroups, redriveJob, schedule, snapshots } = this.#parts;
    const record = cell.get();
    const staleAtMs = snapshots.nextDueAtMs;
    if (record === undefined) return snapshots.isLeftOver ? LONG_AGO_MS : staleAtMs;
    const dueAtMs = Math.min(
      schedule.nextAtMs ?? Infinity,
      this.nextServiceAtMs ?? Infinity,
      redriveJob.nextAtMs ?? Infinity,
      staleAtMs ?? Infinity,
      idleGroups.nextAtMs ?? Infinity,
    );
    return lifeCycle.computeNextAlarm(record, { readLastUseMs, dueAtMs: dueAtMs === Infinity ? undefined : dueAtMs });
  }
}
