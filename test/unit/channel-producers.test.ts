// Producers that number their puts: retries, gaps, epochs, bounds, waiting. Rules DD of SPEC.md.
import { afterEach, describe, expect, test } from "vitest";
import type { Outcome } from "../../src/channel/operation.ts";
import type { ProducerMark } from "../../src/protocol/dedup.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import { ChannelHarness, kindOf, refusalOf, textMessage, type PutOptions } from "./channel-harness.ts";

const PRODUCTION_LIMITS = { ...LIMITS };
const HOUR_MS = 3_600_000;

afterEach(() => {
  Object.assign(LIMITS, PRODUCTION_LIMITS);
});

function mark(seq: number, epoch = 1, id = "p"): { readonly producer: ProducerMark } {
  return { producer: { id, epoch, seq } };
}

function openChannel(maxMessages = 1000): ChannelHarness {
  return new ChannelHarness({ settings: { maxMessages } });
}

/** A full channel, and a connection on which two numbered puts wait. */
function twoWaiting(): { channel: ChannelHarness; connection: number; put: (seq: number, more?: PutOptions) => Outcome } {
  const channel = openChannel(1);
  channel.put(["in the way"]);
  const connection = channel.connect();
  const put = (seq: number, more: PutOptions = {}): Outcome =>
    channel.put([`put ${seq}`], { ...mark(seq), waitMs: 60_000, origin: { connection, request: seq }, ...more });
  expect([put(1), put(2)].map(kindOf)).toEqual(["waiting", "waiting"]);
  return { channel, connection, put };
}

describe("src/channel/dedup: producers", () => {
  test("[DD1] [DD2] numbers count puts, a batch being one, and a retry answers the first outcome", () => {
    const channel = openChannel();
    expect(channel.put(["a", "b"], mark(1))).toEqual({ type: "put", offset: 1, count: 2 });
    expect(channel.put(["c"], mark(2))).toEqual({ type: "put", offset: 3, count: 1 });

    expect(channel.put(["a", "b"], mark(1))).toEqual({ type: "put", offset: 1, count: 2, isDuplicate: true });
    expect(channel.put(["c"], mark(2))).toEqual({ type: "put", offset: 3, count: 1, isDuplicate: true });

    expect(channel.browseTexts()).toEqual(["a", "b", "c"]);
  });

  test("[DD2] a number too far ahead is refused with the expected one, and changes nothing", () => {
    const channel = openChannel();
    channel.put(["a"], mark(1));

    const gap = channel.put(["c"], mark(3));

    expect(refusalOf(gap)).toEqual({ kind: "producer-sequence-gap", producerId: "p", epoch: 1, expectedSeq: 2 });
    expect(channel.changes).toBeUndefined();
    expect(channel.put(["b"], mark(2))).toMatchObject({ offset: 2 });
  });

  test("[DD2] retries within one commit, across commits and after a wake are found", () => {
    const channel = openChannel();
    channel.together(() => {
      channel.put(["a"], mark(1));
      channel.put(["a"], mark(1));
      channel.put(["b"], mark(2));
    });
    channel.evict();

    const again = [channel.put(["a"], mark(1)), channel.put(["b"], mark(2)), channel.put(["c"], mark(3))];

    expect(again).toMatchObject([
      { offset: 1, isDuplicate: true },
      { offset: 2, isDuplicate: true },
      { offset: 3, count: 1 },
    ]);
    expect(channel.browseTexts()).toEqual(["a", "b", "c"]);
  });

  test("[DD3] a higher epoch begins at 1 and shuts out the lower ones", () => {
    const channel = openChannel();
    channel.put(["a"], mark(1));
    channel.put(["b"], mark(2));

    expect(refusalOf(channel.put(["x"], mark(3, 2)))).toMatchObject({ kind: "producer-sequence-gap", epoch: 2, expectedSeq: 1 });
    expect(channel.put(["c"], mark(1, 2))).toEqual({ type: "put", offset: 3, count: 1 });

    const stale = { kind: "stale-producer-epoch", producerId: "p", epoch: 2 };
    expect([1, 2, 3].map((seq) => refusalOf(channel.put(["old"], mark(seq))))).toEqual([stale, stale, stale]);
    channel.evict();
    expect(refusalOf(channel.put(["old"], mark(3)))).toEqual(stale);
    expect(channel.put(["c"], mark(1, 2))).toMatchObject({ offset: 3, isDuplicate: true });
  });

  test("[DD3] an epoch whose first put was refused shuts nobody out", () => {
    const channel = openChannel(1);
    channel.put(["a"], mark(1));

    expect(kindOf(channel.put(["b"], mark(1, 2)))).toBe("channel-full");

    channel.getTexts();
    expect(channel.put(["b"], mark(2))).toMatchObject({ offset: 2 });
  });

  test("[DD4] the outcomes of the last producerOutcomesMax numbers are kept; older ones are duplicates without an offset", () => {
    Object.assign(LIMITS, { producerOutcomesMax: 4 });
    const channel = openChannel();
    for (let seq = 1; seq <= 10; seq += 1) channel.put(["x".repeat(seq % 3)], mark(seq));
    channel.evict();

    const again = Array.from({ length: 10 }, (_, index) => channel.put(["x".repeat((index + 1) % 3)], mark(index + 1)));

    expect(again).toEqual(
      again.map((_, index) => ({ type: "put", offset: index < 6 ? null : index + 1, count: 1, isDuplicate: true })),
    );
  });

  test.each([
    ["another count", ["a", ""]],
    ["other bytes", ["ab"]],
    ["nothing", []],
  ])("[DD4] a number that comes again with %s is refused", (_name, texts) => {
    const channel = openChannel();
    channel.put(["before"]);
    channel.put(["a"], mark(1));

    const other = refusalOf(channel.put(texts, mark(1)));

    expect(other).toEqual({ kind: "producer-sequence-reused", producerId: "p", epoch: 1, seq: 1, offset: 2, count: 1 });
    expect(channel.changes).toBeUndefined();
  });

  test("[DD1] [PT2] an empty batch has a number of its own", () => {
    const channel = openChannel();

    const puts = [channel.put([], mark(1)), channel.put([], mark(1)), channel.put(["a"], mark(2))];

    expect(puts).toEqual([
      { type: "put", offset: 1, count: 0 },
      { type: "put", offset: 1, count: 0, isDuplicate: true },
      { type: "put", offset: 1, count: 1 },
    ]);
  });

  test("[DD5] an unknown producer begins with any epoch, at 1", () => {
    const channel = openChannel();

    expect(refusalOf(channel.put(["a"], mark(2, 7)))).toMatchObject({ epoch: 7, expectedSeq: 1 });
    expect(channel.put(["a"], mark(1, 7))).toMatchObject({ offset: 1 });
    expect(channel.put(["b"], mark(1, 0, "q"))).toMatchObject({ offset: 2 });
  });

  test.each([false, true])("[DD5] a producer is forgotten when it was idle for producerIdleMs (woken: %s)", (isWoken) => {
    const channel = openChannel();
    channel.put(["a"], mark(1, 5));
    channel.nowMs += LIMITS.producerIdleMs - 1;
    expect(channel.put(["a"], mark(1, 5))).toMatchObject({ isDuplicate: true });
    channel.nowMs += 1;
    if (isWoken) channel.evict();

    expect(refusalOf(channel.put(["b"], mark(2, 5)))).toMatchObject({ kind: "producer-sequence-gap", expectedSeq: 1 });
    expect(channel.put(["b"], mark(1, 0))).toEqual({ type: "put", offset: 2, count: 1 });
    expect(channel.put(["b"], mark(1, 0))).toMatchObject({ offset: 2, isDuplicate: true });
  });

  test("[DD5] a new producer takes the place of the longest idle one of its full bucket, also within one commit", () => {
    Object.assign(LIMITS, { producersMax: 3, producerBuckets: 1 });
    const channel = openChannel();
    for (const id of ["a", "b", "c"]) {
      channel.put([id], mark(1, 1, id));
      channel.nowMs += 1000;
    }
    channel.put(["a"], mark(2, 1, "a"));
    channel.nowMs += LIMITS.producerIdleMsMin;

    channel.together(() => {
      expect(channel.put(["d"], mark(1, 1, "d"))).toMatchObject({ offset: 5 });
      expect(channel.put(["e"], mark(1, 1, "e"))).toMatchObject({ offset: 6 });
      expect(refusalOf(channel.put(["b"], mark(2, 1, "b")))).toMatchObject({ expectedSeq: 1 });
    });
    channel.evict();

    const known = ["a", "b", "c", "d", "e"].map((id) => refusalOf(channel.put(["x"], mark(99, 1, id))));
    expect(known).toMatchObject([3, 1, 1, 2, 2].map((expectedSeq) => ({ expectedSeq })));
    expect(channel.store.producers.readBucket(0)).toHaveLength(3);
  });

  test("[DD5] a new producer is refused where all of its bucket put lately, with the time to come back", () => {
    Object.assign(LIMITS, { producersMax: 2, producerBuckets: 1 });
    const channel = openChannel();
    channel.put(["a"], mark(1, 1, "a"));
    channel.nowMs += HOUR_MS / 4;
    channel.put(["b"], mark(1, 1, "b"));

    const refusal = refusalOf(channel.put(["c"], mark(1, 1, "c")));

    expect(refusal).toEqual({ kind: "too-many-producers", limit: 2, retryAfterMs: (HOUR_MS * 3) / 4 });
    expect(channel.changes).toBeUndefined();
    channel.nowMs += (HOUR_MS * 3) / 4;
    expect(channel.put(["c"], mark(1, 1, "c"))).toMatchObject({ type: "put" });
    expect(refusalOf(channel.put(["a"], mark(1, 1, "a")))).toMatchObject({ kind: "too-many-producers" });
  });

  test("[DD5] [G6] more producers than the memory for them holds are all known", () => {
    Object.assign(LIMITS, { producerCacheBytesMax: 3000 });
    const channel = openChannel(10_000);
    const ids = Array.from({ length: 50 }, (_, index) => `p${index}`);
    for (let seq = 1; seq <= 3; seq += 1) {
      channel.together(() => {
        for (const id of ids) expect(channel.put([id], mark(seq, 1, id))).toMatchObject({ count: 1 });
      });
    }

    const again = ids.map((id) => channel.put([id], mark(2, 1, id)));

    expect(again).toEqual(ids.map((_, index) => ({ type: "put", offset: 51 + index, count: 1, isDuplicate: true })));
  });

  test.each(["full", "draining", "closed"])("[DD9] a retry is answered although the channel is %s by now", (state) => {
    const channel = openChannel(1);
    channel.put(["a"], mark(1));
    if (state === "draining") channel.patch({ state: "draining" });
    if (state === "closed") channel.patch({ state: "closed" });

    expect(channel.put(["a"], mark(1))).toEqual({ type: "put", offset: 1, count: 1, isDuplicate: true });
    expect(kindOf(channel.put(["b"], mark(2)))).toBe(`channel-${state}`);
  });

  test("[DD9] a put that is refused does not use up its number", () => {
    const channel = new ChannelHarness({ settings: { maxMessages: 1, maxMessageBytes: 3 } });

    expect(kindOf(channel.put(["long"], mark(1)))).toBe("message-too-large");
    expect(kindOf(channel.put(["a", "b"], mark(1)))).toBe("batch-too-large");
    expect(channel.put(["a"], mark(1))).toMatchObject({ offset: 1 });
    expect(kindOf(channel.put(["b"], mark(2)))).toBe("channel-full");
    expect(refusalOf(channel.put(["c"], mark(3)))).toMatchObject({ expectedSeq: 2 });
    channel.getTexts();
    expect(channel.put(["b"], mark(2))).toMatchObject({ offset: 2 });
  });

  test("[DD9] [G8] a put whose commit fails does not use up its number, nor does an epoch begin", () => {
    const channel = openChannel();
    channel.put(["a"], mark(1));

    channel.failToCommit(() => {
      channel.put(["b"], mark(2));
      channel.put(["c"], mark(1, 2));
      channel.put(["d"], mark(1, 1, "q"));
    });

    expect(channel.put(["b"], mark(2))).toEqual({ type: "put", offset: 2, count: 1 });
    expect(channel.put(["d"], mark(1, 1, "q"))).toEqual({ type: "put", offset: 3, count: 1 });
    expect(channel.browseTexts()).toEqual(["a", "b", "d"]);
  });

  test("[DD12] a purge keeps the producers, the end of the life forgets them", () => {
    Object.assign(LIMITS, { producerBuckets: 1 });
    const channel = openChannel();
    channel.put(["a"], mark(1));
    channel.apply({ type: "purge" });
    expect(channel.put(["a"], mark(1))).toMatchObject({ offset: 1, isDuplicate: true });

    channel.together(() => {
      channel.delete();
      expect(kindOf(channel.put(["a"], mark(1)))).toBe("channel-deleted");
      channel.apply({ type: "create", settings: {} });
      expect(channel.put(["a"], mark(1))).toEqual({ type: "put", offset: 1, count: 1 });
    });
    channel.evict();

    expect(channel.put(["a"], mark(1))).toMatchObject({ offset: 1, isDuplicate: true });
    channel.delete();
    expect(channel.store.producers.readBucket(0)).toEqual([]);
    channel.apply({ type: "create", settings: {} });
    expect(channel.put(["a"], mark(1))).toEqual({ type: "put", offset: 1, count: 1 });
  });

  test("[DD9] [LC7] a gap creates no channel on first use", () => {
    const channel = new ChannelHarness({ mayCreate: true });

    expect(kindOf(channel.put(["a"], mark(2)))).toBe("producer-sequence-gap");

    expect(channel.channel.record).toBeUndefined();
    expect(channel.changes).toBeUndefined();
  });
});

describe("src/channel/dedup: producers that wait", () => {
  test("[DD10] [WT5] numbers that are pipelined behind a waiting put wait too, and keep their order", () => {
    const { channel, put } = twoWaiting();
    channel.patch({ maxMessages: 10 });

    const done = [put(1, { isPromised: true }), put(2, { isPromised: true }), put(3)];

    expect(channel.takeAnswers().map((answer) => answer.outcome.type)).toEqual(["room", "room"]);
    expect(done).toMatchObject([{ offset: 3 }, { offset: 4 }, { offset: 5 }]);
    expect(channel.browseTexts()).toEqual(["in the way", "put 1", "put 2", "put 3"]);
  });

  test("[DD10] a number behind one whose wait ended is refused when its body comes, and stores nothing", () => {
    const { channel, connection, put } = twoWaiting();
    channel.apply({ type: "cancel", request: 1 }, { connection, request: 1 });
    channel.patch({ maxMessages: 10 });

    expect(refusalOf(put(2, { isPromised: true }))).toMatchObject({ kind: "producer-sequence-gap", expectedSeq: 1 });

    expect(channel.describe().waiting.puts).toBe(0);
    expect(put(1, { origin: { connection, request: 9 } })).toMatchObject({ type: "put" });
    expect(channel.browseTexts()).toEqual(["in the way", "put 1"]);
  });

  test("[DD10] a number behind a waiting one that can not wait itself is refused as full, an empty batch as a gap", () => {
    const { channel, connection, put } = twoWaiting();

    expect(kindOf(put(3, { waitMs: 0 }))).toBe("channel-full");
    const empty = channel.put([], { ...mark(3), waitMs: 60_000, origin: { connection, request: 3 } });
    expect(refusalOf(empty)).toMatchObject({ kind: "producer-sequence-gap", expectedSeq: 1 });
    const elsewhere = { connection: channel.connect(), request: 1 };
    expect(kindOf(put(3, { origin: elsewhere }))).toBe("producer-sequence-gap");
  });

  test("[DD10] a lower epoch is refused at once, and a retry is answered at once, whoever waits", () => {
    const channel = openChannel(1);
    channel.put(["a"], mark(1, 2));
    const connection = channel.connect();
    const put = (seq: number, epoch: number, request: number): Outcome =>
      channel.put(["a"], { ...mark(seq, epoch), waitMs: 60_000, origin: { connection, request } });

    expect([put(2, 2, 1), put(1, 2, 2), put(9, 1, 3), put(1, 3, 4)].map(kindOf)).toEqual([
      "waiting",
      "put",
      "stale-producer-epoch",
      "waiting",
    ]);
  });

  test("[DD10] the same put that waits on two connections is stored once", () => {
    const channel = openChannel(1);
    channel.put(["in the way"]);
    const origins = [channel.connect(), channel.connect()].map((connection) => ({ connection, request: 1 }));
    for (const origin of origins) channel.put(["a"], { ...mark(1), waitMs: 60_000, origin });
    channel.evict();
    channel.patch({ maxMessages: 10 });

    const done = origins.map((origin) => channel.put(["a"], { ...mark(1), isPromised: true, origin }));

    expect(done).toMatchObject([{ offset: 3 }, { offset: 3, isDuplicate: true }]);
    expect(channel.describe()).toMatchObject({ depth: 2, waiting: { puts: 0 } });
  });

  test("[DD10] room that was reserved without a number is used by a put with one", () => {
    const channel = openChannel(2);
    const origin = { connection: channel.connect(), request: 1 };
    channel.reserve(1, 1, origin);

    expect(channel.putMessages([textMessage("a")], { ...mark(1), isPromised: true, origin })).toMatchObject({ offset: 1 });
    expect(channel.put(["a"], mark(1))).toMatchObject({ offset: 1, isDuplicate: true });
  });
});
