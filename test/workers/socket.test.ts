// The frames of channel.v1.json through real sockets. What waits is in waiting-*.test.ts.
import { describe, expect, test } from "vitest";
import { CLIENT_FRAME_SCHEMAS, CLOSE_CODES } from "../../src/protocol/frames.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import { hibernate } from "./inside.ts";
import {
  call,
  connect,
  createChannel,
  describeChannel,
  expectServed,
  type Frame,
  freshChannel,
  openSocket,
  patchChannel,
  pathOf,
  pull,
  put,
  textsOf,
  untilChannel,
  upgrade,
} from "./service.ts";

function pointersOf(frame: Frame): string[] {
  expect(frame.problem?.kind).toBe("invalid-request");
  const errors = frame.problem?.["errors"] as { pointer: string }[] | undefined;
  return (errors ?? []).map((fault) => fault.pointer);
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
