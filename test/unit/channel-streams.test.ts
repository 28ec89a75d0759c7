// Streams: members of groups that are sent messages as they come. Rules SB of src/channel/SPEC.md.
import { describe, expect, test } from "vitest";
import type { Delivered } from "../../src/channel/operation.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import { type ChannelHarness, expectType, kindOf, refusalOf, sizedMessage, textMessage } from "./channel-harness.ts";
import {
  channelWith,
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

/** What each connection was sent, in order: texts of messages, and types of control records. */
function describeFrames(channel: ChannelHarness): (readonly [number, string])[] {
  return frames(channel).map(([connection, { messages, controls }]) => [
    connection,
    [...messages.map(textOf), ...controls.map(({ offset, control }) => `${control.type} ${offset}`)].join(),
  ]);
}

function endedBy(kind: string): object {
  return { type: "ended", refusal: expect.objectContaining({ kind }) as unknown };
}

function settleAll(channel: ChannelHarness, verb: "acks" | "releases", delivered: readonly Delivered[]): void {
  channel.settle({ [verb]: delivered.flatMap(({ granted }) => granted?.leaseIds ?? []).map((leaseId) => ({ leaseId })) });
}

describe("src/channel/streams: credit", () => {
  test("[SB2] nothing is sent without credit, and what is sent is taken off", () => {
    const channel = channelWith();
    const reader = subscribe(channel, MEMBER, { messages: 2 });
    channel.put(["a", "b", "c"]);
    expect(sent(channel)).toEqual([[reader.connection, "a,b"]]);
    channel.put(["d"]);
    expect(sent(channel)).toEqual([]);
    grant(channel, reader, { messages: 1 });
    expect(sent(channel)).toEqual([[reader.connection, "c"]]);
  });

  test("[SB2] a frame has at most the bytes of the credit, or one larger message, after which as many bytes have to be granted", () => {
    const channel = channelWith(LOG);
    const reader = subscribe(channel, FIRST, { bytes: 100 });
    channel.putMessages([sizedMessage(60), sizedMessage(60), sizedMessage(200)]);
    expect(frames(channel).map(([, { messages }]) => messages.length)).toEqual([1]);
    channel.tick();
    expect(frames(channel).map(([, { messages }]) => messages.length)).toEqual([1]);
    channel.tick();
    expect(frames(channel)).toEqual([]);
    grant(channel, reader, { messages: 0, bytes: 20 });
    expect(frames(channel)).toEqual([]);
    grant(channel, reader, { messages: 0, bytes: 1 });
    expect(frames(channel).map(([, { messages }]) => messages[0]?.body.byteLength)).toEqual([200]);
  });

  test("[SB2] credit adds up to a limit", () => {
    const channel = channelWith(LOG);
    const reader = subscribe(channel, FIRST, { messages: 5 });
    for (let times = 0; times < 3; times++)
      grant(channel, reader, { messages: Number.MAX_SAFE_INTEGER, bytes: Number.MAX_SAFE_INTEGER });
    expect(channel.channel.subscriptionsOf(reader.connection)).toMatchObject([
      { credit: { messages: LIMITS.creditMessagesMax, bytes: LIMITS.creditBytesMax } },
    ]);
  });

  test("[SB2] [G11] credit for what is not subscribed is refused", () => {
    const channel = channelWith();
    const { connection } = subscribe(channel, MEMBER);
    expect(refusalOf(grant(channel, { connection, request: 9 }, { messages: 1 }))).toEqual({
      kind: "unknown-subscription",
      id: 9,
    });
    expect(kindOf(channel.apply({ type: "unsubscribe", request: 9 }, { connection, request: 9 }))).toBe("unknown-subscription");
  });
});

describe("src/channel/streams: members", () => {
  test("[SB3] [LS1] what a member is sent is leased to it, and settled as any lease", () => {
    const channel = channelWith();
    subscribe(channel, MEMBER);
    channel.put(["a", "b"]);
    const [[, delivered] = []] = frames(channel);
    expect(delivered?.granted).toMatchObject({
      attempts: [1, 1],
      redelivered: [false, false],
      leaseUntilMs: channel.nowMs + 30_000,
    });
    expect(channel.describe()).toMatchObject({ depth: 2, delivery: { leased: 2 }, subscriptions: { members: 1, readers: 0 } });
    settleAll(channel, "acks", delivered === undefined ? [] : [delivered]);
    expect(channel.describe()).toMatchObject({ depth: 0, counts: { acked: 2 } });
  });

  test("[SB3] [KO1] a member may hold several messages of a key, and no other gets one of them meanwhile", () => {
    const channel = channelWith();
    const first = subscribe(channel, MEMBER, { messages: 2 });
    const other = subscribe(channel, MEMBER, { messages: 5 });
    channel.putMessages([keyed("a"), keyed("b"), keyed("c"), textMessage("d")]);
    expect(sent(channel)).toEqual([
      [first.connection, "a,b"],
      [other.connection, "d"],
    ]);
    grant(channel, other, { messages: 0 });
    expect(sent(channel)).toEqual([]);
  });

  test("[SB3] [G7] members have their turns one after another, and more credit does not lose a place", () => {
    const channel = channelWith();
    const [a, b] = [subscribe(channel, MEMBER, { messages: 2 }), subscribe(channel, MEMBER, { messages: 2 })];
    grant(channel, a, { messages: 1 });
    for (const text of ["1", "2", "3"]) channel.put([text]);
    expect(sent(channel)).toEqual([
      [a.connection, "1"],
      [b.connection, "2"],
      [a.connection, "3"],
    ]);
  });

  test("[SB3] [G7] a member and a get that waits are served in the order in which they came", () => {
    const channel = channelWith();
    const member = subscribe(channel, MEMBER, { messages: 1 });
    const getter = { connection: channel.connect(), request: 1 };
    channel.get({ waitMs: 10_000 }, getter);
    channel.put(["a", "b"]);
    const answers = channel.takeAnswers();
    const textsFor = (connection: number) =>
      answers.flatMap((answer) => {
        const { outcome } = answer;
        const hasMessages = answer.connection === connection && (outcome.type === "got" || outcome.type === "delivered");
        return hasMessages ? outcome.messages.map(textOf) : [];
      });
    expect([member, getter].map(({ connection }) => textsFor(connection))).toEqual([["a"], ["b"]]);
  });

  test("[SB4] [G7] a get that comes with the put does not take what a member stands before it for", () => {
    const channel = channelWith();
    subscribe(channel, MEMBER, { messages: 1 });
    const got = channel.together(() => {
      channel.put(["a", "b"]);
      return channel.get({ max: 5 });
    });
    expect(expectType(got, "got").messages.map(textOf)).toEqual(["b"]);
    expect(sent(channel).map(([, texts]) => texts)).toEqual(["a"]);
  });

  test("[SB4] what a commit brings comes in one frame", () => {
    const channel = channelWith();
    subscribe(channel, MEMBER);
    channel.together(() => {
      for (const text of ["a", "b", "c"]) channel.put([text]);
    });
    expect(sent(channel).map(([, texts]) => texts)).toEqual(["a,b,c"]);
    // Nobody is owed more: no commit has to follow.
    expect(channel.channel.hasMoreToDeliver).toBe(false);
  });

  test("[SB4] each gets one frame at most in a commit, and more follows with the next", () => {
    const channel = channelWith();
    const [a, b] = [subscribe(channel, MEMBER, { messages: 5_000 }), subscribe(channel, MEMBER, { messages: 1 })];
    channel.putMessages(Array.from({ length: LIMITS.streamFrameMessagesMax + 5 }, () => sizedMessage(1)));
    const counts = frames(channel).map(([connection, { messages }]) => [connection, messages.length]);
    expect(counts).toEqual([
      [a.connection, LIMITS.streamFrameMessagesMax],
      [b.connection, 1],
    ]);
    expect(channel.channel.hasMoreToDeliver).toBe(true);
    channel.tick();
    expect(frames(channel).map(([, { messages }]) => messages.length)).toEqual([4]);
    channel.tick();
    expect(channel.channel.hasMoreToDeliver).toBe(false);
  });

  test("[SB3] [KO1] a member gets what waits behind its own messages of a key, also if another one's turn passed it", () => {
    const channel = channelWith();
    const first = subscribe(channel, MEMBER, { messages: 1 });
    const other = subscribe(channel, MEMBER, { messages: 1 });
    channel.putMessages([keyed("a"), keyed("b"), textMessage("c")]);
    expect(sent(channel)).toEqual([
      [first.connection, "a"],
      [other.connection, "c"],
    ]);
    grant(channel, first, { messages: 5 });
    expect(sent(channel)).toEqual([[first.connection, "b"]]);
  });

  test("[SB4] [TL2] what a turn finds expired makes room for a put that waits", () => {
    const channel = channelWith({ maxMessages: 2, messageTtlMs: 1_000, onExpired: "drop" });
    const member = subscribe(channel, MEMBER, { messages: 1 });
    channel.put(["a", "b"]);
    const waiting = { connection: channel.connect(), request: 1 };
    channel.put(["c"], { waitMs: 60_000, origin: waiting });
    channel.takeAnswers();
    channel.nowMs += 2_000;
    grant(channel, member, { messages: 1 });
    expect(channel.takeAnswers()).toMatchObject([{ ...waiting, outcome: { type: "room" } }]);
  });

  test("[SB8] [LC2] what a turn finds expired may have been the last of a channel that drains", () => {
    const channel = channelWith({ messageTtlMs: 1_000, onExpired: "drop" });
    const member = subscribe(channel, MEMBER, { messages: 0 });
    // What lies behind a control record at the head is looked at by readers alone.
    channel.patch({ maxMessages: 5 });
    channel.put(["a"]);
    channel.patch({ state: "draining" });
    channel.nowMs += 2_000;
    grant(channel, member, { messages: 1 });
    expect(channel.takeAnswers()).toEqual([{ ...member, outcome: endedBy("channel-closed") }]);
  });

  test("[SB8] [LS5] unsubscribing releases what is held, and the attempt does not count", () => {
    const channel = channelWith();
    const { connection, request } = subscribe(channel, MEMBER, { messages: 1 });
    channel.put(["a"]);
    channel.takeAnswers();
    expect(channel.apply({ type: "unsubscribe", request }, { connection, request })).toEqual({ type: "ended" });
    expect(expectType(channel.pull(), "got").granted).toMatchObject({ attempts: [1], redelivered: [true] });
  });

  test("[SB8] [LS9] a connection that closes takes its subscriptions with it, and its leases end", () => {
    const channel = channelWith();
    const gone = subscribe(channel, MEMBER, { messages: 1 });
    channel.put(["a"]);
    channel.close(gone.connection);
    const next = subscribe(channel, MEMBER);
    expect(channel.describe().subscriptions).toEqual({ members: 1, readers: 0 });
    channel.takeAnswers();
    channel.put(["b"]);
    expect(sent(channel)).toEqual([[next.connection, "b"]]);
  });

  test("[SB8] a member whose socket is gone gets nothing, and the next one does", () => {
    const channel = channelWith();
    const [gone, next] = [subscribe(channel, MEMBER), subscribe(channel, MEMBER)];
    channel.cut(gone.connection);
    channel.put(["a"]);
    expect(sent(channel)).toEqual([[next.connection, "a"]]);
  });

  test("[SB8] a deleted group ends its members, a closed channel all of them", () => {
    const channel = channelWith(LOG);
    for (const group of ["x", "y"]) channel.apply({ type: "create-group", group, settings: {} });
    const x = subscribe(channel, { ...MEMBER, group: "x" });
    const y = subscribe(channel, { ...MEMBER, group: "y" });
    channel.apply({ type: "delete-group", group: "x" });
    expect(channel.takeAnswers()).toEqual([{ ...x, outcome: endedBy("unknown-group") }]);
    channel.patch({ state: "closed" });
    expect(channel.takeAnswers()).toEqual([{ ...y, outcome: endedBy("channel-closed") }]);
    expect(kindOf(trySubscribe(channel, { ...MEMBER, group: "y" }))).toBe("channel-closed");
  });

  test("[SB8] [LC2] a draining channel serves its members until the last message is settled", () => {
    const channel = channelWith();
    const member = subscribe(channel, MEMBER, { messages: 1 });
    channel.put(["a", "b"]);
    const first = frames(channel).map(([, delivered]) => delivered);
    channel.patch({ state: "draining" });
    grant(channel, member, { messages: 5 });
    const last = frames(channel).map(([, delivered]) => delivered);
    settleAll(channel, "acks", [...first, ...last]);
    expect(channel.takeAnswers()).toEqual([{ ...member, outcome: { type: "ended", refusal: { kind: "channel-closed" } } }]);
  });

  test("[SB3] [LS6] what comes back by time is sent again", () => {
    const channel = channelWith({ delivery: { retryDelaysMs: [] } });
    const [a, b] = [subscribe(channel, MEMBER, { messages: 1 }), subscribe(channel, MEMBER, { messages: 1 })];
    channel.put(["a"]);
    expect(sent(channel)).toEqual([[a.connection, "a"]]);
    expect(channel.channel.nextServiceAtMs).toBe(channel.nowMs + 30_000);
    channel.tick(30_000);
    const again = frames(channel);
    expect(again.map(([connection, { granted }]) => [connection, granted?.attempts])).toEqual([[b.connection, [2]]]);
  });
});

describe("src/channel/streams: control records and members", () => {
  test("[SB10] [GT5] whoever is handed messages finds the control records beside them, and the other members are told once", () => {
    const channel = channelWith();
    const first = subscribe(channel, MEMBER, { messages: 2 });
    const other = subscribe(channel, MEMBER, { messages: 5 });
    channel.put(["a"]);
    channel.patch({ maxMessages: 50 });
    expect(describeFrames(channel)).toEqual([[first.connection, "a"]]);
    channel.put(["b"]);
    channel.put(["c"]);
    expect(describeFrames(channel)).toEqual([
      [first.connection, "resize 2"],
      [other.connection, "b,resize 2"],
      [first.connection, "c"],
    ]);
  });

  test.each(["get", "pull"] as const)(
    "[SB10] [GT5] what a %s passes, members are told without credit, and it takes none",
    (take) => {
      const channel = channelWith();
      const [first, second] = [subscribe(channel, MEMBER, { messages: 0 }), subscribe(channel, MEMBER, { messages: 0 })];
      channel.patch({ maxMessages: 50 });
      channel.put(["a"]);
      channel[take]({});
      expect(describeFrames(channel)).toEqual([
        [first.connection, "resize 1"],
        [second.connection, "resize 1"],
      ]);
      expect(channel.channel.subscriptionsOf(first.connection)).toMatchObject([{ credit: { messages: 0, bytes: 1_000_000 } }]);
    },
  );

  test("[SB10] members of other groups are told when their own group passes it, and plain readers as of any record", () => {
    const channel = channelWith(LOG);
    for (const group of ["x", "y"]) channel.apply({ type: "create-group", group, settings: {} });
    const x = subscribe(channel, { ...MEMBER, group: "x" }, { messages: 0 });
    const y = subscribe(channel, { ...MEMBER, group: "y" }, { messages: 0 });
    const reader = subscribe(channel, FIRST);
    channel.patch({ maxMessages: 50 });
    channel.put(["a"]);
    expect(describeFrames(channel)).toEqual([
      [reader.connection, "resize 1"],
      [reader.connection, "a"],
    ]);
    channel.pull({ group: "x" });
    expect(describeFrames(channel)).toEqual([[x.connection, "resize 1"]]);
    channel.pull({ group: "y" });
    channel.pull({ group: "x" });
    expect(describeFrames(channel)).toEqual([[y.connection, "resize 1"]]);
  });

  test("[SB10] [SB9] after waking nobody is told twice, and members that stayed are told of what is passed then", () => {
    const channel = channelWith();
    const member = subscribe(channel, MEMBER, { messages: 0 });
    channel.patch({ maxMessages: 50 });
    channel.put(["a", "b"]);
    channel.get();
    expect(describeFrames(channel)).toEqual([[member.connection, "resize 1"]]);
    channel.patch({ maxMessages: 60 });
    channel.put(["c"]);
    channel.evict();
    channel.get({ max: 2 });
    expect(describeFrames(channel)).toEqual([[member.connection, "resize 4"]]);
    channel.evict();
    channel.put(["d"]);
    channel.get();
    expect(describeFrames(channel)).toEqual([]);
  });

  test("[SB10] [RC6] what is passed while operations are applied again after a failure is told too", () => {
    const channel = channelWith();
    const member = subscribe(channel, MEMBER, { messages: 0 });
    channel.patch({ maxMessages: 50 });
    channel.put(["a"]);
    channel.failToCommit(() => channel.get());
    expect(describeFrames(channel)).toEqual([]);
    channel.channel.apply({ type: "get" }, { ...channel.moment, isRecovering: true });
    channel.commit();
    expect(describeFrames(channel)).toEqual([[member.connection, "resize 1"]]);
  });
});
