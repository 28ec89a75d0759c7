// The client over channel.v1.bin: what it agrees on, and what goes in blocks.
import { describe, expect, test } from "vitest";
import { ChannelSocket } from "../../src/client/channel-socket.ts";
import type { PutGiven } from "../../src/client/index.ts";
import { serverFrame, textRecord } from "../binary-frames.ts";
import { errorOf } from "../client-calls.ts";
import {
  BinarySocket,
  FakeWebSocket,
  firstSocket,
  greet,
  lastSocket,
  openChannel,
  openTimedChannel,
  reconnect,
  settleDown,
  STATE,
} from "./client-doubles.ts";

const FORMATS = ["binary", "json"] as const;

async function connect(
  WebSocket: typeof FakeWebSocket = BinarySocket,
): Promise<{ socket: FakeWebSocket; channel: ChannelSocket }> {
  const connecting = ChannelSocket.connect("http://service.test/v1/channels/c/socket", { WebSocket });
  const socket = lastSocket();
  socket.welcome();
  const channel = await connecting;
  socket.sent.length = 0;
  return { socket, channel };
}

/** How puts went, and by which numbers. */
function numbersOf({ sent }: FakeWebSocket): unknown[] {
  return sent.filter(({ producer }) => producer !== undefined).map(({ type, producer }) => [type, producer]);
}

describe("src/client/open-socket: formats", () => {
  test("[protocol:websocket] binary is offered before JSON, or JSON alone", async () => {
    const offered: (readonly string[])[] = [];
    for (const socketFormat of [undefined, ...FORMATS]) {
      const { channel } = openChannel({ socketFormat });
      void errorOf(channel.put("a"));
      offered.push(lastSocket().protocols);
    }

    expect(offered).toEqual([["channel.v1.bin", "channel.v1.json"], ["channel.v1.bin", "channel.v1.json"], ["channel.v1.json"]]);
  });

  test("[protocol:websocket] where a server speaks JSON alone, batches go as JSON", async () => {
    const { socket, channel } = await connect(FakeWebSocket);
    void errorOf(channel.putBatch(["a"]));

    expect(socket.sent).toEqual([{ type: "put-batch", id: 1, messages: [{ text: "a" }] }]);
  });

  test("binary frames are asked for as buffers", async () => {
    expect((await connect()).socket.binaryType).toBe("arraybuffer");
  });
});

describe("src/client/channel-socket: binary", () => {
  test("[RB1] a batch goes in a block, with the members of its frame", async () => {
    const { socket, channel } = await connect();
    const producer = { id: "p", epoch: 0, seq: 1 };
    const putting = channel.putBatch(["a", { body: new Uint8Array([7]), key: "k" }], { producer, expectedOffset: 1 });
    const put = channel.put("b");

    expect(socket.sent).toMatchObject([
      { type: "binary put", id: 1, producer, expectedOffset: 1, messages: [{}, { body: new Uint8Array([7]), key: "k" }] },
      { type: "put", id: 2, text: "b" },
    ]);
    socket.store(1, 1, 2);
    socket.store(2, 3);
    expect([(await putting).count, (await put).offset]).toEqual([2, 3]);
  });

  test("[RB1] a batch with what a block cannot say goes as JSON, so that it is refused as ever", async () => {
    const { socket, channel } = await connect();
    void errorOf(channel.putBatch([{ body: "a", key: 5 } as unknown as PutGiven]));

    expect(socket.sent).toEqual([{ type: "put-batch", id: 1, messages: [{ text: "a", key: 5 }] }]);
  });

  test.each(FORMATS)("what is no body is refused here, whichever way messages go, and nothing is sent: %s", async (format) => {
    const { socket, channel } = await connect(format === "binary" ? BinarySocket : FakeWebSocket);
    const refused = { kind: "invalid-request", origin: "client", retryable: false, outcome: "not-applied" };
    const circular: Record<string, unknown> = {};
    circular["self"] = circular;

    for (const given of [undefined, null, 5, {}, { json: () => 1 }, { json: { a: 1n } }, { json: circular }] as PutGiven[]) {
      expect(await errorOf(channel.put(given))).toMatchObject(refused);
      const error = await errorOf(channel.putBatch(["a", { json: [] }, given]));
      expect(error).toMatchObject({ ...refused, message: expect.stringMatching(/^Cannot send the value at index 2 as /) });
    }
    expect(await errorOf(channel.putBatch(undefined as unknown as PutGiven[]))).toMatchObject(refused);
    expect(await errorOf(channel.settle({ puts: ["a", undefined as unknown as PutGiven] }))).toMatchObject(refused);
    expect(socket.sent).toEqual([]);
  });

  test("a condition that JSON cannot say is no fault of a message", async () => {
    const { channel } = await connect(FakeWebSocket);
    const expectedOffset = 1n as unknown as number;

    expect((await errorOf(channel.putBatch(["a", "b"], { expectedOffset }))).message).toMatch(/^Cannot send the value as JSON: /);
  });

  test("[WT4] a block that waited is sent again with its promise", async () => {
    const { socket, channel } = await connect();
    void errorOf(channel.putBatch(["a"], { waitMs: 1_000 }));
    socket.receive({ type: "wait", id: 1 });
    socket.receive({ type: "room", id: 1, reservedMs: 5_000 });
    void errorOf(channel.close());

    expect(socket.sent).toMatchObject([
      { type: "binary put", id: 1, waitMs: 1_000, messages: [{}] },
      { type: "binary put", id: 1, waitMs: 1_000, promised: true, messages: [{}] },
    ]);
  });

  test("[WT4] room for a block is asked for before it is sent", async () => {
    const { socket, channel } = await connect();
    void errorOf(channel.putBatch(["abc"], { reserve: true }));
    socket.receive({ type: "room", id: 1, reservedMs: 5_000 });

    expect(socket.sent).toMatchObject([
      { type: "reserve", id: 1, messages: 1, bytes: 3 },
      { type: "binary put", id: 1, promised: true },
    ]);
  });

  test("[RB3] [RB4] what is got in blocks is read, and settled by its leases", async () => {
    const { socket, channel } = await connect();
    const pulling = channel.pull({ max: 2 });
    const head = { id: 1, leaseUntilMs: 9, leases: { group: 0, holder: "h-1" }, state: STATE };
    socket.receive(serverFrame("got", head, [textRecord("a"), textRecord("b", { key: "k" })], 5));
    const { messages, leaseUntilMs, controls } = await pulling;

    expect(messages).toMatchObject([
      { offset: 5, body: "a", leaseId: "0-5-1-h-1", attempt: 1, redelivered: false },
      { offset: 6, body: "b", key: "k", leaseId: "0-6-1-h-1" },
    ]);
    expect([leaseUntilMs, controls]).toEqual([9, []]);
  });

  test("[RB3] a frame that is none ends the connection, and one of a type that nobody knows does not", async () => {
    const { socket, channel } = await connect();
    const getting = errorOf(channel.get());
    socket.receive(new Uint8Array([77, 0, 0, 0, 2, 0, 0, 0, 123, 125]).buffer);
    expect(channel.isOpen).toBe(true);
    socket.receive(new Uint8Array([2, 0, 0, 0]).buffer);

    expect(await getting).toMatchObject({ kind: "protocol-violation", origin: "server", outcome: "unknown" });
    expect(socket.readyState).toBe(2);
  });

  test("bytes on a connection that speaks JSON end it", async () => {
    const { socket, channel } = await connect(FakeWebSocket);
    const getting = errorOf(channel.get());
    socket.receive(serverFrame("got", { id: 1, state: STATE }, [textRecord("a")], 1));

    expect(await getting).toMatchObject({ kind: "protocol-violation" });
  });

  test("a frame that is too large is not sent, and the connection goes on", async () => {
    const { socket, channel } = await connect();
    const error = await errorOf(channel.putBatch([new Uint8Array(24 * 2 ** 20)]));

    expect(error).toMatchObject({ kind: "request-too-large", outcome: "not-applied" });
    expect([channel.isOpen, socket.sent]).toEqual([true, []]);
  });
});

describe("src/client/batch-sender: binary", () => {
  test("[G9] [RB1] what a binary connection left unanswered goes over one of JSON with the same numbers, in order", async () => {
    let isBinary = true;
    class EitherSocket extends FakeWebSocket {
      override readonly protocol = isBinary ? "channel.v1.bin" : "channel.v1.json";
    }
    const { channel, timers } = openTimedChannel({ WebSocket: EitherSocket });
    const producer = channel.producer({ id: "p", epoch: 1, maxBatchMessages: 1 });
    const puts = ["a", "b"].map((body) => producer.put(body));
    const first = await firstSocket();
    await greet(first);
    isBinary = false;
    await reconnect(timers);
    const second = lastSocket();
    for (const id of [1, 2]) second.store(id, id);

    const marks = [1, 2].map((seq) => ({ id: "p", epoch: 1, seq }));
    expect(numbersOf(first)).toEqual(marks.map((mark) => ["binary put", mark]));
    expect(numbersOf(second)).toEqual(marks.map((mark) => ["put-batch", mark]));
    expect((await Promise.all(puts)).map(({ offset }) => offset)).toEqual([1, 2]);
  });

  test("a batch in which one message is refused is split, as in JSON", async () => {
    const { channel } = openTimedChannel({ WebSocket: BinarySocket });
    const producer = channel.producer();
    await producer.ready();
    const [well, bad] = [producer.put("a"), errorOf(producer.put("b"))];
    const socket = await firstSocket();
    await greet(socket);
    const refusal = { kind: "invalid-request", errors: [{ pointer: "/messages/1/text", detail: "too short" }] } as const;
    socket.refuse(1, refusal);
    await settleDown();
    socket.store(2, 1);
    socket.refuse(3, refusal);

    expect([(await well).offset, (await bad).kind]).toEqual([1, "invalid-request"]);
  });
});
