// Groups that end by themselves when nobody reads them. Rule GP10 of src/channel/SPEC.md.
import { describe, expect, test } from "vitest";
import { ChannelHarness, describeGroup, expectType, kindOf, textsOf } from "./channel-harness.ts";

const IDLE_MS = 60_000;

/** A channel with interest, room for one message, and a group that may expire. */
function channelWith(...others: readonly string[]): ChannelHarness {
  const channel = new ChannelHarness({ settings: { retention: "interest", maxMessages: 1 } });
  // The directory was told: nothing else is due.
  channel.channel.settleOutbox(channel.channel.record?.outbox.version ?? 0, true, channel.nowMs);
  channel.apply({ type: "create-group", group: "a", settings: {}, expireAfterIdleMs: IDLE_MS });
  for (const group of others) channel.apply({ type: "create-group", group, settings: {} });
  return channel;
}

function hasGroup(channel: ChannelHarness, group = "a"): boolean {
  return kindOf(channel.apply({ type: "describe-group", group })) === "group";
}

/** Lets time pass as the alarm does. */
function ring(channel: ChannelHarness, afterMs: number): void {
  channel.tick(afterMs);
}

describe("src/channel/idle-groups", () => {
  test("[GP10] a reader that died holds a writer back for so long, and then no more", () => {
    const channel = channelWith("b");
    channel.put(["first"]);
    channel.settle({
      acks: (
        expectType(channel.apply({ type: "get", group: "b", lease: { leaseMs: 1000, isDetached: true } }), "got").granted
          ?.leaseIds ?? []
      ).map((leaseId) => ({ leaseId })),
    });
    const writer = { connection: channel.connect(), request: 1 };
    expect(kindOf(channel.put(["second"], { waitMs: 300_000, origin: writer }))).toBe("waiting");
    expect(channel.channel.nextAlarmAtMs).toBe(channel.nowMs + IDLE_MS);
    ring(channel, IDLE_MS - 1);
    expect(channel.takeAnswers()).toEqual([]);
    ring(channel, 1);
    expect(channel.takeAnswers()).toMatchObject([{ ...writer, outcome: { type: "room" } }]);
    expect(hasGroup(channel)).toBe(false);
    expect(hasGroup(channel, "b")).toBe(true);
  });

  test("[GP10] a get, a lease, a get that waits and a subscription keep it", () => {
    const channel = channelWith();
    channel.put(["a"]);
    const lease = { leaseMs: 2 * IDLE_MS, isDetached: true };
    const { granted } = expectType(channel.apply({ type: "get", group: "a", lease }), "got");
    ring(channel, IDLE_MS + 1);
    expect(hasGroup(channel)).toBe(true);
    channel.nowMs += IDLE_MS - 2;
    // The lease was held until now.
    channel.settle({ acks: (granted?.leaseIds ?? []).map((leaseId) => ({ leaseId })) });
    ring(channel, IDLE_MS - 1);
    expect(textsOf(channel.apply({ type: "get", group: "a" }))).toEqual([]);
    ring(channel, IDLE_MS - 1);
    const origin = { connection: channel.connect(), request: 1 };
    channel.apply({ type: "get", group: "a", waitMs: 300_000 }, origin);
    ring(channel, IDLE_MS + 1);
    channel.apply({ type: "cancel", request: 1 }, origin);
    channel.apply(
      { type: "subscribe", target: { type: "member", group: "a", leaseMs: 1000 }, credit: { messages: 0, bytes: 0 } },
      origin,
    );
    ring(channel, IDLE_MS + 1);
    expect(hasGroup(channel)).toBe(true);
    channel.close(origin.connection);
    ring(channel, IDLE_MS);
    expect(hasGroup(channel)).toBe(false);
  });

  test("[GP10] waking begins the time anew, and the alarm is set for it", () => {
    const channel = channelWith();
    channel.nowMs += IDLE_MS - 1;
    channel.evict();
    expect(channel.channel.findAlarmOnWaking(channel.nowMs)).toBe(channel.nowMs + IDLE_MS);
    ring(channel, 1);
    expect(hasGroup(channel)).toBe(true);
    ring(channel, IDLE_MS);
    expect(hasGroup(channel)).toBe(false);
  });

  test("[GP10] a group that comes after it under its number has a time of its own", () => {
    const channel = channelWith();
    ring(channel, IDLE_MS);
    channel.apply({ type: "create-group", group: "a", settings: {}, expireAfterIdleMs: IDLE_MS });
    ring(channel, IDLE_MS - 1);
    expect(describeGroup(channel, "a").expireAfterIdleMs).toBe(IDLE_MS);
  });

  test("[GP10] one without an idle time stays", () => {
    const channel = channelWith("b");
    ring(channel, 365 * 24 * 3_600_000);
    expect([hasGroup(channel), hasGroup(channel, "b")]).toEqual([false, true]);
    expect(describeGroup(channel, "b").expireAfterIdleMs).toBeNull();
    expect(channel.channel.nextDueAtMs).toBeUndefined();
  });
});
