// Leases of streams that lie with their sockets and cost no row. Rules LS8, LS9 and LS13 of src/channel/SPEC.md.
import * as fc from "fast-check";
import { afterEach, describe, expect, test } from "vitest";
import { AttachedLeases, unpackFrames } from "../../src/channel/attached-leases.ts";
import type { Delivered, Origin, Outcome } from "../../src/channel/operation.ts";
import { decodeUtf8 } from "../../src/protocol/bytes.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import type { GivenSettings } from "../../src/protocol/settings.ts";
import { ChannelHarness, describeGroup, expectType, textMessage } from "./channel-harness.ts";

const USUAL = { ...LIMITS };

afterEach(() => {
  Object.assign(LIMITS, USUAL);
});

function channelWith(settings: GivenSettings = {}): ChannelHarness {
  return new ChannelHarness({ settings });
}

/** A member of a group, on a connection of its own. */
function subscribe(
  channel: ChannelHarness,
  { messages = 100, leaseMs = 30_000, connection = channel.connect(), request = 1 } = {},
): Origin {
  const origin = { connection, request };
  const credit = { messages, bytes: 1_000_000 };
  expectType(
    channel.apply({ type: "subscribe", target: { type: "member", leaseMs, reader: "r1" }, credit }, origin),
    "subscribed",
  );
  return origin;
}

function takeFrames(channel: ChannelHarness): Delivered[] {
  return channel.takeAnswers().map(({ outcome }) => expectType(outcome, "delivered"));
}

/** Text, attempt and whether it may have been handed out before, of all that was sent since the last look. */
function sent(channel: ChannelHarness): (readonly [string, number, boolean])[] {
  return takeFrames(channel).flatMap(describeLeases);
}

function describeLeases(outcome: Outcome): (readonly [string, number, boolean])[] {
  if (outcome.type !== "got" && outcome.type !== "delivered") throw new Error(`Expected messages but got ${outcome.type}`);
  const { granted, messages } = outcome;
  return messages.map(({ body }, index) => [
    decodeUtf8(body) ?? "",
    granted?.attempts[index] ?? 0,
    granted?.redelivered[index] ?? false,
  ]);
}

function idsOf(frames: readonly Delivered[]): { leaseId: string }[] {
  return frames.flatMap(({ granted }) => granted?.leaseIds ?? []).map((leaseId) => ({ leaseId }));
}

function keyed(...texts: string[]): ReturnType<typeof textMessage>[] {
  return texts.map((text) => ({ ...textMessage(text), key: "k" }));
}

/** Leases that are stored, of all groups. */
function storedLeases(channel: ChannelHarness): number[] {
  const groups = [...channel.store.delivery.readDelivery().values()];
  return groups.flatMap(({ leases }) => leases.flatMap((row) => row.leases.map(({ offset }) => offset))).sort((a, b) => a - b);
}

function markOf(channel: ChannelHarness, group = 0): unknown {
  return channel.store.delivery.readDelivery().get(group)?.mark;
}

describe("src/channel/attached-leases", () => {
  test("[LS13] what a socket carries is read as it was packed, whatever the leases are", () => {
    const time = fc.integer({ min: 1_600_000_000_000, max: 1_900_000_000_000 });
    const frame = fc.record({
      group: fc.integer({ min: 0, max: 999 }),
      holder: fc.stringMatching(/^[0-9a-f]{16}$/u),
      reader: fc.option(fc.stringMatching(/^[a-z][a-z0-9._~:-]{0,20}$/u), { nil: undefined }),
      leasedAtMs: time,
      deadlineMs: time,
      offsets: fc.uniqueArray(fc.oneof(fc.integer({ min: 1, max: 60 }), fc.integer({ min: 1, max: 2 ** 48 })), { minLength: 1 }),
    });
    fc.assert(
      fc.property(fc.uniqueArray(frame, { selector: ({ holder }) => holder }), (frames) => {
        const attached = new AttachedLeases();
        for (const { offsets, ...terms } of frames) {
          const opened = attached.open({ connection: 7, ...terms });
          for (const offset of offsets)
            opened.live.set(offset, { ...terms, offset, attempt: 1, key: undefined, connection: 7, history: undefined });
          attached.noteChange(opened);
        }

        const bytes = attached.pack(7) ?? new Uint8Array();

        const sorted = frames.map(({ offsets, ...terms }) => ({
          connection: 7,
          ...terms,
          offsets: offsets.toSorted((a, b) => a - b),
        }));
        expect(unpackFrames({ connection: 7, bytes })).toEqual(sorted);
      }),
    );
  });

  test("[LS13] a batch that a stream is sent and acks costs a row when it comes and one when it goes", () => {
    const channel = channelWith();
    subscribe(channel);
    const rows: unknown[] = [];
    for (let batch = 0; batch < 4; batch++) {
      channel.put(Array.from({ length: 20 }, String));
      const put = channel.changes;
      channel.settle({ acks: idsOf(takeFrames(channel)) });
      const acked = channel.changes;
      rows.push([put?.insertSegments.length, put?.delivery, put?.position, acked?.delivery, acked?.position !== undefined]);
    }

    expect(rows.slice(1)).toEqual([1, 2, 3].map(() => [1, undefined, undefined, undefined, true]));
    expect(channel.describe()).toMatchObject({ depth: 0, delivery: { leased: 0 } });
  });

  test("[LS8] [LS13] leases are found again after an eviction, with their deadline, and their attempt counts when they end", () => {
    const channel = channelWith();
    subscribe(channel, { leaseMs: 10_000 });
    channel.put(["a", "b"]);
    const [frame] = takeFrames(channel);

    channel.evict();

    expect(storedLeases(channel)).toEqual([]);
    expect(channel.describe()).toMatchObject({ delivery: { leased: 2 } });
    const [first] = idsOf(frame === undefined ? [] : [frame]);
    expect(channel.settle({ acks: first === undefined ? [] : [first] })).toMatchObject({ counts: { ack: 1 } });
    channel.tick(9_999);
    expect(channel.describe()).toMatchObject({ delivery: { leased: 1 } });
    channel.tick(1);
    expect(sent(channel)).toEqual([["b", 2, true]]);
    const history = expectType(channel.apply({ type: "history", offset: 2 }), "history").history.groups[0];
    expect(history?.events).toMatchObject([{ attempt: 1, reader: "r1", verdict: "expired" }, { attempt: 2 }]);
  });

  test("[G5] [LS13] after an eviction nobody else is given what comes behind a leased message of its key", () => {
    const channel = channelWith();
    subscribe(channel, { messages: 1 });
    channel.putMessages([...keyed("a", "b"), textMessage("c")]);
    channel.evict();

    expect(describeLeases(channel.pull({ max: 9 }))).toEqual([["c", 1, false]]);
  });

  test("[LS13] a message with a history is leased by a row, one without beside it is not", () => {
    const channel = channelWith({ delivery: { retryDelaysMs: [0] } });
    subscribe(channel);
    channel.put(["a", "b"]);
    const [first, second] = idsOf(takeFrames(channel));
    if (first === undefined || second === undefined) throw new Error("Expected two leases");

    channel.settle({ retries: [first] });
    channel.put(["c"]);

    expect(sent(channel)).toEqual([
      ["a", 2, true],
      ["c", 1, false],
    ]);
    expect(storedLeases(channel)).toEqual([1]);
    channel.evict();
    expect(channel.describe()).toMatchObject({ delivery: { leased: 3 } });
  });

  test("[LS13] a pull is leased by a row, also where it ends with its connection", () => {
    const channel = channelWith();
    channel.put(["a"]);
    channel.pull({ isDetached: false }, { connection: channel.connect(), request: 1 });

    expect([storedLeases(channel), markOf(channel)]).toEqual([[1], undefined]);
  });

  test("[LS13] [G6] what does not fit a socket is stored, the newest first, also when requests come to wait beside it", () => {
    Object.assign(LIMITS, { attachedLeasesBytesMax: 150 });
    const channel = channelWith();
    const { connection } = subscribe(channel);
    for (let count = 0; count < 20; count++) {
      channel.nowMs += 1;
      channel.put(["x"]);
    }
    const stored = storedLeases(channel);

    expect(channel.channel.leasesOf(connection)?.byteLength).toBeLessThanOrEqual(150);
    expect(stored.length).toBeGreaterThan(0);
    expect(stored.at(0)).toBe(21 - stored.length);
    const full = subscribe(channel, { connection, request: 2, messages: 0 });
    channel.apply({ type: "get", waitMs: 60_000 }, { ...full, request: 3 });
    expect(channel.channel.leasesOf(connection)?.byteLength).toBeLessThanOrEqual(50);
    expect(storedLeases(channel).length).toBeGreaterThan(stored.length);
    channel.evict();
    expect(channel.describe()).toMatchObject({ delivery: { leased: 20 } });
  });

  test("[LS9] leases of a connection that was cut off are stored and kept for a while, those of one that closed have ended", () => {
    const channel = channelWith();
    const cut = subscribe(channel, { messages: 1 });
    channel.put(["a"]);
    const closed = subscribe(channel, { messages: 1 });
    channel.put(["b"]);
    const [first, second] = idsOf(takeFrames(channel));

    channel.close(closed.connection, true);
    channel.close(cut.connection, false);

    expect(storedLeases(channel)).toEqual([1]);
    expect(describeLeases(channel.pull({ max: 9 }))).toEqual([["b", 1, true]]);
    expect(channel.settle({ acks: second === undefined ? [] : [second] })).toMatchObject({ counts: { ack: 0 } });
    channel.tick(LIMITS.resumeGraceMs - 1);
    expect(channel.settle({ acks: first === undefined ? [] : [first] })).toMatchObject({ counts: { ack: 1 } });
  });

  test("[LS9] a socket whose end wakes the object tells what it held", () => {
    const channel = channelWith();
    const { connection } = subscribe(channel);
    channel.put(["a"]);
    const [held] = idsOf(takeFrames(channel));
    channel.evict();

    channel.close(connection, false);

    expect(channel.settle({ acks: held === undefined ? [] : [held] })).toMatchObject({ counts: { ack: 1 } });
    expect(markOf(channel)).toBeUndefined();
  });

  test("[LS13] what a socket tells of too late is not taken from who has it by now", () => {
    const channel = channelWith();
    const { connection } = subscribe(channel);
    channel.put(["a", "b", "c"]);
    takeFrames(channel);
    channel.evict({ without: connection });
    channel.pull({ max: 1 });
    const [gone] = channel.browse(3).messages;
    channel.apply({ type: "remove", offset: gone?.offset ?? 0 });

    channel.evict();

    expect(channel.describe()).toMatchObject({ depth: 2, delivery: { leased: 2 } });
    expect(storedLeases(channel)).toEqual([1]);
  });

  test("[LS13] [G5] what a socket tells of too late is leased no more where it has a key: earlier ones may have been given back", () => {
    const channel = channelWith({ delivery: { retryDelaysMs: [0] } });
    const { connection } = subscribe(channel);
    channel.apply({ type: "put", messages: keyed("a", "b") });
    const [, second] = idsOf(takeFrames(channel));
    // It comes again with a history, and so is stored.
    channel.settle({ retries: second === undefined ? [] : [second] });
    takeFrames(channel);
    channel.apply({ type: "put", messages: keyed("c") });
    const [third] = idsOf(takeFrames(channel));
    channel.evict({ without: connection });
    channel.tick();

    channel.evict();

    expect(channel.settle({ acks: third === undefined ? [] : [third] })).toMatchObject({ counts: { ack: 0 } });
    expect(sent(channel).map(([text]) => text)).toEqual(["a", "b", "c"]);
  });

  test("[LS8] after a crash a message that may have been handed out is redelivered, whatever follows, and no other is", () => {
    Object.assign(LIMITS, { scanMarkLagMax: 3 });
    const channel = channelWith();
    subscribe(channel, { messages: 2 });
    channel.put(["a", "b", "c", "d", "e"]);
    expect(sent(channel)).toEqual([
      ["a", 1, false],
      ["b", 1, false],
    ]);

    channel.crash();
    channel.tick();
    channel.evict();

    expect(describeLeases(channel.pull({ max: 5 }))).toEqual([
      ["a", 1, true],
      ["b", 1, true],
      ["c", 1, true],
      ["d", 1, false],
      ["e", 1, false],
    ]);
  });

  test("[LS9] what was lost with its socket is kept for nobody, what was pulled is kept for the grace", () => {
    const channel = channelWith();
    channel.put(["pulled"]);
    channel.pull({ isDetached: false }, { connection: channel.connect(), request: 1 });
    subscribe(channel, { messages: 1 });
    subscribe(channel, { messages: 1 });
    channel.put(["a", "b"]);
    const acks = idsOf(takeFrames(channel));

    channel.crash();

    expect(channel.settle({ acks })).toMatchObject({
      counts: { ack: 0 },
      refused: acks.map(() => ({ refusal: { kind: "lease-lost", cause: "expired" } })),
    });
    expect(describeLeases(channel.pull({ max: 9 }))).toEqual([
      ["a", 1, true],
      ["b", 1, true],
    ]);
    channel.tick(LIMITS.resumeGraceMs - 1);
    expect(describeLeases(channel.pull({ max: 9 }))).toEqual([]);
    channel.tick(1);
    expect(describeLeases(channel.pull({ max: 9 }))).toEqual([["pulled", 2, true]]);
  });

  test("[LS9] no message has to wait after a crash because a stream was given others before", () => {
    const channel = channelWith();
    subscribe(channel, { messages: 1 });
    channel.put(["done"]);
    channel.settle({ acks: idsOf(takeFrames(channel)) });
    channel.put(["a", "b"]);

    channel.crash();

    expect(describeLeases(channel.pull({ max: 9 })).map(([text]) => text)).toEqual(["a", "b"]);
  });

  test("[LS8] nothing is in doubt where all that lay with sockets was told of", () => {
    const channel = channelWith();
    const { connection } = subscribe(channel);
    channel.put(["a"]);
    channel.close(connection, true);
    channel.put(["b"]);

    channel.crash();

    expect(describeLeases(channel.pull({ max: 5 }))).toEqual([
      ["a", 1, true],
      ["b", 1, false],
    ]);
  });

  test("[LS8] a doubt ends when the head has passed it, and with a seek back", () => {
    const channel = channelWith({ retention: "log" });
    channel.apply({ type: "create-group", group: "default", settings: {}, start: { at: "first" } });
    subscribe(channel);
    channel.put(["a"]);
    channel.crash();
    channel.tick();
    expect(markOf(channel, 1)).toEqual({ connections: [], doubtBefore: 2 });
    channel.get();
    channel.apply({ type: "seek-group", group: "default", to: { at: "first" } });

    expect(markOf(channel, 1)).toBeUndefined();
    expect(describeLeases(channel.pull())).toEqual([["a", 1, false]]);
  });

  test("[G5] [LS8] after a crash a lost message goes before later ones of its key that are known", () => {
    const channel = channelWith({ delivery: { retryDelaysMs: [0] } });
    subscribe(channel, { messages: 2 });
    channel.putMessages(keyed("a", "b"));
    const [, second] = idsOf(takeFrames(channel));
    channel.settle({ retries: second === undefined ? [] : [second] });
    channel.crash();
    channel.tick();
    channel.evict();

    expect(describeLeases(channel.pull({ max: 9 }))).toEqual([
      ["a", 1, true],
      ["b", 2, true],
    ]);
  });

  test("[KO3] [LS8] what is stored of a connection ends with what was lost before it of its key", () => {
    Object.assign(LIMITS, { attachedLeasesBytesMax: 60 });
    const channel = channelWith();
    subscribe(channel);
    for (const message of keyed("a", "b", "c", "d", "e", "f", "g")) {
      channel.nowMs += 1;
      channel.putMessages([message]);
    }
    const frames = takeFrames(channel);
    expect([storedLeases(channel).length > 0, storedLeases(channel).includes(1)]).toEqual([true, false]);

    channel.crash();
    const last = idsOf(frames).at(-1);

    expect(channel.settle({ acks: last === undefined ? [] : [last] })).toMatchObject({
      refused: [{ refusal: { kind: "lease-lost", cause: "predecessor" } }],
    });
    expect(
      describeLeases(channel.pull({ max: 9 }))
        .map(([text]) => text)
        .join(""),
    ).toBe("abcdefg");
  });

  test("[KO5] [LS13] what the scan mark passes is stored, so that a crash leaves no message behind", () => {
    Object.assign(LIMITS, { scanMarkLagMax: 4 });
    const channel = channelWith();
    subscribe(channel);
    channel.put(["a", "b", "c"]);
    expect(storedLeases(channel)).toEqual([]);
    channel.put(["d", "e", "f"]);
    expect(storedLeases(channel)).toEqual([1, 2, 3, 4]);

    channel.crash();
    channel.tick(60_000);

    expect(
      describeLeases(channel.pull({ max: 9 }))
        .map(([text]) => text)
        .join(""),
    ).toBe("abcdef");
  });

  test("[SN1] a snapshot shows the leases of streams, and what is restored has them ended", () => {
    const channel = channelWith();
    subscribe(channel);
    channel.together(() => {
      channel.apply({ type: "begin-snapshot" });
      channel.put(["a"]);
    });

    expect([storedLeases(channel), markOf(channel)]).toEqual([[1], undefined]);
    channel.put(["b"]);
    expect(storedLeases(channel)).toEqual([1]);
  });

  test("[LS10] [GP4] purge, seek back and the end of a group end what lies with sockets", () => {
    const channel = channelWith();
    const { connection } = subscribe(channel);
    channel.put(["a"]);
    channel.apply({ type: "purge" });
    expect(channel.channel.leasesOf(connection)).toBeUndefined();
    expect(channel.describe()).toMatchObject({ delivery: { leased: 0 } });

    const log = channelWith({ retention: "log" });
    log.apply({ type: "create-group", group: "default", settings: {}, start: { at: "first" } });
    const member = subscribe(log, { messages: 2 });
    log.put(["a", "b"]);
    log.settle({ acks: idsOf(takeFrames(log)).slice(0, 1) });
    log.apply({ type: "seek-group", group: "default", to: { at: "first" } });
    expect(log.channel.leasesOf(member.connection)).toBeUndefined();
    log.apply({ type: "credit", request: 1, credit: { messages: 1, bytes: 0 } }, member);
    expect(describeGroup(log, "default").leased).toBe(1);
    log.apply({ type: "delete-group", group: "default" });
    expect(log.channel.leasesOf(member.connection)).toBeUndefined();
  });

  test("[RC6] a commit that fails leaves what sockets carry as it was", () => {
    const channel = channelWith();
    subscribe(channel);
    channel.put(["a"]);
    const acks = idsOf(takeFrames(channel));

    channel.failToCommit(() => channel.settle({ acks }));

    expect(channel.describe()).toMatchObject({ depth: 1, delivery: { leased: 1 } });
    expect(channel.settle({ acks })).toMatchObject({ counts: { ack: 1 } });
  });
});
