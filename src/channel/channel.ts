// The channel: decides every operation. Synchronous and without I/O: time and randomness come as a `Moment`, storage through the port.
// An operation is decided against this object before anything is stored, and a refusal changes nothing; `takeChanges` hands over what
// the commit has to write. If that write fails, the object is dropped and built again from the store, as on waking.
import { assertNever } from "../base/assert.ts";
import { computeUtilization, type PressureState } from "../protocol/description.ts";
import { LIMITS } from "../protocol/limits.ts";
import { messageBytes } from "../protocol/message.ts";
import { DEFAULT_SETTINGS, findConflicts, resolveSettings, type ChannelPatch, type GivenSettings } from "../protocol/settings.ts";
import type { Size } from "./admission.ts";
import { Backlog, NO_BACKLOG_CHANGES } from "./backlog.ts";
import * as lifeCycle from "./life-cycle.ts";
import { DeadLetters } from "./dead-letters.ts";
import { Delivery } from "./delivery.ts";
import type { ChannelFacts, Effect, Moment, Operation, OperationOf, Origin, Outcome, QuarantinedMessage } from "./operation.ts";
import { LeaseSealer } from "../protocol/lease-id.ts";
import { dropDeadLetters, redrive } from "./redrive.ts";
import { Settlement } from "./settlement.ts";
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

type MessageOperation = "browse" | "read" | "remove" | "remove-by-id" | "purge" | "quarantine";

export class Channel {
  readonly #name: string;
  readonly #cell: RecordCell;
  readonly #backlog: Backlog;
  readonly #delivery: Delivery;
  readonly #deadLetters: DeadLetters;
  readonly #settlement: Settlement;
  readonly #line = new WaitLine();
  readonly #traffic: Traffic;
  /** Connections that were gone when the channel woke: the grace of their leases begins with the first event (rule LS9). */
  #lost: readonly number[];
  /** When the channel was last found in use; the next look at it comes an idle time later. */
  #inUseAtMs = 0;

  constructor(options: ChannelOptions) {
    this.#name = options.name;
    this.#cell = new RecordCell(options.store.readChannel());
    this.#backlog = new Backlog(options.store);
    this.#delivery = new Delivery({
      backlog: this.#backlog,
      store: options.store.delivery,
      settings: () => (this.#cell.get()?.settings ?? DEFAULT_SETTINGS).delivery,
    });
    this.#deadLetters = new DeadLetters(options.store.deadLetters);
    this.#settlement = new Settlement({ backlog: this.#backlog, delivery: this.#delivery, deadLetters: this.#deadLetters });
    this.#lost = this.#delivery.leaseConnections.filter((connection) => !options.isConnected(connection));
    this.#line.restore(options.waiters ?? []);
    this.#line.takeChangedConnections();
    this.#traffic = new Traffic({
      cell: this.#cell,
      backlog: this.#backlog,
      delivery: this.#delivery,
      line: this.#line,
      isConnected: options.isConnected,
    });
  }

  /** Decides one operation. What it means for requests that wait is in `takeEffects`. */
  apply(operation: Operation, moment: Moment, origin?: Origin): Outcome {
    this.#meetDeadlines(moment.nowMs);
    // Waiters whose time is over must not stand in the way.
    this.#traffic.serve(moment);
    const outcome = this.#decide(operation, moment, origin);
    this.#traffic.serve(moment);
    this.#finishDrain(moment.nowMs);
    return outcome;
  }

  /** Does what is due though nobody asks: ends leases and delays, takes back promised room, ends a drain or an idle life. */
  tick(moment: Moment): void {
    this.#meetDeadlines(moment.nowMs);
    this.#traffic.serve(moment);
    this.#finishDrain(moment.nowMs);
    this.#expireIdle(moment.nowMs);
  }

  /** Forgets the waiting requests of a connection that closed, and ends its leases (rule LS9); others may be served now. */
  disconnect(connection: number, moment: Moment, isClean: boolean): void {
    this.#meetDeadlines(moment.nowMs);
    for (const waiter of this.#line.ofConnection(connection)) this.#line.remove(waiter);
    this.#settlement.endLeasesOf(connection, { isClean, nowMs: moment.nowMs });
    this.#traffic.serve(moment);
    this.#finishDrain(moment.nowMs);
  }

  /** The highest number of a connection that stored leases belong to: no other connection may be given it. */
  get lastLeaseConnection(): number {
    return Math.max(0, ...this.#delivery.leaseConnections);
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
    const lastChangeAtMs = Math.max(this.#backlog.writtenAtMs, this.#inUseAtMs);
    const times = [lifeCycle.computeNextAlarm(record, lastChangeAtMs), this.nextDeliveryAtMs];
    return times.reduce((least, atMs) => (atMs === undefined || (least !== undefined && least <= atMs) ? least : atMs));
  }

  /** When a get that waits may be served because a lease ends or a delay is over; nobody else has to be told of those. */
  get nextDeliveryAtMs(): number | undefined {
    return this.#line.firstGet() === undefined ? undefined : this.#delivery.nextDueAtMs;
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
    const delivery = this.#delivery.takeChanges();
    const deadLetters = this.#deadLetters.takeChanges();
    const changes = this.#backlog.takeChanges(nowMs);
    if ([changes, channel, delivery, deadLetters].every((part) => part === undefined)) return undefined;
    return { ...(changes ?? NO_BACKLOG_CHANGES), channel, delivery, deadLetters };
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
      case "settle":
        return this.#settle(record, operation, moment);
      case "cancel":
        if (origin !== undefined) this.#traffic.cancel(record, { ...origin, request: operation.request }, moment.nowMs);
        return { type: "cancelled" };
      case "describe":
        return { type: "described", facts: this.#describe(record, moment.nowMs) };
      case "patch":
        return this.#patch(record, operation.patch, moment.nowMs);
      case "delete":
        return this.#delete(record, operation.graceMs, moment.nowMs);
      case "dead-letters": {
        const { letters, nextOffset } = this.#deadLetters.find({ ...operation, nowMs: moment.nowMs });
        return { type: "dead-letter-page", letters, nextOffset: nextOffset ?? null };
      }
      case "drop-dead-letters":
        return dropDeadLetters(this.#deadLetters, operation, moment.nowMs);
      case "release-quarantine":
      case "drop-quarantine":
        return this.#endQuarantine(operation);
      case "redrive":
        return this.#redrive(record, operation, moment.nowMs);
      default:
        return this.#decideOnMessages(operation);
    }
  }

  #redrive(record: ChannelRecord, operation: OperationOf<"redrive">, nowMs: number): Outcome {
    const hasRoomFor = (size: Size): boolean => this.#traffic.hasRoomFor(record, size);
    const parts = { backlog: this.#backlog, deadLetters: this.#deadLetters, hasRoomFor };
    return redrive(parts, { record, operation, nowMs });
  }

  #settle(record: ChannelRecord, operation: OperationOf<"settle">, moment: Moment): Outcome {
    const sealer = new LeaseSealer(record.leaseSecret);
    const outcome = this.#settlement.settle(operation.entries, { sealer, settings: record.settings.delivery, moment });
    if (outcome.type === "settled") this.#traffic.noteDrained(outcome.counts.ack, moment.nowMs);
    return outcome;
  }

  /** Operations on single messages and on all of them; the channel exists. */
  #decideOnMessages(operation: OperationOf<MessageOperation>): Outcome {
    switch (operation.type) {
      case "browse": {
        const { fromOffset, limit } = operation;
        const page = this.#backlog.browse({ fromOffset, messagesMax: limit, bytesMax: LIMITS.replyBytesMax });
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
        return this.#delivery.finish(offset, "removed")
          ? { type: "removed", offset }
          : refused({ kind: "unknown-message", offset });
      }
      case "remove-by-id": {
        const { messageId } = operation;
        const offset = this.#backlog.findMessageId(messageId);
        if (offset === undefined || !this.#delivery.finish(offset, "removed"))
          return refused({ kind: "unknown-message", messageId });
        return { type: "removed", offset };
      }
      case "purge":
        this.#delivery.clear();
        return { type: "purged", removedMessages: this.#backlog.purge() };
      case "quarantine":
        return this.#listQuarantine(operation.limit);
      default:
        return assertNever(operation);
    }
  }

  #listQuarantine(limit: number): Outcome {
    const messages: QuarantinedMessage[] = [];
    let bytes = 0;
    for (const { offset, attempts } of this.#delivery.findQuarantined({}).slice(0, limit)) {
      const message = this.#backlog.read(offset);
      if (message === undefined) continue;
      bytes += messageBytes(message);
      if (messages.length > 0 && bytes > LIMITS.replyBytesMax) break;
      messages.push({ message, attempts });
    }
    return { type: "quarantine", messages };
  }

  #endQuarantine(operation: OperationOf<"release-quarantine" | "drop-quarantine">): Outcome {
    const { offset } = operation;
    const found = this.#delivery.findQuarantined(operation);
    if (found.length === 0 && offset !== undefined) return refused({ kind: "unknown-message", offset });
    for (const message of found) {
      if (operation.type === "release-quarantine") this.#delivery.releaseQuarantined(message);
      else this.#delivery.finish(message.offset, "removed");
    }
    return { type: "moved", moved: found.length, isMore: false };
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
    this.#delivery.clear();
    this.#deadLetters.clear();
    this.#backlog.restart();
  }

  #patch(record: ChannelRecord, patch: ChannelPatch, nowMs: number): Outcome {
    const { state, ...given } = patch;
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
    if (graceMs === 0 || this.#backlog.depth === 0)
      return { type: "deleted", droppedMessages: this.#erase(record, nowMs, false) };
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
    if (record?.state !== "draining" || this.#backlog.depth > 0) return;
    if (record.drainUntilMs !== null) {
      this.#erase(record, nowMs, false);
      return;
    }
    const closed: ChannelRecord = { ...record, state: "closed" };
    this.#cell.set(closed);
    this.#refuseByState(closed);
  }

  /** What ends by time ends, wherever the alarm is: leases, delays, the grace of a deletion. */
  #meetDeadlines(nowMs: number): void {
    for (const connection of this.#lost) this.#settlement.endLeasesOf(connection, { isClean: false, nowMs });
    this.#lost = [];
    this.#settlement.advance(nowMs);
    const record = this.#cell.get();
    if (record?.state === "draining" && record.drainUntilMs !== null && record.drainUntilMs <= nowMs)
      this.#erase(record, nowMs, false);
  }

  #expireIdle(nowMs: number): void {
    const record = this.#cell.get();
    if (record === undefined || record.state === "deleted" || record.settings.expireAfterIdleMs === null) return;
    const isInUse = this.#backlog.hasChanges || this.#backlog.depth > 0 || this.#line.size > 0;
    if (isInUse) this.#inUseAtMs = nowMs;
    const idleSinceMs = Math.max(this.#backlog.writtenAtMs, this.#inUseAtMs, record.createdAtMs);
    if (idleSinceMs + record.settings.expireAfterIdleMs <= nowMs) this.#erase(record, nowMs, true);
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

  #describeDelivery(depth: number, nowMs: number): ChannelFacts["delivery"] {
    const { leased, quarantined, isLookAheadExhausted } = this.#delivery;
    const retrying = this.#delivery.countRetrying(nowMs);
    return { ready: depth - leased - retrying - quarantined, leased, retrying, quarantined, isLookAheadExhausted };
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
      delivery: this.#describeDelivery(depth, nowMs),
      deadLetters: this.#deadLetters.totals,
      counts: { put: putMessages, acked: putMessages - depth - fates.removed - fates.deadLettered, ...fates },
    };
  }
}
