// Streams of plain readers, who may subscribe at all, and what becomes of streams when the channel sleeps. Rules SB of SPEC.md.
import { describe, expect, test } from "vitest";
import type { StreamTarget } from "../../src/channel/operation.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import type { PutMessage } from "../../src/protocol/message.ts";
import { ChannelHarness, expectType, kindOf, refusalOf, textMessage } from "./channel-harness.ts";
import {
  channelWith,
  creditOf,
  FIRST,
  frames,
  grant,
  keyed,
  LOG,
  MEMBER,
  sent,
  subscribe,
  textOf,
  trySubscribe,
} from "./channel-subscribers.ts";

function labelled(text: string, key?: string, kind?: string): PutMessage {
  return {
    ...textMessage(text),
    ...(key !== undefined && { key }),
    ...(kind !== undefined && { headers: { kind } }),
  };
}

describe("src/channel/streams: plain readers", () => {
  test("[SB5] every record comes once and in order, control records too, and nothing is held back", () => {
    const channel = channelWith({ ...LOG, maxMessages: 10 });
    channel.put(["a", "b"]);
    const reader = subscribe(channel, FIRST);
    channel.patch({ maxMessages: 20 });
    channel.put(["c"]);
    const seen = frames(channel);
    expect(seen.map(([connection]) => connection)).toEqual([reader.connection, reader.connection, reader.connection]);
    expect(seen.flatMap(([, { messages }]) => messages.map(textOf))).toEqual(["a", "b", "c"]);
    expect(seen.flatMap(([, { controls }]) => controls.map(({ offset }) => offset))).toEqual([3]);
    expect(channel.describe().depth).toBe(3);
  });

  test("[SB5] reading begins at an offset, at a time, at what comes next", () => {
    const channel = channelWith(LOG);
    channel.put(["a"]);
    channel.nowMs += 1_000;
    channel.put(["b"]);
    const from = (start: Extract<StreamTarget, { type: "reader" }>["from"]) =>
      subscribe(channel, { type: "reader", from: start });
    const [offset, time, last] = [from({ offset: 2 }), from({ timeMs: channel.nowMs - 500 }), from({ at: "last" })];
    expect(sent(channel)).toEqual([
      [offset.connection, "b"],
      [time.connection, "b"],
    ]);
    channel.put(["c"]);
    expect(sent(channel)).toEqual([offset, time, last].map(({ connection }) => [connection, "c"]));
    expect(kindOf(trySubscribe(channel, { type: "reader", from: { offset: 9 } }))).toBe("seek-out-of-range");
  });

  test("[SB5] what a log gave up before it was sent is told as a gap", () => {
    const channel = channelWith({ ...LOG, maxMessages: 3 });
    channel.put(["a"]);
    const reader = subscribe(channel, FIRST, { messages: 1 });
    channel.takeAnswers();
    channel.put(["b", "c", "d"]);
    channel.put(["e"]);
    grant(channel, reader, { messages: 5 });
    const [[, delivered] = []] = frames(channel);
    expect(delivered).toMatchObject({ gap: { fromOffset: 2, toOffset: 2 } });
    expect(delivered?.messages.map(textOf)).toEqual(["c", "d", "e"]);
  });

  test("[SB5] readers at one place share what is read", () => {
    const channel = channelWith(LOG);
    subscribe(channel, FIRST);
    subscribe(channel, FIRST);
    subscribe(channel, FIRST, { messages: 1 });
    channel.put(["a", "b"]);
    const [first, second, third] = frames(channel).map(([, { messages }]) => messages);
    expect(first).toBe(second);
    expect(third?.map(textOf)).toEqual(["a"]);
  });

  test("[SB5] a reader with little credit does not make the frames of others at its place small", () => {
    const channel = channelWith(LOG);
    subscribe(channel, FIRST, { messages: 1 });
    subscribe(channel, FIRST);
    subscribe(channel, FIRST);
    channel.put(["a", "b"]);
    expect(sent(channel).map(([, texts]) => texts)).toEqual(["a", "a,b", "a,b"]);
  });

  test("[SB5] a tap sees what comes next through a queue, and misses what was taken before", () => {
    const channel = channelWith();
    channel.put(["before"]);
    const tap = subscribe(channel, { type: "tap" });
    channel.together(() => {
      channel.put(["a", "b"]);
      channel.get({ max: 2 });
    });
    const [[connection, delivered] = []] = frames(channel);
    expect(connection).toBe(tap.connection);
    expect(delivered?.messages.map(textOf)).toEqual(["b"]);
    expect(delivered).not.toHaveProperty("resume");
    expect(channel.describe()).toMatchObject({ depth: 1, subscriptions: { members: 0, readers: 1 } });
  });

  test("[SB6] a filter is looked at here: by keys, by headers, by both", () => {
    const channel = channelWith(LOG);
    const filtered = (filter: object) => subscribe(channel, { ...FIRST, filter });
    const [byKey, byHeader, byBoth] = [
      filtered({ keys: ["x", "y"] }),
      filtered({ headers: { kind: "paid" } }),
      filtered({ keys: ["x"], headers: { kind: "paid" } }),
    ];
    channel.putMessages([labelled("1", "x"), labelled("2", "z", "paid"), labelled("3", "x", "paid"), labelled("4")]);
    expect(sent(channel)).toEqual([
      [byKey.connection, "1,3"],
      [byHeader.connection, "2,3"],
      [byBoth.connection, "3"],
    ]);
    channel.put(["nobody's"]);
    expect(sent(channel)).toEqual([]);
  });

  test("[SB7] reading goes on where it stood, also after messages that were not wanted", () => {
    const channel = channelWith(LOG);
    const { connection } = subscribe(channel, FIRST, { messages: 2 });
    channel.put(["a", "b", "c"]);
    const [[, delivered] = []] = frames(channel);
    channel.close(connection);
    subscribe(channel, { type: "reader", from: { resume: delivered?.resume ?? "" } });
    expect(sent(channel).map(([, texts]) => texts)).toEqual(["c"]);
  });

  test("[SB7] [G11] a token of another life, of a place that is not there, or none at all is refused", () => {
    const channel = channelWith(LOG);
    channel.put(["a"]);
    const origin = { connection: channel.connect(), request: 1 };
    const { resume = "" } = expectType(trySubscribe(channel, { type: "reader", from: { at: "last" } }, origin), "subscribed");
    const from = (token: string) => trySubscribe(channel, { type: "reader", from: { resume: token } });
    expect(kindOf(from(resume.replace(/\d+$/u, "99")))).toBe("resume-lost");
    for (const token of ["", ".", "life", `${resume}x`, "life.0", "life.-1"]) expect(kindOf(from(token))).toBe("invalid-request");
    channel.delete();
    channel.apply({ type: "create", settings: LOG });
    expect(refusalOf(from(resume))).toEqual({ kind: "resume-lost", resume });
  });

  test("[SB8] readers of a closed log are sent what is left and then ended", () => {
    const channel = channelWith(LOG);
    channel.put(["a", "b"]);
    const reader = subscribe(channel, FIRST, { messages: 1 });
    channel.patch({ state: "closed" });
    expect(sent(channel)).toEqual([[reader.connection, "a"]]);
    grant(channel, reader, { messages: 1 });
    channel.tick();
    expect(channel.takeAnswers().map(({ outcome }) => outcome.type)).toEqual(["delivered", "ended"]);
  });

  test("[SB8] a deletion ends every reader at once", () => {
    const channel = channelWith(LOG);
    subscribe(channel, FIRST, { messages: 0 });
    channel.delete();
    expect(channel.takeAnswers()).toMatchObject([{ outcome: { type: "ended", refusal: { kind: "channel-deleted" } } }]);
    expect(channel.channel.hasMoreToDeliver).toBe(false);
  });
});

describe("src/channel/streams: who may subscribe", () => {
  test("[SB1] a plain reader needs a log and a tap anything else", () => {
    const wrong = { kind: "wrong-retention", retention: "queue", needed: ["log"] };
    expect(refusalOf(trySubscribe(channelWith(), FIRST))).toEqual(wrong);
    expect(refusalOf(trySubscribe(channelWith(LOG), { type: "tap" }))).toMatchObject({ needed: ["queue", "interest"] });
    expect(kindOf(trySubscribe(channelWith(LOG), MEMBER))).toBe("unknown-group");
  });

  test("[SB1] [G6] a connection has so many subscriptions, each under an id of its own", () => {
    const channel = channelWith();
    const connection = channel.connect();
    for (let request = 1; request <= LIMITS.subscriptionsPerSocketMax; request++) {
      expect(kindOf(trySubscribe(channel, MEMBER, { connection, request }))).toBe("subscribed");
    }
    expect(kindOf(trySubscribe(channel, MEMBER, { connection, request: 9 }))).toBe("too-many-subscriptions");
    expect(kindOf(trySubscribe(channel, MEMBER, { connection, request: 1 }))).toBe("request-in-use");
    expect(kindOf(channel.get({ waitMs: 1 }, { connection, request: 1 }))).toBe("request-in-use");
    channel.get({ waitMs: 1 }, { connection, request: 20 });
    channel.apply({ type: "unsubscribe", request: 1 }, { connection, request: 1 });
    expect(kindOf(trySubscribe(channel, MEMBER, { connection, request: 20 }))).toBe("request-in-use");
  });

  test("[SB1] without a connection nobody can be sent anything", () => {
    expect(kindOf(channelWith().apply({ type: "subscribe", target: MEMBER, credit: creditOf({}) }))).toBe("invalid-request");
  });

  test("[SB1] [SB8] a connection that is gone subscribes to nothing", () => {
    const channel = channelWith();
    const origin = { connection: channel.connect(), request: 1 };
    channel.cut(origin.connection);
    expect(kindOf(trySubscribe(channel, MEMBER, origin))).toBe("invalid-request");
    expect(channel.describe().subscriptions).toEqual({ members: 0, readers: 0 });
  });

  test("[SB1] [LC7] subscribing creates a channel where first use does", () => {
    const channel = new ChannelHarness({ mayCreate: true });
    expect(kindOf(trySubscribe(channel, MEMBER))).toBe("subscribed");
    expect(channel.describe().subscriptions.members).toBe(1);
  });
});

describe("src/channel/streams: sleep", () => {
  test("[SB9] [G10] after an eviction members stand in their places and readers at theirs, with the same credit", () => {
    const channel = channelWith(LOG);
    channel.apply({ type: "create-group", group: "x", settings: {} });
    const member = subscribe(channel, { ...MEMBER, group: "x", reader: "r1" }, { messages: 3 });
    const second = subscribe(channel, { ...MEMBER, group: "x" }, { messages: 1 });
    const reader = subscribe(channel, { ...FIRST, filter: { keys: ["k"] } }, { messages: 2 });
    channel.putMessages([keyed("a")]);
    const held = frames(channel).flatMap(([, { granted }]) => granted?.leaseIds ?? []);
    const before = [member, second, reader].map(({ connection }) => channel.channel.subscriptionsOf(connection));
    channel.evict();
    expect([member, second, reader].map(({ connection }) => channel.channel.subscriptionsOf(connection))).toEqual(before);
    // The key is the first member's, and it is not its turn.
    channel.putMessages([keyed("b")]);
    expect(sent(channel)).toEqual([[reader.connection, "b"]]);
    channel.settle({ acks: held.map((leaseId) => ({ leaseId })) });
    channel.put(["c"]);
    expect(sent(channel)).toEqual([
      [second.connection, "b"],
      [member.connection, "c"],
    ]);
  });

  test("[SB9] [LC6] a channel with a subscription is not idle", () => {
    const channel = channelWith({ expireAfterIdleMs: 60_000 });
    const { connection } = subscribe(channel, MEMBER);
    channel.tick(120_000);
    expect(channel.describe().state).toBe("open");
    channel.close(connection);
    channel.tick(120_000);
    expect(kindOf(channel.apply({ type: "describe" }))).toBe("unknown-channel");
  });

  test("[SB4] [RC6] a get that is carried out again after a failure sends members nothing, and leaves them what they stand for", () => {
    const channel = channelWith();
    const member = subscribe(channel, MEMBER);
    channel.together(() => {
      channel.put(["a"]);
      const got = channel.channel.apply({ type: "get", max: 5 }, { ...channel.moment, isRecovering: true });
      expect(expectType(got, "got").messages).toEqual([]);
      expect(channel.channel.takeEffects()).toEqual([]);
    });
    expect(sent(channel)).toEqual([[member.connection, "a"]]);
  });

  test("[SB4] [RC6] what was decided and not written was not sent, and is sent later", () => {
    const channel = channelWith();
    const member = subscribe(channel, MEMBER);
    channel.failToCommit(() => void channel.put(["lost"]));
    channel.put(["a"]);
    expect(sent(channel)).toEqual([[member.connection, "a"]]);
  });
});
