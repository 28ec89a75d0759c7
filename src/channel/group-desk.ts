// Operations on groups, on who reads them and on what they could not deliver: settle, seek, pause, dead letters, quarantine.
import { assertNever } from "../base/assert.ts";
import { LeaseSealer } from "../protocol/lease-id.ts";
import { LIMITS } from "../protocol/limits.ts";
import { messageBytes } from "../protocol/message.ts";
import type { RefusedPart } from "../protocol/problems.ts";
import type { Backlog } from "./backlog.ts";
import type { Checkpoints } from "./checkpoints.ts";
import type { DeadLetters } from "./dead-letters.ts";
import { findStart } from "./log-reading.ts";
import type { Group, Groups } from "./groups.ts";
import type { GroupOperation, GroupStart, Moment, OperationOf, Outcome, QuarantinedMessage } from "./operation.ts";
import { dropDeadLetters, redrive, type RedriveParts } from "./redrive.ts";
import type { RedriveJob } from "./redrive-job.ts";
import type { ReaderRegistry } from "./reader-registry.ts";
import { planSettlement } from "./settlement.ts";
import type { ChannelRecord } from "./store.ts";
import type { Streams } from "./streams.ts";
import type { Traffic } from "./traffic.ts";

export type DeskOperation =
  | GroupOperation
  | OperationOf<
      | "list-readers"
      | "settle"
      | "dead-letters"
      | "redrive"
      | "stop-redrive"
      | "drop-dead-letters"
      | "quarantine"
      | "release-quarantine"
      | "drop-quarantine"
    >;

export class GroupDesk {
  readonly #backlog: Backlog;
  readonly #groups: Groups;
  readonly #deadLetters: DeadLetters;
  readonly #traffic: Traffic;
  readonly #streams: Streams;
  readonly #checkpoints: Checkpoints;
  readonly #redriveParts: RedriveParts;
  readonly #job: RedriveJob;
  readonly #readers: ReaderRegistry;

  constructor(parts: {
    readonly redriveParts: RedriveParts;
    readonly job: RedriveJob;
    readonly readers: ReaderRegistry;
    readonly traffic: Traffic;
    readonly streams: Streams;
    readonly checkpoints: Checkpoints;
    readonly backlog: Backlog;
    readonly groups: Groups;
    readonly deadLetters: DeadLetters;
  }) {
    this.#redriveParts = parts.redriveParts;
    this.#job = parts.job;
    this.#readers = parts.readers;
    this.#traffic = parts.traffic;
    this.#streams = parts.streams;
    this.#checkpoints = parts.checkpoints;
    this.#backlog = parts.backlog;
    this.#groups = parts.groups;
    this.#deadLetters = parts.deadLetters;
  }

  decide(record: ChannelRecord, operation: DeskOperation, moment: Moment): Outcome {
    switch (operation.type) {
      case "settle":
        return this.#settle(record, operation, moment);
      case "list-groups": {
        const { groups, next } = this.#groups.list(operation);
        return { type: "groups", groups: groups.map((group) => this.#groups.describe(group, moment.nowMs)), next };
      }
      case "list-readers":
        return this.#readers.list(operation, moment.nowMs);
      case "create-group":
        return this.#create(operation, moment.nowMs);
      case "dead-letters": {
        const { letters, nextOffset } = this.#deadLetters.find({ ...operation, nowMs: moment.nowMs });
        return { type: "dead-letter-page", letters, nextOffset: nextOffset ?? null };
      }
      case "drop-dead-letters":
        return dropDeadLetters(this.#deadLetters, operation, moment.nowMs);
      case "redrive": {
        const { nowMs } = moment;
        const { ratePerSecond } = operation;
        if (ratePerSecond !== undefined) return this.#job.begin(record, operation, { ratePerSecond, nowMs });
        return redrive(this.#redriveParts, { record, operation, nowMs });
      }
      case "stop-redrive":
        return this.#job.stop(record);
      default:
        return this.#decideOnGroup(operation, moment.nowMs);
    }
  }

  #decideOnGroup(
    operation: Exclude<
      DeskOperation,
      OperationOf<
        | "settle"
        | "list-readers"
        | "list-groups"
        | "create-group"
        | "dead-letters"
        | "redrive"
        | "stop-redrive"
        | "drop-dead-letters"
      >
    >,
    nowMs: number,
  ): Outcome {
    const found = this.#groups.find(operation.group);
    if (!found.ok) return { type: "refused", refusal: found.refusal };
    const group = found.value;
    switch (operation.type) {
      case "describe-group":
        return { type: "group", description: this.#groups.describe(group, nowMs) };
      case "change-group":
        return this.#onOwnGroup(group, () => {
          const { isPaused, settings } = operation;
          return { type: "group", description: this.#groups.describe(this.#groups.change(group, { isPaused, settings }), nowMs) };
        });
      case "seek-group":
        return this.#onOwnGroup(group, () => this.#seek(group, operation.to, nowMs));
      case "delete-group":
        return this.#onOwnGroup(group, () => {
          this.delete(group);
          return { type: "group-deleted", group: group.name };
        });
      case "quarantine":
        return this.#listQuarantine(group, operation.limit);
      case "release-quarantine":
      case "drop-quarantine":
        return this.#endQuarantine(group, operation);
      default:
        return assertNever(operation);
    }
  }

  /** Ends a group, and whoever waits for its messages. */
  delete(group: Group): void {
    this.#groups.delete(group);
    this.#traffic.refuseReaders(group.id, { kind: "unknown-group", group: group.name });
    this.#streams.endGroup(group.id, { kind: "unknown-group", group: group.name });
  }

  /** The group of a queue is the queue: it has the channel's settings, and goes with it. */
  #onOwnGroup(group: Group, use: () => Outcome): Outcome {
    if (group.view !== undefined) return use();
    return { type: "refused", refusal: { kind: "wrong-retention", retention: "queue", needed: ["interest", "log"] } };
  }

  #create({ group: name, settings, expireAfterIdleMs, start }: OperationOf<"create-group">, nowMs: number): Outcome {
    const found = this.#groups.find(name);
    if (found.ok) {
      const description = this.#groups.describe(found.value, nowMs);
      return this.#onOwnGroup(found.value, () => ({ type: "group", description }));
    }
    if (found.refusal.kind !== "unknown-group") return { type: "refused", refusal: found.refusal };
    const startOffset = findStart(this.#backlog, start ?? { at: "last" });
    if (startOffset === undefined) return this.#refuseOutOfRange();
    const created = this.#groups.create(name, { settings, expireAfterIdleMs, startOffset, nowMs });
    if (!created.ok) return { type: "refused", refusal: created.refusal };
    return { type: "group-created", description: this.#groups.describe(created.value, nowMs) };
  }

  #seek(group: Group, to: GroupStart, nowMs: number): Outcome {
    const offset = findStart(this.#backlog, to);
    if (offset === undefined || group.view === undefined) return this.#refuseOutOfRange();
    if (group.view.isBack(offset)) group.delivery.clear();
    group.view.seek(offset);
    group.delivery.forgetBefore(group.view.headOffset);
    return { type: "group", description: this.#groups.describe(group, nowMs) };
  }

  #refuseOutOfRange(): Outcome {
    const { headOffset, nextOffset } = this.#backlog;
    return { type: "refused", refusal: { kind: "seek-out-of-range", firstOffset: headOffset, nextOffset } };
  }

  /** Carries out what is not refused; with riders, all or nothing (rule LS12). */
  #settle(record: ChannelRecord, operation: OperationOf<"settle">, moment: Moment): Outcome {
    const { entries, checkpoint, puts, source } = operation;
    const sealer = LeaseSealer.of(record.leaseSecret);
    const plan = planSettlement(entries, { sealer, groups: this.#groups, moment });
    if ("kind" in plan) return { type: "refused", refusal: plan };
    if (checkpoint === undefined && puts === undefined) return plan.carryOut();
    const refused = plan.refused.map(({ pointer, refusal }): RefusedPart => ({ pointer, problem: refusal }));
    const [fault] = checkpoint === undefined ? [] : this.#checkpoints.judge([checkpoint]);
    if (fault !== undefined) refused.push({ pointer: "/checkpoint", problem: fault.refusal });
    const riders = puts && { messages: puts, freed: plan.measureFreed() };
    const full = riders && this.#traffic.refuseRiders(record, riders, moment.nowMs);
    if (full !== undefined) refused.push({ pointer: "/puts", problem: full });
    if (refused.length > 0) return { type: "refused", refusal: { kind: "settle-refused", refused } };
    const settled = plan.carryOut();
    const [written] = checkpoint === undefined ? [] : this.#checkpoints.apply([checkpoint], moment.nowMs);
    const put = puts && { offset: this.#backlog.append(puts, moment.nowMs, source), count: puts.length };
    return { ...settled, ...(written !== undefined && { checkpoint: written }), ...(put !== undefined && { put }) };
  }

  #listQuarantine(group: Group, limit: number): Outcome {
    const messages: QuarantinedMessage[] = [];
    let bytes = 0;
    for (const { offset, attempts } of group.delivery.findQuarantined({}).slice(0, limit)) {
      const message = this.#backlog.read(offset);
      if (message === undefined) continue;
      bytes += messageBytes(message);
      if (messages.length > 0 && bytes > LIMITS.replyBytesMax) break;
      messages.push({ message, attempts });
    }
    return { type: "quarantine", messages };
  }

  #endQuarantine(group: Group, operation: OperationOf<"release-quarantine" | "drop-quarantine">): Outcome {
    const { offset } = operation;
    const found = group.delivery.findQuarantined(operation);
    if (found.length === 0 && offset !== undefined) {
      const isKept = this.#backlog.isKept(offset) && ({ isKept: true } as const);
      return { type: "refused", refusal: { kind: "unknown-message", offset, ...isKept } };
    }
    for (const message of found) {
      if (operation.type === "release-quarantine") group.delivery.releaseQuarantined(message);
      else group.delivery.finish(message.offset, "removed");
    }
    return { type: "moved", moved: found.length, isMore: false };
  }
}
