// The channel: decides every operation. Synchronous and without I/O: time and randomness come as a `Moment`, storage through the port.
// An operation is decided against this object before anything is stored, and a refusal changes nothing; `takeChanges` hands over what
// the commit has to write. If that write fails, the object is dropped and built again from the store, as on waking.
import { assertNever } from "../base/assert.ts";
import { computeUtilization, type PressureState } from "../protocol/description.ts";
import { LIMITS } from "../protocol/limits.ts";
import { DEFAULT_SETTINGS, findConflicts, resolveSettings, type ChannelPatch, type GivenSettings } from "../protocol/settings.ts";
import { Backlog, NO_BACKLOG_CHANGES } from "./backlog.ts";
import { Checkpoints } from "./checkpoints.ts";
import { browse } from "./log-reading.ts";
import * as lifeCycle from "./life-cycle.ts";
import { DeadLetters } from "./dead-letters.ts";
import { GroupDesk, type DeskOperation } from "./group-desk.ts";
import { Groups, type ChannelRetention } from "./groups.ts";
import type { ChannelFacts, Effect, Moment, Operation, OperationOf, Origin, Outcome } from "./operation.ts";
import { RecordCell } from "./record-cell.ts";
import type { ChannelRecord, Changes, ChannelStore } from "./store.ts";
import { refused, Traffic } from "./traffic.ts";
import { WaitLine, type Waiter } from "./wait-line.ts";

export interface ChannelOptions {
  readonly name: string;
  readonly store: ChannelStore;
  /** Waiters found in the attachments of the open sockets. */
  readonly waiters?: Iterable<Waiter>;
  /** Whether a connection can still be told something: one that left takes nothing (G7). */
  readonly isConnected: (connection: number) => boolean;
}

type MessageOperation = "browse" | "read" | "remove" | "remove-by-id" | "purge";

export class Channel {
  readonly #name: string;
  readonly #cell: RecordCell;
  readonly #backlog: Backlog;
  readonly #groups: Groups;
  readonly #deadLetters: DeadLetters;
  readonly #desk: GroupDesk;
  readonly #checkpoints: Checkpoints;
  readonly #line = new WaitLine();
  readonly #traffic: Traffic;
  /** Connections that hold leases and were gone when the object woke; their numbers may be given again. */
  #lostConnections: readonly number[];
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
    this.#line.restore(options.waiters ?? []);
    this.#line.takeChangedConnections();
    this.#traffic = new Traffic({
      cell: this.#cell,
      backlog: this.#backlog,
      groups: this.#groups,
      line: this.#line,
      isConnected: options.isConnected,
    });
    this.#desk = new GroupDesk({
      backlog: this.#backlog,
      groups: this.#groups,
      deadLetters: this.#deadLetters,
      line: this.#line,
      traffic: this.#traffic,
      checkpoints: this.#checkpoints,
    });
  }

  /** Decides one operation. What it means for requests that wait is in `takeEffects`. */
  apply(operation: Operation, moment: Moment, origin?: Origin): Outcome {
    // Waiters whose time is over must not stand in the way.
    this.#advance(moment);
    const outcome = this.#decide(operation, moment, origin);
    this.#groups.applyRetention(moment.nowMs);
    this.#traffic.serve(moment);
    this.#finishDrain(moment.nowMs);
    return outcome;
  }

  /** Does what is due though nobody asks: ends leases and delays, takes back promised room, ends a drain or an idle life. */
  tick(moment: Moment): void {
    this.#advance(moment);
    this.#expireIdle(moment.nowMs);
  }

  /** Forgets the waiting requests of a connection that closed, and ends its leases (rule LS9); others may be served now. */
  disconnect(connection: number, moment: Moment, isClean: boolean): void {
    this.#meetDeadlines(moment.nowMs);
    for (const waiter of this.#line.ofConnection(connection)) this.#line.remove(waiter);
    this.#endLeasesOf(connection, isClean, moment.nowMs);
    this.#traffic.serve(moment);
    this.#finishDrain(moment.nowMs);
  }

  get record(): ChannelRecord | undefined {
    return this.#cell.get();
  }

  /** Depth, bytes, utilisation and waiters as they are now; undefined where there is no channel. */
  get pressure(): PressureState | undefined {
    const record = this.#cell.get();
    if (record === undefined || record.state === "deleted") return undefined;
    const { depth, bytes } = this.#backlog;
    return { depth, bytes, utilization: computeUtilization(depth, bytes, record.limits), waiters: this.#line.size };
  }

  /** When `tick` has to be called though nobody asks. */
  get nextAlarmAtMs(): number | undefined {
    const record = this.#cell.get();
    if (record === undefined) return undefined;
    const times = [lifeCycle.computeNextAlarm(record, () => this.#readLastUseMs()), this.nextDeliveryAtMs];
    return times.reduce((least, atMs) => (atMs === undefined || (least !== undefined && least <= atMs) ? least : atMs));
  }

  /** When a get that waits may be served because a lease ends or a delay is over; nobody else has to be told of those. */
  get nextDeliveryAtMs(): number | undefined {
    return this.#groups.nextDueAtMs(this.#line.waitingGroups());
  }

  /** When the oldest promise of room ends; the object is awake then, so a timer serves. */
  get nextReservationEndMs(): number | undefined {
    return this.#line.firstReservation()?.reservedUntilMs;
  }

  /** Whether all storage can be erased: the tombstone has done its work. */
  isForgotten(nowMs: number): boolean {
    const record = this.#cell.get();
    return record !== undefined && lifeCycle.isForgotten(record, nowMs);
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
    const parts = { channel, delivery, groups, deadLetters, checkpoints };
    if (changes === undefined && Object.values(parts).every((part) => part === undefined)) return undefined;
    return { ...(changes ?? NO_BACKLOG_CHANGES), ...parts };
  }

  #decide(operation: Operation, moment: Moment, origin: Origin | undefined): Outcome {
    if (operation.type === "create") return this.#create(operation.settings, moment);
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

  #decideOnRecord(operation: Exclude<Operation, { type: "create" }>, moment: Moment, origin: Origin | undefined): Outcome {
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
      case "browse":
      case "read":
      case "remove":
      case "remove-by-id":
      case "purge":
        return this.#decideOnMessages(operation);
      default:
        return this.#decideAtDesk(record, operation, moment);
    }
  }

  #decideAtDesk(record: ChannelRecord, operation: DeskOperation, moment: Moment): Outcome {
    const outcome = this.#desk.decide(record, operation, moment);
    if (outcome.type === "settled") this.#traffic.noteDrained(outcome.counts.ack, moment.nowMs);
    return outcome;
  }

  #retentionInForce(): ChannelRetention {
    const record = this.#cell.get();
    const settings = record?.settings ?? DEFAULT_SETTINGS;
    const { retention, maxAgeMs, whenNoGroups, delivery } = settings;
    return { retention, maxAgeMs, whenNoGroups, delivery, limits: record?.limits ?? settings };
  }

  /** Removes one message, for every group. */
  #remove(offset: number): boolean {
    if (!this.#backlog.isKept(offset)) return false;
    let isRemoved = false;
    for (const { delivery, view } of this.#groups.all()) {
      const isFinished = delivery.finish(offset, "removed");
      // The group of a queue has removed it from the channel; where groups have views, it is still there.
      if (view === undefined) isRemoved = isFinished;
    }
    return isRemoved || this.#backlog.finish(offset, "removed");
  }

  /** Operations on single messages and on all of them; the channel exists. */
  #decideOnMessages(operation: OperationOf<MessageOperation>): Outcome {
    switch (operation.type) {
      case "browse": {
        const { fromOffset, limit } = operation;
        const page = browse(this.#backlog, { fromOffset, messagesMax: limit, bytesMax: LIMITS.replyBytesMax });
        return { type: "page", messages: page.messages, controls: page.controls, nextOffset: page.nextOffset ?? null };
      }
      case "read": {
        const message = this.#backlog.read(operation.offset);
        return message === undefined
          ? refused({ kind: "unknown-message", offset: operation.offset })
          : { type: "message", message };
      }
      case "remove": {
        const { offset } = operation;
        return this.#remove(offset) ? { type: "removed", offset } : refused({ kind: "unknown-message", offset });
      }
      case "remove-by-id": {
        const { messageId } = operation;
        const offset = this.#backlog.findMessageId(messageId);
        if (offset === undefined || !this.#remove(offset)) return refused({ kind: "unknown-message", messageId });
        return { type: "removed", offset };
      }
      case "purge":
        return { type: "purged", removedMessages: this.#purge() };
      default:
        return assertNever(operation);
    }
  }

  #purge(): number {
    const removed = this.#backlog.purge();
    for (const { delivery, view } of this.#groups.all()) {
      delivery.clear();
      view?.notePurge();
    }
    return removed;
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
  }

  #patch(record: ChannelRecord, patch: ChannelPatch, nowMs: number): Outcome {
    const { state, ...given } = patch;
    const { retention } = record.settings;
    if (given.retention !== undefined && given.retention !== retention) {
      return refused({ kind: "settings-conflict", conflicts: ["retention"], current: record.settings });
    }
    const resolved = resolveSettings(given, record.settings);
    if (!resolved.ok) return refused(resolved.refusal);
    const settings = resolved.value;
    const isResized = given.maxMessages !== undefined || given.maxBytes !== undefined;
    const limits = isResized ? { maxMessages: settings.maxMessages, maxBytes: settings.maxBytes } : record.limits;
    const isOther = limits.maxMessages !== record.limits.maxMessages || limits.maxBytes !== record.limits.maxBytes;
    if (isOther) this.#backlog.appendControl({ type: "resize", ...limits }, nowMs);
    const outbox = lifeCycle.postOutbox(record.outbox, nowMs);
    const isGiven = Object.keys(given).length > 0;
    if (isGiven || (state !== undefined && state !== record.state)) this.#backlog.noteChange();
    let patched: ChannelRecord = { ...record, settings, limits, outbox: isGiven ? outbox : record.outbox };
    if (state !== undefined && state !== record.state) {
      patched = { ...patched, state, drainUntilMs: null };
      if (state === "draining") this.#backlog.appendControl({ type: "close" }, nowMs);
    }
    if (state === "open" && record.drainUntilMs !== null) patched = { ...patched, drainUntilMs: null };
    this.#cell.set(patched);
    this.#refuseByState(patched);
    this.#finishDrain(nowMs);
    return { type: "patched", facts: this.#describe(this.#cell.get() ?? patched, nowMs) };
  }

  #delete(record: ChannelRecord, graceMs: number, nowMs: number): Outcome {
    if (graceMs === 0 || this.#groups.isDrained) return { type: "deleted", droppedMessages: this.#erase(record, nowMs, false) };
    const drainUntilMs = Math.min(record.drainUntilMs ?? Number.MAX_SAFE_INTEGER, nowMs + graceMs);
    if (record.state !== "draining") this.#backlog.appendControl({ type: "close" }, nowMs);
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
    if (record?.state !== "draining" || !this.#groups.isDrained) return;
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
    this.#meetDeadlines(moment.nowMs);
    this.#traffic.serve(moment);
    this.#finishDrain(moment.nowMs);
  }

  /** What ends by time ends, wherever the alarm is: leases, delays, the grace of a deletion. */
  #meetDeadlines(nowMs: number): void {
    for (const lost of this.#lostConnections) this.#endLeasesOf(lost, false, nowMs);
    this.#lostConnections = [];
    for (const { settlement } of this.#groups.all()) settlement.advance(nowMs);
    this.#groups.applyRetention(nowMs);
    const record = this.#cell.get();
    if (record?.state === "draining" && record.drainUntilMs !== null && record.drainUntilMs <= nowMs)
      this.#erase(record, nowMs, false);
  }

  #endLeasesOf(connection: number, isClean: boolean, nowMs: number): void {
    for (const { settlement } of this.#groups.all()) settlement.endLeasesOf(connection, { isClean, nowMs });
  }

  #expireIdle(nowMs: number): void {
    const record = this.#cell.get();
    if (record === undefined || record.state === "deleted" || record.settings.expireAfterIdleMs === null) return;
    const isInUse = this.#backlog.hasChanges || this.#backlog.depth > 0 || this.#line.size > 0;
    if (isInUse) this.#inUseAtMs = nowMs;
    const idleSinceMs = Math.max(this.#readLastUseMs(), record.createdAtMs);
    if (idleSinceMs + record.settings.expireAfterIdleMs <= nowMs) this.#erase(record, nowMs, true);
  }

  #readLastUseMs(): number {
    return Math.max(this.#backlog.writtenAtMs, this.#checkpoints.readChangedAtMs(), this.#inUseAtMs);
  }

  /** Ends the life and returns how many messages were still there. */
  #erase(record: ChannelRecord, nowMs: number, isExpired: boolean): number {
    const droppedMessages = this.#backlog.depth;
    const ended = lifeCycle.endLife(record, { nowMs, droppedMessages, isExpired });
    this.#traffic.refuseWaiting("put", lifeCycle.refuseDeleted(ended));
    this.#traffic.refuseWaiting("get", lifeCycle.refuseDeleted(ended));
    this.#restart();
    this.#cell.set(ended);
    return droppedMessages;
  }

  /** What the depth of a queue consists of. */
  #describeDelivery(nowMs: number): ChannelFacts["delivery"] {
    const found = this.#groups.find();
    if (this.#retentionInForce().retention !== "queue" || !found.ok) return null;
    const { ready, leased, retrying, quarantined, isLookAheadExhausted } = this.#groups.describe(found.value, nowMs);
    return { ready, leased, retrying, quarantined, isLookAheadExhausted };
  }

  #describe(record: ChannelRecord, nowMs: number): ChannelFacts {
    const { depth, bytes, segments, headOffset, nextOffset, putMessages, fates } = this.#backlog;
    const { limits } = record;
    return {
      life: record.life,
      state: record.state,
      createdAtMs: record.createdAtMs,
      drainUntilMs: record.drainUntilMs,
      settings: record.settings,
      limits,
      depth,
      bytes,
      segments,
      utilization: computeUtilization(depth, bytes, limits),
      isEmpty: depth === 0,
      isFull: depth >= limits.maxMessages || bytes >= limits.maxBytes,
      firstOffset: headOffset,
      nextOffset,
      waiters: this.#line.size,
      waiting: this.#line.counts,
      delivery: this.#describeDelivery(nowMs),
      groups: this.#groups.size,
      deadLetters: this.#deadLetters.totals,
      counts: { put: putMessages, acked: putMessages - depth - fates.removed - fates.deadLettered - fates.dropped, ...fates },
    };
  }
}
