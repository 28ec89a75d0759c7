// Puts and gets, and the requests that wait for messages or for room. SPEC sections PT (put), GT (get) and WT (waiting).
import { LIMITS } from "../protocol/limits.ts";
import { invalidRequest } from "../protocol/fault.ts";
import type { Refusal } from "../protocol/problems.ts";
import { ceilingOf, decideGrowth, fits, measureBatch, refuseNeverFitting, type Capacity, type Size } from "./admission.ts";
import type { Backlog } from "./backlog.ts";
import { isEarly, type Dedup } from "./dedup.ts";
import { DrainRate } from "./drain-rate.ts";
import { refuseGet, refusePut } from "./life-cycle.ts";
import type { Effect, OperationOf, Origin, Outcome } from "./operation.ts";
import type { RecordCell } from "./record-cell.ts";
import type { ChannelRecord } from "./store.ts";
import type { WaitLine, Waiter } from "./wait-line.ts";

const NOTHING_GOT: Outcome = { type: "got", messages: [], controls: [] };

export interface TrafficOptions {
  readonly cell: RecordCell;
  readonly backlog: Backlog;
  readonly line: WaitLine;
  readonly dedup: Dedup;
  /** Whether a connection can still be told something: one that left takes nothing (G7). */
  readonly isConnected: (connection: number) => boolean;
}

export class Traffic {
  readonly #cell: RecordCell;
  readonly #backlog: Backlog;
  readonly #line: WaitLine;
  readonly #dedup: Dedup;
  readonly #isConnected: (connection: number) => boolean;
  readonly #drainRate = new DrainRate();
  #effects: Effect[] = [];

  constructor(options: TrafficOptions) {
    this.#cell = options.cell;
    this.#backlog = options.backlog;
    this.#line = options.line;
    this.#dedup = options.dedup;
    this.#isConnected = options.isConnected;
  }

  put(record: ChannelRecord, operation: OperationOf<"put">, nowMs: number, origin: Origin | undefined): Outcome {
    const { messages, waitMs } = operation;
    const promise = this.#takePromise(operation, origin);
    const judged = this.#dedup.judge(operation, this.#backlog.nextOffset, { nowMs, settings: record.settings });
    // DD10: behind a put of its connection that waits, it is judged when its body comes; until then it can only wait.
    if (judged !== undefined && !(this.#isBehind(operation, origin) && isEarly(operation, judged))) return judged;
    const size = measureBatch(messages, record.settings);
    if ("kind" in size) return refused(refusePut(record) ?? size);
    const refusal = refusePut(record) ?? refuseNeverFitting(size, ceilingOf(record));
    if (refusal !== undefined) return refused(refusal);
    if (operation.isPromised === true) {
      return promise === undefined
        ? refused({ kind: "promise-lost", id: origin?.request ?? 0 })
        : this.#putPromised(promise, record, operation, size, nowMs);
    }
    const earlier = this.#findWaiter(origin);
    if (earlier !== undefined) return refused({ kind: "request-in-use", id: earlier.request });
    const room = messages.length === 0 ? record.limits : this.#findRoomAtOnce(record, size, origin);
    if (room === undefined) return this.#waitForRoom(record, size, { nowMs, waitMs, origin });
    // DD8: a put that names its offset gets that one, and the record of the growth follows it.
    if (operation.expectedOffset === undefined) this.#grow(record, room, nowMs);
    const outcome = this.#append(record, operation, size, nowMs);
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

  get(record: ChannelRecord, operation: OperationOf<"get">, nowMs: number, origin: Origin | undefined): Outcome {
    const refusal = refuseGet(record);
    if (refusal !== undefined) return refused(refusal);
    const max = operation.max ?? Math.max(1, operation.min ?? 1);
    const min = operation.min ?? Math.min(1, max);
    if (min > max) return refused(invalidRequest("/min", `Expected at most max, ${max}`));
    if (max === 0) return NOTHING_GOT;
    const earlier = this.#findWaiter(origin);
    if (earlier !== undefined) return refused({ kind: "request-in-use", id: earlier.request });
    const ceiling = ceilingOf(record).maxMessages;
    if (min > Math.max(ceiling, this.#backlog.depth)) {
      return refused({ kind: "batch-too-large", size: min, limit: ceiling, unit: "messages" });
    }
    if (this.#line.firstGet() === undefined && this.#backlog.depth >= min) return this.#take(min, max, nowMs);
    const waitMs = capWait(operation.waitMs);
    if (origin === undefined || waitMs === 0 || min === 0) return NOTHING_GOT;
    if (record.state === "draining") return refused({ kind: "channel-draining", drainUntilMs: record.drainUntilMs });
    return this.#wait({ ...origin, kind: "get", min, max, bytes: 0, deadlineMs: nowMs + waitMs });
  }

  /** Ends a waiting request: it gets what it would have got without waiting. An answer that was sent already stands. */
  cancel(record: ChannelRecord | undefined, origin: Origin, nowMs: number): void {
    const waiter = this.#line.find(origin.connection, origin.request);
    if (waiter !== undefined) this.#end(waiter, this.#outcomeOfTimeout(record, waiter, nowMs));
  }

  /** Serves who waits, in order, until the first in each line can not be served. Ends: each step removes or promises to a waiter. */
  serve(nowMs: number): void {
    const record = this.#cell.get();
    if (record === undefined || this.#line.size === 0) return;
    this.#endReservations(nowMs);
    for (;;) {
      const get = this.#line.firstGet();
      if (get !== undefined && this.#serveGet(record, get, nowMs)) continue;
      const put = this.#line.firstPut();
      if (put !== undefined && this.#servePut(put, nowMs)) continue;
      return;
    }
  }

  /** Refuses everybody of a kind that waits. */
  refuseWaiting(kind: "get" | "put", refusal: Refusal): void {
    for (const waiter of this.#line.all()) if (waiter.kind === kind) this.#end(waiter, refused(refusal));
  }

  takeEffects(): readonly Effect[] {
    const effects = this.#effects;
    this.#effects = [];
    return effects;
  }

  #append(record: ChannelRecord, operation: OperationOf<"put">, size: Size, nowMs: number): Outcome {
    const offset = this.#backlog.append(operation.messages, nowMs);
    this.#dedup.note(operation, { offset, count: size.messages, bytes: size.bytes }, { nowMs, settings: record.settings });
    return { type: "put", offset, count: size.messages };
  }

  /** Whether puts of its connection are on their way, so that a put that has something to store can not be carried out now (WT5). */
  #isBehind(operation: OperationOf<"put">, origin: Origin | undefined): boolean {
    const canWait = operation.isPromised !== true && operation.messages.length > 0;
    return canWait && origin !== undefined && this.#line.hasPut(origin.connection);
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

  #putPromised(promise: Waiter, record: ChannelRecord, operation: OperationOf<"put">, size: Size, nowMs: number): Outcome {
    if (size.messages <= promise.max && size.bytes <= promise.bytes) return this.#append(record, operation, size, nowMs);
    const waited = `${promise.max} messages of ${promise.bytes} bytes together`;
    return refused(invalidRequest("", `Expected the batch that waited: ${waited}`));
  }

  /** The limits within which a put of this size fits now: those in force, or those that the channel may grow to for it. */
  #findRoom(record: ChannelRecord, size: Size): Capacity | undefined {
    const held = this.#held();
    if (fits(size, held, record.limits)) return record.limits;
    const limits = decideGrowth({ messages: held.messages + size.messages, bytes: held.bytes + size.bytes }, record);
    return limits !== undefined && fits(size, held, limits) ? limits : undefined;
  }

  #grow(record: ChannelRecord, limits: Capacity, nowMs: number): void {
    if (limits === record.limits) return;
    this.#backlog.appendControl({ type: "resize", ...limits }, nowMs);
    this.#cell.set({ ...record, limits });
  }

  /** What is there and what is promised. */
  #held(): Size {
    const { reserved } = this.#line;
    return { messages: this.#backlog.depth + reserved.messages, bytes: this.#backlog.bytes + reserved.bytes };
  }

  #take(min: number, max: number, nowMs: number): Outcome {
    const stretch = this.#backlog.plan({ messagesMax: max, bytesMax: LIMITS.replyBytesMax });
    const count = stretch.messages.length;
    if (count < min) return refused({ kind: "batch-too-large", size: min, limit: count, unit: "messages" });
    this.#backlog.take(stretch);
    this.#drainRate.record(count, nowMs);
    return { type: "got", messages: stretch.messages, controls: stretch.controls };
  }

  #wait(waiter: Omit<Waiter, "ticket">): Outcome {
    const placed = this.#line.add(waiter);
    return placed.ok ? { type: "waiting" } : refused(placed.refusal);
  }

  #serveGet(record: ChannelRecord, waiter: Waiter, nowMs: number): boolean {
    if (!this.#isConnected(waiter.connection)) {
      this.#line.remove(waiter);
      return true;
    }
    if (waiter.deadlineMs <= nowMs) return this.#end(waiter, NOTHING_GOT);
    if (this.#backlog.depth >= waiter.min) return this.#end(waiter, this.#take(waiter.min, waiter.max, nowMs));
    if (record.state === "draining") {
      return this.#end(waiter, refused({ kind: "channel-draining", drainUntilMs: record.drainUntilMs }));
    }
    const ceiling = ceilingOf(record).maxMessages;
    if (waiter.min <= ceiling) return false;
    return this.#end(waiter, refused({ kind: "batch-too-large", size: waiter.min, limit: ceiling, unit: "messages" }));
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
    const { depth, bytes } = this.#backlog;
    const excess = Math.max(1, depth + this.#line.reserved.messages + size.messages - record.limits.maxMessages);
    const retryAfterMs = this.#drainRate.estimateWaitMs(excess, nowMs);
    return { kind: "channel-full", retryAfterMs, depth, bytes, ...record.limits };
  }
}

export function refused(refusal: Refusal): Outcome {
  return { type: "refused", refusal };
}

function putWaiter(size: Size): { kind: "put"; min: number; max: number; bytes: number } {
  return { kind: "put", min: size.messages, max: size.messages, bytes: size.bytes };
}

function capWait(waitMs: number | undefined): number {
  return Math.min(waitMs ?? 0, LIMITS.waitMsMax);
}
