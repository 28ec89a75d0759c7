// Puts that wait, through the runtime: their line, and room that is promised. SPEC section WT.
import { describe, expect, test } from "vitest";
import { LIMITS } from "../../src/protocol/limits.ts";
import { inObject, passTime } from "./inside.ts";
import {
  call,
  createChannel,
  describeChannel,
  openSocket,
  patchChannel,
  pathOf,
  pull,
  pullTexts,
  put,
  putBatch,
  read,
  readProblem,
  type TestSocket,
} from "./service.ts";
import { holdReservationTimers, LONG_MS, openSockets, putReply, startPut, waitForMessages, waitForRoom } from "./waiting.ts";

/** A channel of one message that is empty again: its room is promised to the put 1 of one socket, and that of another is next in line. */
async function promiseRoom(): Promise<{ channel: string; promised: TestSocket; next: TestSocket }> {
  const channel = await createChannel({ maxMessages: 1 });
  const [promised, next] = [await openSocket(channel), await openSocket(channel)];
  await put(channel, "a");
  await waitForRoom(promised, 1, ["b"]);
  await waitForRoom(next, 1, ["c"]);
  await pull(channel);
  expect(await promised.next()).toMatchObject({ type: "room" });
  return { channel, promised, next };
}

describe("src/channel/traffic: puts that wait", () => {
  test("[GP7] an HTTP put with a wait waits for the first group of an interest channel, one without is refused at once", async () => {
    const channel = await createChannel({ retention: "interest" });
    expect((await readProblem(putReply(channel, 0))).kind).toBe("no-readers");
    expect((await readProblem(putReply(channel, 20))).kind).toBe("no-readers");
    const { reply } = await startPut(channel, 1, "for the group");

    await read(call("PUT", pathOf(channel, "/groups/first")), 201);

    expect((await reply).count).toBe(1);
    expect(await pullTexts(channel, { group: "first" })).toEqual(["for the group"]);
  });

  test("[WT4] a waiting put is told of the room, and uses it by coming again", async () => {
    const channel = await createChannel({ maxMessages: 1 });
    const socket = await openSocket(channel);
    await put(channel, "a");
    await waitForRoom(socket, 1, ["b"]);

    const { state } = await pull(channel);
    const room = await socket.next();
    const done = await socket.ask({ type: "put-batch", id: 1, messages: [{ text: "b" }], promised: true });

    expect(state).toMatchObject({ depth: 0, waiters: 1 });
    expect(room).toEqual({ type: "room", id: 1, reservedMs: LIMITS.reservationMs });
    expect(done).toMatchObject({ type: "put-ok", id: 1, offset: 2, state: { depth: 1, waiters: 0 } });
    expect(await pullTexts(channel)).toEqual(["b"]);
  });

  test("[WT4] promised room is kept from others", async () => {
    const channel = await createChannel({ maxMessages: 2 });
    const [promised, other] = [await openSocket(channel), await openSocket(channel)];
    await putBatch(channel, ["a", "b"]);
    await waitForRoom(promised, 1, ["c"]);
    await pull(channel);
    expect(await promised.next()).toMatchObject({ type: "room", id: 1 });

    const refused = await other.ask({ type: "put", id: 1, text: "x" });

    expect(refused.problem).toMatchObject({
      kind: "channel-full",
      depth: 1,
      maxMessages: 2,
      promisedMessages: 1,
      promisedBytes: 1,
    });
    expect(refused.problem?.detail).toContain("room that is promised to others (messages: 1, bytes: 1)");
    expect(await readProblem(call("POST", pathOf(channel, "/messages"), { body: "x" }))).toMatchObject({ kind: "channel-full" });
    expect(await promised.ask({ type: "put", id: 1, text: "c", promised: true })).toMatchObject({ type: "put-ok", offset: 3 });
  });

  test("[WT4] room is promised by bytes too", async () => {
    const channel = await createChannel({ maxBytes: 10 });
    const socket = await openSocket(channel);
    await put(channel, "123456");
    await waitForRoom(socket, 1, ["abc", "de"]);

    expect(await socket.settle()).toEqual([]);
    await pull(channel);

    expect(await socket.next()).toMatchObject({ type: "room", id: 1 });
    const messages = [{ text: "123456" }];
    const refused = await readProblem(call("POST", pathOf(channel, "/messages/batch"), { json: { messages } }));
    expect(refused).toMatchObject({ kind: "channel-full", bytes: 0 });
    await put(channel, "12345");
  });

  test("[WT4] what comes for promised room has to fit it, and is refused for good otherwise", async () => {
    const channel = await createChannel({ maxMessages: 1, maxMessageBytes: 5 });
    const socket = await openSocket(channel);
    for (const larger of [[{ text: "bbb" }], [{ text: "" }, { text: "" }], [{ text: "bbbbbb" }]]) {
      await put(channel, "a");
      await waitForRoom(socket, 1, ["bb"]);
      await pull(channel);
      expect(await socket.next()).toMatchObject({ type: "room" });

      const refused = await socket.ask({ type: "put-batch", id: 1, messages: larger, promised: true });

      expect(refused).toMatchObject({ inReplyTo: 1, problem: { retry: "never" } });
      expect(await describeChannel(channel)).toMatchObject({ depth: 0, waiters: 0 });
    }
  });

  test("[WT4] a promise that is not used is taken back, and the next in line is served", async () => {
    const { channel, promised: idle, next } = await promiseRoom();
    expect(await next.settle()).toEqual([]);

    passTime(LIMITS.reservationMs);
    await describeChannel(channel);

    expect(await idle.next()).toMatchObject({ inReplyTo: 1, problem: { kind: "promise-lost", status: 409, id: 1 } });
    expect(await next.next()).toMatchObject({ type: "room", id: 1 });
    const late = await idle.ask({ type: "put", id: 1, text: "b", promised: true });
    expect(late).toMatchObject({ inReplyTo: 1, problem: { kind: "promise-lost" } });
    expect(await next.ask({ type: "put", id: 1, text: "c", promised: true })).toMatchObject({ type: "put-ok", offset: 2 });
    expect(await pullTexts(channel, { max: 9 })).toEqual(["c"]);
  });

  test("[WT4] a put that claims a promise that it never had stores nothing, though there is room", async () => {
    const channel = await createChannel();
    const socket = await openSocket(channel);

    const refused = await socket.ask({ type: "put", id: 1, text: "a", promised: true });

    expect(refused).toMatchObject({ inReplyTo: 1, problem: { kind: "promise-lost", id: 1 } });
    expect((await describeChannel(channel)).nextOffset).toBe(1);
    expect(await socket.ask({ type: "put", id: 1, text: "a" })).toMatchObject({ type: "put-ok", offset: 1 });
  });

  test("[WT4] a put with the id of one that was promised room has to say that it is that", async () => {
    const channel = await createChannel({ maxMessages: 1 });
    const socket = await openSocket(channel);
    expect(await socket.ask({ type: "reserve", id: 1, messages: 1, bytes: 1 })).toMatchObject({ type: "room", id: 1 });

    const refused = await socket.ask({ type: "put", id: 1, text: "a" });

    expect(refused).toMatchObject({ inReplyTo: 1, problem: { kind: "request-in-use" } });
    expect(await socket.ask({ type: "put", id: 1, text: "a", promised: true })).toMatchObject({ type: "put-ok", offset: 1 });
  });

  test("[WT4] a promise that is not used is taken back on time though nobody asks", async () => {
    const timers = holdReservationTimers();
    const { channel, promised: idle, next } = await promiseRoom();

    passTime(LIMITS.reservationMs);
    expect(timers).toHaveLength(1);
    await inObject(channel, () => timers[0]?.());

    expect((await idle.next()).problem).toMatchObject({ kind: "promise-lost" });
    expect(await next.next()).toMatchObject({ type: "room", id: 1 });
    expect(timers).toHaveLength(2);
  });

  test("[WT4] a promise is given back when its socket closes", async () => {
    const { channel, promised: leaving, next } = await promiseRoom();

    leaving.close();

    expect(await next.next()).toMatchObject({ type: "room", id: 1 });
    expect(await next.ask({ type: "put", id: 1, text: "c", promised: true })).toMatchObject({ type: "put-ok", offset: 2 });
    expect((await describeChannel(channel)).waiting).toEqual({ gets: 0, puts: 0 });
  });

  test("[WT4] room may be asked for before there is a body", async () => {
    const channel = await createChannel({ maxMessages: 2 });
    const socket = await openSocket(channel);

    const room = await socket.ask({ type: "reserve", id: 1, messages: 2, bytes: 10 });

    expect(room).toEqual({ type: "room", id: 1, reservedMs: LIMITS.reservationMs });
    expect((await readProblem(call("POST", pathOf(channel, "/messages"), { body: "x" }))).kind).toBe("channel-full");
    const full = await socket.ask({ type: "reserve", id: 2, messages: 1, bytes: 1 });
    expect(full.problem).toMatchObject({ kind: "channel-full" });
    expect(await socket.ask({ type: "reserve", id: 3, messages: 1, bytes: 1, waitMs: LONG_MS })).toMatchObject({ type: "wait" });
    const batch = { type: "put-batch", id: 1, messages: [{ text: "a" }, { text: "b" }], promised: true };
    expect(await socket.ask(batch)).toMatchObject({ type: "put-ok", offset: 1, count: 2 });
    await pull(channel);
    expect(await socket.next()).toMatchObject({ type: "room", id: 3 });
    const never = await socket.ask({ type: "reserve", id: 4, messages: 3, bytes: 1, waitMs: LONG_MS });
    expect(never.problem).toMatchObject({ kind: "batch-too-large", size: 3, limit: 2 });
  });

  test("[WT2] puts of several connections get room in the order of arrival", async () => {
    const channel = await createChannel({ maxMessages: 1 });
    const sockets = await openSockets(channel, 4);
    await put(channel, "first");
    for (const [index, socket] of sockets.entries()) await waitForRoom(socket, 1, [String(index)]);

    for (const [index, socket] of sockets.entries()) {
      await pull(channel);
      expect(await socket.next()).toMatchObject({ type: "room", id: 1 });
      const stored = await socket.ask({ type: "put", id: 1, text: String(index), promised: true });
      expect(stored).toMatchObject({ type: "put-ok", offset: index + 2 });
    }
  });

  test("[WT2] while a put waits, one that tries once is refused although it would fit", async () => {
    const channel = await createChannel({ maxMessages: 3 });
    const [patient, hasty] = [await openSocket(channel), await openSocket(channel)];
    await putBatch(channel, ["a", "b"]);
    await waitForRoom(patient, 1, ["c", "d"]);

    expect((await hasty.ask({ type: "put", id: 1, text: "x" })).problem?.kind).toBe("channel-full");
    expect((await readProblem(call("POST", pathOf(channel, "/messages"), { body: "x" }))).kind).toBe("channel-full");
    await waitForRoom(hasty, 2, ["e"]);
    await pull(channel);

    expect(await patient.next()).toMatchObject({ type: "room" });
    expect(await hasty.settle()).toEqual([]);
    await patient.ask({ type: "put-batch", id: 1, messages: [{ text: "c" }, { text: "d" }], promised: true });
    expect(await pullTexts(channel, { max: 9 })).toEqual(["b", "c", "d"]);
    expect(await hasty.next()).toMatchObject({ type: "room", id: 2 });
  });

  test("[WT3] a put that does not fit blocks smaller ones behind it until it leaves", async () => {
    const channel = await createChannel({ maxMessages: 3 });
    const [large, small] = [await openSocket(channel), await openSocket(channel)];
    await putBatch(channel, ["a", "b"]);
    await waitForRoom(large, 1, ["c", "d", "e"]);
    await waitForRoom(small, 1, ["f"]);
    expect(await small.settle()).toEqual([]);

    large.send({ type: "cancel", id: 1 });

    expect((await large.next()).problem?.kind).toBe("channel-full");
    expect(await small.next()).toMatchObject({ type: "room", id: 1 });
  });

  test("[WT5] puts of a connection do not overtake one that waits, whatever their waits are", async () => {
    const channel = await createChannel({ maxMessages: 2 });
    const socket = await openSocket(channel);
    await putBatch(channel, ["a", "b"]);
    socket.send(
      { type: "put", id: 1, text: "1", waitMs: LONG_MS },
      { type: "put", id: 2, text: "2" },
      { type: "put", id: 3, text: "3", waitMs: LONG_MS },
      { type: "put", id: 4, text: "4", waitMs: 0 },
      { type: "put-batch", id: 5, messages: [{ text: "5a" }, { text: "5b" }], waitMs: LONG_MS },
    );
    const answers = (await socket.take(5)).map((frame) => [frame.id ?? frame.inReplyTo, frame.problem?.kind ?? frame.type]);
    expect(answers).toEqual([
      [1, "wait"],
      [2, "channel-full"],
      [3, "wait"],
      [4, "channel-full"],
      [5, "wait"],
    ]);

    await pull(channel, { max: 2 });
    expect(await socket.take(2)).toMatchObject([
      { type: "room", id: 1 },
      { type: "room", id: 3 },
    ]);
    socket.send({ type: "put", id: 1, text: "1", promised: true }, { type: "put", id: 3, text: "3", promised: true });

    expect(await socket.take(2)).toMatchObject([
      { id: 1, offset: 3 },
      { id: 3, offset: 4 },
    ]);
    expect(await pullTexts(channel, { max: 9 })).toEqual(["1", "3"]);
    expect(await socket.next()).toMatchObject({ type: "room", id: 5 });
  });

  test("[WT5] a put of a connection does not overtake one that holds a promise, that of another may", async () => {
    const channel = await createChannel({ maxMessages: 3 });
    const [own, other] = [await openSocket(channel), await openSocket(channel)];
    await putBatch(channel, ["a", "b", "c"]);
    await waitForRoom(own, 1, ["1"]);
    await pull(channel, { max: 3 });
    expect(await own.next()).toMatchObject({ type: "room", id: 1 });

    expect((await own.ask({ type: "put", id: 2, text: "2" })).problem?.kind).toBe("channel-full");
    expect(await other.ask({ type: "put", id: 1, text: "x" })).toMatchObject({ type: "put-ok", offset: 4 });
    await own.ask({ type: "put", id: 1, text: "1", promised: true });
    expect(await own.ask({ type: "put", id: 2, text: "2" })).toMatchObject({ type: "put-ok" });

    expect(await pullTexts(channel, { max: 9 })).toEqual(["x", "1", "2"]);
  });

  test("[WT6] a cancelled put is refused, once, and its promise goes on to the next", async () => {
    const { promised: socket, next } = await promiseRoom();

    socket.send({ type: "cancel", id: 1 }, { type: "cancel", id: 1 });

    expect((await socket.settle()).map((frame) => frame.problem?.kind)).toEqual(["channel-full"]);
    expect(await next.next()).toMatchObject({ type: "room", id: 1 });
  });

  test("[WT6] a put whose deadline is over gets no room", async () => {
    const channel = await createChannel({ maxMessages: 1 });
    const [late, patient] = [await openSocket(channel), await openSocket(channel)];
    await put(channel, "a");
    expect(await late.ask({ type: "put", id: 1, text: "b", waitMs: 1000 })).toMatchObject({ type: "wait" });
    await waitForRoom(patient, 1, ["c"]);

    passTime(1000);
    await pull(channel);

    expect((await late.next()).problem?.kind).toBe("channel-full");
    expect(await patient.next()).toMatchObject({ type: "room" });
  });

  test("[AD2] a raise serves the puts that wait and fit", async () => {
    const channel = await createChannel({ maxMessages: 1 });
    const [first, second] = [await openSocket(channel), await openSocket(channel)];
    await put(channel, "a");
    await waitForRoom(first, 1, ["b"]);
    await waitForRoom(second, 1, ["d"]);

    await patchChannel(channel, { maxMessages: 2 });
    expect(await first.next()).toMatchObject({ type: "room" });
    expect(await second.settle()).toEqual([]);
    await patchChannel(channel, { maxMessages: 3 });

    expect(await second.next()).toMatchObject({ type: "room" });
  });

  test("[LC4] who waits is told when the new state can not serve it", async () => {
    const channel = await createChannel({ maxMessages: 1 });
    const socket = await openSocket(channel);
    await put(channel, "a");
    await waitForRoom(socket, 1, ["b"]);
    await patchChannel(channel, { state: "draining" });
    expect((await socket.next()).problem?.kind).toBe("channel-draining");

    await patchChannel(channel, { state: "open" });
    await pull(channel);
    await waitForMessages(socket, 2);
    await patchChannel(channel, { state: "closed" });
    expect(await socket.next()).toMatchObject({ inReplyTo: 2, problem: { kind: "channel-closed" } });

    await patchChannel(channel, { state: "open" });
    await waitForMessages(socket, 3);
    await call("DELETE", pathOf(channel));
    expect(await socket.next()).toMatchObject({ inReplyTo: 3, problem: { kind: "channel-deleted" } });
  });
});
