// The client's streams, consumers and producers against the real worker, through evictions and connections that are cut off.
import { assert, describe, expect, onTestFinished, test, vi } from "vitest";
import {
  type Channel,
  EdgeChannel,
  type EdgeChannelError,
  type EdgeChannelOptions,
  type Fetch,
  type LeasedMessage,
  type ReceivedMessage,
  RejectError,
  RetryError,
  upgradeWith,
  type WebSocketLike,
} from "../../src/client/index.ts";
import { collect, TRANSPORTS, type TransportName } from "../client-calls.ts";
import { hibernate } from "./inside.ts";
import { fetchFromWorker, freshChannel, ORIGIN } from "./service.ts";

/** Pauses end at once. */
const startTimer: EdgeChannelOptions["startTimer"] = (callback, delayMs) => {
  const timer = setTimeout(callback, delayMs < 1000 ? 0 : delayMs);
  return () => clearTimeout(timer);
};

interface Opened {
  readonly channel: Channel;
  /** Cuts the connection off that was opened last. */
  readonly cutOff: () => void;
  readonly evict: () => Promise<void>;
}

/** `colo`: where the client is. */
function open(transport: TransportName, name = freshChannel(), colo?: string): Opened {
  const sockets: WebSocketLike[] = [];
  const fetch: Fetch = (url, init) => fetchFromWorker(url, colo === undefined ? init : { ...init, cf: { colo } });
  const client = EdgeChannel.connect(ORIGIN, {
    transport,
    fetch,
    startTimer,
    openSocket: async (url, headers, protocols) => {
      const socket = await upgradeWith(fetch)(url, headers, protocols);
      sockets.push(socket);
      return socket;
    },
  });
  onTestFinished(() => client.close());
  return {
    channel: client.channel(name),
    cutOff: () => sockets.at(-1)?.close(1001),
    evict: async () => {
      // It has to run to be evicted.
      await EdgeChannel.connect(ORIGIN, { fetch: fetchFromWorker }).channel(name).stats();
      await hibernate(name);
    },
  };
}

function textOf({ body }: ReceivedMessage): string {
  return typeof body === "string" ? body : "no text";
}

async function failOnce({ body, attempt }: LeasedMessage): Promise<void> {
  if (body === "3" && attempt === 1) throw new Error("once more");
}

function numbers(first: number, count: number): string[] {
  return Array.from({ length: count }, (_, index) => String(first + index));
}

describe("src/client: streams of plain readers", () => {
  test("[SB5] [SB7] [G10] every record of a log once and in order, through evictions and lost connections", async () => {
    const { channel, cutOff, evict } = open("socket");
    const writer = open("http", channel.name).channel;
    await channel.create({ retention: "log" });
    await writer.putBatch(numbers(0, 20));
    const controls: unknown[] = [];
    const onControl = ({ control }: { readonly control: { readonly type: string } }): void => void controls.push(control.type);
    const stream = channel.subscribe({ from: { at: "first" }, credit: { messages: 7 }, onControl });
    const bodies: unknown[] = [];
    for await (const { body } of stream) {
      bodies.push(body);
      if (bodies.length === 5) cutOff();
      if (bodies.length === 10) await evict();
      if (bodies.length === 15) await writer.configure({ maxMessages: 1000 });
      if (bodies.length === 20) {
        cutOff();
        await writer.putBatch(numbers(20, 20));
      }
      if (bodies.length === 40) break;
    }

    expect(bodies).toEqual(numbers(0, 40));
    expect(controls).toEqual(["resize"]);
    const later = channel.subscribe({ resume: stream.resume });
    await writer.put("40");
    const next = await later.next();
    expect(Number(next.value?.body)).toBeLessThanOrEqual(40);
    await later.return();
    while ((await channel.stats()).subscriptions.readers > 0);
  });

  test("[SB6] a tap of a queue sees what passes, as its filter says", async () => {
    const { channel } = open("socket");
    await channel.create();
    const stream = channel.subscribe({ tap: true, filter: { keys: ["b"] } });
    while ((await channel.stats()).subscriptions.readers === 0);
    await channel.putBatch(["a", "b"].map((key) => ({ body: key, key })));

    expect(await stream.next()).toMatchObject({ value: { body: "b" } });
    expect(stream.resume).toBeUndefined();
    await stream.return();
  });
});

describe("src/client: presence", () => {
  test("[RG7] [RG8] [RG10] [G10] who joins and leaves is told by colo, through evictions and lost connections", async () => {
    const { channel, cutOff, evict } = open("socket");
    const near = open("socket", channel.name, "FRA").channel;
    const presence = channel.presence();
    const next = async (): Promise<unknown> => (await presence.next()).value;
    expect(await next()).toEqual({ type: "present", readers: 0, colos: [] });

    await channel.put("a");
    const consumer = near.consume(() => undefined, { reader: "worker" });
    expect(await next()).toEqual({ type: "join", reader: "worker", colo: "FRA" });
    await evict();
    await consumer.stop();
    expect(await next()).toEqual({ type: "leave", reader: "worker", colo: "FRA" });

    cutOff();
    expect(await next()).toEqual({ type: "present", readers: 0, colos: [] });
    await presence.return();
  });
});

describe.each(TRANSPORTS)("src/client over %s: consumers", (transport) => {
  test("a loop acks each message when it asks for the next", async () => {
    const { channel } = open(transport);
    await channel.putBatch(numbers(0, 50));
    const bodies: unknown[] = [];
    for await (const message of channel.consume({ prefetch: 8 })) {
      bodies.push(message.body);
      if (bodies.length < 50) continue;
      await message.ack();
      break;
    }

    expect(bodies).toEqual(numbers(0, 50));
    expect((await channel.stats()).depth).toBe(0);
  });

  test("what a handler throws decides: retried, retried after a delay of its own, or a dead letter", async () => {
    const { channel } = open(transport);
    await channel.create({ delivery: { retryDelaysMs: [0] } });
    await channel.putBatch(["fine", "fails", "later", "bad"]);
    const seen: string[] = [];
    const errors: string[] = [];
    const done = Promise.withResolvers<void>();
    const consumer = channel.consume(
      (message) => {
        seen.push(`${textOf(message)} ${message.attempt}`);
        if (message.body === "bad") throw new RejectError("no good");
        if (message.attempt === 2) return seen.length === 6 ? done.resolve() : undefined;
        if (message.body === "later") throw new RetryError("not now", { delayMs: 0 });
        if (message.body === "fails") throw new TypeError("oh");
      },
      { concurrency: 2, onError: (error) => errors.push(String(error)) },
    );
    await done.promise;
    await consumer.stop();

    expect(seen.toSorted()).toEqual(["bad 1", "fails 1", "fails 2", "fine 1", "later 1", "later 2"]);
    expect(errors.toSorted()).toEqual(["RejectError: no good", "RetryError: not now", "TypeError: oh"]);
    expect((await channel.stats()).depth).toBe(0);
    expect(await collect(channel.deadLetters.list())).toMatchObject([{ body: "bad", reason: "no good" }]);
  });

  test("one outcome for each item of a batch: one that fails does not fail the others", async () => {
    const { channel } = open(transport);
    await channel.create({ delivery: { retryDelaysMs: [0] } });
    await channel.putBatch(numbers(0, 10));
    const batches: string[][] = [];
    const done = Promise.withResolvers<void>();
    await using consumer = channel.consume(
      (messages) => {
        batches.push(messages.map((message) => `${textOf(message)}.${message.attempt}`));
        if (batches.flat().length === 11) done.resolve();
        return Promise.allSettled(messages.map(failOnce));
      },
      { batchSize: 5 },
    );
    await done.promise;
    await consumer.stop();

    expect(batches.flat().toSorted()).toEqual([...numbers(0, 10).map((body) => `${body}.1`), "3.2"].toSorted());
    expect((await channel.stats()).depth).toBe(0);
  });

  test("messages of one key are worked on one after the other, also after a failure, and others beside them", async () => {
    const { channel } = open(transport);
    await channel.create({ delivery: { retryDelaysMs: [0] } });
    const keys = ["a", "b", "c"];
    await channel.putBatch(numbers(0, 60).map((body, index) => ({ body, key: keys[index % 3] })));
    const acked = new Map<string, number[]>(keys.map((key) => [key, []]));
    let running = 0;
    let runningMost = 0;
    const done = Promise.withResolvers<void>();
    const consumer = channel.consume(
      async ({ body, key, attempt }) => {
        runningMost = Math.max(runningMost, ++running);
        await Promise.resolve();
        running--;
        if (Number(body) % 7 === 0 && attempt === 1) throw new Error("again");
        acked.get(key ?? "")?.push(Number(body));
        if ([...acked.values()].flat().length === 60) done.resolve();
      },
      { concurrency: 8, prefetch: 16 },
    );
    await done.promise;
    await consumer.stop();

    for (const bodies of acked.values()) expect(bodies).toEqual(bodies.toSorted((a, b) => a - b));
    expect(runningMost).toBe(3);
    expect((await channel.stats()).depth).toBe(0);
  });

  test("until a channel is empty: it ends when all was worked off, also what came back meanwhile and what waited for its key", async () => {
    const { channel } = open(transport);
    await channel.create({ delivery: { retryDelaysMs: [0] } });
    await channel.putBatch(numbers(0, 40).map((body, index) => ({ body, key: ["a", "b", undefined][index % 3] })));
    const seen: string[] = [];
    const handle = async (message: LeasedMessage): Promise<void> => {
      seen.push(`${textOf(message)}.${message.attempt}`);
      await Promise.resolve();
      return failOnce(message);
    };
    await channel.consume(handle, { concurrency: 4, prefetch: 8, untilEmpty: true }).done;

    expect(seen.toSorted()).toEqual([...numbers(0, 40).map((body) => `${body}.1`), "3.2"].toSorted());
    expect((await channel.stats()).depth).toBe(0);
    expect(await collect(channel.consume({ untilEmpty: true }))).toEqual([]);
  });

  test("until a channel is empty: what others hold is not waited for", async () => {
    const { channel } = open(transport);
    const other = open("http", channel.name).channel;
    await channel.create();
    await channel.putBatch(numbers(0, 3));
    await other.pull();

    expect((await collect(channel.consume({ untilEmpty: true }))).map(textOf)).toEqual(["1", "2"]);
  });

  test("stopping finishes what runs and gives the rest back, its attempts not counted", async () => {
    const { channel } = open(transport);
    await channel.putBatch(numbers(0, 10));
    const begun = Promise.withResolvers<void>();
    const finish = Promise.withResolvers<void>();
    const consumer = channel.consume(
      () => {
        begun.resolve();
        return finish.promise;
      },
      { prefetch: 5 },
    );
    await begun.promise;
    const stopping = consumer.stop();
    finish.resolve();
    await stopping;

    const { messages } = await channel.pull({ max: 10 });
    expect(messages.map(({ body, attempt }) => [body, attempt])).toEqual(numbers(1, 9).map((body) => [body, 1]));
  });

  test("an unknown group ends it with the refusal", async () => {
    const { channel } = open(transport);
    await channel.create({ retention: "log" });

    await expect(channel.consume({ group: "none" }).next()).rejects.toMatchObject({ kind: "unknown-group" });
    await expect(channel.consume(() => undefined, { group: "none" }).done).rejects.toMatchObject({ kind: "unknown-group" });
  });
});

describe("src/client over socket: what goes wrong in the middle", () => {
  test("[LS9] [G10] a consumer loses nothing and acks nothing twice, through evictions and lost connections", async () => {
    const { channel, cutOff, evict } = open("socket");
    await channel.create();
    const lost: string[] = [];
    const seen: string[] = [];
    const done = Promise.withResolvers<void>();
    const consumer = channel.consume(
      async (message) => {
        seen.push(textOf(message));
        if (seen.length % 25 === 0) cutOff();
        if (seen.length % 40 === 0) await evict();
        if (new Set(seen).size === 200) done.resolve();
      },
      { concurrency: 4, prefetch: 16, onReconnect: ({ kind }) => lost.push(kind) },
    );
    await open("http", channel.name).channel.putBatch(numbers(0, 200));
    await done.promise;
    await consumer.stop();

    const { depth, counts } = await open("http", channel.name).channel.stats();
    expect([depth, counts.acked]).toEqual([0, 200]);
    expect(lost.length).toBeGreaterThanOrEqual(4);
    // Held on over each connection: nothing had to be handed out again.
    expect(seen.length).toBe(200);
  });

  test("[G9] a producer stores each message once and in order, through evictions and lost connections", async () => {
    const { channel, cutOff, evict } = open("socket");
    await channel.create();
    const receipts: Promise<{ readonly offset: number | null }>[] = [];
    const retries: string[] = [];
    {
      const onRetry = ({ kind }: EdgeChannelError): void => void retries.push(kind);
      await using producer = channel.producer({ maxBatchMessages: 3, maxOutstandingBytes: 400, onRetry });
      for (const [index, body] of numbers(0, 300).entries()) {
        receipts.push(producer.put(body));
        await producer.ready();
        if (index % 50 === 20) cutOff();
        if (index % 70 === 30) await evict();
      }
    }
    const offsets = (await Promise.all(receipts)).map(({ offset }) => offset);

    const stored = await collect(channel.browse({ pageSize: 1000 }));
    expect(stored.map(({ body }) => body)).toEqual(numbers(0, 300));
    expect(offsets).toEqual(stored.map(({ offset }) => offset));
    // Some of what was cut off had not been answered.
    expect(retries).toContain("connection-lost");
  });
});

describe.each(TRANSPORTS)("src/client over %s: producers", (transport) => {
  test("what is refused rejects its own put, and the others are stored in order", async () => {
    const { channel } = open(transport);
    await channel.create({ maxMessageBytes: 10 });
    await using producer = channel.producer({ maxBatchMessages: 4 });
    const puts = ["a", "b", "much too long", "c", "d"].map((body) => producer.put(body));
    const results = await Promise.allSettled(puts);

    expect(results.map((result) => (result.status === "fulfilled" ? result.value.offset : "refused"))).toEqual([
      1,
      2,
      "refused",
      3,
      4,
    ]);
    assert(results[2]?.status === "rejected");
    expect(results[2].reason).toMatchObject({ kind: "message-too-large", outcome: "not-applied" });
  });

  test("a full channel is waited for", async () => {
    const { channel } = open(transport);
    const reader = open("http", channel.name).channel;
    await channel.create({ maxMessages: 2 });
    const producer = channel.producer({ maxBatchMessages: 2 });
    const puts = numbers(0, 6).map((body) => producer.put(body));
    const bodies: unknown[] = [];
    while (bodies.length < 6) bodies.push((await reader.get({ waitMs: 30_000 })).body);

    expect(bodies).toEqual(numbers(0, 6));
    expect((await Promise.all(puts)).map(({ offset }) => offset)).toEqual([1, 2, 3, 4, 5, 6]);
    await producer.close();
    await expect(producer.put("x")).rejects.toMatchObject({ kind: "connection-closed", outcome: "not-applied" });
  });

  test("messages with a delay are named by their ids, and the others by their offsets", async () => {
    const { channel } = open(transport);
    const producer = channel.producer();
    const given = ["a", { body: "b", delayMs: 60_000 }, "c"];
    const [a, b, c] = await Promise.all(given.map((message) => producer.put(message)));

    const scheduled = await collect(channel.scheduled.list());
    expect([a, b, c]).toMatchObject([{ offset: 1 }, { offset: null, scheduledId: scheduled[0]?.scheduledId }, { offset: 2 }]);
  });
});

describe("src/client over socket: producers and pressure", () => {
  test("[BP3] a producer fills a channel to the brim, and what does not fit it keeps until the pressure is low", async () => {
    const { channel } = open("socket");
    await channel.create({ maxMessages: 10 });
    await using producer = channel.producer({ maxBatchMessages: 2 });
    const stored: Promise<{ readonly offset: number | null }>[] = numbers(1, 8).map((body) => producer.put(body));
    await Promise.all(stored);
    stored.push(...numbers(9, 6).map((body) => producer.put(body)));
    await stored[9];

    expect(await channel.stats()).toMatchObject({ depth: 10, waiting: { puts: 0 } });
    await channel.getBatch({ max: 4 });
    expect(await channel.stats()).toMatchObject({ depth: 6, waiting: { puts: 0 } });
    await channel.getBatch({ max: 1 });
    expect((await Promise.all(stored)).map(({ offset }) => offset)).toEqual(stored.map((_, index) => index + 1));
  });
});

describe.each(TRANSPORTS)("src/client over %s: several channels", (transport) => {
  test("[preference] they are consumed in the order in which they are named, each message once", async () => {
    const names = [freshChannel(), freshChannel()];
    const [urgent, bulk] = names.map((name) => open("http", name).channel);
    assert(urgent !== undefined && bulk !== undefined);
    await Promise.all([urgent.create(), bulk.create()]);
    await bulk.putBatch(numbers(1, 3));
    const first = Promise.withResolvers<void>();
    const begun: string[] = [];
    const client = EdgeChannel.connect(ORIGIN, { transport, fetch: fetchFromWorker, openSocket: upgradeWith(fetchFromWorker) });
    onTestFinished(() => client.close());
    const handler = async (message: LeasedMessage, { channel }: { readonly channel: string }): Promise<void> => {
      begun.push(`${channel === names[0] ? "urgent" : "bulk"} ${textOf(message)}`);
      await first.promise;
    };
    const consumer = client.consume(names, handler, { prefetch: 3 });
    await urgent.putBatch(numbers(1, 3));
    await vi.waitFor(async () => expect((await urgent.stats()).delivery?.leased).toBe(3));
    await vi.waitFor(async () => expect((await bulk.stats()).delivery?.leased).toBe(3));
    // What was sent to the consumer has come to it before this answer.
    await client.channel(names[0] ?? "").stats();
    first.resolve();
    await vi.waitFor(async () => expect((await bulk.stats()).depth).toBe(0));
    await consumer.stop();

    const [begin = "", ...rest] = begun;
    const all = ["urgent 1", "urgent 2", "urgent 3", "bulk 1", "bulk 2", "bulk 3"];
    expect(rest).toEqual(all.filter((text) => text !== begin));
    expect((await urgent.stats()).counts).toMatchObject({ put: 3, acked: 3 });
  });
});
