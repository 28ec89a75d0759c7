// The client against the service in memory, over sockets that speak binary and over those that speak JSON.
import { describe, expect, test } from "vitest";
import type { EdgeChannelOptions, OpenSocket, PutGiven } from "../../../src/client/index.ts";
import { TestService } from "../../../src/testing/index.ts";
import { countBinaryFrames } from "../../binary-frames.ts";

const FORMATS = ["binary", "json"] as const;

/** A service whose sockets count the frames of bytes that go each way. */
function openService(socketFormat: EdgeChannelOptions["socketFormat"]) {
  const service = new TestService();
  const bytes = { sent: 0, received: 0 };
  const open = service.openSocket;
  const openSocket: OpenSocket = async (url, headers, protocols) => {
    const socket = await open(url, headers, protocols);
    countBinaryFrames(socket, bytes);
    return socket;
  };
  Object.assign(service, { openSocket });
  return { service, channel: service.connect({ transport: "socket", socketFormat }).channel("jobs"), bytes };
}

describe.each(FORMATS)("src/client over %s sockets", (format) => {
  const given: readonly PutGiven[] = [
    { body: "text", key: "k", messageId: "m1", headers: { a: "b", trace: "ü" }, ttlMs: 60_000 },
    { body: new Uint8Array([0, 255]), key: "k", contentType: "image/png" },
    { json: { a: [1] } },
  ];

  test("[RB1] [RB3] [RB4] what a producer puts a consumer gets as it was, and acks it", async () => {
    const { channel, bytes } = openService(format);
    const producer = channel.producer();
    await Promise.all(given.map((message) => producer.put(message)));
    const { promise: all, resolve } = Promise.withResolvers<void>();
    const got: unknown[] = [];
    const consumer = channel.consume(({ body, key, messageId, headers, ttlMs, contentType }) => {
      if (got.push({ body, key, messageId, headers, ttlMs, contentType }) === given.length) resolve();
    });
    await all;
    await consumer.stop();

    expect(got).toEqual([
      { contentType: "text/plain; charset=utf-8", ...(given[0] as object) },
      given[1],
      { body: { json: { a: [1] } }, contentType: "application/json" },
    ]);
    expect(await channel.stats()).toMatchObject({ depth: 0, counts: { put: 3, acked: 3 } });
    expect([bytes.sent > 0, bytes.received > 0]).toEqual([format === "binary", format === "binary"]);
  });

  test("[G11] JSON that nests too deep is refused alone: what else is under way is answered, and leases stay", async () => {
    const { channel } = openService(format);
    const deep = { json: JSON.parse("[".repeat(300) + "]".repeat(300)) as unknown };
    const refused = { kind: "invalid-request", outcome: "not-applied" };
    await channel.put("leased");
    const { messages } = await channel.pull();
    const producer = channel.producer();

    const settled = await Promise.allSettled([
      channel.put(deep),
      channel.put("b"),
      channel.checkpoint("c").write(deep),
      producer.put("c"),
      producer.put(deep),
      producer.put("d"),
    ]);

    const isRefused = { status: "rejected", reason: refused };
    const isStored = { status: "fulfilled" };
    expect(settled).toMatchObject([isRefused, isStored, isRefused, isStored, isRefused, isStored]);
    await messages[0]?.ack();
    expect(await channel.stats()).toMatchObject({ depth: 3 });
  });

  test("[G9] [TE3] a producer whose replies are lost puts each message once, in order", async () => {
    const { service, channel } = openService(format);
    const producer = channel.producer({ maxBatchMessages: 2 });
    const bodies = Array.from({ length: 8 }, (_, index) => `m${index}`);
    for (let lost = 0; lost < 3; lost++) service.loseReply({ to: "put" });
    const puts = bodies.map((body) => producer.put(body));
    await service.advance(60_000);
    const offsets = (await Promise.all(puts)).map(({ offset }) => offset);

    expect(offsets).toEqual(bodies.map((_, index) => index + 1));
    expect((await channel.getBatch({ max: 99 })).map(({ body }) => body)).toEqual(bodies);
  });

  test("[TE1] a reader of a log gets each message once, in order, over connections that are cut", async () => {
    const { service, channel } = openService(format);
    await channel.create({ retention: "log" });
    await channel.putBatch(given);
    const subscription = channel.subscribe({ from: { at: "first" }, credit: { messages: 2 } })[Symbol.asyncIterator]();
    const first = await subscription.next();
    await service.deploy();
    const rest = [subscription.next(), subscription.next()];
    await service.advance(60_000);

    const read = [first, ...(await Promise.all(rest))].map(({ value }) => value?.offset);
    expect(read).toEqual([1, 2, 3]);
  });
});
