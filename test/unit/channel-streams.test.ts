// Streams: members of groups and plain readers that are sent messages as they come. Rules SB of src/channel/SPEC.md.
import { describe, expect, test } from "vitest";
import type { Delivered, Origin, Outcome, StreamTarget } from "../../src/channel/operation.ts";
import { decodeUtf8 } from "../../src/protocol/bytes.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import type { PutMessage } from "../../src/protocol/message.ts";
import type { GivenSettings } from "../../src/protocol/settings.ts";
import { ChannelHarness, expectType, kindOf, refusalOf, sizedMessage, textMessage } from "./channel-harness.ts";

const MEMBER: StreamTarget = { type: "member", leaseMs: 30_000 };
const FIRST: StreamTarget = { type: "reader", from: { at: "first" } };
const LOG: GivenSettings = { retention: "log" };

function channelWith(settings: GivenSettings = {}): ChannelHarness {
  return new ChannelHarness({ settings });
}

interface Credit {
  readonly messages?: number;
  readonly bytes?: number;
}

function creditOf({ messages = 100, bytes = 1_000_000 }: Credit): { messages: number; bytes: number } {
  return { messages, bytes };
}

/** Subscribes on a connection of its own. */
function subscribe(channel: ChannelHarness, target: StreamTarget, credit: Credit = {}): Origin {
  const origin = { connection: channel.connect(), request: 1 };
  expectType(channel.apply({ type: "subscribe", target, credit: creditOf(credit) }, origin), "subscribed");
  return origin;
}

function trySubscribe(channel: ChannelHarness, target: StreamTarget, origin?: Origin): Outcome {
  const own = origin ?? { connection: channel.connect(), request: 1 };
  return channel.apply({ type: "subscribe", target, credit: creditOf({}) }, own);
}

function grant(channel: ChannelHarness, { connection, request }: Origin, credit: Credit): Outcome {
  return channel.apply({ type: "credit", request, credit: creditOf({ bytes: 0, ...credit }) }, { connection, request });
}

/** What was sent since the last look: to which connection, and the texts of each frame. */
function sent(channel: ChannelHarness): (readonly [number, string])[] {
  return frames(channel).map(([connection, { messages }]) => [connection, messages.map(textOf).join()]);
}

function frames(channel: ChannelHarness): (readonly [number, Delivered])[] {
  return channel.takeAnswers().map(({ connection, outcome }) => [connection, expectType(outcome, "delivered")]);
}

/** What each connection was sent, in order: texts of messages, and types of control records. */
function describeFrames(channel: ChannelHarness): (readonly [number, string])[] {
  return frames(channel).map(([connection, { messages, controls }]) => [
    connection,
    [...messages.map(textOf), ...controls.map(({ offset, control }) => `${control.type} ${offset}`)].join(),
  ]);
}

function textOf({ body }: { readonly body: Uint8Array }): string {
  return decodeUtf8(body) ?? "";
}

function keyed(text: string): PutMessage {
  return { ...textMessage(text), key: "k" };
}

function labelled(text: string, key?: string, kind?: string): PutMessage {
  return {
    ...textMessage(text),
    ...(key !== undefined && { key }),
    ...(kind !== undefined && { headers: { kind } }),
  };
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
