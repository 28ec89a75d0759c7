// Order by key, retries, dead letters and quarantine (SPEC KO, RT, DL).
import { describe, expect, test } from "vitest";
import type { Outcome } from "../../src/channel/operation.ts";
import { computeRetryDelay } from "../../src/channel/retry-delay.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import type { GivenSettings } from "../../src/protocol/settings.ts";
import { ChannelHarness, describeGroup, expectType, kindOf, refusalOf, textMessage, textsOf } from "./channel-harness.ts";

/** Puts messages whose texts begin with their key: "a1" has the key "a", "1" has none. */
function put(channel: ChannelHarness, ...texts: readonly string[]): void {
  channel.putMessages(texts.map((text) => ({ ...textMessage(text), ...(/^[a-z]/.test(text) && { key: text.slice(0, 1) }) })));
}

function filled(texts: readonly string[], delivery: GivenSettings["delivery"] = {}): ChannelHarness {
  const channel = new ChannelHarness({ settings: { delivery } });
  put(channel, ...texts);
  return channel;
}

/** Lease ids by the text of their message. */
function idsOf(outcome: Outcome): (text: string) => string {
  const got = expectType(outcome, "got");
  const texts = textsOf(outcome);
  return (text) => got.granted?.leaseIds[texts.indexOf(text)] ?? "";
}

const lease = (leaseId: string): { leaseId: string }[] => [{ leaseId }];

function refusedOf(outcome: Outcome): unknown[] {
  return expectType(outcome, "settled").refused.map(({ refusal }) => ("cause" in refusal ? refusal.cause : refusal.kind));
}

function deadLettersOf(channel: ChannelHarness, filter = {}): { text: string; attempts: number; reason: string }[] {
  const page = expectType(channel.apply({ type: "dead-letters", fromOffset: 1, limit: 100, filter }), "dead-letter-page");
  return page.letters.map(({ message, attempts, reason }) => ({
    text: textsOf({ type: "page", messages: [message], controls: [], nextOffset: null })[0] ?? "",
    attempts,
    reason,
  }));
}

function withDead(): ChannelHarness {
  const channel = filled(["a1", "b1", "a2", "1"], { maxAttempts: 1 });
  const id = idsOf(channel.pull({ max: 4 }));
  channel.settle({
    rejects: [{ leaseId: id("a1"), reason: "bad" }, { leaseId: id("b1") }, { leaseId: id("a2"), reason: "bad" }],
  });
  return channel;
}

describe("src/channel/key-lines", () => {
  test.each(["queue", "log"] as const)(
    "[KO5] what is taken out of the order of offsets after waking moves the head of a %s",
    (retention) => {
      const channel = new ChannelHarness({ settings: { retention } });
      channel.apply({ type: "create-group", group: "default", settings: {}, start: { at: "first" } });
      put(channel, "a1", "a2", "3");
      const first = idsOf(channel.pull())("a1");
      const third = idsOf(channel.pull({ max: 2 }))("3");
      channel.settle({ releases: lease(third) });
      channel.evict();
      channel.settle({ acks: lease(first) });

      // What came back is known, and "a2" is found again by the scan.
      expect(textsOf(channel.get({ max: 2 }))).toEqual(["3", "a2"]);
      expect(describeGroup(channel, "default")).toMatchObject({ headOffset: 4, depth: 0 });
    },
  );

  test("[KO1] while a message of a key is held, the next ones wait for their holder to settle; others pass", () => {
    const channel = filled(["a1", "a2", "b1", "1", "a3"]);
    const first = channel.pull({ max: 1 });

    expect(textsOf(channel.pull({ max: 9 }))).toEqual(["b1", "1"]);
    channel.settle({ acks: lease(idsOf(first)("a1")) });

    expect(textsOf(channel.pull({ max: 9 }))).toEqual(["a2", "a3"]);
  });

  test("[KO1] one pull may hold several messages of a key", () => {
    const channel = filled(["a1", "b1", "a2", "a3"]);

    expect(textsOf(channel.pull({ max: 3 }))).toEqual(["a1", "b1", "a2"]);
    expect(textsOf(channel.pull({ max: 9 }))).toEqual([]);
  });

  test("[KO1] what a get removes at once leaves the channel, also where it is not handed out in the order of offsets", () => {
    const channel = filled(["a1", "a2", "1"]);
    const first = channel.pull({ max: 1 });
    channel.settle({ releases: lease(idsOf(channel.pull({ max: 1 }))("1")) });
    channel.settle({ acks: lease(idsOf(first)("a1")) });
    // Which messages wait for others of their key is found out anew: what came back goes first.
    channel.evict();

    expect(channel.getTexts(9)).toEqual(["1", "a2"]);
    expect(channel.describe()).toMatchObject({ depth: 0, bytes: 0, segments: 0 });
  });

  test("[KO1] a get that removes at once does not pass a held message of the key", () => {
    const channel = filled(["a1", "a2", "b1"]);
    const first = channel.pull();

    expect(channel.getTexts(9)).toEqual(["b1"]);
    channel.settle({ releases: lease(idsOf(first)("a1")) });

    expect(channel.getTexts(9)).toEqual(["a1", "a2"]);
    expect(channel.describe()).toMatchObject({ depth: 0, counts: { acked: 3 } });
  });

  test("[KO2] an ack out of order is refused until the earlier message is done", () => {
    const channel = filled(["a1", "a2", "a3"]);
    const id = idsOf(channel.pull({ max: 3 }));

    const outcome = channel.settle({ acks: [{ leaseId: id("a3") }, { leaseId: id("a1") }] });

    expect(expectType(outcome, "settled")).toMatchObject({
      counts: { ack: 1 },
      refused: [{ pointer: "/acks/0/leaseId", refusal: { kind: "out-of-order", offset: 3, openOffset: 2 } }],
    });
    expect(channel.settle({ acks: [{ leaseId: id("a3") }, { leaseId: id("a2") }] })).toMatchObject({ counts: { ack: 2 } });
    expect(channel.describe().depth).toBe(0);
  });

  test("[KO2] a rejected message no longer stands in the way, a retried one does", () => {
    const channel = filled(["a1", "a2", "b1", "b2"]);
    const id = idsOf(channel.pull({ max: 4 }));

    const outcome = channel.settle({
      acks: [{ leaseId: id("a2") }, { leaseId: id("b2") }],
      rejects: lease(id("a1")),
      retries: lease(id("b1")),
    });

    expect(refusedOf(outcome)).toEqual(["out-of-order"]);
    expect(channel.browseTexts()).toEqual(["b1", "b2"]);
  });

  test.each(["retries", "releases", "expiry"])("[KO3] %s of a message ends the later leases of its key, not counted", (how) => {
    const channel = filled(["a1", "a2", "b1"]);
    const id = idsOf(channel.pull({ max: 3, leaseMs: 60_000 }));

    if (how === "retries") channel.settle({ retries: [{ leaseId: id("a1"), delayMs: 0 }] });
    if (how === "releases") channel.settle({ releases: lease(id("a1")) });
    if (how === "expiry") {
      channel.settle({ extends: [{ leaseId: id("a1"), leaseMs: 1_000 }] });
      channel.tick(1_000);
    }
    channel.evict();

    expect(refusedOf(channel.settle({ acks: [...lease(id("a2")), ...lease(id("b1"))] }))).toEqual(["predecessor"]);
    const again = channel.pull({ max: 9 });
    expect(textsOf(again)).toEqual(["a1", "a2"]);
    expect(expectType(again, "got").granted?.attempts).toEqual([how === "releases" ? 1 : 2, 1]);
  });

  test("[KO3] each of several retries in a call counts, whatever their order", () => {
    const channel = filled(["a1", "a2", "a3"]);
    const id = idsOf(channel.pull({ max: 3 }));

    channel.settle({ retries: ["a2", "a1", "a3"].map((text) => ({ leaseId: id(text), delayMs: 0 })) });

    expect(expectType(channel.pull({ max: 3 }), "got").granted?.attempts).toEqual([2, 2, 2]);
  });

  test("[KO1] a retrying message stops its key alone", () => {
    const channel = filled(["a1", "a2", "b1"]);
    const id = idsOf(channel.pull({ max: 1 }));
    channel.settle({ retries: [{ leaseId: id("a1"), delayMs: 10_000 }] });
    channel.evict();

    expect(textsOf(channel.pull({ max: 9 }))).toEqual(["b1"]);
    channel.tick(10_000);
    expect(textsOf(channel.pull({ max: 9 }))).toEqual(["a1", "a2"]);
  });

  test("[KO1] a removed message lets the next of its key pass", () => {
    const channel = filled(["a1", "a2"]);
    channel.pull();
    expect(textsOf(channel.pull())).toEqual([]);

    channel.apply({ type: "remove", offset: 1 });

    expect(textsOf(channel.pull())).toEqual(["a2"]);
  });

  test("[KO4] messages that a reader gets do not keep it from looking further", () => {
    const { lookAheadMax } = LIMITS;
    Object.assign(LIMITS, { lookAheadMax: 2 });
    const channel = filled(["a1", "b1", "a2", "a3", "b2", "1"]);
    const first = channel.pull({ max: 2 });
    const blocked = channel.pull({ max: 9 });
    channel.settle({ acks: lease(idsOf(first)("a1")) });

    const again = channel.pull({ max: 9 });
    Object.assign(LIMITS, { lookAheadMax });

    expect([textsOf(blocked), textsOf(again)]).toEqual([[], ["a2", "a3", "1"]]);
  });

  test("[KO5] with the head stuck, what was passed is stored, and found again without a scan", () => {
    const channel = new ChannelHarness({ settings: {} });
    put(channel, "a0");
    const stuck = channel.pull();
    const rounds = Math.ceil((2 * LIMITS.scanMarkLagMax) / 100);
    for (let round = 0; round < rounds; round++) {
      put(channel, `a${round + 1}`, ...Array.from({ length: 99 }, (_, index) => String(index)));
      channel.getTexts(200);
    }

    channel.evict();
    channel.store.rowsRead = 0;
    put(channel, "1");

    expect(channel.getTexts(9)).toEqual(["1"]);
    expect(channel.store.rowsRead).toBeLessThan(100);
    expect(channel.describe()).toMatchObject({ depth: rounds + 1, delivery: { leased: 1, ready: rounds } });
    channel.settle({ acks: lease(idsOf(stuck)("a0")) });
    expect(textsOf(channel.pull({ max: 200 }))).toEqual(Array.from({ length: rounds }, (_, index) => `a${index + 1}`));
  });
});

describe("src/channel/retry-delay", () => {
  test.each([
    [1, 0, 1_000],
    [1, 0.999_999, 2_000],
    [3, 0.5, 4_500],
    [30, 0.999_999, 300_000],
    [1000, 0, 1_000],
  ])("[RT1] after attempt %d with chance %d the pause is %d ms", (attempt, random, delayMs) => {
    expect(computeRetryDelay(attempt, null, random)).toBe(delayMs);
  });

  test("[RT1] a list of delays is followed, its last member for ever", () => {
    expect([1, 2, 3, 99].map((attempt) => computeRetryDelay(attempt, [10, 0, 30], 0.5))).toEqual([10, 0, 30, 30]);
  });

  test("[RT1] a retry without a delay uses the channel's", () => {
    const channel = filled(["1"], { retryDelaysMs: [5_000, 60_000] });
    channel.settle({ retries: lease(idsOf(channel.pull())("1")) });

    channel.tick(4_999);
    expect(textsOf(channel.pull())).toEqual([]);
    channel.tick(1);

    expect(textsOf(channel.pull())).toEqual(["1"]);
  });
});

describe("src/channel/settlement", () => {
  test("[RT2] after maxAttempts a message goes to the dead letters and its key goes on", () => {
    const channel = filled(["a1", "a2"], { maxAttempts: 2, retryDelaysMs: [0] });
    channel.settle({ retries: [{ leaseId: idsOf(channel.pull())("a1"), reason: "no disk" }] });
    channel.pull({ leaseMs: 1_000 });

    channel.tick(1_000);

    expect(deadLettersOf(channel)).toEqual([{ text: "a1", attempts: 2, reason: "expired" }]);
    expect(textsOf(channel.pull())).toEqual(["a2"]);
    expect(channel.describe().counts).toEqual({ put: 2, acked: 0, removed: 0, deadLettered: 1, dropped: 0, expired: 0 });
  });

  test("[RT2] the reason of the last retry is kept", () => {
    const channel = filled(["1"], { maxAttempts: 1 });

    channel.settle({ retries: [{ leaseId: idsOf(channel.pull())("1"), reason: "no disk" }] });

    expect(deadLettersOf(channel)).toEqual([{ text: "1", attempts: 1, reason: "no disk" }]);
  });

  test("[RT2] [ray:F1] a consumer that dies each time: the message is handed out n times, then dead-lettered", () => {
    const channel = filled(["1"], { maxAttempts: 3 });
    const attempts: unknown[] = [];
    for (let death = 0; death < 5; death++) {
      attempts.push(...(expectType(channel.pull({ leaseMs: 1_000 }), "got").granted?.attempts ?? []));
      channel.tick(1_000);
      channel.evict();
    }

    expect(attempts).toEqual([1, 2, 3]);
    expect(deadLettersOf(channel)).toEqual([{ text: "1", attempts: 3, reason: "expired" }]);
  });

  test("[RT2] without a limit a message comes back for ever", () => {
    const channel = filled(["1"], { maxAttempts: -1 });
    for (let death = 0; death < 50; death++) {
      channel.pull({ leaseMs: 1_000 });
      channel.tick(1_000);
    }

    expect(expectType(channel.pull(), "got").granted?.attempts).toEqual([51]);
  });

  test("[RT2] in quarantine a message stays, stops its key, and is released or dropped", () => {
    const channel = filled(["a1", "a2", "b1"], { maxAttempts: 1, onExhausted: "quarantine" });
    channel.settle({ retries: lease(idsOf(channel.pull())("a1")) });
    channel.evict();

    expect(textsOf(channel.pull({ max: 9 }))).toEqual(["b1"]);
    expect(channel.describe()).toMatchObject({ depth: 3, delivery: { quarantined: 1, leased: 1, ready: 1 } });
    const listed = expectType(channel.apply({ type: "quarantine", limit: 10 }), "quarantine");
    expect(listed.messages).toMatchObject([{ attempts: 1, message: { offset: 1, key: "a" } }]);
    expect(channel.apply({ type: "release-quarantine", key: "a" })).toMatchObject({ moved: 1 });
    const again = channel.pull({ max: 1 });
    expect(expectType(again, "got").granted?.attempts).toEqual([1]);
    channel.settle({ retries: lease(idsOf(again)("a1")) });
    channel.evict();
    expect(channel.apply({ type: "drop-quarantine", offset: 1 })).toMatchObject({ moved: 1 });

    expect(textsOf(channel.pull())).toEqual(["a2"]);
    expect(channel.describe().counts).toMatchObject({ removed: 1, deadLettered: 0 });
    expect(kindOf(channel.apply({ type: "drop-quarantine", offset: 1 }))).toBe("unknown-message");
  });
});

describe("src/channel/dead-letters", () => {
  test("[DL1] dead letters are found by key, reason, offset and age", () => {
    const channel = withDead();
    channel.tick(1_000);
    const texts = (filter: object): string[] => deadLettersOf(channel, filter).map(({ text }) => text);

    expect(texts({})).toEqual(["a1", "b1", "a2"]);
    expect(texts({ key: "a" })).toEqual(["a1", "a2"]);
    expect(texts({ reason: "bad", key: "a" })).toEqual(["a1", "a2"]);
    expect(texts({ reason: "rejected" })).toEqual(["b1"]);
    expect(texts({ offset: 3 })).toEqual(["a2"]);
    expect(texts({ offset: 4 })).toEqual([]);
    expect([texts({ olderThanMs: 1_000 }).length, texts({ olderThanMs: 1_001 }).length]).toEqual([3, 0]);
  });

  test("[DL3] redriven ones are new messages that name their old offset", () => {
    const channel = withDead();

    const moved = channel.apply({ type: "redrive", fromOffset: 1, max: 10, filter: { key: "a" } });
    channel.evict();

    expect(moved).toEqual({ type: "moved", moved: 2, isMore: false });
    expect(channel.browse().messages.map(({ offset, redrivenFrom }) => [offset, redrivenFrom])).toEqual([
      [4, undefined],
      [5, 1],
      [6, 3],
    ]);
    expect(deadLettersOf(channel).map(({ text }) => text)).toEqual(["b1"]);
    expect(channel.describe()).toMatchObject({ deadLetters: { messages: 1, bytes: 3 }, counts: { put: 6, deadLettered: 3 } });
  });

  test("[DL2] beyond the most the least offsets are dropped, whatever the order in which messages die", () => {
    const { deadLettersMax } = LIMITS;
    Object.assign(LIMITS, { deadLettersMax: 2 });
    const channel = filled(["1", "2", "3", "4"], { maxAttempts: 1 });
    channel.pull({ max: 4, leaseMs: 1_000 });

    channel.tick(1_000);
    Object.assign(LIMITS, { deadLettersMax });

    expect(deadLettersOf(channel).map(({ text }) => text)).toEqual(["3", "4"]);
    expect(channel.describe()).toMatchObject({ deadLetters: { messages: 2, bytes: 2 }, counts: { deadLettered: 4 } });
  });

  test("[DL3] redriving keeps the room that is promised, and does not pass puts that wait", () => {
    const channel = withDead();
    channel.patch({ maxMessages: 3 });
    const connection = channel.connect();
    const promised = channel.reserve(1, 10, { connection, request: 1 });

    const beside = channel.apply({ type: "redrive", fromOffset: 1, max: 10, filter: {} });
    const waiting = channel.put(["x"], { waitMs: 1_000, origin: { connection: channel.connect(), request: 1 } });
    channel.apply({ type: "remove", offset: 4 });
    const behind = channel.apply({ type: "redrive", fromOffset: 1, max: 10, filter: {} });

    expect([promised.type, waiting.type]).toEqual(["room", "waiting"]);
    expect([beside, behind]).toMatchObject([
      { type: "moved", moved: 1, isMore: true },
      { type: "moved", moved: 0, isMore: true },
    ]);
    expect(channel.put(["y"], { isPromised: true, origin: { connection, request: 1 } }).type).toBe("put");
    expect(channel.describe().depth).toBeLessThanOrEqual(3);
  });

  test("[DL3] no more are redriven than fit, and none into a channel that takes no puts", () => {
    const channel = withDead();
    channel.patch({ maxMessages: 2 });

    expect(channel.apply({ type: "redrive", fromOffset: 1, max: 10, filter: {} })).toEqual({
      type: "moved",
      moved: 1,
      isMore: true,
      nextOffset: 2,
    });
    channel.patch({ state: "draining" });
    expect(refusalOf(channel.apply({ type: "redrive", fromOffset: 1, max: 10, filter: {} }))).toMatchObject({
      kind: "channel-draining",
    });
  });

  test("[DL3] [WT4] room that was promised is not used, and puts that wait are not overtaken", () => {
    const channel = withDead();
    channel.patch({ maxMessages: 3 });
    const connection = channel.connect();
    channel.reserve(1, 10, { connection, request: 1 });

    expect(channel.apply({ type: "redrive", fromOffset: 1, max: 10, filter: {} })).toEqual({
      type: "moved",
      moved: 1,
      isMore: true,
      nextOffset: 2,
    });
    channel.reserve(2, 10, { connection, request: 2 }, 60_000);
    channel.apply({ type: "remove", offset: 4 });

    expect(channel.apply({ type: "redrive", fromOffset: 1, max: 10, filter: {} })).toEqual({
      type: "moved",
      moved: 0,
      isMore: true,
      nextOffset: 2,
    });
    expect(channel.describe()).toMatchObject({ depth: 1, deadLetters: { messages: 2 } });
  });

  test("[DL4] dead letters that lie behind many others are found step by step", () => {
    const channel = filled([], { maxInFlight: 10_000 });
    const count = LIMITS.browseMessagesMax + 1;
    put(channel, ...Array.from({ length: count }, (_, index) => (index === count - 1 ? "z" : "1")));
    const { granted } = expectType(channel.pull({ max: count }), "got");
    channel.settle({ rejects: (granted?.leaseIds ?? []).map((leaseId) => ({ leaseId })) });
    const step = { type: "redrive", max: 10, filter: { key: "z" } } as const;

    const first = expectType(channel.apply({ ...step, fromOffset: 1 }), "moved");
    const second = expectType(channel.apply({ ...step, fromOffset: first.nextOffset ?? 0 }), "moved");

    expect(first).toEqual({ type: "moved", moved: 0, isMore: true, nextOffset: count });
    expect(second).toEqual({ type: "moved", moved: 1, isMore: false });
  });

  test("[DL1] dropped ones are gone; a new life has none", () => {
    const channel = withDead();

    expect(channel.apply({ type: "drop-dead-letters", fromOffset: 1, max: 2, filter: {} })).toEqual({
      type: "moved",
      moved: 2,
      isMore: true,
      nextOffset: 3,
    });
    expect(deadLettersOf(channel).map(({ text }) => text)).toEqual(["a2"]);
    channel.delete();
    channel.apply({ type: "create", settings: {} });
    channel.evict();

    expect(deadLettersOf(channel)).toEqual([]);
    expect(channel.describe().deadLetters).toEqual({ messages: 0, bytes: 0 });
  });
});
