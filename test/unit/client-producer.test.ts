// A producer over sockets and timers that the test drives by hand.
import { describe, expect, test } from "vitest";
import type { PutGiven } from "../../src/client/index.ts";
import type { ProducerOptions } from "../../src/client/producer-options.ts";
import type { Refusal } from "../../src/protocol/problems.ts";
import { errorOf } from "../client-calls.ts";
import {
  type FakeTimers,
  greet,
  isSettled,
  KEEP_ALIVE_TIMERS,
  lastSocket,
  loseConnection,
  openChannel,
  openTimedChannel,
  passFirstPause,
  reconnect,
  settleDown,
  STATE,
} from "./client-doubles.ts";

/** A producer that is loaded. */
async function open(options: ProducerOptions = {}) {
  const { channel, timers } = openTimedChannel();
  const producer = channel.producer({ id: "p", epoch: 1, ...options });
  await producer.ready();
  return { producer, timers };
}

/** The connection that the first frame waits for. */
async function connect(): Promise<void> {
  await settleDown();
  await greet(lastSocket());
}

interface SentBatch {
  readonly id: number;
  readonly seq: number;
  readonly texts: readonly string[];
}

function batches(): SentBatch[] {
  return lastSocket()
    .sent.filter((frame) => frame["type"] === "put-batch")
    .map((frame) => ({
      id: frame["id"] as number,
      seq: (frame["producer"] as { seq: number }).seq,
      texts: (frame["messages"] as { text: string }[]).map(({ text }) => text),
    }));
}

function store({ id, texts }: { readonly id: number; readonly texts: readonly unknown[] }, offset: number): void {
  lastSocket().store(id, offset, texts.length);
}

function refuse(id: number, refusal: Refusal): void {
  lastSocket().refuse(id, refusal);
}

function sentTexts(): string[] {
  return batches().map(({ seq, texts }) => `${seq}: ${texts.join(" ")}`);
}

function batchSizes(): number[] {
  return batches().map(({ texts }) => texts.length);
}

/** A producer that has put a message and watches. */
async function openWatching() {
  const { producer, timers } = await open({ maxBatchMessages: 1 });
  const puts = [producer.put("a")];
  await connect();
  store({ id: 1, texts: ["a"] }, 1);
  expect(lastSocket().sent.filter(({ type }) => type === "watch")).toEqual([{ type: "watch", id: 0 }]);
  return { producer, timers, puts };
}

async function tell(timers: FakeTimers, level: "low" | "high", messages: number, bytes = 1_000): Promise<void> {
  lastSocket().receive({ type: "pressure", id: 0, level, credit: { messages, bytes }, state: STATE });
  await settleDown();
  timers.fire(0);
  await settleDown();
}

describe("src/client/producer", () => {
  test("puts of one tick, and those made while a frame is on the way, go together", async () => {
    const { producer } = await open();
    const first = ["a", "b"].map((body) => producer.put(body));
    await connect();
    const second = ["c", "d"].map((body) => producer.put(body));
    await settleDown();
    expect(sentTexts()).toEqual(["1: a b"]);
    store({ id: 1, texts: ["a", "b"] }, 5);
    await settleDown();
    expect(sentTexts()).toEqual(["1: a b", "2: c d"]);
    store({ id: 2, texts: ["c", "d"] }, 9);

    expect((await Promise.all([...first, ...second])).map(({ offset }) => offset)).toEqual([5, 6, 9, 10]);
  });

  test("full batches are pipelined, cut by messages and by bytes", async () => {
    const { producer } = await open({ maxBatchMessages: 2, maxBatchBytes: 10 });
    for (const body of ["a", "b", "c", "much larger", "d", "123456", "78901"]) void producer.put(body);
    await connect();

    expect(sentTexts()).toEqual(["1: a b", "2: c", "3: much larger", "4: d 123456"]);
  });

  test("while others are on the way a batch goes out as soon as it is worth a frame, and eight are on the way at most", async () => {
    const { producer } = await open();
    const large = "x".repeat(64 * 1024);
    for (let put = 0; put < 55; put++) void producer.put(large);
    await connect();
    expect(batchSizes()).toEqual([6, 6, 6, 6, 6, 6, 6, 6]);
    store({ id: 1, texts: Array.from({ length: 6 }) }, 1);
    await settleDown();

    expect(batchSizes().slice(8)).toEqual([7]);
  });

  test("batches that linger are full", async () => {
    const { producer, timers } = await open({ lingerMs: 20, maxBatchMessages: 5 });
    for (let put = 0; put < 7; put++) void producer.put("x".repeat(64 * 1024));
    await connect();
    expect(batchSizes()).toEqual([5]);
    store({ id: 1, texts: Array.from({ length: 5 }) }, 1);
    timers.fire(20);
    await settleDown();

    expect(batchSizes()).toEqual([5, 2]);
  });

  describe("[BP3] pressure", () => {
    const HOLD_MS = 5_000;

    test("at high pressure what fits is sent, what is on its way included, and the rest when it is low again", async () => {
      const { producer, timers } = await openWatching();
      await tell(timers, "low", 10);
      void producer.put("b");
      await settleDown();
      await tell(timers, "high", 3);
      for (const body of ["c", "d", "e", "f"]) void producer.put(body);
      await settleDown();
      expect(sentTexts()).toEqual(["1: a", "2: b", "3: c", "4: d"]);
      await tell(timers, "low", 5);
      expect(sentTexts().slice(4)).toEqual(["5: e", "6: f"]);
    });

    test("what is answered with the word of high pressure is not on its way any more", async () => {
      const { producer, timers } = await openWatching();
      void producer.put("b");
      await settleDown();
      store({ id: 2, texts: ["b"] }, 2);
      await tell(timers, "high", 1);
      for (const body of ["c", "d"]) void producer.put(body);
      await settleDown();
      expect(sentTexts().slice(2)).toEqual(["3: c"]);
    });

    test("a batch that does not fit by its bytes is held back, and what is behind it too", async () => {
      const { producer, timers } = await openWatching();
      await tell(timers, "high", 100, 5);
      for (const body of ["much larger", "b"]) void producer.put(body);
      await settleDown();
      expect(sentTexts()).toEqual(["1: a"]);
    });

    test("where it stays high the next batch goes after 5 seconds, to wait there in its turn, one at a time", async () => {
      const { producer, timers } = await openWatching();
      await tell(timers, "high", 0);
      for (const body of ["b", "c"]) void producer.put(body);
      await settleDown();
      timers.fire(HOLD_MS);
      await settleDown();
      expect(sentTexts()).toEqual(["1: a", "2: b"]);
      timers.fire(HOLD_MS);
      await settleDown();
      expect(sentTexts()).toEqual(["1: a", "2: b", "3: c"]);
    });

    test("what was held back goes over a new connection, which is asked anew", async () => {
      const { producer, timers } = await openWatching();
      await tell(timers, "high", 1);
      for (const body of ["b", "c"]) void producer.put(body);
      await settleDown();
      await reconnect(timers);
      expect(lastSocket().sent.map(({ type }) => type)).toEqual(["hello", "watch", "put-batch", "put-batch"]);
    });

    test("producers of one channel share a watch, and who comes later is told what is known", async () => {
      const { channel, timers } = openTimedChannel();
      const [first, second] = [channel.producer({ maxBatchMessages: 1 }), channel.producer({ maxBatchMessages: 1 })];
      await Promise.all([first.ready(), second.ready()]);
      void first.put("a");
      await connect();
      await tell(timers, "high", 0);
      void second.put("b");
      await settleDown();
      void second.put("c");
      await settleDown();
      expect(batches().map(({ texts }) => texts.join())).toEqual(["a", "b"]);
      expect(lastSocket().sent.filter(({ type }) => type === "watch")).toHaveLength(1);
    });

    test("a server that knows no watch, and one that ends it, are no failure", async () => {
      const { producer } = await openWatching();
      refuse(0, { kind: "unknown-frame", frameType: "watch", frameTypes: ["put"] });
      const putting = producer.put("b");
      await settleDown();
      store({ id: 2, texts: ["b"] }, 2);
      lastSocket().endStream(0, { kind: "channel-closed" });
      expect((await putting).offset).toBe(2);
    });
  });

  test("what is no body is refused alone and at once, and what is put beside it is stored", async () => {
    const { producer } = await open();
    const none = [undefined, null, 5, new ArrayBuffer(1), {}, { json: () => 1 }, { json: { a: 1n } }] as unknown as PutGiven[];
    const first = producer.put("a");
    const refusing = none.map((given) => errorOf(producer.put(given)));
    const second = producer.put("b");
    await connect();
    store({ id: 1, texts: ["a", "b"] }, 1);

    for (const error of await Promise.all(refusing)) {
      expect(error).toMatchObject({ kind: "invalid-request", origin: "client", retryable: false, outcome: "not-applied" });
      expect(error.message).toMatch(/^Cannot send the value as /);
    }
    expect([(await first).offset, (await second).offset]).toEqual([1, 2]);
    expect(sentTexts()).toEqual(["1: a b"]);
  });

  test("[PT6] a key that is no text is refused by the server, and there is room for others as before", async () => {
    const { producer } = await open();
    const putting = errorOf(producer.put({ body: "a", key: 5 } as unknown as PutGiven));
    await connect();
    refuse(1, { kind: "invalid-request", errors: [] });

    expect((await putting).kind).toBe("invalid-request");
    await producer.ready();
    void producer.put("b");
    await settleDown();
    expect(sentTexts()).toEqual(["1: a", "1: b"]);
  });

  test("a batch that is not full lingers as long as it was told, and not when it is flushed", async () => {
    const { producer, timers } = await open({ lingerMs: 20 });
    void producer.put("a");
    await settleDown();
    expect(timers.delaysMs).toEqual([20]);
    timers.fire(20);
    await connect();
    store({ id: 1, texts: ["a"] }, 1);
    void producer.put("b");
    const flushing = producer.flush();
    await settleDown();
    expect(sentTexts()).toEqual(["1: a", "2: b"]);
    expect(await isSettled(flushing)).toBe(false);
    store({ id: 2, texts: ["b"] }, 2);

    await flushing;
    expect(timers.count).toBe(KEEP_ALIVE_TIMERS);
  });

  test("[G9] what a lost connection left unanswered goes again, in order and with the same numbers, before what is new", async () => {
    const errors: string[] = [];
    const { producer, timers } = await open({ maxBatchMessages: 1, onRetry: ({ kind }) => errors.push(kind) });
    const puts = ["a", "b", "c"].map((body) => producer.put(body));
    await connect();
    store({ id: 1, texts: ["a"] }, 1);
    await loseConnection();
    puts.push(producer.put("d"));
    await settleDown();
    await passFirstPause(timers);
    await connect();
    expect(sentTexts()).toEqual(["2: b", "3: c", "4: d"]);
    lastSocket().receive({ type: "put-ok", id: 1, offset: 2, count: 1, duplicate: true, state: STATE });
    for (const { id } of batches().slice(1)) store({ id, texts: ["x"] }, id + 1);

    expect((await Promise.all(puts)).map(({ offset }) => offset)).toEqual([1, 2, 3, 4]);
    expect(errors).toEqual(["connection-lost"]);
  });

  test("a wait for room that ends without any begins again: the time was over, or the room was not used in time", async () => {
    const { producer, timers } = await open();
    const putting = producer.put("a");
    await connect();
    refuse(1, { kind: "promise-lost", id: 1 });
    await settleDown();
    timers.fire();
    await settleDown();
    expect(sentTexts()).toEqual(["1: a", "1: a"]);
    store({ id: 2, texts: ["a"] }, 1);

    expect(await putting).toEqual({ offset: 1, isDuplicate: false });
  });

  test("a refused batch is halved until the message at fault is alone; those behind take the numbers that are free", async () => {
    const { producer } = await open({ maxBatchMessages: 2 });
    const puts = ["a", "bad", "c", "d"].map((body) => producer.put(body));
    const results = Promise.allSettled(puts);
    await connect();
    const gap = { kind: "producer-sequence-gap", producerId: "p", epoch: 1, expectedSeq: 1 } as const;
    refuse(1, { kind: "message-too-large", bytes: 3, limit: 1 });
    refuse(2, gap);
    await settleDown();
    expect(sentTexts().slice(2)).toEqual(["1: a", "2: bad", "3: c d"]);
    store({ id: 3, texts: ["a"] }, 1);
    refuse(4, { kind: "message-too-large", bytes: 3, limit: 1 });
    refuse(5, { ...gap, expectedSeq: 2 });
    await settleDown();
    expect(sentTexts().slice(5)).toEqual(["2: c d"]);
    store({ id: 6, texts: ["c", "d"] }, 2);

    expect((await results).map((result) => (result.status === "fulfilled" ? result.value.offset : "refused"))).toEqual([
      1,
      "refused",
      2,
      3,
    ]);
  });

  test("where a number may have been used up nobody knows how, nothing more is sent", async () => {
    const { producer, timers } = await open({ maxBatchMessages: 1 });
    const puts = ["bad", "b"].map((body) => errorOf(producer.put(body)));
    await connect();
    refuse(1, { kind: "message-too-large", bytes: 3, limit: 1 });
    lastSocket().end(1006);

    expect((await Promise.all(puts)).map(({ kind, outcome }) => [kind, outcome])).toEqual([
      ["message-too-large", "unknown"],
      ["message-too-large", "unknown"],
    ]);
    expect(await errorOf(producer.put("c"))).toMatchObject({ kind: "message-too-large" });
    expect(timers.count).toBe(0);
  });

  test("unanswered bytes are bounded: who comes later waits for room, in order, until it is aborted", async () => {
    const { producer } = await open({ maxOutstandingBytes: 4 });
    const abort = new AbortController();
    const puts = ["abc", "d", "e"].map((body) => producer.put(body));
    const aborted = errorOf(producer.put("x", { signal: abort.signal }));
    const ready = producer.ready();
    await connect();
    expect(sentTexts()).toEqual(["1: abc d"]);
    abort.abort("enough");
    expect(await aborted).toMatchObject({ kind: "aborted", outcome: "not-applied", cause: "enough" });
    expect(await isSettled(ready)).toBe(false);
    store({ id: 1, texts: ["abc", "d"] }, 1);
    await ready;
    expect(sentTexts()).toEqual(["1: abc d", "2: e"]);
    store({ id: 2, texts: ["e"] }, 3);

    expect((await Promise.all(puts)).map(({ offset }) => offset)).toEqual([1, 2, 3]);
  });

  test("closing waits for the last answer, tells the first failure, and takes no more", async () => {
    const { producer } = await open();
    const putting = errorOf(producer.put("a"));
    const closing = errorOf(producer.close());
    await connect();
    refuse(1, { kind: "channel-closed" });

    expect(await putting).toMatchObject({ kind: "channel-closed" });
    expect(await closing).toMatchObject({ kind: "channel-closed" });
    expect(await errorOf(producer.put("b"))).toMatchObject({ kind: "connection-closed", outcome: "not-applied" });
  });

  test("aborting its signal gives up what is unanswered, also between two tries", async () => {
    const abort = new AbortController();
    const { producer, timers } = await open({ signal: abort.signal });
    const putting = errorOf(producer.put("a"));
    await connect();
    await loseConnection();
    abort.abort("enough");

    expect(await putting).toMatchObject({ kind: "aborted", outcome: "unknown", cause: "enough" });
    await settleDown();
    expect(timers.count).toBe(0);
  });

  test("an id without an epoch, and bounds that are none, are refused at once", () => {
    const { channel } = openChannel();
    expect(() => channel.producer({ id: "p" })).toThrow(/an id needs an epoch/);
    expect(() => channel.producer({ maxBatchMessages: 10_001 })).toThrow(
      /maxBatchMessages: expected a whole number from 1 to 10000/,
    );
  });

  const NUMBERS = ["epoch", "lingerMs", "maxBatchMessages", "maxBatchBytes", "maxOutstandingBytes"];

  test.each(NUMBERS)("what is no whole number is refused under the name of its option: %s", (name) => {
    const { channel } = openChannel();
    for (const value of [5n, Number.NaN, "5", Symbol("5"), Object.create(null)] as unknown[]) {
      const found = typeof value === "number" ? "NaN" : typeof value;
      const message = expect.stringMatching(`^Cannot take ${found} as ${name}: expected a whole number from `) as string;
      expect(() => channel.producer({ id: "p", epoch: 0, [name]: value })).toThrow(
        expect.objectContaining({ kind: "invalid-request", origin: "client", outcome: "not-applied", message }),
      );
    }
  });
});
