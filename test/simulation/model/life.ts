// The life of a channel: SPEC section LC, word by word.
import type { ChannelFacts, Moment, Outcome } from "../../../src/channel/operation.ts";
import type { ChannelRecord } from "../../../src/channel/store.ts";
import { LIMITS } from "../../../src/protocol/limits.ts";
import { messageBytes } from "../../../src/protocol/message.ts";
import { DEFAULT_SETTINGS, type ChannelPatch, type GivenSettings, type Settings } from "../../../src/protocol/settings.ts";
import { NOTHING_BESIDE } from "./beside.ts";
import type { ModelDelivery } from "./delivery.ts";
import { groupsOf } from "./group-book.ts";
import { firstGroups, type ModelGroups } from "./groups.ts";
import { type Book, deletedRefusal, faultOf, invalid, type ModelState, refusalOfPut, refused, sum } from "./state.ts";
import type { ModelStreams } from "./streams.ts";
import type { ModelTraffic } from "./traffic.ts";
import type { ModelWatches } from "./watches.ts";

export class ModelLife {
  readonly #book: Book;
  readonly #traffic: ModelTraffic;
  readonly #delivery: ModelDelivery;
  readonly #groups: ModelGroups;
  readonly #streams: ModelStreams;
  readonly #watches: ModelWatches;

  constructor(parts: {
    readonly book: Book;
    readonly traffic: ModelTraffic;
    readonly delivery: ModelDelivery;
    readonly groups: ModelGroups;
    readonly streams: ModelStreams;
    readonly watches: ModelWatches;
  }) {
    this.#book = parts.book;
    this.#traffic = parts.traffic;
    this.#delivery = parts.delivery;
    this.#groups = parts.groups;
    this.#streams = parts.streams;
    this.#watches = parts.watches;
  }

  create(given: GivenSettings, moment: Moment): Outcome {
    const { record } = this.#book.state;
    if (record !== undefined && record.state !== "deleted") {
      const { delivery, marks, ...rest } = given;
      const conflicts = [
        ...findDifferent(rest, record.settings, ""),
        ...findDifferent(delivery ?? {}, record.settings.delivery, "delivery."),
        ...findDifferent(marks ?? {}, record.settings.marks, "marks."),
      ];
      if (conflicts.length > 0) return refused({ kind: "settings-conflict", conflicts, current: record.settings });
      return this.described("confirmed", moment.nowMs);
    }
    const settings = layOver(DEFAULT_SETTINGS, given);
    const fault = faultOf(settings);
    if (fault !== undefined) return invalid(fault);
    this.begin(settings, moment);
    return this.described("created", moment.nowMs);
  }

  begin(settings: Settings, { nowMs, drawLife }: Moment): void {
    const record: ChannelRecord = {
      life: drawLife(),
      leaseSecret: "",
      state: "open",
      settings,
      limits: { maxMessages: settings.maxMessages, maxBytes: settings.maxBytes },
      createdAtMs: nowMs,
      drainUntilMs: null,
      deletedAtMs: null,
      droppedMessages: 0,
      isExpired: false,
      outbox: this.#nextOutbox(nowMs),
    };
    this.#clear({ record, groups: firstGroups(settings.retention, nowMs), changedAtMs: nowMs });
  }

  patch(record: ChannelRecord, { state, ...given }: ChannelPatch, nowMs: number): Outcome {
    const { retention } = record.settings;
    if (given.retention !== undefined && given.retention !== retention)
      return refused({ kind: "settings-conflict", conflicts: ["retention"], current: record.settings });
    const settings = layOver(record.settings, given);
    const fault = faultOf(settings);
    if (fault !== undefined) return invalid(fault);
    const isResized = given.maxMessages !== undefined || given.maxBytes !== undefined;
    const limits = isResized ? { maxMessages: settings.maxMessages, maxBytes: settings.maxBytes } : record.limits;
    if (!isSame(limits, record.limits)) this.#book.appendControl({ type: "resize", ...limits }, nowMs);
    const isGiven = Object.keys(given).length > 0;
    const outbox = isGiven ? this.#nextOutbox(nowMs) : record.outbox;
    const isMoved = state !== undefined && state !== record.state;
    if (isMoved && state === "draining") this.#book.appendControl({ type: "close" }, nowMs);
    const moved = isMoved ? { state, drainUntilMs: null } : {};
    this.#book.change({ record: { ...record, settings, limits, outbox, ...moved } });
    if (isGiven || isMoved) this.#book.change({ changedAtMs: nowMs });
    this.#groups.applyRetention(nowMs);
    this.#refuseByState();
    this.finishDrain(nowMs);
    return this.described("patched", nowMs);
  }

  delete(record: ChannelRecord, graceMs: number, nowMs: number): Outcome {
    if (graceMs === 0 || this.#isDrained) return { type: "deleted", droppedMessages: this.erase(nowMs, false) };
    if (record.state !== "draining") this.#book.appendControl({ type: "close" }, nowMs);
    const drainUntilMs = Math.min(record.drainUntilMs ?? Infinity, nowMs + graceMs);
    this.#book.change({ record: { ...record, state: "draining", drainUntilMs } });
    this.#refuseByState();
    return this.described("deleting", nowMs);
  }

  finishDrain(nowMs: number): void {
    const { record } = this.#book.state;
    if (record?.state !== "draining" || !this.#isDrained) return;
    if (record.drainUntilMs !== null) {
      this.erase(nowMs, false);
      return;
    }
    this.#book.change({ record: { ...record, state: "closed" } });
    this.#refuseByState();
  }

  meetDeadline(nowMs: number): void {
    const { record } = this.#book.state;
    if (record?.state === "draining" && record.drainUntilMs !== null && record.drainUntilMs <= nowMs) this.erase(nowMs, false);
  }

  expireIdle(nowMs: number): void {
    const { record, changedAtMs } = this.#book.state;
    if (record === undefined || record.state === "deleted" || record.settings.expireAfterIdleMs === null) return;
    if (!this.#isIdle) this.#book.note({ inUseAtMs: nowMs });
    const { inUseAtMs, checkpointsChangedAtMs } = this.#book.state;
    const idleSinceMs = Math.max(changedAtMs, checkpointsChangedAtMs, inUseAtMs, record.createdAtMs);
    if (idleSinceMs + record.settings.expireAfterIdleMs <= nowMs) this.erase(nowMs, true);
  }

  erase(nowMs: number, isExpired: boolean): number {
    const droppedMessages = this.#book.depth + this.#book.state.scheduled.length;
    const outbox = this.#nextOutbox(nowMs);
    const ended = { droppedMessages, isExpired, outbox, state: "deleted", drainUntilMs: null, deletedAtMs: nowMs } as const;
    const record: ChannelRecord = { ...this.#book.existing, ...ended };
    this.#clear({ record, groups: [], changedAtMs: nowMs });
    this.#traffic.refuseWaiting("put", deletedRefusal(record));
    this.#watches.endAll(deletedRefusal(record));
    this.#traffic.refuseWaiting("get", deletedRefusal(record));
    this.#streams.endAll(deletedRefusal(record));
    return droppedMessages;
  }

  settleOutbox(version: number, isDone: boolean, nowMs: number): void {
    const { record } = this.#book.state;
    if (record?.outbox.version !== version) return;
    const { attempts } = record.outbox;
    const nextAttemptAtMs = nowMs + Math.min(3_600_000, 1000 * 2 ** attempts);
    const outbox = isDone
      ? { ...record.outbox, isPending: false, attempts: 0 }
      : { ...record.outbox, attempts: attempts + 1, nextAttemptAtMs };
    this.#book.change({ record: { ...record, outbox } });
  }

  /** When the alarm has to ring at the latest. */
  nextAlarmAtMs(nowMs: number, isWithoutIdle: boolean): number | undefined {
    const { record, lines, puts, changedAtMs, checkpointsChangedAtMs, inUseAtMs, scheduled } = this.#book.state;
    if (record === undefined) return undefined;
    const { outbox, state, drainUntilMs, deletedAtMs, settings } = record;
    const times: number[] = [];
    if (outbox.isPending) times.push(outbox.nextAttemptAtMs);
    if (state === "draining" && drainUntilMs !== null) times.push(drainUntilMs);
    if (state === "deleted" && !outbox.isPending) times.push((deletedAtMs ?? 0) + LIMITS.tombstoneMs);
    // A channel in use is not idle: when it is looked at again does not matter.
    if (this.#isIdle && !isWithoutIdle && state !== "deleted" && settings.expireAfterIdleMs !== null)
      times.push(Math.max(changedAtMs, checkpointsChangedAtMs, inUseAtMs, record.createdAtMs) + settings.expireAfterIdleMs);
    times.push(...scheduled.map(({ dueAtMs }) => dueAtMs));
    times.push(...lines.flatMap((group) => this.#deliveryTimes(group)).filter((atMs) => atMs > nowMs));
    // TL5
    if (puts.length > 0) times.push(...this.#firstExpiries().filter((atMs) => atMs > nowMs));
    return times.length === 0 ? undefined : Math.min(...times);
  }

  /** Whether nothing has to be remembered any more (LC5). */
  isForgotten(nowMs: number): boolean {
    const { record } = this.#book.state;
    return record?.state === "deleted" && !record.outbox.isPending && nowMs >= (record.deletedAtMs ?? 0) + LIMITS.tombstoneMs;
  }

  described(type: "created" | "confirmed" | "described" | "patched" | "deleting", nowMs: number): Outcome {
    return { type, facts: this.describe(nowMs) };
  }

  describe(nowMs: number): ChannelFacts {
    const { existing: record, depth, bytes, headOffset, waiters } = this.#book;
    const { puts, promises, put, acked, removed, deadLettered, dropped, expired } = this.#book.state;
    const { nextOffset, deadLetters, groups, subscriptions } = this.#book.state;
    const members = subscriptions.filter(({ type }) => type === "member").length;
    const { limits } = record;
    const scheduled = this.#describeScheduled();
    const [heldMessages, heldBytes] = [depth + scheduled.messages, bytes + scheduled.bytes];
    return {
      life: record.life,
      state: record.state,
      createdAtMs: record.createdAtMs,
      drainUntilMs: record.drainUntilMs,
      settings: record.settings,
      limits,
      depth,
      bytes,
      segments: 0,
      utilization: Math.round(Math.max(heldMessages / limits.maxMessages, heldBytes / limits.maxBytes) * 10_000) / 10_000,
      isEmpty: depth === 0,
      isFull: heldMessages >= limits.maxMessages || heldBytes >= limits.maxBytes,
      firstOffset: headOffset,
      nextOffset,
      waiters: waiters.length,
      waiting: { gets: this.#book.gets.length, puts: puts.length + promises.length },
      subscriptions: { members, readers: subscriptions.length - members },
      delivery: this.#describeDelivery(record, nowMs),
      deadLetters: { messages: deadLetters.length, bytes: sum(deadLetters.map(({ message }) => messageBytes(message))) },
      redrive: null,
      groups: groups.length,
      scheduled,
      suggestedLocationHint: null,
      counts: { put, acked, removed, deadLettered, dropped, expired },
    };
  }

  #describeDelivery({ settings }: ChannelRecord, nowMs: number): ChannelFacts["delivery"] {
    const [queue] = groupsOf(this.#book);
    if (settings.retention !== "queue" || queue === undefined) return null;
    const { ready, leased, retrying, quarantined, isLookAheadExhausted } = queue.describe(nowMs);
    return { ready, leased, retrying, quarantined, isLookAheadExhausted };
  }

  #describeScheduled(): ChannelFacts["scheduled"] {
    const { scheduled } = this.#book.state;
    const times = scheduled.map(({ dueAtMs }) => dueAtMs);
    const nextAtMs = times.length === 0 ? null : Math.min(...times);
    return { messages: scheduled.length, bytes: sum(scheduled.map((entry) => entry.bytes)), nextAtMs };
  }

  /** Whether no group has anything left to do (GP8), and nothing is to come (SD10). */
  get #isDrained(): boolean {
    if (this.#book.state.scheduled.length > 0) return false;
    if (this.#book.existing.settings.retention !== "log") return this.#book.depth === 0;
    return groupsOf(this.#book).every(({ depth }) => depth === 0);
  }

  get #isIdle(): boolean {
    const { scheduled, subscriptions, watches } = this.#book.state;
    // SB9 and BP5
    const isInUse = this.#book.waiters.length > 0 || subscriptions.length > 0 || watches.length > 0;
    return this.#book.depth === 0 && scheduled.length === 0 && !isInUse;
  }

  #deliveryTimes(group: number): number[] {
    const { messages } = groupsOf(this.#book).find(({ id }) => id === group) ?? { messages: [] };
    return messages.flatMap(({ lease, state, isQuarantined, dueAtMs }) => {
      if (lease !== undefined) return [lease.deadlineMs];
      return state === "back" && !isQuarantined ? [dueAtMs] : [];
    });
  }

  #firstExpiries(): number[] {
    return groupsOf(this.#book).flatMap(({ messages: [first] }) => {
      const atMs = first && this.#delivery.expiresAtMs(first);
      return atMs === undefined ? [] : [atMs];
    });
  }

  #refuseByState(): void {
    const record = this.#book.existing;
    const put = refusalOfPut(record);
    if (put !== undefined) {
      this.#traffic.refuseWaiting("put", put);
      this.#watches.endAll(put);
    }
    if (record.state !== "closed") return;
    this.#traffic.refuseWaiting("get", { kind: "channel-closed" });
    this.#streams.endAll({ kind: "channel-closed" });
  }

  /** What a life leaves: nothing but its record. */
  #clear(change: Partial<ModelState>): void {
    const { groups, deletedGroups } = this.#book.state;
    const nothing = { ...NOTHING_BESIDE, records: [], nextOffset: 1, deadLetters: [], latestPutAtMs: 0, isTimeOrdered: true };
    const counts = { put: 0, acked: 0, removed: 0, deadLettered: 0, dropped: 0, expired: 0 };
    this.#book.change({
      ...nothing,
      ...counts,
      deletedGroups: [...deletedGroups, ...groups.map(({ id }) => id)],
      ...change,
    });
  }

  #nextOutbox(nowMs: number): ChannelRecord["outbox"] {
    const version = Math.max(nowMs, (this.#book.state.record?.outbox.version ?? 0) + 1);
    return { version, isPending: true, attempts: 0, nextAttemptAtMs: nowMs };
  }
}

function layOver(base: Settings, given: GivenSettings): Settings {
  return {
    ...base,
    ...given,
    delivery: { ...base.delivery, ...given.delivery },
    marks: { ...base.marks, ...given.marks },
  } as Settings;
}

function findDifferent(given: object, current: object, prefix: string): string[] {
  const entries = Object.entries(given) as [keyof typeof current, unknown][];
  return entries.filter(([name, value]) => !isSame(value, current[name])).map(([name]) => `${prefix}${name as string}`);
}

function isSame(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
