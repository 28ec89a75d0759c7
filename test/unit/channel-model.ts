// A naive channel that follows SPEC.md word by word: plain arrays, no segments, no storage. Slow and obvious on purpose.
import { listMessages } from "../../src/channel/put-batch.ts";
import { assertNever } from "../../src/base/assert.ts";
import type {
  ChannelFacts,
  CheckpointOperation,
  Effect,
  Moment,
  Operation,
  OperationOf,
  Origin,
  Outcome,
} from "../../src/channel/operation.ts";
import type { ChannelRecord } from "../../src/channel/store.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import { messageBytes, type ControlEvent, type PutMessage } from "../../src/protocol/message.ts";
import type { Refusal } from "../../src/protocol/problems.ts";
import { DEFAULT_SETTINGS, type ChannelPatch, type GivenSettings, type Settings } from "../../src/protocol/settings.ts";

interface Size {
  readonly messages: number;
  readonly bytes: number;
}

/** A record that is kept: a message or a control record. */
interface Kept {
  readonly offset: number;
  readonly putAtMs: number;
  readonly bytes: number;
  readonly message?: PutMessage;
  readonly control?: ControlEvent;
}

export interface ModelWaiter extends Origin {
  readonly kind: "get" | "put";
  readonly min: number;
  readonly max: number;
  readonly bytes: number;
  readonly deadlineMs: number;
  readonly reservedUntilMs?: number;
}

interface State {
  record: ChannelRecord | undefined;
  kept: readonly Kept[];
  nextOffset: number;
  put: number;
  acked: number;
  removed: number;
  /** When a message, a control record or a setting changed last. */
  changedAtMs: number;
  /** When a tick found messages or waiters last; not stored, so an eviction forgets it. */
  inUseAtMs: number;
  gets: readonly ModelWaiter[];
  puts: readonly ModelWaiter[];
  promises: readonly ModelWaiter[];
}

const NOTHING: Outcome = { type: "got", messages: [], controls: [] };

function refused(refusal: Refusal): Outcome {
  return { type: "refused", refusal };
}

function invalid(pointer: string): Outcome {
  return refused({ kind: "invalid-request", errors: [{ pointer, detail: "" }] });
}

/** Checkpoints stand beside the messages, and have tests of their own. */
export type ModelOperation = Exclude<Operation, CheckpointOperation>;

export class ChannelModel {
  #state: State = {
    record: undefined,
    kept: [],
    nextOffset: 1,
    put: 0,
    acked: 0,
    removed: 0,
    changedAtMs: 0,
    inUseAtMs: 0,
    gets: [],
    puts: [],
    promises: [],
  };
  #effects: Effect[] = [];
  readonly #isConnected: (connection: number) => boolean;

  constructor(isConnected: (connection: number) => boolean) {
    this.#isConnected = isConnected;
  }

  /** What a commit keeps. All parts are immutable, so the state is its own copy. */
  save(): State {
    return { ...this.#state };
  }

  /** A commit failed or the object was evicted: waiters of sockets that are open are all that is added to what was stored. */
  restore(saved: State): void {
    const isThere = (waiter: ModelWaiter): boolean => this.#isConnected(waiter.connection);
    this.#state = {
      ...saved,
      inUseAtMs: 0,
      gets: saved.gets.filter(isThere),
      puts: saved.puts.filter(isThere),
      promises: saved.promises.filter(isThere),
    };
    this.#effects = [];
  }

  get record(): ChannelRecord | undefined {
    return this.#state.record;
  }

  get promises(): readonly ModelWaiter[] {
    return this.#state.promises;
  }

  get kept(): readonly Kept[] {
    return this.#state.kept;
  }

  get nextOffset(): number {
    return this.#state.nextOffset;
  }

  /** The offset of the first record that a get looks at. */
  get headOffset(): number {
    return this.#state.kept[0]?.offset ?? this.#state.nextOffset;
  }

  get messages(): readonly Kept[] {
    return this.#state.kept.filter((kept) => kept.message !== undefined);
  }

  get waiterCount(): number {
    return this.#state.gets.length + this.#state.puts.length + this.#state.promises.length;
  }

  takeEffects(): Effect[] {
    return this.#effects.splice(0);
  }

  apply(operation: ModelOperation, moment: Moment, origin: Origin | undefined): Outcome {
    this.#meetDeadline(moment.nowMs);
    this.#serve(moment.nowMs);
    const outcome = this.#decide(operation, moment, origin);
    this.#serve(moment.nowMs);
    this.#finishDrain(moment.nowMs);
    return outcome;
  }

  tick(nowMs: number): void {
    this.#meetDeadline(nowMs);
    this.#serve(nowMs);
    this.#expireIdle(nowMs);
  }

  disconnect(connection: number, nowMs: number): void {
    this.#meetDeadline(nowMs);
    for (const waiter of this.#waiters()) if (waiter.connection === connection) this.#forget(waiter);
    this.#serve(nowMs);
    this.#finishDrain(nowMs);
  }

  settleOutbox(version: number, isDone: boolean, nowMs: number): void {
    const { record } = this.#state;
    if (record?.outbox.version !== version) return;
    const { attempts } = record.outbox;
    const nextAttemptAtMs = nowMs + Math.min(3_600_000, 1000 * 2 ** attempts);
    const outbox = isDone
      ? { ...record.outbox, isPending: false, attempts: 0 }
      : { ...record.outbox, attempts: attempts + 1, nextAttemptAtMs };
    this.#state.record = { ...record, outbox };
  }

  describe(): ChannelFacts | undefined {
    const { record, gets, puts, promises, put, acked, removed, nextOffset } = this.#state;
    if (record === undefined) return undefined;
    const depth = this.messages.length;
    const bytes = sum(this.messages.map((kept) => kept.bytes));
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
      segments: 0,
      utilization: Math.round(Math.max(depth / limits.maxMessages, bytes / limits.maxBytes) * 10_000) / 10_000,
      isEmpty: depth === 0,
      isFull: depth >= limits.maxMessages || bytes >= limits.maxBytes,
      firstOffset: this.headOffset,
      nextOffset,
      waiters: this.waiterCount,
      waiting: { gets: gets.length, puts: puts.length + promises.length },
      subscriptions: { members: 0, readers: 0 },
      delivery: { ready: depth, leased: 0, retrying: 0, quarantined: 0, isLookAheadExhausted: false },
      groups: 1,
      deadLetters: { messages: 0, bytes: 0 },
      redrive: null,
      suggestedLocationHint: null,
      counts: { put, acked, removed, deadLettered: 0, dropped: 0, expired: 0 },
      // Delayed messages have a model of their own.
      scheduled: { messages: 0, bytes: 0, nextAtMs: null },
    };
  }

  #decide(operation: ModelOperation, moment: Moment, origin: Origin | undefined): Outcome {
    if (operation.type === "create") return this.#create(operation.settings, moment);
    const before = this.#state.record;
    const outcome = this.#decideOnFirstUse(operation, moment, origin);
    // A refusal creates no channel (LC7).
    const isNew = (before === undefined || before.isExpired) && this.#state.record !== before;
    if (outcome.type === "refused" && isNew) this.#state.record = before;
    return outcome;
  }

  #decideOnFirstUse(operation: Exclude<ModelOperation, { type: "create" }>, moment: Moment, origin: Origin | undefined): Outcome {
    const isFirstUse = this.#state.record === undefined || this.#state.record.isExpired;
    const isUse = operation.type === "put" || operation.type === "get" || operation.type === "reserve";
    if (isFirstUse && isUse && moment.mayCreate) {
      this.#begin({ ...DEFAULT_SETTINGS, expireAfterIdleMs: LIMITS.autoCreatedExpireAfterIdleMs }, moment);
    }
    const { record } = this.#state;
    if (record === undefined || record.isExpired) return refused({ kind: "unknown-channel", channel: "orders" });
    if (record.state === "deleted") return refused(deletedRefusal(record));
    if (origin !== undefined && isUse && this.#hasUntoldEnd(operation, origin))
      return refused({ kind: "request-in-use", id: origin.request });
    switch (operation.type) {
      case "put":
        return this.#put(record, operation, moment.nowMs, origin);
      case "reserve":
        return this.#reserve(record, operation, moment.nowMs, origin);
      case "get":
        return this.#get(record, operation, moment.nowMs, origin);
      case "cancel":
        if (origin !== undefined) this.#cancel({ ...origin, request: operation.request });
        return { type: "cancelled" };
      case "patch":
        return this.#patch(record, operation.patch, moment.nowMs);
      case "delete":
        return this.#delete(record, operation.graceMs, moment.nowMs);
      case "describe":
        return this.#described("described");
      case "list-scheduled":
        return { type: "scheduled-page", messages: [], next: null };
      case "cancel-scheduled":
        return refused({ kind: "unknown-scheduled", scheduledId: operation.scheduledId });
      case "browse":
      case "read":
      case "remove":
      case "remove-by-id":
      case "purge":
        return this.#decideOnMessages(operation, moment.nowMs);
      default:
        throw new Error(`The model knows nothing of ${operation.type}`);
    }
  }

  /** WT10, with WT4 for promised puts. */
  #hasUntoldEnd(operation: ModelOperation, { connection, request }: Origin): boolean {
    if (operation.type === "put" && operation.isPromised === true) return false;
    return this.#effects.some((one) => one.connection === connection && one.request === request && one.outcome.type !== "room");
  }

  #decideOnMessages(operation: OperationOf<"browse" | "read" | "remove" | "remove-by-id" | "purge">, nowMs: number): Outcome {
    switch (operation.type) {
      case "browse":
        return this.#browse(operation.fromOffset, operation.limit);
      case "read": {
        const { offset } = operation;
        const found = this.messages.find((kept) => kept.offset === offset);
        return found === undefined
          ? refused({ kind: "unknown-message", offset })
          : { type: "message", message: messageOf(found) };
      }
      case "remove":
        return this.#remove(operation.offset, nowMs) ?? refused({ kind: "unknown-message", offset: operation.offset });
      case "remove-by-id": {
        const { messageId } = operation;
        const found = this.messages.find((kept) => kept.message?.messageId === messageId);
        return this.#remove(found?.offset ?? 0, nowMs) ?? refused({ kind: "unknown-message", messageId });
      }
      case "purge": {
        const removedMessages = this.messages.length;
        this.#change({ kept: [], removed: this.#state.removed + removedMessages, changedAtMs: nowMs });
        return { type: "purged", removedMessages };
      }
      default:
        return assertNever(operation);
    }
  }

  // Putting: PT, GR and WT4, WT5

  #put(record: ChannelRecord, operation: OperationOf<"put">, nowMs: number, origin: Origin | undefined): Outcome {
    const messages = listMessages(operation.messages);
    const { waitMs } = operation;
    const size: Size = { messages: messages.length, bytes: sum(messages.map(messageBytes)) };
    const earlier = this.#find(origin);
    const promise = operation.isPromised === true && earlier?.reservedUntilMs !== undefined ? earlier : undefined;
    // WT4: the promise ends with the put that comes for it, whatever becomes of the put.
    if (promise !== undefined) this.#forget(promise);
    const refusal = this.#refusePut(record, messages, size);
    if (refusal !== undefined) return refusal;
    if (operation.isPromised === true) {
      if (promise === undefined) return refused({ kind: "promise-lost", id: origin?.request ?? 0 });
      const isTooLarge = size.messages > promise.max || size.bytes > promise.bytes;
      return isTooLarge ? invalid("") : this.#append(messages, nowMs);
    }
    if (earlier !== undefined) return refused({ kind: "request-in-use", id: earlier.request });
    const isAtOnce = messages.length === 0 || (this.#isFirstInLine(origin) && this.#makeRoom(size, nowMs));
    return isAtOnce ? this.#append(messages, nowMs) : this.#waitForRoom(size, waitMs, nowMs, origin);
  }

  /** What refuses a put before it matters who waits and whether there is room (rule PT1). */
  #refusePut(record: ChannelRecord, messages: readonly PutMessage[], size: Size): Outcome | undefined {
    const byState = refusalOfPut(record);
    if (byState !== undefined) return refused(byState);
    const { maxMessageBytes } = record.settings;
    const largest = messages.map(messageBytes).find((bytes) => bytes > maxMessageBytes);
    if (largest !== undefined) return refused({ kind: "message-too-large", bytes: largest, limit: maxMessageBytes });
    const tooMany = tooLargeBatch(size, { messages: LIMITS.batchMessagesMax, bytes: Infinity });
    const bytesMax = size.messages > 1 ? LIMITS.batchBytesMax : Infinity;
    return tooMany ?? tooLargeBatch(size, { messages: Infinity, bytes: bytesMax }) ?? tooLargeBatch(size, ceilingOf(record));
  }

  #reserve(record: ChannelRecord, operation: OperationOf<"reserve">, nowMs: number, origin: Origin | undefined): Outcome {
    const size: Size = { messages: operation.messages, bytes: operation.bytes };
    const byState = refusalOfPut(record);
    if (byState !== undefined) return refused(byState);
    const never = tooLargeBatch(size, ceilingOf(record));
    if (never !== undefined) return never;
    const earlier = this.#find(origin);
    if (earlier !== undefined) return refused({ kind: "request-in-use", id: earlier.request });
    if (origin === undefined || !this.#isFirstInLine(origin) || !this.#makeRoom(size, nowMs)) {
      return this.#waitForRoom(size, operation.waitMs, nowMs, origin);
    }
    const tooManyWaiters = this.#refuseWaiter(origin);
    if (tooManyWaiters !== undefined) return tooManyWaiters;
    const reservedUntilMs = nowMs + LIMITS.reservationMs;
    const promise: ModelWaiter = { ...origin, ...putWaiter(size), deadlineMs: reservedUntilMs, reservedUntilMs };
    this.#change({ promises: [...this.#state.promises, promise] });
    return { type: "room", reservedMs: LIMITS.reservationMs };
  }

  #append(messages: readonly PutMessage[], nowMs: number): Outcome {
    const offset = this.#state.nextOffset;
    if (messages.length === 0) return { type: "put", offset, count: 0 };
    const added = messages.map((message, index): Kept => {
      return { offset: offset + index, putAtMs: nowMs, bytes: messageBytes(message), message };
    });
    this.#change({
      kept: [...this.#state.kept, ...added],
      nextOffset: offset + added.length,
      put: this.#state.put + added.length,
      changedAtMs: nowMs,
    });
    return { type: "put", offset, count: added.length };
  }

  #isFirstInLine(origin: Origin | undefined): boolean {
    const { puts, promises } = this.#state;
    return puts.length === 0 && !promises.some((promise) => promise.connection === origin?.connection);
  }

  #waitForRoom(size: Size, waitMs: number | undefined, nowMs: number, origin: Origin | undefined): Outcome {
    const wait = Math.min(waitMs ?? 0, LIMITS.waitMsMax);
    if (origin === undefined || wait === 0) return refused(this.#fullRefusal());
    const tooManyWaiters = this.#refuseWaiter(origin);
    if (tooManyWaiters !== undefined) return tooManyWaiters;
    this.#change({ puts: [...this.#state.puts, { ...origin, ...putWaiter(size), deadlineMs: nowMs + wait }] });
    return { type: "waiting" };
  }

  /** Whether `size` fits beside what is there and what is promised; grows the channel where it may. */
  #makeRoom(size: Size, nowMs: number): boolean {
    const record = this.#existing();
    const { promises } = this.#state;
    const messages = this.messages.length + sum(promises.map((promise) => promise.max)) + size.messages;
    const bytes = sum(this.messages.map((kept) => kept.bytes)) + sum(promises.map((promise) => promise.bytes)) + size.bytes;
    const { growth } = record.settings;
    let { maxMessages, maxBytes } = record.limits;
    if (growth !== null) {
      maxMessages = grow(maxMessages, messages, growth.factor, growth.maxMessages);
      maxBytes = grow(maxBytes, bytes, growth.factor, growth.maxBytes);
    }
    const isFitting = messages <= maxMessages && bytes <= maxBytes;
    const isGrown = maxMessages !== record.limits.maxMessages || maxBytes !== record.limits.maxBytes;
    if (isFitting && isGrown) {
      this.#appendControl({ type: "resize", maxMessages, maxBytes }, nowMs);
      this.#state.record = { ...record, limits: { maxMessages, maxBytes } };
    }
    return isFitting;
  }

  #appendControl(control: ControlEvent, nowMs: number): void {
    const { kept, nextOffset } = this.#state;
    const last = kept.at(-1);
    // GR2: one that directly follows another supersedes it.
    const others = last?.control !== undefined && last.offset === nextOffset - 1 ? kept.slice(0, -1) : kept;
    this.#change({
      kept: [...others, { offset: nextOffset, putAtMs: nowMs, bytes: 0, control }],
      nextOffset: nextOffset + 1,
      changedAtMs: nowMs,
    });
  }

  // Getting: GT and WT

  #get(record: ChannelRecord, operation: OperationOf<"get">, nowMs: number, origin: Origin | undefined): Outcome {
    if (record.state === "closed") return refused({ kind: "channel-closed" });
    const max = operation.max ?? Math.max(1, operation.min ?? 1);
    const min = operation.min ?? Math.min(1, max);
    if (min > max) return invalid("/min");
    if (max === 0) return NOTHING;
    const earlier = this.#find(origin);
    if (earlier !== undefined) return refused({ kind: "request-in-use", id: earlier.request });
    const depth = this.messages.length;
    const ceiling = ceilingOf(record).messages;
    if (min > Math.max(depth, ceiling)) return tooLarge("messages", min, ceiling);
    if (this.#state.gets.length === 0 && depth >= min) return this.#take(min, max, nowMs);
    const wait = Math.min(operation.waitMs ?? 0, LIMITS.waitMsMax);
    if (origin === undefined || wait === 0 || min === 0) return NOTHING;
    if (record.state === "draining") return refused({ kind: "channel-draining", drainUntilMs: record.drainUntilMs });
    const tooManyWaiters = this.#refuseWaiter(origin);
    if (tooManyWaiters !== undefined) return tooManyWaiters;
    const waiter: ModelWaiter = { ...origin, kind: "get", min, max, bytes: 0, deadlineMs: nowMs + wait };
    this.#change({ gets: [...this.#state.gets, waiter] });
    return { type: "waiting" };
  }

  #take(min: number, max: number, nowMs: number): Outcome {
    const { kept } = this.#state;
    const taken: Kept[] = [];
    const controls: Kept[] = [];
    let bytes = 0;
    for (const record of kept) {
      if (record.control !== undefined) {
        controls.push(record);
        continue;
      }
      if (taken.length === max || (taken.length > 0 && bytes + record.bytes > LIMITS.replyBytesMax)) break;
      bytes += record.bytes;
      taken.push(record);
    }
    if (taken.length < min) return tooLarge("messages", min, taken.length);
    if (taken.length + controls.length > 0) {
      this.#change({
        kept: kept.slice(taken.length + controls.length),
        acked: this.#state.acked + taken.length,
        changedAtMs: nowMs,
      });
    }
    return { type: "got", messages: taken.map(messageOf), controls: controls.map(controlOf) };
  }

  // Waiting: WT

  #serve(nowMs: number): void {
    if (this.#state.record === undefined) return;
    for (let promise = this.#state.promises[0]; promise !== undefined; promise = this.#state.promises[0]) {
      const isOver = (promise.reservedUntilMs ?? 0) <= nowMs || !this.#isConnected(promise.connection);
      if (!isOver) break;
      this.#forget(promise);
      this.#tell(promise, refused({ kind: "promise-lost", id: promise.request }));
    }
    for (;;) {
      const get = this.#state.gets[0];
      if (get !== undefined && this.#serveGet(get, nowMs)) continue;
      const put = this.#state.puts[0];
      if (put !== undefined && this.#servePut(put, nowMs)) continue;
      return;
    }
  }

  #serveGet(waiter: ModelWaiter, nowMs: number): boolean {
    const record = this.#existing();
    if (!this.#isConnected(waiter.connection)) return this.#forget(waiter);
    if (waiter.deadlineMs <= nowMs) return this.#end(waiter, NOTHING);
    if (this.messages.length >= waiter.min) return this.#end(waiter, this.#take(waiter.min, waiter.max, nowMs));
    if (record.state === "draining") {
      return this.#end(waiter, refused({ kind: "channel-draining", drainUntilMs: record.drainUntilMs }));
    }
    const ceiling = ceilingOf(record).messages;
    return waiter.min > ceiling && this.#end(waiter, tooLarge("messages", waiter.min, ceiling));
  }

  #servePut(waiter: ModelWaiter, nowMs: number): boolean {
    const size: Size = { messages: waiter.max, bytes: waiter.bytes };
    if (!this.#isConnected(waiter.connection)) return this.#forget(waiter);
    if (waiter.deadlineMs <= nowMs) return this.#end(waiter, refused(this.#fullRefusal()));
    const never = tooLargeBatch(size, ceilingOf(this.#existing()));
    if (never !== undefined) return this.#end(waiter, never);
    if (!this.#makeRoom(size, nowMs)) return false;
    this.#forget(waiter);
    const promise: ModelWaiter = { ...waiter, reservedUntilMs: nowMs + LIMITS.reservationMs };
    this.#change({ promises: [...this.#state.promises, promise] });
    this.#tell(waiter, { type: "room", reservedMs: LIMITS.reservationMs });
    return true;
  }

  #cancel(origin: Origin): void {
    const waiter = this.#find(origin);
    if (waiter !== undefined) this.#end(waiter, waiter.kind === "get" ? NOTHING : refused(this.#fullRefusal()));
  }

  #refuseWaiter({ connection }: Origin): Outcome | undefined {
    const ofConnection = this.#waiters().filter((waiter) => waiter.connection === connection).length;
    const isTooMany = ofConnection >= LIMITS.waitersPerSocketMax;
    if (!isTooMany && this.waiterCount < LIMITS.waitersMax) return undefined;
    const limit = isTooMany ? LIMITS.waitersPerSocketMax : LIMITS.waitersMax;
    return refused({ kind: "too-many-waiters", limit, retryAfterMs: 1000 });
  }

  #waiters(): ModelWaiter[] {
    return [...this.#state.gets, ...this.#state.promises, ...this.#state.puts];
  }

  #find(origin: Origin | undefined): ModelWaiter | undefined {
    return this.#waiters().find((waiter) => waiter.connection === origin?.connection && waiter.request === origin.request);
  }

  #forget(waiter: ModelWaiter): true {
    const isOther = (other: ModelWaiter): boolean => other.connection !== waiter.connection || other.request !== waiter.request;
    const { gets, puts, promises } = this.#state;
    this.#change({ gets: gets.filter(isOther), puts: puts.filter(isOther), promises: promises.filter(isOther) });
    return true;
  }

  #end(waiter: ModelWaiter, outcome: Outcome): true {
    this.#tell(waiter, outcome);
    return this.#forget(waiter);
  }

  #tell({ connection, request }: ModelWaiter, outcome: Outcome): void {
    this.#effects.push({ connection, request, outcome });
  }

  #refuseWaiting(kind: "get" | "put", refusal: Refusal): void {
    for (const waiter of this.#waiters()) if (waiter.kind === kind) this.#end(waiter, refused(refusal));
  }

  // Looking and removing: RM

  #browse(fromOffset: number, limit: number): Outcome {
    const messages: Kept[] = [];
    const controls: Kept[] = [];
    let bytes = 0;
    for (const record of this.#state.kept.filter((kept) => kept.offset >= fromOffset)) {
      if (record.control !== undefined) {
        controls.push(record);
        continue;
      }
      bytes += record.bytes;
      const isFull = messages.length === limit || (messages.length > 0 && bytes > LIMITS.replyBytesMax);
      if (isFull)
        return { type: "page", messages: messages.map(messageOf), controls: controls.map(controlOf), nextOffset: record.offset };
      messages.push(record);
    }
    return { type: "page", messages: messages.map(messageOf), controls: controls.map(controlOf), nextOffset: null };
  }

  #remove(offset: number, nowMs: number): Outcome | undefined {
    if (!this.messages.some((kept) => kept.offset === offset)) return undefined;
    this.#change({
      kept: this.#state.kept.filter((kept) => kept.offset !== offset),
      removed: this.#state.removed + 1,
      changedAtMs: nowMs,
    });
    return { type: "removed", offset };
  }

  // Life cycle: LC

  #create(given: GivenSettings, moment: Moment): Outcome {
    const { record } = this.#state;
    if (record !== undefined && record.state !== "deleted") {
      const conflicts = Object.keys(given).filter((name) => !isSame(given[name as "growth"], record.settings[name as "growth"]));
      if (conflicts.length > 0) return refused({ kind: "settings-conflict", conflicts, current: record.settings });
      return this.#described("confirmed");
    }
    const settings = { ...DEFAULT_SETTINGS, ...given } as Settings;
    const fault = faultOf(settings);
    if (fault !== undefined) return invalid(fault);
    this.#begin(settings, moment);
    return this.#described("created");
  }

  #begin(settings: Settings, { nowMs, drawLife }: Moment): void {
    const limits = { maxMessages: settings.maxMessages, maxBytes: settings.maxBytes };
    const outbox = this.#nextOutbox(nowMs);
    const record: ChannelRecord = {
      life: drawLife(),
      leaseSecret: "",
      state: "open",
      settings,
      limits,
      createdAtMs: nowMs,
      drainUntilMs: null,
      deletedAtMs: null,
      droppedMessages: 0,
      isExpired: false,
      outbox,
    };
    this.#change({ record, kept: [], nextOffset: 1, put: 0, acked: 0, removed: 0, changedAtMs: nowMs });
  }

  #patch(record: ChannelRecord, { state, ...given }: ChannelPatch, nowMs: number): Outcome {
    const settings = { ...record.settings, ...given } as Settings;
    const fault = faultOf(settings);
    if (fault !== undefined) return invalid(fault);
    const isResized = given.maxMessages !== undefined || given.maxBytes !== undefined;
    const limits = isResized ? { maxMessages: settings.maxMessages, maxBytes: settings.maxBytes } : record.limits;
    if (!isSame(limits, record.limits)) this.#appendControl({ type: "resize", ...limits }, nowMs);
    const isGiven = Object.keys(given).length > 0;
    const outbox = isGiven ? this.#nextOutbox(nowMs) : record.outbox;
    const isMoved = state !== undefined && state !== record.state;
    if (isMoved && state === "draining") this.#appendControl({ type: "close" }, nowMs);
    const moved = isMoved ? { state, drainUntilMs: null } : {};
    this.#change({ record: { ...record, settings, limits, outbox, ...moved } });
    if (isGiven || isMoved) this.#change({ changedAtMs: nowMs });
    this.#refuseByState();
    this.#finishDrain(nowMs);
    return this.#described("patched");
  }

  #delete(record: ChannelRecord, graceMs: number, nowMs: number): Outcome {
    if (graceMs === 0 || this.messages.length === 0) return { type: "deleted", droppedMessages: this.#erase(nowMs, false) };
    if (record.state !== "draining") this.#appendControl({ type: "close" }, nowMs);
    const drainUntilMs = Math.min(record.drainUntilMs ?? Infinity, nowMs + graceMs);
    this.#change({ record: { ...record, state: "draining", drainUntilMs } });
    this.#refuseByState();
    return this.#described("deleting");
  }

  #refuseByState(): void {
    const record = this.#existing();
    const put = refusalOfPut(record);
    if (put !== undefined) this.#refuseWaiting("put", put);
    if (record.state === "closed") this.#refuseWaiting("get", { kind: "channel-closed" });
  }

  #finishDrain(nowMs: number): void {
    const { record } = this.#state;
    if (record?.state !== "draining" || this.messages.length > 0) return;
    if (record.drainUntilMs !== null) {
      this.#erase(nowMs, false);
      return;
    }
    this.#change({ record: { ...record, state: "closed" } });
    this.#refuseByState();
  }

  #meetDeadline(nowMs: number): void {
    const { record } = this.#state;
    if (record?.state === "draining" && record.drainUntilMs !== null && record.drainUntilMs <= nowMs) this.#erase(nowMs, false);
  }

  #expireIdle(nowMs: number): void {
    const { record, changedAtMs } = this.#state;
    if (record === undefined || record.state === "deleted" || record.settings.expireAfterIdleMs === null) return;
    if (this.messages.length > 0 || this.waiterCount > 0) this.#change({ inUseAtMs: nowMs });
    const idleSinceMs = Math.max(changedAtMs, this.#state.inUseAtMs);
    if (idleSinceMs + record.settings.expireAfterIdleMs <= nowMs) this.#erase(nowMs, true);
  }

  #erase(nowMs: number, isExpired: boolean): number {
    const droppedMessages = this.messages.length;
    const outbox = this.#nextOutbox(nowMs);
    const ended = { droppedMessages, isExpired, outbox, state: "deleted", drainUntilMs: null, deletedAtMs: nowMs } as const;
    const record: ChannelRecord = { ...this.#existing(), ...ended };
    this.#change({ record, kept: [], nextOffset: 1, put: 0, acked: 0, removed: 0, changedAtMs: nowMs });
    this.#refuseWaiting("put", deletedRefusal(record));
    this.#refuseWaiting("get", deletedRefusal(record));
    return droppedMessages;
  }

  #nextOutbox(nowMs: number): ChannelRecord["outbox"] {
    const version = Math.max(nowMs, (this.#state.record?.outbox.version ?? 0) + 1);
    return { version, isPending: true, attempts: 0, nextAttemptAtMs: nowMs };
  }

  #described(type: "created" | "confirmed" | "described" | "patched" | "deleting"): Outcome {
    const facts = this.describe();
    if (facts === undefined) throw new Error("Only what exists is described");
    return { type, facts };
  }

  #existing(): ChannelRecord {
    if (this.#state.record === undefined) throw new Error("The channel exists");
    return this.#state.record;
  }

  #fullRefusal(): Refusal {
    const bytes = sum(this.messages.map((kept) => kept.bytes));
    const { promises } = this.#state;
    const promised = promises.length > 0 && {
      promisedMessages: sum(promises.map(({ max }) => max)),
      promisedBytes: sum(promises.map((promise) => promise.bytes)),
    };
    return { kind: "channel-full", retryAfterMs: 0, depth: this.messages.length, bytes, ...this.#existing().limits, ...promised };
  }

  #change(change: Partial<State>): void {
    this.#state = { ...this.#state, ...change };
  }
}

function deletedRefusal({ deletedAtMs, droppedMessages }: ChannelRecord): Refusal {
  return { kind: "channel-deleted", deletedAtMs: deletedAtMs ?? 0, droppedMessages };
}

function refusalOfPut({ state, drainUntilMs }: ChannelRecord): Refusal | undefined {
  if (state === "draining") return { kind: "channel-draining", drainUntilMs };
  return state === "closed" ? { kind: "channel-closed" } : undefined;
}

function tooLarge(unit: "messages" | "bytes", size: number, limit: number): Outcome {
  return refused({ kind: "batch-too-large", size, limit, unit });
}

function tooLargeBatch(size: Size, limit: Size): Outcome | undefined {
  if (size.messages > limit.messages) return tooLarge("messages", size.messages, limit.messages);
  return size.bytes > limit.bytes ? tooLarge("bytes", size.bytes, limit.bytes) : undefined;
}

function ceilingOf({ limits, settings: { growth } }: ChannelRecord): Size {
  return {
    messages: Math.max(limits.maxMessages, growth?.maxMessages ?? 0),
    bytes: Math.max(limits.maxBytes, growth?.maxBytes ?? 0),
  };
}

function grow(limit: number, needed: number, factor: number, limitMax: number): number {
  if (limit >= needed || limit >= limitMax) return limit;
  return grow(Math.min(limitMax, Math.max(limit + 1, Math.ceil(limit * factor))), needed, factor, limitMax);
}

function faultOf({ growth, maxMessages, maxBytes }: Settings): string | undefined {
  if (growth === null) return undefined;
  if (growth.maxMessages < maxMessages) return "/growth/maxMessages";
  return growth.maxBytes < maxBytes ? "/growth/maxBytes" : undefined;
}

function messageOf({ message, offset, putAtMs }: Kept): Extract<Outcome, { type: "message" }>["message"] {
  if (message === undefined) throw new Error("Not a message");
  return { ...message, offset, putAtMs };
}

function controlOf({ control, offset, putAtMs }: Kept): Extract<Outcome, { type: "got" }>["controls"][number] {
  if (control === undefined) throw new Error("Not a control record");
  return { offset, putAtMs, control };
}

function putWaiter(size: Size): Pick<ModelWaiter, "kind" | "min" | "max" | "bytes"> {
  return { kind: "put", min: size.messages, max: size.messages, bytes: size.bytes };
}

function isSame(a: object | number | null | undefined, b: object | number | null | undefined): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
