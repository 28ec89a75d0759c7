// Delayed messages beside leases, groups and dead letters: SPEC sections SD, LS, GP and DL where they meet.
import { describe, expect, test } from "vitest";
import type { GivenSettings } from "../../src/protocol/settings.ts";
import { ChannelHarness, expectType, kindOf, refusalOf, START_MS, textsOf } from "./channel-harness.ts";

const MINUTE_MS = 60_000;

function open(settings: GivenSettings = {}): ChannelHarness {
  return new ChannelHarness({ settings });
}

/** A channel that the directory knows, so that it sets no alarm of its own. */
function openQuiet(): ChannelHarness {
  const channel = open();
  channel.channel.settleOutbox(channel.channel.record?.outbox.version ?? 0, true, START_MS);
  channel.commit();
  return channel;
}

function createGroup(channel: ChannelHarness, group: string): void {
  expect(kindOf(channel.apply({ type: "create-group", group, settings: {} }))).toBe("group-created");
}

function leaseIdsOf(outcome: ReturnType<ChannelHarness["pull"]>): { leaseId: string }[] {
  return (expectType(outcome, "got").granted?.leaseIds ?? []).map((leaseId) => ({ leaseId }));
}

describe("src/channel/schedule: leases and dead letters", () => {
  test("[SD5] [LS1] what enters is leased to a pull that waits, and a purge leaves what is to come", () => {
    const channel = open();
    const connection = channel.connect();
    channel.schedule("a", 100);
    channel.schedule("b", 200);
    channel.pull({ waitMs: MINUTE_MS }, { connection, request: 1 });

    channel.tick(100);

    expect(channel.takeAnswers().map(({ outcome }) => textsOf(outcome))).toEqual([["a"]]);
    expect(channel.describe()).toMatchObject({ depth: 1, delivery: { leased: 1 }, scheduled: { messages: 1 } });
    channel.apply({ type: "purge" });
    channel.evict();
    channel.tick(100);
    expect(channel.browseTexts()).toEqual(["b"]);
  });

  test("[SD10] a draining channel is closed when neither a lease nor a scheduled message is left", () => {
    const channel = open();
    const connection = channel.connect();
    channel.put(["a"]);
    const leased = channel.pull();
    channel.schedule("b", 100);
    channel.patch({ state: "draining" });

    channel.settle({ acks: leaseIdsOf(leased) });
    expect(channel.describe().state).toBe("draining");
    channel.tick(100);
    const last = channel.pull();
    // It may come back, so others may wait for it.
    expect(kindOf(channel.pull({ waitMs: MINUTE_MS }, { connection, request: 1 }))).toBe("waiting");
    channel.settle({ acks: leaseIdsOf(last) });

    expect(channel.takeAnswers().map(({ outcome }) => kindOf(outcome))).toEqual(["channel-draining"]);
    expect(channel.describe().state).toBe("closed");
  });

  test("[SD3] [DL3] what is scheduled leaves less room for dead letters that are put again", () => {
    const channel = open({ maxMessages: 2 });
    channel.put(["a", "b"]);
    channel.settle({ rejects: leaseIdsOf(channel.pull({ max: 2 })) });
    channel.schedule("c", 100);

    expect(channel.apply({ type: "redrive", fromOffset: 1, max: 10, filter: {} })).toMatchObject({
      type: "moved",
      moved: 1,
      isMore: true,
    });
  });

  test("[RC8] the end of a lease is a deadline while a get waits for it, also after waking", () => {
    const channel = openQuiet();
    const connection = channel.connect();
    channel.put(["a"]);
    channel.pull({ leaseMs: 5000 });
    expect(channel.channel.nextDueAtMs).toBeUndefined();

    channel.pull({ waitMs: MINUTE_MS }, { connection, request: 1 });
    expect(channel.changes).toBeUndefined();
    expect(channel.channel.nextDueAtMs).toBe(START_MS + 5000);
    expect(channel.reopen().findAlarmOnWaking(START_MS)).toBe(START_MS + 5000);
    channel.schedule("b", 1000);
    expect(channel.channel.nextDueAtMs).toBe(START_MS + 1000);

    channel.close(connection);
    channel.tick(1000);
    expect(channel.channel.nextDueAtMs).toBeUndefined();
  });
});

describe("src/channel/schedule: retention", () => {
  test("[SD3] [GP1] a log gives up its oldest records for what enters", () => {
    const channel = open({ retention: "log", maxMessages: 2 });
    createGroup(channel, "x");
    channel.put(["a", "b"]);
    channel.schedule("c", 100);
    expect(channel.browseTexts()).toEqual(["a", "b"]);

    channel.tick(100);

    expect(channel.browseTexts()).toEqual(["b", "c"]);
    expect(channel.describe()).toMatchObject({ depth: 2, counts: { put: 3, dropped: 1 }, scheduled: { messages: 0 } });
  });

  test("[SD3] [G6] in a log delayed messages have to fit beside each other, and no wait helps", () => {
    const channel = open({ retention: "log", maxMessages: 2 });
    const origin = { connection: channel.connect(), request: 1 };
    channel.put(["a", "b"]);
    channel.schedule("d", 100);
    channel.schedule("e", 100);

    const refusal = refusalOf(channel.put(["f"], { delays: [{ afterMs: 100 }], waitMs: MINUTE_MS, origin }));
    expect(refusal).toMatchObject({ kind: "channel-full", scheduled: { messages: 2 } });
    expect(channel.changes).toBeUndefined();
    expect(kindOf(channel.put(["g"]))).toBe("put");
    channel.tick(100);
    expect(channel.schedule("f", 100)).not.toBe("");
  });

  test("[GP7] without a group a delayed put finds no readers; what was accepted before enters all the same", () => {
    const channel = open({ retention: "interest" });
    expect(kindOf(channel.put(["a"], { delays: [{ afterMs: 100 }] }))).toBe("no-readers");
    createGroup(channel, "x");
    channel.schedule("a", 100);
    channel.apply({ type: "delete-group", group: "x" });

    channel.tick(100);

    expect(channel.browseTexts()).toEqual(["a"]);
  });

  test("[SD10] [GP8] a log drains when every group has done with what entered last", () => {
    const channel = open({ retention: "log" });
    for (const group of ["x", "y"]) createGroup(channel, group);
    channel.schedule("a", 100);
    channel.patch({ state: "draining" });
    channel.tick(100);

    expect(textsOf(channel.apply({ type: "get", group: "x" }))).toEqual(["a"]);
    expect(channel.describe().state).toBe("draining");
    expect(textsOf(channel.apply({ type: "get", group: "y" }))).toEqual(["a"]);
    expect(channel.describe().state).toBe("closed");
  });
});
