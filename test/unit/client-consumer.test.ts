// A consumer over sockets and timers that the test drives by hand.
import { describe, expect, test } from "vitest";
import { RetryError } from "../../src/client/handler-errors.ts";
import { errorOf } from "../client-calls.ts";
import { firstSocket, greet, isSettled, KEEP_ALIVE_TIMERS, lastSocket, reconnect, settleDown, STATE } from "./client-doubles.ts";
import { open, begin, deliver, sent, settles, answer, Handlers, type Sent } from "./consumer-driver.ts";

describe("src/client/consumer", () => {
  test("[SB10] control records are no messages: the program is told of each, and they take no credit", async () => {
    const { channel } = open();
    const handlers = new Handlers();
    const told: unknown[] = [];
    channel.consume(handlers.handle, { prefetch: 4, onControl: ({ offset, control }) => void told.push([offset, control.type]) });
    await begin();
    const control = { type: "resize", maxMessages: 5, maxBytes: 100 };
    const controls = [{ offset: 6, putAtMs: 1, control }];
    lastSocket().receive({ type: "deliver", id: 1, messages: [], controls, bytes: 0, state: STATE });
    await deliver(["7"]);

    expect(told).toEqual([[6, "resize"]]);
    expect(handlers.names).toEqual(["7"]);
    expect(sent().filter(({ type }) => type === "credit")).toEqual([]);
  });

  test("[KO6] behind a message that is retried all of its key is given back with it, and none begun before the server has answered", async () => {
    const { channel } = open();
    const handlers = new Handlers();
    channel.consume(handlers.handle, { concurrency: 2 });
    await begin();
    await deliver(["1", "2", "3"], ["k", "k", "k"]);
    expect(handlers.names).toEqual(["1"]);
    handlers.get("1").reject(new RetryError("later", { delayMs: 7 }));
    await settleDown();
    expect(sent().at(-1)).toMatchObject({ retries: [{ leaseId: "l1", delayMs: 7, reason: "later" }] });
    expect(settles()).toEqual([["retries l1", "releases l2", "releases l3"]]);
    // Sent before the server knew.
    await deliver(["4"], ["k"]);
    await answer();
    expect([settles().at(-1), handlers.names]).toEqual([["extends l4"], []]);
    await answer({ "/extends/0/leaseId": { kind: "lease-lost", offset: 4, cause: "predecessor" } });
    expect(handlers.names).toEqual([]);
    await deliver(["1", "2"], ["k", "k"]);
    expect(handlers.names).toEqual(["1"]);
    await handlers.end("1");
    expect(handlers.names).toEqual(["2"]);
  });

  test("[KO6] after a batch that fails none of its key is begun before it comes again, and then in the order of offsets", async () => {
    const { channel } = open();
    const batches: unknown[][] = [];
    const work = (messages: readonly { readonly body: unknown }[]): void => {
      batches.push(messages.map(({ body }) => body));
      if (batches.length === 2) throw new RetryError("once", { delayMs: 0 });
    };
    channel.consume(work, { batchSize: 2 });
    await begin();
    const all = ["1", "2", "3", "4", "5", "6", "7"];
    await deliver(
      all,
      all.map(() => "k"),
    );
    await answer();

    expect(settles()).toEqual([
      ["acks l1", "acks l2"],
      ["retries l3", "retries l4", "releases l5", "releases l6", "releases l7"],
    ]);
    expect(batches).toEqual([
      ["1", "2"],
      ["3", "4"],
    ]);
    await answer();
    expect(batches.length).toBe(2);
    await deliver(
      all.slice(2),
      all.map(() => "k"),
    );
    expect(batches.slice(2)).toEqual([["3", "4"], ["5", "6"], ["7"]]);
  });

  test("[KO6] what was done behind one of its key that is not done is given back, once, also where it comes again before the answer", async () => {
    const { channel } = open();
    const batches: unknown[][] = [];
    const work = (messages: readonly { readonly body: unknown }[]): Promise<PromiseSettledResult<void>[]> => {
      batches.push(messages.map(({ body }) => body));
      const isFirst = batches.length === 1;
      return Promise.allSettled(
        messages.map(({ body }) => (isFirst && body === "2" ? Promise.reject(new RetryError()) : Promise.resolve())),
      );
    };
    channel.consume(work, { batchSize: 4 });
    await begin();
    await deliver(["1", "2", "3", "4"], ["k", "k", "k"]);
    expect(settles()).toEqual([["acks l1", "acks l4", "retries l2", "releases l3"]]);
    await deliver(["2", "3"], ["k", "k"]);
    expect(batches.length).toBe(1);
    await answer();

    expect(settles().at(-1)).toEqual(["extends l2", "extends l3"]);
    await answer();
    expect(batches.slice(1)).toEqual([["2", "3"]]);
    expect(settles().slice(2)).toEqual([["acks l2", "acks l3"]]);
  });

  test("[KO6] where a key begins again, what is held of it from there on is over, and what is worked on as well", async () => {
    const { channel } = open();
    const handlers = new Handlers();
    channel.consume(handlers.handle, { concurrency: 2 });
    await begin();
    await deliver(["2", "3", "4"], ["k", "k", "k"]);
    expect(handlers.names).toEqual(["2"]);
    const { signal } = handlers.get("2");
    await deliver(["1", "2", "3"], ["k", "k", "k"]);
    expect([signal.aborted, handlers.names]).toEqual([true, ["2"]]);
    for (const next of ["1", "2", "3"]) {
      await handlers.end(...handlers.names);
      expect(handlers.names).toEqual([next]);
    }
    await handlers.end("3");

    // 4 is held no more, and the first work on 2 was in vain.
    expect(handlers.names).toEqual([]);
    expect(settles()).toEqual([["acks l1"]]);
    await answer();
    expect(settles().at(-1)).toEqual(["acks l2", "acks l3"]);
  });

  test("[KO6] after an ack that is refused the server is asked what is held of the key", async () => {
    const { channel } = open();
    const handlers = new Handlers();
    channel.consume(handlers.handle);
    await begin();
    await deliver(["1", "2", "3"], ["k", "k", "k"]);
    await handlers.end("1");
    await answer({ "/acks/0/leaseId": { kind: "lease-lost", offset: 1, cause: "expired" } });
    await handlers.end("2");

    const lost = { kind: "lease-lost", offset: 2, cause: "predecessor" } as const;
    expect([settles().at(-1), handlers.names]).toEqual([["acks l2", "extends l3"], []]);
    await answer({ "/acks/0/leaseId": lost, "/extends/0/leaseId": { ...lost, offset: 3 } });
    expect(handlers.names).toEqual([]);
  });

  test("[LS9] where the new connection is lost before it has told what is held, the next one is asked again", async () => {
    const { channel, timers } = open();
    const handlers = new Handlers();
    channel.consume(handlers.handle);
    await begin();
    await deliver(["1", "2"]);
    await reconnect(timers);
    lastSocket().receive({ type: "subscribed", id: 1 });
    await settleDown();
    await deliver(["3"]);
    await handlers.end("1");
    await reconnect(timers);
    await settleDown();
    const subscribed = sent().find(({ type }) => type === "subscribe");
    // What was asked on the lost connection is asked again and answered; what came on it is asked after that.
    await answer();
    expect(handlers.names).toEqual([]);
    lastSocket().receive({ type: "subscribed", id: subscribed?.id });
    await answer();
    expect([settles().at(-1), handlers.names]).toEqual([["extends l2", "extends l3"], []]);
    await answer({ "/extends/1/leaseId": { kind: "lease-lost", offset: 3, cause: "disconnected" } });
    expect(handlers.names).toEqual(["2"]);
    await handlers.end("2");
    expect(handlers.names).toEqual([]);
  });

  test("[LS9] on a new connection it asks what it still holds before it begins more, and settles that", async () => {
    const { channel, timers } = open();
    const handlers = new Handlers();
    const errors: string[] = [];
    channel.consume(handlers.handle, { prefetch: 4, onReconnect: ({ kind }) => errors.push(kind) });
    await begin();
    await deliver(["1", "2", "3"]);
    await reconnect(timers);
    expect(sent().at(-1)).toMatchObject({ type: "subscribe", credit: { messages: 1 } });
    lastSocket().receive({ type: "subscribed", id: 1 });
    await settleDown();
    expect(settles()).toEqual([["extends l1", "extends l2", "extends l3"]]);
    await handlers.end("1");
    expect(handlers.names).toEqual([]);
    await answer({ "/extends/1/leaseId": { kind: "lease-lost", offset: 2, cause: "disconnected" } });

    expect([settles().at(-1), handlers.names]).toEqual([["acks l1"], ["3"]]);
    expect(errors).toEqual(["connection-lost"]);
  });

  test("[SB11] it comes back to its leases by the token that it was told, and without where the server does not know it any more", async () => {
    const { channel, timers } = open();
    const consumer = channel.consume(new Handlers().handle);
    await greet(await firstSocket());
    expect(sent().at(-1)).not.toHaveProperty("resume");
    lastSocket().receive({ type: "subscribed", id: 1, resume: "life.0-a-b" });
    await settleDown();
    await reconnect(timers);
    expect(sent().at(-1)).toMatchObject({ type: "subscribe", resume: "life.0-a-b" });
    const { id } = sent().at(-1) as Sent;
    lastSocket().refuse(id, { kind: "resume-lost", resume: "life.0-a-b" });
    await settleDown();

    const again = sent().at(-1) as Sent;
    expect(again).toMatchObject({ type: "subscribe" });
    expect(again).not.toHaveProperty("resume");
    lastSocket().endStream(again.id, { kind: "taken-over" });
    expect(await errorOf(consumer.done)).toMatchObject({ kind: "taken-over", retry: "never" });
  });

  test("[SB12] with its token it tells which leases it holds, and those whose settling is not answered", async () => {
    const { channel, timers } = open();
    const handlers = new Handlers();
    channel.consume(handlers.handle, { concurrency: 4 });
    await greet(await firstSocket());
    expect(sent().at(-1)).not.toHaveProperty("held");
    lastSocket().receive({ type: "subscribed", id: 1, resume: "life.0-a-b" });
    await deliver(["1", "2", "3"]);
    await handlers.end("1");
    await answer();
    await handlers.end("2");
    await reconnect(timers);

    expect(sent().at(-1)).toMatchObject({
      type: "subscribe",
      resume: "life.0-a-b",
      held: [{ leaseId: "l2" }, { leaseId: "l3" }],
    });
  });

  test("[SB13] it releases what others wait for and it has not begun with, but nothing of a key that it works on", async () => {
    const { channel } = open();
    const handlers = new Handlers();
    channel.consume(handlers.handle, { concurrency: 2, prefetch: 8 });
    await begin();
    await deliver(["1", "2", "3", "4", "5", "6"], ["a", "b", "a", "c", "c"]);
    expect(handlers.names).toEqual(["1", "2"]);
    const leases = ["l2", "l3", "l4", "l5", "l6", "l99"].map((leaseId) => ({ leaseId }));

    lastSocket().receive({ type: "revoke", id: 1, leases });
    await settleDown();

    expect(settles()).toEqual([["releases l4", "releases l5", "releases l6"]]);
    // What comes behind those of a key is not asked for before they are given back.
    expect(sent().some(({ type }) => type === "credit")).toBe(false);
    await answer();
    expect(sent()).toContainEqual(expect.objectContaining({ type: "credit", messages: 3 }));
    await handlers.end("1");
    expect(handlers.names).toEqual(["2", "3"]);
  });

  test("stopping finishes what runs, gives back what waits and what still comes, and ends the subscription then", async () => {
    const { channel } = open();
    const handlers = new Handlers();
    const abort = new AbortController();
    const consumer = channel.consume(handlers.handle, { signal: abort.signal });
    await begin();
    await deliver(["1", "2"]);
    abort.abort();
    await settleDown();
    expect(settles()).toEqual([["releases l2"]]);
    await answer();
    await deliver(["3"]);
    expect(settles().at(-1)).toEqual(["releases l3"]);
    await answer();
    await handlers.end("1");
    expect([settles().at(-1), await isSettled(consumer.done)]).toEqual([["acks l1"], false]);
    await answer();

    await consumer.done;
    expect(sent().at(-1)).toEqual({ type: "unsubscribe", id: 1 });
    expect(sent().some(({ type }) => type === "credit")).toBe(false);
  });

  test("stopping with a signal ends at once when that is aborted", async () => {
    const { channel, timers } = open();
    const handlers = new Handlers();
    const consumer = channel.consume(handlers.handle);
    await begin();
    await deliver(["1"]);
    const abort = new AbortController();
    const stopping = consumer.stop({ signal: abort.signal });
    expect(await isSettled(stopping)).toBe(false);
    abort.abort();

    await stopping;
    expect([handlers.get("1").signal.aborted, timers.count]).toEqual([true, KEEP_ALIVE_TIMERS]);
  });

  test("a batch that is not full waits for more, no longer than it was told", async () => {
    const { channel, timers } = open();
    const batches: unknown[][] = [];
    channel.consume((messages) => void batches.push(messages.map(({ body }) => body)), {
      batchSize: 3,
      batchBytes: 25,
      batchWaitMs: 500,
    });
    await begin();
    await deliver(["1"]);
    expect(batches).toEqual([]);
    await deliver(["2", "3"]);
    expect(batches).toEqual([["1", "2"]]);
    timers.fire(500);
    await settleDown();

    expect(batches).toEqual([["1", "2"], ["3"]]);
  });

  test("outcomes that do not match their batch retry all of it", async () => {
    const { channel } = open();
    const errors: unknown[] = [];
    channel.consume(() => [], { batchSize: 2, onError: (error) => errors.push(String(error)) });
    await begin();
    await deliver(["1", "2"]);

    expect(settles()).toEqual([["retries l1", "retries l2"]]);
    expect(errors[0]).toContain("2 messages by 0 outcomes among 0 values: expected one for each");
  });

  test("a loop that is left retries the message it had and gives the others back", async () => {
    const { channel } = open();
    const stream = channel.consume();
    const taking = stream.next();
    await begin();
    await deliver(["1", "2"]);
    expect((await taking).value?.body).toBe("1");
    const leaving = stream.return();
    await settleDown();
    await answer();
    expect(settles()).toEqual([["releases l2"], ["retries l1"]]);
    await answer();

    expect(await leaving).toEqual({ done: true, value: undefined });
  });
});
