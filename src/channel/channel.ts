// The channel: decides every operation. Synchronous and without I/O: time and randomness come as a `Moment`, storage through the port.
// An operation is decided against this object before anything is stored, and a refusal changes nothing; `takeChanges` hands over what
// the commit has to write. If that write fails, the object is dropped and built again from the store, as on waking.
import { assertNever } from "../base/assert.ts";
import { computeUtilization, type PressureState } from "../protocol/description.ts";
import { LIMITS } from "../protocol/limits.ts";
import { DEFAULT_SETTINGS, findConflicts, resolveSettings, type ChannelPatch, type GivenSettings } from "../protocol/settings.ts";
import { Backlog, NO_BACKLOG_CHANGES } from "./backlog.ts";
import { Dedup } from "./dedup.ts";
import * as lifeCycle from "./life-cycle.ts";
import type { ChannelFacts, Effect, Moment, Operation, Origin, Outcome } from "./operation.ts";
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

export class Channel {
  readonly #name: string;
  readonly #cell: RecordCell;
  readonly #backlog: Backlog;
  readonly #line = new WaitLine();
  readonly #dedup: Dedup;
  readonly #traffic: Traffic;
  /** When the channel was last found in use; the next look at it comes an idle time later. */
  #inUseAtMs = 0;

  constructor(options: ChannelOptions) {
    this.#name = options.name;
    this.#cell = new RecordCell(options.store.readChannel());
    this.#backlog = new Backlog(options.store);
    this.#line.restore(options.waiters ?? []);
    this.#line.takeChangedConnections();
    this.#dedup = new Dedup(options.store);
    this.#traffic = new Traffic({
      cell: this.#cell,
      backlog: this.#backlog,
      line: this.#line,
      dedup: this.#dedup,
      isConnected: options.isConnected,
    });
  }

  /** Decides one operation. What it means for requests that wait is in `takeEffects`. */
  apply(operation: Operation, moment: Moment, origin?: Origin): Outcome {
    this.#meetDeadline(moment.nowMs);
    // Waiters whose time is over must not stand in the way.
    this.#traffic.serve(moment.nowMs);
    const outcome = this.#decide(operation, moment, origin);
    this.#traffic.serve(moment.nowMs);
    this.#finishDrain(moment.nowMs);
    return outcome;
  }

  /** Does what is due though nobody asks: takes back promised room, ends a drain or an idle life. */
  tick(moment: Moment): void {
    this.#meetDeadline(moment.nowMs);
    this.#traffic.serve(moment.nowMs);
    this.#expireIdle(moment.nowMs);
  }

  /** Forgets the waiting requests of a connection that closed; others may be served now. */
  disconnect(connection: number, moment: Moment): void {
    for (const waiter of this.#line.ofConnection(connection)) this.#line.remove(waiter);
    this.#traffic.serve(moment.nowMs);
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
    return record === undefined
      ? undefined
      : lifeCycle.computeNextAlarm(record, Math.max(this.#backlog.writtenAtMs, this.#inUseAtMs));
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
    const changes = this.#backlog.takeChanges(nowMs);
    const { idempotencyWindowMs } = this.#cell.get()?.settings ?? DEFAULT_SETTINGS;
    const { producers, idempotency } = this.#dedup.takeChanges(nowMs, idempotencyWindowMs);
    if ([changes, channel, producers, idempotency].every((part) => part === undefined)) return undefined;
    return { ...(changes ?? NO_BACKLOG_CHANGES), channel, producers, idempotency };
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
        return this.#traffic.get(record, operation, moment.nowMs, origin);
      case "cancel":
        if (origin !== undefined) this.#traffic.cancel(record, { ...origin, request: operation.request }, moment.nowMs);
        return { type: "cancelled" };
      case "describe":
        return { type: "described", facts: this.#describe(record) };
      case "patch":
        return this.#patch(record, operation.patch, moment.nowMs);
      case "delete":
        return this.#delete(record, operation.graceMs, moment.nowMs);
      default:
        return this.#decideOnMessages(operation);
    }
  }

  /** Operations on single messages and on all of them; the channel exists. */
  #decideOnMessages(operation: Extract<Operation, { type: "browse" | "read" | "remove" | "remove-by-id" | "purge" }>): Outcome {
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
        return this.#backlog.remove(offset) ? { type: "removed", offset } : refused({ kind: "unknown-message", offset });
      }
      case "remove-by-id": {
        const { messageId } = operation;
        const offset = this.#backlog.findMessageId(messageId);
        if (offset === undefined || !this.#backlog.remove(offset)) return refused({ kind: "unknown-message", messageId });
        return { type: "removed", offset };
      }
      case "purge":
        return { type: "purged", removedMessages: this.#backlog.purge() };
      default:
        return assertNever(operation);
    }
  }

  #create(given: GivenSettings, moment: Moment): Outcome {
    const record = this.#cell.get();
    if (record !== undefined && record.state !== "deleted") {
      const conflicts = findConflicts(given, record.settings);
      if (conflicts.length > 0) return refused({ kind: "settings-conflict", conflicts, current: record.settings });
      return { type: "confirmed", facts: this.#describe(record) };
    }
    const settings = resolveSettings(given, DEFAULT_SETTINGS);
    if (!settings.ok) return refused(settings.refusal);
    const created = lifeCycle.beginLife(settings.value, record, moment);
    this.#begin(created);
    return { type: "created", facts: this.#describe(created) };
  }

  #begin(record: ChannelRecord): void {
    const isFirst = this.#cell.get() === undefined;
    this.#cell.set(record);
    if (isFirst) return;
    this.#backlog.restart();
    this.#dedup.restart();
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
    return { type: "patched", facts: this.#describe(this.#cell.get() ?? patched) };
  }

  #delete(record: ChannelRecord, graceMs: number, nowMs: number): Outcome {
    if (graceMs === 0 || this.#backlog.depth === 0)
      return { type: "deleted", droppedMessages: this.#erase(record, nowMs, false) };
    const drainUntilMs = Math.min(record.drainUntilMs ?? Number.MAX_SAFE_INTEGER, nowMs + graceMs);
    if (record.state !== "draining") this.#backlog.appendControl({ type: "close" }, nowMs);
    const draining: ChannelRecord = { ...record, state: "draining", drainUntilMs };
    this.#cell.set(draining);
    this.#refuseByState(draining);
    return { type: "deleting", facts: this.#describe(draining) };
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

  /** The grace of a deletion is over, wherever the alarm is. */
  #meetDeadline(nowMs: number): void {
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
    this.#backlog.restart();
    this.#dedup.restart();
    this.#cell.set(ended);
    return droppedMessages;
  }

  #describe(record: ChannelRecord): ChannelFacts {
    const { depth, bytes, segments, headOffset, nextOffset, putMessages, removedMessages } = this.#backlog;
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
      counts: { put: putMessages, acked: putMessages - depth - removedMessages, removed: removedMessages },
    };
  }
}
