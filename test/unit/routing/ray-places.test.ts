// Ray's cases about where readers are and what keys they own: R17 to R29, R48 to R50 (test_pow_2_request_router.py of Ray 2.58; see ray.ts).
// Ray has nine tests of multiplexing under the eight numbers R22 to R29: two are R27 here.
import { afterEach, describe, expect, test } from "vitest";
import { ELSEWHERE, HERE, PREFERENCES, Ray, SAME_ZONE, SLOTS } from "./ray.ts";

const played: Ray[] = [];

function play(...args: ConstructorParameters<typeof Ray>): Ray {
  const ray = new Ray(...args);
  played.push(ray);
  return ray;
}

function expectNothingPending(): void {
  for (const { dispatcher, nowMs } of played.splice(0)) {
    expect([dispatcher.waiting, dispatcher.looksMax]).toEqual([0, 0]);
    expect(dispatcher.turn(nowMs)).toMatchObject({ sent: [], fruitless: 0, isCut: false });
  }
}

const all = (id: string, count = 10): readonly string[] => Array.from({ length: count }, () => id);

function joinThree(ray: Ray): void {
  ray.join("r1", SLOTS, HERE);
  ray.join("r2", SLOTS, SAME_ZONE);
  ray.join("r3", SLOTS, ELSEWHERE);
}

/** The readers of Ray's tests of ranks, in the order in which messages go to them when each in its turn is full. */
function rank(ray: Ray, given: object = {}): readonly string[] {
  const order: string[] = [];
  for (let chosen = ray.choose(given, true); chosen !== "waiting"; chosen = ray.choose(given, true)) order.push(chosen);
  ray.dispatcher.cancel({ id: `m${order.length + 1}`, origin: HERE, createdMs: 0, ...given });
  return order;
}

describe("Ray's request router", () => {
  afterEach(expectNothingPending);

  test.each(PREFERENCES.slice(0, 2))(
    "[ray:R17] $name: the reader in the same colo gets all, and the other where it is full",
    ({ areas }) => {
      const ray = play(areas);
      ray.join("r1", SLOTS, HERE);
      ray.join("r2", SLOTS, ELSEWHERE);

      expect(ray.chooseMany(10)).toEqual(all("r1"));
      ray.join("r1", 0);
      expect(ray.chooseMany(10)).toEqual(all("r2"));
    },
  );

  test("[ray:R18] the same colo, then the same region, then anybody", () => {
    const ray = play(["colo", "region"]);
    joinThree(ray);

    expect(ray.chooseMany(10)).toEqual(all("r1"));
    ray.join("r1", 0);
    expect(ray.chooseMany(10)).toEqual(all("r2"));
    ray.join("r2", 0);
    expect(ray.chooseMany(10)).toEqual(all("r3"));
  });

  test("[ray:R19] without a preference messages go everywhere", () => {
    const ray = play([]);
    joinThree(ray);

    expect(new Set(ray.chooseMany(100))).toEqual(new Set(["r1", "r2", "r3"]));
    ray.join("r1", 0);
    expect(new Set(ray.chooseMany(100))).toEqual(new Set(["r2", "r3"]));
  });

  test("[ray:R20] the same region without the same colo: both readers there, then the one that is left, then the other", () => {
    const ray = play(["region"]);
    joinThree(ray);

    expect(new Set(ray.chooseMany(50))).toEqual(new Set(["r1", "r2"]));
    ray.join("r2", 0);
    expect(ray.chooseMany(10)).toEqual(all("r1"));
    ray.join("r1", 0);
    expect(ray.chooseMany(10)).toEqual(all("r3"));
  });

  test("[ray:R21] the same colo without the same region: when it is full, all others alike", () => {
    const ray = play(["colo"]);
    joinThree(ray);

    expect(ray.chooseMany(10)).toEqual(all("r1"));
    ray.join("r1", 0);
    expect(new Set(ray.chooseMany(50))).toEqual(new Set(["r2", "r3"]));
  });

  test("[ray:R48] readers are ranked by colo, region, rest", () => {
    const ray = play(["colo", "region"]);
    ray.join("r3", 1, ELSEWHERE);
    ray.join("r1", 1, HERE);
    ray.join("r2", 1, SAME_ZONE);

    expect(rank(ray)).toEqual(["r1", "r2", "r3"]);
  });

  // Ray: a broadcast says which models a replica has. Here ownership follows what is sent, and a change of counts keeps it.
  test("[ray:R49] when a reader is told of anew, its keys are the current ones", () => {
    const ray = play([]);
    ray.joinOwning("r1", SLOTS, ["m1"]);
    const owned = (): unknown => ["m1", "m2"].map((key) => ray.dispatcher.table.ownerOf(key)?.id);

    expect(owned()).toEqual(["r1", undefined]);
    ray.choose({ key: "m2" });
    ray.join("r1", 3);
    expect(owned()).toEqual(["r1", "r1"]);
    expect(ray.dispatcher.table.find("r1")?.keys).toEqual(new Set(["m1", "m2"]));
  });

  // A second message of the key would go to whoever got the first: each rank is looked at with nothing sent.
  test("[ray:R50] readers are ranked: who owns the key, who owns few, who owns more", () => {
    const order = [[], ["r1"], ["r1", "r3"]].map((full) => {
      const ray = play([]);
      ray.joinOwning("r2", 1, ["m2", "m3"]);
      ray.joinOwning("r1", 1, ["m1", "m4"]);
      ray.joinOwning("r3", 1, []);
      for (const id of full) ray.join(id, 0);
      return ray.choose({ key: "m1" });
    });

    expect(order).toEqual(["r1", "r3", "r2"]);
  });
});

// A model may be on many replicas; a key has one owner, as its messages are in order.
describe.each(PREFERENCES)("Ray's multiplexing, $name", ({ areas }) => {
  afterEach(expectNothingPending);

  test("[ray:R22] who owns the key is always chosen, whatever it holds", () => {
    const ray = play(areas);
    ray.join("r1");
    for (let held = 0; held < SLOTS - 1; held++) ray.choose({}, true);
    ray.joinOwning("r2", SLOTS, ["m3"]);
    ray.join("r3");
    ray.dispatcher.table.sent("r1", "m2", 0);
    ray.join("r1");

    expect(ray.chooseMany(10, { key: "m2" })).toEqual(all("r1"));
  });

  test("[ray:R23] where nobody owns the key, who owns the fewest", () => {
    for (let seed = 1; seed <= 10; seed++) {
      const ray = play(areas, {}, {}, seed);
      ray.joinOwning("r1", SLOTS, ["m1", "m2"]);
      ray.joinOwning("r2", SLOTS, ["m4"]);

      expect(ray.choose({ key: "m3" })).toBe("r2");
    }
  });

  test("[ray:R24] where who owns the fewest is full, the others", () => {
    const ray = play(areas);
    ray.joinOwning("r1", SLOTS, ["m1", "m2"]);
    ray.joinOwning("r2", 0, ["m4"]);

    expect(ray.chooseMany(10, { key: "m3" })).toEqual(all("r1"));
  });

  test("[ray:R25] where nobody owns anything, anybody", () => {
    const ray = play(areas);
    ray.join("r1");

    expect(ray.chooseMany(10, { key: "m1" })).toEqual(all("r1"));
  });

  test("[ray:R26] where the owner is full, one that owns nothing", () => {
    const ray = play(areas);
    ray.joinOwning("r1", 0, ["m1", "m2"]);
    ray.joinOwning("r2", 0, ["m3"]);
    ray.join("r3");

    expect(ray.chooseMany(10, { key: "m2" })).toEqual(all("r3"));
  });

  test("[ray:R27] messages of several keys go to the owner of each", () => {
    const ray = play(areas);
    for (const index of [1, 2, 3]) ray.joinOwning(`r${index}`, SLOTS, [`m${index}`]);

    for (let round = 0; round < 10; round++) {
      expect([1, 2, 3, 1, 2, 3].map((index) => ray.choose({ key: `m${index}` }))).toEqual(["r1", "r2", "r3", "r1", "r2", "r3"]);
    }
  });

  test("[ray:R27] no_replicas_available_then_choose_one_with_id: a hundred that wait go to the owner that comes", () => {
    const ray = play(areas);
    ray.join("r1", 0);
    const ids = Array.from({ length: 100 }, () => ray.putWaiting({ key: "m1" }).id);
    ray.join("r2", 0);
    ray.joinOwning("r3", 100, ["m1"]);

    expect(ray.run()).toEqual(ids.map((id) => `${id} to r3`));
  });

  test("[ray:R28] the messages of each key go out in their order", () => {
    const ray = play(areas);
    const ids = Array.from({ length: 10 }, () => [ray.putWaiting({ key: "m1" }).id, ray.putWaiting({ key: "m2" }).id] as const);
    ray.joinOwning("r1", 1, ["m1"]);
    ray.joinOwning("r2", 1, ["m2"]);

    for (const [first, second] of ids) {
      expect(ray.run()).toEqual([`${first} to r1`, `${second} to r2`]);
      for (const id of [first, second]) ray.dispatcher.settle(id);
    }
  });

  test("[ray:R29] while the owner is full a hundred go to the others at once", () => {
    const ray = play(areas);
    ray.joinOwning("r1", 0, ["m1"]);
    for (const id of ["r2", "r3"]) ray.join(id, 60);
    const chosen = Array.from({ length: 100 }, () => ray.choose({ key: "m1" }, true));

    expect(new Set(chosen)).toEqual(new Set(["r2", "r3"]));
  });
});
