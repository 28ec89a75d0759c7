// Waiting through the runtime: sockets, HTTP long polls, hibernation. SPEC section WT.
import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { afterEach, describe, expect, test, vi } from "vitest";
import { LIMITS } from "../../src/protocol/limits.ts";
import {
  call,
  createChannel,
  describeChannel,
  type Frame,
  openSocket,
  patchChannel,
  pathOf,
  pull,
  type PulledJson,
  pullTexts,
  put,
  putBatch,
  type PutJson,
  read,
  readProblem,
  stubOf,
  type Take,
  type TestSocket,
  textsOf,
  untilChannel,
} from "./service.ts";

const LONG_MS = 60_000;

/** Sends a get that has to wait. */
async function waitForMessages(socket: TestSocket, id: number, take: Take = {}): Promise<void> {
  expect(await socket.ask({ type: "get", id, waitMs: LONG_MS, ...take })).toEqual({ type: "wait", id });
}

/** Sends a put that has to wait. */
async function waitForRoom(socket: TestSocket, id: number, texts: readonly string[]): Promise<void> {
  const messages = texts.map((text) => ({ text }));
  expect(await socket.ask({ type: "put-batch", id, messages, waitMs: LONG_MS })).toEqual({ type: "wait", id });
}

function openSockets(channel: string, count: number): Promise<TestSocket[]> {
  return Promise.all(Array.from({ length: count }, () => openSocket(channel)));
}

function textsIn(frame: Frame): string[] {
  expect(frame.type).toBe("got");
  return textsOf(frame.messages);
}

/** Asks for a long poll and resolves when it waits beside `waiters - 1` others. */
async function startPull(channel: string, waiters: number, take: Take = {}): Promise<{ reply: Promise<PulledJson> }> {
  const reply = pull(channel, { waitMs: LONG_MS, ...take });
  await untilChannel(channel, (description) => description.waiters === waiters);
  return { reply };
}

async function startPut(channel: string, waiters: number, text: string): Promise<{ reply: Promise<PutJson> }> {
  const reply = put(channel, text, `?waitMs=${LONG_MS}`);
  await untilChannel(channel, (description) => description.waiters === waiters);
  return { reply };
}

function pullReply(channel: string, take: Take): Promise<Response> {
  return call("POST", pathOf(channel, "/messages/pull"), { json: { ack: "auto", ...take } });
}

function putReply(channel: string, waitMs: number): Promise<Response> {
  return call("POST", pathOf(channel, `/messages?waitMs=${waitMs}`), { body: "x" });
}

/** Lets `count` gets wait, spread evenly, that of the first socket with id 0 first. */
async function gather(sockets: readonly TestSocket[], count: number): Promise<void> {
  const [first] = sockets;
  if (first !== undefined) await waitForMessages(first, 0);
  for (let index = 1; index < count; index++) {
    const id = Math.floor(index / sockets.length);
    sockets[index % sockets.length]?.send({ type: "get", id, waitMs: LONG_MS });
  }
  const waits = await Promise.all(sockets.map((socket) => socket.settle()));
  expect(waits.flat().filter((frame) => frame.type !== "wait")).toEqual([]);
}

function hibernate(channel: string): Promise<void> {
  return evictDurableObject(stubOf(channel), { webSockets: "hibernate" });
}

/** Sets the clock of the object, too: it runs in the same isolate. Timers and alarms keep real time. */
function passTime(ms: number): void {
  const nowMs = Date.now();
  vi.useFakeTimers({ toFake: ["Date"], now: nowMs + ms });
}

/** Keeps the timers that end promises from running by themselves: eviction would wait for them. Returns their callbacks. */
function holdReservationTimers(): (() => void)[] {
  const held: (() => void)[] = [];
  const { setTimeout: startTimer } = globalThis;
  const hold = (callback: () => void, delayMs = 0): unknown =>
    delayMs > 1000 && delayMs <= LIMITS.reservationMs ? held.push(callback) : startTimer(callback, delayMs);
  vi.spyOn(globalThis, "setTimeout").mockImplementation(hold as typeof setTimeout);
  return held;
}

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

describe("src/channel/traffic: gets that wait", () => {
  test("[WT1] a get without a wait tries once", async () => {
    const socket = await openSocket(await createChannel());

    expect(await socket.ask({ type: "get", id: 1 })).toMatchObject({ type: "got", id: 1, messages: [] });
    expect(await socket.ask({ type: "get", id: 2, waitMs: 0 })).toMatchObject({ type: "got", id: 2, messages: [] });
    expect(await socket.settle()).toEqual([]);
  });

  test("[WT1] a longer wait than 5 minutes ends then", async () => {
    const channel = await createChannel();
    const socket = await openSocket(channel);
    await waitForMessages(socket, 1, { waitMs: Number.MAX_SAFE_INTEGER });

    passTime(LIMITS.waitMsMax - 1000);
    expect((await describeChannel(channel)).waiters).toBe(1);
    passTime(1001);
    await put(channel, "late");

    expect(textsIn(await socket.next())).toEqual([]);
    expect((await describeChannel(channel)).depth).toBe(1);
  });

  test("[WT2] gets of several connections are served in the order of arrival", async () => {
    const channel = await createChannel();
    const sockets = await openSockets(channel, 3);
    for (const [index, socket] of sockets.entries()) await waitForMessages(socket, index);
    for (const [index, socket] of sockets.toReversed().entries()) await waitForMessages(socket, 10 + index);

    await putBatch(channel, ["a", "b", "c", "d", "e", "f"]);

    const served = await Promise.all(sockets.map((socket) => socket.take(2)));
    expect(served.map((frames) => frames.map(textsIn).flat())).toEqual([
      ["a", "f"],
      ["b", "e"],
      ["c", "d"],
    ]);
  });

  test("[WT2] long polls and sockets wait in one line", async () => {
    const channel = await createChannel();
    const [first, third] = await openSockets(channel, 2);
    if (first === undefined || third === undefined) return;
    await waitForMessages(first, 1);
    const second = await startPull(channel, 2);
    await waitForMessages(third, 1);
    const fourth = await startPull(channel, 4);

    for (const text of ["a", "b", "c", "d"]) await put(channel, text);

    expect(textsIn(await first.next())).toEqual(["a"]);
    expect(textsOf((await second.reply).messages)).toEqual(["b"]);
    expect(textsIn(await third.next())).toEqual(["c"]);
    expect(textsOf((await fourth.reply).messages)).toEqual(["d"]);
  });

  test("[WT2] while gets wait, one that tries once finds nothing", async () => {
    const channel = await createChannel();
    const [patient, hasty] = [await openSocket(channel), await openSocket(channel)];
    await waitForMessages(patient, 1, { min: 3 });
    await putBatch(channel, ["a", "b"]);

    expect(textsIn(await hasty.ask({ type: "get", id: 1, max: 5 }))).toEqual([]);
    expect(await pullTexts(channel)).toEqual([]);
    expect(await pullTexts(channel, { min: 0, max: 5 })).toEqual([]);
    await put(channel, "c");

    expect(textsIn(await patient.next())).toEqual(["a", "b", "c"]);
    expect(await hasty.settle()).toEqual([]);
  });

  test("[WT3] the first in line blocks smaller requests behind it until it leaves", async () => {
    const channel = await createChannel();
    const [large, small] = [await openSocket(channel), await openSocket(channel)];
    await waitForMessages(large, 1, { min: 5 });
    await waitForMessages(small, 1);

    await putBatch(channel, ["a", "b"]);
    expect(await small.settle()).toEqual([]);
    large.send({ type: "cancel", id: 1 });

    expect(textsIn(await large.next())).toEqual([]);
    expect(textsIn(await small.next())).toEqual(["a"]);
    expect((await describeChannel(channel)).depth).toBe(1);
  });

  test("[GT1] a waiting get takes up to max of what is there when min is", async () => {
    const channel = await createChannel();
    const socket = await openSocket(channel);
    await waitForMessages(socket, 1, { min: 2, max: 3 });

    await put(channel, "a");
    expect(await socket.settle()).toEqual([]);
    await putBatch(channel, ["b", "c", "d"]);

    expect(textsIn(await socket.next())).toEqual(["a", "b", "c"]);
    expect(await pullTexts(channel)).toEqual(["d"]);
  });

  test("[WT6] a cancelled get is answered with no messages, once", async () => {
    const channel = await createChannel();
    const socket = await openSocket(channel);
    await waitForMessages(socket, 1);
    await waitForMessages(socket, 2);

    socket.send({ type: "cancel", id: 1 }, { type: "cancel", id: 1 });

    expect(await socket.settle()).toMatchObject([{ type: "got", id: 1, messages: [], state: { waiters: 1 } }]);
    await put(channel, "a");
    expect(await socket.next()).toMatchObject({ type: "got", id: 2, messages: [{ text: "a" }] });
  });

  test("[WT6] a cancel that comes too late changes nothing, whichever comes first nothing is lost", async () => {
    const channel = await createChannel();
    const [reader, writer] = [await openSocket(channel), await openSocket(channel)];
    for (let id = 1; id <= 50; id++) {
      await waitForMessages(reader, id);
      writer.send({ type: "put", id, text: String(id) });
      reader.send({ type: "cancel", id });

      expect(await writer.next()).toMatchObject({ type: "put-ok", id });
      const got = textsIn(await reader.next());
      const rest = await pullTexts(channel, { max: 5 });
      expect([...got, ...rest]).toEqual([String(id)]);
    }
    expect(await reader.settle()).toEqual([]);
  });

  test("[WT6] a get whose deadline is over takes nothing, the next in line is served", async () => {
    const channel = await createChannel();
    const [late, patient] = [await openSocket(channel), await openSocket(channel)];
    await waitForMessages(late, 1, { waitMs: 1000 });
    await waitForMessages(patient, 1);

    passTime(1000);
    await put(channel, "a");

    expect(textsIn(await late.next())).toEqual([]);
    expect(textsIn(await patient.next())).toEqual(["a"]);
  });

  test("[WT6] a reader that left takes nothing", async () => {
    const channel = await createChannel();
    const [gone, staying] = [await openSocket(channel), await openSocket(channel)];
    await waitForMessages(gone, 1);
    await waitForMessages(gone, 2, { min: 2 });
    await waitForMessages(staying, 1);

    gone.close();
    await untilChannel(channel, ({ waiters }) => waiters === 1);
    await put(channel, "a");

    expect(textsIn(await staying.next())).toEqual(["a"]);
    expect(await describeChannel(channel)).toMatchObject({ depth: 0, waiters: 0, connections: 1 });
  });

  test("[WT6] what is put while its reader leaves stays in the channel", async () => {
    const channel = await createChannel();
    for (let round = 1; round <= 10; round++) {
      const socket = await openSocket(channel);
      await waitForMessages(socket, 1);

      socket.close();
      await untilChannel(channel, ({ waiters }) => waiters === 0);
      await put(channel, String(round));

      expect(await pullTexts(channel, { max: 5 })).toEqual([String(round)]);
    }
  });

  test("[WT7] 64 requests wait on a connection, one more is refused until one is answered", async () => {
    const channel = await createChannel();
    const socket = await openSocket(channel);
    for (let id = 1; id <= LIMITS.waitersPerSocketMax; id++) await waitForMessages(socket, id);

    const refused = await socket.ask({ type: "get", id: 100, waitMs: LONG_MS });

    expect(refused).toMatchObject({ inReplyTo: 100, problem: { kind: "too-many-waiters", limit: 64, status: 429 } });
    expect(await socket.ask({ type: "get", id: 101 })).toMatchObject({ type: "got", messages: [] });
    socket.send({ type: "cancel", id: 1 });
    expect(await socket.next()).toMatchObject({ type: "got", id: 1 });
    await waitForMessages(socket, 102);
    await waitForMessages(await openSocket(channel), 1);
    expect((await describeChannel(channel)).waiting).toEqual({ gets: 65, puts: 0 });
  });

  test("[G11] an id that waits can not be used again until it is answered", async () => {
    const channel = await createChannel({ maxMessages: 1 });
    const socket = await openSocket(channel);
    await waitForMessages(socket, 7);
    const kindOf = async (frame: object): Promise<unknown> => {
      const reply = await socket.ask({ id: 7, ...frame });
      expect(reply.inReplyTo).toBe(7);
      return reply.problem?.kind;
    };

    expect(await kindOf({ type: "get", waitMs: 5 })).toBe("request-in-use");
    expect(await kindOf({ type: "get" })).toBe("request-in-use");
    expect(await kindOf({ type: "put", text: "a" })).toBe("request-in-use");
    expect(await kindOf({ type: "reserve", messages: 1, bytes: 1 })).toBe("request-in-use");
    await put(channel, "a");
    expect(await socket.next()).toMatchObject({ type: "got", id: 7 });
  });
});

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
    const channel = await createChannel({ maxMessages: 1 });
    const [idle, next] = [await openSocket(channel), await openSocket(channel)];
    await put(channel, "a");
    await waitForRoom(idle, 1, ["b"]);
    await waitForRoom(next, 1, ["c"]);
    await pull(channel);
    expect(await idle.next()).toMatchObject({ type: "room" });
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
    const channel = await createChannel({ maxMessages: 1 });
    const [idle, next] = [await openSocket(channel), await openSocket(channel)];
    await put(channel, "a");
    await waitForRoom(idle, 1, ["b"]);
    await waitForRoom(next, 1, ["c"]);
    await pull(channel);
    expect(await idle.next()).toMatchObject({ type: "room" });

    passTime(LIMITS.reservationMs);
    expect(timers).toHaveLength(1);
    await runInDurableObject(stubOf(channel), () => timers[0]?.());

    expect((await idle.next()).problem).toMatchObject({ kind: "promise-lost" });
    expect(await next.next()).toMatchObject({ type: "room", id: 1 });
    expect(timers).toHaveLength(2);
  });

  test("[WT4] a promise is given back when its socket closes", async () => {
    const channel = await createChannel({ maxMessages: 1 });
    const [leaving, next] = [await openSocket(channel), await openSocket(channel)];
    await put(channel, "a");
    await waitForRoom(leaving, 1, ["b"]);
    await waitForRoom(next, 1, ["c"]);
    await pull(channel);
    expect(await leaving.next()).toMatchObject({ type: "room" });

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
    const channel = await createChannel({ maxMessages: 1 });
    const [socket, next] = [await openSocket(channel), await openSocket(channel)];
    await put(channel, "a");
    await waitForRoom(socket, 1, ["b"]);
    await waitForRoom(next, 1, ["c"]);
    await pull(channel);
    expect(await socket.next()).toMatchObject({ type: "room" });

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

describe("src/object/connections: waiting through hibernation", () => {
  test("[WT8] gets are found again in the order of arrival", async () => {
    const channel = await createChannel();
    const sockets = await openSockets(channel, 3);
    for (const [index, socket] of sockets.entries()) await waitForMessages(socket, index);
    for (const [index, socket] of sockets.toReversed().entries()) await waitForMessages(socket, 10 + index);

    await hibernate(channel);
    await putBatch(channel, ["a", "b", "c"]);
    await hibernate(channel);
    await putBatch(channel, ["d", "e", "f"]);

    const served = await Promise.all(sockets.map((socket) => socket.take(2)));
    expect(served.map((frames) => frames.map(textsIn).flat())).toEqual([
      ["a", "f"],
      ["b", "e"],
      ["c", "d"],
    ]);
  });

  test("[WT8] puts are found again in the order of arrival, and with them what was promised", async () => {
    holdReservationTimers();
    const channel = await createChannel({ maxMessages: 2 });
    const [first, second, other] = await openSockets(channel, 3);
    if (first === undefined || second === undefined || other === undefined) return;
    await putBatch(channel, ["a", "b"]);
    await waitForRoom(first, 1, ["c"]);
    await waitForRoom(second, 1, ["d"]);

    await hibernate(channel);
    await pull(channel);
    expect(await first.next()).toMatchObject({ type: "room", id: 1 });
    await hibernate(channel);
    expect((await other.ask({ type: "put", id: 1, text: "x" })).problem?.kind).toBe("channel-full");
    expect(await second.settle()).toEqual([]);

    expect(await first.ask({ type: "put", id: 1, text: "c", promised: true })).toMatchObject({ type: "put-ok", offset: 3 });
    await pull(channel);
    expect(await second.next()).toMatchObject({ type: "room", id: 1 });
  });

  test("[WT8] who comes after hibernation is served after those from before", async () => {
    const channel = await createChannel();
    const [early, late] = [await openSocket(channel), await openSocket(channel)];
    await waitForMessages(early, 1);

    await hibernate(channel);
    await waitForMessages(late, 1);
    await hibernate(channel);
    await waitForMessages(early, 2);
    await putBatch(channel, ["a", "b", "c"]);

    expect((await early.take(2)).map(textsIn)).toEqual([["a"], ["c"]]);
    expect(textsIn(await late.next())).toEqual(["b"]);
  });

  test("[WT8] a request that waits through hibernation can be cancelled and its id is in use", async () => {
    const channel = await createChannel();
    const socket = await openSocket(channel);
    await waitForMessages(socket, 1);
    await hibernate(channel);

    expect((await socket.ask({ type: "get", id: 1 })).problem?.kind).toBe("request-in-use");
    socket.send({ type: "cancel", id: 1 });

    expect(await socket.next()).toMatchObject({ type: "got", id: 1, messages: [] });
    expect((await describeChannel(channel)).waiters).toBe(0);
  });

  test("[WT8] a deadline that passes during hibernation holds", async () => {
    const channel = await createChannel();
    const socket = await openSocket(channel);
    await waitForMessages(socket, 1, { waitMs: 1000 });
    await hibernate(channel);

    passTime(1000);
    await put(channel, "a");

    expect(textsIn(await socket.next())).toEqual([]);
    expect((await describeChannel(channel)).depth).toBe(1);
  });

  test("[WT8] a connection that closed before hibernation does not come back", async () => {
    const channel = await createChannel();
    const [gone, staying] = [await openSocket(channel), await openSocket(channel)];
    await waitForMessages(gone, 1);
    await waitForMessages(staying, 1);
    gone.close();
    await untilChannel(channel, ({ waiters }) => waiters === 1);

    await hibernate(channel);

    expect(await describeChannel(channel)).toMatchObject({ waiters: 1, connections: 1 });
    await put(channel, "a");
    expect(textsIn(await staying.next())).toEqual(["a"]);
  });

  test("[WT6] a connection that closes during hibernation takes nothing", async () => {
    const channel = await createChannel();
    const [gone, staying] = [await openSocket(channel), await openSocket(channel)];
    await waitForMessages(gone, 1);
    await waitForMessages(staying, 1);
    await hibernate(channel);

    gone.close();
    await untilChannel(channel, ({ waiters }) => waiters === 1);
    await put(channel, "a");

    expect(textsIn(await staying.next())).toEqual(["a"]);
    expect((await describeChannel(channel)).depth).toBe(0);
  });

  test("[WT8] a long poll waits through hibernation", async () => {
    const channel = await createChannel({ maxMessages: 1 });
    const { reply: pulled } = await startPull(channel, 1);
    await hibernate(channel);
    await put(channel, "a");
    expect(textsOf((await pulled).messages)).toEqual(["a"]);

    await put(channel, "b");
    const { reply: stored } = await startPut(channel, 1, "c");
    await hibernate(channel);
    await pull(channel);

    expect(await stored).toMatchObject({ offset: 3 });
    expect(await pullTexts(channel)).toEqual(["c"]);
  });

  test("[WT8] sockets that are closed take their waiting requests with them", async () => {
    const channel = await createChannel();
    const socket = await openSocket(channel);
    await waitForMessages(socket, 1);

    await evictDurableObject(stubOf(channel), { webSockets: "close" });
    await socket.closed;

    expect(await describeChannel(channel)).toMatchObject({ waiters: 0, connections: 0 });
  });
});

describe("src/worker/wait-bridge", () => {
  test("[WT1] a pull waits its time and then answers an empty list", async () => {
    const channel = await createChannel();
    const startMs = Date.now();

    const reply = await pullReply(channel, { waitMs: 30 });

    expect(Date.now() - startMs).toBeGreaterThanOrEqual(30);
    expect(await read<PulledJson>(reply)).toEqual({ messages: [], state: { depth: 0, bytes: 0, utilization: 0, waiters: 0 } });
    await untilChannel(channel, ({ connections }) => connections === 0);
  });

  test("[WT1] a put waits its time for room and is then refused", async () => {
    const channel = await createChannel({ maxMessages: 1 });
    await put(channel, "a");
    const startMs = Date.now();

    const reply = await putReply(channel, 30);

    expect(Date.now() - startMs).toBeGreaterThanOrEqual(30);
    expect(reply.headers.get("Retry-After")).toMatch(/^[1-9]/);
    expect(await readProblem(reply)).toMatchObject({ kind: "channel-full", depth: 1 });
    await untilChannel(channel, ({ connections }) => connections === 0);
  });

  test("[WT1] a wait of 0 does not wait, and one that is served at once does not either", async () => {
    const channel = await createChannel({ maxMessages: 1 });

    expect(await pull(channel, { waitMs: 0 })).toMatchObject({ messages: [] });
    expect(await pull(channel, { waitMs: LONG_MS, min: 0 })).toMatchObject({ messages: [] });
    expect(await pull(channel, { waitMs: LONG_MS, max: 0 })).toMatchObject({ messages: [] });
    expect(await put(channel, "a", `?waitMs=${LONG_MS}`)).toMatchObject({ offset: 1 });
    expect((await readProblem(putReply(channel, 0))).kind).toBe("channel-full");
    expect(await pullTexts(channel, { waitMs: LONG_MS })).toEqual(["a"]);
  });

  test("[WT2] a waiting pull is answered when enough is there, with the state in headers and body", async () => {
    const channel = await createChannel({ maxMessages: 4 });
    const reply = pullReply(channel, { min: 2, max: 3, waitMs: LONG_MS });
    await untilChannel(channel, ({ waiters }) => waiters === 1);

    await put(channel, "a");
    await putBatch(channel, ["b", "c", "d"]);

    const { headers } = await reply;
    const { messages, state } = await read<PulledJson>(reply);
    expect(textsOf(messages)).toEqual(["a", "b", "c"]);
    expect(state).toEqual({ depth: 1, bytes: 1, utilization: 0.25, waiters: 0 });
    expect([headers.get("Channel-Depth"), headers.get("Channel-Utilization")]).toEqual(["1", "0.25"]);
  });

  test("[WT4] waiting puts are stored in the order of arrival, with their bodies as they came", async () => {
    const channel = await createChannel({ maxMessages: 1 });
    await put(channel, "first");
    const bytes = new Uint8Array([0, 255, 34, 10]);
    const first = call("POST", pathOf(channel, `/messages?waitMs=${LONG_MS}`), { body: bytes, headers: { "Channel-Key": "k" } });
    await untilChannel(channel, ({ waiters }) => waiters === 1);
    const { reply: second } = await startPut(channel, 2, "third");

    expect(await pullTexts(channel)).toEqual(["first"]);
    expect(await read<PutJson>(first, 201)).toMatchObject({ offset: 2, count: 1, state: { depth: 1, waiters: 1 } });
    expect((await pull(channel)).messages).toMatchObject([{ offset: 2, key: "k", base64: "AP8iCg==" }]);
    expect(await second).toMatchObject({ offset: 3 });
    expect(await pullTexts(channel)).toEqual(["third"]);
  });

  test("[G8] a waiting batch is stored whole", async () => {
    const channel = await createChannel({ maxMessages: 3 });
    await putBatch(channel, ["a", "b"]);
    const batch = putBatch(channel, ["c", "d", "e"], `?waitMs=${LONG_MS}`);
    await untilChannel(channel, ({ waiters }) => waiters === 1);

    await pull(channel);
    expect((await describeChannel(channel)).waiters).toBe(1);
    await pull(channel);

    expect(await batch).toMatchObject({ offset: 3, count: 3 });
    expect(await pullTexts(channel, { max: 3 })).toEqual(["c", "d", "e"]);
  });

  test("[PT5] what can never fit is refused at once, whatever its wait", async () => {
    const channel = await createChannel({ maxMessages: 2, maxMessageBytes: 5 });
    const messages = ["a", "b", "c"].map((text) => ({ text }));

    const batch = call("POST", pathOf(channel, `/messages/batch?waitMs=${LONG_MS}`), { json: { messages } });
    const message = call("POST", pathOf(channel, `/messages?waitMs=${LONG_MS}`), { body: "too large" });

    expect((await readProblem(batch)).kind).toBe("batch-too-large");
    expect((await readProblem(message)).kind).toBe("message-too-large");
    expect((await readProblem(pullReply(channel, { min: 3, waitMs: LONG_MS }))).kind).toBe("batch-too-large");
  });

  test("[G11] a long poll that loses the channel is told whether anything can have happened", async () => {
    const channel = await createChannel({ maxMessages: 1 });
    const lostPull = pullReply(channel, { waitMs: LONG_MS });
    await untilChannel(channel, ({ waiters }) => waiters === 1);
    await evictDurableObject(stubOf(channel), { webSockets: "close" });
    await lostPull;
    await put(channel, "a");
    const lostPut = putReply(channel, LONG_MS);
    await untilChannel(channel, ({ waiters }) => waiters === 1);
    await evictDurableObject(stubOf(channel), { webSockets: "close" });

    const unavailable = { kind: "unavailable", status: 503, retry: "after" };
    expect(await readProblem(lostPull)).toMatchObject({ ...unavailable, outcome: "unknown" });
    // Its body never left the worker.
    expect(await readProblem(lostPut)).toMatchObject({ ...unavailable, outcome: "not-applied" });
    expect((await describeChannel(channel)).counts).toEqual({
      put: 1,
      acked: 0,
      removed: 0,
      deadLettered: 0,
      dropped: 0,
      expired: 0,
    });
  });

  test("[LC4] long polls are told when the new state can not serve them", async () => {
    const channel = await createChannel({ maxMessages: 1 });
    await put(channel, "a");
    const stored = putReply(channel, LONG_MS);
    await untilChannel(channel, ({ waiters }) => waiters === 1);
    await patchChannel(channel, { state: "draining" });
    expect(await readProblem(stored)).toMatchObject({ kind: "channel-draining", status: 410 });

    await patchChannel(channel, { state: "open" });
    await pull(channel);
    for (const [end, kind] of [
      [() => patchChannel(channel, { state: "closed" }), "channel-closed"],
      [() => call("DELETE", pathOf(channel)), "channel-deleted"],
    ] as const) {
      if (kind === "channel-deleted") await patchChannel(channel, { state: "open" });
      const pulled = pullReply(channel, { waitMs: LONG_MS });
      await untilChannel(channel, ({ waiters }) => waiters === 1);
      await end();
      expect(await readProblem(pulled)).toMatchObject({ kind, status: 410 });
    }
  });

  test("[WT6] a long poll whose client goes away takes nothing", async () => {
    const channel = await createChannel();
    const controller = new AbortController();
    const gone = pull(channel, { waitMs: LONG_MS }, { signal: controller.signal }).catch((error: unknown) => error);
    await untilChannel(channel, ({ waiters }) => waiters === 1);
    const { reply } = await startPull(channel, 2);

    controller.abort();
    expect(await gone).toBeInstanceOf(Error);
    await untilChannel(channel, ({ waiters }) => waiters === 1);
    await put(channel, "a");

    expect(textsOf((await reply).messages)).toEqual(["a"]);
    expect(await describeChannel(channel)).toMatchObject({ depth: 0, waiters: 0 });
  });

  test("[WT6] long polls whose clients go away at any moment leave everything in the channel", async () => {
    const channel = await createChannel();
    const polls = Array.from({ length: 20 }, async (_, moment) => {
      const controller = new AbortController();
      const poll = pull(channel, { waitMs: LONG_MS }, { signal: controller.signal }).catch((error: unknown) => error);
      for (let turn = 0; turn < moment; turn++) await call("GET", "/healthz");
      controller.abort();
      await poll;
    });
    await Promise.all(polls);
    await untilChannel(channel, ({ connections }) => connections === 0);

    await putBatch(channel, ["a", "b", "c"]);

    expect(await pullTexts(channel, { max: 9 })).toEqual(["a", "b", "c"]);
  });

  test("[WT6] a waiting put whose client goes away stores nothing and holds up nobody", async () => {
    const channel = await createChannel({ maxMessages: 1 });
    await put(channel, "a");
    const controller = new AbortController();
    const options = { body: "gone", signal: controller.signal };
    const gone = call("POST", pathOf(channel, `/messages?waitMs=${LONG_MS}`), options).catch((error: unknown) => error);
    await untilChannel(channel, ({ waiters }) => waiters === 1);
    const { reply } = await startPut(channel, 2, "b");

    controller.abort();
    await gone;
    await untilChannel(channel, ({ waiters }) => waiters === 1);
    expect(await pullTexts(channel)).toEqual(["a"]);

    expect(await reply).toMatchObject({ offset: 2 });
    expect(await pullTexts(channel, { max: 9 })).toEqual(["b"]);
  });
});

describe("src/channel/wait-line: crowds", () => {
  test("[WT9] with 10,000 gets waiting on 160 sockets a put and stats are answered at once, and all are served in order", async () => {
    const channel = await createChannel();
    const sockets = await openSockets(channel, 160);
    const [first] = sockets;
    const other = await openSocket(channel);
    await gather(sockets, 10_000);
    expect((await other.ask({ type: "stats", id: 1 })).stats?.waiting).toEqual({ gets: 10_000, puts: 0 });

    const startMs = performance.now();
    expect(await other.ask({ type: "put", id: 2, text: "first" })).toMatchObject({ offset: 1, state: { waiters: 9999 } });
    expect((await other.ask({ type: "stats", id: 3 })).stats?.waiters).toBe(9999);
    expect((await other.ask({ type: "get", id: 4 })).messages).toEqual([]);
    expect(performance.now() - startMs).toBeLessThan(500);
    expect(first && (await first.next())).toMatchObject({ type: "got", id: 0, messages: [{ text: "first" }] });

    await putBatch(
      channel,
      Array.from({ length: 9999 }, () => "more"),
    );
    const served = await Promise.all(sockets.map((socket) => socket.settle()));
    expect(served.flat()).toHaveLength(9999);
    for (const frames of served) {
      const ids = frames.map((frame) => frame.id ?? -1);
      const offsets = frames.map((frame) => frame.messages?.[0]?.offset ?? -1);
      expect(ids).toEqual(ids.toSorted((a, b) => a - b));
      expect(offsets).toEqual(offsets.toSorted((a, b) => a - b));
    }
    expect(await describeChannel(channel)).toMatchObject({ depth: 0, waiters: 0 });
  }, 20_000);

  test("[WT8] a crowd is found again after hibernation", async () => {
    const channel = await createChannel();
    const sockets = await openSockets(channel, 16);
    await gather(sockets, 1001);
    await hibernate(channel);

    expect(await put(channel, "first")).toMatchObject({ state: { depth: 0, waiters: 1000 } });

    const [first] = sockets;
    expect(first && (await first.next())).toMatchObject({ type: "got", id: 0, messages: [{ text: "first" }] });
  });
});
