// Connections that watch the pressure of a channel. Rules BP of src/channel/SPEC.md.
import { describe, expect, test } from "vitest";
import type { Origin, Outcome } from "../../src/channel/operation.ts";
import type { GivenSettings } from "../../src/protocol/settings.ts";
import { ChannelHarness, kindOf, refusalOf, sizedMessage } from "./channel-harness.ts";

const TEN: GivenSettings = { maxMessages: 10, maxBytes: 1_000 };

function channelWith(settings: GivenSettings = TEN): ChannelHarness {
  return new ChannelHarness({ settings });
}

function watch(channel: ChannelHarness, origin: Origin = { connection: channel.connect(), request: 1 }): Origin {
  expect(channel.apply({ type: "watch" }, origin).type).toBe("pressure");
  return origin;
}

function fill(channel: ChannelHarness, messages: number, bytes = 1): void {
  channel.putMessages(Array.from({ length: messages }, () => sizedMessage(bytes)));
}

function pressure(level: "low" | "high", messages: number, bytes: number): Outcome {
  return { type: "pressure", level, credit: { messages, bytes } };
}

/** What was sent since the last look. */
function told(channel: ChannelHarness): Outcome[] {
  return channel.takeAnswers().map(({ outcome }) => outcome);
}

describe("src/channel/pressure", () => {
  test("[BP2] the level is high from 80 % on until half is left, and is told when it changes alone", () => {
    const channel = channelWith();
    watch(channel);
    fill(channel, 7);
    expect(told(channel)).toEqual([]);
    fill(channel, 1);
    expect(told(channel)).toEqual([pressure("high", 2, 992)]);
    fill(channel, 1);
    channel.get({ max: 3 });
    expect(told(channel)).toEqual([]);
    channel.get();
    expect(told(channel)).toEqual([pressure("low", 5, 995)]);
    fill(channel, 2);
    expect(told(channel)).toEqual([]);
  });

  test("[BP2] bytes count as messages do: either makes it high, and both have to come down", () => {
    const channel = channelWith();
    watch(channel);
    fill(channel, 2, 400);
    expect(told(channel)).toEqual([pressure("high", 8, 200)]);
    fill(channel, 6, 10);
    channel.get({ max: 2 });
    expect(told(channel)).toEqual([]);
    channel.get();
    expect(told(channel)).toEqual([pressure("low", 5, 950)]);
  });

  test("[BP2] [SD3] [WT4] what is scheduled and what is promised counts as for admission", () => {
    const channel = channelWith();
    watch(channel);
    fill(channel, 4);
    channel.schedule("later", 60_000);
    channel.reserve(3, 30, { connection: channel.connect(), request: 1 });
    expect(told(channel)).toEqual([pressure("high", 2, 961)]);
  });

  test.each([
    [{ highMessages: 3, lowMessages: 1 }, 3, 2],
    [{ highMessages: 50 }, 10, 5],
    [{ highMessages: 2, lowMessages: null }, 2, 1],
    [{ lowMessages: 0 }, 8, 8],
  ])("[BP1] with the marks %o it is high with %i messages, and low when %i are taken", (marks, high, taken) => {
    const channel = channelWith({ ...TEN, marks });
    watch(channel);
    fill(channel, high - 1);
    expect(told(channel)).toEqual([]);
    fill(channel, 1);
    expect(told(channel)).toMatchObject([{ level: "high" }]);
    channel.get({ max: taken - 1 });
    expect(told(channel)).toEqual([]);
    channel.get();
    expect(told(channel)).toMatchObject([{ level: "low" }]);
  });

  test("[BP1] [GR1] a channel that may grow is judged by what it may grow to, and a log is never high", () => {
    const growing = channelWith({ ...TEN, growth: { factor: 2, maxMessages: 20, maxBytes: 1_000 } });
    watch(growing);
    fill(growing, 15);
    expect(told(growing)).toEqual([]);
    fill(growing, 1);
    expect(told(growing)).toEqual([pressure("high", 4, 984)]);

    const log = channelWith({ ...TEN, retention: "log" });
    watch(log);
    fill(log, 10);
    expect(told(log)).toEqual([]);
  });

  test("[BP1] [AD2] a change of limits or marks may change the level; below its depth nothing fits", () => {
    const channel = channelWith();
    watch(channel);
    fill(channel, 4);
    channel.patch({ maxMessages: 3 });
    expect(told(channel)).toEqual([pressure("high", 0, 996)]);
    channel.patch({ maxMessages: 8 });
    expect(told(channel)).toEqual([pressure("low", 4, 996)]);
    channel.patch({ marks: { highMessages: 4 } });
    expect(told(channel)).toEqual([pressure("high", 4, 996)]);
  });

  test("[BP3] everybody who watches is told, in the commit that crosses the mark, behind its answers", () => {
    const channel = channelWith();
    const watching = [watch(channel), watch(channel)];
    const waiting = { connection: channel.connect(), request: 1 };
    channel.get({ min: 9, waitMs: 1_000 }, waiting);
    channel.together(() => {
      fill(channel, 7);
      fill(channel, 1);
    });
    expect(channel.takeAnswers()).toEqual(watching.map((origin) => ({ ...origin, outcome: pressure("high", 2, 992) })));
    channel.together(() => {
      fill(channel, 1);
      channel.get({ max: 9 });
    });
    expect(channel.takeAnswers().map(({ connection, outcome }) => [connection, outcome.type])).toEqual([
      [waiting.connection, "got"],
      ...watching.map(({ connection }) => [connection, "pressure"]),
    ]);
  });

  test("[BP3] who watches later is told at once what the others were told, and a connection watches once", () => {
    const channel = channelWith();
    const first = watch(channel);
    fill(channel, 8);
    channel.get({ max: 2 });
    const second = { connection: channel.connect(), request: 5 };
    expect(channel.apply({ type: "watch" }, second)).toEqual(pressure("high", 4, 994));
    expect(refusalOf(channel.apply({ type: "watch" }, { ...first, request: 9 }))).toEqual({ kind: "request-in-use", id: 1 });
    expect(kindOf(channel.put(["a"], { origin: first }))).toBe("request-in-use");
    expect(kindOf(channel.apply({ type: "credit", request: 1, credit: { messages: 1, bytes: 1 } }, first))).toBe(
      "unknown-subscription",
    );
    expect(channel.describe().subscriptions).toEqual({ members: 0, readers: 0 });
  });

  test("[BP4] a watch ends by unsubscribing, with its connection, and when no more is taken", () => {
    const channel = channelWith();
    const [first, second, third] = [watch(channel), watch(channel), watch(channel)];
    expect(channel.apply({ type: "unsubscribe", request: 1 }, first)).toEqual({ type: "ended" });
    channel.close(second.connection);
    fill(channel, 1);
    channel.patch({ state: "draining" });
    const refusal = { kind: "channel-draining", drainUntilMs: null };
    expect(channel.takeAnswers()).toEqual([{ ...third, outcome: { type: "ended", refusal } }]);
    expect(kindOf(channel.apply({ type: "watch" }, first))).toBe("channel-draining");
    expect(kindOf(channel.apply({ type: "watch" }))).toBe("invalid-request");
  });

  test("[BP4] [LC5] a deletion ends it, and a first watch creates a channel where a first put does", () => {
    const channel = channelWith();
    const origin = watch(channel);
    channel.delete();
    expect(channel.takeAnswers()).toMatchObject([
      { ...origin, outcome: { type: "ended", refusal: { kind: "channel-deleted" } } },
    ]);

    const unknown = new ChannelHarness({ mayCreate: true });
    watch(unknown);
    expect(unknown.describe().state).toBe("open");
  });

  test("[BP5] after waking the level stands that was told, between the marks too, and nothing is told twice", () => {
    const channel = channelWith();
    const origin = watch(channel);
    fill(channel, 8);
    channel.get({ max: 2 });
    expect(told(channel)).toHaveLength(1);
    channel.evict();
    fill(channel, 1);
    expect(told(channel)).toEqual([]);
    channel.get({ max: 2 });
    expect(channel.takeAnswers()).toEqual([{ ...origin, outcome: pressure("low", 5, 995) }]);
    expect(channel.channel.subscriptionsOf(origin.connection)).toEqual([{ type: "watch", ...origin, isHigh: false }]);
  });

  test("[BP5] [RC6] what a failed commit would have told is not told, and the next one tells how it is", () => {
    const channel = channelWith();
    watch(channel);
    channel.failToCommit(() => fill(channel, 8));
    expect(told(channel)).toEqual([]);
    fill(channel, 9);
    expect(told(channel)).toEqual([pressure("high", 1, 991)]);
  });

  test("[BP5] [LC6] watching writes nothing, and a channel that is watched is not idle", () => {
    const channel = channelWith({ ...TEN, expireAfterIdleMs: 60_000 });
    const origin = watch(channel);
    expect(channel.changes).toBeUndefined();
    channel.tick(61_000);
    expect(channel.describe().state).toBe("open");
    channel.close(origin.connection);
    channel.tick(61_000);
    expect(kindOf(channel.apply({ type: "describe" }))).toBe("unknown-channel");
  });
});
