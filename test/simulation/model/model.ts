// A naive channel that follows SPEC.md word by word: one plain list of messages, each with a state; no indexes, no segments, no storage.
// It decides what every operation answers, what a pull may return and in which order, when leases end and delays are over, and what dies.
import { assertNever } from "../../../src/base/assert.ts";
import type { Deferred } from "../../../src/channel/delivery-store.ts";
import type { ChannelFacts, Effect, Moment, Operation, OperationOf, Origin, Outcome } from "../../../src/channel/operation.ts";
import { LIMITS } from "../../../src/protocol/limits.ts";
import type { ScheduledMessage } from "../../../src/protocol/message.ts";
import type { ScheduledReceipt } from "../../../src/protocol/schedule.ts";
import { DEFAULT_SETTINGS } from "../../../src/protocol/settings.ts";
import { NOTHING_ENTERED } from "./beside.ts";
import { ModelCheckpoints } from "./checkpoints.ts";
import { type IsKeyStored, ModelDedup } from "./dedup.ts";
import { ModelDelivery } from "./delivery.ts";
import { ModelLife } from "./life.ts";
import { ModelRiders } from "./riders.ts";
import { ModelSchedule } from "./schedule.ts";
import {
  Book,
  controlOf,
  deletedRefusal,
  messageOf,
  type ModelMessage,
  type ModelRecord,
  type ModelState,
  refusalOfPut,
  refused,
} from "./state.ts";
import { ModelTraffic } from "./traffic.ts";

type MessageOperation = "browse" | "read" | "remove" | "remove-by-id" | "purge" | "quarantine";
type LetterOperation = "dead-letters" | "drop-dead-letters" | "redrive" | "release-quarantine" | "drop-quarantine";

export class Model {
  readonly #book = new Book();
  readonly #delivery = new ModelDelivery(this.#book);
  readonly #schedule = new ModelSchedule(this.#book);
  readonly #dedup = new ModelDedup(this.#book);
  readonly #checkpoints = new ModelCheckpoints(this.#book);
  readonly #traffic: ModelTraffic;
  readonly #riders: ModelRiders;
  readonly #life: ModelLife;
  readonly #isConnected: (connection: number) => boolean;
  /** Connections that a crash cut off: their leases begin their grace when the channel next acts (LS9). */
  #lost: readonly number[] = [];

  constructor(isConnected: (connection: number) => boolean) {
    this.#isConnected = isConnected;
    const parts = { book: this.#book, delivery: this.#delivery };
    this.#traffic = new ModelTraffic({ ...parts, schedule: this.#schedule, dedup: this.#dedup, isConnected });
    this.#riders = new ModelRiders({ ...parts, traffic: this.#traffic, checkpoints: this.#checkpoints });
    this.#life = new ModelLife(this.#book, this.#traffic);
  }

  get state(): ModelState {
    return this.#book.state;
  }

  get messages(): readonly ModelMessage[] {
    return this.#book.messages;
  }

  get headOffset(): number {
    return this.#book.headOffset;
  }

  /** Rises with every change, so that a refusal can be seen to change nothing. */
  get version(): number {
    return this.#book.version;
  }

  /** When the alarm has to ring at the latest; `isWithoutIdle` for a channel that is not looked after when it becomes idle. */
  nextAlarmAtMs(nowMs: number, isWithoutIdle = false): number | undefined {
    return this.#life.nextAlarmAtMs(nowMs, isWithoutIdle);
  }

  /** A commit failed, or the object was evicted or killed: what was stored, and the waiters of sockets that are still open. */
  wake(stored: ModelState): void {
    const isThere = ({ connection }: { connection: number }): boolean => this.#isConnected(connection);
    this.#book.takeEffects();
    this.#book.change({
      ...stored,
      // What was only parked behind the scan mark is found again by the scan.
      records: stored.records.map((record) => forgetParked(record, stored.scanMark)),
      frontier: Math.max(stored.scanMark, stored.records[0]?.offset ?? stored.nextOffset),
      inUseAtMs: 0,
      gets: stored.gets.filter(isThere),
      puts: stored.puts.filter(isThere),
      promises: stored.promises.filter(isThere),
    });
    this.#checkpoints.wake();
    const holders = this.messages.flatMap(({ lease }) => (lease?.connection === undefined ? [] : [lease.connection]));
    this.#lost = holders.filter((connection) => !this.#isConnected(connection));
  }

  /** A commit was written, and the next one begins. `isKeyStored` is given when keys were dropped. */
  noteCommit(nowMs: number, isKeyStored: IsKeyStored | undefined): string | undefined {
    this.#book.note({ entered: NOTHING_ENTERED });
    return isKeyStored && this.state.record && this.#dedup.adopt(isKeyStored, nowMs);
  }

  /** What no rule fixes is taken from what was stored, if it is allowed: random pauses (RT1) and the scan mark (KO5). */
  adopt(stored: { readonly deferred: readonly Deferred[]; readonly scanMark: number }): string | undefined {
    for (const { offset, dueFromMs, dueAtMs } of this.messages) {
      if (dueFromMs === undefined) continue;
      const found = stored.deferred.find((deferred) => deferred.offset === offset);
      if (found === undefined || found.dueAtMs < dueFromMs || found.dueAtMs > dueAtMs)
        return `[RT1] the pause of ${offset} ends at ${found?.dueAtMs}, not from ${dueFromMs} to ${dueAtMs}`;
      this.#book.note({
        records: this.state.records.map((record) =>
          record.offset === offset && record.message !== undefined
            ? { ...record, dueAtMs: found.dueAtMs, dueFromMs: undefined }
            : record,
        ),
      });
    }
    const from = Math.max(stored.scanMark, this.headOffset);
    const parked = this.messages.findLast(({ state }) => state === "parked")?.offset ?? 0;
    if (parked - from > LIMITS.scanMarkLagMax || stored.scanMark > Math.max(this.state.frontier, this.headOffset))
      return `[KO5] the scan mark is ${stored.scanMark}, the head ${this.headOffset}, and ${parked} is parked`;
    this.#book.note({ scanMark: stored.scanMark });
    return undefined;
  }

  issue(offsets: readonly number[], leaseIds: readonly string[]): void {
    this.#delivery.issue(offsets, leaseIds);
  }

  /** The ids of messages that the last put delayed. */
  issueScheduled(receipts: readonly ScheduledReceipt[]): void {
    this.#schedule.issue(receipts);
  }

  /** In the order of entering. */
  get scheduled(): readonly ScheduledMessage[] {
    return this.#schedule.all;
  }

  takeEffects(): Effect[] {
    return this.#book.takeEffects();
  }

  /** `told` is what the channel answered; it is only asked where the rules leave the choice to it. */
  apply(operation: Operation, moment: Moment, origin: Origin | undefined, told: Outcome): Outcome {
    this.#book.told = told;
    this.#meetDeadlines(moment.nowMs, moment.isRecovering);
    this.#traffic.serve(moment.nowMs);
    this.#life.finishDrain(moment.nowMs);
    const outcome = this.#decide(operation, moment, origin);
    this.#traffic.serve(moment.nowMs);
    this.#life.finishDrain(moment.nowMs);
    return outcome;
  }

  tick(nowMs: number): void {
    this.#meetDeadlines(nowMs);
    this.#traffic.serve(nowMs);
    this.#life.finishDrain(nowMs);
    this.#life.expireIdle(nowMs);
  }

  disconnect(connection: number, isClean: boolean, nowMs: number): void {
    // It is not lost: it says how it ended (LS9).
    this.#lost = this.#lost.filter((lost) => lost !== connection);
    this.#meetDeadlines(nowMs);
    for (const waiter of this.#book.waiters) if (waiter.connection === connection) this.#traffic.forget(waiter);
    this.#delivery.endLeasesOf(connection, isClean, nowMs);
    this.#traffic.serve(nowMs);
    this.#life.finishDrain(nowMs);
  }

  settleOutbox(version: number, isDone: boolean, nowMs: number): void {
    this.#life.settleOutbox(version, isDone, nowMs);
  }

  isForgotten(nowMs: number): boolean {
    return this.#life.isForgotten(nowMs);
  }

  describe(nowMs: number): ChannelFacts | undefined {
    return this.state.record === undefined || this.state.record.state === "deleted" ? undefined : this.#life.describe(nowMs);
  }

  #meetDeadlines(nowMs: number, isRecovering = false): void {
    for (const connection of this.#lost) this.#delivery.endLeasesOf(connection, false, nowMs);
    this.#lost = [];
    this.#delivery.advance(nowMs);
    this.#life.meetDeadline(nowMs);
    if (!isRecovering) this.#schedule.enterDue(nowMs);
  }

  #decide(operation: Operation, moment: Moment, origin: Origin | undefined): Outcome {
    if (operation.type === "create") return this.#life.create(operation.settings, moment);
    const before = this.state;
    const isMissing = before.record === undefined || before.record.isExpired;
    const isUse = operation.type === "put" || operation.type === "get" || operation.type === "reserve";
    if (isMissing && isUse && moment.mayCreate) {
      this.#life.begin({ ...DEFAULT_SETTINGS, expireAfterIdleMs: LIMITS.autoCreatedExpireAfterIdleMs }, moment);
      const outcome = this.#decideOnRecord(operation, moment, origin);
      // LC7: a refusal creates no channel.
      if (outcome.type === "refused") this.#book.state = before;
      return outcome;
    }
    return this.#decideOnRecord(operation, moment, origin);
  }

  #decideOnRecord(operation: Exclude<Operation, { type: "create" }>, moment: Moment, origin: Origin | undefined): Outcome {
    const { record } = this.state;
    const { nowMs } = moment;
    if (record === undefined || record.isExpired) return refused({ kind: "unknown-channel", channel: "orders" });
    if (record.state === "deleted") return refused(deletedRefusal(record));
    switch (operation.type) {
      case "put":
        return this.#traffic.put(record, operation, nowMs, origin);
      case "reserve":
        return this.#traffic.reserve(record, operation, nowMs, origin);
      case "get":
        return this.#traffic.get(record, operation, nowMs, origin);
      case "settle":
        return this.#riders.settle(operation, nowMs);
      case "cancel":
        if (origin !== undefined) this.#traffic.cancel({ ...origin, request: operation.request });
        return { type: "cancelled" };
      case "patch":
        return this.#life.patch(record, operation.patch, nowMs);
      case "delete":
        return this.#life.delete(record, operation.graceMs, nowMs);
      case "describe":
        return this.#life.described("described", nowMs);
      case "list-checkpoints":
      case "read-checkpoint":
      case "write-checkpoint":
      case "delete-checkpoint":
        return this.#checkpoints.decide(operation, nowMs);
      case "list-scheduled":
        return this.#schedule.list(operation.after, operation.limit);
      case "cancel-scheduled":
        return this.#schedule.cancel(operation.scheduledId, nowMs);
      case "dead-letters":
      case "drop-dead-letters":
      case "redrive":
      case "release-quarantine":
      case "drop-quarantine":
        return this.#decideOnLetters(operation, nowMs);
      default:
        return this.#decideOnMessages(operation as OperationOf<MessageOperation>, nowMs);
    }
  }

  #decideOnMessages(operation: OperationOf<MessageOperation>, nowMs: number): Outcome {
    switch (operation.type) {
      case "browse":
        return this.#browse(operation.fromOffset, operation.limit);
      case "read": {
        const { offset } = operation;
        const found = this.#book.find(offset);
        return found === undefined
          ? refused({ kind: "unknown-message", offset })
          : { type: "message", message: messageOf(found) };
      }
      case "remove": {
        const { offset } = operation;
        return this.#book.finish(offset, "removed", nowMs)
          ? { type: "removed", offset }
          : refused({ kind: "unknown-message", offset });
      }
      case "remove-by-id": {
        const { messageId } = operation;
        const offset = this.messages.find(({ message }) => message.messageId === messageId)?.offset ?? 0;
        return this.#book.finish(offset, "removed", nowMs)
          ? { type: "removed", offset }
          : refused({ kind: "unknown-message", messageId });
      }
      case "purge": {
        const removedMessages = this.#book.depth;
        this.#book.clear({ removed: this.state.removed + removedMessages, changedAtMs: nowMs });
        return { type: "purged", removedMessages };
      }
      case "quarantine": {
        const listed = this.#delivery.quarantined().slice(0, operation.limit);
        const isInReply = (_: ModelMessage, index: number): boolean =>
          index === 0 || listed.slice(0, index + 1).reduce((total, { bytes }) => total + bytes, 0) <= LIMITS.replyBytesMax;
        const messages = listed.filter(isInReply).map((one) => ({ message: messageOf(one), attempts: one.attempts }));
        return { type: "quarantine", messages };
      }
      default:
        return assertNever(operation);
    }
  }

  #decideOnLetters(operation: OperationOf<LetterOperation>, nowMs: number): Outcome {
    switch (operation.type) {
      case "dead-letters": {
        const page = this.#delivery.page(operation.fromOffset, operation.limit, operation.filter, nowMs);
        return { type: "dead-letter-page", letters: page.letters, nextOffset: page.nextOffset ?? null };
      }
      case "drop-dead-letters": {
        const { letters, nextOffset } = this.#delivery.page(operation.fromOffset, operation.max, operation.filter, nowMs);
        this.#delivery.dropLetters(letters);
        return moved(letters.length, nextOffset);
      }
      case "redrive": {
        const byState = refusalOfPut(this.#book.existing);
        if (byState !== undefined) return refused(byState);
        const { letters, nextOffset } = this.#delivery.page(operation.fromOffset, operation.max, operation.filter, nowMs);
        let count = 0;
        for (const { message } of letters) {
          const { offset, putAtMs: _, ...put } = message;
          if (!this.#traffic.putAgain({ ...put, redrivenFrom: offset }, nowMs)) break;
          count += 1;
        }
        this.#delivery.dropLetters(letters.slice(0, count));
        return moved(count, letters[count]?.message.offset ?? nextOffset);
      }
      case "release-quarantine":
      case "drop-quarantine": {
        const { offset, key } = operation;
        const found = this.#delivery.quarantined(offset, key);
        if (found.length === 0 && offset !== undefined) return refused({ kind: "unknown-message", offset });
        for (const message of found) {
          if (operation.type === "drop-quarantine") this.#book.finish(message.offset, "removed", nowMs);
          else this.#book.update(message.offset, { attempts: 0, dueAtMs: 0, dueFromMs: undefined, isQuarantined: false });
        }
        return { type: "moved", moved: found.length, isMore: false };
      }
      default:
        return assertNever(operation);
    }
  }

  #browse(fromOffset: number, limit: number): Outcome {
    const messages: ModelMessage[] = [];
    const controls: ModelRecord[] = [];
    let bytes = 0;
    let nextOffset: number | null = null;
    for (const record of this.state.records.filter((kept) => kept.offset >= fromOffset)) {
      if (record.message === undefined) {
        controls.push(record);
        continue;
      }
      bytes += record.bytes;
      if (messages.length === limit || (messages.length > 0 && bytes > LIMITS.replyBytesMax)) {
        nextOffset = record.offset;
        break;
      }
      messages.push(record);
    }
    return { type: "page", messages: messages.map(messageOf), controls: controls.flatMap(controlOf), nextOffset };
  }
}

function moved(count: number, nextOffset: number | undefined): Outcome {
  return { type: "moved", moved: count, isMore: nextOffset !== undefined, ...(nextOffset !== undefined && { nextOffset }) };
}

function forgetParked(record: ModelRecord, scanMark: number): ModelRecord {
  if (record.message === undefined || record.state !== "parked" || record.offset < scanMark) return record;
  const fresh: ModelMessage = { ...record, state: "fresh" };
  return fresh;
}
