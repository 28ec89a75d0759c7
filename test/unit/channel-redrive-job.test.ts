// A redrive that is spread over time: so many dead letters a second, until none is left (SPEC DL5).
import { describe, expect, test } from "vitest";
import type { Outcome } from "../../src/channel/operation.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import type { GivenSettings } from "../../src/protocol/settings.ts";
import { ChannelHarness, expectType, kindOf, refusalOf, START_MS, textMessage } from "./channel-harness.ts";

/** A channel with so many dead letters, at offsets from 1, of the keys `k0` and `k1` in turn. */
function withDead(count: number, settings: GivenSettings = {}): ChannelHarness {
  const channel = new ChannelHarness({ settings });
  for (let from = 0; from < count; from += 1000) {
    const numbers = Array.from({ length: Math.min(1000, count - from) }, (_, index) => from + index);
    channel.putMessages(numbers.map((number) => ({ ...textMessage(String(number)), key: `k${number % 2}` })));
  }
  killAll(channel);
  return channel;
}

function killAll(channel: ChannelHarness): void {
  for (;;) {
    const ids = expectType(channel.pull({ max: 1000 }), "got").granted?.leaseIds ?? [];
    if (ids.length === 0) return;
    channel.settle({ rejects: ids.map((leaseId) => ({ leaseId })) });
  }
}

/** When the alarm is due, the directory being told of everything. */
function alarmAtMs(channel: ChannelHarness): number | undefined {
  channel.channel.settleOutbox(channel.channel.record?.outbox.version ?? 0, true, channel.nowMs);
  channel.commit();
  return channel.channel.nextAlarmAtMs;
}

function begin(channel: ChannelHarness, ratePerSecond: number, filter: object = {}, fromOffset = 1): Outcome {
  return channel.apply({ type: "redrive", fromOffset, max: 1, filter, ratePerSecond });
}

function stop(channel: ChannelHarness): Outcome {
  return channel.apply({ type: "stop-redrive" });
}

/** The depth after each of so many seconds. */
function depths(channel: ChannelHarness, seconds: number): number[] {
  return Array.from({ length: seconds }, (_, second) => {
    channel.tick(second === 0 ? 0 : 1000);
    return channel.describe().depth;
  });
}

describe("src/channel/redrive-job", () => {
  test("[DL5] moves at most so many a second, in the order of offsets, shows how far it is, and ends", () => {
    const channel = withDead(7);

    expect(begin(channel, 3)).toMatchObject({ type: "redrive-job", job: { ratePerSecond: 3, startedAtMs: START_MS, moved: 0 } });

    expect(alarmAtMs(channel)).toBe(START_MS);
    expect(depths(channel, 2)).toEqual([3, 6]);
    channel.tick(999);
    expect(channel.describe()).toMatchObject({ depth: 6, redrive: { ratePerSecond: 3, moved: 6, nextOffset: 7 } });
    expect(alarmAtMs(channel)).toBe(START_MS + 2000);
    channel.tick(1);
    expect(channel.describe()).toMatchObject({ depth: 7, redrive: null, deadLetters: { messages: 0 } });
    expect(alarmAtMs(channel)).toBeUndefined();
    expect(channel.browse().messages.map(({ redrivenFrom }) => redrivenFrom)).toEqual([1, 2, 3, 4, 5, 6, 7]);
  });

  test("[DL5] goes on after an eviction, and what was not committed is not moved", () => {
    const channel = withDead(6);
    begin(channel, 2);
    channel.tick();

    channel.evict();
    channel.failToCommit(() => channel.tick(1000));
    expect(channel.describe()).toMatchObject({ depth: 2, redrive: { moved: 2 } });

    expect(depths(channel, 2)).toEqual([4, 6]);
  });

  test("[DL5] moves only what matches and had died before, also when that dies again", () => {
    const channel = withDead(6);
    begin(channel, 2, { key: "k1" });
    channel.tick();
    killAll(channel);

    expect(depths(channel, 3)).toEqual([0, 1, 1]);

    expect(channel.describe()).toMatchObject({ redrive: null, deadLetters: { messages: 5 } });
    expect(channel.browse().messages.map(({ redrivenFrom }) => redrivenFrom)).toEqual([6]);
  });

  test("[DL5] waits for room, writes nothing meanwhile, and goes on", () => {
    const channel = withDead(2);
    channel.patch({ maxMessages: 1 });
    begin(channel, 5);
    channel.tick();

    channel.tick(1000);
    expect([channel.changes, channel.describe().redrive?.moved]).toEqual([undefined, 1]);
    expect(alarmAtMs(channel)).toBe(channel.nowMs + 1000);
    channel.getTexts(1);
    channel.tick(1000);

    expect(channel.describe()).toMatchObject({ depth: 1, redrive: null });
  });

  test("[DL5] there is one at a time, it can be stopped, and no other begins where no puts are taken", () => {
    const channel = withDead(4);
    expect(kindOf(stop(channel))).toBe("unknown-redrive");
    begin(channel, 1);
    channel.tick();

    expect(refusalOf(begin(channel, 9))).toEqual({ kind: "redrive-running", ratePerSecond: 1, moved: 1 });
    expect(stop(channel)).toMatchObject({ type: "redrive-job", job: { ratePerSecond: 1, moved: 1 } });

    expect(depths(channel, 3)).toEqual([1, 1, 1]);
    channel.patch({ state: "closed" });
    expect(kindOf(begin(channel, 1))).toBe("channel-closed");
  });

  test("[DL5] a channel that is closed keeps it until it is opened, a purge too, and the end of the life ends it", () => {
    const channel = withDead(4);
    begin(channel, 1);
    channel.patch({ state: "closed" });
    expect([depths(channel, 2), alarmAtMs(channel)]).toEqual([[0, 0], undefined]);
    channel.patch({ state: "open" });
    channel.apply({ type: "purge" });
    expect(depths(channel, 2)).toEqual([1, 2]);

    channel.delete();
    channel.apply({ type: "create", settings: {} });

    expect(channel.describe().redrive).toBeNull();
    expect(kindOf(stop(channel))).toBe("unknown-redrive");
  });

  test("[DL5] serves a get that waits", () => {
    const channel = withDead(2);
    const connection = channel.connect();
    channel.get({ waitMs: 60_000 }, { connection, request: 1 });
    begin(channel, 1);

    channel.tick();

    expect(channel.takeAnswers()).toMatchObject([{ outcome: { type: "got", messages: [{ redrivenFrom: 1 }] } }]);
  });

  test("[DL5] a high rate is met over several pages, and a step looks at a bounded number", () => {
    const channel = withDead(3500);
    begin(channel, 3000);

    expect(depths(channel, 2)).toEqual([3000, 3500]);
    expect(LIMITS.redrivePagesPerStep * LIMITS.browseMessagesMax).toBeGreaterThanOrEqual(LIMITS.redrivePerSecondMax);
  });
});
