// Gets that wait, through the runtime: their line, and crowds in it. SPEC section WT.
import { describe, expect, test } from "vitest";
import { LIMITS } from "../../src/protocol/limits.ts";
import { hibernate, passTime } from "./inside.ts";
import {
  createChannel,
  describeChannel,
  openSocket,
  pullTexts,
  put,
  putBatch,
  type TestSocket,
  textsOf,
  untilWaiting,
} from "./service.ts";
import { LONG_MS, openSockets, startPull, textsIn, waitForMessages } from "./waiting.ts";

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
    await untilWaiting(channel, 1);
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
      await untilWaiting(channel, 0);
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
