// Random puts with delays, gets and the rest on a channel and on a naive model of SPEC section SD, with clocks that jump, evictions and
// commits that fail. A failure prints its seed and its shortest plan; `fc.assert(…, { seed, path })` plays it again.
import { deepStrictEqual } from "node:assert";
import * as fc from "fast-check";
import { afterEach, describe, expect, test } from "vitest";
import type { Outcome } from "../../src/channel/operation.ts";
import { decodeUtf8 } from "../../src/protocol/bytes.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import type { MessageDelay } from "../../src/protocol/schedule.ts";
import { ChannelHarness, expectType, kindOf, START_MS, textsOf } from "./channel-harness.ts";

/** So low that a short plan meets them. */
const LOW_LIMITS = { scheduledEntryMessagesMax: 3, scheduledEntryBytesMax: 9, segmentRecordsMax: 3, scheduledPageMax: 3 };
// MODEL_RUNS=50 plays 20,000 plans.
const RUNS = Number(process.env["MODEL_RUNS"] ?? 1);
const PRODUCTION_LIMITS = { ...LIMITS };

/** Delays of a put, in ms from now; undefined for none. Absolute where `isAbsolute`, and then also in the past. */
interface Put {
  readonly type: "put";
  readonly delaysMs: readonly (number | undefined)[];
  readonly isAbsolute: boolean;
}

type Step =
  | Put
  | { readonly type: "get"; readonly max: number }
  | { readonly type: "cancel"; readonly pick: number }
  | { readonly type: "list"; readonly limit: number; readonly pick: number | undefined }
  | { readonly type: "resize"; readonly maxMessages: number }
  | { readonly type: "state"; readonly state: "open" | "draining" | "closed" }
  | { readonly type: "delete"; readonly graceMs: number }
  | { readonly type: "create" }
  | { readonly type: "purge" }
  | { readonly type: "tick" };

interface Commit {
  readonly steps: readonly Step[];
  readonly ending: "commit" | "evict" | "fail";
  readonly passMs: number;
}

interface Scheduled {
  readonly text: string;
  readonly dueAtMs: number;
  readonly scheduledId: string;
}

const delays = fc.oneof(
  { weight: 3, arbitrary: fc.integer({ min: 0, max: 60 }) },
  { weight: 1, arbitrary: fc.constantFrom(1000, LIMITS.delayMsMax, LIMITS.delayMsMax + 1) },
);
const steps: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      type: fc.constant("put" as const),
      delaysMs: fc.array(fc.option(delays, { nil: undefined, freq: 3 }), { maxLength: 6 }),
      isAbsolute: fc.boolean(),
    }),
  },
  { weight: 4, arbitrary: fc.record({ type: fc.constant("get" as const), max: fc.integer({ min: 1, max: 5 }) }) },
  { weight: 3, arbitrary: fc.record({ type: fc.constant("cancel" as const), pick: fc.nat(20) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      type: fc.constant("list" as const),
      limit: fc.integer({ min: 1, max: 4 }),
      pick: fc.option(fc.nat(20), { nil: undefined }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ type: fc.constant("resize" as const), maxMessages: fc.integer({ min: 1, max: 20 }) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant("state" as const),
      state: fc.constantFrom("open" as const, "draining" as const, "closed" as const),
    }),
  },
  { weight: 1, arbitrary: fc.record({ type: fc.constant("delete" as const), graceMs: fc.constantFrom(0, 40) }) },
  { weight: 5, arbitrary: fc.constantFrom<Step>({ type: "create" }, { type: "purge" }, { type: "tick" }) },
);
const plans: fc.Arbitrary<readonly Commit[]> = fc.array(
  fc.record({
    steps: fc.array(steps, { minLength: 1, maxLength: 5 }),
    ending: fc.constantFrom("commit" as const, "commit" as const, "evict" as const, "fail" as const),
    passMs: fc.oneof(fc.integer({ min: 0, max: 40 }), fc.constantFrom(-30, 1000, LIMITS.delayMsMax)),
  }),
  { minLength: 1, maxLength: 14 },
);

function same(actual: unknown, expected: unknown): void {
  deepStrictEqual(actual, expected);
}

/** What the rules make of a channel, with nothing but lists. */
class Model {
  state: "open" | "draining" | "closed" | "deleted" = "open";
  drainUntilMs = Infinity;
  maxMessages = 20;
  waiting: string[] = [];
  scheduled: Scheduled[] = [];
  put = 0;
  taken = 0;
  removed = 0;
  dropped = 0;
  entered = { messages: 0, bytes: 0 };

  copy(): Model {
    return Object.assign(new Model(), structuredClone(Object.fromEntries(Object.entries(this))));
  }

  /** What happens by itself before anything is decided. */
  advance(nowMs: number): void {
    if (this.state === "draining" && this.drainUntilMs <= nowMs) this.end();
    for (;;) {
      const [first] = this.scheduled;
      if (first === undefined || first.dueAtMs > nowMs || this.entered.messages === LIMITS.scheduledEntryMessagesMax) return;
      const bytes = this.entered.bytes + first.text.length;
      if (this.entered.messages > 0 && bytes > LIMITS.scheduledEntryBytesMax) return;
      this.entered = { messages: this.entered.messages + 1, bytes };
      this.scheduled.shift();
      this.waiting.push(first.text);
      this.put += 1;
    }
  }

  finish(): void {
    if (this.state !== "draining" || this.waiting.length + this.scheduled.length > 0) return;
    if (this.drainUntilMs === Infinity) this.state = "closed";
    else this.end();
  }

  end(): void {
    this.dropped = this.waiting.length + this.scheduled.length;
    this.state = "deleted";
    this.waiting = [];
    this.scheduled = [];
    this.drainUntilMs = Infinity;
    this.put = this.taken = this.removed = 0;
  }

  schedule(entry: Scheduled): void {
    const later = this.scheduled.findIndex((other) => other.dueAtMs > entry.dueAtMs);
    this.scheduled.splice(later === -1 ? this.scheduled.length : later, 0, entry);
  }
}

class Run {
  readonly #channel = new ChannelHarness({ settings: { maxMessages: 20 } });
  #model = new Model();
  /** Ids that were answered and stand. */
  #ids: string[] = [];
  #texts = 0;

  play(plan: readonly Commit[]): void {
    for (const commit of plan) {
      const before = this.#model.copy();
      const ids = [...this.#ids];
      const play = (): void => {
        for (const step of commit.steps) this.#perform(step);
      };
      if (commit.ending === "fail") {
        this.#channel.failToCommit(play);
        this.#model = before;
        this.#ids = ids;
      } else this.#channel.together(play);
      this.#model.entered = { messages: 0, bytes: 0 };
      if (commit.ending === "evict") this.#channel.evict();
      this.#compare();
      this.#channel.nowMs += commit.passMs;
    }
    this.#settleAll();
  }

  #perform(step: Step): void {
    const { nowMs } = this.#channel;
    if (step.type === "tick") {
      this.#model.advance(nowMs);
      this.#model.finish();
      this.#channel.tick();
      return;
    }
    this.#model.advance(nowMs);
    this.#decide(step, nowMs);
    this.#model.finish();
    this.#compareFacts();
  }

  #decide(step: Exclude<Step, { type: "tick" }>, nowMs: number): void {
    const model = this.#model;
    const isGone = model.state === "deleted";
    switch (step.type) {
      case "put":
        return this.#put(step, nowMs);
      case "get": {
        const outcome = this.#channel.get({ max: step.max, min: 0 });
        if (isGone || model.state === "closed") return same(outcome.type, "refused");
        const taken = model.waiting.splice(0, step.max);
        model.taken += taken.length;
        return same(textsOf(outcome), taken);
      }
      case "cancel": {
        const id = this.#ids[step.pick % Math.max(1, this.#ids.length)] ?? "1-1";
        const outcome = this.#channel.cancelScheduled(id);
        const index = model.scheduled.findIndex(({ scheduledId }) => scheduledId === id);
        if (index >= 0) model.scheduled.splice(index, 1);
        return same(kindOf(outcome), isGone ? "channel-deleted" : index >= 0 ? "unscheduled" : "unknown-scheduled");
      }
      case "list":
        if (isGone) return same(this.#channel.apply({ type: "list-scheduled", limit: 1 }).type, "refused");
        return this.#list(step.limit, step.pick === undefined ? undefined : this.#ids[step.pick]);
      case "purge": {
        const outcome = this.#channel.apply({ type: "purge" });
        if (isGone) return same(outcome.type, "refused");
        model.removed += model.waiting.length;
        return same(outcome, { type: "purged", removedMessages: model.waiting.splice(0).length });
      }
      case "resize":
        this.#channel.patch({ maxMessages: step.maxMessages });
        if (!isGone) model.maxMessages = step.maxMessages;
        return undefined;
      case "state":
        this.#channel.patch({ state: step.state });
        if (isGone || (step.state === model.state && step.state !== "open")) return undefined;
        model.state = step.state;
        model.drainUntilMs = Infinity;
        return undefined;
      case "delete":
        return this.#delete(step.graceMs, nowMs);
      case "create": {
        this.#channel.apply({ type: "create", settings: { maxMessages: 20 } });
        if (isGone) this.#model = Object.assign(new Model(), { entered: model.entered });
        return undefined;
      }
    }
  }

  #put({ delaysMs, isAbsolute }: Put, nowMs: number): void {
    const model = this.#model;
    const texts = delaysMs.map(() => `m${(this.#texts += 1)}`);
    const given = delaysMs.map((delayMs): MessageDelay["delay"] | undefined => {
      if (delayMs === undefined) return undefined;
      return isAbsolute ? { atMs: nowMs + delayMs - 20 } : { afterMs: delayMs };
    });
    const outcome = this.#channel.put(texts, { delays: given });
    if (model.state !== "open") return same(outcome.type, "refused");
    const dueAt = given.map((delay) => (delay === undefined ? nowMs : "atMs" in delay ? delay.atMs : nowMs + delay.afterMs));
    if (dueAt.some((dueAtMs) => dueAtMs > nowMs + LIMITS.delayMsMax)) return same(kindOf(outcome), "invalid-request");
    if (texts.length > model.maxMessages) return same(kindOf(outcome), "batch-too-large");
    const held = model.waiting.length + model.scheduled.length;
    if (texts.length > 0 && held + texts.length > model.maxMessages) return same(kindOf(outcome), "channel-full");
    return this.#accept(expectType(outcome, "put"), texts, dueAt);
  }

  #accept(outcome: Extract<Outcome, { type: "put" }>, texts: readonly string[], dueAt: readonly number[]): void {
    const { nowMs } = this.#channel;
    const model = this.#model;
    const immediate = texts.filter((_, index) => (dueAt[index] ?? 0) <= nowMs);
    model.waiting.push(...immediate);
    model.put += immediate.length;
    const { count, offset, scheduled = [] } = outcome;
    same([count, count + scheduled.length], [immediate.length, texts.length]);
    same(offset === null, texts.length > 0 && immediate.length === 0);
    for (const { index, scheduledId, deliverAtMs } of scheduled) {
      same(deliverAtMs, dueAt[index]);
      same(this.#ids.includes(scheduledId), false);
      this.#ids.push(scheduledId);
      model.schedule({ text: texts[index] ?? "", dueAtMs: deliverAtMs, scheduledId });
    }
  }

  #list(limit: number, after: string | undefined): void {
    const page = this.#channel.listScheduled(limit, after);
    const [dueAtMs = -1, id = 0] = (after ?? "").split("-").filter(Boolean).map(Number);
    const isAfter = (entry: Scheduled): boolean =>
      entry.dueAtMs > dueAtMs || (entry.dueAtMs === dueAtMs && Number(entry.scheduledId.split("-")[1]) > id);
    const rest = this.#model.scheduled.filter(isAfter);
    same(
      page.messages.map((message) => message.scheduledId),
      rest.slice(0, limit).map((entry) => entry.scheduledId),
    );
    same(page.next, rest.length > limit ? (rest[limit - 1]?.scheduledId ?? null) : null);
  }

  #delete(graceMs: number, nowMs: number): void {
    const model = this.#model;
    const held = model.waiting.length + model.scheduled.length;
    const outcome = this.#channel.delete(graceMs);
    if (model.state === "deleted") return same(outcome.type, "refused");
    if (graceMs === 0 || held === 0) {
      model.end();
      return same(outcome, { type: "deleted", droppedMessages: held });
    }
    model.state = "draining";
    model.drainUntilMs = Math.min(model.drainUntilMs, nowMs + graceMs);
    return same(outcome.type, "deleting");
  }

  /** The totals, in memory. */
  #compareFacts(): void {
    const { record, pressure } = this.#channel.channel;
    const model = this.#model;
    same(record?.state, model.state);
    if (model.state === "deleted") return same(record?.droppedMessages, model.dropped);
    return same(pressure?.depth, model.waiting.length);
  }

  /** Everything, after a commit, as it is in memory and as whoever wakes now would find it. */
  #compare(): void {
    this.#compareFacts();
    const model = this.#model;
    if (model.state === "deleted") return;
    const { nowMs } = this.#channel;
    // Looked at in the past: what is due must not enter by being looked at.
    const moment = { ...this.#channel.moment, nowMs: START_MS - 1_000_000 };
    for (const channel of [this.#channel.channel, this.#channel.reopen()]) {
      const { facts } = expectType(channel.apply({ type: "describe" }, moment), "described");
      same(facts.counts, { put: model.put, acked: model.taken, removed: model.removed, deadLettered: 0, dropped: 0, expired: 0 });
      same(facts.scheduled, {
        messages: model.scheduled.length,
        bytes: model.scheduled.reduce((bytes, entry) => bytes + entry.text.length, 0),
        nextAtMs: model.scheduled[0]?.dueAtMs ?? null,
      });
      const page = expectType(channel.apply({ type: "browse", fromOffset: 1, limit: 1000 }, moment), "page");
      same(textsOf(page), model.waiting);
      const list = expectType(channel.apply({ type: "list-scheduled", limit: 1000 }, moment), "scheduled-page");
      const shown = list.messages.map(({ body, deliverAtMs, scheduledId }) => ({
        text: decodeUtf8(body),
        dueAtMs: deliverAtMs,
        scheduledId,
      }));
      same(shown, model.scheduled);
      const alarmAtMs = channel.nextAlarmAtMs ?? Infinity;
      same(alarmAtMs <= (model.scheduled[0]?.dueAtMs ?? Infinity), true);
      same(channel.findAlarmOnWaking(nowMs), channel.nextAlarmAtMs);
    }
  }

  /** In the end everything that is scheduled enters, in a bounded number of commits. */
  #settleAll(): void {
    this.#channel.nowMs += LIMITS.delayMsMax * 2;
    for (let left = this.#model.scheduled.length; left >= 0; left--) {
      this.#model.advance(this.#channel.nowMs);
      this.#model.finish();
      this.#model.entered = { messages: 0, bytes: 0 };
      this.#channel.tick();
    }
    same(this.#model.scheduled, []);
    this.#channel.evict();
    this.#compare();
  }
}

afterEach(() => {
  Object.assign(LIMITS, PRODUCTION_LIMITS);
});

describe("src/channel/schedule: against a model", () => {
  test("[SD1] [SD2] [SD4] [SD5] [SD6] [SD7] [SD8] [SD9] [SD10] nothing is lost, doubled or out of order", () => {
    Object.assign(LIMITS, LOW_LIMITS);

    let played = 0;
    const property = fc.property(plans, (plan) => {
      new Run().play(plan);
      played += 1;
    });
    fc.assert(property, { numRuns: 400 * RUNS });

    expect(played).toBe(400 * RUNS);
  });
});
