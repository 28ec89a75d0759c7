// Creation, draining, closing, deletion, expiry, and the calls to the directory. Rules LC of src/channel/SPEC.md.
import { describe, expect, test } from "vitest";
import type { Operation, Origin } from "../../src/channel/operation.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import { DEFAULT_SETTINGS } from "../../src/protocol/settings.ts";
import { ChannelHarness, expectType, kindOf, refusalOf, START_MS, textMessage, textsOf } from "./channel-harness.ts";

const WAIT_MS = 60_000;
const GRACE_MS = 5000;
const IDLE_MS = 60_000;
const HOUR_MS = 3_600_000;

const PUT: Operation = { type: "put", messages: [textMessage("x")] };
const GET: Operation = { type: "get" };

function channelWith(...texts: string[]): ChannelHarness {
  const channel = new ChannelHarness({ settings: {} });
  channel.put(texts);
  return channel;
}

function connect(channel: ChannelHarness): Origin {
  return { connection: channel.connect(), request: 1 };
}

function stateOf(channel: ChannelHarness): string {
  return channel.channel.record?.state ?? "none";
}

/** What a put, a get and a look are answered. */
function kindsOf(channel: ChannelHarness): string[] {
  return [PUT, GET, { type: "describe" } as const].map((operation) => kindOf(channel.apply(operation)));
}

describe("src/channel/life-cycle", () => {
  test("[LC1] an open channel takes puts and gets", () => {
    expect(kindsOf(channelWith())).toEqual(["put", "got", "described"]);
  });

  test("[LC1] a draining channel refuses puts and serves gets", () => {
    const channel = channelWith("a", "b");

    channel.patch({ state: "draining" });

    expect(refusalOf(channel.put(["c"]))).toEqual({ kind: "channel-draining", drainUntilMs: null });
    expect(refusalOf(channel.reserve(1, 1, connect(channel)))).toEqual({ kind: "channel-draining", drainUntilMs: null });
    expect(channel.getTexts()).toEqual(["a"]);
    expect(stateOf(channel)).toBe("draining");
  });

  test("[LC1] a get that would wait in a draining channel is refused, one that tries once finds nothing", () => {
    const channel = channelWith("a");
    channel.patch({ state: "draining" });

    expect(kindOf(channel.get({ min: 2, waitMs: WAIT_MS }, connect(channel)))).toBe("channel-draining");
    expect(textsOf(channel.get({ min: 2 }))).toEqual([]);
  });

  test("[LC1] a closed channel keeps its messages, can be looked at, and opened again", () => {
    const channel = channelWith("a");

    channel.patch({ state: "closed" });

    expect(kindsOf(channel)).toEqual(["channel-closed", "channel-closed", "described"]);
    expect(channel.browseTexts()).toEqual(["a"]);
    channel.evict();
    channel.patch({ state: "open" });
    expect(channel.getTexts()).toEqual(["a"]);
  });

  test("[LC1] a deleted channel answers so to everything", () => {
    const channel = channelWith("a");
    channel.delete();

    const operations: Operation[] = [
      PUT,
      GET,
      { type: "reserve", messages: 1, bytes: 1 },
      { type: "describe" },
      { type: "patch", patch: {} },
      { type: "delete", graceMs: 0 },
      { type: "browse", fromOffset: 1, limit: 1 },
      { type: "read", offset: 1 },
      { type: "remove", offset: 1 },
      { type: "remove-by-id", messageId: "a" },
      { type: "purge" },
    ];

    const refusal = { kind: "channel-deleted", deletedAtMs: START_MS, droppedMessages: 1 };
    expect(operations.map((operation) => refusalOf(channel.apply(operation)))).toEqual(operations.map(() => refusal));
  });

  test("[LC2] draining appends a control record; when the last message is taken the channel is closed", () => {
    const channel = channelWith("a", "b");
    channel.patch({ state: "draining" });
    expect(channel.browse().controls).toMatchObject([{ offset: 3, control: { type: "close" } }]);

    channel.get();
    const early = stateOf(channel);
    const last = channel.get();

    expect(early).toBe("draining");
    expect(last).toMatchObject({ type: "got", controls: [{ offset: 3, control: { type: "close" } }] });
    expect(stateOf(channel)).toBe("closed");
    expect(kindsOf(channel)).toEqual(["channel-closed", "channel-closed", "described"]);
  });

  test("[LC2] an empty channel that is drained is closed at once, a purged one too", () => {
    const empty = channelWith();
    const purged = channelWith("a");
    empty.patch({ state: "draining" });
    purged.patch({ state: "draining" });
    purged.apply({ type: "purge" });

    expect([stateOf(empty), stateOf(purged)]).toEqual(["closed", "closed"]);
  });

  test("[LC2] a draining channel can be opened again", () => {
    const channel = channelWith("a");
    channel.patch({ state: "draining" });

    channel.patch({ state: "open" });

    expect(kindOf(channel.put(["b"]))).toBe("put");
    expect(channel.getTexts(2)).toEqual(["a", "b"]);
    expect(stateOf(channel)).toBe("open");
  });

  test("[LC3] a deletion with grace drains until it is over, drops what is left and counts it", () => {
    const channel = channelWith("a", "b");

    const outcome = channel.delete(GRACE_MS);

    expect(outcome).toMatchObject({ type: "deleting", facts: { state: "draining", drainUntilMs: START_MS + GRACE_MS } });
    expect(refusalOf(channel.put(["c"]))).toEqual({ kind: "channel-draining", drainUntilMs: START_MS + GRACE_MS });
    channel.nowMs += GRACE_MS - 1;
    expect(channel.getTexts()).toEqual(["a"]);
    channel.tick(1);
    expect(refusalOf(channel.get())).toEqual({ kind: "channel-deleted", deletedAtMs: START_MS + GRACE_MS, droppedMessages: 1 });
  });

  test("[LC3] the end of the grace is met by any operation, also without the alarm", () => {
    const channel = channelWith("a");
    channel.delete(GRACE_MS);

    channel.nowMs += GRACE_MS;

    expect(kindOf(channel.get())).toBe("channel-deleted");
    expect(channel.store.listSegments()).toEqual([]);
  });

  test("[LC3] a deletion with grace ends when the channel is empty", () => {
    const channel = channelWith("a");
    channel.delete(GRACE_MS);

    channel.get();

    expect(refusalOf(channel.get())).toEqual({ kind: "channel-deleted", deletedAtMs: START_MS, droppedMessages: 0 });
  });

  test("[LC3] with grace 0, or when it is empty, a channel is deleted at once", () => {
    expect(channelWith("a", "b").delete(0)).toEqual({ type: "deleted", droppedMessages: 2 });
    expect(channelWith().delete(GRACE_MS)).toEqual({ type: "deleted", droppedMessages: 0 });
  });

  test("[LC3] a second deletion does not prolong the grace, one with force ends it", () => {
    const channel = channelWith("a");
    channel.delete(GRACE_MS);

    const later = channel.delete(10 * GRACE_MS);
    const sooner = channel.delete(GRACE_MS / 2);

    expect(later).toMatchObject({ facts: { drainUntilMs: START_MS + GRACE_MS } });
    expect(sooner).toMatchObject({ facts: { drainUntilMs: START_MS + GRACE_MS / 2 } });
    expect(channel.delete(0)).toEqual({ type: "deleted", droppedMessages: 1 });
  });

  test("[LC3] opening a channel again ends its deletion", () => {
    const channel = channelWith("a");
    channel.delete(GRACE_MS);

    channel.patch({ state: "open" });
    channel.tick(GRACE_MS);

    expect(channel.describe()).toMatchObject({ state: "open", drainUntilMs: null, depth: 1 });
  });

  test.each([
    ["draining", (channel: ChannelHarness) => channel.patch({ state: "draining" }), "channel-draining"],
    ["closed", (channel: ChannelHarness) => channel.patch({ state: "closed" }), "channel-closed"],
    ["deleted", (channel: ChannelHarness) => channel.delete(0), "channel-deleted"],
    ["deleted with grace", (channel: ChannelHarness) => channel.delete(GRACE_MS), "channel-draining"],
  ])("[LC4] waiters that a channel which is %s cannot serve are refused", (_state, change, kind) => {
    const channel = new ChannelHarness({ settings: { maxMessages: 3 } });
    channel.put(["a"]);
    const [reader, writer, promised] = [connect(channel), connect(channel), connect(channel)];
    channel.get({ min: 2, waitMs: WAIT_MS }, reader);
    channel.reserve(1, 1, promised);
    channel.put(["x", "y"], { waitMs: WAIT_MS, origin: writer });

    change(channel);

    const answers = channel.takeAnswers().map(({ connection, outcome }) => `${connection} ${kindOf(outcome)}`);
    expect(new Set(answers)).toEqual(new Set([1, 2, 3].map((connection) => `${connection} ${kind}`)));
    expect(channel.waiters).toEqual([]);
  });

  test("[LC4] a get that waits for what is there is served before the channel drains", () => {
    const channel = channelWith("a", "b");
    const reader = connect(channel);
    channel.get({ min: 3, waitMs: WAIT_MS }, connect(channel));
    channel.get({ min: 2, waitMs: WAIT_MS }, reader);

    channel.patch({ state: "draining" });

    expect(channel.takeAnswers().map(({ outcome }) => kindOf(outcome))).toEqual(["channel-draining", "got"]);
    expect(stateOf(channel)).toBe("closed");
  });

  test("[LC5] a tombstone answers for tombstoneMs, then all can be erased", () => {
    const channel = channelWith("a");
    channel.delete();
    const { version } = channel.channel.record?.outbox ?? { version: 0 };
    expect(channel.channel.isForgotten(START_MS + LIMITS.tombstoneMs)).toBe(false);

    channel.channel.settleOutbox(version, true, channel.nowMs);

    expect(channel.channel.isForgotten(START_MS + LIMITS.tombstoneMs - 1)).toBe(false);
    expect(channel.channel.isForgotten(START_MS + LIMITS.tombstoneMs)).toBe(true);
    expect(channel.channel.nextAlarmAtMs).toBe(START_MS + LIMITS.tombstoneMs);
  });

  test("[LC5] [OR4] only an explicit create begins a new life, with offsets from 1 and an id of its own", () => {
    const channel = new ChannelHarness({ mayCreate: true });
    channel.put(["a", "b"]);
    const { life } = channel.describe();
    channel.delete();
    expect(kindOf(channel.put(["c"]))).toBe("channel-deleted");

    const created = channel.apply({ type: "create", settings: { maxMessages: 5 } });

    expect(created).toMatchObject({
      type: "created",
      facts: { depth: 0, nextOffset: 1, counts: { put: 0, acked: 0, removed: 0 } },
    });
    expect(channel.describe().life).not.toBe(life);
    expect(channel.put(["d"])).toEqual({ type: "put", offset: 1, count: 1 });
    channel.evict();
    expect(channel.browseTexts()).toEqual(["d"]);
  });

  test("[LC5] deleted and created again in one commit", () => {
    const channel = channelWith("a", "b");

    channel.together(() => {
      channel.delete();
      channel.apply({ type: "create", settings: {} });
      channel.put(["c"]);
    });
    channel.evict();

    expect(channel.describe()).toMatchObject({ depth: 1, nextOffset: 2, segments: 1 });
    expect(channel.browseTexts()).toEqual(["c"]);
  });
});

describe("src/channel/channel", () => {
  test("[LC6] a channel that was empty and unchanged for so long is deleted without a tombstone", () => {
    const channel = new ChannelHarness({ settings: { expireAfterIdleMs: IDLE_MS } });
    expect(channel.channel.nextAlarmAtMs).toBe(START_MS);
    channel.tick(IDLE_MS - 1);
    const early = stateOf(channel);

    channel.tick(1);

    expect([early, stateOf(channel)]).toEqual(["open", "deleted"]);
    expect(refusalOf(channel.apply({ type: "describe" }))).toEqual({ kind: "unknown-channel", channel: "orders" });
  });

  test("[LC6] messages and waiters keep a channel alive", () => {
    const channel = new ChannelHarness({ settings: { expireAfterIdleMs: IDLE_MS } });
    const reader = connect(channel);
    channel.get({ waitMs: 2 * IDLE_MS }, reader);
    channel.tick(IDLE_MS);
    const withWaiter = stateOf(channel);
    channel.apply({ type: "cancel", request: 1 }, reader);
    channel.put(["a"]);
    channel.tick(10 * IDLE_MS);

    expect([withWaiter, stateOf(channel)]).toEqual(["open", "open"]);
  });

  test("[LC6] the time begins when the last message is taken, also after an eviction", () => {
    const channel = new ChannelHarness({ settings: { expireAfterIdleMs: IDLE_MS } });
    channel.put(["a"]);
    channel.nowMs += 10 * IDLE_MS;
    channel.get();
    channel.evict();

    channel.tick(IDLE_MS - 1);
    const early = stateOf(channel);
    channel.tick(1);

    expect([early, stateOf(channel)]).toEqual(["open", "deleted"]);
  });

  test("[LC6] the time begins when the last message is acked, also where a control record is left", () => {
    const channel = new ChannelHarness({ settings: { expireAfterIdleMs: IDLE_MS } });
    channel.put(["a"]);
    const { granted } = expectType(channel.pull({ leaseMs: IDLE_MS }), "got");
    channel.patch({ maxMessages: 9 });
    channel.nowMs += IDLE_MS - 1;
    channel.settle({ acks: (granted?.leaseIds ?? []).map((leaseId) => ({ leaseId })) });

    channel.tick(IDLE_MS - 1);
    const early = stateOf(channel);
    channel.tick(1);

    expect([early, stateOf(channel)]).toEqual(["open", "deleted"]);
  });

  test("[LC6] a channel whose last message was taken in the same commit is not idle", () => {
    const channel = new ChannelHarness({ settings: { expireAfterIdleMs: IDLE_MS } });
    channel.put(["a"]);
    channel.nowMs += 10 * IDLE_MS;

    channel.together(() => {
      channel.get();
      channel.tick();
    });

    expect(stateOf(channel)).toBe("open");
  });

  test("[LC6] the time begins with the last change, also where the clock was set back before it", () => {
    const channel = new ChannelHarness({ settings: { expireAfterIdleMs: IDLE_MS } });
    channel.put(["a"]);
    channel.nowMs += 10_000;
    channel.together(() => {
      channel.get();
      channel.tick();
    });
    channel.nowMs -= 1_000;
    channel.patch({ maxMessages: 9 });

    channel.tick(IDLE_MS - 1);
    const early = stateOf(channel);
    channel.tick(1);

    expect([early, stateOf(channel)]).toEqual(["open", "deleted"]);
  });

  test("[LC6] a change of settings is a change: the time begins anew", () => {
    const channel = channelWith();
    channel.nowMs += 10 * IDLE_MS;

    channel.patch({ expireAfterIdleMs: IDLE_MS });
    channel.tick();

    expect(stateOf(channel)).toBe("open");
  });

  test("[LC6] [LC7] a channel that expired is created again by first use", () => {
    const channel = new ChannelHarness({ mayCreate: true, settings: { expireAfterIdleMs: IDLE_MS, maxMessages: 5 } });
    channel.put(["a"]);
    channel.get();
    channel.tick(IDLE_MS);

    expect(channel.put(["b"])).toEqual({ type: "put", offset: 1, count: 1 });
    expect(channel.describe().settings.maxMessages).toBe(DEFAULT_SETTINGS.maxMessages);
  });

  test.each<Operation>([PUT, GET, { type: "reserve", messages: 1, bytes: 1 }])(
    "[LC7] first use by a $type creates a channel where the deployment allows it",
    (operation) => {
      const allowing = new ChannelHarness({ mayCreate: true });
      const refusing = new ChannelHarness({ mayCreate: false });

      const outcomes = [allowing, refusing].map((channel) => kindOf(channel.apply(operation, connect(channel))));

      expect(outcomes[1]).toBe("unknown-channel");
      expect(outcomes[0]).not.toBe("unknown-channel");
      expect(allowing.describe().settings).toEqual({
        ...DEFAULT_SETTINGS,
        expireAfterIdleMs: LIMITS.autoCreatedExpireAfterIdleMs,
      });
      expect(refusing.channel.record).toBeUndefined();
    },
  );

  test("[LC7] other operations on an unknown channel are refused and create nothing", () => {
    const channel = new ChannelHarness({ mayCreate: true });
    const operations: Operation[] = [
      { type: "describe" },
      { type: "patch", patch: {} },
      { type: "delete", graceMs: 0 },
      { type: "browse", fromOffset: 1, limit: 1 },
      { type: "read", offset: 1 },
      { type: "remove", offset: 1 },
      { type: "remove-by-id", messageId: "a" },
      { type: "purge" },
      { type: "list-checkpoints", limit: 1 },
      { type: "read-checkpoint", name: "a" },
      { type: "write-checkpoint", write: { name: "a", value: new Uint8Array(1), contentType: "text/plain" } },
      { type: "delete-checkpoint", name: "a" },
    ];

    expect(operations.map((operation) => kindOf(channel.apply(operation)))).toEqual(operations.map(() => "unknown-channel"));
    expect(channel.channel.record).toBeUndefined();
  });

  test("[LC8] creating a channel that exists confirms it if the given settings are those it has", () => {
    const growth = { factor: 2, maxMessages: 10, maxBytes: 2 ** 31 };
    const channel = new ChannelHarness({ settings: { maxMessages: 5, growth } });
    channel.put(["a"]);

    const same = channel.apply({ type: "create", settings: { maxMessages: 5, growth: { ...growth } } });
    const part = channel.apply({ type: "create", settings: {} });

    expect([same, part]).toMatchObject([{ type: "confirmed", facts: { depth: 1 } }, { type: "confirmed" }]);
    expect(channel.changes).toBeUndefined();
  });

  test("[LC8] creating a channel that exists with other settings is refused and names them", () => {
    const channel = new ChannelHarness({ settings: { maxMessages: 5 } });
    const { settings } = channel.describe();

    const refusal = refusalOf(
      channel.apply({ type: "create", settings: { maxMessages: 6, maxBytes: 7, expireAfterIdleMs: null } }),
    );

    expect(refusal).toEqual({ kind: "settings-conflict", conflicts: ["maxMessages", "maxBytes"], current: settings });
    expect(channel.describe().settings).toEqual(settings);
  });

  test("[LC8] a channel is created with settings that contradict each other never", () => {
    const channel = new ChannelHarness();
    const growth = { factor: 2, maxMessages: 1, maxBytes: 2 ** 31 };

    const refusal = refusalOf(channel.apply({ type: "create", settings: { maxMessages: 5, growth } }));

    expect(refusal).toMatchObject({ kind: "invalid-request", errors: [{ pointer: "/growth/maxMessages" }] });
    expect(channel.channel.record).toBeUndefined();
  });

  test("[LC9] creation, settings and deletion post to the directory, with versions that rise over lives", () => {
    const channel = new ChannelHarness({ settings: {} });
    const versions = [channel.channel.record?.outbox.version];
    channel.patch({ maxMessages: 5 });
    versions.push(channel.channel.record?.outbox.version);
    channel.delete();
    versions.push(channel.channel.record?.outbox.version);
    channel.apply({ type: "create", settings: {} });
    versions.push(channel.channel.record?.outbox.version);

    expect(versions).toEqual([START_MS, START_MS + 1, START_MS + 2, START_MS + 3]);
    expect(channel.channel.record?.outbox).toMatchObject({ isPending: true, nextAttemptAtMs: START_MS });
    expect(channel.channel.nextAlarmAtMs).toBe(START_MS);
  });

  test("[LC9] a call that fails is repeated with back-off until the directory answers", () => {
    const channel = new ChannelHarness({ settings: {} });
    const version = channel.channel.record?.outbox.version ?? 0;
    const delays = Array.from({ length: 14 }, () => {
      channel.channel.settleOutbox(version, false, START_MS);
      return (channel.channel.nextAlarmAtMs ?? 0) - START_MS;
    });
    channel.commit();
    channel.evict();

    expect(delays.slice(0, 4)).toEqual([1000, 2000, 4000, 8000]);
    expect(delays.slice(-2)).toEqual([HOUR_MS, HOUR_MS]);
    channel.channel.settleOutbox(version, true, START_MS);
    expect(channel.channel.nextAlarmAtMs).toBeUndefined();
  });

  test("[LC9] the answer to an older call leaves a newer change pending", () => {
    const channel = new ChannelHarness({ settings: {} });
    const version = channel.channel.record?.outbox.version ?? 0;
    channel.patch({ maxMessages: 5 });

    channel.channel.settleOutbox(version, true, START_MS);

    expect(channel.channel.record?.outbox.isPending).toBe(true);
  });

  test("[LC9] puts and gets do not post to the directory, nor do they write the channel's record", () => {
    const channel = channelWith();
    channel.put(["a"]);
    const put = channel.changes;
    channel.get();

    expect([put?.channel, channel.changes?.channel]).toEqual([undefined, undefined]);
  });

  test("[ray:Q8] [ray:Q17] operations after a shutdown are refused with a typed answer, also a second shutdown", () => {
    const channel = channelWith("a");
    channel.delete(0);

    expect([...kindsOf(channel), kindOf(channel.delete(0))]).toEqual(Array.from({ length: 4 }, () => "channel-deleted"));
  });

  test("[ray:Q17] a shutdown with grace serves what is there; with force it ends at once and fails who waits", () => {
    const channel = channelWith("a", "b");
    const reader = connect(channel);
    channel.get({ min: 3, waitMs: WAIT_MS }, reader);
    channel.delete(GRACE_MS);
    channel.takeAnswers();

    expect(channel.getTexts()).toEqual(["a"]);
    expect(channel.delete(0)).toEqual({ type: "deleted", droppedMessages: 1 });
  });
});
