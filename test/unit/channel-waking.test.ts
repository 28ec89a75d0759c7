// What survives an eviction, a restart and a write that fails, and what waking costs. Rules OR4 and RC of src/channel/SPEC.md.
import { describe, expect, test } from "vitest";
import { LIMITS } from "../../src/protocol/limits.ts";
import { ChannelHarness, expectType, kindOf, sizedMessage, textMessage, textsOf } from "./channel-harness.ts";

function channelWith(...texts: string[]): ChannelHarness {
  const channel = new ChannelHarness({ settings: {} });
  for (const text of texts) channel.put([text]);
  return channel;
}

function remove(channel: ChannelHarness, offset: number): void {
  expect(kindOf(channel.apply({ type: "remove", offset }))).toBe("removed");
}

/** What the last commit wrote, in rows: segments in and out, and the position. */
function rowsOf(channel: ChannelHarness): { inserted: number; isPositionWritten: boolean } {
  return { inserted: channel.changes?.insertSegments.length ?? 0, isPositionWritten: channel.changes?.position !== undefined };
}

describe("src/channel/backlog", () => {
  test("[G1] an acknowledged put survives an eviction", () => {
    const channel = channelWith("a", "b");

    channel.evict();

    expect(channel.browseTexts()).toEqual(["a", "b"]);
  });

  test("[G1] everything about a message survives", () => {
    const channel = channelWith();
    const headers = { trace: "é" };
    channel.putMessages([{ ...textMessage("a"), key: "k", messageId: "id", headers, contentType: "text/html" }]);
    const before = channel.browse().messages;

    channel.evict();

    expect(channel.browse().messages).toEqual(before);
    expect(before).toMatchObject([
      { offset: 1, putAtMs: channel.nowMs, key: "k", messageId: "id", headers, contentType: "text/html" },
    ]);
  });

  test("[OR4] offsets and totals survive an empty channel, a purge and a restart", () => {
    const channel = channelWith("a", "b", "c");
    remove(channel, 3);
    channel.getTexts(9);
    channel.evict();
    const empty = channel.describe();
    channel.put(["d"]);
    channel.apply({ type: "purge" });
    channel.evict();
    const purged = channel.describe();

    expect(empty).toMatchObject({ depth: 0, nextOffset: 4, counts: { put: 3, acked: 2, removed: 1 } });
    expect(purged).toMatchObject({ depth: 0, nextOffset: 5, counts: { put: 4, acked: 2, removed: 2 } });
    expect(channel.put(["e"])).toEqual({ type: "put", offset: 5, count: 1 });
  });

  test("[RC1] waking reads at most four rows of the backlog, whatever its length", () => {
    const rowsRead = [1, 10, 1000].map((segments) => {
      const channel = channelWith(...Array.from({ length: segments + 2 }, () => "x"));
      channel.put(["x", "x"]);
      channel.getTexts(2);
      channel.store.rowsRead = 0;
      channel.evict();
      return channel.store.rowsRead;
    });

    expect(Math.max(...rowsRead)).toBeLessThanOrEqual(4);
    expect(rowsRead[1]).toBe(rowsRead[2]);
  });

  test("[RC1] the head segment that was read on waking is not read again", () => {
    const channel = new ChannelHarness({ settings: {} });
    channel.put(Array.from({ length: 100 }, () => "x"));
    channel.evict();
    channel.store.rowsRead = 0;

    for (let taken = 0; taken < 99; taken += 1) channel.get();

    expect(channel.store.rowsRead).toBe(0);
  });

  test("[RC1] a reader that keeps up never reads storage", () => {
    const channel = new ChannelHarness({ settings: {} });

    for (let round = 0; round < 100; round += 1) {
      channel.put(["a", "b", "c"]);
      channel.put(["d"]);
      expect(channel.getTexts(4)).toHaveLength(4);
    }

    expect(channel.store.rowsRead).toBeLessThanOrEqual(4);
  });

  test("[RC2] a put writes its segment only", () => {
    const channel = channelWith("a");
    expect(rowsOf(channel)).toEqual({ inserted: 1, isPositionWritten: false });

    channel.put(["b"]);

    expect(rowsOf(channel)).toEqual({ inserted: 1, isPositionWritten: false });
  });

  test("[RC2] a get up to the end of a segment writes no position, one into it does", () => {
    const channel = new ChannelHarness({ settings: {} });
    channel.put(["a", "b"]);
    channel.put(["c", "d"]);

    channel.getTexts(2);
    const whole = rowsOf(channel);
    channel.getTexts(1);

    expect(whole).toEqual({ inserted: 0, isPositionWritten: false });
    expect(rowsOf(channel)).toEqual({ inserted: 0, isPositionWritten: true });
    channel.evict();
    expect(channel.describe()).toMatchObject({ firstOffset: 4, depth: 1, counts: { put: 4, acked: 3 } });
  });

  test("[RC2] the position is written when nothing is stored any more", () => {
    const channel = channelWith("a");

    channel.get();

    expect(rowsOf(channel)).toEqual({ inserted: 0, isPositionWritten: true });
    expect(channel.changes?.position).toMatchObject({ nextOffset: 2, headOffset: 2 });
  });

  test("[RC2] what is taken in the commit that puts it is not in the segment, which tells the head", () => {
    const channel = channelWith();

    channel.together(() => {
      channel.put(["a", "b", "c"]);
      channel.get();
    });

    expect(channel.changes?.insertSegments.map(({ firstOffset, count }) => [firstOffset, count])).toEqual([[2, 2]]);
    expect(rowsOf(channel).isPositionWritten).toBe(false);
    channel.evict();
    expect(channel.describe()).toMatchObject({ firstOffset: 2, depth: 2, counts: { put: 3, acked: 1 } });
  });

  test("[RC2] the position is written after removals and control records", () => {
    const channel = channelWith("a", "b");

    remove(channel, 2);
    const removal = rowsOf(channel);
    channel.patch({ maxMessages: 10 });

    expect([removal.isPositionWritten, rowsOf(channel).isPositionWritten]).toEqual([true, true]);
  });

  test("[RC4] operations that arrive together are committed in one segment", () => {
    const channel = channelWith();

    channel.together(() => {
      for (let put = 0; put < 100; put += 1) channel.put(["x"]);
    });

    expect(rowsOf(channel)).toEqual({ inserted: 1, isPositionWritten: false });
    expect(channel.describe()).toMatchObject({ depth: 100, segments: 1 });
  });

  test("[RC4] a commit has a segment for each segmentRecordsMax records", () => {
    const channel = channelWith();

    channel.together(() => {
      for (let put = 0; put < 4; put += 1) channel.put(Array.from({ length: 5000 }, () => ""));
    });

    expect(channel.changes?.insertSegments.map((segment) => segment.count)).toEqual([
      LIMITS.segmentRecordsMax,
      20_000 - LIMITS.segmentRecordsMax,
    ]);
    channel.evict();
    expect(channel.describe()).toMatchObject({ depth: 20_000, segments: 2 });
  });

  test("[RC4] [RC5] a commit has a segment for each segmentBytesMax bytes, of any message sizes", () => {
    const channel = new ChannelHarness({ settings: { maxMessageBytes: LIMITS.messageBytesMax } });
    const sizes = [400_000, 400_000, 400_000, 3_000_000, 1, 999_000];

    channel.putMessages(sizes.map((size) => sizedMessage(size, { key: "k", headers: { trace: "t" } })));

    const blocks = channel.changes?.insertSegments ?? [];
    expect(blocks.map((segment) => segment.count)).toEqual([2, 1, 1, 2]);
    const joined = blocks.filter((segment) => segment.count > 1).map((segment) => segment.block.byteLength);
    expect(Math.max(...joined)).toBeLessThanOrEqual(LIMITS.segmentBytesMax);
    channel.evict();
    const offsets = [1, 2, 3, 4, 5, 6];
    expect(expectType(channel.get({ max: 10 }), "got").messages.map((message) => message.offset)).toEqual(offsets);
  });

  test("[RC6] when a commit fails, nothing of it stands", () => {
    const channel = channelWith("a", "b");
    const before = channel.describe();

    channel.failToCommit(() => {
      channel.put(["c"]);
      channel.get();
      remove(channel, 2);
      channel.patch({ maxMessages: 5 });
      channel.delete();
    });

    expect(channel.describe()).toEqual(before);
    expect(channel.browseTexts()).toEqual(["a", "b"]);
  });

  test("[RC6] [WT8] when a commit fails, who waited before waits again and who came with it does not", () => {
    const channel = channelWith();
    const [before, during] = [channel.connect(), channel.connect()];
    channel.get({ waitMs: 1000 }, { connection: before, request: 1 });

    channel.failToCommit(() => {
      channel.get({ waitMs: 1000 }, { connection: during, request: 1 });
      channel.put(["a", "b"]);
    });
    channel.put(["c", "d"]);

    expect(channel.takeAnswers().map(({ connection, outcome }) => [connection, textsOf(outcome)])).toEqual([[before, ["c"]]]);
    expect(channel.browseTexts()).toEqual(["d"]);
  });

  test("[RC7] segments are deleted as soon as the head passed them", () => {
    const channel = channelWith("a", "b", "c", "d");

    channel.getTexts(2);

    expect(channel.store.listSegments().map((segment) => segment.firstOffset)).toEqual([3, 4]);
    expect(channel.changes).toMatchObject({ deleteBelowOffset: 3, deleteSegments: [] });
  });

  test("[RC7] the last row of a channel that became empty stays, and the next segment takes it, also after waking", () => {
    const channel = channelWith("a", "b");

    channel.getTexts(2);
    const emptied = channel.changes;
    channel.evict();
    channel.put(["c"]);

    expect(emptied).toMatchObject({ deleteBelowOffset: 2, deleteSegments: [], position: { headOffset: 3 } });
    expect(channel.changes).toMatchObject({ reuseSegment: 2, deleteSegments: [], position: undefined });
    expect(channel.store.listSegments().map((segment) => segment.firstOffset)).toEqual([3]);
    expect(channel.getTexts(2)).toEqual(["c"]);
  });

  test("[RC7] a row that stays is taken once, is no segment of the description, and goes with a purge", () => {
    const channel = channelWith("a");
    channel.getTexts();

    expect(channel.describe()).toMatchObject({ segments: 0, depth: 0, bytes: 0 });
    channel.put(["b"]);
    channel.put(["c"]);
    const { reuseSegment } = channel.changes ?? {};
    channel.getTexts(2);
    channel.apply({ type: "purge" });
    channel.put(["d"]);

    expect([reuseSegment, channel.changes?.reuseSegment]).toEqual([0, 0]);
    expect(channel.store.listSegments().map((segment) => segment.firstOffset)).toEqual([4]);
  });

  test("[RC7] [RC9] neither a large message nor a segment that was removed stays in an empty channel", () => {
    const channel = new ChannelHarness({ settings: { maxMessageBytes: 4_000_000 } });
    channel.putMessages([sizedMessage(2_000_000)]);
    channel.getTexts();
    expect(channel.store.listSegments()).toEqual([]);

    channel.put(["b"]);
    channel.put(["c"]);
    remove(channel, 3);
    channel.getTexts();
    expect(channel.store.listSegments()).toEqual([]);
    channel.put(["d"]);
    expect(channel.changes?.reuseSegment).toBe(0);
    expect(channel.getTexts()).toEqual(["d"]);
  });

  test("[RC7] message ids are deleted with their messages", () => {
    const channel = channelWith();
    channel.putMessages(["x", "y", "z"].map((messageId) => ({ ...textMessage(messageId), messageId })));

    channel.getTexts();
    const taken = channel.changes?.deleteMessageIds;
    remove(channel, 3);

    expect(taken).toEqual([{ messageId: "x", offset: 1 }]);
    expect(channel.changes?.deleteMessageIds).toEqual([{ messageId: "z", offset: 3 }]);
  });

  test("[G4] put = depth + acked + removed through every kind of change and an eviction", () => {
    const channel = channelWith("a", "b", "c", "d", "e");
    const sums = [
      () => channel.get(),
      () => channel.apply({ type: "remove", offset: 3 }),
      () => channel.patch({ maxMessages: 50 }),
      () => channel.get({ max: 2 }),
      () => channel.put(["f"]),
      () => channel.evict(),
      () => channel.apply({ type: "purge" }),
    ].map((change) => {
      change();
      const { depth, counts } = channel.describe();
      return [counts.put, depth + counts.acked + counts.removed];
    });

    for (const [put, sum] of sums) expect(put).toBe(sum);
    expect(channel.describe().counts).toEqual({ put: 6, acked: 3, removed: 3, deadLettered: 0, dropped: 0, expired: 0 });
  });

  test("[G6] the head window is bounded, and what is beyond it is read from storage", () => {
    const channel = channelWith();
    for (let put = 0; put < 10; put += 1) channel.putMessages([sizedMessage(900_000)]);
    channel.evict();
    channel.store.rowsRead = 0;

    const offsets = Array.from({ length: 10 }, () => expectType(channel.get(), "got").messages[0]?.offset);

    expect(offsets).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    expect(channel.store.rowsRead).toBeLessThanOrEqual(20);
  });

  test("[G1] a channel that restarts is not empty", () => {
    const channel = channelWith("1", "2", "3", "4", "5");

    channel.evict();

    // A restarted queue of Ray has lost its items without an error.
    expect(channel.describe().depth).toBe(5);
    expect(channel.getTexts(9)).toEqual(["1", "2", "3", "4", "5"]);
  });
});
