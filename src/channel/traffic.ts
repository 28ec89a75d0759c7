// Puts and gets, and the requests that wait for messages or for room. SPEC sections PT (put), GT (get) and WT (waiting).
import { LIMITS } from "../protocol/limits.ts";
import { invalidRequest } from "../protocol/fault.ts";
import type { ControlRecord, PutMessage } from "../protocol/message.ts";
import type { Refusal } from "../protocol/problems.ts";
import type { ScheduledReceipt } from "../protocol/schedule.ts";
import { withProducer } from "../protocol/source.ts";
import { ceilingOf, decideGrowth, fits, measureBatch, refuseNeverFitting, type Capacity, type Size } from "./admission.ts";
import type { Backlog } from "./backlog.ts";
import { isEarly, type Dedup } from "./dedup.ts";
import { resolveDelays } from "./delays.ts";
import { DrainRate } from "./drain-rate.ts";
import type { Group, Groups } from "./groups.ts";
import type { IdleGroups } from "./idle-groups.ts";
import { refuseGet, refusePut } from "./life-cycle.ts";
import type { Effect, LeaseTerms, Moment, OperationOf, Origin, Outcome } from "./operation.ts";
import { offsetOf } from "./outcome-window.ts";
import { countOf, listMessages } from "./put-batch.ts";
import type { RecordCell } from "./record-cell.ts";
import type { Schedule } from "./schedule.ts";
import { selectionOf } from "./selection.ts";
import type { ChannelRecord } from "./store.ts";
import { NOTHING_GOT, takeMessages, type TakeTerms } from "./taking.ts";
import type { WaitLine, Waiter } from "./wait-line.ts";
import { refused } from "./refused.ts";

const NO_READERS_RETRY_AFTER_MS = 1000;

/** The times of a put without delays. */
const NOTHING_DUE: ReadonlyMap<number, number> = new Map();

/** What a put brings; `due` has the times of the messages that enter later, by their places. */
interface Batch {
  readonly operation: OperationOf<"put">;
  readonly due: ReadonlyMap<number, number>;
  readonly size: Size;
}

export interface TrafficOptions {
  readonly cell: RecordCell;
  readonly backlog: Backlog;
  readonly groups: Groups;
  readonly idleGroups: IdleGroups;
  readonly schedule: Schedule;
  readonly line: WaitLine;
  readonly dedup: Dedup;
  /** Tells the members of a group of control records that a get has passed (rule SB10). */
  readonly announce: (group: number, controls: readonly ControlRecord[]) => void;
  /** Whether a connection can still be told something: one that left takes nothing (G7). */
  readonly isConnected: (connection: number) => boolean;
}

export class Traffic {
  readonly #cell: RecordCell;
  readonly #backlog: Backlog;
  readonly #groups: Groups;
  readonly #idleGroups: IdleGroups;
  readonly #schedule: Schedule;
  readonly #line: WaitLine;
  readonly #dedup: Dedup;
  readonly #announce: TrafficOptions["announce"];
  readonly #isConnected: (connection: number) => boolean;
  readonly #drainRate = new DrainRate();
  #effects: Effect[] = [];

  constructor(options: TrafficOptions) {
    this.#cell = options.cell;
    this.#backlog = options.backlog;
    this.#groups = options.groups;
    this.#idleGroups = options.idleGroups;
    this.#schedule = options.schedule;
    this.#line = options.line;
    this.#dedup = options.dedup;
    this.#announce = options.announce;
    this.#isConnected = options.isConnected;
  }

  put(record: ChannelRecord, operation: OperationOf<"put">, nowMs: number, origin: Origin | undefined): Outcome {
    const promise = this.#takePromise(operation, origin);
    const judged = this.#dedup.judge(operation, this.#backlog.nextOffset, { nowMs, settings: record.settings });
    // DD10: behind a put of its connection that waits, it is judged when its body comes; until then it can only wait.
    if (judged !== undefined && !(this.#isBehind(operation, origin) && isEarly(operation, judged))) return judged;
    const batch = this.#examine(record, operation, nowMs);
    if ("kind" in batch) return refused(batch);
    if (operation.isPromised === true) {
      return promise === undefined
        ? refused({ kind: "promise-lost", id: origin?.request ?? 0 })
        : this.#putPromised(promise, record, batch, nowMs);
    }
    const earlier = this.#findWaiter(origin);
    if (earlier !== undefined) return refused({ kind: "request-in-use", id: earlier.request });
    const { size } = batch;
    const room = size.messages === 0 ? record.limits : this.#findRoomAtOnce(record, size, origin);
    if (room === undefined) return this.#waitForRoom(record, size, { nowMs, waitMs: operation.waitMs, origin });
    // DD8: a put that names its offset gets that one, and the record of the growth follows it.
    if (operation.expectedOffset === undefined) this.#grow(record, room, nowMs);
    const outcome = this.#append(record, batch, nowMs);
    if (operation.expectedOffset !== undefined) this.#grow(record, room, nowMs);
    return outcome;
  }

  /** Promises room for a put whose body the sender keeps until then. */
  reserve(record: ChannelRecord, operation: OperationOf<"reserve">, nowMs: number, origin: Origin | undefined): Outcome {
    const size: Size = { messages: operation.messages, bytes: operation.bytes };
    const refusal = refusePut(record) ?? refuseNeverFitting(size, ceilingOf(record));
    if (refusal !== undefined) return refused(refusal);
    const earlier = this.#findWaiter(origin);
    if (earlier !== undefined) return refused({ kind: "request-in-use", id: earlier.request });
    const room = this.#findRoomAtOnce(record, size, origin);
    if (origin === undefined || room === undefined) {
      return this.#waitForRoom(record, size, { nowMs, waitMs: operation.waitMs, origin });
    }
    this.#grow(record, room, nowMs);
    const reservedUntilMs = nowMs + LIMITS.reservationMs;
    const waiting = this.#wait({ ...origin, ...putWaiter(size), deadlineMs: reservedUntilMs, reservedUntilMs });
    return waiting.type === "waiting" ? { type: "room", reservedMs: LIMITS.reservationMs } : waiting;
  }

  get(record: ChannelRecord, operation: OperationOf<"get">, moment: Moment, origin: Origin | undefined): Outcome {
    const { lease } = operation;
    const refusal = refuseGet(record);
    if (refusal !== undefined) return refused(refusal);
    const max = operation.max ?? Math.max(1, operation.min ?? 1);
    const min = operation.min ?? Math.min(1, max);
    if (min > max) return refused(invalidRequest("/min", `Expected at most max, ${max}`));
    if (max === 0) return NOTHING_GOT;
    const earlier = this.#findWaiter(origin);
    if (earlier !== undefined) return refused({ kind: "request-in-use", id: earlier.request });
    const found = this.#groups.find(operation.group);
    if (!found.ok) return refused(found.refusal);
    const group = found.value;
    this.#idleGroups.noteUse(group, moment.nowMs);
    const never = this.#refuseNeverServed(record, group, { min, lease });
    if (never !== undefined) return refused(never);
    if (this.#line.firstGet(group.id) === undefined) {
      const taken = this.#take(record, group, { min, max, lease, connection: origin?.connection }, moment);
      if (taken !== undefined) return taken;
    }
    const waitMs = capWait(operation.waitMs);
    if (origin === undefined || waitMs === 0 || min === 0) return NOTHING_GOT;
    if (this.#isRunningDry(record, group, min)) {
      return refused({ kind: "channel-draining", drainUntilMs: record.drainUntilMs });
    }
    const deadlineMs = moment.nowMs + waitMs;
    const waiter = { ...origin, kind: "get", min, max, bytes: 0, deadlineMs, group: group.id } as const;
    return this.#wait({ ...waiter, ...(lease !== undefined && { lease }) });
  }

  /** Why messages can not be put along with a settle call that frees so much; undefined where they can. They never wait (rule LS12). */
  refuseRiders(
    record: ChannelRecord,
    { messages, freed }: { readonly messages: readonly PutMessage[]; readonly freed: Size },
    nowMs: number,
  ): Refusal | undefined {
    const refusal = refusePut(record);
    if (refusal !== undefined) return refusal;
    const size = measureBatch(messages, record.settings);
    if ("kind" in size) return size;
    const never = refuseNeverFitting(size, ceilingOf(record));
    if (never !== undefined || messages.length === 0) return never;
    const { retention } = record.settings;
    if (retention === "log") return undefined;
    // With interest other groups may still have to do with what this one acks.
    const room = retention === "queue" ? freed : { messages: 0, bytes: 0 };
    const { held } = this;
    const isFree = fits(size, { messages: held.messages - room.messages, bytes: held.bytes - room.bytes }, record.limits);
    const mayPut = isFree && this.#line.firstPut() === undefined && !this.#hasNoReaders(record);
    return mayPut ? undefined : this.#refuseFull(record, size, nowMs);
  }

  /** Why no dead letter can be put again: the state, or that nobody would get it. */
  refuseRedriving(record: ChannelRecord): Refusal | undefined {
    const noReaders = { kind: "no-readers", retryAfterMs: NO_READERS_RETRY_AFTER_MS } as const;
    return refusePut(record) ?? (this.#hasNoReaders(record) ? noReaders : undefined);
  }

  /** Ends a waiting request: it gets what it would have got without waiting. An answer that was sent already stands. */
  cancel(record: ChannelRecord | undefined, origin: Origin, nowMs: number): void {
    const waiter = this.#line.find(origin.connection, origin.request);
    if (waiter !== undefined) this.#end(waiter, this.#outcomeOfTimeout(record, waiter, nowMs));
  }

  /** Serves who waits, in order, until the first in each line can not be served. Ends: each step removes or promises to a waiter. */
  serve(moment: Moment): void {
    const { nowMs } = moment;
    const record = this.#cell.get();
    if (record === undefined || this.#line.size === 0) return;
    this.#endReservations(nowMs);
    for (;;) {
      const isGetServed = this.#line.waitingGroups().some((group) => this.#serveFirstGet(record, group, moment));
      // What the last group has done with makes room for those who wait.
      this.#groups.applyRetention(nowMs);
      if (isGetServed) continue;
      const put = this.#line.firstPut();
      if (put !== undefined && this.#servePut(put, nowMs)) continue;
      return;
    }
  }

  #serveFirstGet(record: ChannelRecord, group: number, moment: Moment): boolean {
    const get = this.#line.firstGet(group);
    // A member has its turn at the end of the commit, so that what comes together is sent together.
    return get !== undefined && get.holder === undefined && this.#serveGet(record, get, moment);
  }

  /** Refuses everybody of a kind that waits. */
  refuseWaiting(kind: "get" | "put", refusal: Refusal): void {
    for (const waiter of this.#line.all()) if (waiter.kind === kind) this.#end(waiter, refused(refusal));
  }

  /** Refuses the gets that wait in a group. */
  refuseReaders(group: number, refusal: Refusal): void {
    for (const waiter of this.#line.all())
      if (waiter.kind === "get" && waiter.group === group) this.#end(waiter, refused(refusal));
  }

  /** Messages left the channel by acks: producers are told when room is likely. */
  noteDrained(messages: number, nowMs: number): void {
    this.#drainRate.record(messages, nowMs);
  }

  /** Whether a request that waited was answered since effects were taken last. */
  hasUntoldEnd({ connection, request }: Origin): boolean {
    return this.#effects.some((one) => one.connection === connection && one.request === request && one.outcome.type !== "room");
  }

  takeEffects(): readonly Effect[] {
    const effects = this.#effects;
    this.#effects = [];
    return effects;
  }

  /** A put whose messages may be stored, as far as that can be said without the channel's room; or its refusal. */
  #examine(record: ChannelRecord, operation: OperationOf<"put">, nowMs: number): Batch | Refusal {
    const { messages, delays } = operation;
    const refusal = refusePut(record);
    if (refusal !== undefined) return refusal;
    const due = delays === undefined ? NOTHING_DUE : resolveDelays(delays, nowMs);
    if ("kind" in due) return due;
    const size = measureBatch(messages, record.settings);
    if ("kind" in size) return size;
    const never = refuseNeverFitting(size, ceilingOf(record));
    const batch = { operation, due, size };
    return never ?? this.#refuseScheduling(record, batch, nowMs) ?? batch;
  }

  /** A log makes room by giving up what it holds. Delayed messages are not given up, so they have to fit beside each other (G6). */
  #refuseScheduling(record: ChannelRecord, { due, size }: Batch, nowMs: number): Refusal | undefined {
    const mustFit = due.size > 0 && record.settings.retention === "log";
    return mustFit && !fits(size, this.#schedule, record.limits) ? this.#refuseFull(record, size, nowMs) : undefined;
  }

  #append(record: ChannelRecord, { operation, due, size }: Batch, nowMs: number): Outcome {
    const { messages } = operation;
    const source = withProducer(operation.source, operation.producer?.id);
    const immediate = due.size === 0 ? messages : listMessages(messages).filter((_, index) => !due.has(index));
    const entered = size.messages - due.size;
    const outcome = { offset: this.#backlog.append(immediate, nowMs, source), entered, count: size.messages };
    this.#dedup.note(operation, { ...outcome, bytes: size.bytes }, { nowMs, settings: record.settings });
    const put = { type: "put", offset: offsetOf(outcome), count: entered } as const;
    if (due.size === 0) return put;
    const scheduled = listMessages(messages).flatMap((message, index): ScheduledReceipt[] => {
      const deliverAtMs = due.get(index);
      if (deliverAtMs === undefined) return [];
      return [{ index, scheduledId: this.#schedule.add({ ...message, source }, deliverAtMs, nowMs), deliverAtMs }];
    });
    return { ...put, scheduled };
  }

  /** Whether puts of its connection are on their way, so that a put that has something to store can not be carried out now (WT5). */
  #isBehind(operation: OperationOf<"put">, origin: Origin | undefined): boolean {
    const canWait = operation.isPromised !== true && countOf(operation.messages) > 0;
    return canWait && origin !== undefined && this.#line.hasPut(origin.connection);
  }

  /**
   * Whether a get waits in vain: nothing comes any more, and the group has fewer messages than it wants. What is leased or retrying
   * counts, since it may come back.
   */
  #isRunningDry(record: ChannelRecord, group: Group, min: number): boolean {
    return record.state === "draining" && this.#schedule.messages === 0 && this.#groups.depthOf(group) < min;
  }

  /** Whether nobody would get what is put, and it has to be refused therefore. */
  #hasNoReaders({ settings }: ChannelRecord): boolean {
    return settings.retention === "interest" && settings.whenNoGroups === "refuse" && this.#groups.size === 0;
  }

  #findWaiter(origin: Origin | undefined): Waiter | undefined {
    return origin === undefined ? undefined : this.#line.find(origin.connection, origin.request);
  }

  /** The limits for a put that goes ahead of nobody: no put waits, none of its own connection is on its way, and it fits. */
  #findRoomAtOnce(record: ChannelRecord, size: Size, origin: Origin | undefined): Capacity | undefined {
    const mustQueue = this.#line.firstPut() !== undefined || (origin !== undefined && this.#line.hasPut(origin.connection));
    return mustQueue ? undefined : this.#findRoom(record, size);
  }

  #waitForRoom(
    record: ChannelRecord,
    size: Size,
    request: { nowMs: number; waitMs: number | undefined; origin: Origin | undefined },
  ): Outcome {
    const { nowMs, origin } = request;
    const waitMs = capWait(request.waitMs);
    if (origin === undefined || waitMs === 0) return refused(this.#refuseFull(record, size, nowMs));
    return this.#wait({ ...origin, ...putWaiter(size), deadlineMs: nowMs + waitMs });
  }

  /** The promise that a put comes for ends with it, whatever becomes of the put: there is one answer. */
  #takePromise(operation: OperationOf<"put">, origin: Origin | undefined): Waiter | undefined {
    const waiter = operation.isPromised === true ? this.#findWaiter(origin) : undefined;
    if (waiter?.reservedUntilMs === undefined) return undefined;
    this.#line.remove(waiter);
    return waiter;
  }

  #putPromised(promise: Waiter, record: ChannelRecord, batch: Batch, nowMs: number): Outcome {
    const { size } = batch;
    if (size.messages <= promise.max && size.bytes <= promise.bytes) return this.#append(record, batch, nowMs);
    const waited = `${promise.max} messages of ${promise.bytes} bytes together`;
    return refused(invalidRequest("", `Expected the batch that waited: ${waited}`));
  }

  /** The limits within which a put of this size fits now: those in force, or those that the channel may grow to for it. */
  #findRoom(record: ChannelRecord, size: Size): Capacity | undefined {
    if (this.#hasNoReaders(record)) return undefined;
    const { held } = this;
    // What a log holds makes room for what is put.
    if (record.settings.retention === "log" || fits(size, held, record.limits)) return record.limits;
    const limits = decideGrowth({ messages: held.messages + size.messages, bytes: held.bytes + size.bytes }, record);
    return limits !== undefined && fits(size, held, limits) ? limits : undefined;
  }

  #grow(record: ChannelRecord, limits: Capacity, nowMs: number): void {
    if (limits === record.limits) return;
    this.#groups.appendControl({ type: "resize", ...limits }, nowMs);
    this.#cell.set({ ...record, limits });
  }

  /** What is there, what is to come and what is promised. */
  get held(): Size {
    const { reserved } = this.#line;
    const { messages, bytes } = this.#schedule;
    return {
      messages: this.#backlog.depth + messages + reserved.messages,
      bytes: this.#backlog.bytes + bytes + reserved.bytes,
    };
  }

  #take(record: ChannelRecord, group: Group, request: TakeTerms, moment: Moment): Outcome | undefined {
    const taken = takeMessages(group, { record, request, moment });
    if (taken?.type === "got") this.#announce(group.id, taken.controls);
    const isRemoved = taken?.type === "got" && request.lease === undefined;
    if (isRemoved) this.#drainRate.record(selectionOf(taken).count, moment.nowMs);
    return taken;
  }

  /** The refusal of a get whose `min` can never be had, however long it waits. */
  #refuseNeverServed(
    record: ChannelRecord,
    group: Group,
    { min, lease }: { readonly min: number; readonly lease: LeaseTerms | undefined },
  ): Refusal | undefined {
    const { maxMessages } = ceilingOf(record);
    const { maxInFlight } = this.#groups.settingsOf(group);
    const refuse = (limit: number): Refusal => ({ kind: "batch-too-large", size: min, limit, unit: "messages" });
    if (lease !== undefined && min > maxInFlight) return refuse(maxInFlight);
    return min > Math.max(maxMessages, this.#backlog.depth) ? refuse(maxMessages) : undefined;
  }

  #wait(waiter: Omit<Waiter, "ticket">): Outcome {
    const placed = this.#line.add(waiter);
    return placed.ok ? { type: "waiting" } : refused(placed.refusal);
  }

  #serveGet(record: ChannelRecord, waiter: Waiter, moment: Moment): boolean {
    if (!this.#isConnected(waiter.connection)) {
      this.#line.remove(waiter);
      return true;
    }
    if (waiter.deadlineMs <= moment.nowMs) return this.#end(waiter, NOTHING_GOT);
    const { min, max, lease, connection } = waiter;
    const group = this.#groups.findById(waiter.group);
    if (group === undefined) return this.#end(waiter, refused({ kind: "unknown-group", group: "" }));
    const taken = this.#take(record, group, { min, max, lease, connection }, moment);
    if (taken !== undefined) return this.#end(waiter, taken);
    if (this.#isRunningDry(record, group, min)) {
      return this.#end(waiter, refused({ kind: "channel-draining", drainUntilMs: record.drainUntilMs }));
    }
    const never = this.#refuseNeverServed(record, group, { min, lease });
    return never !== undefined && this.#end(waiter, refused(never));
  }

  #servePut(waiter: Waiter, nowMs: number): boolean {
    const record = this.#cell.get();
    if (record === undefined || !this.#isConnected(waiter.connection)) {
      this.#line.remove(waiter);
      return true;
    }
    const size: Size = { messages: waiter.max, bytes: waiter.bytes };
    if (waiter.deadlineMs <= nowMs) return this.#end(waiter, refused(this.#refuseFull(record, size, nowMs)));
    const never = refuseNeverFitting(size, ceilingOf(record));
    if (never !== undefined) return this.#end(waiter, refused(never));
    const room = this.#findRoom(record, size);
    if (room === undefined) return false;
    this.#grow(record, room, nowMs);
    this.#line.reserve(waiter, nowMs + LIMITS.reservationMs);
    this.#tell(waiter, { type: "room", reservedMs: LIMITS.reservationMs });
    return true;
  }

  /** Takes back room that was promised to puts whose bodies did not come. */
  #endReservations(nowMs: number): void {
    for (let waiter = this.#line.firstReservation(); waiter !== undefined; waiter = this.#line.firstReservation()) {
      const isOver = (waiter.reservedUntilMs ?? 0) <= nowMs || !this.#isConnected(waiter.connection);
      if (!isOver) return;
      this.#end(waiter, refused({ kind: "promise-lost", id: waiter.request }));
    }
  }

  #outcomeOfTimeout(record: ChannelRecord | undefined, waiter: Waiter, nowMs: number): Outcome {
    if (waiter.kind === "get" || record === undefined) return NOTHING_GOT;
    return refused(this.#refuseFull(record, { messages: waiter.max, bytes: waiter.bytes }, nowMs));
  }

  #end(waiter: Waiter, outcome: Outcome): true {
    this.#line.remove(waiter);
    this.#tell(waiter, outcome);
    return true;
  }

  #tell(waiter: Waiter, outcome: Outcome): void {
    this.#effects.push({ connection: waiter.connection, request: waiter.request, outcome });
  }

  #refuseFull(record: ChannelRecord, size: Size, nowMs: number): Refusal {
    if (this.#hasNoReaders(record)) return { kind: "no-readers", retryAfterMs: NO_READERS_RETRY_AFTER_MS };
    const { depth, bytes } = this.#backlog;
    const { messages } = this.#schedule;
    const excess = Math.max(1, this.held.messages + size.messages - record.limits.maxMessages);
    const retryAfterMs = this.#drainRate.estimateWaitMs(excess, nowMs);
    const scheduled = messages > 0 && { scheduled: { messages, bytes: this.#schedule.bytes } };
    const { reserved } = this.#line;
    const promised = reserved.messages > 0 && { promisedMessages: reserved.messages, promisedBytes: reserved.bytes };
    return { kind: "channel-full", retryAfterMs, depth, bytes, ...record.limits, ...scheduled, ...promised };
  }
}

function putWaiter(size: Size): { kind: "put"; min: number; max: number; bytes: number; group: 0 } {
  return { kind: "put", min: size.messages, max: size.messages, bytes: size.bytes, group: 0 };
}

function capWait(waitMs: number | undefined): number {
  return Math.min(waitMs ?? 0, LIMITS.waitMsMax);
}
