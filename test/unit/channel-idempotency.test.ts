// Idempotency keys and expected offsets. Rules DD6 to DD12 of SPEC.md.
import { afterEach, describe, expect, test } from "vitest";
import { bucketOf, fingerprintOf } from "../../src/channel/fingerprint.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import type { PutMessage } from "../../src/protocol/message.ts";
import { ChannelHarness, kindOf, refusalOf, textMessage } from "./channel-harness.ts";

const PRODUCTION_LIMITS = { ...LIMITS };
const WINDOW_MS = 400_000;

afterEach(() => {
  Object.assign(LIMITS, PRODUCTION_LIMITS);
});

function openChannel(maxMessages = 1000): ChannelHarness {
  return new ChannelHarness({ settings: { maxMessages, idempotencyWindowMs: WINDOW_MS } });
}

function key(idempotencyKey: string): { readonly idempotencyKey: string } {
  return { idempotencyKey };
}

/** How many keys are stored, expired ones too. */
function storedKeys(channel: ChannelHarness): number {
  const { idempotency } = channel.store;
  return idempotency.readGenerations().reduce((keys, generation) => keys + idempotency.countKeys(generation.id), 0);
}

describe("src/channel/dedup: idempotency keys", () => {
  test("[DD6] the same key answers the first outcome, in the same commit, later and after a wake", () => {
    const channel = openChannel();
    channel.put(["before"]);
    const first = channel.together(() => [channel.put(["a", "b"], key("k")), channel.put(["a", "b"], key("k"))]);
    const later = channel.put(["a", "b"], key("k"));
    channel.evict();

    const woken = channel.put(["a", "b"], key("k"));

    const duplicate = { type: "put", offset: 2, count: 2, isDuplicate: true };
    expect([...first, later, woken]).toEqual([{ type: "put", offset: 2, count: 2 }, duplicate, duplicate, duplicate]);
    expect(channel.browseTexts()).toEqual(["before", "a", "b"]);
  });

  const a = textMessage("a");
  test.each<[string, PutMessage[]]>([
    ["another body", [textMessage("b")]],
    ["another number of messages", [a, a]],
    ["no messages", []],
    ["another key of the message", [{ ...a, key: "k" }]],
    ["another id", [{ ...a, messageId: "k" }]],
    ["another content type", [{ ...a, contentType: "text/html" }]],
    ["other headers", [{ ...a, headers: { x: "" } }]],
    ["another presentation", [{ ...a, presentation: "bytes" }]],
  ])("[DD6] the same key with %s is refused", (_name, messages) => {
    const channel = openChannel();
    channel.put(["a"], key("k"));

    const refusal = refusalOf(channel.putMessages(messages, key("k")));

    expect(refusal).toEqual({ kind: "idempotency-key-reused", idempotencyKey: "k" });
    expect(channel.changes).toBeUndefined();
  });

  test.each([false, true])("[DD6] a key is found for exactly the window after it was accepted (woken: %s)", (isWoken) => {
    const channel = openChannel();
    channel.put(["a"], key("k"));
    channel.nowMs += WINDOW_MS - 1;
    if (isWoken) channel.evict();
    expect(channel.put(["a"], key("k"))).toMatchObject({ offset: 1, isDuplicate: true });
    channel.nowMs += 1;
    if (isWoken) channel.evict();

    expect(channel.put(["other"], key("k"))).toEqual({ type: "put", offset: 2, count: 1 });
    expect(channel.put(["other"], key("k"))).toMatchObject({ offset: 2, isDuplicate: true });
  });

  test("[DD6] the window that is in force when a put comes decides, also for keys of before", () => {
    const channel = openChannel();
    channel.put(["a"], key("k"));
    channel.nowMs += 100_000;
    channel.patch({ idempotencyWindowMs: 90_000 });
    expect(channel.put(["b"], key("k"))).toMatchObject({ offset: 2 });
    channel.nowMs += 100_000;
    channel.patch({ idempotencyWindowMs: WINDOW_MS });

    expect(channel.put(["b"], key("k"))).toMatchObject({ offset: 2, isDuplicate: true });
  });

  test("[DD11] keys are dropped in whole tables, soon after the window, and those within it stay", () => {
    const channel = openChannel(100_000);
    const stored: number[] = [];
    for (let minute = 0; minute < 60; minute += 1) {
      for (let put = 0; put < 10; put += 1) channel.put(["x"], key(`${minute}/${put}`));
      channel.nowMs += 60_000;
      const kept = Math.min(minute, Math.floor((WINDOW_MS - 1) / 60_000) - 1);
      expect(channel.put(["x"], key(`${minute - kept}/3`))).toMatchObject({ isDuplicate: true });
      stored.push(storedKeys(channel));
    }

    const inWindow = (WINDOW_MS / 60_000) * 10;
    expect(Math.max(...stored)).toBeLessThanOrEqual(inWindow * 1.5 + 20);
    expect(channel.store.idempotency.readGenerations().length).toBeLessThanOrEqual(7);
  });

  test("[DD7] [G6] keys of a longer window do not stay because the window was shortened; tables are bounded", () => {
    const channel = openChannel(100_000);
    for (let change = 0; change < 100; change += 1) {
      channel.patch({ idempotencyWindowMs: change % 2 === 0 ? LIMITS.idempotencyWindowMsMax : 60_000 });
      channel.put(["x"], key(`${change}`));
      channel.nowMs += 20_000;
    }
    expect(channel.store.idempotency.readGenerations().length).toBeLessThanOrEqual(LIMITS.idempotencyGenerationsMax);

    channel.patch({ idempotencyWindowMs: 60_000 });
    channel.put(["x"], key("now"));
    channel.nowMs += 120_000;
    channel.put(["x"], key("then"));

    expect(storedKeys(channel)).toBe(1);
  });

  test("[DD7] [G9] none is forgotten early where the clock was set back by more than a part of the window", () => {
    const channel = openChannel();
    channel.nowMs += WINDOW_MS / 2 + 10_000;
    channel.put(["x"], key("late"));
    channel.evict();
    channel.nowMs -= WINDOW_MS / 2 + 5_000;
    channel.put(["x"], key("early"));

    // To a millisecond before the window of the first is over, by its own time.
    channel.nowMs += WINDOW_MS / 2 + 5_000 + WINDOW_MS - 1;
    channel.put(["x"]);
    channel.evict();

    expect(channel.put(["x"], key("late"))).toMatchObject({ offset: 1, isDuplicate: true });
  });

  test("[DD7] at the bound a new key is refused, retries are answered, and none is forgotten early", () => {
    Object.assign(LIMITS, { idempotencyKeysMax: 3 });
    const channel = openChannel();
    for (const name of ["a", "b", "c"]) channel.put([name], key(name));

    const full = refusalOf(channel.put(["d"], key("d")));

    expect(full).toMatchObject({ kind: "too-many-idempotency-keys", limit: 3 });
    const { retryAfterMs } = full as { retryAfterMs: number };
    expect(retryAfterMs).toBeGreaterThanOrEqual(WINDOW_MS);
    expect(["a", "b", "c"].map((name) => channel.put([name], key(name)))).toMatchObject([1, 2, 3].map((offset) => ({ offset })));
    expect(channel.put(["without"])).toMatchObject({ offset: 4 });
    channel.nowMs += retryAfterMs - 1;
    expect(kindOf(channel.put(["d"], key("d")))).toBe("too-many-idempotency-keys");
    channel.nowMs += 1;
    expect(channel.put(["d"], key("d"))).toMatchObject({ offset: 5 });
  });

  test("[DD7] wakes do not let the count of the keys drift to the bound", () => {
    Object.assign(LIMITS, { idempotencyKeysMax: 5000 });
    const channel = openChannel();
    for (let wake = 0; wake < 200; wake += 1) {
      channel.evict();
      expect(channel.put(["x"], key(`${wake}`))).toMatchObject({ type: "put" });
    }

    expect(storedKeys(channel)).toBe(200);
  });

  test("[DD7] the bound holds across wakes and failed commits", () => {
    Object.assign(LIMITS, { idempotencyKeysMax: 20 });
    const channel = openChannel();
    for (let put = 0; put < 40; put += 1) {
      if (put % 3 === 0) channel.evict();
      if (put % 4 === 0) channel.failToCommit(() => channel.put(["x"], key(`lost ${put}`)));
      channel.put(["x"], key(`${put}`));
    }

    expect(storedKeys(channel)).toBe(20);
    expect(kindOf(channel.put(["x"], key("one more")))).toBe("too-many-idempotency-keys");
  });

  test.each(["full", "draining", "closed"])("[DD9] a retry is answered although the channel is %s by now", (state) => {
    const channel = openChannel(1);
    channel.put(["a"], key("k"));
    if (state !== "full") channel.patch({ state: state === "draining" ? "draining" : "closed" });

    expect(channel.put(["a"], key("k"))).toMatchObject({ offset: 1, isDuplicate: true });
    expect(kindOf(channel.put(["b"], key("other")))).toBe(`channel-${state}`);
  });

  test("[DD9] a put that was refused, or whose commit failed, does not use up its key", () => {
    const channel = openChannel(1);
    channel.put(["in the way"]);
    expect(kindOf(channel.put(["a"], key("k")))).toBe("channel-full");
    channel.getTexts();
    channel.failToCommit(() => channel.put(["a"], key("k")));

    expect(channel.put(["other"], key("k"))).toEqual({ type: "put", offset: 2, count: 1 });
  });

  test("[DD10] a put that waits under a key is stored once, though it waits twice", () => {
    const channel = openChannel(1);
    channel.put(["in the way"]);
    const origins = [channel.connect(), channel.connect()].map((connection) => ({ connection, request: 1 }));
    for (const origin of origins) channel.put(["a"], { ...key("k"), waitMs: 60_000, origin });
    channel.patch({ maxMessages: 10 });

    const done = origins.map((origin) => channel.put(["a"], { ...key("k"), isPromised: true, origin }));

    expect(done).toMatchObject([{ offset: 3 }, { offset: 3, isDuplicate: true }]);
    expect(channel.describe()).toMatchObject({ depth: 2, waiting: { puts: 0 } });
  });

  test("[DD12] a purge keeps the keys, the end of the life forgets them", () => {
    const channel = openChannel();
    channel.put(["a"], key("k"));
    channel.apply({ type: "purge" });
    expect(channel.put(["a"], key("k"))).toMatchObject({ offset: 1, isDuplicate: true });

    channel.together(() => {
      channel.delete();
      channel.apply({ type: "create", settings: {} });
      expect(channel.put(["a"], key("k"))).toEqual({ type: "put", offset: 1, count: 1 });
      channel.delete();
      channel.apply({ type: "create", settings: {} });
      expect(channel.put(["b"], key("k"))).toEqual({ type: "put", offset: 1, count: 1 });
    });
    channel.evict();

    expect(channel.put(["b"], key("k"))).toMatchObject({ offset: 1, isDuplicate: true });
    channel.delete();
    expect(channel.store.idempotency.readGenerations()).toEqual([]);
  });
});

describe("src/channel/dedup: expected offsets", () => {
  test("[DD8] a put is accepted only at the offset that it expects", () => {
    const channel = openChannel();
    channel.put(["a"]);

    expect(channel.put(["b", "c"], { expectedOffset: 2 })).toEqual({ type: "put", offset: 2, count: 2 });
    for (const expectedOffset of [1, 2, 3, 5]) {
      const refusal = refusalOf(channel.put(["d"], { expectedOffset }));
      expect(refusal).toEqual({ kind: "offset-conflict", expectedOffset, nextOffset: 4 });
    }
    expect(channel.changes).toBeUndefined();
    expect(channel.put(["d"], { expectedOffset: 4 })).toMatchObject({ offset: 4 });
  });

  test("[DD8] [GR2] where the channel grows for the put, the record of that follows it", () => {
    const growth = { factor: 2, maxMessages: 8, maxBytes: LIMITS.channelBytesDefault };
    const channel = new ChannelHarness({ settings: { maxMessages: 1, growth } });
    channel.put(["a"]);

    expect(channel.put(["b"], { expectedOffset: 2 })).toMatchObject({ offset: 2 });

    const { messages, controls } = channel.browse();
    expect([messages.map(({ offset }) => offset), controls.map(({ offset }) => offset)]).toEqual([[1, 2], [3]]);
    expect(channel.describe().limits.maxMessages).toBe(2);
  });

  test("[DD9] a retry is a duplicate before its offset is looked at", () => {
    const channel = openChannel();
    const put = { expectedOffset: 1, idempotencyKey: "k" };
    channel.put(["a"], put);

    expect(channel.put(["a"], put)).toEqual({ type: "put", offset: 1, count: 1, isDuplicate: true });
  });

  test("[DD10] a later offset waits behind a put of its connection, and is judged when the body comes", () => {
    const channel = openChannel(1);
    channel.put(["in the way"]);
    const connection = channel.connect();
    const put = (request: number, expectedOffset: number, isPromised = false): string =>
      kindOf(channel.put(["x"], { expectedOffset, waitMs: 60_000, isPromised, origin: { connection, request } }));

    expect([put(1, 2), put(2, 3), put(3, 1), put(4, 9)]).toEqual(["waiting", "waiting", "offset-conflict", "waiting"]);
    channel.getTexts();
    expect(put(1, 2, true)).toBe("put");
    channel.patch({ maxMessages: 10 });

    // The control record of the new limits took offset 3.
    expect([put(2, 3, true), put(4, 9, true)]).toEqual(["offset-conflict", "offset-conflict"]);
  });
});

describe("src/channel/fingerprint", () => {
  test("[DD6] messages that differ in one bit, one place or one border have other fingerprints", () => {
    const texts = ["", "a", "b", "aa", "ab", "ba", "abc", "abcd", "abcde", "abcdefgh", "abcdefg\u0000", "a\u0000"];
    const batches = texts.flatMap((text) => [[text], [text, ""], ["", text], [text, text]]);
    const distinct = new Map(batches.map((batch) => [JSON.stringify(batch), fingerprintOf(batch.map(textMessage))]));
    const large = Array.from({ length: 4000 }, (_, bit) => {
      const body = new Uint8Array(500);
      body[bit >> 3] = 1 << (bit & 7);
      return fingerprintOf([{ ...textMessage(""), body }]);
    });

    expect(fingerprintOf([{ ...textMessage("a"), ttlMs: 1 }])).not.toBe(fingerprintOf([textMessage("a")]));
    expect(new Set(distinct.values()).size).toBe(distinct.size);
    expect(new Set(large).size).toBe(large.length);
    for (const value of large) expect(Number.isInteger(value) && value >= 0 && value < 2 ** 48).toBe(true);
  });

  test("[DD6] [DD5] what is stored stays the same from release to release", () => {
    const message: PutMessage = { ...textMessage("žluť"), key: "k", messageId: "id", headers: { trace: "a" } };

    expect([fingerprintOf([]), fingerprintOf([message])]).toEqual([126_973_458_903_589, 245_445_028_235_369]);
    expect(["p", "billing-3", "a~b"].map((id) => bucketOf(id, 500))).toEqual([324, 95, 449]);
  });

  test("[DD5] producers are spread evenly over their buckets", () => {
    const buckets = Array.from({ length: 50_000 }, (_, id) => bucketOf(`producer-${id}`, 500));
    const sizes = Array.from(Map.groupBy(buckets, (bucket) => bucket).values(), (ids) => ids.length);

    expect(sizes).toHaveLength(500);
    expect(Math.max(...sizes)).toBeLessThan(150);
    expect(Math.min(...sizes)).toBeGreaterThan(60);
  });

  test("[DD6] the order of headers does not matter", () => {
    const [one, other] = [
      { x: "1", y: "2" },
      { y: "2", x: "1" },
    ].map((headers) => fingerprintOf([{ ...textMessage("a"), headers }]));

    expect(one).toBe(other);
  });
});
