// Limits of a channel, their change in use, and growth. Rules AD and GR of src/channel/SPEC.md.
import { describe, expect, test } from "vitest";
import { LIMITS } from "../../src/protocol/limits.ts";
import { DEFAULT_SETTINGS } from "../../src/protocol/settings.ts";
import { ChannelHarness, expectType, kindOf, refusalOf, sizedMessage } from "./channel-harness.ts";

const WAIT_MS = 60_000;

/** A channel of 2 messages that may grow to 10, and of bytes that never matter. */
function growing(factor = 2, maxMessages = 10): ChannelHarness {
  const maxBytes = LIMITS.channelBytesDefault;
  return new ChannelHarness({ settings: { maxMessages: 2, growth: { factor, maxMessages, maxBytes } } });
}

function limitOf(channel: ChannelHarness): number {
  return channel.describe().limits.maxMessages;
}

describe("src/channel/admission", () => {
  test("[AD1] settings are given at creation; what is not given has its default", () => {
    const channel = new ChannelHarness({ settings: { maxMessages: 7 } });

    const { settings, limits } = channel.describe();

    expect(settings).toEqual({ ...DEFAULT_SETTINGS, maxMessages: 7 });
    expect(limits).toEqual({ maxMessages: 7, maxBytes: DEFAULT_SETTINGS.maxBytes });
  });

  test("[AD1] settings are changed in use, each by itself", () => {
    const channel = new ChannelHarness({ settings: { maxMessages: 7, expireAfterIdleMs: 60_000 } });

    channel.patch({ maxBytes: 100 });
    channel.patch({ maxMessageBytes: 5, expireAfterIdleMs: null });

    const changed = { maxMessages: 7, maxBytes: 100, maxMessageBytes: 5, expireAfterIdleMs: null };
    expect(channel.describe()).toMatchObject({ settings: changed, limits: { maxMessages: 7, maxBytes: 100 } });
    expect(kindOf(channel.putMessages([sizedMessage(6)]))).toBe("message-too-large");
    channel.evict();
    expect(channel.describe().settings).toMatchObject(changed);
  });

  test("[AD1] settings that contradict each other are refused and change nothing", () => {
    const channel = growing();
    const before = channel.describe();

    const refusal = refusalOf(channel.patch({ maxMessages: 11, maxMessageBytes: 5 }));

    expect(refusal).toMatchObject({ kind: "invalid-request", errors: [{ pointer: "/growth/maxMessages" }] });
    expect(channel.describe()).toEqual(before);
  });

  test("[AD2] a shrink below the depth keeps what is there and refuses puts until there is room", () => {
    const channel = new ChannelHarness({ settings: { maxMessages: 4 } });
    channel.put(["a", "b", "c", "d"]);

    channel.patch({ maxMessages: 2 });

    expect(channel.describe()).toMatchObject({ depth: 4, utilization: 2, isFull: true });
    expect(channel.getTexts(2)).toEqual(["a", "b"]);
    expect(kindOf(channel.put(["e"]))).toBe("channel-full");
    expect(channel.getTexts()).toEqual(["c"]);
    expect(kindOf(channel.put(["e"]))).toBe("put");
    expect(channel.browseTexts()).toEqual(["d", "e"]);
  });

  test("[AD2] a raise serves the puts that wait and fit", () => {
    const channel = new ChannelHarness({ settings: { maxMessages: 2 } });
    channel.put(["a", "b"]);
    for (const messages of [1, 2]) {
      channel.reserve(messages, messages, { connection: channel.connect(), request: 1 }, WAIT_MS);
    }

    channel.patch({ maxMessages: 4 });
    const atFour = channel.takeAnswers().map(({ connection }) => connection);
    channel.patch({ maxMessages: 5 });

    expect(atFour).toEqual([1]);
    expect(channel.takeAnswers().map(({ connection }) => connection)).toEqual([2]);
  });

  test("[AD2] a shrink refuses the puts and gets that wait for more than the channel can hold", () => {
    const channel = new ChannelHarness({ settings: { maxMessages: 4 } });
    channel.put(["a", "b"]);
    channel.get({ min: 4, waitMs: WAIT_MS }, { connection: channel.connect(), request: 1 });
    channel.reserve(3, 3, { connection: channel.connect(), request: 1 }, WAIT_MS);

    channel.patch({ maxMessages: 2 });

    expect(channel.takeAnswers().map(({ connection, outcome }) => [connection, refusalOf(outcome)])).toEqual([
      [1, { kind: "batch-too-large", size: 4, limit: 2, unit: "messages" }],
      [2, { kind: "batch-too-large", size: 3, limit: 2, unit: "messages" }],
    ]);
  });

  test("[GR1] a channel whose limits a put does not fit multiplies them by the factor", () => {
    const channel = growing();
    const limits = ["a", "b", "c", "d", "e"].map((text) => {
      channel.put([text]);
      return limitOf(channel);
    });

    expect(limits).toEqual([2, 2, 4, 4, 8]);
    expect(channel.describe().settings.maxMessages).toBe(2);
  });

  test("[GR1] as often as needed, up to the limit of growth, and no further", () => {
    const channel = growing();

    expect(kindOf(channel.put(["1", "2", "3", "4", "5", "6", "7", "8", "9"]))).toBe("put");
    expect(limitOf(channel)).toBe(10);
    expect(kindOf(channel.put(["10"]))).toBe("put");
    expect(refusalOf(channel.put(["11"]))).toMatchObject({ kind: "channel-full", depth: 10, maxMessages: 10 });
  });

  test("[GR1] a small factor grows by one at least, and ends", () => {
    const channel = growing(1.000_001, 4);
    channel.put(["a", "b", "c"]);

    expect(limitOf(channel)).toBe(3);
  });

  test("[GR1] only the limit in question grows", () => {
    const growth = { factor: 2, maxMessages: 100, maxBytes: 100 };
    const channel = new ChannelHarness({ settings: { maxMessages: 2, maxBytes: 10, growth } });

    channel.put(["12345678901"]);
    expect(channel.describe().limits).toEqual({ maxMessages: 2, maxBytes: 20 });
    channel.put(["", ""]);
    expect(channel.describe().limits).toEqual({ maxMessages: 4, maxBytes: 20 });
  });

  test("[GR1] a refusal tells the limits in force", () => {
    const channel = growing(2, 5);
    channel.put(["a", "b", "c", "d"]);

    const refusal = refusalOf(channel.put(["e", "f"]));

    expect(refusal).toMatchObject({ kind: "channel-full", maxMessages: limitOf(channel) });
  });

  test("[GR1] promised room counts when a channel grows", () => {
    const channel = growing();
    channel.put(["a"]);

    channel.reserve(1, 1, { connection: channel.connect(), request: 1 });
    channel.put(["b"]);

    expect(limitOf(channel)).toBe(4);
  });

  test("[GR1] what fits after growth does not wait", () => {
    const channel = growing();
    channel.put(["a", "b"]);
    const origin = { connection: channel.connect(), request: 1 };

    expect(kindOf(channel.put(["c"], { waitMs: WAIT_MS, origin }))).toBe("put");
    expect(
      kindOf(
        channel.put(
          Array.from({ length: 11 }, () => "x"),
          { waitMs: WAIT_MS, origin },
        ),
      ),
    ).toBe("batch-too-large");
  });

  test("[GR1] limits stay grown when growth ends and after an eviction, until they are set", () => {
    const channel = growing();
    channel.put(["a", "b", "c"]);
    channel.patch({ growth: null });
    channel.evict();
    const grown = limitOf(channel);

    channel.patch({ maxMessages: 2 });

    expect([grown, limitOf(channel)]).toEqual([4, 2]);
  });

  test("[GR2] each change of the limits in force appends a control record with the new ones", () => {
    const channel = growing();
    channel.put(["a", "b"]);
    channel.put(["c"]);
    channel.patch({ maxMessages: 3 });

    const { controls } = channel.browse();

    const { maxBytes } = DEFAULT_SETTINGS;
    expect(controls.map(({ offset, control }) => [offset, control])).toEqual([
      [3, { type: "resize", maxMessages: 4, maxBytes }],
      [5, { type: "resize", maxMessages: 3, maxBytes }],
    ]);
    expect(channel.describe()).toMatchObject({ depth: 3, nextOffset: 6, counts: { put: 3 } });
  });

  test("[GR2] a change to the limits that are in force appends nothing", () => {
    const channel = new ChannelHarness({ settings: { maxMessages: 5 } });

    channel.patch({ maxMessages: 5 });
    channel.patch({ maxMessageBytes: 5 });

    expect(channel.browse().controls).toEqual([]);
    expect(channel.describe().nextOffset).toBe(1);
  });

  test("[GR2] a control record that directly follows another supersedes it", () => {
    const channel = new ChannelHarness({ settings: {} });
    channel.put(["a"]);
    channel.patch({ maxMessages: 5 });
    channel.together(() => {
      channel.patch({ maxMessages: 6 });
      channel.patch({ maxMessages: 7 });
    });
    channel.patch({ state: "draining" });

    const { controls } = channel.browse();

    expect(controls.map(({ offset, control }) => [offset, control])).toEqual([[5, { type: "close" }]]);
    const got = expectType(channel.get(), "got");
    expect(got.controls.map((record) => record.offset)).toEqual([5]);
  });

  test("[GR2] a control record of an earlier life supersedes nothing", () => {
    const channel = new ChannelHarness({ settings: {} });
    channel.put(["a"]);
    channel.patch({ maxMessages: 5 });
    channel.apply({ type: "delete", graceMs: 0 });
    channel.apply({ type: "create", settings: {} });
    channel.put(["b", "c"]);

    channel.patch({ maxMessages: 6 });

    expect(channel.browseTexts()).toEqual(["b", "c"]);
  });

  test("[GR2] [G6] control records stay fewer than messages plus two, and leave no segments behind", () => {
    const channel = new ChannelHarness({ settings: {} });
    for (let change = 1; change <= 50; change += 1) {
      channel.patch({ maxMessages: change + 10 });
      if (change % 10 === 0) channel.put(["x"]);
    }

    const page = channel.browse();

    expect(page.messages).toHaveLength(5);
    expect(page.controls.length).toBeLessThanOrEqual(6);
    expect(channel.store.listSegments()).toHaveLength(page.messages.length + page.controls.length);
  });

  test("[G6] a control record takes no room: it fits a full channel", () => {
    const channel = new ChannelHarness({ settings: { maxMessages: 1, maxBytes: 1 } });
    channel.put(["a"]);

    channel.patch({ maxMessageBytes: 1, maxMessages: 2 });

    expect(channel.describe()).toMatchObject({ depth: 1, bytes: 1 });
  });
});
