// Requests that wait: lines, promises of room, cancelling, hibernation. Rules OR3 and WT of src/channel/SPEC.md.
import { describe, expect, test } from "vitest";
import type { Origin } from "../../src/channel/operation.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import { ChannelHarness, kindOf, refusalOf, START_MS, textMessage, textsOf } from "./channel-harness.ts";

const NOTHING = { type: "got", messages: [], controls: [] };
const ROOM = { type: "room", reservedMs: LIMITS.reservationMs };
const WAITING = { type: "waiting" };
const WAIT_MS = 60_000;

function channelOf(maxMessages: number, ...texts: string[]): ChannelHarness {
  const channel = new ChannelHarness({ settings: { maxMessages } });
  channel.put(texts);
  return channel;
}

/** A new connection, and its first request. */
function connect(channel: ChannelHarness): Origin {
  return { connection: channel.connect(), request: 1 };
}

function waitForMessages(channel: ChannelHarness, origin: Origin, min = 1): void {
  expect(channel.get({ min, waitMs: WAIT_MS }, origin)).toEqual(WAITING);
}

function waitForRoom(channel: ChannelHarness, origin: Origin, messages = 1): void {
  const texts = Array.from({ length: messages }, () => "waits");
  expect(channel.put(texts, { waitMs: WAIT_MS, origin })).toEqual(WAITING);
}

/** Which connections were answered, and what: a kind, or the texts of messages. */
function answersOf(channel: ChannelHarness): (readonly [number, string])[] {
  return channel.takeAnswers().map(({ connection, outcome }) => {
    return [connection, outcome.type === "got" ? `got ${textsOf(outcome).join()}` : kindOf(outcome)];
  });
}

describe("src/channel/traffic", () => {
  test("[OR3] [G2] a put does not overtake one of its connection that waits", () => {
    const channel = channelOf(2, "a", "b");
    const writer = connect(channel);
    waitForRoom(channel, writer, 2);
    channel.get();

    expect(kindOf(channel.put(["small"], { origin: { ...writer, request: 2 } }))).toBe("channel-full");
    expect(channel.browseTexts()).toEqual(["b"]);
  });

  test("[WT5] a put does not overtake one of its connection that was promised room", () => {
    const channel = channelOf(3, "a", "b", "c");
    const writer = connect(channel);
    waitForRoom(channel, writer);
    channel.get({ max: 2 });

    expect(kindOf(channel.put(["second"], { origin: { ...writer, request: 2 } }))).toBe("channel-full");
    expect(channel.put(["second"], { waitMs: WAIT_MS, origin: { ...writer, request: 3 } })).toEqual(WAITING);
    channel.put(["first"], { isPromised: true, origin: writer });
    channel.put(["second"], { isPromised: true, origin: { ...writer, request: 3 } });
    expect(answersOf(channel)).toEqual([
      [1, "room"],
      [1, "room"],
    ]);
    expect(channel.browseTexts()).toEqual(["c", "first", "second"]);
  });

  test("[WT5] a put of another connection may take the room beside a promise", () => {
    const channel = channelOf(3, "a", "b", "c");
    waitForRoom(channel, connect(channel));
    channel.get({ max: 2 });

    expect(kindOf(channel.put(["d"], { origin: connect(channel) }))).toBe("put");
    expect(kindOf(channel.put(["too many"], { origin: connect(channel) }))).toBe("channel-full");
  });

  test("[WT1] a wait is capped at waitMsMax", () => {
    const channel = channelOf(1);
    const reader = connect(channel);

    channel.get({ waitMs: Number.MAX_SAFE_INTEGER }, reader);

    expect(channel.waiters[0]?.deadlineMs).toBe(START_MS + LIMITS.waitMsMax);
    channel.tick(LIMITS.waitMsMax - 1);
    expect(channel.takeAnswers()).toEqual([]);
    channel.tick(1);
    expect(channel.takeAnswers()).toEqual([{ ...reader, outcome: NOTHING }]);
  });

  test("[WT1] a wait that is absent or 0 tries once", () => {
    const channel = channelOf(1);
    const reader = connect(channel);

    expect([channel.get({}, reader), channel.get({ waitMs: 0 }, reader)]).toEqual([NOTHING, NOTHING]);
    expect(channel.describe().waiters).toBe(0);
  });

  test("[WT2] [G7] gets are served in the order of arrival, over all connections", () => {
    const channel = channelOf(10);
    const [a, b, c] = [connect(channel), connect(channel), connect(channel)];
    for (const origin of [c, a, { ...c, request: 2 }, b]) waitForMessages(channel, origin);

    channel.put(["1", "2"]);
    channel.put(["3", "4"]);

    expect(channel.takeAnswers().map(({ connection, request }) => [connection, request])).toEqual([
      [3, 1],
      [1, 1],
      [3, 2],
      [2, 1],
    ]);
  });

  test("[WT2] [G7] puts are promised room in the order of arrival, over all connections", () => {
    const channel = channelOf(2, "a", "b");
    const [a, b, c] = [connect(channel), connect(channel), connect(channel)];
    for (const origin of [c, a, b]) waitForRoom(channel, origin);

    channel.get();
    const first = answersOf(channel);
    channel.get();

    expect(first).toEqual([[3, "room"]]);
    expect(answersOf(channel)).toEqual([[1, "room"]]);
    expect(channel.describe().waiting).toEqual({ gets: 0, puts: 3 });
  });

  test("[WT2] a get that comes later does not pass the line: no barging", () => {
    const channel = channelOf(10, "a");
    waitForMessages(channel, connect(channel), 2);
    const barging = connect(channel);

    expect(channel.get({}, barging)).toEqual(NOTHING);
    waitForMessages(channel, barging);
    channel.put(["b"]);
    channel.put(["c"]);
    expect(answersOf(channel)).toEqual([
      [1, "got a,b"],
      [2, "got c"],
    ]);
  });

  test("[WT2] a put that comes later does not pass the line, though it would fit: no barging", () => {
    const channel = channelOf(3, "a", "b", "c");
    waitForRoom(channel, connect(channel), 2);
    channel.get();

    expect(kindOf(channel.put(["barging"]))).toBe("channel-full");
    expect(kindOf(channel.reserve(1, 1, connect(channel)))).toBe("channel-full");
    channel.get();
    expect(answersOf(channel)).toEqual([[1, "room"]]);
    expect(kindOf(channel.put(["barging"]))).toBe("channel-full");
  });

  test("[WT3] the first in line blocks those behind it", () => {
    const channel = channelOf(10, "a", "b");
    waitForMessages(channel, connect(channel), 3);
    waitForMessages(channel, connect(channel), 1);

    expect(channel.describe()).toMatchObject({ depth: 2, waiting: { gets: 2, puts: 0 } });
    channel.put(["c", "d"]);
    expect(answersOf(channel)).toEqual([
      [1, "got a,b,c"],
      [2, "got d"],
    ]);
  });

  test("[WT4] a waiting put leaves no body: it is promised room, and the put with its id that says so uses it", () => {
    const channel = channelOf(1, "a");
    const writer = connect(channel);
    waitForRoom(channel, writer);
    expect(channel.changes).toBeUndefined();

    channel.get();

    expect(channel.takeAnswers()).toEqual([{ ...writer, outcome: ROOM }]);
    expect(channel.browseTexts()).toEqual([]);
    expect(refusalOf(channel.put(["b"], { origin: writer }))).toEqual({ kind: "request-in-use", id: 1 });
    expect(channel.put(["b"], { isPromised: true, origin: writer })).toEqual({ type: "put", offset: 2, count: 1 });
    expect(channel.describe()).toMatchObject({ depth: 1, waiters: 0 });
  });

  test("[WT4] a promise that is not used is taken back, and the next in line is served", () => {
    const channel = channelOf(1, "a");
    waitForRoom(channel, connect(channel));
    waitForRoom(channel, connect(channel));
    channel.get();
    expect(channel.channel.nextReservationEndMs).toBe(START_MS + LIMITS.reservationMs);

    channel.tick(LIMITS.reservationMs - 1);
    const early = answersOf(channel);
    channel.tick(1);

    expect(early).toEqual([[1, "room"]]);
    expect(answersOf(channel)).toEqual([
      [1, "promise-lost"],
      [2, "room"],
    ]);
  });

  test("[WT4] a promised put that comes after its promise was taken back stores nothing", () => {
    const channel = channelOf(1, "a");
    const late = connect(channel);
    waitForRoom(channel, late);
    channel.get();
    channel.tick(LIMITS.reservationMs);

    expect(refusalOf(channel.put(["late!"], { isPromised: true, origin: late }))).toEqual({ kind: "promise-lost", id: 1 });
    expect(channel.browseTexts()).toEqual([]);
    expect(refusalOf(channel.put(["late!"], { isPromised: true }))).toMatchObject({ kind: "promise-lost" });
  });

  test("[WT4] a put that comes when its promise is over does not take the room of the next in line", () => {
    const channel = channelOf(1, "a");
    const late = connect(channel);
    waitForRoom(channel, late);
    waitForRoom(channel, connect(channel));
    channel.get();
    channel.takeAnswers();
    channel.nowMs += LIMITS.reservationMs;

    const outcome = channel.put(["late!"], { isPromised: true, origin: late });

    expect(kindOf(outcome)).toBe("promise-lost");
    expect(answersOf(channel)).toEqual([
      [1, "promise-lost"],
      [2, "room"],
    ]);
  });

  test("[WT4] a promise holds for a batch of the size that waited", () => {
    const channel = channelOf(2, "a", "b");
    const writer = connect(channel);
    waitForRoom(channel, writer, 1);
    channel.get({ max: 2 });

    expect(refusalOf(channel.put(["x", "y"], { isPromised: true, origin: writer }))).toMatchObject({ kind: "invalid-request" });
    expect(channel.describe()).toMatchObject({ depth: 0, waiters: 0 });
  });

  test("[WT4] a promise ends with the put that comes for it, also with one that is refused", () => {
    const channel = new ChannelHarness({ settings: { maxMessages: 1, maxMessageBytes: 5 } });
    const writer = connect(channel);
    channel.reserve(1, 6, writer);

    expect(kindOf(channel.put(["123456"], { isPromised: true, origin: writer }))).toBe("message-too-large");
    expect(channel.describe().waiters).toBe(0);
    expect(kindOf(channel.put(["12345"]))).toBe("put");
  });

  test("[WT4] room can be asked for without a body, and is held against other puts", () => {
    const channel = channelOf(2);
    const writer = connect(channel);

    expect(channel.reserve(2, 2, writer)).toEqual(ROOM);
    expect(kindOf(channel.put(["x"]))).toBe("channel-full");
    expect(kindOf(channel.reserve(1, 1, { ...writer, request: 2 }))).toBe("channel-full");
    expect(refusalOf(channel.reserve(1, 1, writer))).toEqual({ kind: "request-in-use", id: 1 });
    expect(channel.put(["a", "b"], { isPromised: true, origin: writer })).toEqual({ type: "put", offset: 1, count: 2 });
  });

  test("[WT4] room that is asked for in vain waits like a put", () => {
    const channel = channelOf(1, "a");
    const writer = connect(channel);

    expect(channel.reserve(1, 1, writer, WAIT_MS)).toEqual(WAITING);
    channel.get();
    expect(answersOf(channel)).toEqual([[1, "room"]]);
  });

  test("[WT6] a waiter whose connection closed takes nothing, and the next is served", () => {
    const channel = channelOf(10, "a");
    const [gone, cut, next] = [connect(channel), connect(channel), connect(channel)];
    waitForMessages(channel, gone, 2);
    for (const origin of [cut, next]) waitForMessages(channel, origin);

    // The socket of the second closed as well, but the channel has not heard of it.
    channel.cut(cut.connection);
    channel.close(gone.connection);

    expect(answersOf(channel)).toEqual([[3, "got a"]]);
    expect(channel.describe().waiters).toBe(0);
  });

  test("[WT6] room that was promised to a connection that closed goes to the next in line", () => {
    const channel = channelOf(1, "a");
    const writer = connect(channel);
    waitForRoom(channel, writer);
    waitForRoom(channel, connect(channel));
    channel.get();

    channel.close(writer.connection);

    expect(answersOf(channel)).toEqual([
      [1, "room"],
      [2, "room"],
    ]);
  });

  test("[WT6] a waiter whose deadline is over takes nothing", () => {
    const channel = channelOf(10);
    const reader = connect(channel);
    waitForMessages(channel, reader);
    waitForMessages(channel, connect(channel));
    channel.nowMs += WAIT_MS - 1;
    waitForMessages(channel, { ...reader, request: 2 });
    channel.nowMs += 1;

    channel.put(["a"]);

    expect(answersOf(channel)).toEqual([
      [1, "got "],
      [2, "got "],
      [1, "got a"],
    ]);
  });

  test("[WT6] a waiter whose deadline is over does not hold up who comes later", () => {
    const channel = channelOf(3, "a", "b");
    waitForMessages(channel, connect(channel), 3);
    waitForRoom(channel, connect(channel), 2);
    channel.nowMs += WAIT_MS;

    expect(textsOf(channel.get())).toEqual(["a"]);
    expect(kindOf(channel.put(["c"]))).toBe("put");
    expect(answersOf(channel)).toEqual([
      [1, "got "],
      [2, "channel-full"],
    ]);
  });

  test("[WT6] a cancelled get is answered with no messages, a cancelled put with channel-full", () => {
    const channel = channelOf(2, "a");
    const [reader, writer] = [connect(channel), connect(channel)];
    waitForMessages(channel, reader, 2);
    waitForRoom(channel, writer, 2);

    const cancelled = [reader, writer].map((origin) => channel.apply({ type: "cancel", request: 1 }, origin));

    expect(cancelled).toEqual([{ type: "cancelled" }, { type: "cancelled" }]);
    expect(answersOf(channel)).toEqual([
      [1, "got "],
      [2, "channel-full"],
    ]);
    expect(channel.getTexts()).toEqual(["a"]);
  });

  test("[WT6] a cancelled waiter makes way for those behind it", () => {
    const channel = channelOf(10, "a");
    const large = connect(channel);
    waitForMessages(channel, large, 5);
    waitForMessages(channel, connect(channel));

    channel.apply({ type: "cancel", request: 1 }, large);

    expect(answersOf(channel)).toEqual([
      [1, "got "],
      [2, "got a"],
    ]);
  });

  test("[WT6] an answer that was given already stands: cancelling afterwards changes nothing", () => {
    const channel = channelOf(10);
    const reader = connect(channel);
    waitForMessages(channel, reader);
    channel.put(["a"]);
    expect(answersOf(channel)).toEqual([[1, "got a"]]);

    expect(channel.apply({ type: "cancel", request: 1 }, reader)).toEqual({ type: "cancelled" });
    expect(channel.takeAnswers()).toEqual([]);
  });

  test("[WT7] at most waitersPerSocketMax wait on a connection", () => {
    const channel = channelOf(1);
    const { connection } = connect(channel);
    for (let request = 0; request < LIMITS.waitersPerSocketMax; request += 1) waitForMessages(channel, { connection, request });

    const refusal = refusalOf(channel.get({ waitMs: WAIT_MS }, { connection, request: 999 }));

    expect(refusal).toEqual({ kind: "too-many-waiters", limit: LIMITS.waitersPerSocketMax, retryAfterMs: 1000 });
    waitForMessages(channel, connect(channel));
  });

  test("[WT7] at most waitersMax wait in all", () => {
    const channel = channelOf(1);
    channel.together(() => {
      for (let left = LIMITS.waitersMax; left > 0; left -= LIMITS.waitersPerSocketMax) {
        const { connection } = connect(channel);
        for (let request = 0; request < LIMITS.waitersPerSocketMax; request += 1)
          waitForMessages(channel, { connection, request });
      }
    });

    const refusal = refusalOf(channel.get({ waitMs: WAIT_MS }, connect(channel)));

    expect(refusal).toEqual({ kind: "too-many-waiters", limit: LIMITS.waitersMax, retryAfterMs: 1000 });
  });

  test("[WT8] [G10] waiters are found again after an eviction, in the order of arrival, with their promises", () => {
    const channel = channelOf(2, "a", "b");
    const [first, second] = [connect(channel), connect(channel)];
    waitForRoom(channel, second);
    waitForRoom(channel, first);
    waitForRoom(channel, { ...second, request: 2 });
    channel.get();

    channel.evict();
    channel.get();

    expect(channel.takeAnswers().map(({ connection, request, outcome }) => [connection, request, outcome])).toEqual([
      [2, 1, ROOM],
      [1, 1, ROOM],
    ]);
    expect(channel.describe().waiting).toEqual({ gets: 0, puts: 3 });
    expect(channel.put(["c"], { isPromised: true, origin: second })).toMatchObject({ type: "put" });
  });

  test("[WT8] who comes after an eviction stands behind who waited before", () => {
    const channel = channelOf(10);
    const [early, late] = [connect(channel), connect(channel)];
    waitForMessages(channel, early);
    channel.evict();
    waitForMessages(channel, late);
    channel.evict();

    channel.put(["a", "b"]);

    expect(answersOf(channel)).toEqual([
      [1, "got a"],
      [2, "got b"],
    ]);
  });

  test("[WT9] a waiter writes nothing, and ten thousand cost a put no more reads than none", () => {
    const channel = channelOf(100, "a");
    channel.together(() => {
      for (let index = 0; index < 160; index += 1) {
        const { connection } = connect(channel);
        for (let request = 0; request < 63; request += 1) waitForMessages(channel, { connection, request }, 50);
      }
    });
    expect(channel.changes).toBeUndefined();
    channel.store.rowsRead = 0;

    channel.put(["b"]);

    expect(channel.store.rowsRead).toBe(0);
    expect(channel.channel.takeChangedConnections()).toEqual([]);
  });

  test("[G7] 1,001 waiting gets do not keep a put out: each gets its message", () => {
    const channel = channelOf(2000);
    channel.together(() => {
      for (let reader = 0; reader < 1001; reader += 1) waitForMessages(channel, connect(channel));
    });
    const texts = Array.from({ length: 1001 }, (_, index) => String(index));

    expect(channel.put(texts)).toMatchObject({ type: "put", count: 1001 });
    expect(answersOf(channel)).toEqual(texts.map((text, index) => [index + 1, `got ${text}`]));
    expect(channel.describe()).toMatchObject({ depth: 0, waiters: 0 });
  });

  test("[WT6] an abandoned getter eats nothing: its connection closed, the message stays", () => {
    const channel = channelOf(10);
    const reader = connect(channel);
    waitForMessages(channel, reader);

    channel.cut(reader.connection);
    channel.put(["a"]);

    expect(channel.takeAnswers()).toEqual([]);
    expect(channel.browseTexts()).toEqual(["a"]);
  });

  test("[ray:Q4] beside a waiting get another finds nothing at once; the waiting one receives what is put", () => {
    const channel = channelOf(10);
    waitForMessages(channel, connect(channel));

    expect(channel.get({}, connect(channel))).toEqual(NOTHING);
    channel.put(["1"]);
    expect(answersOf(channel)).toEqual([[1, "got 1"]]);
  });

  test("[ray:Q5] beside a waiting put another is refused at once; both messages come out in order", () => {
    const channel = channelOf(1, "1");
    const writer = connect(channel);
    waitForRoom(channel, writer);

    expect(kindOf(channel.put(["3"], { origin: connect(channel) }))).toBe("channel-full");
    expect(channel.getTexts()).toEqual(["1"]);
    channel.put(["2"], { isPromised: true, origin: writer });
    expect(channel.getTexts()).toEqual(["2"]);
  });

  test("[OR3] requests of one connection that arrive together are decided in their order", () => {
    const channel = channelOf(1);
    const { connection } = connect(channel);

    const outcomes = channel.together(() => [
      channel.put(["a"], { origin: { connection, request: 1 } }),
      channel.put(["b"], { origin: { connection, request: 2 } }),
      channel.get({}, { connection, request: 3 }),
      channel.put(["c"], { origin: { connection, request: 4 } }),
      channel.get({}, { connection, request: 5 }),
    ]);

    expect(outcomes.map((outcome) => (outcome.type === "got" ? textsOf(outcome).join() : kindOf(outcome)))).toEqual([
      "put",
      "channel-full",
      "a",
      "put",
      "c",
    ]);
  });

  test("[WT2] a request id that waits cannot be used again", () => {
    const channel = channelOf(1, "a");
    const [reader, writer] = [connect(channel), connect(channel)];
    waitForRoom(channel, writer);
    expect(refusalOf(channel.put(["b"], { waitMs: WAIT_MS, origin: writer }))).toEqual({ kind: "request-in-use", id: 1 });
    channel.get();
    channel.apply({ type: "cancel", request: 1 }, writer);

    waitForMessages(channel, reader);

    expect(refusalOf(channel.get({}, reader))).toEqual({ kind: "request-in-use", id: 1 });
  });

  test("[WT10] the id of a request that time has just ended is in use until that is told", () => {
    const channel = channelOf(1);
    const delays = [{ index: 0, pointer: "", delay: { afterMs: 1000 } }];
    channel.apply({ type: "put", messages: [textMessage("late")], delays });
    const reader = connect(channel);
    waitForMessages(channel, reader);
    channel.nowMs += 1000;

    expect(refusalOf(channel.get({ waitMs: WAIT_MS }, reader))).toEqual({ kind: "request-in-use", id: 1 });

    expect(answersOf(channel)).toEqual([[reader.connection, "got late"]]);
    waitForMessages(channel, reader);
  });

  test("[WT10] [SB1] so is that of a subscription that has just ended with its channel", () => {
    const channel = new ChannelHarness({ settings: { retention: "log" } });
    const reader = connect(channel);
    const credit = { messages: 0, bytes: 1 };
    const join = { type: "subscribe", target: { type: "member", leaseMs: 30_000, group: "readers" }, credit } as const;
    const read = { type: "subscribe", target: { type: "reader", from: { at: "first" } }, credit } as const;
    channel.apply({ type: "create-group", group: "readers", settings: {}, start: { at: "first" } });
    channel.putMessages([{ ...textMessage("short"), ttlMs: 1000 }]);
    expect(kindOf(channel.apply(join, reader))).toBe("subscribed");
    channel.apply({ type: "patch", patch: { state: "draining" } });
    channel.nowMs += 1000;

    expect(refusalOf(channel.apply(read, reader))).toEqual({ kind: "request-in-use", id: 1 });

    expect(answersOf(channel)).toEqual([[reader.connection, "ended"]]);
    expect(kindOf(channel.apply(read, reader))).toBe("subscribed");
  });
});
