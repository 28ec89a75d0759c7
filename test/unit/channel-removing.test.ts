// Looking, removing, purging, and the metrics of a queue. Rules RM of src/channel/SPEC.md; Ray's bundle queue tests D1 to D16.
import { describe, expect, test } from "vitest";
import { LIMITS } from "../../src/protocol/limits.ts";
import type { ChannelFacts } from "../../src/channel/operation.ts";
import { ChannelHarness, expectType, kindOf, refusalOf, sizedMessage, textMessage, textsOf } from "./channel-harness.ts";

/** A channel with a segment for each list of texts. */
function channelOf(...segments: string[][]): ChannelHarness {
  const channel = new ChannelHarness({ settings: {} });
  for (const texts of segments) channel.put(texts);
  return channel;
}

function remove(channel: ChannelHarness, ...offsets: number[]): string[] {
  return offsets.map((offset) => kindOf(channel.apply({ type: "remove", offset })));
}

/** Puts messages whose text is their id. */
function putIds(channel: ChannelHarness, ...ids: string[]): void {
  channel.putMessages(ids.map((messageId) => ({ ...textMessage(messageId), messageId })));
}

function removeById(channel: ChannelHarness, messageId: string): unknown {
  const outcome = channel.apply({ type: "remove-by-id", messageId });
  return outcome.type === "removed" ? outcome.offset : refusalOf(outcome);
}

/** The four metrics of a queue: messages, bytes, segments, and whether there are any. */
function metricsOf(channel: ChannelHarness): Pick<ChannelFacts, "depth" | "bytes" | "segments" | "isEmpty"> {
  const { depth, bytes, segments, isEmpty } = channel.describe();
  return { depth, bytes, segments, isEmpty };
}

const NO_METRICS = { depth: 0, bytes: 0, segments: 0, isEmpty: true };

describe("src/channel/backlog", () => {
  test("[RM1] browse and read change nothing", () => {
    const channel = channelOf(["a", "b"], ["c"]);
    const before = channel.describe();

    expect(channel.browseTexts()).toEqual(["a", "b", "c"]);
    expect(expectType(channel.apply({ type: "read", offset: 2 }), "message").message).toMatchObject({ offset: 2 });
    expect(channel.changes).toBeUndefined();
    expect(channel.describe()).toEqual(before);
  });

  test("[RM1] browse goes from any offset, a page at a time, and says where to go on", () => {
    const channel = channelOf(["a", "b", "c"], ["d", "e"]);

    const first = channel.browse(2, 2);
    const second = channel.browse(first.nextOffset ?? 0, 2);

    expect([textsOf(first), first.nextOffset]).toEqual([["b", "c"], 4]);
    expect([textsOf(second), second.nextOffset]).toEqual([["d", "e"], null]);
    expect(textsOf(channel.browse(99))).toEqual([]);
  });

  test("[RM1] a page carries at most replyBytesMax bytes, but always a message", () => {
    const channel = new ChannelHarness({ settings: { maxMessageBytes: LIMITS.messageBytesMax } });
    channel.putMessages([sizedMessage(LIMITS.messageBytesMax)]);
    channel.putMessages([sizedMessage(LIMITS.replyBytesMax), sizedMessage(1)]);

    expect([1, 2, 3].map((from) => channel.browse(from).messages.length)).toEqual([1, 1, 1]);
    expect([1, 2, 3].map((from) => channel.browse(from).nextOffset)).toEqual([2, 3, null]);
  });

  test("[RM1] [G6] a page looks at no more than browseRecordsMax records, removed ones too", () => {
    const channel = new ChannelHarness({ settings: {} });
    const batch = Array.from({ length: LIMITS.browseRecordsMax / 2 }, () => "");
    for (let put = 0; put < 3; put += 1) channel.put(batch);
    channel.together(() => {
      for (let offset = 1; offset <= 3 * batch.length; offset += 1) if (offset % batch.length !== 1) remove(channel, offset);
    });

    const first = channel.browse(1);
    const second = channel.browse(first.nextOffset ?? 0);

    expect([first.messages.length, first.nextOffset]).toEqual([2, LIMITS.browseRecordsMax + 1]);
    expect([second.messages.length, second.nextOffset]).toEqual([1, null]);
  });

  test("[RM2] a message is removed by its offset, wherever it is", () => {
    const channel = channelOf(["a", "b", "c"], ["d", "e"]);

    expect(remove(channel, 2, 5, 1)).toEqual(["removed", "removed", "removed"]);
    expect(channel.browseTexts()).toEqual(["c", "d"]);
    expect(channel.describe()).toMatchObject({ depth: 2, bytes: 2, firstOffset: 3, counts: { put: 5, acked: 0, removed: 3 } });
    channel.evict();
    expect(channel.getTexts(9)).toEqual(["c", "d"]);
  });

  test("[RM2] what is not kept cannot be removed: taken, removed, never put, or a control record", () => {
    const channel = channelOf(["a", "b", "c"]);
    channel.patch({ maxMessages: 10 });
    channel.get();
    remove(channel, 2);

    const kinds = remove(channel, 1, 2, 4, 5, 99);

    expect(new Set(kinds)).toEqual(new Set(["unknown-message"]));
    expect(refusalOf(channel.apply({ type: "remove", offset: 99 }))).toEqual({ kind: "unknown-message", offset: 99 });
    expect(channel.describe()).toMatchObject({ depth: 1, counts: { put: 3, acked: 1, removed: 1 } });
  });

  test("[RM2] a message that was put in the same commit is removed before it is ever stored", () => {
    const channel = channelOf(["a"]);

    channel.together(() => {
      channel.put(["b", "c"]);
      remove(channel, 2, 3);
    });

    expect(channel.changes?.insertSegments).toEqual([]);
    expect(channel.describe()).toMatchObject({ depth: 1, nextOffset: 4, segments: 1 });
  });

  test("[RM2] by message id the first kept one is removed; ids may repeat", () => {
    const channel = new ChannelHarness({ settings: {} });
    putIds(channel, "x", "y", "x");
    putIds(channel, "x");
    channel.get();

    expect([removeById(channel, "x"), removeById(channel, "x")]).toEqual([3, 4]);
    expect(removeById(channel, "x")).toEqual({ kind: "unknown-message", messageId: "x" });
    expect(channel.browseTexts()).toEqual(["y"]);
  });

  test("[RM2] by message id within one commit: stored ones first, then those just put", () => {
    const channel = new ChannelHarness({ settings: {} });
    putIds(channel, "x", "x");

    const removed = channel.together(() => {
      putIds(channel, "x");
      return [removeById(channel, "x"), removeById(channel, "x"), removeById(channel, "x"), kindOf(channel.get())];
    });

    expect(removed).toEqual([1, 2, 3, "got"]);
    expect(removeById(channel, "x")).toEqual({ kind: "unknown-message", messageId: "x" });
    channel.evict();
    expect(removeById(channel, "x")).toEqual({ kind: "unknown-message", messageId: "x" });
  });

  test("[RM2] a purge and a new life forget message ids", () => {
    const channel = new ChannelHarness({ settings: {} });
    putIds(channel, "x");
    channel.together(() => {
      channel.apply({ type: "purge" });
      expect(removeById(channel, "x")).toEqual({ kind: "unknown-message", messageId: "x" });
      putIds(channel, "x");
    });

    expect(removeById(channel, "x")).toBe(2);
  });

  test("[RM2] the cost of a removal does not depend on the backlog", () => {
    const rowsRead = [10, 1000].map((segments) => {
      const channel = new ChannelHarness({ settings: {} });
      for (let index = 0; index < segments; index += 1) putIds(channel, `id-${index}`);
      channel.evict();
      channel.store.rowsRead = 0;
      remove(channel, segments / 2);
      removeById(channel, `id-${segments - 2}`);
      return channel.store.rowsRead;
    });

    expect(rowsRead[0]).toBe(rowsRead[1]);
    expect(rowsRead[0]).toBeLessThanOrEqual(4);
  });

  test("[RM3] a purge removes all records and counts them as removed", () => {
    const channel = channelOf(["a", "b"], ["c"]);
    channel.patch({ maxMessages: 10 });
    channel.get();

    expect(channel.apply({ type: "purge" })).toEqual({ type: "purged", removedMessages: 2 });
    expect(channel.describe()).toMatchObject({ ...NO_METRICS, firstOffset: 5, nextOffset: 5 });
    expect(channel.describe().counts).toEqual({ put: 3, acked: 1, removed: 2, deadLettered: 0, dropped: 0, expired: 0 });
    expect(channel.browse()).toMatchObject({ messages: [], controls: [] });
    expect(channel.store.listSegments()).toEqual([]);
  });

  test("[RM3] a removal and a purge make room for puts that wait", () => {
    const channel = new ChannelHarness({ settings: { maxMessages: 2 } });
    channel.put(["a", "b"]);
    for (let writer = 0; writer < 2; writer += 1) {
      channel.reserve(1, 1, { connection: channel.connect(), request: 1 }, 1000);
    }

    remove(channel, 2);
    const afterRemoval = channel.takeAnswers().length;
    channel.apply({ type: "purge" });

    expect([afterRemoval, channel.takeAnswers().length]).toEqual([1, 1]);
  });

  test("[RC7] a segment is deleted when all its records are removed, in any order", () => {
    const channel = channelOf(["a", "b"], ["c", "d"], ["e"]);

    remove(channel, 4, 3);

    expect(channel.store.listSegments().map((segment) => segment.firstOffset)).toEqual([1, 5]);
    expect(channel.describe()).toMatchObject({ depth: 3, segments: 2 });
    expect(channel.getTexts(9)).toEqual(["a", "b", "e"]);
    expect(channel.describe()).toMatchObject({ ...NO_METRICS, firstOffset: 6 });
  });

  test("[G4] the depth is 0 when the rest was removed before the head was taken, also after an eviction", () => {
    const channel = channelOf(["a"], ["b"]);

    remove(channel, 2);
    channel.get();
    const taken = channel.describe();
    channel.evict();

    expect(taken).toMatchObject({ ...NO_METRICS, firstOffset: 3, counts: { put: 2, acked: 1, removed: 1 } });
    expect(channel.describe()).toEqual(taken);
    channel.put(["c"]);
    channel.evict();
    expect(channel.describe()).toMatchObject({ depth: 1, segments: 1, firstOffset: 3 });
    expect(channel.getTexts(9)).toEqual(["c"]);
  });

  test("[G4] a removal beside the head window is seen in the same commit and after it", () => {
    const channel = new ChannelHarness({ settings: { maxMessageBytes: LIMITS.messageBytesMax } });
    for (let put = 0; put < 8; put += 1) channel.putMessages([sizedMessage(900_000), sizedMessage(50_000)]);

    channel.together(() => {
      remove(channel, 15);
      expect(kindOf(channel.apply({ type: "read", offset: 15 }))).toBe("unknown-message");
      remove(channel, 16);
      expect(kindOf(channel.apply({ type: "read", offset: 16 }))).toBe("unknown-message");
    });

    expect(channel.browse().messages.map((message) => message.offset)).toHaveLength(14);
    expect(channel.store.listSegments()).toHaveLength(7);
  });
});

describe("src/channel/channel", () => {
  test("[ray:D1] adding changes length and size", () => {
    const channel = channelOf(["ab"], ["c"]);

    expect(metricsOf(channel)).toEqual({ depth: 2, bytes: 3, segments: 2, isEmpty: false });
  });

  test("[ray:D2] getting takes the first, and the metrics are those of the rest", () => {
    const channel = channelOf(["ab"], ["c"]);

    expect(channel.getTexts()).toEqual(["ab"]);
    expect(metricsOf(channel)).toEqual({ depth: 1, bytes: 1, segments: 1, isEmpty: false });
  });

  test("[ray:D3] [ray:Q14] peeking shows the first and changes nothing, again and again", () => {
    const channel = channelOf(["ab"], ["c"]);
    const before = metricsOf(channel);

    expect([1, 2].map(() => textsOf(channel.browse(1, 1)))).toEqual([["ab"], ["ab"]]);
    expect(metricsOf(channel)).toEqual(before);
  });

  test("[ray:D4] getting from an empty channel answers no messages", () => {
    expect(channelOf().get()).toEqual({ type: "got", messages: [], controls: [] });
  });

  test("[ray:D5] what is taken leaves nothing behind but a row for what comes next", () => {
    const channel = channelOf(["ab"], ["c"]);

    channel.getTexts(2);

    expect(metricsOf(channel)).toEqual(NO_METRICS);
    expect(channel.browseTexts()).toEqual([]);
    expect(channel.store.listSegments().map(({ firstOffset }) => firstOffset)).toEqual([2]);
  });

  test("[ray:D6] peeking into an empty channel shows nothing", () => {
    const channel = channelOf();

    expect(textsOf(channel.browse(1, 1))).toEqual([]);
    expect(metricsOf(channel)).toEqual(NO_METRICS);
  });

  test("[ray:D7] removing the head makes the next one the head", () => {
    const channel = channelOf(["ab"], ["c"]);

    remove(channel, 1);

    expect(metricsOf(channel)).toEqual({ depth: 1, bytes: 1, segments: 1, isEmpty: false });
    expect(textsOf(channel.browse(1, 1))).toEqual(["c"]);
  });

  test("[ray:D8] what is removed leaves nothing behind", () => {
    const channel = channelOf(["ab"], ["c"]);

    remove(channel, 2, 1);

    expect(metricsOf(channel)).toEqual(NO_METRICS);
    expect(channel.store.listSegments()).toEqual([]);
  });

  test("[ray:D9] of duplicates the first is removed", () => {
    const channel = new ChannelHarness({ settings: {} });
    putIds(channel, "1", "2", "1");

    removeById(channel, "1");

    expect(channel.describe().depth).toBe(2);
    expect(textsOf(channel.browse(1, 1))).toEqual(["2"]);
  });

  test("[ray:D10] [ray:Q13] clearing leaves nothing, also twice, and the channel stays usable", () => {
    const channel = channelOf(["ab"], ["c"]);

    const removed = [1, 2].map(() => expectType(channel.apply({ type: "purge" }), "purged").removedMessages);

    expect(removed).toEqual([2, 0]);
    expect(metricsOf(channel)).toEqual(NO_METRICS);
    channel.put(["d"]);
    expect(channel.getTexts()).toEqual(["d"]);
  });

  test("[ray:D14] operations in between see only whole states", () => {
    const channel = channelOf();
    const seen = new Set<number>();
    for (let round = 0; round < 50; round += 1) {
      channel.put(Array.from({ length: 100 }, () => "x"));
      seen.add(channel.describe().bytes);
      channel.together(() => {
        channel.get({ min: 100 });
        seen.add(channel.describe().bytes);
      });
    }

    expect(seen).toEqual(new Set([0, 100]));
  });

  test("[ray:D15] duplicates are removed one by one until nothing is left", () => {
    const channel = new ChannelHarness({ settings: {} });
    putIds(channel, "1", "1");

    expect([removeById(channel, "1"), removeById(channel, "1")]).toEqual([1, 2]);
    expect(metricsOf(channel)).toEqual(NO_METRICS);
  });

  test("[ray:D16] each duplicate counts its size", () => {
    const channel = new ChannelHarness({ settings: {} });
    putIds(channel, "12", "12", "12");
    // Two bytes of text and two of the id.
    expect(metricsOf(channel)).toEqual({ depth: 3, bytes: 12, segments: 1, isEmpty: false });

    removeById(channel, "12");

    expect(metricsOf(channel)).toEqual({ depth: 2, bytes: 8, segments: 1, isEmpty: false });
  });
});
