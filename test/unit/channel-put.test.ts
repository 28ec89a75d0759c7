// Puts: offsets, the order of refusals, whole batches, sizes. Rules OR and PT of src/channel/SPEC.md.
import { describe, expect, test } from "vitest";
import { LIMITS } from "../../src/protocol/limits.ts";
import { messageBytes } from "../../src/protocol/message.ts";
import type { Refusal } from "../../src/protocol/problems.ts";
import { ChannelHarness, expectType, kindOf, refusalOf, sizedMessage, textMessage, textsOf } from "./channel-harness.ts";

const FULL_FACTS = { kind: "channel-full", depth: 2, maxMessages: 2, bytes: 2, maxBytes: LIMITS.channelBytesDefault };

function fullChannel(): ChannelHarness {
  const channel = new ChannelHarness({ settings: { maxMessages: 2 } });
  channel.put(["a", "b"]);
  return channel;
}

describe("src/channel/traffic", () => {
  test("[OR1] each message gets the next offset, a batch consecutive ones", () => {
    const channel = new ChannelHarness({ settings: {} });

    expect(channel.put(["a"])).toEqual({ type: "put", offset: 1, count: 1 });
    expect(channel.put(["b", "c", "d"])).toEqual({ type: "put", offset: 2, count: 3 });
    expect(channel.put(["e"])).toEqual({ type: "put", offset: 5, count: 1 });
    expect(channel.browse().messages.map((message) => message.offset)).toEqual([1, 2, 3, 4, 5]);
  });

  test("[PT1] the state of the channel is the first that refuses", () => {
    const channel = new ChannelHarness({ settings: { maxMessageBytes: 1 } });
    channel.patch({ state: "closed" });

    expect(refusalOf(channel.put(["too large"]))).toEqual({ kind: "channel-closed" });
  });

  test("[PT1] the size of a message refuses before the size of the batch", () => {
    const channel = new ChannelHarness({ settings: { maxMessages: 1, maxMessageBytes: 2 } });
    const batch = Array.from({ length: LIMITS.batchMessagesMax + 1 }, () => sizedMessage(0));

    expect(refusalOf(channel.putMessages([...batch, sizedMessage(3)]))).toEqual({
      kind: "message-too-large",
      bytes: 3,
      limit: 2,
    });
    expect(refusalOf(channel.putMessages(batch))).toMatchObject({ kind: "batch-too-large", limit: LIMITS.batchMessagesMax });
  });

  test("[PT1] the size of the batch refuses before who waits and before room", () => {
    const channel = fullChannel();
    const connection = channel.connect();
    channel.put(["waits"], { waitMs: 1000, origin: { connection, request: 1 } });

    const again = channel.put(["x", "y", "z"], { waitMs: 1000, origin: { connection, request: 1 } });

    expect(refusalOf(again)).toEqual({ kind: "batch-too-large", size: 3, limit: 2, unit: "messages" });
  });

  test("[PT1] [PT2] a batch has at most batchMessagesMax messages and batchBytesMax bytes", () => {
    const channel = new ChannelHarness({ settings: { maxMessageBytes: LIMITS.messageBytesMax } });
    const half = sizedMessage(LIMITS.batchBytesMax / 2);

    expect(channel.putMessages([half, half])).toMatchObject({ type: "put", count: 2 });
    expect(refusalOf(channel.putMessages([half, half, sizedMessage(1)]))).toEqual({
      kind: "batch-too-large",
      size: LIMITS.batchBytesMax + 1,
      limit: LIMITS.batchBytesMax,
      unit: "bytes",
    });
    const most = Array.from({ length: LIMITS.batchMessagesMax }, () => sizedMessage(0));
    expect(channel.putMessages(most)).toMatchObject({ type: "put", count: LIMITS.batchMessagesMax });
  });

  test("[PT1] a single message of the largest body may carry headers on top where the channel allows it", () => {
    const channel = new ChannelHarness({ settings: { maxMessageBytes: LIMITS.messageBytesMax } });

    expect(channel.putMessages([sizedMessage(LIMITS.messageBytesMax)])).toMatchObject({ type: "put" });
    expect(kindOf(channel.putMessages([sizedMessage(LIMITS.messageBytesMax, { key: "k" })]))).toBe("message-too-large");
  });

  test("[PT2] [G8] a batch that does not fit stores nothing of it", () => {
    const channel = new ChannelHarness({ settings: { maxMessages: 3 } });
    channel.put(["a", "b"]);

    expect(kindOf(channel.put(["c", "d"]))).toBe("channel-full");
    expect(channel.browseTexts()).toEqual(["a", "b"]);
    expect(channel.describe()).toMatchObject({ depth: 2, nextOffset: 3, counts: { put: 2, acked: 0, removed: 0 } });
  });

  test("[PT2] an empty batch stores nothing and is accepted, also by a full channel in front of which a put waits", () => {
    const channel = fullChannel();
    const connection = channel.connect();
    channel.put(["waits"], { waitMs: 1000, origin: { connection, request: 1 } });

    expect(channel.put([])).toEqual({ type: "put", offset: 3, count: 0 });
    expect(channel.changes).toBeUndefined();
  });

  test("[PT3] [PT4] a put is accepted up to maxMessages, then refused with the facts to recover", () => {
    const channel = new ChannelHarness({ settings: { maxMessages: 2 } });

    expect(channel.put(["a", "b"])).toMatchObject({ type: "put", count: 2 });
    expect(channel.describe()).toMatchObject({ isFull: true, utilization: 1 });
    expect(refusalOf(channel.put(["c"]))).toEqual({ ...FULL_FACTS, retryAfterMs: 1000 });
  });

  test("[PT3] a put is accepted up to maxBytes, then refused", () => {
    const channel = new ChannelHarness({ settings: { maxBytes: 10 } });

    expect(kindOf(channel.put(["12345", "12345"]))).toBe("put");
    expect(refusalOf(channel.put(["x"]))).toMatchObject({ kind: "channel-full", bytes: 10, maxBytes: 10 });
    expect(channel.getTexts()).toEqual(["12345"]);
    expect(kindOf(channel.put(["12345"]))).toBe("put");
  });

  test("[PT4] a put that waits longer than 0 waits; one without a connection is refused", () => {
    const channel = fullChannel();
    const origin = { connection: channel.connect(), request: 1 };

    expect(kindOf(channel.put(["c"], { waitMs: 0, origin }))).toBe("channel-full");
    expect(kindOf(channel.put(["c"], { waitMs: 1000 }))).toBe("channel-full");
    expect(channel.put(["c"], { waitMs: 1000, origin })).toEqual({ type: "waiting" });
    expect(channel.browseTexts()).toEqual(["a", "b"]);
  });

  test("[PT4] retryAfterMs follows the rate at which messages were taken lately", () => {
    const channel = new ChannelHarness({ settings: { maxMessages: 100 } });
    channel.put(Array.from({ length: 100 }, () => "x"));
    const retryAfterMs = (): number => {
      const refusal = refusalOf(channel.put(Array.from({ length: 100 }, () => "y")));
      return refusal.kind === "channel-full" ? refusal.retryAfterMs : -1;
    };
    const unknown = retryAfterMs();
    for (let taken = 0; taken < 20; taken += 1) {
      channel.nowMs += 100;
      channel.get();
    }
    const steady = retryAfterMs();
    channel.nowMs += 1000;
    const slower = retryAfterMs();
    channel.nowMs += 120_000;

    expect(unknown).toBe(1000);
    // 10 messages a second for 2 s: 80 messages take 8 s, and twice as long by an average that has seen one half-life.
    expect(steady).toBeGreaterThan(8000);
    expect(steady).toBeLessThan(20_000);
    expect(slower).toBeGreaterThan(steady);
    expect(retryAfterMs()).toBe(unknown);
  });

  test("[PT5] what can never fit is refused at once, whatever its wait", () => {
    const channel = new ChannelHarness({ settings: { maxMessages: 2, maxBytes: 10 } });
    const more = { waitMs: 60_000, origin: { connection: channel.connect(), request: 1 } };
    const tooMany: Refusal = { kind: "batch-too-large", size: 3, limit: 2, unit: "messages" };
    const tooHeavy: Refusal = { kind: "batch-too-large", size: 11, limit: 10, unit: "bytes" };

    expect(refusalOf(channel.put(["a", "b", "c"], more))).toEqual(tooMany);
    expect(refusalOf(channel.put(["12345678901"], more))).toEqual(tooHeavy);
    expect(refusalOf(channel.reserve(3, 1, more.origin, 60_000))).toEqual(tooMany);
    expect(refusalOf(channel.reserve(1, 11, more.origin, 60_000))).toEqual(tooHeavy);
    expect(channel.describe().waiters).toBe(0);
  });

  test("[PT6] a message's size is its body, key, id, headers, and a content type that is not the default", () => {
    const plain = textMessage("äb");
    const labels = { key: "ké", messageId: "id", headers: { trace: "é" } };

    expect(messageBytes(plain)).toBe(3);
    expect(messageBytes({ ...plain, ...labels })).toBe(3 + 3 + 2 + 5 + 2);
    expect(messageBytes({ ...plain, contentType: "text/html" })).toBe(3 + 9);
  });

  test("[PT6] the sizes of messages are what maxMessageBytes and maxBytes count", () => {
    const channel = new ChannelHarness({ settings: { maxMessageBytes: 8, maxBytes: 12 } });

    expect(refusalOf(channel.putMessages([sizedMessage(5, { key: "1234" })]))).toMatchObject({ bytes: 9, limit: 8 });
    expect(kindOf(channel.putMessages([sizedMessage(4, { key: "1234" })]))).toBe("put");
    expect(channel.describe().bytes).toBe(8);
    expect(kindOf(channel.putMessages([sizedMessage(5)]))).toBe("channel-full");
    expect(kindOf(channel.putMessages([sizedMessage(4)]))).toBe("put");
  });

  test("[G11] a refused put changes nothing that is stored", () => {
    const channel = fullChannel();

    channel.put(["c"]);

    expect(channel.changes).toBeUndefined();
  });

  test("[G2] puts that a connection pipelines into one commit keep their order", () => {
    const channel = new ChannelHarness({ settings: {} });
    const texts = Array.from({ length: 5000 }, (_, index) => String(index));

    channel.together(() => {
      for (const text of texts) channel.put([text]);
    });

    expect(textsOf(channel.get({ max: 10_000 }))).toEqual(texts);
  });

  test("[ray:Q3] a put without a wait and one with a wait go in where there is room; a full channel refuses", () => {
    const channel = new ChannelHarness({ settings: { maxMessages: 1 } });
    const origin = { connection: channel.connect(), request: 1 };

    expect(kindOf(channel.put(["1"]))).toBe("put");
    channel.get();
    expect(kindOf(channel.put(["2"], { waitMs: 200, origin }))).toBe("put");
    expect(kindOf(channel.put(["3"]))).toBe("channel-full");
    channel.put(["3"], { waitMs: 200, origin });
    channel.tick(200);
    expect(channel.takeAnswers().map(({ outcome }) => kindOf(outcome))).toEqual(["channel-full"]);
  });

  test("[ray:Q6] a batch that does not fit leaves nothing, one that fits comes back in order", () => {
    const small = new ChannelHarness({ settings: { maxMessages: 1 } });
    const large = new ChannelHarness({ settings: { maxMessages: 100 } });
    const texts = Array.from({ length: 100 }, (_, index) => String(index));

    expect(kindOf(small.put(["1", "2"]))).toBe("batch-too-large");
    expect(small.getTexts()).toEqual([]);
    expect(large.put(texts)).toMatchObject({ count: 100 });
    expect(textsOf(large.get({ min: 100, max: 100 }))).toEqual(texts);
  });

  test("[ray:Q3] a put that tries once goes in when there is room: timeout 0 is not a failure", () => {
    const channel = new ChannelHarness({ settings: { maxMessages: 1 } });
    const origin = { connection: channel.connect(), request: 1 };

    expect(kindOf(channel.put(["1"], { waitMs: 0, origin }))).toBe("put");
    expect(channel.getTexts()).toEqual(["1"]);
  });

  test("[ray:Q18] an empty body is a message like any other", () => {
    const channel = new ChannelHarness({ settings: {} });
    channel.put(["", "a", ""]);

    const got = expectType(channel.get({ max: 10 }), "got");

    expect(got.messages.map((message) => message.body.byteLength)).toEqual([0, 1, 0]);
  });

  test("[ray:Q19] batches and single puts come back in the order in which they were put", () => {
    const channel = new ChannelHarness({ settings: {} });
    channel.put(["1", "2"]);
    channel.put(["3"]);
    channel.put(["4", "5", "6"]);

    expect([channel.getTexts(), channel.getTexts(4), channel.getTexts(4)]).toEqual([["1"], ["2", "3", "4", "5"], ["6"]]);
  });
});
