// Connections over time: the order of what they ask, those that do not read, and those that do not ping.
import { runDurableObjectAlarm } from "cloudflare:test";
import { describe, expect, test } from "vitest";
import { CLOSE_CODES } from "../../src/protocol/frames.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import { PING_FRAME } from "../../src/protocol/version.ts";
import { hibernate, inObject, passTime, readAlarm, runAlarm } from "./inside.ts";
import {
  call,
  connect,
  createChannel,
  describeChannel,
  expectServed,
  NO_COUNTS,
  openSocket,
  patchChannel,
  pathOf,
  pullTexts,
  put,
  readProblem,
  stubOf,
  textsOf,
  untilChannel,
} from "./service.ts";

/** The rows of twelve puts of four clients, each of which has one in flight, 5 ms one after the other. */
async function rowsOfTwelvePuts(commitDelayMs: number): Promise<number> {
  const channel = await createChannel({ commitDelayMs });
  const sockets = await Promise.all(Array.from({ length: 4 }, () => openSocket(channel)));
  const before = (await describeChannel(channel)).rows.written;
  for (let id = 0; id < 3; id++) {
    for (const socket of sockets) {
      socket.send({ type: "put", id, text: "a" });
      await scheduler.wait(5);
    }
    for (const socket of sockets) expect(await socket.next()).toMatchObject({ type: "put-ok", id });
  }
  return (await describeChannel(channel)).rows.written - before;
}

describe("src/object/commit-loop: order", () => {
  test("[OR3] puts that one connection pipelines keep their order", async () => {
    const channel = await createChannel();
    const socket = await openSocket(channel);
    const count = 500;
    for (let id = 1; id <= count; id++) socket.send({ type: "put", id, text: String(id) });

    const replies = await socket.take(count);

    expect(replies.map((reply) => [reply.type, reply.id, reply.offset])).toEqual(
      Array.from({ length: count }, (_, index) => ["put-ok", index + 1, index + 1]),
    );
    const texts = await pullTexts(channel, { max: count });
    expect(texts).toEqual(Array.from({ length: count }, (_, index) => String(index + 1)));
  });

  test("[G2] puts of several connections mix, and each connection's keep their order", async () => {
    const channel = await createChannel();
    const sockets = await Promise.all(Array.from({ length: 5 }, () => openSocket(channel)));
    const count = 100;
    for (let id = 0; id < count; id++) {
      for (const [index, socket] of sockets.entries()) socket.send({ type: "put", id, text: `${index}:${id}` });
    }

    const replies = await Promise.all(sockets.map((socket) => socket.take(count)));

    const offsets = replies.flatMap((frames) => frames.map((frame) => frame.offset ?? 0));
    expect(new Set(offsets).size).toBe(sockets.length * count);
    const texts = await pullTexts(channel, { max: sockets.length * count });
    for (const index of sockets.keys()) {
      const own = texts.filter((text) => text.startsWith(`${index}:`));
      expect(own).toEqual(Array.from({ length: count }, (_, id) => `${index}:${id}`));
    }
  });

  test("[OR3] pipelined requests of all kinds are decided and answered in their order", async () => {
    const channel = await createChannel({ maxMessages: 2 });
    const socket = await openSocket(channel);

    socket.send(
      { type: "put", id: 1, text: "a" },
      { type: "get", id: 2 },
      { type: "get", id: 3 },
      { type: "put-batch", id: 4, messages: [{ text: "b" }, { text: "c" }] },
      { type: "put", id: 5, text: "refused" },
      { type: "get", id: 6 },
      { type: "nonsense", id: 7 },
      { type: "put", id: 8, text: "d" },
      { type: "get", id: 9, max: 5 },
      { type: "stats", id: 10 },
    );
    const frames = await socket.take(10);

    const byId = new Map(frames.map((frame) => [frame.id ?? frame.inReplyTo, frame]));
    const got = [2, 3, 6, 9].map((id) => textsOf(byId.get(id)?.messages));
    expect(got).toEqual([["a"], [], ["b"], ["c", "d"]]);
    expect([1, 4, 8].map((id) => byId.get(id)?.offset)).toEqual([1, 2, 4]);
    expect(byId.get(5)?.problem?.kind).toBe("channel-full");
    expect(byId.get(10)?.stats?.counts).toEqual({ ...NO_COUNTS, put: 4, acked: 4 });
    const ids = frames.map((frame) => frame.id ?? frame.inReplyTo).filter((id) => id !== 7);
    expect(ids).toEqual([1, 2, 3, 4, 5, 6, 8, 9, 10]);
  });

  test("[RC4] pipelined puts are committed together", async () => {
    const channel = await createChannel();
    const socket = await openSocket(channel);
    const written = async (): Promise<number> => (await describeChannel(channel)).rows.written;
    const before = await written();

    for (let id = 0; id < 500; id++) socket.send({ type: "put", id, text: "a" });
    await socket.take(500);

    expect((await written()) - before).toBeLessThan(100);
  });

  test("[RC10] with commitDelayMs puts that come one after the other share a row, and without it each has its own", async () => {
    const [shared, own] = [await rowsOfTwelvePuts(LIMITS.commitDelayMsMax), await rowsOfTwelvePuts(0)];

    expect(own).toBeGreaterThanOrEqual(12);
    expect(shared).toBeLessThanOrEqual(6);
  });

  test("[RC10] commitDelayMs is changed in use, and more than 100 is refused", async () => {
    const channel = await createChannel();
    expect((await describeChannel(channel)).settings.commitDelayMs).toBe(0);

    expect((await patchChannel(channel, { commitDelayMs: 7 })).settings.commitDelayMs).toBe(7);

    for (const commitDelayMs of [-1, 1.5, LIMITS.commitDelayMsMax + 1, null, "1"]) {
      const problem = await readProblem(call("PATCH", pathOf(channel), { json: { commitDelayMs } }));
      expect(problem["errors"]).toMatchObject([{ pointer: "/commitDelayMs" }]);
    }
  });

  test("[protocol:closing] a close is answered with a close", async () => {
    const socket = await openSocket(await createChannel());

    socket.close();

    expect(await socket.closed).toMatchObject({ code: 1000 });
  });

  test("[protocol:closing] a connection that closes is forgotten", async () => {
    const channel = await createChannel();
    const [staying, leaving] = [await openSocket(channel), await openSocket(channel)];

    leaving.close();

    const { connections } = await untilChannel(channel, (description) => description.connections < 2);
    expect(connections).toBe(1);
    await expectServed(staying);
  });
});

describe("src/object: connections that do not read", () => {
  test("[CN2] [CN3] one that floods requests is not answered, then closed with 4408, and the channel goes on", async () => {
    const channel = await createChannel();
    await call("PUT", pathOf(channel, "/checkpoints/large"), { body: "x".repeat(LIMITS.checkpointBytesMax) });
    const [deaf, other] = [await openSocket(channel), await openSocket(channel)];
    deaf.sendsEchoes = false;
    const reads = LIMITS.unreadBytesMax / LIMITS.checkpointBytesMax;
    deaf.send(...Array.from({ length: reads }, (_, id) => ({ type: "read-checkpoint", id, name: "large" })));
    const frames = await deaf.take(reads + 1);
    expect(frames.filter(({ type }) => type === "checkpoint")).toHaveLength(reads);

    deaf.send(...Array.from({ length: LIMITS.heldFramesMax }, (_, id) => ({ type: "put", id, text: "x" })));
    expect(await other.ask({ type: "put", id: 1, text: "x" })).toMatchObject({ type: "put-ok", state: { depth: 1 } });
    deaf.send({ type: "put", id: 1, text: "x" });
    expect(await deaf.closed).toMatchObject({ code: CLOSE_CODES.framesUnread });
    await expectServed(other);
    expect(await describeChannel(channel)).toMatchObject({ depth: 1, connections: 1 });
  });

  test("[CN2] [CN4] over hibernation too nothing is done for it, until it sends the number back that it was asked for", async () => {
    const channel = await createChannel();
    await call("PUT", pathOf(channel, "/checkpoints/large"), { body: "x".repeat(LIMITS.checkpointBytesMax) });
    const socket = await openSocket(channel);
    socket.sendsEchoes = false;
    const read = { type: "read-checkpoint", name: "large" };
    for (let id = 1; id <= 8; id++) socket.send({ ...read, id });
    const [, echo] = await socket.take(9);
    for (let id = 9; id <= 16; id++) socket.send({ ...read, id });
    await socket.take(8);
    await hibernate(channel);
    socket.send({ type: "put", id: 17, text: "a" }, { type: "echo", echo: 1 });
    await put(channel, "b");
    expect((await describeChannel(channel)).depth).toBe(1);
    socket.send(echo ?? {});
    expect((await socket.take(2)).map(({ type }) => type)).toEqual(["echo", "put-ok"]);
  });

  test.each([-1, 0.5, 2 ** 53, "5", null])(
    "[SB2] [G11] credit of %j is refused, and the subscription and its channel go on",
    async (messages) => {
      const channel = await createChannel();
      const socket = await openSocket(channel);
      expect((await socket.ask({ type: "subscribe", id: 1, credit: { messages } })).problem?.kind).toBe("invalid-request");
      await socket.ask({ type: "subscribe", id: 1, credit: { messages: 1 } });
      expect((await socket.ask({ type: "credit", id: 1, messages })).problem?.kind).toBe("invalid-request");
      socket.send({ type: "credit", id: 1, messages: Number.MAX_SAFE_INTEGER, bytes: Number.MAX_SAFE_INTEGER });
      await put(channel, "a");
      expect(await socket.next()).toMatchObject({ type: "deliver", messages: [{ text: "a" }] });
    },
  );

  test("[SB1] [SB7] [G11] who subscribes to nothing, or with the token of another channel or an earlier life, is told so", async () => {
    const [log, other] = [await createChannel({ retention: "log" }), await createChannel({ retention: "log" })];
    const credit = { messages: 1 };
    const resumeOf = async (channel: string): Promise<unknown> => {
      const socket = await openSocket(channel);
      const { resume } = await socket.ask({ type: "subscribe", id: 1, credit, from: { at: "first" } });
      return resume;
    };
    const [foreign, earlier] = [await resumeOf(other), await resumeOf(log)];
    await call("DELETE", pathOf(log, "?force=true"));
    await call("PUT", pathOf(log), { json: { retention: "log" } });
    const socket = await openSocket(log);
    const kindOf = async (more: object): Promise<unknown> => {
      const { problem } = await socket.ask({ type: "subscribe", id: 1, credit, ...more });
      return problem?.kind;
    };
    expect(await kindOf({ from: { resume: foreign } })).toBe("resume-lost");
    expect(await kindOf({ from: { resume: earlier } })).toBe("resume-lost");
    expect(await kindOf({ from: { offset: 99 } })).toBe("seek-out-of-range");
    expect(await kindOf({ group: "nobody" })).toBe("unknown-group");
    expect(await kindOf({ tap: true })).toBe("wrong-retention");
    expect(await kindOf({ from: { at: "first" } })).toBeUndefined();
  });

  test("[SB1] [G11] a subscription of a channel that is not there is refused where none is made by first use", async () => {
    const channel = await createChannel();
    const socket = await openSocket(channel);
    await call("DELETE", pathOf(channel, "?force=true"));
    expect((await socket.ask({ type: "subscribe", id: 1, credit: { messages: 1 } })).problem?.kind).toBe("channel-deleted");
    expect((await socket.ask({ type: "watch", id: 1 })).problem?.kind).toBe("channel-deleted");
  });
});

describe("src/object/channel-object: pings", () => {
  test("[CN5] [CN6] the alarm closes who should ping and does not, also after hibernation, and others it does not", async () => {
    const channel = await createChannel();
    const [gone, pinging, quiet] = [await connect(channel), await connect(channel), await openSocket(channel)];
    await gone.ask({ type: "hello", versions: [1], pings: true });
    await pinging.ask({ type: "hello", versions: [1], pings: true });
    await gone.ask({ type: "stats", id: 1 });
    const alarmAtMs = await readAlarm(channel);
    expect(alarmAtMs).toBeLessThanOrEqual(Date.now() + LIMITS.silenceAlarmMs);
    await hibernate(channel);

    passTime(LIMITS.silenceMsMax + LIMITS.silenceMsMax / 5 + 1);
    expect(await pinging.ask({ type: "stats", id: 1 })).toMatchObject({ type: "stats" });
    await runAlarm(channel);

    expect(await gone.closed).toMatchObject({ code: CLOSE_CODES.silent });
    expect(await quiet.ask({ type: "stats", id: 1 })).toMatchObject({ stats: { connections: 2 } });
    expect(await pinging.ask({ type: "stats", id: 2 })).toMatchObject({ type: "stats" });
  });

  test("[CN5] what was heard before the object slept counts after it, and not for ever", async () => {
    const channel = await createChannel();
    const [busy, other] = [await connect(channel), await openSocket(channel)];
    await busy.ask({ type: "hello", versions: [1], pings: true });
    passTime(LIMITS.silenceMsMax - 1);
    await busy.ask({ type: "stats", id: 1 });
    await hibernate(channel);
    passTime(LIMITS.silenceMsMax - 1);
    await runAlarm(channel);
    expect(await busy.ask({ type: "stats", id: 2 })).toMatchObject({ type: "stats" });

    await hibernate(channel);
    passTime(LIMITS.silenceMsMax + LIMITS.silenceMsMax / 5 + 1);
    await runAlarm(channel);
    expect(await busy.closed).toMatchObject({ code: CLOSE_CODES.silent });
    expect(await other.ask({ type: "stats", id: 1 })).toMatchObject({ type: "stats" });
  });

  test("[CN5] a ping is answered by the runtime, which notes the time", async () => {
    const channel = await createChannel();
    const socket = await openSocket(channel);
    socket.send(PING_FRAME);
    expect(await socket.next()).toEqual({ type: "pong" });

    const notedAtMs = await inObject(channel, (_, context) =>
      context.getWebSockets().map((one) => context.getWebSocketAutoResponseTimestamp(one)?.getTime() ?? 0),
    );
    expect(notedAtMs.some((atMs) => Math.abs(atMs - Date.now()) < LIMITS.silenceMsMax)).toBe(true);
  });

  test("[CN6] where nobody pings no alarm is set for silence", async () => {
    const channel = await createChannel();
    // It tells the directory of the channel.
    await runDurableObjectAlarm(stubOf(channel));
    const socket = await openSocket(channel);
    await put(channel, "a");
    await socket.ask({ type: "stats", id: 1 });

    expect(await readAlarm(channel)).toBeNull();
  });
});
