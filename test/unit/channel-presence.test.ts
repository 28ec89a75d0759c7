// Connections that watch which readers there are. Rules RG7 to RG11 of src/channel/SPEC.md.
import { describe, expect, test } from "vitest";
import type { Origin, Outcome } from "../../src/channel/operation.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import type { Place } from "../../src/protocol/place.ts";
import { type ChannelHarness, kindOf, refusalOf } from "./channel-harness.ts";
import { channelWith, creditOf, FIRST, LOG, MEMBER } from "./channel-subscribers.ts";

const FRA: Place = { colo: "FRA", region: "weur", continent: "EU", country: "DE" };
const GRU: Place = { colo: "GRU", region: "sam", continent: "SA", country: "BR" };

function watch(channel: ChannelHarness): Origin {
  const origin = { connection: channel.connect(), request: 1 };
  expect(channel.apply({ type: "presence" }, origin).type).toBe("present");
  return origin;
}

/** A member that calls itself so. */
function join(channel: ChannelHarness, reader: string, place: Place | null = FRA, request = 1): Origin {
  const origin = { connection: channel.connect(place ?? undefined), request };
  channel.apply({ type: "subscribe", target: { ...MEMBER, reader }, credit: creditOf({}) }, origin);
  return origin;
}

function leave(channel: ChannelHarness, { connection, request }: Origin): Outcome {
  return channel.apply({ type: "unsubscribe", request }, { connection, request: 99 });
}

/** What watches were told since the last look: changes as `join a FRA`, or how many are there. */
function told(channel: ChannelHarness): unknown[] {
  return channel.takeAnswers().flatMap(({ outcome }): unknown[] => {
    if (outcome.type === "presence")
      return [outcome.changes.map(({ change, reader, colo }) => `${change} ${reader} ${colo ?? "?"}`)];
    if (outcome.type === "present") return [outcome.readers];
    return outcome.type === "ended" ? [`ended ${outcome.refusal?.kind ?? ""}`] : [];
  });
}

describe("src/channel/presence", () => {
  test("[RG7] who watches is told at once how many readers there are, by colo, each id of a colo once", () => {
    const channel = channelWith();
    for (const [reader, place] of [
      ["a", FRA],
      ["a", FRA],
      ["b", FRA],
      ["a", GRU],
    ] as const)
      join(channel, reader, place);
    join(channel, "c", null);
    channel.get({ waitMs: 1000 }, { connection: channel.connect(GRU), request: 1 });

    expect(channel.apply({ type: "presence" }, { connection: channel.connect(), request: 1 })).toEqual({
      type: "present",
      readers: 5,
      colos: [
        { colo: "FRA", readers: 2 },
        { colo: "GRU", readers: 2 },
        { colo: null, readers: 1 },
      ],
    });
  });

  test("[RG7] a colo that everybody left is not told any more", () => {
    const channel = channelWith();
    watch(channel);
    const left = join(channel, "a", GRU);
    join(channel, "b", FRA);
    channel.close(left.connection);

    expect(channel.apply({ type: "presence" }, { connection: channel.connect(), request: 1 })).toEqual({
      type: "present",
      readers: 1,
      colos: [{ colo: "FRA", readers: 1 }],
    });
  });

  test("[RG7] producers and those who watch are no readers", () => {
    const channel = channelWith();
    watch(channel);
    channel.put(["x"], { origin: { connection: channel.connect(FRA), request: 1 } });
    channel.apply({ type: "watch" }, { connection: channel.connect(FRA), request: 1 });
    watch(channel);

    expect(told(channel)).toEqual([]);
  });

  test("[RG8] joins and leaves are told with the commit that makes them, the last of several connections counts", () => {
    const channel = channelWith();
    watch(channel);
    const first = join(channel, "a");
    const second = join(channel, "a");
    join(channel, "a", GRU);
    channel.close(first.connection);
    leave(channel, second);
    expect(told(channel)).toEqual([["join a FRA"], ["join a GRU"], ["leave a FRA"]]);

    channel.together(() => {
      join(channel, "b");
      join(channel, "c", GRU);
    });
    expect(told(channel)).toEqual([["join b FRA", "join c GRU"]]);
  });

  test("[RG8] plain readers and gets that wait are there; what is served goes", () => {
    const channel = channelWith(LOG);
    watch(channel);
    const reader = { connection: channel.connect(FRA), request: 1 };
    channel.apply({ type: "subscribe", target: FIRST, credit: creditOf({}) }, reader);
    channel.put(["x"]);
    channel.close(reader.connection);
    const queue = channelWith();
    watch(queue);
    const getter = queue.connect(GRU);
    queue.get({ waitMs: 1000 }, { connection: getter, request: 1 });
    queue.put(["x"]);

    expect(told(channel)).toEqual([[`join ~${reader.connection} FRA`], [`leave ~${reader.connection} FRA`]]);
    expect(told(queue)).toEqual([[`join ~${getter} GRU`], [`leave ~${getter} GRU`]]);
  });

  test("[RG8] a pull is there while it holds leases: it leaves by its last ack, and expires by its deadline", () => {
    const channel = channelWith();
    channel.put(["1", "2", "3"]);
    watch(channel);
    const pull = (max: number): Outcome =>
      channel.apply({ type: "get", max, lease: { leaseMs: 5000, isDetached: true, reader: "p" }, place: GRU });
    const pulled = pull(2);
    const leaseIds = pulled.type === "got" ? (pulled.granted?.leaseIds ?? []) : [];
    for (const leaseId of leaseIds) channel.settle({ acks: [{ leaseId }] });
    expect(told(channel)).toEqual([["join p GRU"], ["leave p GRU"]]);

    pull(1);
    channel.tick(5000);
    expect(told(channel)).toEqual([["join p GRU"], ["expiry p GRU"]]);
  });

  test("[RG8] while somebody watches the alarm is set for the next lease that ends, though nobody waits for its message", () => {
    const channel = channelWith();
    channel.put(["1"]);
    channel.pull({ leaseMs: 5000 });
    expect(channel.channel.nextServiceAtMs).toBeUndefined();
    const origin = watch(channel);
    expect(channel.channel.nextServiceAtMs).toBe(channel.nowMs + 5000);
    channel.evict();
    expect(channel.channel.nextServiceAtMs).toBe(channel.nowMs + 5000);
    channel.close(origin.connection);
    expect(channel.channel.nextServiceAtMs).toBeUndefined();
  });

  test("[RG8] a member that is cut off leaves, though its leases are kept for a while", () => {
    const channel = channelWith();
    watch(channel);
    const member = join(channel, "a");
    channel.put(["x"]);
    channel.close(member.connection, false);
    channel.tick(LIMITS.resumeGraceMs);

    expect(told(channel)).toEqual([["join a FRA"], ["leave a FRA"]]);
  });

  test("[RG8] leases end with their group, and with what is purged: their readers leave", () => {
    const channel = channelWith(LOG);
    channel.apply({ type: "create-group", group: "g", settings: {} });
    channel.put(["1", "2"]);
    watch(channel);
    channel.apply({ type: "get", group: "g", lease: { leaseMs: 5000, isDetached: true, reader: "p" } });
    channel.apply({ type: "delete-group", group: "g" });
    expect(told(channel)).toEqual([["join p ?"], ["leave p ?"]]);

    const queue = channelWith();
    queue.put(["1"]);
    watch(queue);
    queue.pull({ leaseMs: 5000 });
    queue.apply({ type: "purge" });
    expect(
      told(queue)
        .flat()
        .map((text) => String(text).split(" ")[0]),
    ).toEqual(["join", "leave"]);
  });

  test("[RG9] who comes and goes within a commit is not told of, and leaves nothing behind", () => {
    const channel = channelWith();
    watch(channel);
    const there = join(channel, "b");
    told(channel);
    channel.together(() => {
      for (let round = 0; round < 1000; round++) channel.close(join(channel, "a").connection);
      leave(channel, there);
      join(channel, "b");
    });

    expect(told(channel)).toEqual([]);
    expect(channel.changes).toBeUndefined();
  });

  test("[RG9] of more changes than presenceChangesMax only the counts are told", () => {
    const channel = channelWith();
    watch(channel);
    const joinMany = (name: string, count: number): void =>
      channel.together(() => {
        for (let index = 0; index < count; index++) join(channel, `${name}${index}`);
      });
    joinMany("a", LIMITS.presenceChangesMax);
    joinMany("b", LIMITS.presenceChangesMax + 1);

    const [first, second] = told(channel);
    expect(first).toHaveLength(LIMITS.presenceChangesMax);
    expect(second).toBe(2 * LIMITS.presenceChangesMax + 1);
  });

  test("[RG10] a watch survives hibernation: what changes after it is told, and what was missed by the counts", () => {
    const channel = channelWith();
    const origin = watch(channel);
    const member = join(channel, "a");
    told(channel);
    channel.evict();
    join(channel, "b");
    expect(told(channel)).toEqual([["join b FRA"]]);
    channel.cut(member.connection);
    channel.evict();
    channel.put(["x"]);
    expect(told(channel)).toEqual([1]);
    channel.put(["x"]);
    expect(told(channel)).toEqual([]);
    expect(channel.channel.subscriptionsOf(origin.connection)).toMatchObject([{ type: "presence", ...origin }]);
  });

  test("[RG10] [RC6] what a failed commit would have told is not told", () => {
    const channel = channelWith();
    watch(channel);
    channel.failToCommit(() => channel.apply({ type: "create-group", group: "g", settings: {} }));
    join(channel, "a");

    expect(told(channel)).toEqual([["join a FRA"]]);
  });

  test("[RG8] [RC6] who joins while operations are applied again after a failure is told with the next commit", () => {
    const channel = channelWith();
    watch(channel);
    const origin = { connection: channel.connect(FRA), request: 1 };
    const operation = { type: "subscribe", target: { ...MEMBER, reader: "a" }, credit: creditOf({}) } as const;
    channel.channel.apply(operation, { ...channel.moment, isRecovering: true }, origin);
    channel.channel.takeChangedConnections();
    expect(channel.channel.takeEffects()).toEqual([]);
    join(channel, "b", GRU);

    expect(told(channel)).toEqual([["join a FRA", "join b GRU"]]);
  });

  test("[RG10] [LC6] watching writes nothing, and a channel that is watched is not idle", () => {
    const channel = channelWith({ expireAfterIdleMs: 60_000 });
    const origin = watch(channel);
    expect(channel.changes).toBeUndefined();
    channel.tick(61_000);
    expect(channel.describe().state).toBe("open");
    channel.close(origin.connection);
    channel.tick(61_000);
    expect(kindOf(channel.apply({ type: "describe" }))).toBe("unknown-channel");
  });

  test("[RG11] a connection watches once, under an id that nothing else has", () => {
    const channel = channelWith();
    const first = watch(channel);

    expect(refusalOf(channel.apply({ type: "presence" }, { ...first, request: 9 }))).toEqual({ kind: "request-in-use", id: 1 });
    expect(refusalOf(channel.apply({ type: "watch" }, first))).toEqual({ kind: "request-in-use", id: 1 });
    expect(channel.apply({ type: "watch" }, { ...first, request: 2 }).type).toBe("pressure");
    expect(kindOf(channel.apply({ type: "credit", request: 1, credit: creditOf({}) }, { ...first, request: 3 }))).toBe(
      "unknown-subscription",
    );
    expect(kindOf(channel.apply({ type: "presence" }))).toBe("invalid-request");
  });

  test("[RG11] a watch ends by unsubscribing, with its connection, and when nothing can be read any more", () => {
    const channel = channelWith();
    const [first, second] = [watch(channel), watch(channel), watch(channel)];
    expect(leave(channel, first)).toEqual({ type: "ended" });
    channel.close(second.connection);
    join(channel, "a");
    expect(told(channel)).toEqual([["join a FRA"]]);
    channel.patch({ state: "closed" });
    expect(told(channel).filter((text) => typeof text === "string")).toContain("ended channel-closed");
    expect(kindOf(channel.apply({ type: "presence" }, first))).toBe("channel-closed");
  });
});
