// Leases: pulls, settle calls, expiry, connections, and what survives an eviction (SPEC LS).
import { describe, expect, test } from "vitest";
import type { Outcome } from "../../src/channel/operation.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import type { GivenSettings } from "../../src/protocol/settings.ts";
import { ChannelHarness, expectType, kindOf, refusalOf, textMessage, textsOf } from "./channel-harness.ts";

function filled(texts: string, settings: GivenSettings = {}): ChannelHarness {
  const channel = new ChannelHarness({ settings });
  channel.put(texts.split(""));
  return channel;
}

/** The lease ids of a pull. */
function idsOf(outcome: Outcome): readonly string[] {
  return expectType(outcome, "got").granted?.leaseIds ?? [];
}

function idOf(outcome: Outcome, index = 0): string {
  return idsOf(outcome)[index] ?? "";
}

function attemptsOf(outcome: Outcome): readonly number[] {
  return expectType(outcome, "got").granted?.attempts ?? [];
}

const leases = (...ids: readonly string[]): { leaseId: string }[] => ids.map((leaseId) => ({ leaseId }));

/** The kinds, and causes where there are some, of the entries that were refused. */
function refusedOf(outcome: Outcome): unknown[] {
  return expectType(outcome, "settled").refused.map(({ refusal }) => ("cause" in refusal ? refusal.cause : refusal.kind));
}

describe("src/channel/delivery", () => {
  test("[LS1] a pull leases messages: they stay in the channel, and nobody else is given them", () => {
    const channel = filled("abc");

    const pulled = channel.pull({ max: 2 });

    expect(textsOf(pulled)).toEqual(["a", "b"]);
    expect(expectType(pulled, "got").granted).toMatchObject({
      attempts: [1, 1],
      redelivered: [false, false],
      leaseUntilMs: channel.nowMs + 30_000,
    });
    expect(textsOf(channel.pull({ max: 9 }))).toEqual(["c"]);
    expect(textsOf(channel.pull({ max: 9 }))).toEqual([]);
    expect(channel.getTexts(9)).toEqual([]);
    expect(channel.describe()).toMatchObject({ depth: 3, delivery: { ready: 0, leased: 3 }, counts: { acked: 0 } });
  });

  test("[LS4] what is acked is gone", () => {
    const channel = filled("abc");
    const pulled = channel.pull({ max: 3 });

    const settled = channel.settle({ acks: leases(...idsOf(pulled)) });

    expect(settled).toMatchObject({ type: "settled", counts: { ack: 3 }, refused: [] });
    expect(channel.describe()).toMatchObject({ depth: 0, bytes: 0, segments: 0, counts: { put: 3, acked: 3 } });
  });

  test("[LS4] messages may be acked in any order, and the rest stays", () => {
    const channel = filled("abcd");
    const pulled = channel.pull({ max: 4 });

    channel.settle({ acks: leases(idOf(pulled, 3), idOf(pulled, 1)) });
    channel.evict();

    expect(channel.browseTexts()).toEqual(["a", "c"]);
    expect(channel.describe()).toMatchObject({ depth: 2, delivery: { leased: 2 }, counts: { acked: 2 } });
  });

  test("[LS3] a lease that was settled is lost, and says so", () => {
    const channel = filled("a");
    const acks = leases(idOf(channel.pull()));
    channel.settle({ acks });

    expect(refusedOf(channel.settle({ acks }))).toEqual(["settled"]);
  });

  test("[LS6] a consumer that dies with k leased messages: all come back after their lease, in order, with attempt 2", () => {
    const channel = filled("abcde");
    const dead = channel.pull({ max: 5, leaseMs: 5_000 });
    channel.tick(4_999);
    expect(textsOf(channel.pull({ max: 5 }))).toEqual([]);

    channel.tick(1);
    const late = channel.settle({ acks: leases(...idsOf(dead)) });
    const again = channel.pull({ max: 9 });

    expect(refusedOf(late)).toEqual(Array.from({ length: 5 }, () => "expired"));
    expect(textsOf(again)).toEqual(["a", "b", "c", "d", "e"]);
    expect(expectType(again, "got").granted).toMatchObject({
      attempts: [2, 2, 2, 2, 2],
      redelivered: [true, true, true, true, true],
    });
    expect(refusedOf(channel.settle({ acks: leases(...idsOf(dead)) }))).toEqual(Array.from({ length: 5 }, () => "superseded"));
    expect(channel.describe().counts.acked).toBe(0);
  });

  test("[LS6] nobody has to tick: the next operation sees that a lease is over", () => {
    const channel = filled("a");
    channel.pull({ leaseMs: 1_000 });

    channel.nowMs += 1_000;

    expect(textsOf(channel.pull())).toEqual(["a"]);
  });

  test("[LS6] a get that waits is served when a lease ends, and the alarm is set for it", () => {
    const channel = filled("a");
    channel.pull({ leaseMs: 5_000 });
    expect(channel.channel.nextServiceAtMs).toBeUndefined();
    const connection = channel.connect();

    const waiting = channel.pull({ waitMs: 60_000 }, { connection, request: 1 });
    const alarmAtMs = channel.channel.nextServiceAtMs;
    channel.tick(5_000);

    expect(waiting.type).toBe("waiting");
    expect(alarmAtMs).toBe(channel.nowMs);
    expect(channel.takeAnswers().map(({ outcome }) => [textsOf(outcome), attemptsOf(outcome)])).toEqual([[["a"], [2]]]);
  });

  test("[LS5] a release gives back at once and does not count", () => {
    const channel = filled("ab");
    const pulled = channel.pull({ max: 2 });

    channel.settle({ releases: leases(...idsOf(pulled)) });
    const again = channel.pull({ max: 2 });

    expect([textsOf(again), attemptsOf(again)]).toEqual([
      ["a", "b"],
      [1, 1],
    ]);
    expect(expectType(again, "got").granted?.redelivered).toEqual([true, true]);
    expect(refusedOf(channel.settle({ acks: leases(...idsOf(pulled)) }))).toEqual(["superseded", "superseded"]);
  });

  test("[LS5] a retry comes back after its delay and counts", () => {
    const channel = filled("ab");
    const pulled = channel.pull({ max: 1 });

    channel.settle({ retries: [{ leaseId: idOf(pulled), delayMs: 10_000 }] });

    expect(channel.describe().delivery).toMatchObject({ ready: 1, retrying: 1 });
    expect(refusedOf(channel.settle({ acks: leases(idOf(pulled)) }))).toEqual(["retried"]);
    channel.tick(9_999);
    expect(channel.getTexts()).toEqual(["b"]);
    expect(channel.getTexts()).toEqual([]);
    channel.tick(1);
    const again = channel.pull();
    expect([textsOf(again), attemptsOf(again)]).toEqual([["a"], [2]]);
  });

  test("[LS4] an extension moves the deadline", () => {
    const channel = filled("a");
    const pulled = channel.pull({ leaseMs: 5_000 });
    channel.tick(4_000);

    channel.settle({ extends: [{ leaseId: idOf(pulled), leaseMs: 60_000 }] });
    channel.tick(59_000);
    channel.evict();

    expect(channel.settle({ acks: leases(idOf(pulled)) })).toMatchObject({ counts: { ack: 1 } });
  });

  test("[LS4] a rejected message goes to the dead letters with the reason", () => {
    const channel = filled("ab");
    const pulled = channel.pull();

    channel.settle({ rejects: [{ leaseId: idOf(pulled), reason: "cannot be parsed" }] });
    channel.evict();

    const page = expectType(channel.apply({ type: "dead-letters", fromOffset: 1, limit: 10, filter: {} }), "dead-letter-page");
    expect(page.letters).toMatchObject([
      { attempts: 1, reason: "cannot be parsed", diedAtMs: channel.nowMs, message: { offset: 1 } },
    ]);
    expect(channel.describe()).toMatchObject({
      depth: 1,
      deadLetters: { messages: 1, bytes: 1 },
      counts: { put: 2, acked: 0, removed: 0, deadLettered: 1, dropped: 0, expired: 0 },
    });
  });

  test.each(["", "x", "0-1-1-0123456789abcdef-0123456789abcdef", "0-1-1-0123456789abcdef"])(
    "[LS2] a made-up lease id refuses the call and changes nothing: %j",
    (madeUp) => {
      const channel = filled("ab");
      const own = idOf(channel.pull());

      const outcome = channel.settle({ acks: leases(own, madeUp) });

      expect(refusalOf(outcome)).toEqual({ kind: "invalid-lease", pointer: "/acks/1/leaseId" });
      expect(channel.describe().depth).toBe(2);
    },
  );

  test("[LS2] an id that was cut, changed, or made by another life is not taken", () => {
    const channel = filled("ab");
    const id = idOf(channel.pull());
    const others = [
      id.slice(0, -1),
      `${id}0`,
      id.replace(/^0-1-/, "0-01-"),
      id.replace(/.$/, (digit) => (digit === "0" ? "1" : "0")),
    ];

    for (const other of others) expect(kindOf(channel.settle({ acks: leases(other) }))).toBe("invalid-lease");
    channel.delete();
    channel.apply({ type: "create", settings: {} });
    channel.put(["new"]);
    channel.pull();

    expect(kindOf(channel.settle({ acks: leases(id) }))).toBe("invalid-lease");
  });

  test("[LS3] an id whose offset or attempt was changed does not settle what another holder has", () => {
    const channel = filled("ab");
    const first = idOf(channel.pull());
    const second = idOf(channel.pull());

    const outcome = channel.settle({ acks: leases(first.replace(/^0-1-/, "0-2-"), second.replace(/^0-2-1-/, "0-2-2-")) });

    expect(refusedOf(outcome)).toEqual(["superseded", "superseded"]);
    expect(channel.describe().depth).toBe(2);
  });

  test("[LS2] one lease twice in a call refuses the call and changes nothing", () => {
    const channel = filled("ab");
    const pulled = channel.pull({ max: 2 });

    const outcome = channel.settle({ acks: leases(...idsOf(pulled)), releases: leases(idOf(pulled)) });

    expect(refusalOf(outcome)).toMatchObject({ kind: "invalid-request", errors: [{ pointer: "/releases/0/leaseId" }] });
    expect(channel.describe()).toMatchObject({ depth: 2, delivery: { leased: 2 } });
  });

  test("[LS2] a call has at most settleEntriesMax leases, in all lists together", () => {
    const channel = filled("a");
    const id = idOf(channel.pull());
    const acks = Array.from({ length: LIMITS.settleEntriesMax }, (_, index) => ({ leaseId: `${index}` }));

    expect(refusalOf(channel.settle({ acks, releases: leases(id) }))).toMatchObject({ kind: "invalid-request" });
    expect(channel.describe().delivery?.leased).toBe(1);
  });

  test("[LS14] an entry with a count stands for the leases of the next offsets, each judged by itself under its pointer", () => {
    const channel = filled("abcdef");
    const pulled = channel.pull({ max: 6 });
    channel.settle({ acks: leases(idOf(pulled, 1)) });

    const settled = channel.settle({ acks: [{ leaseId: idOf(pulled), count: 4 }], releases: leases(idOf(pulled, 5)) });

    const lost = { kind: "lease-lost", offset: 2, cause: "settled" };
    expect(settled).toMatchObject({ counts: { ack: 3, release: 1 }, refused: [{ pointer: "/acks/0/leaseId", refusal: lost }] });
    expect(channel.browseTexts()).toEqual(["e", "f"]);
    expect(channel.describe().delivery).toMatchObject({ ready: 1, leased: 1 });
  });

  test("[LS14] what another holder has, and what comes behind the last message, is not taken by a count", () => {
    const channel = filled("abc");
    const [first, second] = [channel.pull(), channel.pull()];
    channel.pull();

    const settled = channel.settle({ acks: [{ leaseId: idOf(first), count: 9 }] });

    const causes = ["superseded", "superseded", ...Array.from({ length: 6 }, () => "settled")];
    expect([settled, refusedOf(settled)]).toMatchObject([{ counts: { ack: 1 } }, causes]);
    expect(channel.settle({ acks: leases(idOf(second)) })).toMatchObject({ counts: { ack: 1 } });
  });

  test("[LS14] [LS2] counts that overlap refuse the call, and so do more than settleEntriesMax leases by counts", () => {
    const channel = filled("abc");
    const pulled = channel.pull({ max: 3 });
    const [leaseId, next] = [idOf(pulled), idOf(pulled, 1)];

    const overlapping = channel.settle({ acks: [{ leaseId, count: 2 }], releases: leases(next) });
    const count = LIMITS.settleEntriesMax;
    const tooMany = channel.settle({ acks: [{ leaseId, count }, { leaseId: next }] });

    expect(refusalOf(overlapping)).toMatchObject({ kind: "invalid-request", errors: [{ pointer: "/releases/0/leaseId" }] });
    expect(kindOf(tooMany)).toBe("invalid-request");
    expect(channel.describe().delivery?.leased).toBe(3);
  });

  test("[LS14] [KO2] an ack of a whole key by one count is in order", () => {
    const channel = new ChannelHarness({ settings: {} });
    channel.putMessages(["a", "b", "c"].map((text) => ({ ...textMessage(text), key: "k" })));
    const pulled = channel.pull({ max: 3 });

    expect(channel.settle({ acks: [{ leaseId: idOf(pulled, 1), count: 2 }] })).toMatchObject({
      counts: { ack: 0 },
      refused: [{ refusal: { kind: "out-of-order", offset: 2 } }, { refusal: { kind: "out-of-order", offset: 3 } }],
    });
    expect(channel.settle({ acks: [{ leaseId: idOf(pulled), count: 3 }] })).toMatchObject({ counts: { ack: 3 }, refused: [] });
  });

  test("[LS7] no more than maxInFlight messages are leased; a larger min can never be served", () => {
    const channel = filled("abcde", { delivery: { maxInFlight: 3 } });

    const first = channel.pull({ max: 5 });
    const second = channel.pull({ max: 5 });

    expect([textsOf(first), textsOf(second)]).toEqual([["a", "b", "c"], []]);
    expect(refusalOf(channel.pull({ min: 4, max: 5 }))).toMatchObject({ kind: "batch-too-large", size: 4, limit: 3 });
    channel.settle({ acks: leases(idOf(first)) });
    expect(textsOf(channel.pull({ max: 5 }))).toEqual(["d"]);
  });

  test("[LS8] leases, attempts and delays survive an eviction", () => {
    const channel = filled("abcd");
    const held = channel.pull({ max: 2 });
    channel.settle({ retries: [{ leaseId: idOf(channel.pull()), delayMs: 60_000 }] });
    channel.settle({ releases: leases(idOf(channel.pull())) });

    channel.evict();

    expect(channel.describe().delivery).toMatchObject({ ready: 1, leased: 2, retrying: 1 });
    const again = channel.pull({ max: 9 });
    expect([textsOf(again), attemptsOf(again)]).toEqual([["d"], [1]]);
    expect(channel.settle({ acks: leases(...idsOf(held)) })).toMatchObject({ counts: { ack: 2 } });
    channel.tick(60_000);
    expect(attemptsOf(channel.pull({ max: 9 }))).toEqual([2, 2]);
  });

  test("[LS9] a clean close ends the leases of the connection at once, and they do not count", () => {
    const channel = filled("ab");
    const connection = channel.connect();
    channel.pull({ isDetached: false }, { connection, request: 1 });
    channel.pull({ isDetached: true }, { connection, request: 2 });
    channel.evict();

    channel.close(connection);

    const again = channel.pull({ max: 9 });
    expect([textsOf(again), attemptsOf(again)]).toEqual([["a"], [1]]);
  });

  test("[LS9] the leases of a connection that was cut off are kept for a grace, and count", () => {
    const channel = filled("ab");
    const connection = channel.connect();
    channel.pull({ isDetached: false }, { connection, request: 1 });
    channel.pull({ isDetached: false, leaseMs: 1_000 }, { connection, request: 2 });

    channel.close(connection, false);

    channel.tick(1_000);
    expect(textsOf(channel.pull({ max: 9 }))).toEqual(["b"]);
    channel.tick(LIMITS.resumeGraceMs - 1_001);
    expect(textsOf(channel.pull({ max: 9 }))).toEqual([]);
    channel.tick(1);
    expect(attemptsOf(channel.pull({ max: 9 }))).toEqual([2]);
  });

  test("[LS9] connections that a restart cut off: their leases end after the grace, whoever has their numbers then", () => {
    const channel = filled("ab");
    const connection = channel.connect();
    const held = channel.pull({ max: 2, isDetached: false, leaseMs: 60_000 }, { connection, request: 1 });
    channel.cut(connection);
    channel.evict();

    channel.describe();
    channel.evict();
    channel.close(connection);

    expect(channel.settle({ acks: leases(idOf(held)) })).toMatchObject({ counts: { ack: 1 } });
    channel.tick(LIMITS.resumeGraceMs - 1);
    expect(textsOf(channel.pull())).toEqual([]);
    channel.tick(1);
    expect(attemptsOf(channel.pull())).toEqual([2]);
  });

  test("[LS9] leases of connections that a crash ended are kept for a grace, and count", () => {
    const channel = filled("ab");
    const connection = channel.connect();
    const held = channel.pull({ isDetached: false }, { connection, request: 1 });
    channel.cut(connection);
    channel.evict();

    channel.tick(1_000);
    channel.tick(LIMITS.resumeGraceMs - 1);
    expect(textsOf(channel.pull({ max: 9 }))).toEqual(["b"]);
    channel.evict();
    channel.tick(1);

    expect(attemptsOf(channel.pull({ max: 9 }))).toEqual([2]);
    expect(channel.settle({ acks: leases(idOf(held)) })).toMatchObject({ refused: [{ refusal: { cause: "superseded" } }] });
  });

  test("[LS9] a connection that gets the number of one before a crash does not end its leases", () => {
    const channel = filled("ab");
    const connection = channel.connect();
    const held = channel.pull({ isDetached: false }, { connection, request: 1 });
    channel.crash();
    const next = channel.connect();
    expect(next).toBe(connection);
    channel.tick();

    channel.close(next);

    expect(textsOf(channel.pull({ max: 9 }))).toEqual(["b"]);
    expect(channel.settle({ acks: leases(idOf(held)) })).toMatchObject({ counts: { ack: 1 } });
  });

  test("[LS9] after a crash nobody may have the numbers of lost connections before their leases are looked after", () => {
    const channel = filled("a");
    const connection = channel.connect();
    channel.pull({ isDetached: false }, { connection, request: 1 });

    channel.crash();
    expect(channel.channel.lostConnections).toEqual([connection]);
    channel.tick();

    expect(channel.channel.lostConnections).toEqual([]);
  });

  test("[LS6] a lease that was over before its connection closed has expired, and counts", () => {
    const channel = filled("a");
    const connection = channel.connect();
    const pulled = channel.pull({ isDetached: false, leaseMs: 1_000 }, { connection, request: 1 });

    channel.nowMs += 1_000;
    channel.close(connection);

    expect(refusedOf(channel.settle({ acks: leases(...idsOf(pulled)) }))).toEqual(["expired"]);
    expect(attemptsOf(channel.pull())).toEqual([2]);
  });

  test("[LC2] a draining channel closes when a closing connection gives back the last message to one that waits", () => {
    const channel = filled("a");
    const connection = channel.connect();
    channel.pull({ isDetached: false }, { connection, request: 1 });
    channel.patch({ state: "draining" });
    channel.get({ waitMs: 1_000 }, { connection: channel.connect(), request: 1 });

    channel.close(connection);

    expect(channel.takeAnswers().map(({ outcome }) => textsOf(outcome))).toEqual([["a"]]);
    expect(channel.channel.record?.state).toBe("closed");
  });

  test("[LS7] a pull that waits is refused when maxInFlight sinks below its min, and blocks nobody", () => {
    const channel = new ChannelHarness({ settings: {} });
    const connection = channel.connect();
    channel.pull({ min: 3, max: 3, waitMs: 60_000 }, { connection, request: 1 });
    channel.pull({ waitMs: 60_000 }, { connection, request: 2 });

    channel.patch({ delivery: { maxInFlight: 2 } });
    channel.put(["a"]);

    const [first, second] = channel.takeAnswers();
    expect(refusalOf(first?.outcome)).toMatchObject({ kind: "batch-too-large", size: 3, limit: 2 });
    expect(second && textsOf(second.outcome)).toEqual(["a"]);
  });

  test("[LS5] a message that was due before the clock was set back is handed out when it is due again", () => {
    const channel = filled("a");
    channel.settle({ retries: [{ leaseId: idOf(channel.pull()), delayMs: 10_000 }] });
    channel.tick(10_000);
    channel.nowMs -= 5_000;

    const early = channel.pull();
    channel.tick(5_000);

    expect([textsOf(early), textsOf(channel.pull())]).toEqual([[], ["a"]]);
  });

  test("[LS10] a draining channel closes when what is leased was settled; what comes back is handed out", () => {
    const channel = filled("ab");
    const pulled = channel.pull({ max: 2 });
    channel.patch({ state: "draining" });
    const connection = channel.connect();
    const waiting = channel.pull({ waitMs: 1_000 }, { connection, request: 1 });

    channel.settle({ acks: leases(idOf(pulled)), releases: leases(idOf(pulled, 1)) });

    expect(waiting.type).toBe("waiting");
    const [answer] = channel.takeAnswers();
    expect(answer && textsOf(answer.outcome)).toEqual(["b"]);
    channel.settle({ acks: leases(answer === undefined ? "" : idOf(answer.outcome)) });
    expect(channel.describe().state).toBe("closed");
  });

  test("[LS10] [LC2] a draining channel closes when its last message leaves by time or by a connection's end", () => {
    const [dying, taken] = [filled("a", { delivery: { maxAttempts: 1 } }), filled("a")];
    dying.pull({ leaseMs: 1_000 });
    const [holder, reader] = [taken.connect(), taken.connect()];
    taken.pull({ isDetached: false }, { connection: holder, request: 1 });
    taken.get({ waitMs: 1_000 }, { connection: reader, request: 1 });
    for (const channel of [dying, taken]) channel.patch({ state: "draining" });

    dying.nowMs += 1_000;
    taken.close(holder);

    expect(dying.describe()).toMatchObject({ state: "closed", depth: 0, counts: { deadLettered: 1 } });
    expect(taken.describe()).toMatchObject({ state: "closed", depth: 0, counts: { acked: 1 } });
  });

  test("[LS10] leases are settled in a closed channel", () => {
    const channel = filled("ab");
    const pulled = channel.pull({ max: 2 });
    channel.patch({ state: "closed" });

    expect(channel.settle({ acks: leases(...idsOf(pulled)) })).toMatchObject({ counts: { ack: 2 } });
    expect(kindOf(channel.pull())).toBe("channel-closed");
  });

  test("[LS10] removing, purging and deleting end the leases of what they remove", () => {
    const channel = filled("abc");
    const pulled = channel.pull({ max: 2 });
    channel.apply({ type: "remove", offset: 1 });

    expect(refusedOf(channel.settle({ acks: leases(idOf(pulled)) }))).toEqual(["settled"]);
    channel.apply({ type: "purge" });
    channel.evict();

    expect(refusedOf(channel.settle({ acks: leases(idOf(pulled, 1)) }))).toEqual(["settled"]);
    expect(channel.describe()).toMatchObject({ depth: 0, delivery: { leased: 0 }, counts: { put: 3, acked: 0, removed: 3 } });
    channel.put(["new"]);
    expect(textsOf(channel.pull())).toEqual(["new"]);
  });

  test("[LS11] a batch that is put, leased and acked as a whole writes one lease row, again and again the same", () => {
    const channel = new ChannelHarness({ settings: {} });
    const written: unknown[] = [];
    for (let batch = 0; batch < 5; batch++) {
      channel.putMessages(Array.from({ length: 100 }, () => textMessage("x")));
      const put = channel.changes;
      const pulled = channel.pull({ max: 100 });
      const lease = channel.changes;
      channel.settle({ acks: leases(...idsOf(pulled)) });
      written.push([put?.insertSegments.length, lease?.delivery?.get(0)?.writeLeases.map((row) => row.slot), lease?.position]);
      expect(channel.changes).toMatchObject({ delivery: undefined, writeGone: new Map() });
    }

    expect(written).toEqual(Array.from({ length: 5 }, () => [1, [1], undefined]));
  });

  test("[LS1] a commit that fails leases nothing and settles nothing", () => {
    const channel = filled("ab");
    channel.failToCommit(() => channel.pull({ max: 2 }));
    const pulled = channel.pull({ max: 2 });

    channel.failToCommit(() => channel.settle({ acks: leases(...idsOf(pulled)) }));

    expect(channel.describe()).toMatchObject({ depth: 2, delivery: { leased: 2 } });
    expect(channel.settle({ acks: leases(...idsOf(pulled)) })).toMatchObject({ counts: { ack: 2 } });
  });

  test("[LS1] a pull of min messages takes none when fewer can be had", () => {
    const channel = filled("abc");
    channel.pull();

    expect(textsOf(channel.pull({ min: 3, max: 3 }))).toEqual([]);
    expect(textsOf(channel.pull({ min: 2, max: 3 }))).toEqual(["b", "c"]);
  });

  test("[GT5] control records are passed once, also between leased messages", () => {
    const channel = filled("a", { maxMessages: 10 });
    channel.patch({ maxMessages: 20 });
    channel.put(["b"]);

    const pulled = expectType(channel.pull({ max: 2 }), "got");
    channel.settle({ releases: leases(...idsOf(pulled)) });
    channel.evict();
    const again = expectType(channel.pull({ max: 2 }), "got");

    expect(pulled.controls).toMatchObject([{ offset: 2, control: { type: "resize" } }]);
    expect([textsOf(again), again.controls]).toEqual([["a", "b"], []]);
  });
});

const value = new TextEncoder().encode("done");
const checkpoint = { name: "cursor", value, contentType: "text/plain" };

function settleWith(channel: ChannelHarness, acks: readonly string[], riders: object): Outcome {
  const entries = acks.map((leaseId, index) => ({ verb: "ack" as const, leaseId, pointer: `/acks/${index}/leaseId` }));
  return channel.apply({ type: "settle", entries, ...riders });
}

describe("src/channel/group-desk: riders", () => {
  test("[LS12] [G8] a checkpoint and puts happen together with the acks, in one commit", () => {
    const channel = filled("ab", { maxMessages: 2 });
    const pulled = channel.pull({ max: 2 });

    const outcome = settleWith(channel, idsOf(pulled), { checkpoint, puts: [textMessage("c"), textMessage("d")] });

    expect(outcome).toMatchObject({ counts: { ack: 2 }, checkpoint: { version: 1 }, put: { offset: 3, count: 2 } });
    expect(channel.changes).toMatchObject({ checkpoints: { write: [{ name: "cursor" }] }, insertSegments: [{ firstOffset: 3 }] });
    channel.evict();
    expect(channel.browseTexts()).toEqual(["c", "d"]);
  });

  test("[LS12] [G8] one lost lease, stale version or too little room refuses all of it and names every part", () => {
    const channel = filled("abc", { maxMessages: 3 });
    const pulled = channel.pull({ max: 2 });
    channel.settle({ releases: leases(idOf(pulled)) });
    channel.settle({ acks: [] });

    const outcome = settleWith(channel, idsOf(pulled), {
      checkpoint: { ...checkpoint, ifMatch: 7 },
      puts: [textMessage("d"), textMessage("e")],
    });

    expect(refusalOf(outcome)).toMatchObject({
      kind: "settle-refused",
      refused: [
        { pointer: "/acks/0/leaseId", problem: { kind: "lease-lost", cause: "released" } },
        { pointer: "/checkpoint", problem: { kind: "checkpoint-conflict", current: null } },
        { pointer: "/puts", problem: { kind: "channel-full" } },
      ],
    });
    expect(channel.describe()).toMatchObject({ depth: 3, delivery: { leased: 1 }, nextOffset: 4 });
    expect(kindOf(channel.apply({ type: "read-checkpoint", name: "cursor" }))).toBe("unknown-checkpoint");
  });

  test("[LS12] puts that ride along do not pass puts that wait, and a closed channel takes none", () => {
    const channel = filled("ab", { maxMessages: 2 });
    const connection = channel.connect();
    const pulled = channel.pull({ max: 1 });
    channel.reserve(2, 2, { connection, request: 1 }, 9_000);

    const passing = settleWith(channel, idsOf(pulled), { puts: [textMessage("c")] });
    channel.patch({ state: "draining" });
    const late = settleWith(channel, idsOf(pulled), { puts: [textMessage("c")] });

    expect(refusalOf(passing)).toMatchObject({ refused: [{ pointer: "/puts", problem: { kind: "channel-full" } }] });
    expect(refusalOf(late)).toMatchObject({ refused: [{ pointer: "/puts", problem: { kind: "channel-draining" } }] });
  });

  test("[LS12] [G8] a commit that fails does none of it", () => {
    const channel = filled("a");
    const pulled = channel.pull();

    channel.failToCommit(() => settleWith(channel, idsOf(pulled), { checkpoint, puts: [textMessage("b")] }));

    expect(channel.browseTexts()).toEqual(["a"]);
    expect(kindOf(channel.apply({ type: "read-checkpoint", name: "cursor" }))).toBe("unknown-checkpoint");
    expect(settleWith(channel, idsOf(pulled), { checkpoint })).toMatchObject({ counts: { ack: 1 }, checkpoint: { version: 1 } });
  });
});
