// Binary frames of channel.v1.bin through real sockets: what is put in a block, and what is sent in blocks.
import { describe, expect, test } from "vitest";
import { DEFAULT_CONTENT_TYPES } from "../../src/protocol/presentation.ts";
import { SUBPROTOCOL_BIN, SUBPROTOCOL_JSON } from "../../src/protocol/version.ts";
import { putFrame, textRecord } from "../binary-frames.ts";
import { hibernate } from "./inside.ts";
import {
  call,
  createChannel,
  describeChannel,
  freshChannel,
  openSocket,
  pathOf,
  type PulledJson,
  putBatch,
  read,
  type TestSocket,
  textsOf,
  upgrade,
} from "./service.ts";

const open = (channel: string): Promise<TestSocket> => openSocket(channel, { subprotocol: SUBPROTOCOL_BIN });
const texts = (...bodies: readonly string[]): ArrayBuffer =>
  putFrame(
    { id: 1 },
    bodies.map((body) => textRecord(body)),
  );

async function putBinary(socket: TestSocket, frame: ArrayBuffer): Promise<unknown> {
  socket.send(frame);
  return await socket.next();
}

describe("src/object/upgrade", () => {
  test.each([
    ["channel.v1.bin", SUBPROTOCOL_BIN],
    ["channel.v1.bin, channel.v1.json", SUBPROTOCOL_BIN],
    ["channel.v1.json, channel.v1.bin", SUBPROTOCOL_JSON],
    ["channel.v2.bin,channel.v1.json", SUBPROTOCOL_JSON],
  ])("[protocol:websocket] of %s the first that is known is spoken", async (offered, spoken) => {
    const reply = await upgrade(freshChannel(), { "Sec-WebSocket-Protocol": offered });
    reply.webSocket?.accept();
    reply.webSocket?.close();

    expect(reply.status).toBe(101);
    expect(reply.headers.get("Sec-WebSocket-Protocol")).toBe(spoken);
  });
});

describe("src/object/socket-frames: binary", () => {
  test("[RB2] messages of a block get consecutive offsets and all that they came with, also after waking", async () => {
    const channel = await createChannel();
    const socket = await open(channel);
    const more = { key: "k", messageId: "m", headers: { a: "b" }, contentType: "text/html", ttlMs: 60_000 };

    const answer = await putBinary(
      socket,
      putFrame({ id: 4 }, [
        textRecord("a"),
        textRecord("b", more),
        textRecord("[1]", { presentation: "json", contentType: DEFAULT_CONTENT_TYPES.json }),
      ]),
    );
    await hibernate(channel);

    expect(answer).toMatchObject({ type: "put-ok", id: 4, offset: 1, count: 3, state: { depth: 3 } });
    const { messages } = await read<PulledJson>(call("GET", pathOf(channel, "/messages")));
    expect(messages).toMatchObject([{ text: "a" }, { text: "b", ...more }, { json: [1] }]);
    expect(await call("GET", pathOf(channel, "/messages/2/history")).then((reply) => reply.json())).toMatchObject({
      put: { via: "socket" },
    });
  });

  test("[RB2] [RC4] blocks and single messages of one commit lie in one row, in the order in which they came", async () => {
    const channel = await createChannel({ commitDelayMs: 50 });
    const [binary, json] = [await open(channel), await openSocket(channel)];
    const before = (await describeChannel(channel)).rows.written;

    binary.send(texts("a", "b"), { type: "put", id: 2, text: "c" }, putFrame({ id: 3 }, [textRecord("d")]));
    const answers = await binary.take(3);
    const after = (await describeChannel(channel)).rows.written;

    expect(answers).toMatchObject([{ offset: 1, count: 2 }, { offset: 3 }, { offset: 4 }]);
    expect(after - before).toBe(1);
    expect(textsOf((await json.ask({ type: "get", id: 1, max: 9 })).messages)).toEqual(["a", "b", "c", "d"]);
  });

  test("[RB3] [RB4] a member is sent blocks, whichever way the messages were put, and settles them by their leases", async () => {
    const channel = await createChannel();
    await putBatch(channel, ["a", "b"]);
    const socket = await open(channel);
    await putBinary(socket, texts("c", "d"));

    socket.send({ type: "subscribe", id: 8, credit: { messages: 3 } });
    const [, delivered] = await socket.take(2);
    const ids = delivered?.messages?.map(({ leaseId }) => ({ leaseId: String(leaseId) })) ?? [];
    const settled = await socket.ask({ type: "settle", id: 9, acks: ids.slice(0, 2), retries: [{ ...ids[2], delayMs: 0 }] });
    socket.send({ type: "credit", id: 8, messages: 3 });
    const again = await socket.next();

    expect(delivered).toMatchObject({ type: "deliver", id: 8, bytes: 3, messages: [{ attempt: 1, redelivered: false }, {}, {}] });
    expect(textsOf(delivered?.messages)).toEqual(["a", "b", "c"]);
    expect(settled).toMatchObject({ acked: 2, retried: 1, refused: [] });
    expect(again.messages).toMatchObject([
      { offset: 3, attempt: 2, redelivered: true },
      { offset: 4, attempt: 1 },
    ]);
  });

  test("[RB3] a plain reader goes on where it was told, and what comes back of a get is in blocks too", async () => {
    const channel = await createChannel({ retention: "log" });
    const socket = await open(channel);
    socket.send({ type: "subscribe", id: 8, from: { at: "first" }, credit: { messages: 3 } });
    await socket.next();
    socket.send(texts("a", "b"));
    const [, first] = await socket.take(2);
    await putBatch(channel, ["c", "d"]);
    const second = await socket.next();
    const next = await open(channel);
    next.send({ type: "subscribe", id: 1, from: { resume: second.resume }, credit: { messages: 9 } });

    expect([textsOf(first?.messages), textsOf(second.messages)]).toEqual([["a", "b"], ["c"]]);
    expect(textsOf((await next.take(2))[1]?.messages)).toEqual(["d"]);
  });

  test("[RB3] without messages an answer is text", async () => {
    const socket = await open(await createChannel());

    expect(await socket.ask({ type: "get", id: 1, max: 1 })).toMatchObject({ type: "got", id: 1, messages: [] });
  });

  test("[SD2] [RB1] what is put with a delay enters later, and the rest of its block at once", async () => {
    const socket = await open(await createChannel());

    const answer = await putBinary(
      socket,
      putFrame({ id: 1 }, [
        textRecord("a", { delay: { afterMs: 60_000 } }),
        textRecord("b"),
        textRecord("c", { delay: { atMs: 1 } }),
      ]),
    );

    expect(answer).toMatchObject({ type: "put-ok", offset: 1, count: 2, scheduled: [{ index: 0 }] });
  });

  test("[WT4] [RB1] a block that has to wait is put again for the room that it was promised", async () => {
    const channel = await createChannel({ maxMessages: 2 });
    const socket = await open(channel);
    await putBinary(socket, texts("a", "b"));
    const records = [textRecord("c")];

    const wait = await putBinary(socket, putFrame({ id: 2, waitMs: 60_000 }, records));
    const [room] = await Promise.all([socket.next(), call("DELETE", pathOf(channel, "/messages"))]);
    const stored = await putBinary(socket, putFrame({ id: 2, promised: true }, records));

    expect([wait, room, stored]).toMatchObject([{ type: "wait" }, { type: "room", id: 2 }, { type: "put-ok", id: 2, offset: 3 }]);
  });

  test("[DD2] [DD6] [RB1] a block that is put again is a duplicate, also in JSON", async () => {
    const socket = await open(await createChannel());
    const producer = { id: "p", epoch: 0, seq: 1 };
    await putBinary(socket, putFrame({ id: 1, producer }, [textRecord("a")]));
    await putBinary(socket, putFrame({ id: 2, idempotencyKey: "k" }, [textRecord("b", { key: "x" })]));

    const again = await putBinary(socket, putFrame({ id: 3, producer }, [textRecord("a")]));
    const inJson = await socket.ask({ type: "put", id: 4, idempotencyKey: "k", text: "b", key: "x" });
    const other = await putBinary(socket, putFrame({ id: 5, idempotencyKey: "k" }, [textRecord("c", { key: "x" })]));

    expect(again).toMatchObject({ type: "put-ok", offset: 1, duplicate: true });
    expect(inJson).toMatchObject({ type: "put-ok", offset: 2, duplicate: true });
    expect(other).toMatchObject({ type: "problem", problem: { kind: "idempotency-key-reused" } });
  });

  test("[RB1] what is no such frame is refused, and the socket goes on", async () => {
    const channel = await createChannel();
    const socket = await open(channel);
    const wrong = new Uint8Array(texts("a"));
    wrong[wrong.byteLength - 1] = 0xff;

    expect(await putBinary(socket, wrong.buffer)).toMatchObject({
      type: "problem",
      inReplyTo: 1,
      problem: { kind: "invalid-request" },
    });
    expect(await putBinary(socket, new ArrayBuffer(3))).toMatchObject({ problem: { kind: "invalid-request" } });
    expect(await putBinary(socket, texts("b"))).toMatchObject({ type: "put-ok", offset: 1 });
    expect((await describeChannel(channel)).counts.put).toBe(1);
  });

  test("[RB1] a binary frame is refused where JSON alone is spoken", async () => {
    const socket = await openSocket(await createChannel());

    expect(await putBinary(socket, texts("a"))).toMatchObject({ type: "problem", problem: { kind: "invalid-request" } });
  });

  test("[PT1] [RB1] a message that is too large is refused with its size", async () => {
    const socket = await open(await createChannel({ maxMessageBytes: 3 }));

    expect(await putBinary(socket, texts("abc", "abcd"))).toMatchObject({
      problem: { kind: "message-too-large", bytes: 4, limit: 3 },
    });
  });
});
