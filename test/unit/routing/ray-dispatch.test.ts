// Ray's cases about messages that wait: R1 to R16, R43 to R46, R51 and R52 (test_pow_2_request_router.py of Ray 2.58; see ray.ts).
import { afterEach, describe, expect, test } from "vitest";
import { BACK_OFF, computePause, pauseStep } from "../../../src/channel/routing/back-off.ts";
import { answerDeadline } from "../../../src/channel/routing/load-guesser.ts";
import type { Area } from "../../../src/channel/routing/routing-settings.ts";
import { ELSEWHERE, HERE, PREFERENCES, Ray, SAME_ZONE, SLOTS } from "./ray.ts";
import { Random } from "../../simulation/random.ts";

const played: Ray[] = [];

function play(...args: ConstructorParameters<typeof Ray>): Ray {
  const ray = new Ray(...args);
  played.push(ray);
  return ray;
}

/** Each of Ray's tests ends so: nothing waits, and a further look finds nothing to do. */
function expectNothingPending(): void {
  for (const { dispatcher, nowMs } of played.splice(0)) {
    expect([dispatcher.waiting, dispatcher.looksMax]).toEqual([0, 0]);
    expect(dispatcher.turn(nowMs)).toMatchObject({ sent: [], fruitless: 0, isCut: false });
  }
}

function shuffle<Item>(items: readonly Item[], random: Random): readonly Item[] {
  return items
    .map((item) => [random.draw32(), item] as const)
    .toSorted(([a], [b]) => a - b)
    .map(([, item]) => item);
}

describe.each(PREFERENCES)("Ray's request router, $name", ({ areas }) => {
  afterEach(expectNothingPending);

  test("[ray:R1] with no reader a message waits; it goes to the first that comes", () => {
    const ray = play(areas);
    const { id } = ray.putWaiting();

    ray.join("r1");
    expect(ray.run()).toEqual([`${id} to r1`]);
  });

  test("[ray:R2] a reader without credit gets nothing, until it has some", () => {
    const ray = play(areas);
    ray.join("r1", 0);
    const { id } = ray.putWaiting();

    expect(ray.run()).toEqual([]);
    ray.join("r1");
    expect(ray.run()).toEqual([`${id} to r1`]);
  });

  test("[ray:R3] while nobody has credit a message waits, also for a new reader", () => {
    const ray = play(areas);
    ray.join("r1", 0);
    const { id } = ray.putWaiting();

    ray.join("r2");
    expect(ray.run()).toEqual([`${id} to r2`]);
  });

  test("[ray:R4] one reader, then none, then one", () => {
    const ray = play(areas);
    ray.join("r1", 0);
    const { id } = ray.putWaiting();

    ray.dispatcher.leave("r1");
    expect(ray.run()).toEqual([]);
    ray.join("r1");
    expect(ray.run()).toEqual([`${id} to r1`]);
  });

  test("[ray:R5] two readers get something; when one leaves, the other all", () => {
    const ray = play(areas);
    for (const id of ["r1", "r2"]) ray.join(id);

    expect(new Set(ray.chooseMany(20))).toEqual(new Set(["r1", "r2"]));
    ray.dispatcher.leave("r2");
    expect(new Set(ray.chooseMany(10))).toEqual(new Set(["r1"]));
  });

  test("[ray:R6] of two readers the one that has credit gets all", () => {
    const ray = play(areas);
    ray.join("r1");
    ray.join("r2", 0);

    expect(new Set(ray.chooseMany(10))).toEqual(new Set(["r1"]));
  });

  test("[ray:R7] of three readers the two that have credit get all", () => {
    const ray = play(areas);
    for (const id of ["r1", "r3"]) ray.join(id);
    ray.join("r2", 0);

    expect(new Set(ray.chooseMany(20))).toEqual(new Set(["r1", "r3"]));
  });

  test("[ray:R8] of two readers the one that holds less gets all", () => {
    const ray = play(areas);
    ray.join("r1");
    ray.choose({}, true);
    ray.join("r2");

    expect(ray.chooseMany(10)).toEqual(Array.from({ length: 10 }, () => "r2"));
  });

  test("[ray:R9] messages go out in their order, though many wait together", () => {
    const ray = play(areas);
    const ids = Array.from({ length: 10 }, () => ray.putWaiting().id);

    // One at a time, as Ray's replica that resets after each response.
    ray.join("r1", 1);
    for (const id of ids) {
      expect(ray.run()).toEqual([`${id} to r1`]);
      ray.dispatcher.settle(id);
    }
  });

  // Ray runs this one without preferences only.
  test("[ray:R10] refused messages go out in the order in which they were created, not refused", () => {
    const ray = play(areas);
    ray.join("r1", 10);
    const ids = Array.from({ length: 10 }, (_, index) => {
      const message = ray.message({ createdMs: index });
      ray.dispatcher.put(message, ray.nowMs);
      return message.id;
    });

    for (const id of shuffle(ids, new Random(7))) ray.dispatcher.refuse(id, ray.nowMs);
    expect(ray.dispatcher.waiting).toBe(10);
    ray.join("r1", 1);
    ray.nowMs = 600;
    for (const id of ids) {
      expect(ray.run()).toEqual([`${id} to r1`]);
      ray.dispatcher.settle(id);
    }
  });

  test("[ray:R11] a cancelled message is passed over, and the next one is sent", () => {
    const ray = play(areas);
    const [first, second] = [ray.putWaiting(), ray.putWaiting()];

    expect(ray.dispatcher.cancel(first)).toBe(true);
    ray.join("r1");
    expect(ray.run()).toEqual([`${second.id} to r1`]);
    expect([ray.dispatcher.cancel(first), ray.dispatcher.cancel(second)]).toEqual([false, false]);
  });

  test("[ray:R12] cancelled while all readers are full, a message leaves nothing behind", () => {
    const ray = play(areas);
    ray.join("r1", 0);
    const message = ray.putWaiting();

    // Ray: one routing task runs, and ends. Here: one message may be looked at, and none afterwards.
    expect(ray.dispatcher.looksMax).toBe(1);
    ray.dispatcher.cancel(message);
    expect(ray.dispatcher.looksMax).toBe(0);
  });

  test("[ray:R13] the only message that waits is cancelled: a reader that comes gets nothing", () => {
    const ray = play(areas);
    ray.dispatcher.cancel(ray.putWaiting());

    ray.join("r1");
    expect(ray.run()).toEqual([]);
  });

  // Ray: routing tasks, each of which tries to place a message at the same time as the others. Here a turn looks at one message after another:
  // what is bounded is how many of them it looks at in vain.
  test("[ray:R14] as many messages are looked at in vain as twice the readers, at most, and no more than wait", () => {
    const ray = play(areas);
    const ids = Array.from({ length: 10 }, () => ray.putWaiting().id);
    const looks = [ray.dispatcher.looksMax];
    for (const id of ["r1", "r2"]) {
      ray.join(id, 0);
      looks.push(ray.dispatcher.looksMax);
      // Where nobody has credit, none needs to be looked at: credit wakes them.
      expect(ray.dispatcher.turn(0).fruitless).toBe(0);
    }

    expect(looks).toEqual([0, 2, 4]);
    for (const [index, id] of ids.entries()) {
      ray.join("r1", 1);
      expect(ray.run()).toEqual([`${id} to r1`]);
      ray.dispatcher.settle(id);
      expect(ray.dispatcher.looksMax).toBe(Math.min(4, 9 - index));
    }
  });

  test("[ray:R15] that number has a limit of its own, whatever the number of readers", () => {
    const ray = play(areas, {}, { looksMax: 2 });
    const ids = Array.from({ length: 10 }, () => ray.putWaiting().id);
    const looks = [ray.dispatcher.looksMax];
    for (const id of ["r1", "r2"]) {
      ray.join(id, 0);
      looks.push(ray.dispatcher.looksMax);
    }

    expect(looks).toEqual([0, 2, 2]);
    for (const [index, id] of ids.entries()) {
      ray.join("r1", 1);
      expect(ray.run()).toEqual([`${id} to r1`]);
      ray.dispatcher.settle(id);
      expect(ray.dispatcher.looksMax).toBe(Math.min(2, 9 - index));
    }
  });

  // Ray: the answer of a removed replica comes late. Here there is no answer: a reader that left takes what it held with it into no choice.
  test("[ray:R16] a reader that left is not chosen, and what it was sent goes to another", () => {
    const ray = play(areas);
    ray.join("r1");
    const message = ray.message();
    ray.dispatcher.put(message, 0);
    ray.dispatcher.leave("r1");
    ray.join("r2", 0);

    expect([ray.run(), ray.dispatcher.waiting, ray.dispatcher.held]).toEqual([[], 1, 0]);
    ray.join("r2");
    expect(ray.run()).toEqual([`${message.id} to r2`]);
    expect(() => ray.dispatcher.refuse("m0", 0)).toThrow(/holds/u);
  });

  test.each([0, 10, 2048])("[ray:R43] an attempt of any number is fine: %d", (refusals) => {
    const ray = play(areas);
    for (const id of ["r1", "r2"]) ray.join(id);
    for (let index = 0; index < refusals; index++) ray.dispatcher.table.pause("r1", ray.nowMs, () => 0);

    expect(["r1", "r2"]).toContain(ray.choose());
    expect(pauseStep(refusals)).toBe(refusals === 0 ? 0 : 500);
    expect(answerDeadline(refusals)).toBe(refusals === 0 ? 100 : 1000);
  });

  // Ray: the actor died. Here a connection that ends.
  test("[ray:R44] a reader that is gone is left out for good, and never asked again", () => {
    const ray = play(areas);
    for (const id of ["r1", "r2"]) ray.join(id);
    ray.dispatcher.leave("r1");

    expect(new Set(ray.chooseMany(10))).toEqual(new Set(["r2"]));
    expect(ray.dispatcher.table.find("r1")).toBeUndefined();
  });

  // Ray: the actor is unavailable. Here a reader that refuses: it stays, is paused, and is used again.
  test("[ray:R45] a reader that refuses is kept, passed over, and used again when it recovers", () => {
    const ray = play(areas);
    ray.join("r1");
    const refused = ray.message();
    ray.dispatcher.put(refused, 0);
    for (let refusal = 0; refusal < 2; refusal++) {
      ray.dispatcher.refuse(refused.id, 0);
      ray.run();
    }
    ray.join("r2");
    // It is held there, so that r1 is preferred when it is back.
    expect(ray.run()).toEqual(["m1 to r2"]);
    expect(ray.chooseMany(10)).toEqual(Array.from({ length: 10 }, () => "r2"));
    expect(ray.dispatcher.table.find("r1")).toBeDefined();
    ray.nowMs = 25;
    expect(ray.chooseMany(10)).toEqual(Array.from({ length: 10 }, () => "r1"));
  });
});

describe("Ray's request router", () => {
  afterEach(expectNothingPending);

  // Ray: a pause of 999 s between attempts, and served within 10 s nevertheless.
  test("[ray:R46] busy nearer tiers are passed in the same decision, without a pause", () => {
    const ray = play(["colo", "region"]);
    ray.join("r1", 0, HERE);
    ray.join("r2", 0, SAME_ZONE);
    ray.join("r3", 1, ELSEWHERE);

    const [sent] = ray.dispatcher.put(ray.message(), 0).sent;
    expect(sent?.to).toMatchObject({ reader: "r3", tier: "any", candidates: 1 });
  });

  test("[ray:R51] the pauses of those who refuse are Ray's, unless others are given", () => {
    expect(BACK_OFF).toEqual({ firstMs: 25, factor: 2, maxMs: 500 });
    expect([1, 2, 3, 4, 5, 6, 7, 8].map((refusals) => pauseStep(refusals))).toEqual([0, 25, 50, 100, 200, 400, 500, 500]);
  });

  test("[ray:R52] other pauses count as they are given", () => {
    const own = { firstMs: 100, factor: 5, maxMs: 3000 };

    expect([1, 2, 3, 4, 5].map((refusals) => pauseStep(refusals, own))).toEqual([0, 100, 500, 2500, 3000]);
    expect([computePause(3, 0.5, own), computePause(5, 0.5, own)]).toEqual([375, 1500]);
  });

  test("[LR1] admission is exact: of a burst of n with room for m exactly n - m are refused", () => {
    for (const [burst, waitingMax, slots] of [
      [4, 1, 0],
      [100, 7, 3],
      [1000, 0, 12],
      [5, 9, 1],
    ] as const) {
      const ray = new Ray([], {}, { waitingMax });
      ray.join("r1", slots);
      const accepted = Array.from({ length: burst }, () => ray.dispatcher.put(ray.message(), 0).isAccepted);

      expect(accepted.filter((isAccepted) => isAccepted).length).toBe(Math.min(burst, waitingMax + slots));
    }
  });

  test("[LR6] messages of other origins are not held up by those that wait for a busy colo, however many lines there are", () => {
    const areas: readonly Area[] = ["colo"];
    const ray = play(areas, { localityWaitMs: 20 });
    ray.join("near", 0, HERE);
    ray.join("far", 30, ELSEWHERE);
    const keys = Array.from({ length: 20 }, (_, index) => ray.putWaiting({ key: `k${index}` }));
    const { fruitless, isCut, wakeAtMs } = ray.dispatcher.turn(0);

    expect([fruitless, isCut, wakeAtMs]).toEqual([4, true, 20]);
    expect(ray.choose({ origin: ELSEWHERE })).toBe("far");
    ray.nowMs = 20;
    expect(ray.run()).toEqual(keys.map(({ id }) => `${id} to far`));
  });

  test("[LR11] a slot is given back by the message that holds it, once", () => {
    const ray = play([]);
    ray.join("r1", SLOTS);
    const message = ray.message();
    ray.dispatcher.put(message, 0);
    ray.dispatcher.settle(message.id);

    expect(ray.dispatcher.table.find("r1")).toMatchObject({ credit: SLOTS, outstanding: 0 });
    expect(() => ray.dispatcher.settle(message.id)).toThrow(/holds/u);
  });
});
