// The decisions of a relay, against a channel. SPEC section RY.
import fc from "fast-check";
import { afterEach, describe, expect, test } from "vitest";
import { LIMITS } from "../../src/protocol/limits.ts";
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
    while (world.frames.length > 0) world.passFrame();

    expect(world.asks).toEqual([expect.objectContaining({ type: "credit", messages: 10, bytes: 100 })]);
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

/** Plays a history, lets everything through, and compares what each reader got with what the channel has. */
function play(history: readonly Step[]): void {
  const world = new RelayWorld({ maxMessages: 60 });
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
      world.put(() => world.channel.patch({ maxMessages: 50 + (world.channel.nowMs % 20) }));
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
      world.subscribe({ at: step.at }, { credit: step.credit, ...(step.isFiltered && { filter: { keys: ["k"] } }) });
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
