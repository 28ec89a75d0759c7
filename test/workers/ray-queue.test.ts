// What Ray's Queue promises and its tests assert, here over HTTP and sockets; and the faults of Ray's Queue, which are not to be had here.
// The labels are those of Ray's own test list: None is null, block=False no wait, timeout waitMs, Full channel-full, Empty no messages.
import { describe, expect, test } from "vitest";
import type { ChannelDescription } from "../../src/protocol/description.ts";
import { pullReply } from "./http.ts";
import { restart } from "./inside.ts";
import {
  call,
  createChannel,
  describeChannel,
  freshChannel,
  NO_COUNTS,
  openSocket,
  pathOf,
  pull,
  type PulledJson,
  pullTexts,
  put,
  putBatch,
  read,
  readProblem,
  textsOf,
  untilChannel,
  untilWaiting,
} from "./service.ts";
import { LONG_MS, waitForMessages } from "./waiting.ts";

function tryPut(channel: string, body: string, query = ""): Promise<Response> {
  return call("POST", pathOf(channel, `/messages${query}`), { body });
}

function tryBatch(channel: string, messages: unknown): Promise<Response> {
  return call("POST", pathOf(channel, "/messages/batch"), { json: { messages } });
}

function kindOf(reply: Promise<Response>): Promise<string> {
  return readProblem(reply).then((problem) => problem.kind);
}

function numbers(from: number, to: number): string[] {
  return Array.from({ length: to - from }, (_, index) => String(from + index));
}

function purge(channel: string): Promise<unknown> {
  return read(call("DELETE", pathOf(channel, "/messages")));
}

function peek(channel: string): Promise<PulledJson> {
  return read<PulledJson>(call("GET", pathOf(channel, "/messages?limit=1")));
}

describe("ray.util.queue: what its tests assert", () => {
  test("[ray:Q1] ten items come out in the order in which they were put", async () => {
    const channel = await createChannel();
    const items = numbers(0, 10);
    for (const item of items) await put(channel, item);

    const got: string[] = [];
    while (got.length < items.length) got.push(...(await pullTexts(channel)));

    expect(got).toEqual(items);
  });

  test("[ray:Q1] ten producers and ten consumers at once: every item comes out once", async () => {
    const channel = await createChannel();
    const items = numbers(0, 10);

    const consumers = items.map(() => pullTexts(channel, { waitMs: LONG_MS }));
    const producers = items.map((item) => put(channel, item));
    await Promise.all(producers);

    expect((await Promise.all(consumers)).flat().toSorted()).toEqual(items);
  });

  test("[ray:Q2] get without and with a timeout, of an item and of nothing", async () => {
    const channel = await createChannel();
    await putBatch(channel, ["1", "2"]);

    expect(await pullTexts(channel)).toEqual(["1"]);
    expect(await pullTexts(channel, { waitMs: 200 })).toEqual(["2"]);
    expect(await kindOf(pullReply(channel, { waitMs: -1 }))).toBe("invalid-request");
    expect(await pullTexts(channel)).toEqual([]);
    expect(await pullTexts(channel, { waitMs: 20 })).toEqual([]);
  });

  test("[ray:Q3] put without and with a timeout, into room and into a full queue", async () => {
    const channel = await createChannel({ maxMessages: 1 });

    await put(channel, "1");
    await pull(channel);
    await put(channel, "2", "?waitMs=200");
    expect(await kindOf(tryPut(channel, "3", "?waitMs=-1"))).toBe("invalid-request");
    expect(await kindOf(tryPut(channel, "3"))).toBe("channel-full");
    expect(await kindOf(tryPut(channel, "3", "?waitMs=20"))).toBe("channel-full");

    expect(await pullTexts(channel, { max: 5 })).toEqual(["2"]);
  });

  test("[ray:Q4] a blocked getter holds up nobody and receives the next item", async () => {
    const channel = await createChannel();
    const blocked = await openSocket(channel);
    await waitForMessages(blocked, 1);

    expect(await pullTexts(channel)).toEqual([]);
    expect(await blocked.settle()).toEqual([]);
    await put(channel, "1");

    expect(textsOf((await blocked.next()).messages)).toEqual(["1"]);
  });

  test("[ray:Q5] a blocked putter holds up nobody and is next", async () => {
    const channel = await createChannel({ maxMessages: 1 });
    await put(channel, "1");
    const blocked = put(channel, "2", `?waitMs=${LONG_MS}`);
    await untilWaiting(channel, 1);

    expect(await kindOf(tryPut(channel, "3"))).toBe("channel-full");
    expect(await pullTexts(channel)).toEqual(["1"]);
    await blocked;

    expect(await pullTexts(channel)).toEqual(["2"]);
  });

  test("[ray:Q6] a batch that does not fit leaves nothing behind, one that fits comes back in order", async () => {
    const [small, large] = [await createChannel({ maxMessages: 1 }), await createChannel({ maxMessages: 100 })];
    const items = numbers(0, 100);

    expect(await kindOf(tryBatch(small, [{ text: "1" }, { text: "2" }]))).toBe("batch-too-large");
    expect(await pullTexts(small, { min: 1, max: 1 })).toEqual([]);
    await putBatch(large, items);
    expect(await kindOf(tryBatch(large, [{ text: "more" }]))).toBe("channel-full");

    expect(await pullTexts(large, { min: 100, max: 100 })).toEqual(items);
  });

  test("[ray:Q7] the size follows every put and get", async () => {
    const channel = await createChannel();
    const size = async (): Promise<number> => (await describeChannel(channel)).depth;
    for (let count = 1; count <= 5; count++) {
      expect((await put(channel, "a")).state.depth).toBe(count);
      expect(await size()).toBe(count);
    }
    for (let count = 4; count >= 0; count--) {
      expect((await pull(channel)).state.depth).toBe(count);
      expect(await size()).toBe(count);
    }
  });

  test("[ray:Q8] after a shutdown every call is refused as such", async () => {
    const channel = await createChannel();
    await call("DELETE", pathOf(channel));

    expect(await kindOf(tryPut(channel, "a"))).toBe("channel-deleted");
    expect(await kindOf(pullReply(channel, {}))).toBe("channel-deleted");
    expect(await kindOf(call("GET", pathOf(channel)))).toBe("channel-deleted");
  });

  test("[ray:Q10] a consumer pulls batches until the sentinel and has every item once", async () => {
    const channel = await createChannel();
    const items = numbers(0, 200);
    const produce = async (): Promise<void> => {
      for (let from = 0; from < items.length; from += 20) await putBatch(channel, items.slice(from, from + 20));
      await read(tryBatch(channel, [{ json: null }]), 201);
    };
    const consume = async (): Promise<string[]> => {
      const got: string[] = [];
      for (;;) {
        const { messages } = await pull(channel, { max: 7 });
        got.push(...messages.flatMap(({ text }) => text ?? []));
        if (messages.some(({ json }) => json === null)) return got;
      }
    };

    const [got] = await Promise.all([consume(), produce()]);

    expect(got).toEqual(items);
  });

  test("[ray:Q11] the length is that of the queue", async () => {
    const channel = await createChannel();
    expect((await describeChannel(channel)).depth).toBe(0);

    await putBatch(channel, ["a", "b", "c"]);

    expect((await describeChannel(channel)).depth).toBe(3);
  });

  test("[ray:Q12] a queue of two is empty, neither, and full", async () => {
    const channel = await createChannel({ maxMessages: 2 });
    const look = async (): Promise<[boolean, boolean]> => {
      const { isEmpty, isFull } = await describeChannel(channel);
      return [isEmpty, isFull];
    };

    expect(await look()).toEqual([true, false]);
    await put(channel, "a");
    expect(await look()).toEqual([false, false]);
    await put(channel, "b");
    expect(await look()).toEqual([false, true]);
    await pull(channel, { max: 2 });
    expect(await look()).toEqual([true, false]);
  });

  test("[ray:Q13] a queue that was cleared, full or empty, is empty and goes on", async () => {
    const channel = await createChannel({ maxMessages: 2 });
    expect(await purge(channel)).toEqual({ removedMessages: 0 });
    await putBatch(channel, ["a", "b"]);

    expect(await purge(channel)).toEqual({ removedMessages: 2 });

    expect(await pullTexts(channel)).toEqual([]);
    await putBatch(channel, ["c", "d"]);
    expect(await pullTexts(channel, { max: 2 })).toEqual(["c", "d"]);
  });

  test("[ray:Q14] a peek shows the next item, again and again, and leaves it", async () => {
    const channel = await createChannel();
    expect((await peek(channel)).messages).toEqual([]);
    await putBatch(channel, ["a", "b"]);

    expect(textsOf((await peek(channel)).messages)).toEqual(["a"]);
    expect(textsOf((await peek(channel)).messages)).toEqual(["a"]);

    expect(await pullTexts(channel)).toEqual(["a"]);
    expect(textsOf((await peek(channel)).messages)).toEqual(["b"]);
  });

  test("[ray:Q15] a size or options that can not be are refused, and nothing is created", async () => {
    const channel = freshChannel();
    for (const maxMessages of ["invalid", "10", -1, 0, 1.5, null, true, [1], 1e12]) {
      expect([String(maxMessages), await kindOf(call("PUT", pathOf(channel), { json: { maxMessages } }))]).toEqual([
        String(maxMessages),
        "invalid-request",
      ]);
    }
    for (const options of ["invalid", 5, true, null, { num_cpus: 1 }]) {
      expect(await kindOf(call("PUT", pathOf(channel), { json: options }))).toBe("invalid-request");
    }
    expect(await kindOf(call("GET", pathOf(channel)))).toBe("unknown-channel");
  });

  test("[ray:Q16] a number of items that is none, or a batch that is no list, is refused", async () => {
    const channel = await createChannel();
    await putBatch(channel, ["a", "b"]);

    for (const count of ["1", -1, 1.5, true, null, [1]]) {
      expect([String(count), await kindOf(pullReply(channel, { min: count, max: count }))]).toEqual([
        String(count),
        "invalid-request",
      ]);
    }
    for (const messages of [5, "ab", { text: "a" }, { 0: { text: "a" }, length: 1 }, null, undefined]) {
      const problem = await readProblem(tryBatch(channel, messages));
      expect(problem).toMatchObject({ kind: "invalid-request", errors: [{ pointer: "/messages" }] });
    }
    expect((await describeChannel(channel)).counts).toEqual({ ...NO_COUNTS, put: 2 });
  });

  test("[ray:Q17] a forced shutdown is at once, and a second one finds it done", async () => {
    const channel = await createChannel();
    await put(channel, "a");

    const first = await read(call("DELETE", pathOf(channel, "?force=true")));
    const second = await readProblem(call("DELETE", pathOf(channel, "?force=true")));

    expect(first).toEqual({ state: "deleted", droppedMessages: 1 });
    expect(second).toMatchObject({ kind: "channel-deleted", droppedMessages: 1 });
  });

  test("[ray:Q18] odd values come back as they were put, over every way in and out", async () => {
    const channel = await createChannel();
    const socket = await openSocket(channel);
    const values: unknown[] = [
      null,
      true,
      false,
      0,
      -1.5,
      1e308,
      2 ** 53,
      "",
      "None",
      'ü "\\ \u0000 \u2028 🚀',
      [],
      {},
      [1, [2, [null]]],
      { a: { b: [] }, "": 0 },
      JSON.parse('{"__proto__": {"x": 1}, "constructor": 2}'),
    ];

    for (const [id, json] of values.entries())
      expect(await socket.ask({ type: "put", id, json })).toMatchObject({ type: "put-ok" });
    await read(
      tryBatch(
        channel,
        values.map((json) => ({ json })),
      ),
      201,
    );
    for (const json of values) await read(call("POST", pathOf(channel, "/messages"), { json }), 201);

    const bySocket = (await socket.ask({ type: "get", id: 99, max: values.length })).messages ?? [];
    const byPull = (await pull(channel, { max: 2 * values.length })).messages;
    const got = [...bySocket, ...byPull].map(({ json }) => JSON.stringify(json));
    expect(got).toEqual([...values, ...values, ...values].map((json) => JSON.stringify(json)));
  });

  test("[ray:Q19] batches keep their order, among themselves and with single items", async () => {
    const channel = await createChannel();
    await putBatch(channel, numbers(0, 5));
    await put(channel, "5");
    await putBatch(channel, numbers(6, 8));

    const got = [await pullTexts(channel, { max: 3 }), await pullTexts(channel), await pullTexts(channel, { max: 9 })];

    expect(got.flat()).toEqual(numbers(0, 8));
  });

  test("[ray:Q20] a batch of none takes none", async () => {
    const channel = await createChannel();
    await putBatch(channel, ["a", "b"]);

    expect(await pullTexts(channel, { min: 0, max: 0 })).toEqual([]);
    expect(await pullTexts(channel, { max: 0 })).toEqual([]);

    expect((await describeChannel(channel)).depth).toBe(2);
  });
});

describe("ray.util.queue: its faults", () => {
  test("[ray:timeout] a timeout of 0 takes an item that is there and uses room that is there", async () => {
    const channel = await createChannel({ maxMessages: 1 });

    await put(channel, "a", "?waitMs=0");

    expect(await pullTexts(channel, { waitMs: 0 })).toEqual(["a"]);
  });

  test("[ray:timeout] a negative timeout is refused whether the call would block or not", async () => {
    const channel = await createChannel();
    await put(channel, "a");

    expect(await kindOf(pullReply(channel, { waitMs: -1 }))).toBe("invalid-request");

    expect((await describeChannel(channel)).depth).toBe(1);
  });

  test("[ray:batch] a batch get of more than there is takes nothing", async () => {
    const channel = await createChannel();
    await putBatch(channel, ["a", "b"]);

    expect(await pullTexts(channel, { min: 3, max: 3 })).toEqual([]);

    expect(await pullTexts(channel, { min: 2, max: 2 })).toEqual(["a", "b"]);
  });

  test("[ray:barging] a get that comes later never takes the item of one that waits", async () => {
    const channel = await createChannel();
    const [first, second, barger] = [await openSocket(channel), await openSocket(channel), await openSocket(channel)];
    await waitForMessages(first, 1);
    await waitForMessages(second, 1);

    const stored = put(channel, "1");
    barger.send({ type: "get", id: 1 });
    await stored;

    expect((await barger.next()).messages).toEqual([]);
    await putBatch(channel, ["2", "3"]);
    expect(textsOf((await first.next()).messages)).toEqual(["1"]);
    expect(textsOf((await second.next()).messages)).toEqual(["2"]);
  });

  test("[ray:barging] a put that comes later never enters before those that wait", async () => {
    const channel = await createChannel({ maxMessages: 1 });
    await put(channel, "0");
    const blocked: Promise<unknown>[] = [];
    for (const [index, item] of ["1", "2"].entries()) {
      blocked.push(put(channel, item, `?waitMs=${LONG_MS}`));
      await untilChannel(channel, ({ waiters }) => waiters === index + 1);
    }

    const got = await pullTexts(channel);
    expect(await kindOf(tryPut(channel, "barger"))).toBe("channel-full");
    while (got.length < 3) got.push(...(await pullTexts(channel)));
    await Promise.all(blocked);

    expect(got).toEqual(["0", "1", "2"]);
  });

  test("[ray:pipelining] puts of one producer that are not awaited come out in order, also through a full queue", async () => {
    const channel = await createChannel({ maxMessages: 10 });
    const [producer, consumer] = [await openSocket(channel), await openSocket(channel)];
    const items = numbers(0, 40);
    const putOf = (id: number): object => ({ type: "put", id, text: items[id], waitMs: LONG_MS });
    producer.send(...Array.from(items, (_, id) => putOf(id)));
    const produce = async (): Promise<void> => {
      for (let stored = 0; stored < items.length;) {
        const { type, id = -1 } = await producer.next();
        if (type === "room") producer.send({ ...putOf(id), promised: true });
        if (type === "put-ok") stored += 1;
      }
    };
    const consume = async (): Promise<string[]> => {
      const got: string[] = [];
      for (let id = 0; got.length < items.length; id++) {
        const reply = await consumer.ask({ type: "get", id, max: 3, waitMs: LONG_MS });
        got.push(...textsOf((reply.type === "wait" ? await consumer.next() : reply).messages));
      }
      return got;
    };

    const [got] = await Promise.all([consume(), produce()]);

    expect(got).toEqual(items);
  });

  test("[ray:abandoned] a getter whose client gave up takes no item", async () => {
    const channel = await createChannel();
    const controller = new AbortController();
    const abandoned = pull(channel, { waitMs: LONG_MS }, { signal: controller.signal }).catch((error: unknown) => error);
    await untilWaiting(channel, 1);
    controller.abort();
    await abandoned;
    await untilWaiting(channel, 0);

    await put(channel, "a");

    expect((await describeChannel(channel)).depth).toBe(1);
    expect(await pullTexts(channel)).toEqual(["a"]);
  });

  test("[ray:crowd] with 1,001 getters waiting a put runs, and the first of them has it", async () => {
    const channel = await createChannel();
    const sockets = await Promise.all(Array.from({ length: 16 }, () => openSocket(channel)));
    const [first] = sockets;
    if (first !== undefined) await waitForMessages(first, 0);
    for (let index = 1; index < 1001; index++) {
      sockets[index % 16]?.send({ type: "get", id: Math.floor(index / 16), waitMs: LONG_MS });
    }
    await untilWaiting(channel, 1001);
    await first?.settle();

    expect(await put(channel, "a")).toMatchObject({ offset: 1, state: { waiters: 1000 } });

    expect(first && textsOf((await first.next()).messages)).toEqual(["a"]);
  });

  test("[ray:restart] after a restart the items are there", async () => {
    const channel = await createChannel({ maxMessages: 5 });
    await putBatch(channel, numbers(0, 5));

    await restart(channel);

    expect((await describeChannel(channel)).depth).toBe(5);
    expect(await kindOf(tryPut(channel, "more"))).toBe("channel-full");
    expect(await pullTexts(channel, { max: 9 })).toEqual(numbers(0, 5));
  });

  test("[ray:shutdown] a shutdown lets readers finish what is there, and drops nothing meanwhile", async () => {
    const channel = await createChannel();
    await putBatch(channel, ["a", "b"]);

    const draining = await read<ChannelDescription>(call("DELETE", pathOf(channel, "?graceMs=60000")), 202);

    expect(draining).toMatchObject({ state: "draining", depth: 2 });
    expect(await kindOf(tryPut(channel, "c"))).toBe("channel-draining");
    expect(await pullTexts(channel, { max: 2 })).toEqual(["a", "b"]);
    expect(await readProblem(pullReply(channel, {}))).toMatchObject({ kind: "channel-deleted", droppedMessages: 0 });
  });

  test("[ray:shutdown] a getter and a putter that wait are told of the shutdown", async () => {
    const [empty, full] = [await createChannel(), await createChannel({ maxMessages: 1 })];
    await put(full, "a");
    const getter = pullReply(empty, { waitMs: LONG_MS });
    const putter = tryPut(full, "b", `?waitMs=${LONG_MS}`);
    await untilWaiting(empty, 1);
    await untilWaiting(full, 1);

    await call("DELETE", pathOf(empty));
    await call("DELETE", pathOf(full, "?force=true"));

    expect(await kindOf(getter)).toBe("channel-deleted");
    expect(await kindOf(putter)).toBe("channel-deleted");
  });
});
