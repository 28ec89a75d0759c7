// Random operations on a channel and on a naive model of SPEC.md, compared at every step and after every commit.
// A failure prints its seed and its shortest plan; `fc.assert(…, { seed, path })` plays it again.
import { isDeepStrictEqual } from "node:util";
import * as fc from "fast-check";
import { afterEach, describe, expect, test } from "vitest";
import type { Channel } from "../../src/channel/channel.ts";
import type { ChannelRecord, ChannelStore, StoredSegment } from "../../src/channel/store.ts";
import type { ChannelFacts, Origin } from "../../src/channel/operation.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import type { PutMessage } from "../../src/protocol/message.ts";
import type { ChannelPatch, GivenSettings } from "../../src/protocol/settings.ts";
import { ChannelHarness, sizedMessage } from "./channel-harness.ts";
import { ChannelModel, type ModelOperation } from "./channel-model.ts";

/** Limits so low that a short plan meets every one of them: segments, the head window, replies, batches, waiters. */
const LOW_LIMITS = {
  segmentBytesMax: 600,
  segmentRecordsMax: 5,
  headWindowBytesMax: 900,
  replyBytesMax: 500,
  batchMessagesMax: 12,
  batchBytesMax: 1500,
  waitersPerSocketMax: 3,
  waitersMax: 7,
};
const PRODUCTION_LIMITS = { ...LIMITS };

/** A message: which of the body sizes, which of two ids if any, and which other labels. */
interface Draft {
  readonly size: number;
  readonly messageId: string | undefined;
  readonly labels: number;
}

type Step =
  | {
      readonly type: "put";
      readonly drafts: readonly Draft[];
      readonly waitMs: number;
      readonly isPromised?: true;
      readonly from: Asker;
    }
  | { readonly type: "get"; readonly max?: number; readonly min?: number; readonly waitMs: number; readonly from: Asker }
  | { readonly type: "reserve"; readonly messages: number; readonly bytes: number; readonly waitMs: number; readonly from: Asker }
  | { readonly type: "use-promise"; readonly pick: number; readonly more: number; readonly isPromised: boolean }
  | { readonly type: "cancel"; readonly from: Asker }
  | { readonly type: "cut" | "close" | "connect"; readonly slot: number }
  | { readonly type: "remove" | "read"; readonly pick: number }
  | { readonly type: "remove-by-id"; readonly messageId: string }
  | { readonly type: "browse"; readonly pick: number; readonly limit: number }
  | { readonly type: "patch"; readonly patch: ChannelPatch }
  | { readonly type: "create"; readonly settings: GivenSettings }
  | { readonly type: "delete"; readonly graceMs: number }
  | { readonly type: "settle"; readonly isDone: boolean }
  | { readonly type: "purge" }
  | { readonly type: "describe" }
  | { readonly type: "tick" };

/** Which of the connections, 0 for none, and which request of it. */
interface Asker {
  readonly slot: number;
  readonly request: number;
}

interface Commit {
  readonly steps: readonly Step[];
  readonly ending: "commit" | "evict" | "fail";
  readonly passMs: number;
}

const SLOTS = 3;
const IDS = ["a", "b"];
const LABELS: readonly Partial<PutMessage>[] = [
  { presentation: "text", contentType: "text/plain; charset=utf-8" },
  { key: "ké" },
  { contentType: "text/html" },
  { headers: { trace: 'é"', "x-y": "" }, key: "k" },
];

// Plain objects, so that a plan that failed prints as it is written.
const plain = ((model: never, constraints?: object) =>
  fc.record(model, { noNullPrototype: true, ...constraints })) as typeof fc.record;

const askers = plain({ slot: fc.nat(SLOTS), request: fc.nat(4) });
const waits = fc.constantFrom(0, 0, 1000, 60_000, 1_000_000_000);
const picks = fc.nat(30);
const drafts = plain({
  size: fc.nat(11),
  messageId: fc.option(fc.constantFrom(...IDS), { nil: undefined, freq: 2 }),
  labels: fc.nat(8),
});
const growths = fc.option(
  plain({
    factor: fc.constantFrom(1.1, 2, 16),
    maxMessages: fc.integer({ min: 5, max: 30 }),
    maxBytes: fc.integer({ min: 1000, max: 9000 }),
  }),
);
const settings: fc.Arbitrary<GivenSettings> = plain(
  {
    maxMessages: fc.integer({ min: 1, max: 14 }),
    maxBytes: fc.integer({ min: 100, max: 4000 }),
    maxMessageBytes: fc.integer({ min: 60, max: 1_000_000 }),
    growth: growths,
    expireAfterIdleMs: fc.option(fc.constantFrom(60_000, 600_000)),
  },
  { requiredKeys: [] },
);
const patches: fc.Arbitrary<ChannelPatch> = fc
  .tuple(settings, fc.option(fc.constantFrom("open", "open", "draining", "closed"), { nil: undefined, freq: 2 }))
  .map(([given, state]) => (state === undefined ? given : { ...given, state }));

const steps: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: plain({
      type: fc.constant("put" as const),
      drafts: fc.array(drafts, { maxLength: 7, size: "max" }),
      waitMs: waits,
      from: askers,
    }).chain((put) => fc.constantFrom<Step>(...Array.from({ length: 9 }, () => put), { ...put, isPromised: true })),
  },
  {
    weight: 8,
    arbitrary: plain(
      { type: fc.constant("get" as const), max: fc.nat(8), min: fc.nat(4), waitMs: waits, from: askers },
      { requiredKeys: ["type", "waitMs", "from"] },
    ),
  },
  {
    weight: 2,
    arbitrary: plain({
      type: fc.constant("reserve" as const),
      messages: fc.integer({ min: 1, max: 4 }),
      bytes: fc.nat(500),
      waitMs: waits,
      from: askers,
    }),
  },
  {
    weight: 3,
    arbitrary: plain({
      type: fc.constant("use-promise" as const),
      pick: picks,
      more: fc.constantFrom(0, 0, -1, 1),
      isPromised: fc.constantFrom(true, true, true, false),
    }),
  },
  { weight: 1, arbitrary: plain({ type: fc.constant("cancel" as const), from: askers }) },
  {
    weight: 2,
    arbitrary: plain({ type: fc.constantFrom("cut" as const, "close" as const, "connect" as const), slot: fc.nat(SLOTS) }),
  },
  { weight: 7, arbitrary: plain({ type: fc.constantFrom("remove" as const, "remove" as const, "read" as const), pick: picks }) },
  { weight: 5, arbitrary: plain({ type: fc.constant("remove-by-id" as const), messageId: fc.constantFrom(...IDS) }) },
  { weight: 1, arbitrary: plain({ type: fc.constant("browse" as const), pick: picks, limit: fc.integer({ min: 1, max: 5 }) }) },
  { weight: 3, arbitrary: plain({ type: fc.constant("patch" as const), patch: patches }) },
  { weight: 2, arbitrary: plain({ type: fc.constant("create" as const), settings }) },
  { weight: 1, arbitrary: plain({ type: fc.constant("delete" as const), graceMs: fc.constantFrom(0, 1000, 100_000, 100_000) }) },
  { weight: 1, arbitrary: plain({ type: fc.constant("settle" as const), isDone: fc.boolean() }) },
  { weight: 3, arbitrary: fc.constantFrom<Step>({ type: "purge" }, { type: "describe" }, { type: "tick" }) },
);

const commits: fc.Arbitrary<Commit> = plain({
  steps: fc.array(steps, { minLength: 1, maxLength: 5 }),
  ending: fc.constantFrom("commit" as const, "commit" as const, "commit" as const, "evict" as const, "fail" as const),
  passMs: fc.constantFrom(0, 0, 0, 1, 1000, 4999, 5000, 60_000, 400_000, 90_000_000),
});
const plans = fc.array(commits, { minLength: 1, maxLength: 14, size: "max" });

/** Plays a plan on the channel and on the model. */
class Player {
  readonly #harness = new ChannelHarness({ mayCreate: true });
  readonly #connections: number[] = [];
  readonly #open = new Set<number>();
  /** Slots whose socket closed, which the channel has not heard of. */
  readonly #cut = new Set<number>();
  readonly #model = new ChannelModel((connection) => this.#open.has(connection));
  readonly #bodySizes: readonly number[];
  #saved = this.#model.save();
  /** Whether what was removed or superseded since the backlog was last empty may make the position row necessary. */
  #hasHoles = false;

  constructor(bodySizes: readonly number[]) {
    this.#bodySizes = bodySizes;
    for (let slot = 1; slot <= SLOTS; slot++) this.#connect(slot);
  }

  play(plan: readonly Commit[]): void {
    for (const { steps: planned, ending, passMs } of plan) {
      this.#harness.nowMs += passMs;
      const run = (): void => {
        for (const step of planned) this.#step(step);
      };
      if (ending === "fail") {
        this.#harness.failToCommit(run);
        this.#model.restore(this.#saved);
      } else {
        this.#harness.together(run);
        this.#saved = this.#model.save();
        this.#checkStore();
      }
      if (ending === "evict") {
        this.#harness.evict();
        this.#model.restore(this.#saved);
      }
      this.#check();
    }
  }

  #step(step: Step): void {
    const { nowMs } = this.#harness;
    switch (step.type) {
      case "connect":
        this.#connect(step.slot);
        return;
      case "cut":
        this.#open.delete(this.#connections[step.slot] ?? 0);
        this.#harness.cut(this.#connections[step.slot] ?? 0);
        this.#cut.add(step.slot);
        return;
      case "close": {
        const connection = this.#connections[step.slot] ?? 0;
        this.#open.delete(connection);
        this.#harness.close(connection);
        this.#model.disconnect(connection, nowMs);
        break;
      }
      case "tick":
        this.#harness.tick();
        this.#model.tick(nowMs);
        break;
      case "settle": {
        const version = this.#model.record?.outbox.version ?? 0;
        this.#harness.channel.settleOutbox(version, step.isDone, nowMs);
        this.#model.settleOutbox(version, step.isDone, nowMs);
        break;
      }
      default:
        this.#operate(step);
    }
    expectSame(this.#harness.takeAnswers(), this.#model.takeEffects(), "the answers to those who wait");
  }

  #operate(step: Exclude<Step, { type: "connect" | "cut" | "close" | "tick" | "settle" }>): void {
    const asked = this.#toOperation(step);
    if (asked === undefined) return;
    const { operation, origin } = asked;
    const outcome = this.#harness.apply(operation, origin);
    const expected = this.#model.apply(operation, this.#harness.moment, origin);
    const hasControls = this.#model.nextOffset - 1 !== this.#model.describe()?.counts.put;
    if (expected.type === "removed" || expected.type === "patched" || hasControls) this.#hasHoles = true;
    expectSame(outcome, expected, `the outcome of ${operation.type}`);
  }

  #toOperation(
    step: Exclude<Step, { type: "connect" | "cut" | "close" | "tick" | "settle" }>,
  ): { operation: ModelOperation; origin?: Origin } | undefined {
    switch (step.type) {
      case "put": {
        const { drafts: drafted, from, ...operation } = step;
        return this.#from(from, { ...operation, messages: drafted.map((draft) => this.#message(draft)) });
      }
      case "get": {
        const { from, ...operation } = step;
        return this.#from(from, operation);
      }
      case "reserve": {
        const { from, ...operation } = step;
        return this.#from(from, operation);
      }
      case "use-promise": {
        const { promises } = this.#model;
        const promise = promises[step.pick % promises.length];
        if (promise === undefined) return undefined;
        const { connection, request } = promise;
        const messages = fill(promise.max + step.more, promise.bytes);
        return { operation: { type: "put", messages, isPromised: step.isPromised }, origin: { connection, request } };
      }
      case "cancel":
        return this.#from(step.from, { type: "cancel", request: step.from.request });
      case "remove":
      case "read":
        return { operation: { type: step.type, offset: this.#offset(step.pick) } };
      case "browse":
        return { operation: { type: "browse", fromOffset: this.#offset(step.pick), limit: step.limit } };
      default:
        return { operation: step };
    }
  }

  #from({ slot, request }: Asker, operation: ModelOperation): { operation: ModelOperation; origin?: Origin } {
    const connection = this.#connections[slot];
    return connection === undefined || !this.#open.has(connection)
      ? { operation }
      : { operation, origin: { connection, request } };
  }

  /** Mostly an offset that is kept, sometimes one before or behind. */
  #offset(pick: number): number {
    const { headOffset, nextOffset } = this.#model;
    return Math.max(1, headOffset - 1 + (pick % (nextOffset - headOffset + 2)));
  }

  #message({ size, messageId, labels }: Draft): PutMessage {
    return sizedMessage(this.#bodySizes[size] ?? 0, { ...LABELS[labels], messageId });
  }

  #connect(slot: number): void {
    if (slot === 0 || this.#cut.has(slot) || this.#open.has(this.#connections[slot] ?? 0)) return;
    const connection = this.#harness.connect();
    this.#connections[slot] = connection;
    this.#open.add(connection);
  }

  /** Everything that can be seen is what the model says, for this channel and for one that wakes now (RC1, RC2). */
  #check(): void {
    const { channel, store } = this.#harness;
    // Whose time was over when the channel woke is told now, and that sockets were cut is heard.
    this.#harness.together(() => {
      for (const slot of this.#cut) this.#step({ type: "close", slot });
      this.#step({ type: "describe" });
    });
    this.#cut.clear();
    this.#saved = this.#model.save();
    expectSame(this.#look(channel), this.#expected(), "what the channel holds");
    expectSame(channel.takeEffects(), [], "answers after looking");
    expectSame(channel.takeChanges(this.#harness.nowMs), undefined, "changes after looking");
    expectSame(channel.nextReservationEndMs, this.#model.promises[0]?.reservedUntilMs, "the end of the oldest promise");
    store.rowsRead = 0;
    const woken = this.#harness.reopen();
    expectAtMost(store.rowsRead, 4);
    expectSame(this.#look(woken), this.#look(channel), "what a woken channel holds");
    expectSame(withoutSecret(woken.record), withoutSecret(this.#model.record), "the stored record");
    expectSame(woken.record?.leaseSecret, channel.record?.leaseSecret, "the stored secret");
  }

  #look(channel: Channel): unknown {
    const { moment, store } = this.#harness;
    const described = channel.apply({ type: "describe" }, moment);
    if (described.type !== "described") return described.type;
    const { facts } = described;
    const { put, acked, removed } = facts.counts;
    expectSame(put, facts.depth + acked + removed, "[G4] put = depth + acked + removed");
    const segments = withoutSpare(store.listSegments(), facts.firstOffset);
    const isUsed = (first: number, count: number): boolean =>
      this.#model.kept.some(({ offset }) => offset >= first && offset < first + count);
    const unused = segments.filter((segment) => !isUsed(segment.firstOffset, segment.count));
    expectSame(
      unused.map((segment) => segment.firstOffset),
      [],
      "[RC7] segments without a kept record",
    );
    expectSame(facts.segments, segments.length, "the segments that are described");
    const { depth, bytes, utilization, waiters } = facts;
    expectSame(channel.pressure, { depth, bytes, utilization, waiters }, "the pressure");
    return { facts: withoutSegments(facts), ...this.#browse(channel) };
  }

  #browse(channel: Channel): { messages: unknown[]; controls: unknown[] } {
    const messages: unknown[] = [];
    const controls: unknown[] = [];
    for (let from: number | null = 1; from !== null;) {
      const page = channel.apply({ type: "browse", fromOffset: from, limit: 1000 }, this.#harness.moment);
      if (page.type !== "page") throw new Error(`Cannot browse: ${page.type}`);
      messages.push(...page.messages);
      controls.push(...page.controls);
      from = page.nextOffset;
    }
    return { messages, controls };
  }

  #expected(): unknown {
    const { record, kept } = this.#model;
    const facts = this.#model.describe();
    if (facts === undefined || record?.state === "deleted") return "refused";
    const place = ({ offset, putAtMs }: (typeof kept)[number]): object => ({ offset, putAtMs });
    return {
      facts: withoutSegments(facts),
      messages: kept.filter((one) => one.message !== undefined).map((one) => ({ ...place(one), ...one.message })),
      controls: kept.filter((one) => one.control !== undefined).map((one) => ({ ...place(one), control: one.control })),
    };
  }

  /** Nothing stays in storage that belongs to no kept message, and the position row is written only where rule RC2 says so. */
  #checkStore(): void {
    const { changes, store } = this.#harness;
    const segments = withoutSpare(store.listSegments(), this.#model.headOffset);
    const orphans = [...(changes?.writeGone.keys() ?? [])].filter(
      (offset) => !segments.some(({ firstOffset }) => firstOffset === offset),
    );
    expectSame(orphans, [], "[RC7] removed places of segments that are not there");
    for (const id of IDS) {
      const kept = this.#model.messages.filter((one) => one.message?.messageId === id).map((one) => one.offset);
      expectSame([...offsetsOf(store, id)], kept, `the offsets that are stored for the message id ${id}`);
    }
    const [first] = segments;
    const last = segments.at(-1);
    const isTold =
      first?.firstOffset === this.#model.headOffset && (last?.firstOffset ?? 0) + (last?.count ?? 0) === this.#model.nextOffset;
    const isNeedless = changes?.position !== undefined && !changes.isPurge && isTold && !this.#hasHoles;
    expectSame(isNeedless, false, "[RC2] a position row that the segments tell");
    if (this.#model.kept.length === 0) this.#hasHoles = false;
  }
}

/** All offsets that are stored for a message id. */
function* offsetsOf(store: ChannelStore, messageId: string): Iterable<number> {
  for (
    let offset = store.findMessageId(messageId, 0);
    offset !== undefined;
    offset = store.findMessageId(messageId, offset + 1)
  ) {
    yield offset;
  }
}

/** `messages` messages of `bytes` together. */
function fill(messages: number, bytes: number): PutMessage[] {
  return Array.from({ length: messages }, (_, index) => sizedMessage(index === 0 ? bytes : 0));
}

/** The segments that are needed: the row of the last one stays for the next, while there is none (rule RC7). */
function withoutSpare(segments: StoredSegment[], headOffset: number): StoredSegment[] {
  const isSpare = segments.length === 1 && segments.every(({ firstOffset, count }) => firstOffset + count <= headOffset);
  return isSpare ? [] : segments;
}

function withoutSegments(facts: ChannelFacts): Omit<ChannelFacts, "segments"> {
  const { segments: _, ...rest } = facts;
  return rest;
}

const ESTIMATED: ReadonlySet<string> = new Set(["retryAfterMs", "detail", "segments"]);

/** Leaves out what the model does not compute, and members that are undefined. */
function normalize(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(normalize);
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return value;
  const entries = Object.entries(value).filter(([name, member]) => member !== undefined && !ESTIMATED.has(name));
  return Object.fromEntries(entries.map(([name, member]) => [name, normalize(member)]));
}

/** The model draws no random numbers. */
function withoutSecret(record: ChannelRecord | undefined): object | undefined {
  return record && { ...record, leaseSecret: "" };
}

function expectSame(actual: unknown, expected: unknown, what: string): void {
  const [a, b] = [normalize(actual), normalize(expected)];
  // A deep comparison that only says yes or no is much cheaper than one that explains.
  if (!isDeepStrictEqual(a, b)) expect({ what, value: a }).toEqual({ what, value: b });
}

function expectAtMost(actual: number, most: number): void {
  expect(actual).toBeLessThanOrEqual(most);
}

function checkPlans(bodySizes: readonly number[], numRuns: number): void {
  const property = fc.property(plans, (plan) => new Player(bodySizes).play(plan));
  fc.assert(property, { numRuns });
}

// MODEL_RUNS=67 plays 20,000 plans.
const RUNS = Number(process.env["MODEL_RUNS"] ?? 1);

describe("src/channel/channel", () => {
  afterEach(() => {
    Object.assign(LIMITS, PRODUCTION_LIMITS);
  });

  test(
    "[G4] with low limits a channel does what the model does, at every step and after every wake",
    { timeout: 3_600_000 },
    () => {
      Object.assign(LIMITS, LOW_LIMITS);
      expect.hasAssertions();

      checkPlans([0, 1, 2, 5, 20, 50, 80, 150, 200, 290, 400, 700], 300 * RUNS);
    },
  );

  test("[G4] with messages that fill segments a channel does what the model does", { timeout: 3_600_000 }, () => {
    const large = 300_000;
    expect.hasAssertions();

    checkPlans([0, 0, 1, 1, 5, 5, 20, 20, 50, 100, large, 900_000], 40 * RUNS);
  });
});
