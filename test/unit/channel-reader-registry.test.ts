// Who reads and who puts, and from where. Rules RG of SPEC.md.
import { describe, expect, test } from "vitest";
import { Activity } from "../../src/channel/activity.ts";
import type { ListReadersOperation } from "../../src/channel/operation.ts";
import type { Place } from "../../src/protocol/place.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import { ChannelHarness, expectType, textMessage } from "./channel-harness.ts";
import { FIRST, LOG, MEMBER, subscribe } from "./channel-subscribers.ts";

const FRA: Place = { colo: "FRA", region: "weur", continent: "EU", country: "DE" };
const GRU: Place = { colo: "GRU", region: "sam", continent: "SA", country: "BR" };

function list(channel: ChannelHarness, query: Partial<ListReadersOperation> = {}) {
  return expectType(channel.apply({ type: "list-readers", limit: 100, ...query }), "readers");
}

/** A member that calls itself so, at a place. */
function join(channel: ChannelHarness, reader: string, place: Place | undefined, messages = 10) {
  const origin = subscribe(channel, { ...MEMBER, reader }, { messages });
  if (place !== undefined) channel.places.set(origin.connection, place);
  return origin;
}

describe("src/channel/reader-registry", () => {
  test("[RG1] a reader is known by id and colo, with place, credit, leases and rate", () => {
    const channel = new ChannelHarness({ settings: {} });
    join(channel, "worker", FRA);
    channel.put(["a", "b"]);
    const { readers, colos, next } = list(channel, { role: "reader" });
    expect(readers).toEqual([
      {
        id: "worker",
        role: "reader",
        kind: "member",
        group: "default",
        ...FRA,
        connections: 1,
        sinceMs: channel.nowMs,
        lastSeenMs: channel.nowMs,
        credit: 8,
        inFlight: 2,
        ratePerSecond: 0.69,
      },
    ]);
    expect(colos).toEqual([{ colo: "FRA", readers: 1, producers: 0 }]);
    expect(next).toBeNull();
  });

  test("[RG2] connections of one reader in one colo are one entry, a reader id used by two places at once is two", () => {
    const channel = new ChannelHarness({ settings: {} });
    join(channel, "worker", FRA);
    const second = join(channel, "worker", FRA);
    join(channel, "worker", GRU);
    const facts = () => list(channel).readers.map(({ id, colo, connections, credit }) => [id, colo, connections, credit]);
    expect(facts()).toEqual([
      ["worker", "FRA", 2, 20],
      ["worker", "GRU", 1, 10],
    ]);
    expect(list(channel).colos).toEqual([
      { colo: "FRA", readers: 1, producers: 0 },
      { colo: "GRU", readers: 1, producers: 0 },
    ]);
    channel.close(second.connection);
    expect(facts()).toEqual([
      ["worker", "FRA", 1, 10],
      ["worker", "GRU", 1, 10],
    ]);
  });

  test("[RG3] a pull is there while it waits and while its leases are left, and what is kept for who was cut off is nobody", () => {
    const channel = new ChannelHarness({ settings: {} });
    const origin = { connection: channel.connect(), request: 1 };
    channel.places.set(origin.connection, GRU);
    const lease = { leaseMs: 30_000, isDetached: true, reader: "puller" };
    channel.apply({ type: "get", max: 5, waitMs: 60_000, lease }, origin);
    expect(list(channel).readers).toMatchObject([{ id: "puller", kind: "pull", colo: "GRU", credit: 5, inFlight: 0 }]);
    channel.put(["a"]);
    channel.close(origin.connection);
    expect(list(channel).readers).toMatchObject([{ id: "puller", kind: "pull", colo: "GRU", connections: 0, inFlight: 1 }]);
    channel.nowMs += 30_000;
    expect(list(channel).readers).toEqual([]);
    const { connection } = join(channel, "cut", FRA);
    channel.put(["b"]);
    channel.close(connection, false);
    expect(list(channel).readers).toEqual([]);
  });

  test("[RG1] producers are known by their ids or connections, and without a connection by the way they came", () => {
    const channel = new ChannelHarness({ settings: {} });
    const origin = { connection: channel.connect(), request: 1 };
    channel.places.set(origin.connection, FRA);
    const producer = { id: "shop", epoch: 0, seq: 1 };
    channel.apply({ type: "put", messages: [textMessage("a")], source: "sFRA" }, origin);
    channel.apply({ type: "put", messages: [textMessage("b")], source: "hGRU", producer });
    channel.apply({ type: "put", messages: [textMessage("c")], source: "h" });
    const names = () => list(channel, { role: "producer" }).readers.map(({ id, kind, colo, region }) => [id, kind, colo, region]);
    expect(names()).toEqual([
      ["shop", "http", "GRU", "sam"],
      [`~${origin.connection}`, "socket", "FRA", "weur"],
      ["~http", "http", null, null],
    ]);
    channel.close(origin.connection);
    channel.nowMs += LIMITS.producerSeenMs;
    expect(names()).toEqual([]);
  });

  test("[RG4] readers are found again after hibernation, [RG5] times and rates begin anew", () => {
    const channel = new ChannelHarness({ settings: {} });
    join(channel, "worker", FRA);
    channel.put(["a"]);
    channel.evict();
    const { readers } = list(channel);
    expect(readers).toMatchObject([
      { id: "worker", ...FRA, credit: 9, inFlight: 1, sinceMs: null, lastSeenMs: null, ratePerSecond: 0 },
    ]);
    expect(channel.changes).toBeUndefined();
  });

  test("[RG4] one that joins and leaves a thousand times leaves nothing, and no row", () => {
    const channel = new ChannelHarness({ settings: {} });
    for (let times = 0; times < 1000; times++) {
      channel.close(join(channel, "hasty", FRA).connection);
      expect(channel.changes).toBeUndefined();
    }
    expect(list(channel)).toMatchObject({ readers: [], colos: [] });
  });

  test("[RG5] of producers without a connection the one that was longest idle is forgotten: the memory is bounded", () => {
    const activity = new Activity({ isConnected: () => true, placeOf: () => undefined });
    const put = (id: string): void => {
      const producer = { id, epoch: 1, seq: 1 };
      activity.note({ type: "put", messages: [], source: "h", producer }, { type: "put", offset: 1, count: 0 }, undefined);
    };
    for (let index = 0; index < LIMITS.seenReadersMax; index++) put(`p${index}`);
    for (const id of ["p0", "another"]) put(id);
    const ids = activity.called(0).map(({ source }) => source.producer);

    expect(ids).toHaveLength(LIMITS.seenReadersMax);
    expect([ids.includes("p0"), ids.includes("p1"), ids.at(-1)]).toEqual([true, false, "another"]);
  });

  test("[RG7] who only watches is not listed", () => {
    const channel = new ChannelHarness({ settings: {} });
    channel.apply({ type: "presence" }, { connection: channel.connect(FRA), request: 1 });

    expect(list(channel)).toMatchObject({ readers: [], colos: [] });
  });

  test("[RG6] the list comes in pages, and counts all that the filter lets through", () => {
    const channel = new ChannelHarness({ settings: LOG });
    const origins = Array.from({ length: 7 }, () => subscribe(channel, FIRST));
    for (const [index, { connection }] of origins.entries()) channel.places.set(connection, index < 3 ? FRA : GRU);
    const seen: string[] = [];
    let after = "";
    for (let pages = 0; pages < 4; pages++) {
      const page = list(channel, { limit: 2, after });
      expect(page.colos).toEqual([
        { colo: "FRA", readers: 3, producers: 0 },
        { colo: "GRU", readers: 4, producers: 0 },
      ]);
      seen.push(...page.readers.map(({ id }) => id));
      if (page.next === null) break;
      after = page.next;
    }
    expect(seen).toEqual(origins.map(({ connection }) => `~${connection}`).sort());
    expect(list(channel, { limit: 7 }).next).toBeNull();
    expect(list(channel, { colo: "FRA" }).readers).toHaveLength(3);
    expect(list(channel, { role: "producer" }).readers).toEqual([]);
    expect(list(channel, { group: "none" }).readers).toEqual([]);
  });
});
