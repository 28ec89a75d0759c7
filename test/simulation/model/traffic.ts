// Puts, gets and who waits: SPEC sections PT, GT, WT, AD and GR, word by word.
import { countOf, listMessages } from "../../../src/channel/put-batch.ts";
import type { OperationOf, Origin, Outcome } from "../../../src/channel/operation.ts";
import type { ChannelRecord } from "../../../src/channel/store.ts";
import { LIMITS } from "../../../src/protocol/limits.ts";
import { messageBytes, type PutMessage } from "../../../src/protocol/message.ts";
import type { Refusal } from "../../../src/protocol/problems.ts";
import { isEarly, type ModelDedup, offsetOf } from "./dedup.ts";
import type { ModelDelivery } from "./delivery.ts";
import { GroupBook } from "./group-book.ts";
import { findGroup, type ModelGroups } from "./groups.ts";
import type { DueTimes, ModelSchedule } from "./schedule.ts";
import {
  type Book,
  ceilingOf,
  invalid,
  type KeptMessage,
  type ModelWaiter,
  refusalOfPut,
  refused,
  type Size,
  sum,
  tooLarge,
} from "./state.ts";

type Refused = ReturnType<typeof refused>;

const NOTHING: Outcome = { type: "got", messages: [], controls: [] };

export class ModelTraffic {
  readonly #book: Book;
  readonly #delivery: ModelDelivery;
  readonly #groups: ModelGroups;
  readonly #schedule: ModelSchedule;
  readonly #dedup: ModelDedup;
  readonly #isConnected: (connection: number) => boolean;

  constructor(parts: {
    readonly book: Book;
    readonly delivery: ModelDelivery;
    readonly groups: ModelGroups;
    readonly schedule: ModelSchedule;
    readonly dedup: ModelDedup;
    readonly isConnected: (connection: number) => boolean;
  }) {
    this.#book = parts.book;
    this.#delivery = parts.delivery;
    this.#groups = parts.groups;
    this.#schedule = parts.schedule;
    this.#dedup = parts.dedup;
    this.#isConnected = parts.isConnected;
  }

  put(record: ChannelRecord, operation: OperationOf<"put">, nowMs: number, origin: Origin | undefined): Outcome {
    const messages = listMessages(operation.messages);
    const { waitMs } = operation;
    const sizes = messages.map(messageBytes);
    const size: Size = { messages: messages.length, bytes: sum(sizes) };
    const earlier = this.#find(origin);
    const promise = operation.isPromised === true && earlier?.reservedUntilMs !== undefined ? earlier : undefined;
    // WT4: the promise ends with the put that comes for it, whatever becomes of the put.
    if (promise !== undefined) this.forget(promise);
    const judged = this.#dedup.judge(operation, nowMs);
    if (judged !== undefined && !(this.#isBehind(operation, origin) && isEarly(operation, judged))) return judged;
    const byState = refusalOfPut(record);
    if (byState !== undefined) return refused(byState);
    const due = this.#schedule.resolve(operation, nowMs);
    if ("type" in due) return due;
    const bySize = this.#refuseSize(record, sizes, size);
    if (bySize !== undefined) return bySize;
    // SD3: what is scheduled in a log has to fit by itself.
    const isScheduling = record.settings.retention === "log" && due.some((atMs) => atMs !== undefined);
    if (isScheduling && !isWithin(size, this.#scheduledSize, record.limits)) return refused(this.#fullRefusal());
    if (operation.isPromised === true) {
      if (promise === undefined) return refused({ kind: "promise-lost", id: origin?.request ?? 0 });
      const isTooLarge = size.messages > promise.max || size.bytes > promise.bytes;
      return isTooLarge ? invalid("") : this.#accept(operation, due, nowMs);
    }
    if (earlier !== undefined) return refused({ kind: "request-in-use", id: earlier.request });
    const room = messages.length === 0 ? record.limits : this.#isFirstInLine(origin) ? this.#findRoom(size) : undefined;
    if (room === undefined) return this.#waitForRoom(size, waitMs, nowMs, origin);
    // DD8: a put that names its offset gets that one, and the record of the growth follows it.
    if (operation.expectedOffset === undefined) this.#grow(room, nowMs);
    const outcome = this.#accept(operation, due, nowMs);
    if (operation.expectedOffset !== undefined) this.#grow(room, nowMs);
    return outcome;
  }

  /** LS12: why messages can not be put along with a settle call that ends these; they never wait. */
  refuseRiders(messages: readonly PutMessage[], ending: readonly KeptMessage[]): Refusal | undefined {
    const record = this.#book.existing;
    const sizes = messages.map(messageBytes);
    const size: Size = { messages: messages.length, bytes: sum(sizes) };
    const byState = refusalOfPut(record);
    if (byState !== undefined) return byState;
    const bySize = this.#refuseSize(record, sizes, size);
    if (bySize !== undefined) return bySize.refusal;
    const { retention } = record.settings;
    if (messages.length === 0 || retention === "log") return undefined;
    // With interest a message leaves when all groups have done with it.
    const leaving = retention === "queue" ? ending : [];
    const more: Size = { messages: size.messages - leaving.length, bytes: size.bytes - sum(leaving.map(({ bytes }) => bytes)) };
    const isRoom = this.#book.state.puts.length === 0 && !this.hasNoReaders && this.#isFitting(more, record.limits);
    return isRoom ? undefined : this.#fullRefusal();
  }

  reserve(record: ChannelRecord, operation: OperationOf<"reserve">, nowMs: number, origin: Origin | undefined): Outcome {
    const size: Size = { messages: operation.messages, bytes: operation.bytes };
    const byState = refusalOfPut(record);
    if (byState !== undefined) return refused(byState);
    const never = tooLargeBatch(size, ceilingOf(record));
    if (never !== undefined) return never;
    const earlier = this.#find(origin);
    if (earlier !== undefined) return refused({ kind: "request-in-use", id: earlier.request });
    if (origin === undefined || !this.#isFirstInLine(origin) || !this.makeRoom(size, nowMs)) {
      return this.#waitForRoom(size, operation.waitMs, nowMs, origin);
    }
    const tooManyWaiters = this.#refuseWaiter(origin);
    if (tooManyWaiters !== undefined) return tooManyWaiters;
    const reservedUntilMs = nowMs + LIMITS.reservationMs;
    const promise: ModelWaiter = { ...origin, ...putWaiter(size), deadlineMs: reservedUntilMs, reservedUntilMs };
    this.#book.change({ promises: [...this.#book.state.promises, promise] });
    return { type: "room", reservedMs: LIMITS.reservationMs };
  }

  /** DL3: puts one message again, if it fits and nobody waits before it. */
  putAgain(message: PutMessage, nowMs: number): boolean {
    const bytes = messageBytes(message);
    const { limits, settings } = this.#book.existing;
    const isRoom = settings.retention === "log" || this.#isFitting({ messages: 1, bytes }, limits);
    if (this.#book.state.puts.length > 0 || !isRoom) return false;
    this.#book.append([message], [bytes], nowMs);
    return true;
  }

  get(record: ChannelRecord, operation: OperationOf<"get">, nowMs: number, origin: Origin | undefined): Outcome {
    if (record.state === "closed") return refused({ kind: "channel-closed" });
    const { lease } = operation;
    const max = operation.max ?? Math.max(1, operation.min ?? 1);
    const min = operation.min ?? Math.min(1, max);
    if (min > max) return invalid("/min");
    if (max === 0) return NOTHING;
    const earlier = this.#find(origin);
    if (earlier !== undefined) return refused({ kind: "request-in-use", id: earlier.request });
    const group = findGroup(this.#book, operation.group);
    if (!(group instanceof GroupBook)) return refused(group);
    const never = this.#refuseNeverServed(group, { min, lease });
    if (never !== undefined) return never;
    if (!this.#book.state.lines.includes(group.id)) {
      const taken = this.#delivery.take(group, { min, max, nowMs, lease, connection: origin?.connection });
      if (taken !== undefined) return taken;
    }
    const wait = Math.min(operation.waitMs ?? 0, LIMITS.waitMsMax);
    if (origin === undefined || wait === 0 || min === 0) return NOTHING;
    if (this.#isRunningDry(record, group, min)) {
      return refused({ kind: "channel-draining", drainUntilMs: record.drainUntilMs });
    }
    const tooManyWaiters = this.#refuseWaiter(origin);
    if (tooManyWaiters !== undefined) return tooManyWaiters;
    const waiter: ModelWaiter = { ...origin, kind: "get", min, max, bytes: 0, deadlineMs: nowMs + wait, lease, group: group.id };
    this.#book.change({ gets: [...this.#book.state.gets, waiter], lines: linesAfter(this.#book.state.lines, [waiter]) });
    return { type: "waiting" };
  }

  serve(nowMs: number): void {
    if (this.#book.state.record === undefined) return;
    for (let promise = this.#book.state.promises[0]; promise !== undefined; promise = this.#book.state.promises[0]) {
      const isOver = (promise.reservedUntilMs ?? 0) <= nowMs || !this.#isConnected(promise.connection);
      if (!isOver) break;
      this.#end(promise, refused({ kind: "promise-lost", id: promise.request }));
    }
    for (;;) {
      const isGetServed = this.#book.state.lines.some((group) => this.#serveFirstGet(group, nowMs));
      // What the last group has done with makes room.
      this.#groups.applyRetention(nowMs);
      if (isGetServed) continue;
      const put = this.#book.state.puts[0];
      if (put !== undefined && this.#servePut(put, nowMs)) continue;
      return;
    }
  }

  refuseReaders(group: number, refusal: Refusal): void {
    for (const waiter of this.#book.gets) if (waiter.group === group) this.#end(waiter, refused(refusal));
  }

  cancel(origin: Origin): void {
    const waiter = this.#find(origin);
    if (waiter !== undefined) this.#end(waiter, waiter.kind === "get" ? NOTHING : refused(this.#fullRefusal()));
  }

  refuseWaiting(kind: "get" | "put", refusal: Refusal): void {
    for (const waiter of this.#book.waiters) if (waiter.kind === kind) this.#end(waiter, refused(refusal));
  }

  forget(waiter: ModelWaiter): true {
    const isOther = (other: ModelWaiter): boolean => other.connection !== waiter.connection || other.request !== waiter.request;
    const { gets, lines, puts, promises } = this.#book.state;
    const others = gets.filter(isOther);
    this.#book.change({
      gets: others,
      lines: lines.filter((group) => others.some((other) => other.group === group)),
      puts: puts.filter(isOther),
      promises: promises.filter(isOther),
    });
    return true;
  }

  /** Whether `size` fits beside what is there and what is promised; grows the channel where it may (GR1). */
  makeRoom(size: Size, nowMs: number): boolean {
    const room = this.#findRoom(size);
    if (room !== undefined) this.#grow(room, nowMs);
    return room !== undefined;
  }

  /** The limits in force, or those to grow to, within which `size` fits. */
  #findRoom(size: Size): ChannelRecord["limits"] | undefined {
    const record = this.#book.existing;
    const { growth, retention } = record.settings;
    if (this.hasNoReaders) return undefined;
    // GP1: a log gives up its oldest records for it.
    if (retention === "log") return record.limits;
    const needed = this.held(size);
    let { maxMessages, maxBytes } = record.limits;
    if (growth !== null) {
      maxMessages = grow(maxMessages, needed.messages, growth.factor, growth.maxMessages);
      maxBytes = grow(maxBytes, needed.bytes, growth.factor, growth.maxBytes);
    }
    return this.#isFitting(size, { maxMessages, maxBytes }) ? { maxMessages, maxBytes } : undefined;
  }

  /** GP7: whether nobody would get what is put, so that it can not be put. */
  get hasNoReaders(): boolean {
    const { retention, whenNoGroups } = this.#book.existing.settings;
    return retention === "interest" && whenNoGroups === "refuse" && this.#book.state.groups.length === 0;
  }

  #grow(limits: ChannelRecord["limits"], nowMs: number): void {
    const record = this.#book.existing;
    const isSame = limits.maxMessages === record.limits.maxMessages && limits.maxBytes === record.limits.maxBytes;
    if (isSame) return;
    this.#book.appendControl({ type: "resize", ...limits }, nowMs);
    this.#book.change({ record: { ...record, limits } });
  }

  /** Stores a put: what enters at once, and what enters later. */
  #accept(operation: OperationOf<"put">, due: DueTimes, nowMs: number): Outcome {
    const messages = listMessages(operation.messages);
    const atOnce = messages.filter((_, index) => due[index] === undefined);
    const outcome = { offset: this.#book.state.nextOffset, entered: atOnce.length, messages };
    this.#book.append(atOnce, atOnce.map(messageBytes), nowMs);
    this.#dedup.note(operation, outcome, nowMs);
    const receipts = this.#schedule.add(messages, due, nowMs);
    const scheduled = receipts.map((receipt) => ({ ...receipt, scheduledId: "" }));
    const put = { type: "put", offset: offsetOf(outcome), count: atOnce.length } as const;
    return scheduled.length === 0 ? put : { ...put, scheduled };
  }

  /** DD10: whether puts of its connection are on their way, so that it has to wait. */
  #isBehind({ isPromised, messages }: OperationOf<"put">, origin: Origin | undefined): boolean {
    const { puts, promises } = this.#book.state;
    const hasEarlier = [...puts, ...promises].some(({ connection }) => connection === origin?.connection);
    return isPromised !== true && countOf(messages) > 0 && hasEarlier;
  }

  /** What refuses a put by its size, whoever waits and whatever room there is (rules PT1 and PT5). */
  #refuseSize(record: ChannelRecord, sizes: readonly number[], size: Size): Refused | undefined {
    const { maxMessageBytes } = record.settings;
    const largest = sizes.find((bytes) => bytes > maxMessageBytes);
    if (largest !== undefined) return refused({ kind: "message-too-large", bytes: largest, limit: maxMessageBytes });
    const tooMany = tooLargeBatch(size, { messages: LIMITS.batchMessagesMax, bytes: Infinity });
    const bytesMax = size.messages > 1 ? LIMITS.batchBytesMax : Infinity;
    return tooMany ?? tooLargeBatch(size, { messages: Infinity, bytes: bytesMax }) ?? tooLargeBatch(size, ceilingOf(record));
  }

  /** LC1 and SD10: whether a get would wait for more than is left and is to come. */
  #isRunningDry({ state }: ChannelRecord, { depth }: GroupBook, min: number): boolean {
    return state === "draining" && this.#book.state.scheduled.length === 0 && depth < min;
  }

  #isFirstInLine(origin: Origin | undefined): boolean {
    const { puts, promises } = this.#book.state;
    return puts.length === 0 && !promises.some((promise) => promise.connection === origin?.connection);
  }

  #waitForRoom(size: Size, waitMs: number | undefined, nowMs: number, origin: Origin | undefined): Outcome {
    const wait = Math.min(waitMs ?? 0, LIMITS.waitMsMax);
    if (origin === undefined || wait === 0) return refused(this.#fullRefusal());
    const tooManyWaiters = this.#refuseWaiter(origin);
    if (tooManyWaiters !== undefined) return tooManyWaiters;
    const waiter: ModelWaiter = { ...origin, ...putWaiter(size), deadlineMs: nowMs + wait };
    this.#book.change({ puts: [...this.#book.state.puts, waiter] });
    return { type: "waiting" };
  }

  /** What counts for admission, and so much more. */
  held(more: Size): Size {
    const { promises } = this.#book.state;
    const promised = { messages: sum(promises.map(({ max }) => max)), bytes: sum(promises.map(({ bytes }) => bytes)) };
    // SD3
    const scheduled = this.#scheduledSize;
    return {
      messages: this.#book.depth + promised.messages + scheduled.messages + more.messages,
      bytes: this.#book.bytes + promised.bytes + scheduled.bytes + more.bytes,
    };
  }

  get #scheduledSize(): Size {
    const { scheduled } = this.#book.state;
    return { messages: scheduled.length, bytes: sum(scheduled.map(({ bytes }) => bytes)) };
  }

  #isFitting(size: Size, limits: ChannelRecord["limits"]): boolean {
    return isWithin(size, this.held({ messages: 0, bytes: 0 }), limits);
  }

  #serveFirstGet(group: number, nowMs: number): boolean {
    const first = this.#book.state.gets.find((get) => get.group === group);
    // A member has its turn when all operations of the commit are decided (SB4).
    return first !== undefined && first.isMember !== true && this.#serveGet(first, new GroupBook(this.#book, group), nowMs);
  }

  #serveGet(waiter: ModelWaiter, group: GroupBook, nowMs: number): boolean {
    const record = this.#book.existing;
    const { min, max, lease, connection } = waiter;
    if (!this.#isConnected(connection)) return this.forget(waiter);
    if (waiter.deadlineMs <= nowMs) return this.#end(waiter, NOTHING);
    const taken = this.#delivery.take(group, { min, max, nowMs, lease, connection });
    if (taken !== undefined) return this.#end(waiter, taken);
    if (this.#isRunningDry(record, group, min)) {
      return this.#end(waiter, refused({ kind: "channel-draining", drainUntilMs: record.drainUntilMs }));
    }
    const never = this.#refuseNeverServed(group, { min, lease });
    return never !== undefined && this.#end(waiter, never);
  }

  #servePut(waiter: ModelWaiter, nowMs: number): boolean {
    const size: Size = { messages: waiter.max, bytes: waiter.bytes };
    if (!this.#isConnected(waiter.connection)) return this.forget(waiter);
    if (waiter.deadlineMs <= nowMs) return this.#end(waiter, refused(this.#fullRefusal()));
    const never = tooLargeBatch(size, ceilingOf(this.#book.existing));
    if (never !== undefined) return this.#end(waiter, never);
    if (!this.makeRoom(size, nowMs)) return false;
    this.forget(waiter);
    const promise: ModelWaiter = { ...waiter, reservedUntilMs: nowMs + LIMITS.reservationMs };
    this.#book.change({ promises: [...this.#book.state.promises, promise] });
    this.#book.tell(waiter, { type: "room", reservedMs: LIMITS.reservationMs });
    return true;
  }

  #refuseWaiter({ connection }: Origin): Outcome | undefined {
    const { waiters } = this.#book;
    const ofConnection = waiters.filter((waiter) => waiter.connection === connection).length;
    const isTooMany = ofConnection >= LIMITS.waitersPerSocketMax;
    if (!isTooMany && waiters.length < LIMITS.waitersMax) return undefined;
    const limit = isTooMany ? LIMITS.waitersPerSocketMax : LIMITS.waitersMax;
    return refused({ kind: "too-many-waiters", limit, retryAfterMs: 1000 });
  }

  #find(origin: Origin | undefined): ModelWaiter | undefined {
    return this.#book.waiters.find((waiter) => waiter.connection === origin?.connection && waiter.request === origin.request);
  }

  #end(waiter: ModelWaiter, outcome: Outcome): true {
    this.#book.tell(waiter, outcome);
    return this.forget(waiter);
  }

  #fullRefusal(): Refusal {
    const { depth, bytes, existing } = this.#book;
    if (this.hasNoReaders) return { kind: "no-readers", retryAfterMs: 0 };
    const { promises } = this.#book.state;
    const scheduled = this.#scheduledSize;
    const delayed = scheduled.messages > 0 && { scheduled };
    const promised = promises.length > 0 && {
      promisedMessages: sum(promises.map(({ max }) => max)),
      promisedBytes: sum(promises.map((promise) => promise.bytes)),
    };
    return { kind: "channel-full", retryAfterMs: 0, depth, bytes, ...existing.limits, ...delayed, ...promised };
  }

  /** The refusal of a get for more than the channel can ever have (GT3), or than may be leased at once (LS7). */
  #refuseNeverServed(group: GroupBook, { min, lease }: Pick<ModelWaiter, "min" | "lease">): Outcome | undefined {
    const { maxInFlight } = group.settings;
    if (lease !== undefined && min > maxInFlight) return tooLarge("messages", min, maxInFlight);
    const ceiling = ceilingOf(this.#book.existing).messages;
    return min > ceiling && min > this.#book.depth ? tooLarge("messages", min, ceiling) : undefined;
  }
}

/** The lines of gets, each of a group, with more that wait: a line that was empty begins behind the others. */
export function linesAfter(lines: readonly number[], more: readonly ModelWaiter[]): number[] {
  return [...new Set([...lines, ...more.map(({ group = 0 }) => group)])];
}

function isWithin(size: Size, held: Size, limits: ChannelRecord["limits"]): boolean {
  return held.messages + size.messages <= limits.maxMessages && held.bytes + size.bytes <= limits.maxBytes;
}

function putWaiter(size: Size): Pick<ModelWaiter, "kind" | "min" | "max" | "bytes"> {
  return { kind: "put", min: size.messages, max: size.messages, bytes: size.bytes };
}

function tooLargeBatch(size: Size, limit: Size): Refused | undefined {
  if (size.messages > limit.messages) return tooLarge("messages", size.messages, limit.messages);
  return size.bytes > limit.bytes ? tooLarge("bytes", size.bytes, limit.bytes) : undefined;
}

function grow(limit: number, needed: number, factor: number, limitMax: number): number {
  if (limit >= needed || limit >= limitMax) return limit;
  return grow(Math.min(limitMax, Math.max(limit + 1, Math.ceil(limit * factor))), needed, factor, limitMax);
}
