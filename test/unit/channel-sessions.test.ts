// Members that come back to their leases on another connection. Rule SB11 of src/channel/SPEC.md.
import { describe, expect, test } from "vitest";
import type { Delivered, MemberTarget, Origin, Outcome } from "../../src/channel/operation.ts";
import { decodeUtf8 } from "../../src/protocol/bytes.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import { ChannelHarness, expectType, refusalOf, textMessage } from "./channel-harness.ts";

interface Session {
  readonly origin: Origin;
  readonly resume: string;
}

function trySubscribe(
  channel: ChannelHarness,
  more: Partial<Pick<MemberTarget, "resume" | "group" | "held">> = {},
  origin?: Origin,
): Outcome {
  const own = origin ?? { connection: channel.connect(), request: 1 };
  const target = { type: "member", leaseMs: 30_000, ...more } as const;
  return channel.apply({ type: "subscribe", target, credit: { messages: 10, bytes: 1_000_000 } }, own);
}

function subscribe(channel: ChannelHarness, resume?: string): Session {
  const origin = { connection: channel.connect(), request: 1 };
  const { resume: told = "" } = expectType(trySubscribe(channel, resume === undefined ? {} : { resume }, origin), "subscribed");
  return { origin, resume: told };
}

function takeDelivered(channel: ChannelHarness): Delivered[] {
  return channel.takeAnswers().map(({ outcome }) => expectType(outcome, "delivered"));
}

function idsOf(frames: readonly Delivered[]): { leaseId: string }[] {
  return frames.flatMap(({ granted }) => granted?.leaseIds ?? []).map((leaseId) => ({ leaseId }));
}

function textsIn(frames: readonly Delivered[]): string[] {
  return frames.flatMap(({ messages }) => messages.map(({ body }) => decodeUtf8(body) ?? ""));
}

describe("src/channel/streams: sessions", () => {
  test("[SB11] who comes back within the grace has its leases, with their ids and whole deadlines", () => {
    const channel = new ChannelHarness({ settings: {} });
    const first = subscribe(channel);
    channel.put(["a", "b"]);
    const acks = idsOf(takeDelivered(channel));
    channel.close(first.origin.connection, false);
    channel.tick(LIMITS.resumeGraceMs - 1);

    const second = subscribe(channel, first.resume);
    channel.tick(20_000);
    channel.evict();

    expect(second.resume).toBe(first.resume);
    expect(takeDelivered(channel)).toEqual([]);
    expect(channel.settle({ acks })).toMatchObject({ counts: { ack: 2 }, refused: [] });
  });

  test("[SB11] [LS9] leases that were taken over end with the new connection and not with the old one", () => {
    const channel = new ChannelHarness({ settings: {} });
    const first = subscribe(channel);
    channel.put(["a"]);
    takeDelivered(channel);
    const second = subscribe(channel, first.resume);
    expect(channel.takeAnswers()).toEqual([{ ...first.origin, outcome: { type: "ended", refusal: { kind: "taken-over" } } }]);

    channel.close(first.origin.connection, true);
    expect(channel.describe()).toMatchObject({ delivery: { leased: 1 }, subscriptions: { members: 1 } });
    channel.evict();
    channel.close(second.origin.connection, true);

    expect(channel.describe()).toMatchObject({ delivery: { leased: 0 } });
    expect(channel.pull()).toMatchObject({ granted: { attempts: [1], redelivered: [true] } });
  });

  test("[SB11] [KO1] who comes back is sent what waits behind its own messages of a key", () => {
    const channel = new ChannelHarness({ settings: {} });
    const first = subscribe(channel);
    channel.putMessages([{ ...textMessage("a"), key: "k" }]);
    takeDelivered(channel);
    channel.close(first.origin.connection, false);
    channel.putMessages([{ ...textMessage("b"), key: "k" }]);

    expect(channel.pull({ max: 2 })).toMatchObject({ messages: [] });
    subscribe(channel, first.resume);

    expect(textsIn(takeDelivered(channel))).toEqual(["b"]);
  });

  test("[SB11] who comes back too late has none, and is served as any other", () => {
    const channel = new ChannelHarness({ settings: {} });
    const first = subscribe(channel);
    channel.put(["a"]);
    const acks = idsOf(takeDelivered(channel));
    channel.close(first.origin.connection, false);
    channel.tick(LIMITS.resumeGraceMs);

    subscribe(channel, first.resume);

    expect(takeDelivered(channel)).toMatchObject([{ granted: { attempts: [2], redelivered: [true] } }]);
    expect(channel.settle({ acks })).toMatchObject({ refused: [{ refusal: { cause: "superseded" } }] });
  });

  test("[SB11] [LS8] after a crash the same holder is sent the same leases, which its earlier acks settle", () => {
    const channel = new ChannelHarness({ settings: {} });
    const first = subscribe(channel);
    channel.put(["a"]);
    const acks = idsOf(takeDelivered(channel));
    channel.crash();

    subscribe(channel, first.resume);

    expect(takeDelivered(channel)).toMatchObject([
      { granted: { leaseIds: acks.map(({ leaseId }) => leaseId), redelivered: [true] } },
    ]);
    expect(channel.settle({ acks })).toMatchObject({ counts: { ack: 1 } });
  });

  test("[SB11] [G11] a token of another life, group or nobody is refused, and changes nothing", () => {
    const channel = new ChannelHarness({ settings: { retention: "log" } });
    for (const group of ["default", "other"]) channel.apply({ type: "create-group", group, settings: {} });
    const { origin, resume } = subscribe(channel);
    channel.put(["a"]);
    takeDelivered(channel);

    const forged = resume.replace(/.$/u, (digit) => (digit === "0" ? "1" : "0"));
    expect(refusalOf(trySubscribe(channel, { resume: forged }))).toMatchObject({
      kind: "invalid-request",
      errors: [{ pointer: "/resume" }],
    });
    expect(refusalOf(trySubscribe(channel, { resume: "life-0.1" })).kind).toBe("invalid-request");
    expect(refusalOf(trySubscribe(channel, { resume, group: "other" }))).toEqual({ kind: "resume-lost", resume });
    expect(channel.describe().subscriptions.members).toBe(1);
    channel.close(origin.connection, true);
    channel.delete();
    channel.apply({ type: "create", settings: {} });

    expect(refusalOf(trySubscribe(channel, { resume }))).toEqual({ kind: "resume-lost", resume });
  });

  test("[SB12] what never arrived is sent again at once, without counting; what did stays leased", () => {
    const channel = new ChannelHarness({ settings: {} });
    const first = subscribe(channel);
    channel.put(["a", "b", "c", "d"]);
    const ids = idsOf(takeDelivered(channel));
    const [a = { leaseId: "" }] = ids;
    channel.close(first.origin.connection, false);

    trySubscribe(channel, { resume: first.resume, held: [{ ...a, count: 2 }] });

    const again = takeDelivered(channel);
    expect(textsIn(again)).toEqual(["c", "d"]);
    expect(again).toMatchObject([{ granted: { attempts: [1, 1], redelivered: [true, true] } }]);
    expect(idsOf(again)).toEqual(ids.slice(2));
    expect(channel.settle({ acks: ids })).toMatchObject({ counts: { ack: 4 }, refused: [] });
  });

  test("[SB12] who knows of none is sent all again, also over an eviction and in place of a subscription that is still there", () => {
    const channel = new ChannelHarness({ settings: {} });
    const first = subscribe(channel);
    channel.put(["a", "b"]);
    takeDelivered(channel);
    channel.evict();

    trySubscribe(channel, { resume: first.resume, held: [] });

    const [ended, ...answers] = channel.takeAnswers();
    expect(ended).toMatchObject({ ...first.origin, outcome: { type: "ended" } });
    expect(textsIn(answers.map(({ outcome }) => expectType(outcome, "delivered")))).toEqual(["a", "b"]);
  });

  test("[SB12] leases of others that it names, and an earlier attempt, say nothing", () => {
    const channel = new ChannelHarness({ settings: {} });
    const first = subscribe(channel);
    channel.put(["a"]);
    const [old = { leaseId: "" }] = idsOf(takeDelivered(channel));
    channel.settle({ retries: [{ ...old, delayMs: 0 }] });
    const again = idsOf(takeDelivered(channel));
    expect(again).toHaveLength(1);
    channel.close(first.origin.connection, false);

    trySubscribe(channel, { resume: first.resume, held: [old] });

    expect(takeDelivered(channel)).toMatchObject([{ granted: { attempts: [2], redelivered: [true] } }]);
  });

  test("[SB12] [G11] a lease that is none, or more than may be named, is refused and changes nothing", () => {
    const channel = new ChannelHarness({ settings: {} });
    const { resume } = subscribe(channel);
    channel.put(["a"]);
    const [held = { leaseId: "" }] = idsOf(takeDelivered(channel));

    const forged = { leaseId: held.leaseId.replace(/.$/u, (digit) => (digit === "0" ? "1" : "0")) };
    expect(refusalOf(trySubscribe(channel, { resume, held: [held, forged] }))).toEqual({
      kind: "invalid-lease",
      pointer: "/held/1/leaseId",
    });
    const tooMany = [
      { ...held, count: LIMITS.settleEntriesMax },
      { ...held, count: 1 },
    ];
    expect(refusalOf(trySubscribe(channel, { resume, held: tooMany }))).toMatchObject({ errors: [{ pointer: "/held" }] });
    expect(takeDelivered(channel)).toEqual([]);
    expect(channel.describe()).toMatchObject({ delivery: { leased: 1 }, subscriptions: { members: 1 } });
  });

  test("[SB11] [SB1] coming back counts as a subscription", () => {
    const channel = new ChannelHarness({ settings: {} });
    const { origin, resume } = subscribe(channel);
    for (let request = 2; request <= LIMITS.subscriptionsPerSocketMax; request++)
      trySubscribe(channel, {}, { ...origin, request });

    expect(refusalOf(trySubscribe(channel, { resume }, { ...origin, request: 9 })).kind).toBe("too-many-subscriptions");
    expect(refusalOf(trySubscribe(channel, { resume }, origin)).kind).toBe("request-in-use");
  });
});
