// The frames of channel.v1.json through real sockets. What waits is in waiting-*.test.ts.
import { runDurableObjectAlarm } from "cloudflare:test";
import { describe, expect, test } from "vitest";
import { CLIENT_FRAME_SCHEMAS, CLOSE_CODES } from "../../src/protocol/frames.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import { PING_FRAME } from "../../src/protocol/version.ts";
import { hibernate, inObject, passTime, readAlarm, runAlarm } from "./inside.ts";
import {
  call,
  connect,
  createChannel,
  describeChannel,
  type Frame,
  freshChannel,
  openSocket,
  patchChannel,
  pathOf,
  pull,
  pullTexts,
  put,
  readProblem,
  stubOf,
  type TestSocket,
  textsOf,
  untilChannel,
  upgrade,
} from "./service.ts";

function pointersOf(frame: Frame): string[] {
  expect(frame.problem?.kind).toBe("invalid-request");
  const errors = frame.problem?.["errors"] as { pointer: string }[] | undefined;
  return (errors ?? []).map((fault) => fault.pointer);
}

/** Shows that the socket is served as if nothing had happened. */
async function expectServed(socket: TestSocket): Promise<void> {
  expect(await socket.ask({ type: "get", id: 99, max: 0 })).toMatchObject({ type: "got", id: 99, messages: [] });
}

describe("src/object/socket-frames: greeting", () => {
  test("[protocol:websocket] hello is answered with the version, the channel and the number of the connection", async () => {
    const channel = await createChannel();
    const [first, second] = [await connect(channel), await connect(channel)];

    const welcome = await first.ask({ type: "hello", versions: [1] });
    const other = await second.ask({ type: "hello", versions: [7, 1, 2] });

    expect(welcome).toEqual({ type: "welcome", version: 1, versions: [1], channel, connection: 1 });
    expect(other).toMatchObject({ version: 1, connection: 2 });
    expect((await describeChannel(channel)).connections).toBe(2);
  });

  test("[protocol:websocket] who asks for it is sent the frames of a commit in one, in their order, also after hibernation", async () => {
    const channel = await createChannel({ maxMessages: 2, commitDelayMs: 50 });
    const [joining, other] = [await connect(channel), await openSocket(channel)];
    await joining.ask({ type: "hello", versions: [1], joined: true });
    const wait = { type: "put", id: 3, text: "a", waitMs: 60_000 };

    joining.send({ type: "put", id: 1, text: "a" }, { type: "put", id: 2, text: "a" }, wait);
    const joined = await joining.next();
    await hibernate(channel);
    other.send({ type: "get", id: 1 }, { type: "get", id: 2 });
    joining.send({ type: "cancel", id: 3 }, { type: "stats", id: 4 });
    const afterwards = await joining.next();

    expect([joined, afterwards].map(({ type, frames }) => [type, frames?.map((frame) => frame.type)])).toEqual([
      ["joined", ["put-ok", "put-ok", "wait"]],
      ["joined", ["room", "problem", "stats"]],
    ]);
    expect((await other.take(2)).map(({ type, id }) => [type, id])).toEqual([
      ["got", 1],
      ["got", 2],
    ]);
  });

  test("[protocol:websocket] what is alone in its commit comes by itself", async () => {
    const channel = await createChannel();
    const socket = await connect(channel);
    await socket.ask({ type: "hello", versions: [1], joined: true });

    expect(await socket.ask({ type: "put", id: 1, text: "a" })).toMatchObject({ type: "put-ok", id: 1 });
  });

  test("[protocol:websocket] without a common version comes a problem, then close 4400", async () => {
    const channel = await createChannel();
    const socket = await connect(channel);

    const frame = await socket.ask({ type: "hello", versions: [2, 3] });

    expect(frame.problem).toMatchObject({ kind: "unsupported-version", status: 400, supported: [1] });
    expect(await socket.closed).toMatchObject({ code: CLOSE_CODES.unsupportedVersion });
    await untilChannel(channel, ({ connections }) => connections === 0);
  });

  test("[protocol:websocket] a hello that is not valid is refused and may be repeated", async () => {
    const socket = await connect(await createChannel());
    const cases: [object, string][] = [
      [{ versions: [] }, "/versions"],
      [{}, "/versions"],
      [{ versions: ["1"] }, "/versions/0"],
      [{ versions: [0] }, "/versions/0"],
      [{ versions: [1], id: 1 }, "/id"],
      [{ versions: Array.from({ length: 17 }, () => 1) }, "/versions"],
    ];
    for (const [members, pointer] of cases) {
      expect([JSON.stringify(members), pointersOf(await socket.ask({ type: "hello", ...members }))]).toEqual([
        JSON.stringify(members),
        [pointer],
      ]);
    }

    expect(await socket.ask({ type: "hello", versions: [1] })).toMatchObject({ type: "welcome" });
    await expectServed(socket);
  });

  test("[protocol:websocket] requests before hello are refused and not carried out", async () => {
    const channel = await createChannel();
    const socket = await connect(channel);
    await put(channel, "a");

    socket.send({ type: "put", id: 1, text: "b" }, { type: "get", id: 2 }, { type: "stats", id: 3 });
    const frames = await socket.take(3);

    expect(frames.map((frame) => [frame.type, frame.inReplyTo])).toEqual([
      ["problem", 1],
      ["problem", 2],
      ["problem", 3],
    ]);
    expect(frames[0]?.problem?.detail).toContain("hello");
    expect((await describeChannel(channel)).counts).toMatchObject({ put: 1, acked: 0 });
    expect(await socket.ask({ type: "hello", versions: [1] })).toMatchObject({ type: "welcome" });
  });

  test("[WT8] who greeted need not greet again after hibernation, who did not still has to", async () => {
    const channel = await createChannel();
    const [greeted, silent] = [await openSocket(channel), await connect(channel)];
    await hibernate(channel);

    expect(await greeted.ask({ type: "put", id: 1, text: "a" })).toMatchObject({ type: "put-ok", offset: 1 });
    expect(await silent.ask({ type: "put", id: 1, text: "a" })).toMatchObject({ type: "problem", inReplyTo: 1 });
  });

  test("[protocol:websocket] a client that offers no subprotocol speaks JSON", async () => {
    const reply = await upgrade(await createChannel());
    reply.webSocket?.accept();
    reply.webSocket?.close();

    expect(reply.status).toBe(101);
    expect(reply.headers.get("Sec-WebSocket-Protocol")).toBeNull();
  });
});

describe("src/object/socket-frames: frames at fault", () => {
  test("[G11] an unknown frame type is refused with those that are known, and the socket stays open", async () => {
    const socket = await openSocket(await createChannel());
    for (const type of ["ack", "", "Put", "welcome", "__proto__", "constructor", "toString"]) {
      const frame = await socket.ask({ type, id: 5 });

      expect([type, frame]).toMatchObject([
        type,
        { type: "problem", inReplyTo: 5, problem: { kind: "unknown-frame", frameType: type } },
      ]);
      expect(frame.problem?.["frameTypes"]).toEqual(Object.keys(CLIENT_FRAME_SCHEMAS));
    }
    const long = await socket.ask({ type: "x".repeat(1000), id: 5 });
    expect(long.problem?.["frameType"]).toBe("x".repeat(64));
    await expectServed(socket);
  });

  test("[G11] a frame that is no JSON object with a type is refused, and the socket stays open", async () => {
    const socket = await openSocket(await createChannel());
    const cases: [string, string][] = [
      ["", ""],
      ["{", ""],
      ['{"type":"get","id":1}{}', ""],
      ["null", ""],
      ["7", ""],
      ['"get"', ""],
      ['[{"type":"get","id":1}]', ""],
      ["{}", "/type"],
      ['{"type":1}', "/type"],
    ];
    for (const [text, pointer] of cases) {
      socket.send(text);
      const frame = await socket.next();

      expect([text, pointersOf(frame)]).toEqual([text, [pointer]]);
      expect(frame).not.toHaveProperty("inReplyTo");
    }
    await expectServed(socket);
  });

  test("[G11] a request without a usable id is refused without inReplyTo", async () => {
    const socket = await openSocket(await createChannel());
    for (const id of [undefined, null, -1, 1.5, "1", 2 ** 53]) {
      const frame = await socket.ask({ type: "get", id });

      expect([String(id), pointersOf(frame)]).toEqual([String(id), ["/id"]]);
      expect(frame).not.toHaveProperty("inReplyTo");
    }
    expect(await socket.ask({ type: "get", id: 0 })).toMatchObject({ type: "got", id: 0 });
    expect(await socket.ask({ type: "get", id: Number.MAX_SAFE_INTEGER })).toMatchObject({ id: Number.MAX_SAFE_INTEGER });
  });

  test("[G11] a request with a wrong member is refused with a pointer to it", async () => {
    const channel = await createChannel();
    const socket = await openSocket(channel);
    const cases: [object, string][] = [
      [{ type: "put" }, ""],
      [{ type: "put", text: "a", json: 1 }, ""],
      [{ type: "put", text: 1 }, "/text"],
      [{ type: "put", base64: "A" }, "/base64"],
      [{ type: "put", text: "a", waitms: 5 }, "/waitms"],
      [{ type: "put", text: "a", waitMs: -1 }, "/waitMs"],
      [{ type: "put", text: "a", key: "k".repeat(LIMITS.keyBytesMax + 1) }, "/key"],
      [{ type: "put-batch" }, "/messages"],
      [{ type: "put-batch", messages: [{ text: "a" }, {}] }, "/messages/1"],
      [{ type: "put-batch", messages: [{ text: "a", headers: { A: "" } }] }, "/messages/0/headers/A"],
      [{ type: "reserve", messages: 0, bytes: 1 }, "/messages"],
      [{ type: "reserve", messages: 1 }, "/bytes"],
      [{ type: "get", max: LIMITS.batchMessagesMax + 1 }, "/max"],
      [{ type: "get", min: 2, max: 1 }, "/min"],
      [{ type: "get", ack: "auto" }, "/ack"],
      [{ type: "stats", full: true }, "/full"],
    ];
    for (const [frame, pointer] of cases) {
      const reply = await socket.ask({ id: 3, ...frame });

      expect([JSON.stringify(frame), pointersOf(reply)]).toEqual([JSON.stringify(frame), [pointer]]);
      expect(reply.inReplyTo).toBe(3);
    }
    expect((await describeChannel(channel)).nextOffset).toBe(1);
  });

  test("[G11] a binary frame is refused, and the socket stays open", async () => {
    const socket = await openSocket(await createChannel());

    socket.send(new TextEncoder().encode('{"type":"get","id":1}').buffer);

    expect(pointersOf(await socket.next())).toEqual([""]);
    await expectServed(socket);
  });

  test("[G6] a frame of 24 MiB is served", async () => {
    const socket = await openSocket(await createChannel());

    socket.send('{"type":"get","id":7}'.padEnd(LIMITS.frameBytesMax));

    expect(await socket.next()).toMatchObject({ type: "got", id: 7 });
  });

  test("[G6] the limit of a frame is in bytes of UTF-8, not in characters", async () => {
    const socket = await openSocket(await createChannel());

    socket.send(`{"type":"put","id":7,"text":"${"é".repeat(LIMITS.frameBytesMax / 2)}"}`);

    expect((await socket.next()).problem).toMatchObject({ kind: "request-too-large", limit: LIMITS.frameBytesMax });
    expect(await socket.closed).toMatchObject({ code: CLOSE_CODES.frameTooLarge });
  });

  test("[G6] a frame above 24 MiB is told so and closes the socket with 1009", async () => {
    const channel = await createChannel();
    const socket = await openSocket(channel);

    socket.send('{"type":"get","id":7}'.padEnd(LIMITS.frameBytesMax + 1));

    expect((await socket.next()).problem).toMatchObject({ kind: "request-too-large", limit: LIMITS.frameBytesMax });
    expect(await socket.closed).toMatchObject({ code: CLOSE_CODES.frameTooLarge });
    await untilChannel(channel, ({ connections }) => connections === 0);
  });
});

describe("src/object/channel-object: requests", () => {
  test("[PT7] a put is answered with its offset and the state at its commit", async () => {
    const channel = await createChannel({ maxMessages: 4 });
    const socket = await openSocket(channel);
    const message = { json: { a: [1] }, key: "k", messageId: "i", contentType: "a/b", headers: { x: "ä" } };

    const reply = await socket.ask({ type: "put", id: 1, ...message });

    expect(reply).toMatchObject({ type: "put-ok", id: 1, offset: 1, count: 1 });
    expect(reply.state).toEqual({ depth: 1, bytes: 17, utilization: 0.25, waiters: 0 });
    expect((await pull(channel)).messages[0]).toMatchObject({ offset: 1, ...message });
  });

  test("[G8] a batch is stored whole or refused whole", async () => {
    const channel = await createChannel({ maxMessages: 3 });
    const socket = await openSocket(channel);
    const messages = ["a", "b", "c", "d"].map((text) => ({ text }));

    expect(await socket.ask({ type: "put-batch", id: 1, messages: messages.slice(2) })).toMatchObject({ offset: 1, count: 2 });
    const full = await socket.ask({ type: "put-batch", id: 2, messages: messages.slice(2) });
    const never = await socket.ask({ type: "put-batch", id: 3, messages, waitMs: 60_000 });
    const empty = await socket.ask({ type: "put-batch", id: 4, messages: [] });

    expect(full).toMatchObject({ inReplyTo: 2, problem: { kind: "channel-full", depth: 2, maxMessages: 3 } });
    expect(never).toMatchObject({ inReplyTo: 3, problem: { kind: "batch-too-large", size: 4, limit: 3, unit: "messages" } });
    expect(empty).toMatchObject({ id: 4, offset: 3, count: 0, state: { depth: 2 } });
    expect((await describeChannel(channel)).depth).toBe(2);
  });

  test("[GT1] a get takes messages and passes control records, with the state at its commit", async () => {
    const channel = await createChannel({ maxMessages: 4 });
    const socket = await openSocket(channel);
    await put(channel, "a");
    await patchChannel(channel, { maxMessages: 5 });
    await put(channel, "b");

    const reply = await socket.ask({ type: "get", id: 1, max: 10 });

    expect(textsOf(reply.messages)).toEqual(["a", "b"]);
    expect(reply.controls).toMatchObject([{ offset: 2, control: { type: "resize", maxMessages: 5 } }]);
    expect(reply.state).toEqual({ depth: 0, bytes: 0, utilization: 0, waiters: 0 });
    expect(await socket.ask({ type: "get", id: 2, min: 2 })).toMatchObject({ messages: [] });
  });

  test("[protocol:websocket] stats are the description of the channel", async () => {
    const channel = await createChannel({ maxMessages: 9 });
    const socket = await openSocket(channel);
    await socket.ask({ type: "put", id: 1, text: "a" });

    const { stats } = await socket.ask({ type: "stats", id: 2 });

    const { rows: _, ...description } = await describeChannel(channel);
    expect(stats).toMatchObject(description);
    expect(stats).toMatchObject({ channel, connections: 1, depth: 1, settings: { maxMessages: 9 } });
  });

  test("[protocol:websocket] a cancel of nothing is not answered", async () => {
    const socket = await openSocket(await createChannel());

    socket.send({ type: "cancel", id: 5 }, { type: "cancel", id: 5 });

    expect(await socket.settle()).toEqual([]);
  });

  test("[protocol:websocket] an id may be used again when its request was answered", async () => {
    const socket = await openSocket(await createChannel());
    for (const offset of [1, 2, 3]) {
      expect(await socket.ask({ type: "put", id: 1, text: "a" })).toMatchObject({ type: "put-ok", id: 1, offset });
    }
    expect(await socket.ask({ type: "get", id: 1, waitMs: 1000 })).toMatchObject({ type: "got", id: 1 });
  });

  test("[LC7] a socket may be opened before its channel is there", async () => {
    const channel = freshChannel();
    const socket = await openSocket(channel);

    expect((await socket.ask({ type: "stats", id: 1 })).problem).toMatchObject({ kind: "unknown-channel", channel });
    expect(await socket.ask({ type: "put", id: 2, text: "a" })).toMatchObject({ type: "put-ok", offset: 1 });
    expect(await describeChannel(channel)).toMatchObject({ depth: 1, connections: 1 });
  });

  test("[LC1] each state refuses what it does not offer", async () => {
    const channel = await createChannel();
    const socket = await openSocket(channel);
    const kinds = async (): Promise<(string | undefined)[]> => {
      socket.send(
        { type: "put", id: 1, text: "a" },
        { type: "get", id: 2, waitMs: 60_000 },
        { type: "reserve", id: 3, messages: 1, bytes: 1 },
      );
      return (await socket.take(3)).map((frame) => frame.problem?.kind ?? frame.type);
    };
    await put(channel, "kept");
    await put(channel, "kept too");
    await patchChannel(channel, { state: "draining" });
    expect(await kinds()).toEqual(["channel-draining", "got", "channel-draining"]);
    await patchChannel(channel, { state: "closed" });
    expect(await kinds()).toEqual(["channel-closed", "channel-closed", "channel-closed"]);
    expect(await describeChannel(channel)).toMatchObject({ state: "closed", depth: 1 });
    await call("DELETE", pathOf(channel, "?force=true"));
    expect(await kinds()).toEqual(["channel-deleted", "channel-deleted", "channel-deleted"]);
    expect((await socket.ask({ type: "stats", id: 4 })).problem).toMatchObject({ kind: "channel-deleted", droppedMessages: 1 });
  });

  test("[PT1] a refused put leaves the socket open and stores nothing", async () => {
    const channel = await createChannel({ maxMessageBytes: 3 });
    const socket = await openSocket(channel);

    const reply = await socket.ask({ type: "put", id: 1, text: "four" });

    expect(reply).toMatchObject({ inReplyTo: 1, problem: { kind: "message-too-large", bytes: 4, limit: 3 } });
    expect(await socket.ask({ type: "put", id: 2, text: "two" })).toMatchObject({ type: "put-ok", offset: 1 });
  });
});

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
    expect(byId.get(10)?.stats?.counts).toEqual({ put: 4, acked: 4, removed: 0, deadLettered: 0, dropped: 0, expired: 0 });
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

    passTime(LIMITS.silenceMsMax + 1);
    expect(await pinging.ask({ type: "stats", id: 1 })).toMatchObject({ type: "stats" });
    await runAlarm(channel);

    expect(await gone.closed).toMatchObject({ code: CLOSE_CODES.silent });
    expect(await quiet.ask({ type: "stats", id: 1 })).toMatchObject({ stats: { connections: 2 } });
    expect(await pinging.ask({ type: "stats", id: 2 })).toMatchObject({ type: "stats" });
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
