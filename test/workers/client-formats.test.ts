// The client over real sockets of both formats: what is put comes back as it was, each message once, whichever way it went.
import { describe, expect, onTestFinished, test } from "vitest";
import {
  type Channel,
  EdgeChannel,
  type EdgeChannelOptions,
  type LeasedMessage,
  type PutGiven,
  upgradeWith,
  type WebSocketLike,
} from "../../src/client/index.ts";
import { countBinaryFrames, type FrameCounts } from "../binary-frames.ts";
import { fetchFromWorker, freshChannel, ORIGIN } from "./service.ts";

type Format = NonNullable<EdgeChannelOptions["socketFormat"]>;
const FORMATS: readonly Format[] = ["binary", "json"];

interface Opened {
  readonly channel: Channel;
  readonly sockets: readonly WebSocketLike[];
  readonly bytes: FrameCounts;
}

/** `offered`: in place of what the client offers. */
function open(socketFormat: Format, name = freshChannel(), offered?: readonly string[]): Opened {
  const [sockets, bytes]: [WebSocketLike[], FrameCounts] = [[], { sent: 0, received: 0 }];
  const client = EdgeChannel.connect(ORIGIN, {
    transport: "socket",
    socketFormat,
    fetch: fetchFromWorker,
    // Pauses before the next connection need not be long.
    random: () => 0,
    openSocket: async (url, headers, protocols) => {
      const socket = await upgradeWith(fetchFromWorker)(url, headers, offered ?? protocols);
      countBinaryFrames(socket, bytes);
      sockets.push(socket);
      return socket;
    },
  });
  onTestFinished(() => client.close());
  return { channel: client.channel(name), sockets, bytes };
}

const FACTS = { key: "k \u00e9", messageId: "m", headers: { trace: "\u00fc", a: "" }, ttlMs: 60_000 };
const GIVEN: readonly PutGiven[] = [
  { body: "text \u0000", ...FACTS },
  { body: new Uint8Array([0, 255]), contentType: "image/png", key: "k2" },
  { json: { a: [null] } },
];
const STORED: readonly object[] = [
  { offset: 1, body: "text \u0000", contentType: "text/plain; charset=utf-8", ...FACTS },
  { offset: 2, body: new Uint8Array([0, 255]), contentType: "image/png", key: "k2" },
  { offset: 3, body: { json: { a: [null] } }, contentType: "application/json" },
];

async function consumeAll(channel: Channel, count: number): Promise<LeasedMessage[]> {
  const { promise: all, resolve } = Promise.withResolvers<void>();
  const messages: LeasedMessage[] = [];
  const consumer = channel.consume((message) => {
    if (messages.push(message) === count) resolve();
  });
  await all;
  await consumer.stop();
  return messages;
}

describe.each(FORMATS)("src/client over %s sockets", (format) => {
  test("[RB1] [RB3] [RB4] what a producer puts a consumer is handed as it was put, and acks", async () => {
    const { channel, bytes } = open(format);
    const producer = channel.producer();
    await producer.ready();
    await Promise.all(GIVEN.map((message) => producer.put(message)));
    const messages = await consumeAll(channel, GIVEN.length);

    expect(messages).toMatchObject(STORED);
    expect(await channel.stats()).toMatchObject({ depth: 0, counts: { put: 3, acked: 3 } });
    expect([bytes.sent > 0, bytes.received > 0]).toEqual([format === "binary", format === "binary"]);
  });

  test("[RB3] a reader of a log, and one who pulls, are sent the same", async () => {
    const [{ channel }, { channel: queue }] = [open(format), open(format)];
    await channel.create({ retention: "log" });
    await Promise.all([channel.putBatch(GIVEN), queue.putBatch(GIVEN)]);
    const read: object[] = [];
    for await (const message of channel.subscribe({ from: { at: "first" } })) if (read.push(message) === GIVEN.length) break;

    expect(read).toMatchObject(STORED);
    expect((await queue.pull({ max: 9 })).messages).toMatchObject(STORED);
  });

  test("[SD2] a batch with delays tells what was scheduled", async () => {
    const { channel } = open(format);
    const receipt = await channel.putBatch(["now", { body: "later", delayMs: 60_000 }]);

    expect(receipt).toMatchObject({ offset: 1, count: 1, scheduled: [{ index: 1 }] });
  });

  test("[G9] a producer whose connections are cut puts each message once, in order", async () => {
    const { channel, sockets } = open(format);
    const producer = channel.producer({ maxBatchMessages: 5 });
    const bodies = Array.from({ length: 60 }, (_, index) => `m${index}`);
    const puts: Promise<{ readonly offset: number | null }>[] = [];
    for (let round = 0; round < 3; round++) {
      if (round > 0) sockets.at(-1)?.close(1001);
      const first = puts.length;
      for (const body of bodies.slice(first, first + 20)) puts.push(producer.put(body));
      await puts[first];
    }
    const offsets = (await Promise.all(puts)).map(({ offset }) => offset);

    expect(offsets).toEqual(bodies.map((_, index) => index + 1));
    expect(sockets.length).toBeGreaterThan(2);
    const { channel: same } = open(format, channel.name);
    expect((await same.getBatch({ max: 99 })).map(({ body }) => body)).toEqual(bodies);
  });

  test.each<[what: string, put: PutGiven, pointer: string]>([
    ["a key that is too long", { body: "a", key: "k".repeat(257) }, "/messages/1/key"],
    ["a key that is no text", { body: "a", key: 5 } as unknown as PutGiven, "/messages/1/key"],
    ["a lone surrogate", "a\ud800", "/messages/1/text"],
    ["a time that is none", { body: "a", ttlMs: -1 }, "/messages/1/ttlMs"],
  ])("[PT1] a batch is refused with the same pointer: %s", async (_what, put, pointer) => {
    const { channel } = open(format);
    await channel.create();
    const error: unknown = await channel.putBatch(["well", put]).catch((reason: unknown) => reason);

    expect(error).toMatchObject({ kind: "invalid-request", outcome: "not-applied", problem: { errors: [{ pointer }] } });
    expect((await channel.stats()).depth).toBe(0);
  });
});

describe("src/client over sockets of a service that speaks JSON alone", () => {
  test("[protocol:websocket] all goes on in JSON", async () => {
    const { channel, bytes } = open("binary", freshChannel(), ["channel.v1.json"]);
    await channel.putBatch(GIVEN);

    expect(await consumeAll(channel, GIVEN.length)).toMatchObject(STORED);
    expect(bytes).toEqual({ sent: 0, received: 0 });
  });
});
