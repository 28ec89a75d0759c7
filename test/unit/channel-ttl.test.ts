// Messages that are worth handing out for a time only: SPEC section TL.
import { describe, expect, test } from "vitest";
import type { PutMessage } from "../../src/protocol/message.ts";
import type { GivenSettings } from "../../src/protocol/settings.ts";
import { ChannelHarness, describeGroup, expectType, kindOf, START_MS, textMessage, textsOf } from "./channel-harness.ts";

const MINUTE_MS = 60_000;

function open(settings: GivenSettings = {}): ChannelHarness {
  return new ChannelHarness({ settings });
}

function living(text: string, ttlMs: number): PutMessage {
  return { ...textMessage(text), ttlMs };
}

function pullAll(channel: ChannelHarness): readonly string[] {
  return textsOf(channel.pull({ max: 100 }));
}

function leasesOf(outcome: ReturnType<ChannelHarness["pull"]>): { leaseId: string }[] {
  return (expectType(outcome, "got").granted?.leaseIds ?? []).map((leaseId) => ({ leaseId }));
}

describe("src/channel/delivery: time to live", () => {
  test("[TL1] a message lives as long as it says, or as the channel says, to the millisecond", () => {
    const channel = open({ messageTtlMs: 500 });
    channel.putMessages([living("own", 1_000), textMessage("channel's")]);
    channel.nowMs += 499;
    expect(textsOf(channel.apply({ type: "browse", fromOffset: 1, limit: 10 }))).toEqual(["own", "channel's"]);

    channel.nowMs += 1;
    expect(textsOf(channel.get({ max: 1 }))).toEqual(["own"]);
    channel.evict();
    expect(textsOf(channel.get({ max: 1 }))).toEqual([]);
    expect(channel.describe()).toMatchObject({ depth: 0, counts: { put: 2, acked: 1, expired: 1 } });
  });

  test("[TL1] without either a message lives for ever, and a change of the setting holds for what is there", () => {
    const channel = open();
    channel.put(["a", "b"]);
    channel.nowMs += 3_650 * 86_400_000;
    expect(channel.describe()).toMatchObject({ depth: 2 });

    channel.patch({ messageTtlMs: 1 });
    channel.evict();
    expect(pullAll(channel)).toEqual([]);
    expect(channel.describe().counts).toMatchObject({ put: 2, expired: 2 });
  });

  test("[TL1] a delayed message lives from when it entered, a redriven one from when it was put again", () => {
    const channel = open({ onExpired: "dead-letter" });
    channel.putMessages([living("a", 1_000)], { delays: [{ afterMs: MINUTE_MS }] });
    channel.tick(MINUTE_MS);
    channel.tick(999);
    expect(channel.describe()).toMatchObject({ depth: 1 });
    channel.tick(1);
    expect(channel.describe()).toMatchObject({ depth: 0, counts: { deadLettered: 1 } });

    channel.nowMs += MINUTE_MS;
    expect(channel.apply({ type: "redrive", fromOffset: 1, max: 10, filter: {} })).toMatchObject({ moved: 1 });
    channel.nowMs += 999;
    expect(pullAll(channel)).toEqual(["a"]);
  });

  test("[TL2] one that is leased stays so, may be acked, and expires when it comes back", () => {
    const channel = open();
    channel.putMessages([living("a", 1_000), living("b", 1_000), living("c", 1_000)]);
    const [first, second] = leasesOf(channel.pull({ max: 2, leaseMs: MINUTE_MS }));
    channel.tick(2_000);

    expect(channel.describe()).toMatchObject({ depth: 3, delivery: { leased: 2 } });
    expect(channel.settle({ acks: first === undefined ? [] : [first] })).toMatchObject({ counts: { ack: 1 } });
    expect(channel.settle({ retries: second === undefined ? [] : [{ ...second, delayMs: 0 }] })).toMatchObject({
      counts: { retry: 1 },
    });
    channel.tick(0);
    expect(channel.describe()).toMatchObject({ depth: 0, counts: { acked: 1, expired: 2 } });
  });

  test("[TL2] a quarantined message stays until it is released", () => {
    const channel = open({ delivery: { maxAttempts: 1, onExhausted: "quarantine" } });
    channel.putMessages([living("a", 2_000)]);
    channel.pull({ leaseMs: 1_000 });
    channel.tick(5_000);
    expect(channel.describe()).toMatchObject({ depth: 1, delivery: { quarantined: 1 } });

    channel.apply({ type: "release-quarantine", offset: 1 });
    channel.tick(0);
    expect(channel.describe()).toMatchObject({ depth: 0, counts: { expired: 1 } });
  });

  test("[TL3] behind the head a message expires when a get meets it, and makes way within its key", () => {
    const channel = open();
    channel.putMessages([
      textMessage("head"),
      { ...living("old", 1_000), key: "k" },
      { ...textMessage("next"), key: "k" },
      living("far", 1_000),
    ]);
    const [head] = leasesOf(channel.pull({ leaseMs: MINUTE_MS }));
    channel.tick(1_000);
    expect(channel.describe()).toMatchObject({ depth: 4, counts: { expired: 0 } });

    expect(pullAll(channel)).toEqual(["next"]);
    channel.evict();
    expect(channel.describe()).toMatchObject({ depth: 2, counts: { expired: 2 } });
    expect(channel.settle({ acks: head === undefined ? [] : [head] })).toMatchObject({ counts: { ack: 1 } });
  });

  test("[TL3] a get that wants more than are left takes none, and counts what it met", () => {
    const channel = open();
    channel.put(["head"]);
    channel.pull({ leaseMs: MINUTE_MS });
    channel.putMessages([living("a", 1_000), textMessage("b")]);
    channel.nowMs += 1_000;

    expect(textsOf(channel.pull({ min: 2, max: 2 }))).toEqual([]);
    expect(channel.describe()).toMatchObject({ depth: 2, counts: { expired: 1 } });
    expect(textsOf(channel.pull({ min: 1, max: 2 }))).toEqual(["b"]);
  });

  test("[TL3] an operation lets no more than its share expire, and the next goes on", () => {
    const channel = open({ messageTtlMs: 1 });
    for (let batch = 0; batch < 3; batch++) channel.putMessages(Array.from({ length: 500 }, () => textMessage("x")));
    channel.tick(1);
    expect(channel.describe().counts).toMatchObject({ expired: 1_500 });

    const slow = open({ messageTtlMs: 1 });
    for (let batch = 0; batch < 3; batch++) slow.putMessages(Array.from({ length: 500 }, () => textMessage("x")));
    slow.together(() => slow.channel.tick({ ...slow.moment, nowMs: slow.nowMs + 1 }));
    expect(slow.store.readPosition()).toMatchObject({ fates: { expired: 1_000 } });
  });

  test.each([
    ["drop", { expired: 1, deadLettered: 0 }, []],
    ["dead-letter", { expired: 0, deadLettered: 1 }, [{ offset: 1, attempts: 1, reason: "ttl" }]],
  ] as const)("[TL4] onExpired %s", (onExpired, counts, letters) => {
    const channel = open({ onExpired });
    channel.putMessages([living("a", 2_000)]);
    channel.pull({ leaseMs: 1_000 });
    channel.tick(1_000);
    channel.tick(1_000);
    channel.evict();

    expect(channel.describe()).toMatchObject({ depth: 0, counts });
    const listed = channel.apply({ type: "dead-letters", fromOffset: 1, limit: 10, filter: {} });
    expect(expectType(listed, "dead-letter-page").letters).toMatchObject(letters);
  });

  test("[TL4] whole batches at the head go to the dead letters with one operation", () => {
    const channel = open({ messageTtlMs: 1, onExpired: "dead-letter" });
    channel.put(["a", "b", "c"]);
    channel.tick(1);
    expect(channel.describe()).toMatchObject({ depth: 0, deadLetters: { messages: 3 }, counts: { deadLettered: 3 } });
  });

  test("[TL5] a put that waits gets the room of a message that expires, and the alarm is set for it", () => {
    const channel = open({ maxMessages: 1, messageTtlMs: 5_000 });
    channel.put(["a"]);
    expect(channel.channel.nextServiceAtMs).toBeUndefined();
    const origin = { connection: channel.connect(), request: 1 };

    expect(kindOf(channel.put(["b"], { waitMs: MINUTE_MS, origin }))).toBe("waiting");
    expect(channel.channel.nextServiceAtMs).toBe(START_MS + 5_000);
    channel.tick(5_000);
    expect(channel.takeAnswers().map(({ outcome }) => kindOf(outcome))).toEqual(["room"]);
  });

  test("[TL3] messages behind control records that nobody was told of expire, and the records stay for who comes next", () => {
    const channel = open({ messageTtlMs: 1_000 });
    channel.patch({ maxMessages: 10 });
    channel.put(["a", "b"]);
    channel.patch({ maxMessages: 11 });
    channel.put(["c"]);
    channel.patch({ maxMessages: 12 });
    channel.tick(1_000);
    channel.evict();
    expect(channel.describe()).toMatchObject({ depth: 0, firstOffset: 1, counts: { put: 3, expired: 3 } });

    channel.put(["d"]);
    const got = expectType(channel.get(), "got");
    expect(textsOf(got)).toEqual(["d"]);
    expect(got.controls.map(({ offset }) => offset)).toEqual([1, 4, 6]);
  });

  test("[TL3] a queue that drains is closed when the last message behind a control record expires", () => {
    const channel = open();
    channel.patch({ maxMessages: 10 });
    channel.putMessages([living("a", 1_000)]);
    channel.patch({ state: "draining" });
    channel.tick(999);
    expect(channel.describe()).toMatchObject({ state: "draining" });
    channel.tick(1);
    expect(channel.describe()).toMatchObject({ state: "closed", depth: 0 });
  });

  test("[TL3] in a group that went back behind a control record messages expire again", () => {
    const channel = open({ retention: "log", maxMessages: 10, messageTtlMs: 1_000 });
    channel.apply({ type: "create-group", group: "g", settings: {} });
    channel.patch({ maxMessages: 11 });
    channel.put(["a", "b"]);
    for (let turn = 0; turn < 2; turn++) {
      channel.tick(1_000);
      expect(describeGroup(channel, "g")).toMatchObject({ headOffset: 1, depth: 0, counts: { put: 2, expired: 2 } });
      channel.apply({ type: "seek-group", group: "g", to: { at: "first" } });
    }
  });

  test("[TL5] a put that waits is served when messages behind control records expire, the next after those that were removed", () => {
    const channel = open({ maxMessages: 3, messageTtlMs: 5_000 });
    channel.patch({ maxMessages: 2 });
    channel.put(["a", "b"]);
    const origin = { connection: channel.connect(), request: 1 };
    channel.put(["c"], { waitMs: MINUTE_MS, origin });
    expect(channel.channel.nextServiceAtMs).toBe(START_MS + 5_000);
    channel.evict();
    expect(channel.channel.findAlarmOnWaking(channel.nowMs)).toBeLessThanOrEqual(START_MS + 5_000);
    channel.tick(5_000);
    expect(channel.takeAnswers().map(({ outcome }) => kindOf(outcome))).toEqual(["room"]);
  });

  test("[TL5] of messages behind a control record the first that is left is looked at, and only where it is neither leased nor quarantined", () => {
    const channel = open({ maxMessages: 3, messageTtlMs: 5_000, delivery: { maxAttempts: 1, onExhausted: "quarantine" } });
    channel.patch({ maxMessages: 2 });
    channel.put(["a"]);
    channel.nowMs += 1_000;
    channel.put(["b"]);
    const origin = { connection: channel.connect(), request: 1 };
    channel.put(["c", "d"], { waitMs: MINUTE_MS, origin });
    const { channel: core } = channel;
    expect(core.nextServiceAtMs).toBe(START_MS + 5_000);
    channel.apply({ type: "remove", offset: 2 });
    expect(core.nextServiceAtMs).toBe(START_MS + 6_000);

    channel.pull({ leaseMs: 2_000 });
    expect(core.nextServiceAtMs).toBeUndefined();
    channel.tick(2_000);
    expect(channel.describe()).toMatchObject({ delivery: { quarantined: 1 } });
    expect(core.nextServiceAtMs).toBeUndefined();
    channel.apply({ type: "release-quarantine", offset: 3 });
    expect(core.nextServiceAtMs).toBe(START_MS + 6_000);
  });

  test("[TL5][GP1] with interest a put gets the room of what expired in every group, also behind a control record", () => {
    const channel = open({ retention: "interest", maxMessages: 3, messageTtlMs: 5_000 });
    for (const group of ["slow", "fast"]) channel.apply({ type: "create-group", group, settings: {} });
    channel.patch({ maxMessages: 2 });
    channel.put(["a", "b"]);
    expect(textsOf(channel.apply({ type: "get", group: "fast", max: 1, waitMs: 0 }))).toEqual(["a"]);
    const origin = { connection: channel.connect(), request: 1 };
    channel.put(["c", "d"], { waitMs: MINUTE_MS, origin });
    expect(channel.channel.nextServiceAtMs).toBe(START_MS + 5_000);

    channel.tick(5_000);
    channel.evict();
    expect(channel.takeAnswers().map(({ outcome }) => kindOf(outcome))).toEqual(["room"]);
    expect(channel.describe()).toMatchObject({ depth: 0, firstOffset: 1, counts: { put: 2, acked: 2 } });
    expect(describeGroup(channel, "slow")).toMatchObject({ headOffset: 1, depth: 0, counts: { expired: 2 } });
    expect(describeGroup(channel, "fast")).toMatchObject({ depth: 0, counts: { acked: 1, expired: 1 } });
    channel.put(["c", "d"], { origin, isPromised: true });
    expect(expectType(channel.apply({ type: "get", group: "slow", max: 2, waitMs: 0 }), "got")).toMatchObject({
      messages: [{ offset: 4 }, { offset: 5 }],
      controls: [{ offset: 1 }],
    });
  });

  test("[TL6] each group judges for itself, and a log keeps what expired", () => {
    const channel = open({ retention: "log", messageTtlMs: 1_000 });
    for (const group of ["slow", "fast"]) channel.apply({ type: "create-group", group, settings: {} });
    channel.put(["a"]);
    expect(textsOf(channel.apply({ type: "get", group: "fast", max: 1, waitMs: 0 }))).toEqual(["a"]);
    channel.tick(1_000);
    channel.evict();

    expect(describeGroup(channel, "fast")).toMatchObject({ depth: 0, counts: { acked: 1, expired: 0 } });
    expect(describeGroup(channel, "slow")).toMatchObject({ depth: 0, counts: { acked: 0, expired: 1 } });
    expect(channel.browseTexts()).toEqual(["a"]);
  });
});
