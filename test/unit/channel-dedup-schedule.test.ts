// Retries of puts with delayed messages: rule DD13 of SPEC.md.
import { describe, expect, test } from "vitest";
import { ChannelHarness, kindOf, refusalOf, textMessage, type PutOptions } from "./channel-harness.ts";

const LATER = { afterMs: 1000 };

function open(settings: object = {}): ChannelHarness {
  return new ChannelHarness({ settings });
}

function numbered(seq: number, more: PutOptions = {}): PutOptions {
  return { producer: { id: "p", epoch: 0, seq }, ...more };
}

describe("src/channel/dedup: delayed messages", () => {
  test("[DD13] a retry of a batch of both kinds answers the offset and count of those that entered, and schedules nothing", () => {
    const channel = open();
    const delays = [undefined, LATER, undefined];
    const put = (more: PutOptions): unknown => channel.put(["a", "b", "c"], { delays, ...more });
    channel.put(["x"]);

    expect(put(numbered(1))).toMatchObject({ type: "put", offset: 2, count: 2, scheduled: [{ index: 1 }] });
    expect(put({ idempotencyKey: "k" })).toMatchObject({ type: "put", offset: 4, count: 2, scheduled: [{ index: 1 }] });
    for (const wake of [() => undefined, () => channel.evict()]) {
      wake();
      expect(put(numbered(1))).toEqual({ type: "put", offset: 2, count: 2, isDuplicate: true });
      expect(put({ idempotencyKey: "k" })).toEqual({ type: "put", offset: 4, count: 2, isDuplicate: true });
    }
    expect(channel.describe()).toMatchObject({ depth: 5, scheduled: { messages: 2 } });
  });

  test("[DD13] a put of which nothing entered answers its retry without an offset, also after it entered or was cancelled", () => {
    const channel = open();
    const duplicate = { type: "put", offset: null, count: 0, isDuplicate: true };
    for (const seq of [1, 2, 3]) channel.put([`${seq}`], numbered(seq, { delays: [LATER] }));
    channel.put(["k"], { idempotencyKey: "k", delays: [LATER] });

    channel.tick(1000);
    channel.evict();

    expect(channel.browseTexts()).toEqual(["1", "2", "3", "k"]);
    for (const seq of [1, 2, 3]) expect(channel.put([`${seq}`], numbered(seq, { delays: [LATER] }))).toEqual(duplicate);
    expect(channel.put(["k"], { idempotencyKey: "k", delays: [LATER] })).toEqual(duplicate);
    expect(channel.put(["4"], numbered(4))).toMatchObject({ offset: 5, count: 1 });
    expect(channel.put(["4"], numbered(4))).toEqual({ type: "put", offset: 5, count: 1, isDuplicate: true });
  });

  test("[DD13] an empty put answers its retry with the offset that it answered first", () => {
    const channel = open();

    expect(channel.put([], numbered(1))).toEqual({ type: "put", offset: 1, count: 0 });
    expect(channel.put([], numbered(1))).toEqual({ type: "put", offset: 1, count: 0, isDuplicate: true });
  });

  test("[DD13] all messages are compared, their delays are not", () => {
    const channel = open();
    channel.put(["a", "b"], numbered(1, { delays: [LATER, undefined] }));
    channel.put(["c"], { idempotencyKey: "k", delays: [LATER] });

    expect(channel.put(["a", "b"], numbered(1))).toMatchObject({ offset: 1, count: 1, isDuplicate: true });
    expect(channel.put(["c"], { idempotencyKey: "k" })).toMatchObject({ offset: null, count: 0, isDuplicate: true });
    expect(refusalOf(channel.put(["b"], numbered(1)))).toMatchObject({ kind: "producer-sequence-reused", offset: 1, count: 2 });
    expect(kindOf(channel.put(["d"], { idempotencyKey: "k", delays: [LATER] }))).toBe("idempotency-key-reused");
  });

  test("[DD9] [DD13] a retry is answered though its time is over, and where it would be refused as new", () => {
    const channel = open();
    const put = { producer: { id: "p", epoch: 0, seq: 1 }, delays: [{ atMs: channel.nowMs + 500 }] };
    channel.put(["a"], put);

    channel.tick(1000);
    channel.patch({ state: "closed" });

    expect(channel.put(["a"], put)).toEqual({ type: "put", offset: null, count: 0, isDuplicate: true });
  });

  test("[DD8] [DD13] an expected offset is that of the first that enters at once, and holds where none does", () => {
    const channel = open();

    expect(channel.put(["a", "b"], { expectedOffset: 1, delays: [LATER, undefined] })).toMatchObject({ offset: 1, count: 1 });
    expect(refusalOf(channel.put(["c"], { expectedOffset: 1, delays: [LATER] }))).toMatchObject({ nextOffset: 2 });
    expect(channel.put(["c"], { expectedOffset: 2, delays: [LATER] })).toMatchObject({ offset: null });
    // What entered by its time has taken the offset before the put is judged.
    channel.nowMs += 1000;
    expect(refusalOf(channel.put(["d"], { expectedOffset: 2 }))).toMatchObject({ kind: "offset-conflict", nextOffset: 4 });
  });

  test("[DD10] [DD13] a delayed put that waits for room is judged again with its body, and its number counts once", () => {
    const channel = open({ maxMessages: 1 });
    const origin = { connection: channel.connect(), request: 1 };
    channel.put(["x"]);
    expect(kindOf(channel.put(["a"], numbered(1, { delays: [LATER], waitMs: 5000, origin })))).toBe("waiting");
    channel.getTexts();
    const promised = numbered(1, { delays: [LATER], isPromised: true, origin });

    expect(channel.put(["a"], promised)).toMatchObject({ offset: null, scheduled: [{ index: 0 }] });
    expect(channel.putMessages([textMessage("a")], promised)).toMatchObject({ offset: null, isDuplicate: true });
    expect(channel.describe()).toMatchObject({ scheduled: { messages: 1 } });
  });

  test("[DD12] a life that ends takes producers, keys and what is scheduled with it; a purge takes none of them", () => {
    const channel = open();
    channel.put(["a"], numbered(1, { delays: [LATER] }));
    channel.put(["b"], { idempotencyKey: "k", delays: [LATER] });
    channel.apply({ type: "purge" });
    expect(channel.put(["a"], numbered(1))).toMatchObject({ isDuplicate: true });

    channel.delete();
    channel.apply({ type: "create", settings: {} });

    expect(channel.put(["a"], numbered(1))).toEqual({ type: "put", offset: 1, count: 1 });
    expect(channel.put(["b"], { idempotencyKey: "k" })).toEqual({ type: "put", offset: 2, count: 1 });
    expect(channel.describe()).toMatchObject({ scheduled: { messages: 0 } });
  });

  test("[DD13] [RC6] a commit that fails has neither scheduled nor noted", () => {
    const channel = open();
    channel.failToCommit(() => channel.put(["a"], numbered(1, { delays: [LATER] })));

    expect(channel.put(["a"], numbered(1, { delays: [LATER] }))).toMatchObject({ offset: null, scheduled: [{ index: 0 }] });
    expect(channel.scheduledTexts()).toEqual(["a"]);
  });
});
