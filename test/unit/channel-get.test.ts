// Gets: how many messages, in which order, control records beside them. Rules OR and GT of src/channel/SPEC.md.
import { describe, expect, test } from "vitest";
import { LIMITS } from "../../src/protocol/limits.ts";
import { ChannelHarness, expectType, kindOf, refusalOf, sizedMessage, textsOf } from "./channel-harness.ts";

const NOTHING = { type: "got", messages: [], controls: [] };

function channelWith(...texts: string[]): ChannelHarness {
  const channel = new ChannelHarness({ settings: { maxMessages: 100 } });
  channel.put(texts);
  return channel;
}

describe("src/channel/traffic", () => {
  test("[OR2] gets take messages in the order of offsets, over puts and commits", () => {
    const channel = channelWith("a", "b");
    channel.put(["c"]);
    channel.together(() => channel.put(["d"]));

    const got = expectType(channel.get({ max: 10 }), "got");

    expect(textsOf(got)).toEqual(["a", "b", "c", "d"]);
    expect(got.messages.map((message) => message.offset)).toEqual([1, 2, 3, 4]);
  });

  test("[OR2] a get takes a message that was put in the same commit", () => {
    const channel = channelWith();

    const texts = channel.together(() => {
      channel.put(["a", "b"]);
      return textsOf(channel.get());
    });

    expect(texts).toEqual(["a"]);
    expect(channel.browseTexts()).toEqual(["b"]);
  });

  test("[GT1] without numbers a get takes one message", () => {
    const channel = channelWith("a", "b");

    expect(textsOf(channel.get())).toEqual(["a"]);
    expect(textsOf(channel.get())).toEqual(["b"]);
    expect(channel.get()).toEqual(NOTHING);
  });

  test("[GT1] a get takes min to max messages or none", () => {
    const channel = channelWith("a", "b", "c");

    expect(channel.get({ min: 4, max: 9 })).toEqual(NOTHING);
    expect(textsOf(channel.get({ min: 2, max: 9 }))).toEqual(["a", "b", "c"]);
  });

  test("[GT1] max defaults to min, min to one", () => {
    const channel = channelWith("a", "b", "c", "d");

    expect(textsOf(channel.get({ min: 2 }))).toEqual(["a", "b"]);
    expect(textsOf(channel.get({ max: 3 }))).toEqual(["c", "d"]);
    expect(channel.get({ max: 3 })).toEqual(NOTHING);
  });

  test("[GT1] max 0 takes none, min 0 takes what is there", () => {
    const channel = channelWith("a");

    expect(channel.get({ max: 0 })).toEqual(NOTHING);
    expect(textsOf(channel.get({ min: 0, max: 5 }))).toEqual(["a"]);
    expect(channel.get({ min: 0, max: 5 })).toEqual(NOTHING);
  });

  test("[GT1] a min above max is refused", () => {
    const channel = channelWith("a");

    expect(refusalOf(channel.get({ min: 2, max: 1 }))).toMatchObject({ kind: "invalid-request", errors: [{ pointer: "/min" }] });
  });

  test("[GT2] with fewer than min a get that tries once finds nothing, one that waits waits", () => {
    const channel = channelWith("a");
    const origin = { connection: channel.connect(), request: 1 };

    expect(channel.get({ min: 2, waitMs: 0 }, origin)).toEqual(NOTHING);
    expect(channel.get({ min: 2, waitMs: 1000 })).toEqual(NOTHING);
    expect(channel.get({ min: 2, waitMs: 1000 }, origin)).toEqual({ type: "waiting" });
    expect(channel.browseTexts()).toEqual(["a"]);
  });

  test("[GT3] a reply carries at most replyBytesMax bytes", () => {
    const channel = new ChannelHarness({ settings: { maxMessageBytes: LIMITS.messageBytesMax } });
    const quarter = sizedMessage(LIMITS.replyBytesMax / 4);
    channel.putMessages([quarter, quarter, quarter, quarter, sizedMessage(1)]);

    expect(expectType(channel.get({ max: 10 }), "got").messages).toHaveLength(4);
    expect(expectType(channel.get({ max: 10 }), "got").messages).toHaveLength(1);
  });

  test("[GT3] a reply always carries one message, however large", () => {
    const channel = new ChannelHarness({ settings: { maxMessageBytes: LIMITS.messageBytesMax } });
    channel.putMessages([sizedMessage(LIMITS.messageBytesMax)]);
    channel.putMessages([sizedMessage(1)]);

    const got = expectType(channel.get({ max: 10 }), "got");

    expect(got.messages.map((message) => message.body.byteLength)).toEqual([LIMITS.messageBytesMax]);
  });

  test("[GT3] a min whose messages do not fit in a reply is refused and takes nothing", () => {
    const channel = new ChannelHarness({ settings: { maxMessageBytes: LIMITS.messageBytesMax } });
    const half = sizedMessage(LIMITS.replyBytesMax / 2);
    channel.putMessages([half, half, half]);

    expect(refusalOf(channel.get({ min: 3 }))).toEqual({ kind: "batch-too-large", size: 3, limit: 2, unit: "messages" });
    expect(channel.describe().depth).toBe(3);
    expect(channel.changes).toBeUndefined();
  });

  test("[GT3] a min above what the channel can ever hold is refused at once, also with a wait", () => {
    const channel = new ChannelHarness({
      settings: { maxMessages: 2, growth: { factor: 2, maxMessages: 5, maxBytes: 2 ** 31 } },
    });
    const origin = { connection: channel.connect(), request: 1 };

    expect(channel.get({ min: 5, waitMs: 1000 }, origin)).toEqual({ type: "waiting" });
    expect(refusalOf(channel.get({ min: 6, waitMs: 1000 }, { ...origin, request: 2 }))).toEqual({
      kind: "batch-too-large",
      size: 6,
      limit: 5,
      unit: "messages",
    });
  });

  test("[GT3] a min above the limits takes what is there since before a shrink", () => {
    const channel = channelWith("a", "b", "c");
    channel.patch({ maxMessages: 1 });

    expect(textsOf(channel.get({ min: 3 }))).toEqual(["a", "b", "c"]);
  });

  test("[GT4] a get removes what it takes at once", () => {
    const channel = channelWith("a", "b", "c");

    channel.get({ max: 2 });

    expect(channel.describe()).toMatchObject({ depth: 1, bytes: 1, firstOffset: 3, counts: { put: 3, acked: 2, removed: 0 } });
    expect(kindOf(channel.apply({ type: "read", offset: 1 }))).toBe("unknown-message");
    channel.evict();
    expect(channel.getTexts(9)).toEqual(["c"]);
  });

  test("[GT5] control records before and directly after the taken messages are reported beside them", () => {
    const channel = channelWith();
    channel.patch({ maxMessages: 50 });
    channel.put(["a"]);
    channel.patch({ maxMessages: 60 });
    channel.put(["b"]);
    channel.patch({ maxMessages: 70 });

    const first = expectType(channel.get(), "got");
    const second = expectType(channel.get(), "got");

    const { maxBytes } = channel.describe().limits;
    expect(first.controls.map(({ offset, control }) => ({ offset, ...control }))).toEqual([
      { offset: 1, type: "resize", maxMessages: 50, maxBytes },
      { offset: 3, type: "resize", maxMessages: 60, maxBytes },
    ]);
    expect(textsOf(second)).toEqual(["b"]);
    expect(second.controls.map((record) => record.offset)).toEqual([5]);
    expect(channel.describe()).toMatchObject({ firstOffset: 6, nextOffset: 6, segments: 0 });
  });

  test("[GT5] a get that finds no message passes no control record, unless it takes none on purpose", () => {
    const channel = channelWith();
    channel.patch({ maxMessages: 50 });

    expect(channel.get()).toEqual(NOTHING);
    expect(expectType(channel.get({ min: 0 }), "got").controls.map((record) => record.offset)).toEqual([1]);
    expect(channel.get({ min: 0 })).toEqual(NOTHING);
  });

  test("[G2] a get takes from several segments what one reply can carry", () => {
    const channel = new ChannelHarness({ settings: {} });
    for (let put = 0; put < 12; put += 1) channel.putMessages([sizedMessage(900_000)]);
    channel.evict();

    const counts = [1, 2, 3].map(() => expectType(channel.get({ max: 100 }), "got").messages.map((message) => message.offset));

    expect(counts).toEqual([[1, 2, 3, 4, 5, 6, 7, 8, 9], [10, 11, 12], []]);
  });

  test("[ray:Q1] ten puts, ten gets, the same order", () => {
    const channel = channelWith();
    const texts = Array.from({ length: 10 }, (_, index) => String(index));
    for (const text of texts) channel.put([text]);

    expect(texts.map(() => channel.getTexts()[0])).toEqual(texts);
  });

  test("[ray:Q2] a get without a wait, one with a wait, and one that tries once take what is there", () => {
    const channel = channelWith("1", "2", "3");
    const origin = { connection: channel.connect(), request: 1 };

    expect(textsOf(channel.get())).toEqual(["1"]);
    expect(textsOf(channel.get({ waitMs: 200 }, origin))).toEqual(["2"]);
    // Ray's timeout 0 fails although an item is there.
    expect(textsOf(channel.get({ waitMs: 0 }, origin))).toEqual(["3"]);
    expect(channel.get()).toEqual(NOTHING);
    expect(kindOf(channel.get({ waitMs: 200 }, origin))).toBe("waiting");
    channel.tick(200);
    expect(channel.takeAnswers()).toEqual([{ ...origin, outcome: NOTHING }]);
  });

  test("[ray:Q7] [ray:Q11] the depth follows every put and get", () => {
    const channel = channelWith();
    const depths: number[] = [];
    for (const text of ["a", "b", "c"]) {
      channel.put([text]);
      depths.push(channel.describe().depth);
    }
    for (let taken = 0; taken < 3; taken += 1) {
      channel.get();
      depths.push(channel.describe().depth);
    }

    expect(depths).toEqual([1, 2, 3, 2, 1, 0]);
  });

  test("[ray:Q10] batches are pulled until a sentinel, every message exactly once", () => {
    const channel = channelWith(...Array.from({ length: 25 }, (_, index) => String(index)), "end");
    const seen: string[] = [];

    while (seen.at(-1) !== "end") seen.push(...channel.getTexts(4));

    expect(seen).toHaveLength(26);
    expect(new Set(seen).size).toBe(26);
  });

  test("[ray:Q12] empty and full are told", () => {
    const channel = new ChannelHarness({ settings: { maxMessages: 2 } });
    const flags = (): boolean[] => [channel.describe().isEmpty, channel.describe().isFull];

    const before = flags();
    channel.put(["a"]);
    const half = flags();
    channel.put(["b"]);

    expect([before, half, flags()]).toEqual([
      [true, false],
      [false, false],
      [false, true],
    ]);
  });

  test("[ray:Q16] [ray:Q20] a get of 0 messages answers none and changes nothing", () => {
    const channel = channelWith("a");

    expect(channel.get({ min: 0, max: 0 })).toEqual(NOTHING);
    expect(channel.changes).toBeUndefined();
    expect(channel.describe().depth).toBe(1);
  });
});
