// The history of a message: where it was put from, each attempt, and what is left of it (SPEC HS).
import { describe, expect, test } from "vitest";
import type { GroupStart, Outcome } from "../../src/channel/operation.ts";
import type { GroupHistory, MessageHistory } from "../../src/protocol/history.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import type { GivenSettings } from "../../src/protocol/settings.ts";
import { formatSource, parseSource, withProducer } from "../../src/protocol/source.ts";
import { ChannelHarness, expectType, kindOf, START_MS, textMessage } from "./channel-harness.ts";

function filled(texts: string, settings: GivenSettings = {}): ChannelHarness {
  const channel = new ChannelHarness({ settings });
  channel.put(texts.split(""));
  return channel;
}

function pullAs(
  channel: ChannelHarness,
  reader: string | undefined,
  more: { max?: number; group?: string } = {},
): readonly string[] {
  const lease = { leaseMs: 30_000, isDetached: true, ...(reader !== undefined && { reader }) };
  return expectType(channel.apply({ type: "get", ...more, lease }), "got").granted?.leaseIds ?? [];
}

function retry(channel: ChannelHarness, ids: readonly string[], reason?: string): Outcome {
  return channel.settle({ retries: ids.map((leaseId) => ({ leaseId, delayMs: 0, ...(reason !== undefined && { reason }) })) });
}

function historyOf(channel: ChannelHarness, offset = 1): MessageHistory {
  return expectType(channel.apply({ type: "history", offset }), "history").history;
}

/** What the message is to its only group, or to the one with this name. */
function inGroup(channel: ChannelHarness, offset = 1, group = "default"): GroupHistory {
  const found = historyOf(channel, offset).groups.find((one) => one.group === group);
  if (found === undefined) throw new Error(`Expected the group ${group}`);
  return found;
}

function createGroup(channel: ChannelHarness, group: string, start: GroupStart = { at: "first" }): void {
  channel.apply({ type: "create-group", group, settings: {}, start });
}

describe("src/channel/message-history: where a message was put from", () => {
  test("[HS1] via, colo and producer are one short text", () => {
    expect(parseSource(formatSource("http", { colo: "SIN", region: "apac", continent: "AS" }))).toEqual({
      via: "http",
      colo: "SIN",
    });
    expect(parseSource(formatSource("http", { colo: "XYZ", continent: "AS" }))).toEqual({
      via: "http",
      colo: "XYZ",
      continent: "AS",
    });
    expect(parseSource(formatSource("socket", undefined))).toEqual({ via: "socket" });
    expect(parseSource(withProducer("h", "a:b:c") ?? "")).toEqual({ via: "http", producer: "a:b:c" });
    expect(withProducer(undefined, "a")).toBeUndefined();
  });

  test("[HS1] it outlives an eviction, counts no bytes and is not part of the message that a reader gets", () => {
    const channel = new ChannelHarness({ settings: {} });
    const producer = { id: "shop", epoch: 1, seq: 1 };
    channel.apply({ type: "put", messages: [textMessage("a"), textMessage("b")], source: "hSIN", producer });
    channel.apply({ type: "put", messages: [textMessage("c")], source: "s" });
    channel.put(["d"]);

    channel.evict();

    const put = { atMs: START_MS };
    expect(historyOf(channel, 2).put).toEqual({ ...put, via: "http", colo: "SIN", producer: "shop" });
    expect(historyOf(channel, 3).put).toEqual({ ...put, via: "socket" });
    expect(historyOf(channel, 4).put).toEqual(put);
    expect(channel.describe().bytes).toBe(4);
  });

  test("[HS1] a delayed message keeps it, and a redriven one, which names its old offset", () => {
    const channel = new ChannelHarness({ settings: {} });
    const delays = [{ index: 0, pointer: "/0", delay: { afterMs: 1000 } }];
    channel.apply({ type: "put", messages: [textMessage("a")], source: "hSIN", delays });
    channel.evict();
    channel.tick(1000);
    channel.settle({ rejects: pullAs(channel, "r").map((leaseId) => ({ leaseId })) });
    channel.evict();

    channel.apply({ type: "redrive", fromOffset: 1, max: 1, filter: {} });

    expect(historyOf(channel, 2)).toMatchObject({ put: { via: "http", colo: "SIN", redrivenFrom: 1 }, groups: [{ events: [] }] });
    expect(kindOf(channel.apply({ type: "history", offset: 1 }))).toBe("unknown-message");
  });
});

describe("src/channel/message-history: attempts", () => {
  test("[HS5] a message that was never handed out is ready, and one that is leased has an attempt without end", () => {
    const channel = filled("ab");

    pullAs(channel, "r1");

    const leased = [{ attempt: 1, reader: "r1", leasedAtMs: START_MS }];
    channel.evict();
    expect(inGroup(channel)).toEqual({ group: "default", state: "leased", attempts: 1, events: leased, omitted: 0 });
    expect(inGroup(channel, 2)).toEqual({ group: "default", state: "ready", attempts: 0, events: [], omitted: 0 });
  });

  test("[HS2] each end without an ack is an event, in their order, also over evictions", () => {
    const channel = filled("a");
    const step = (end: () => void): void => {
      end();
      channel.evict();
    };
    step(() => void retry(channel, pullAs(channel, "r1"), "busy"));
    step(() => void channel.settle({ releases: pullAs(channel, "r2").map((leaseId) => ({ leaseId })) }));
    step(() => void pullAs(channel, undefined));
    step(() => channel.tick(31_000));
    const connection = channel.connect();
    channel.pull({ isDetached: false }, { connection, request: 1 });
    step(() => channel.close(connection));
    pullAs(channel, "r5");

    expect(inGroup(channel)).toMatchObject({ state: "leased", attempts: 3, omitted: 0 });
    const later = START_MS + 31_000;
    expect(inGroup(channel).events).toEqual([
      { attempt: 1, reader: "r1", leasedAtMs: START_MS, endedAtMs: START_MS, verdict: "retried", reason: "busy" },
      { attempt: 2, reader: "r2", leasedAtMs: START_MS, endedAtMs: START_MS, verdict: "released" },
      // It ended at its deadline, whenever that was noticed.
      { attempt: 2, leasedAtMs: START_MS, endedAtMs: START_MS + 30_000, verdict: "expired" },
      { attempt: 3, leasedAtMs: later, endedAtMs: later, verdict: "disconnected" },
      { attempt: 3, reader: "r5", leasedAtMs: later },
    ]);
  });

  test("[HS2] a lease that ends with an earlier one of its key says so", () => {
    const channel = new ChannelHarness({ settings: {} });
    channel.putMessages(["a", "b"].map((text) => ({ ...textMessage(text), key: "k" })));
    const [first = ""] = pullAs(channel, "r", { max: 2 });

    channel.settle({ retries: [{ leaseId: first, delayMs: 5000 }] });

    expect(inGroup(channel)).toMatchObject({ state: "retrying", attempts: 1, events: [{ verdict: "retried" }] });
    expect(inGroup(channel, 2)).toMatchObject({ state: "ready", attempts: 0, events: [{ attempt: 1, verdict: "predecessor" }] });
    channel.tick(5000);
    expect(inGroup(channel).state).toBe("ready");
  });

  test("[HS2] what was not committed is no event", () => {
    const channel = filled("a");
    const ids = pullAs(channel, "r");

    channel.failToCommit(() => void retry(channel, ids));

    expect(inGroup(channel)).toMatchObject({ state: "leased", events: [{ attempt: 1 }] });
    expect(inGroup(channel).events[0]?.verdict).toBeUndefined();
  });

  test("[HS6] a dead letter keeps the history until it is dropped", () => {
    const channel = filled("abc", { delivery: { maxAttempts: 2 } });
    const pulled = pullAs(channel, "r", { max: 2 });
    channel.settle({ rejects: pulled.slice(0, 1).map((leaseId) => ({ leaseId, reason: "bad" })) });
    retry(channel, pulled.slice(1), "one");
    retry(channel, pullAs(channel, "r"), "two");
    channel.evict();

    expect(inGroup(channel)).toMatchObject({
      state: "dead-lettered",
      attempts: 1,
      events: [{ verdict: "rejected", reason: "bad" }],
    });
    expect(inGroup(channel, 2)).toMatchObject({
      state: "dead-lettered",
      attempts: 2,
      events: [{ reason: "one" }, { reason: "two" }],
    });
    channel.apply({ type: "drop-dead-letters", fromOffset: 1, max: 9, filter: {} });
    expect(kindOf(channel.apply({ type: "history", offset: 1 }))).toBe("unknown-message");
  });

  test("[HS5] a quarantined message shows how it came there, and keeps that when it is released", () => {
    const channel = filled("a", { delivery: { maxAttempts: 1, onExhausted: "quarantine" } });
    retry(channel, pullAs(channel, "r"), "bad");
    expect(inGroup(channel)).toMatchObject({ state: "quarantined", attempts: 1, events: [{ reason: "bad" }] });

    channel.apply({ type: "release-quarantine", offset: 1 });

    expect(inGroup(channel)).toMatchObject({ state: "ready", attempts: 0, events: [{ reason: "bad" }] });
  });

  test("[HS6] what is acked, removed, purged, not there yet or a control record has none", () => {
    const channel = filled("abc");
    channel.settle({ acks: pullAs(channel, "r").map((leaseId) => ({ leaseId })) });
    channel.apply({ type: "remove", offset: 2 });
    channel.patch({ maxMessages: 99 });
    const kinds = (): string[] => [1, 2, 3, 4, 9].map((offset) => kindOf(channel.apply({ type: "history", offset })));

    expect(kinds()).toEqual(["unknown-message", "unknown-message", "history", "unknown-message", "unknown-message"]);
    channel.apply({ type: "purge" });
    expect(new Set(kinds())).toEqual(new Set(["unknown-message"]));
  });
});

describe("src/channel/message-history: groups", () => {
  test("[HS5] in a log each group has its own, and one that has done with a message says so", () => {
    const channel = filled("abc", { retention: "log" });
    for (const group of ["acks", "rejects", "holds", "idle"]) createGroup(channel, group);
    createGroup(channel, "late", { offset: 2 });
    channel.settle({ acks: pullAs(channel, "r", { group: "acks" }).map((leaseId) => ({ leaseId })) });
    channel.settle({ rejects: pullAs(channel, "r", { group: "rejects" }).map((leaseId) => ({ leaseId })) });
    pullAs(channel, "r", { group: "holds" });
    channel.evict();

    const states = historyOf(channel).groups.map(({ group, state }) => [group, state]);

    expect(Object.fromEntries(states)).toEqual({
      acks: "acked",
      rejects: "dead-lettered",
      holds: "leased",
      idle: "ready",
      late: "skipped",
    });
    expect(historyOf(channel, 2).groups.map(({ state }) => state)).toEqual(Array.from({ length: 5 }, () => "ready"));
  });

  test("[HS6] a dead letter of a group outlives the message and the group, and a seek back forgets events", () => {
    const channel = filled("ab", { retention: "log" });
    createGroup(channel, "g");
    createGroup(channel, "other");
    channel.settle({ rejects: pullAs(channel, "r", { group: "g" }).map((leaseId) => ({ leaseId })) });
    retry(channel, pullAs(channel, "r", { group: "other" }), "later");
    channel.apply({ type: "seek-group", group: "other", to: { offset: 2 } });
    channel.apply({ type: "seek-group", group: "other", to: { at: "first" } });
    expect(inGroup(channel, 1, "other")).toMatchObject({ state: "ready", events: [] });

    channel.apply({ type: "delete-group", group: "g" });
    createGroup(channel, "new");
    expect(inGroup(channel, 1, "g").state).toBe("dead-lettered");
    expect(inGroup(channel, 1, "new").state).toBe("ready");
    channel.apply({ type: "purge" });

    expect(historyOf(channel).groups.map(({ group }) => group)).toEqual(["g"]);
  });
});

describe("src/channel/attempt-history: bounds", () => {
  test("[HS4] the last events are kept, and those before are counted", () => {
    const channel = filled("a", { delivery: { maxAttempts: -1 } });
    for (let attempt = 1; attempt <= 40; attempt++) retry(channel, pullAs(channel, "r"), String(attempt));

    const { events, omitted } = inGroup(channel);

    expect(events.map(({ reason }) => reason)).toEqual(Array.from({ length: 16 }, (_, index) => String(25 + index)));
    expect(omitted).toBe(24);
  });

  test("[HS4] rows stay small where a thousand messages have long histories, and what is kept is what was stored", () => {
    const channel = new ChannelHarness({ settings: { delivery: { maxAttempts: -1 } } });
    channel.put(Array.from({ length: 1000 }, () => "a"));
    const reason = "\u0000".repeat(LIMITS.reasonBytesMax);
    const reader = "r".repeat(LIMITS.readerNameCharsMax);
    let rowBytes = 0;
    const noteRows = (): void => {
      for (const { writeDeferred, writeLeases } of channel.changes?.delivery?.values() ?? []) {
        for (const row of [...writeDeferred, ...writeLeases]) rowBytes = Math.max(rowBytes, JSON.stringify(row).length);
      }
    };

    for (let attempt = 1; attempt <= 20; attempt++) {
      const ids = pullAs(channel, reader, { max: 1000 });
      noteRows();
      retry(channel, ids, attempt < 15 ? reason : "x".repeat(30));
      noteRows();
    }

    const { events, omitted } = inGroup(channel);
    expect(rowBytes).toBeLessThan(LIMITS.rowBytesMax);
    expect([events.length >= 1, events.length + omitted]).toEqual([true, 20]);
    channel.evict();
    expect(inGroup(channel)).toEqual({ ...inGroup(channel), events, omitted });
  });
});
