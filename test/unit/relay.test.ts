// The decisions of a relay, against a channel. SPEC section RY.
import fc from "fast-check";
import { afterEach, describe, expect, test } from "vitest";
import { LIMITS } from "../../src/protocol/limits.ts";
import type { GivenSettings } from "../../src/protocol/settings.ts";
import { keyed } from "./channel-subscribers.ts";
import { textMessage } from "./channel-harness.ts";
import { RelayWorld, type WorldReader } from "./relay-world.ts";

const PRODUCTION_LIMITS = { ...LIMITS };
/** So low that a short history meets them: a tail of a few runs, pages of a few messages. */
const LOW_LIMITS = {
  relayTailBytes: 5000,
  relayPageBytes: 40,
  relayCreditBytes: 200,
  relayJumpRecords: 20,
  streamFrameMessagesMax: 5,
};
const QUEUE: GivenSettings = { retention: "queue" };
// MODEL_RUNS=50 plays 10,000 histories.
const RUNS = Number(process.env["MODEL_RUNS"] ?? 1);

afterEach(() => Object.assign(LIMITS, PRODUCTION_LIMITS));

describe("src/channel/relay", () => {
  test("[RY5] the channel sends one frame, whatever the number of readers", () => {
    const world = new RelayWorld();
    for (let reader = 0; reader < 50; reader++) world.subscribe({ at: "last" });
    world.run();
    world.put(() => world.channel.put(["a", "b"]));
    world.run();

    expect(world.sent).toBe(1);
    expect(new Set(world.readers.map(({ offsets }) => offsets.join()))).toEqual(new Set(["1,2"]));
  });

  test("[RY6] a reader far behind is sent pages, of which the others see nothing, and joins them", () => {
    Object.assign(LIMITS, LOW_LIMITS);
    const world = new RelayWorld();
    for (let batch = 0; batch < 20; batch++) world.channel.put(["aaaa", "bbbb", "cccc"]);
    const newest = world.subscribe({ at: "last" });
    const oldest = world.subscribe({ at: "first" });
    world.run();
    expect(oldest.offsets).toEqual(Array.from({ length: 60 }, (_, index) => index + 1));
    world.put(() => world.channel.put(["d"]));
    world.run();
    expect([newest.offsets, oldest.offsets.at(-1)]).toEqual([[61], 61]);
  });

  test("[RY5] the channel is granted no credit that nobody has", () => {
    Object.assign(LIMITS, LOW_LIMITS);
    const world = new RelayWorld();
    const reader = world.subscribe({ at: "last" }, { credit: 1 });
    world.run();
    for (let batch = 0; batch < 100; batch++) {
      world.put(() => world.channel.put(["0123456789"]));
      world.run();
    }
    expect(reader.offsets).toEqual([1]);
    expect(world.sent).toBe(LIMITS.relayCreditBytes / 10);
    world.grant(reader, 100);
    world.run();
    expect(reader.offsets).toHaveLength(100);
  });

  test("[RY5] the channel is granted what was used of the credit, and no more", () => {
    Object.assign(LIMITS, LOW_LIMITS);
    const world = new RelayWorld();
    world.subscribe({ at: "last" });
    world.run();
    for (let batch = 0; batch < 11; batch++) world.put(() => world.channel.put(["0123456789"]));
    while (world.frames.length > 0) {
      world.passFrame();
      world.turn();
    }

    expect(world.asks).toEqual([expect.objectContaining({ type: "credit", messages: 10, bytes: 100 })]);
  });

  test("[RY5] what comes right behind a frame goes out in the same frame", () => {
    const world = new RelayWorld();
    const reader = world.subscribe({ at: "last" });
    world.run();
    for (const text of ["a", "b", "c"]) world.put(() => world.channel.put([text]));
    while (world.frames.length > 0) world.passFrame();
    const before = [...reader.offsets];
    const { frames } = reader;
    world.turn();

    expect([before, reader.offsets, reader.frames - frames]).toEqual([[], [1, 2, 3], 1]);
  });

  test("[RY5] [RY6] a tail keeps as much as it may: who comes back within it is sent no pages", () => {
    Object.assign(LIMITS, LOW_LIMITS);
    const world = new RelayWorld();
    const reader = world.subscribe({ at: "last" });
    world.run();
    for (let batch = 0; batch < 20; batch++) {
      world.put(() => world.channel.put(["x"]));
      world.run();
    }
    const { sent } = world;
    const back = world.subscribe({ resume: (reader.resume ?? "").replace("21", "18") });
    world.run();

    expect([back.offsets, world.sent - sent]).toEqual([[18, 19, 20], 0]);
  });

  test("[RY8] a link that breaks is wanted again without a call, one that has parted is not", () => {
    const wanted = [false, true].map((hasParted) => {
      const world = new RelayWorld();
      world.subscribe({ at: "last" });
      world.run();
      if (hasParted) world.idle(LIMITS.relayIdleMs);
      world.run();
      expect(world.isLinked).toBe(!hasParted);
      world.relay.linkDown();
      return world.relay.wantsLink;
    });

    expect(wanted).toEqual([true, false]);
  });

  test("[RY9] an idle link is closed when the channel has confirmed that nothing follows, and what comes meanwhile is not lost", () => {
    const world = new RelayWorld();
    const reader = world.subscribe({ at: "last" });
    world.run();
    world.idle(LIMITS.relayIdleMs - 1);
    expect([world.isLinked, world.asks]).toEqual([true, []]);
    world.idle(1);
    expect(world.asks).toMatchObject([
      { type: "unsubscribe" },
      { type: "subscribe", from: { at: "last" } },
      { type: "unsubscribe" },
    ]);
    world.put(() => world.channel.put(["a"]));
    world.run();
    expect([world.isLinked, reader.offsets]).toEqual([false, [1]]);
    world.put(() => world.channel.put(["b"]));
    world.run();
    expect([world.isLinked, reader.offsets]).toEqual([true, [1, 2]]);
  });

  test("[RY9] who comes while it parts keeps the link", () => {
    const world = new RelayWorld();
    world.subscribe({ at: "last" });
    world.run();
    world.idle(LIMITS.relayIdleMs);
    const late = world.subscribe({ at: "first" });
    world.run();
    expect([world.isLinked, late.position]).toEqual([true, 1]);
  });

  test("[RY10] a channel that was deleted and made anew is another one to its readers", () => {
    const world = new RelayWorld();
    const reader = world.subscribe({ at: "last" });
    world.run();
    world.idle(LIMITS.relayIdleMs);
    world.run();
    world.channel.delete();
    world.channel.apply({ type: "create", settings: { retention: "log" } });
    world.put(() => world.channel.put(["a"]));
    const again = world.subscribe({ at: "first" });
    world.run();
    expect(reader.endedBy).toBe("resume-lost");
    expect(again.offsets).toEqual([1]);
  });

  test(
    "[RY3] [RY6] [RY7] [RY8] [RY9] each reader gets everything once, in order, whatever breaks",
    () => {
      Object.assign(LIMITS, LOW_LIMITS);
      let played = 0;
      const property = fc.property(fc.array(steps, { maxLength: 120 }), (history) => {
        play(history);
        played += 1;
      });
      fc.assert(property, { numRuns: 200 * RUNS });
      expect(played).toBe(200 * RUNS);
    },
    RUNS * 10_000,
  );
});

describe("src/channel/relay: taps", () => {
  test("[RY14] [RY5] the channel sends its taps at a relay one frame, and each what it wants within its credit", () => {
    const world = new RelayWorld(QUEUE);
    const all = world.tap();
    const some = world.tap({ filter: { keys: ["k"] } });
    const slow = world.tap({ credit: 1 });
    world.run();
    world.put(() => world.channel.putMessages([textMessage("a"), keyed("b")]));
    world.put(() => world.channel.patch({ maxMessages: 50 }));
    world.run();
    expect(world.sent).toBe(2);
    expect([all, some, slow].map(({ offsets }) => offsets)).toEqual([[1, 2], [2], [1]]);
    expect([all, some, slow].map(({ controls }) => controls)).toEqual([[3], [3], []]);
    world.channel.getTexts(2);
    world.grant(slow, 5);
    world.run();
    expect([slow.offsets, slow.controls]).toEqual([[1, 2], [3]]);
  });

  test("[RY14] a tap before the tail is sent what the channel still has", () => {
    Object.assign(LIMITS, LOW_LIMITS);
    const world = new RelayWorld(QUEUE);
    const quick = world.tap({ credit: 1000 });
    const slow = world.tap({ credit: 0 });
    world.run();
    for (let batch = 0; batch < 20; batch++) {
      world.put(() => world.channel.put(["aaaa", "bbbb"]));
      world.run();
      if (batch === 1) world.channel.getTexts(3);
    }
    const other = world.tap({ credit: 0 });
    world.run();
    world.channel.getTexts(36);
    world.grant(slow, 1000);
    world.run();
    expect(quick.offsets).toEqual(Array.from({ length: 40 }, (_, index) => index + 1));
    expect(slow.offsets).toEqual([40]);
    world.grant(other, 10);
    world.put(() => world.channel.put(["c"]));
    world.run();
    expect([quick, slow, other].map(({ offsets }) => offsets.at(-1))).toEqual([41, 41, 41]);
  });

  test("[RY6] nobody waits for a page of which nothing is left", () => {
    Object.assign(LIMITS, LOW_LIMITS);
    const world = new RelayWorld(QUEUE);
    world.tap({ credit: 1000 });
    const first = world.tap({ credit: 0 });
    world.run();
    world.put(() => world.channel.put(["kept"]));
    const second = world.tap({ credit: 0 });
    world.run();
    for (let batch = 0; batch < 20; batch++) {
      world.put(() => world.channel.put(["aaaa", "bbbb"]));
      world.run();
    }
    world.channel.pull({ max: 1 });
    expect(world.channel.getTexts(100)).toHaveLength(40);
    world.grant(second, 10);
    world.run();
    world.grant(first, 10);
    world.run();
    expect([first.offsets[0], second.offsets]).toEqual([1, []]);
  });

  test("[RY14] [RY9] what is put and taken before a relay that sleeps is back is sent", () => {
    const world = new RelayWorld(QUEUE);
    const tap = world.tap();
    world.run();
    world.idle(LIMITS.relayIdleMs);
    world.run();
    expect(world.isLinked).toBe(false);
    world.put(() => world.channel.put(["a", "b"]));
    expect(world.channel.getTexts(2)).toEqual(["a", "b"]);
    world.put(() => world.channel.put(["c"]));
    world.channel.getTexts(1);
    world.run();
    expect([tap.offsets, tap.endedBy]).toEqual([[1, 2, 3], undefined]);
    world.put(() => world.channel.put(["d"]));
    world.run();
    expect(tap.offsets).toEqual([1, 2, 3, 4]);
  });

  test.each([
    ["log", "queue"],
    ["queue", "log"],
    ["interest", "interest"],
  ] as const)("[RY10] [RY14] what is deleted, %s, and made anew, %s, is another channel to its readers", (before, after) => {
    const world = new RelayWorld({ retention: before });
    const reader = before === "log" ? world.subscribe({ at: "last" }) : world.tap();
    world.run();
    world.idle(LIMITS.relayIdleMs);
    world.run();
    world.channel.delete();
    world.channel.apply({ type: "create", settings: { retention: after, whenNoGroups: "drop" } });
    world.put(() => world.channel.put(["a"]));
    const again = after === "log" ? world.subscribe({ at: "first" }) : world.tap();
    world.run();
    world.put(() => world.channel.put(["b"]));
    world.run();
    expect(reader.endedBy).toBe("resume-lost");
    expect([again.endedBy, again.offsets.at(-1)]).toEqual([undefined, after === "interest" ? undefined : 2]);
  });

  test("[RY10] a tap of a channel that is closed is ended at once, and who comes then after it has begun", () => {
    const world = new RelayWorld(QUEUE);
    const tap = world.tap({ credit: 1 });
    world.run();
    world.put(() => world.channel.put(["a", "b"]));
    world.put(() => world.channel.patch({ state: "closed" }));
    world.run();
    expect([tap.offsets, tap.endedBy]).toEqual([[1], "channel-closed"]);
    const late = world.tap();
    world.run();
    expect([late.offsets, late.endedBy]).toEqual([[], "channel-closed"]);
  });

  test("[RY7] [RY14] what the channel refuses, its relay refuses: a tap of a log, a plain reader of a queue", () => {
    const log = new RelayWorld();
    const queue = new RelayWorld(QUEUE);
    queue.tap();
    queue.run();
    const refused = [log.tap(), queue.subscribe({ resume: "life-1.1" })];
    for (const world of [log, queue]) world.run();
    expect(refused.map(({ endedBy }) => endedBy)).toEqual(["wrong-retention", "wrong-retention"]);
  });

  test(
    "[RY3] [RY6] [RY8] [RY9] [RY14] taps of what nobody takes get everything once, in order, whatever breaks",
    () => {
      Object.assign(LIMITS, LOW_LIMITS);
      let played = 0;
      const property = fc.property(fc.array(steps, { maxLength: 120 }), (history) => {
        play(history, QUEUE);
        played += 1;
      });
      fc.assert(property, { numRuns: 200 * RUNS });
      expect(played).toBe(200 * RUNS);
    },
    RUNS * 10_000,
  );

  test(
    "[RY14] a tap with credit sees by a relay that ends, sleeps or is cut off what it would see without one",
    () => {
      const history = fc.array(fc.oneof({ weight: 1, arbitrary: takes }, { weight: 3, arbitrary: steps }), {
        minLength: 20,
        maxLength: 80,
      });
      let compared = 0;
      fc.assert(
        fc.property(history, (story) => void (compared += compare(story))),
        { numRuns: 200 * RUNS },
      );
      expect(compared).toBeGreaterThan(1000 * RUNS);
    },
    RUNS * 10_000,
  );
});

type Step =
  | { readonly type: "put"; readonly texts: readonly string[]; readonly hasKey: boolean }
  | { readonly type: "resize" | "cut" | "kill" | "idle" | "turn" | "run" }
  | { readonly type: "pass"; readonly asks: number; readonly frames: number }
  | { readonly type: "subscribe"; readonly at: "first" | "last"; readonly credit: number; readonly isFiltered: boolean }
  | { readonly type: "grant" | "reconnect"; readonly which: number; readonly credit: number };

const credit = fc.integer({ min: 0, max: 12 });
const which = fc.nat(50);
const steps: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    type: fc.constant("put" as const),
    texts: fc.array(fc.string({ minLength: 1, maxLength: 30 }), { minLength: 1, maxLength: 8 }),
    hasKey: fc.boolean(),
  }),
  fc.record({ type: fc.constantFrom("resize", "cut", "kill", "idle", "turn", "run") }),
  fc.record({ type: fc.constant("pass" as const), asks: fc.nat(4), frames: fc.nat(4) }),
  fc.record({ type: fc.constant("subscribe" as const), at: fc.constantFrom("first", "last"), credit, isFiltered: fc.boolean() }),
  fc.record({ type: fc.constantFrom("grant", "reconnect"), which, credit }),
);

const takes = fc.record({ type: fc.constant("take" as const), max: fc.integer({ min: 1, max: 9 }) });

/** Plays a history in which messages are taken, beside a tap of the channel's own, and compares what each tap got with what that one got. Returns how many records were compared. */
function compare(history: readonly (Step | { readonly type: "take"; readonly max: number })[]): number {
  const world = new RelayWorld(QUEUE);
  const seen = world.tapDirectly();
  world.tap({ credit: 10_000 });
  for (const step of history) {
    if (step.type === "take") world.put(() => world.channel.getTexts(step.max));
    else if (step.type === "subscribe") world.tap({ credit: 10_000 });
    else if (step.type !== "reconnect" && step.type !== "grant") {
      // What is on its way then is lost with the connection.
      if (step.type === "kill" || step.type === "cut") world.run();
      take(world, step);
    }
  }
  world.run();
  let compared = 0;
  for (const { begin = Infinity, offsets, controls } of world.readers) {
    const got = [...offsets, ...controls].sort((a, b) => a - b);
    expect(got).toEqual(seen().filter((offset) => offset >= begin));
    compared += got.length;
  }
  return compared;
}

/** Plays a history, lets everything through, and compares what each reader got with what the channel has. */
function play(history: readonly Step[], settings: GivenSettings = { maxMessages: 60 }): void {
  const world = new RelayWorld(settings);
  for (const step of history) take(world, step);
  for (let round = 0; round < 3; round++) {
    for (const reader of world.readers) if (reader.endedBy === undefined) world.grant(reader, 10_000);
    world.run();
  }
  const { messages, controls } = world.channel.browse();
  for (const reader of world.readers) {
    const { begin = 0, gaps, offsets, filter } = reader;
    expect(reader.endedBy).toBeUndefined();
    const isHere = (offset: number): boolean => offset >= begin && !gaps.some(([from, to]) => offset >= from && offset <= to);
    const wanted = messages.filter(({ offset, key }) => isHere(offset) && (filter === undefined || key === "k"));
    expect(offsets.filter((offset) => offset >= (messages[0]?.offset ?? Infinity))).toEqual(wanted.map(({ offset }) => offset));
    expect(reader.controls.filter((offset) => controls.some((one) => one.offset === offset))).toEqual(
      controls.filter(({ offset }) => isHere(offset)).map(({ offset }) => offset),
    );
  }
}

function take(world: RelayWorld, step: Step): void {
  const pick = (place: number): WorldReader | undefined => world.readers[place % Math.max(1, world.readers.length)];
  switch (step.type) {
    case "put":
      world.put(() => world.channel.putMessages(step.texts.map(step.hasKey ? keyed : textMessage)));
      return;
    case "resize":
      world.put(() => world.channel.patch({ maxMessages: (world.isTapped ? 5000 : 50) + (world.channel.nowMs % 20) }));
      return;
    case "cut":
      world.cutLink();
      return;
    case "kill":
      world.killRelay();
      return;
    case "idle":
      world.idle(LIMITS.relayIdleMs + 1);
      return;
    case "turn":
      world.turn();
      return;
    case "run":
      world.run();
      return;
    case "pass":
      for (let count = 0; count < step.asks; count++) world.passAsk();
      for (let count = 0; count < step.frames; count++) world.passFrame();
      return;
    case "subscribe":
      {
        const options = { credit: step.credit, ...(step.isFiltered && { filter: { keys: ["k"] } }) };
        if (world.isTapped) world.tap(options);
        else world.subscribe({ at: step.at }, options);
      }
      return;
    case "grant": {
      const reader = pick(step.which);
      if (reader !== undefined) world.grant(reader, step.credit);
      return;
    }
    case "reconnect": {
      const reader = pick(step.which);
      if (reader !== undefined) world.reconnect(reader, step.credit);
      return;
    }
  }
}
