// Which reader a message goes to: keys, tiers, waiting (SPEC LR1 to LR6, LR12).
import { describe, expect, test } from "vitest";
import { LIMITS } from "../../../src/protocol/limits.ts";
import { RoutingTable } from "../../../src/channel/routing/routing-table.ts";
import { draws, LONDON, PARIS, reader, Router, tableOf, TOKYO, WARSAW } from "./table.ts";

function routerOf(readers: Parameters<typeof tableOf>[1], ...rest: [settings?: object, seed?: number]): Router {
  return new Router(tableOf(new RoutingTable(), readers), ...rest);
}

/** What makes a pause the longest that it can be. */
const longest = (): number => 2 ** 32 - 1;

const WAIT = { type: "wait", untilMs: undefined };

describe("src/channel/routing/route", () => {
  test("[LR1] of n messages for readers with m credits exactly n - m wait", () => {
    const router = routerOf([reader("a", LONDON, { credit: 3 }), reader("b", TOKYO, { credit: 4 }), reader("c")], {
      locality: "none",
    });
    for (let sent = 0; sent < 17; sent++) router.send();

    expect(router.decide()).toEqual(WAIT);
    router.table.set(reader("a", LONDON, { credit: 1, outstanding: 2 }));
    expect(router.send()).toMatchObject({ reader: "a", load: 2, candidates: 1 });
    expect(router.decide()).toEqual(WAIT);
  });

  test("[LR1] a table without readers waits for one", () => {
    const router = routerOf([]);

    expect(router.decide({ key: "k", origin: LONDON })).toEqual(WAIT);
    router.table.set(reader("a"));
    expect(router.decide({ key: "k", origin: LONDON })).toMatchObject({ reader: "a", tier: "any", reason: "fewest-keys" });
  });

  test("[LR2] the holder of a key alone gets what is of it, though it owns nothing and is far away; busy or unknown it is waited for", () => {
    const router = routerOf([reader("near", LONDON), reader("far", TOKYO, { credit: 1, outstanding: 9 })]);
    const request = { origin: LONDON, key: "k", holder: "far", nowMs: 1000 };

    expect(router.send(request)).toEqual({
      type: "to",
      reader: "far",
      tier: "key",
      reason: "holds-key",
      candidates: 1,
      load: 9,
    });
    expect(router.decide(request)).toEqual(WAIT);
    expect(router.decide({ ...request, holder: "gone" })).toEqual(WAIT);
  });

  test("[LR3] who owns the key gets it, wherever it is; busy, those nearby that own the fewest keys", () => {
    const router = routerOf([reader("far", TOKYO, { credit: 2 })]);
    router.send({ origin: LONDON, key: "k" });
    for (const id of ["a", "b"]) router.table.set(reader(id, LONDON));
    router.table.sent("a", "other", 0);

    expect(router.send({ origin: LONDON, key: "k" })).toMatchObject({ reader: "far", tier: "key", reason: "owns-key", load: 1 });
    expect(router.send({ origin: LONDON, key: "k" })).toMatchObject({
      reader: "b",
      tier: "colo",
      reason: "fewest-keys",
      candidates: 1,
    });
    router.table.set(reader("far", TOKYO));
    // It was given the last one.
    expect(router.decide({ origin: LONDON, key: "k" })).toMatchObject({ reader: "b", reason: "owns-key" });
  });

  test("[LR4] a key passes when its owner leaves, and when nothing of it came for a time", () => {
    const router = routerOf([reader("a", LONDON)]);
    router.send({ key: "k" });
    router.table.set(reader("b", LONDON));
    const owner = (nowMs: number): unknown => {
      router.table.advance(nowMs);
      return router.table.ownerOf("k")?.id;
    };

    expect([owner(0), owner(LIMITS.ownedKeyIdleMs - 1), owner(LIMITS.ownedKeyIdleMs)]).toEqual(["a", "a", undefined]);
    router.table.sent("a", "k", 7);
    router.table.remove("a");
    expect([router.table.ownerOf("k"), router.table.ownedKeys]).toEqual([undefined, 0]);
    // Who comes back under its name begins anew.
    router.table.set(reader("a", LONDON));
    expect(router.table.ownerOf("k")).toBeUndefined();
  });

  test("[LR4] so many keys have owners at most: the longest unused goes", () => {
    const table = tableOf(new RoutingTable({ keysMax: 3, idleMs: 1000 }), [reader("a"), reader("b")]);
    for (const key of ["1", "2", "3", "1", "4"]) table.sent("a", key, 0);

    expect(["1", "2", "3", "4"].map((key) => table.ownerOf(key)?.id)).toEqual(["a", undefined, "a", "a"]);
    expect([table.ownedKeys, table.find("a")?.keys.size]).toEqual([3, 3]);
  });

  test.each([
    [LONDON, "colo", "london"],
    [PARIS, "region", "london"],
    [WARSAW, "continent", "london"],
    [TOKYO, "any", "nowhere or london"],
    [undefined, "any", "nowhere or london"],
  ] as const)("[LR5] from %j the tier is %s", (origin, tier, who) => {
    const router = routerOf([reader("london", LONDON), reader("nowhere")]);

    expect(router.decide({ origin })).toMatchObject({ tier });
    expect([...router.count(100, { origin }).keys()].every((id) => who.includes(id))).toBe(true);
  });

  test("[LR5] without locality anybody is the only tier, and nothing is waited for", () => {
    const router = routerOf([reader("near", LONDON, { credit: 0 }), reader("far", TOKYO)], { locality: "none" });

    expect(router.decide({ origin: LONDON })).toMatchObject({ reader: "far", tier: "any" });
  });

  test("[LR6] a busy tier is passed when its time is over and not before; then the nearest counts that has somebody", () => {
    const router = routerOf([reader("a", LONDON, { credit: 0 }), reader("b", PARIS, { credit: 0 }), reader("c", WARSAW)]);
    router.table.set(reader("d", TOKYO));
    const at = (nowMs: number): unknown => router.decide({ origin: LONDON, availableSinceMs: 100, nowMs });

    expect([at(100), at(119)]).toEqual(Array.from({ length: 2 }, () => ({ type: "wait", untilMs: 120 })));
    expect(at(120)).toMatchObject({ reader: "c", tier: "continent" });
    router.table.set(reader("a", LONDON, { credit: 1 }));
    expect([at(119), at(9999)]).toMatchObject([
      { reader: "a", tier: "colo" },
      { reader: "a", tier: "colo" },
    ]);
  });

  test("[LR6] a tier without readers is passed at once, and so is one whose only reader stops", () => {
    const router = routerOf([reader("a", LONDON, { credit: 0 }), reader("c", WARSAW)]);

    expect(router.decide({ origin: PARIS })).toEqual({ type: "wait", untilMs: 20 });
    router.table.remove("a");
    expect(router.decide({ origin: PARIS })).toMatchObject({ reader: "c", tier: "continent" });
  });

  test("[LR6] more messages than the depth are not held back, and a clock that was set back holds nothing up", () => {
    const router = routerOf([reader("a", LONDON, { credit: 0 }), reader("b", TOKYO)]);

    expect(router.decide({ origin: LONDON, depth: 1000 })).toEqual({ type: "wait", untilMs: 20 });
    expect(router.decide({ origin: LONDON, depth: 1001 })).toMatchObject({ reader: "b", tier: "any" });
    expect(router.decide({ origin: LONDON, availableSinceMs: 5000 })).toMatchObject({ reader: "b", tier: "any" });
  });

  test("[LR6] a wait ends with the first pause of a reader, or when the tier may be passed", () => {
    const router = routerOf([reader("a", LONDON), reader("b", TOKYO)]);
    for (let refusal = 0; refusal < 2; refusal++) router.table.pause("a", 0, longest);

    expect(router.decide({ origin: LONDON })).toEqual({ type: "wait", untilMs: 20 });
    expect(router.decide({ origin: LONDON, availableSinceMs: 15, nowMs: 15 })).toEqual({ type: "wait", untilMs: 25 });
    router.table.remove("b");
    expect(router.decide({ origin: LONDON })).toEqual({ type: "wait", untilMs: 25 });
    expect(router.decide({ origin: LONDON, nowMs: 25 })).toMatchObject({ reader: "a" });
  });

  test("[LR5] a reader that moves is found where it is, with its keys", () => {
    const router = routerOf([reader("a", LONDON), reader("b", PARIS)]);
    router.send({ origin: LONDON, key: "k" });
    router.table.set(reader("a", TOKYO));

    expect(router.decide({ origin: LONDON })).toMatchObject({ reader: "b", tier: "region" });
    expect(router.decide({ origin: TOKYO })).toMatchObject({ reader: "a", tier: "colo" });
    expect(router.decide({ key: "k" })).toMatchObject({ reader: "a", reason: "owns-key" });
  });

  test("[LR1] counts that are none are a fault of the caller, and sending without credit too", () => {
    const table = tableOf(new RoutingTable(), [reader("a", undefined, { credit: 0 })]);

    for (const counts of [{ credit: -1 }, { outstanding: 0.5 }, { credit: Number.NaN }]) {
      expect(() => table.set(reader("b", LONDON, counts))).toThrow(/whole numbers/u);
    }
    for (const id of ["a", "nobody"]) expect(() => table.sent(id, undefined, 0)).toThrow(/without credit/u);
    expect([table.size, table.free]).toEqual([1, 0]);
  });

  test("[LR11] who is not there is not paused, and leaving twice is leaving", () => {
    const table = new RoutingTable();
    table.pause("nobody", 0, draws());
    table.accepted("nobody");
    table.remove("nobody");

    expect([table.size, table.nextPauseEndMs]).toEqual([0, undefined]);
  });
});
