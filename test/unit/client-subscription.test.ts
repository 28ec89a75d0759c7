// A plain reader's stream over sockets and timers that the test drives by hand.
import { assert, describe, expect, test } from "vitest";
import type { SubscribeOptions } from "../../src/client/subscription.ts";
import { errorOf } from "../client-calls.ts";
import {
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
  TEXT_FACTS,
} from "./client-doubles.ts";

function messagesOf(...offsets: readonly number[]): object[] {
  return offsets.map((offset) => ({ offset, ...TEXT_FACTS, text: `m${offset}` }));
}

function deliver(offsets: readonly number[], more: object = {}): object {
  const resume = `life.${(offsets.at(-1) ?? 0) + 1}`;
  return { type: "deliver", id: 1, messages: messagesOf(...offsets), bytes: 10 * offsets.length, resume, state: STATE, ...more };
}

async function subscribe(options: SubscribeOptions = {}) {
  const { channel, timers } = openTimedChannel();
  const stream = channel.subscribe(options);
  await greet(lastSocket());
  lastSocket().receive({ type: "subscribed", id: 1, resume: "life.1" });
  return { stream, timers };
}

async function takeBodies(stream: AsyncIterator<{ readonly body: unknown }>, count: number): Promise<unknown[]> {
  const bodies: unknown[] = [];
  while (bodies.length < count) {
    const { value } = await stream.next();
    bodies.push((value as { readonly body: unknown } | undefined)?.body);
  }
  return bodies;
}

describe("src/client/subscription", () => {
  test("[SB2] credit is granted when a part of the window was taken, and at once when nothing is left", async () => {
    const { stream } = await subscribe({ from: { offset: 1 }, credit: { messages: 8, bytes: 1000 } });
    const socket = lastSocket();
    expect(socket.sent.at(-1)).toEqual({
      type: "subscribe",
      id: 1,
      from: { offset: 1 },
      credit: { messages: 8, bytes: 1000 },
    });
    socket.receive(deliver([1, 2, 3, 4, 5]));
    socket.sent.length = 0;

    expect(await takeBodies(stream, 2)).toEqual(["m1", "m2"]);
    expect(socket.sent).toEqual([]);
    expect(await takeBodies(stream, 1)).toEqual(["m3"]);
    expect(socket.sent).toEqual([{ type: "credit", id: 1, messages: 2, bytes: 20 }]);
    expect(await takeBodies(stream, 2)).toEqual(["m4", "m5"]);
    void stream.next();
    await settleDown();
    expect(socket.sent.slice(1)).toEqual([
      { type: "credit", id: 1, messages: 2, bytes: 20 },
      { type: "credit", id: 1, messages: 1, bytes: 10 },
    ]);
  });

  test("[SB7] after a lost connection it goes on behind what has come, asking for no more than fits beside it", async () => {
    const errors: unknown[] = [];
    const { stream, timers } = await subscribe({
      from: { at: "first" },
      credit: { messages: 4, bytes: 100 },
      onReconnect: (error) => errors.push(error.kind),
    });
    lastSocket().receive(deliver([1, 2, 3]));
    expect(await takeBodies(stream, 1)).toEqual(["m1"]);
    await reconnect(timers);
    expect(lastSocket().sent.at(-1)).toMatchObject({ from: { resume: "life.4" }, credit: { messages: 1, bytes: 70 } });
    lastSocket().receive({ type: "subscribed", id: 1, resume: "life.4" });
    lastSocket().receive(deliver([4]));

    expect(await takeBodies(stream, 3)).toEqual(["m2", "m3", "m4"]);
    expect(errors).toEqual(["connection-lost"]);
    expect(timers.delaysMs).toContain(50);
  });

  test("what is granted while the connection opens is not lost", async () => {
    const { stream, timers } = await subscribe({ credit: { messages: 4 } });
    lastSocket().receive(deliver([1, 2]));
    await loseConnection();
    await passFirstPause(timers);
    expect(await takeBodies(stream, 2)).toEqual(["m1", "m2"]);
    void stream.next();
    await settleDown();
    await greet(lastSocket());

    const granted = lastSocket().sent.map((frame) => frame["credit"] ?? frame);
    expect(granted).toMatchObject([{ type: "hello" }, { messages: 2 }, { messages: 1 }, { messages: 1 }]);
  });

  test("[SB5] records of the channel and gaps are told in their places, and are no messages", async () => {
    const seen: unknown[] = [];
    const { stream } = await subscribe({
      onControl: (record) => seen.push(record.offset),
      onGap: (gap) => seen.push([gap.fromOffset, gap.toOffset]),
    });
    const controls = [{ offset: 4, control: { type: "close" } }];
    lastSocket().receive(deliver([3, 5], { gap: { fromOffset: 1, toOffset: 2 }, controls }));
    for (const body of await takeBodies(stream, 2)) seen.push(body);

    expect(seen).toEqual([[1, 2], 4, "m3", "m5"]);
    expect(await stream.return()).toEqual({ done: true, value: undefined });
  });

  test("[SB5] a gap that nobody wants to be told ends the stream in its place", async () => {
    const { stream } = await subscribe();
    lastSocket().receive(deliver([1]));
    lastSocket().receive(deliver([5], { gap: { fromOffset: 2, toOffset: 4 } }));

    expect(await takeBodies(stream, 1)).toEqual(["m1"]);
    expect(await errorOf(stream.next())).toMatchObject({ kind: "gap", cause: { fromOffset: 2, toOffset: 4 } });
    expect(lastSocket().sent.at(-1)).toEqual({ type: "unsubscribe", id: 1 });
    expect(await stream.next()).toEqual({ done: true, value: undefined });
  });

  test("`resume` is behind a frame when all of it was worked off", async () => {
    const { stream } = await subscribe();
    expect(stream.resume).toBeUndefined();
    lastSocket().receive(deliver([1, 2]));
    await takeBodies(stream, 2);
    expect(stream.resume).toBe("life.1");
    lastSocket().receive(deliver([3]));
    await takeBodies(stream, 1);

    expect(stream.resume).toBe("life.3");
  });

  test("aborting ends it cleanly, also while it waits, and drops what was not taken", async () => {
    const abort = new AbortController();
    const { stream, timers } = await subscribe({ signal: abort.signal });
    const waiting = stream.next();
    expect(await isSettled(waiting)).toBe(false);
    lastSocket().receive(deliver([1, 2]));
    expect(await waiting).toMatchObject({ value: { body: "m1" } });
    abort.abort();

    expect(await stream.next()).toEqual({ done: true, value: undefined });
    expect([lastSocket().sent.at(-1), timers.count]).toEqual([{ type: "unsubscribe", id: 1 }, KEEP_ALIVE_TIMERS]);
  });

  test("leaving a loop, or the scope, ends it while another call waits", async () => {
    const { stream } = await subscribe();
    const waiting = stream.next();
    await stream[Symbol.asyncDispose]();

    expect(await waiting).toEqual({ done: true, value: undefined });
    expect(lastSocket().sent.at(-1)).toEqual({ type: "unsubscribe", id: 1 });
  });

  test("[SB8] what the server ends it for comes behind the last message", async () => {
    const { stream } = await subscribe();
    lastSocket().receive(deliver([1]));
    lastSocket().endStream(1, { kind: "channel-closed" });

    expect(await takeBodies(stream, 1)).toEqual(["m1"]);
    expect(await errorOf(stream.next())).toMatchObject({ kind: "channel-closed", status: 410 });
  });

  test("a message that cannot be read ends it, and not the program", async () => {
    const { stream } = await subscribe();
    const frame = { messages: [{ offset: 1, ...TEXT_FACTS }], bytes: 1, resume: "life.2", state: STATE };
    lastSocket().receive({ type: "deliver", id: 1, ...frame });

    expect(await errorOf(stream.next())).toMatchObject({ kind: "protocol-violation", retryable: false });
    expect(lastSocket().sent.at(-1)).toEqual({ type: "unsubscribe", id: 1 });
  });

  test("a refusal ends it, and is not asked again", async () => {
    const { channel } = openChannel();
    const stream = channel.subscribe({ tap: true, filter: { keys: ["k"] } });
    await greet(lastSocket());
    expect(lastSocket().sent.at(-1)).toMatchObject({ tap: true, filter: { keys: ["k"] } });
    const refusal = { kind: "wrong-retention", retention: "log", needed: ["queue"] } as const;
    lastSocket().refuse(1, refusal);

    expect(await errorOf(stream.next())).toMatchObject({ kind: "wrong-retention", outcome: "not-applied" });
  });

  test("a window that is none, and a transport without streams, are refused at once", async () => {
    const { channel } = openChannel();
    assert.throws(() => channel.subscribe({ credit: { messages: 0 } }), /credit|messages: expected a whole number from 1/);
    const overHttp = openChannel({ transport: "http" }).channel;
    assert.throws(() => overHttp.subscribe(), /Cannot subscribe over HTTP/);
  });
});
