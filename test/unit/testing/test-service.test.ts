// The service in the memory of a test: what a client finds there, and time. The faults are beside.
import { describe, expect, test, vi } from "vitest";
import { EdgeChannel, type PutGiven } from "../../../src/client/index.ts";
import { TestService } from "../../../src/testing/index.ts";
import { collect, errorOf, TRANSPORTS, type TransportName } from "../../client-calls.ts";

const START_MS = 1_800_000_000_000;

async function leaseIdsOf(seed: number, transport: TransportName): Promise<string[]> {
  const channel = new TestService({ seed }).connect({ transport }).channel("jobs");
  await channel.putBatch(["a", "b"]);
  return (await channel.pull({ max: 2 })).messages.map(({ leaseId }) => leaseId);
}

describe.each(TRANSPORTS)("src/testing over %s", (transport) => {
  function open(): { service: TestService; client: EdgeChannel } {
    const service = new TestService();
    return { service, client: service.connect({ transport }) };
  }

  test("[TE1] messages are put, leased, settled and found again, as in a deployment", async () => {
    const { client } = open();
    const channel = client.channel("jobs");

    const receipt = await channel.putBatch(["text", new Uint8Array([0, 255]), { body: { json: [1] }, key: "k" }]);
    const { messages } = await channel.pull({ max: 3 });
    await messages[0]?.ack();
    await messages[1]?.reject("no use");
    await messages[2]?.release();

    expect(receipt).toMatchObject({ offset: 1, count: 3, state: { depth: 3 } });
    expect(messages.map(({ body }) => body)).toEqual(["text", new Uint8Array([0, 255]), { json: [1] }]);
    expect(await collect(channel.deadLetters.list())).toMatchObject([{ offset: 2, reason: "no use" }]);
    expect(await channel.get()).toMatchObject({ offset: 3, key: "k", attempt: 1 });
    expect((await channel.stats()).counts).toMatchObject({ put: 3, acked: 2, deadLettered: 1 });
  });

  test("[TE1] what a deployment refuses is refused, with the same kind and facts", async () => {
    const { client } = open();
    const small = client.channel("small");
    await small.create({ maxMessages: 1 });
    await small.put("fills it");

    expect(await errorOf(small.put("no room"))).toMatchObject({ kind: "channel-full", outcome: "not-applied" });
    expect(await errorOf(small.create({ maxMessages: 2 }))).toMatchObject({ kind: "settings-conflict", status: 409 });
    expect(await errorOf(client.channel("no name").put("x"))).toMatchObject({ kind: "invalid-request" });
    const strict = new TestService({ autoCreate: false }).connect({ transport });
    expect(await errorOf(strict.channel("absent").put("x"))).toMatchObject({ kind: "unknown-channel" });
  });

  test("[TE1] what is no body is refused before it is sent, also by a producer", async () => {
    const channel = open().client.channel("jobs");
    await using producer = channel.producer();
    const refused = { kind: "invalid-request", origin: "client", retryable: false, outcome: "not-applied" };

    for (const given of [undefined, null, 5, {}, { json: undefined }, { json: 1n }] as PutGiven[]) {
      expect(await errorOf(channel.put(given))).toMatchObject(refused);
      expect(await errorOf(channel.putBatch(["a", given]))).toMatchObject(refused);
      expect(await errorOf(producer.put(given))).toMatchObject(refused);
    }
    expect(await producer.put("b")).toMatchObject({ offset: 1 });
  });

  test("[TE1] groups, checkpoints and the list of channels are there", async () => {
    const { client } = open();
    const events = client.channel("events");
    await events.create({ retention: "log" });
    await events.groups.create("billing");
    await events.checkpoint("place").write({ json: 7 });
    await events.put("paid");
    await client.channel("a").create();
    await client.channel("deleted").create();
    await client.channel("deleted").delete({ force: true });

    expect(await events.get({ group: "billing" })).toMatchObject({ body: "paid" });
    expect(await events.checkpoint("place").read()).toMatchObject({ value: { json: 7 }, version: 1 });
    expect((await collect(client.channels({ pageSize: 1 }))).map(({ channel }) => channel)).toEqual(["a", "events"]);
    expect((await collect(client.channels({ prefix: "ev" }))).map(({ channel }) => channel)).toEqual(["events"]);
  });

  test("[TE1] a program that never stops to produce and one that consumes meet at a small channel", async () => {
    const { client } = open();
    const channel = client.channel("jobs");
    await channel.create({ maxMessages: 10 });
    const bodies = Array.from({ length: 200 }, (_, index) => String(index));
    const seen: unknown[] = [];
    const done = Promise.withResolvers<void>();
    const consumer = channel.consume(({ body }) => {
      if (seen.push(body) === bodies.length) done.resolve();
    });

    const producer = channel.producer();
    for (const body of bodies) void producer.put(body);
    await Promise.all([producer.flush(), done.promise]);
    await consumer.stop();

    expect(seen).toEqual(bodies);
    expect(await channel.stats()).toMatchObject({ depth: 0, counts: { acked: bodies.length } });
  });

  test("[TE2] a wait is over when time has come there, and a put is stored at the time that it is", async () => {
    const { service, client } = open();
    const channel = client.channel("jobs");
    let isOver = false;
    const waiting = channel.getBatch({ waitMs: 5_000 }).finally(() => (isOver = true));

    await service.advance(4_999);
    expect(isOver).toBe(false);
    await service.advance(1);
    expect(await waiting).toEqual([]);

    const next = channel.get({ waitMs: 5_000 });
    await service.advance(1_000);
    await channel.put("late");
    expect(await next).toMatchObject({ body: "late", putAtMs: START_MS + 6_000 });
    expect(service.nowMs).toBe(START_MS + 6_000);
  });

  test("[TE2] delays, leases and times to live go by it, each at its own time", async () => {
    const { service, client } = open();
    const channel = client.channel("jobs");
    await channel.put({ body: "fleeting", ttlMs: 1_000 });
    await channel.put({ body: "later", delayMs: 90_000 });
    await channel.put("leased");
    await service.advance(1_000);
    const { messages } = await channel.pull({ max: 5, leaseMs: 30_000, detached: true });

    await service.advance(60_000);
    const again = await channel.getBatch({ max: 5 });
    await service.advance(28_999);
    const early = await channel.getBatch({ max: 5 });
    await service.advance(1);

    expect(messages.map(({ body }) => body)).toEqual(["leased"]);
    expect(again).toMatchObject([{ body: "leased", attempt: 2 }]);
    expect(early).toEqual([]);
    expect(await channel.get()).toMatchObject({ body: "later", putAtMs: START_MS + 90_000 });
  });

  test("[TE2] a put that waits for room gets it, in the order of the puts", async () => {
    const { service, client } = open();
    const channel = client.channel("jobs");
    await channel.create({ maxMessages: 1 });
    await channel.put("1");
    const puts = [channel.put("2", { waitMs: 10_000 }), channel.put("3", { waitMs: 10_000 })];

    await service.advance(1_000);
    const first = await channel.get();
    await puts[0];
    await service.advance(1_000);
    const second = await channel.get();
    await puts[1];

    expect([first.body, second.body, (await channel.get()).body]).toEqual(["1", "2", "3"]);
  });

  test("[TE6] the same test does the same each time, another seed something else", async () => {
    expect(await leaseIdsOf(1, transport)).toEqual(await leaseIdsOf(1, transport));
    expect(await leaseIdsOf(2, transport)).not.toEqual(await leaseIdsOf(1, transport));
  });
});

describe("src/testing", () => {
  test("[TE1] a request that is given up rejects at once, and takes nothing", async () => {
    const service = new TestService();
    const channel = service.connect({ transport: "http", retries: 0 }).channel("jobs");
    const giveUp = new AbortController();
    const getting = errorOf(channel.transport.get({ waitMs: 10_000, signal: giveUp.signal }));
    await service.advance(1_000);

    giveUp.abort();

    expect(await getting).toMatchObject({ kind: "aborted" });
    await service.advance(0);
    await channel.put("for somebody else");
    expect(await channel.stats()).toMatchObject({ depth: 1, waiters: 0 });
  });

  test("[TE1] what is no frame is refused as by a deployment, and the connection goes on", async () => {
    const { openSocket } = new TestService();
    const socket = await openSocket("ws://channels.example.com/v1/channels/jobs/socket", {}, ["channel.v1.json"]);
    const frames: unknown[] = [];
    const next = new Promise<void>((resolve) =>
      socket.addEventListener("message", ({ data }) => {
        if (frames.push(JSON.parse(String(data))) === 2) resolve();
      }),
    );

    socket.send("{");
    socket.send('{"type":"hello","versions":[1]}');
    await next;

    expect(frames).toMatchObject([{ type: "problem", problem: { kind: "invalid-request" } }, { type: "welcome" }]);
  });

  test("[TE2] timers that a test puts in the place of the platform's change nothing", async () => {
    vi.useFakeTimers();
    try {
      const service = new TestService();
      const channel = service.connect({ transport: "socket" }).channel("jobs");
      await channel.put("one");
      const next = channel.getBatch({ min: 2, waitMs: 1_000 });
      await service.advance(1_000);
      expect(await next).toEqual([]);
    } finally {
      vi.useRealTimers();
    }
  });

  test("[TE2] time goes forward only", async () => {
    const service = new TestService({ startMs: 5 });
    for (const ms of [-1, Number.NaN, Infinity]) {
      await expect(service.advance(ms)).rejects.toThrow(RangeError);
      await expect(service.expireLeases(ms)).rejects.toThrow(RangeError);
    }
    expect(service.nowMs).toBe(5);
  });

  test("[TE1] a channel that was deleted is forgotten after a day, and its name is free", async () => {
    const service = new TestService();
    const channel = service.connect().channel("jobs");
    await channel.put("one");
    await channel.delete({ force: true });

    expect(await errorOf(channel.put("two"))).toMatchObject({ kind: "channel-deleted" });
    await service.advance(25 * 60 * 60 * 1000);
    expect(await channel.put("three")).toMatchObject({ offset: 1 });
  });

  test("[TE1] a program that makes its client itself is given what reaches the service", async () => {
    const { fetch, openSocket } = new TestService();
    const client = EdgeChannel.connect("https://channels.example.com", { transport: "socket", fetch, openSocket });

    await client.channel("jobs").put("one");
    const reply = await fetch("https://channels.example.com/v1/channels/jobs/messages/1", {});
    expect(await reply.text()).toBe("one");
    await client.close();
  });

  test("[TE1] it has no events, and says so", async () => {
    const reply = await new TestService().fetch("https://channels.example.com/v1/channels/jobs/events", {});

    expect(reply.status).toBe(404);
    expect(await reply.json()).toMatchObject({ kind: "unknown-route" });
  });

  test("[TE2] moves of time that are asked for at once follow each other, also where one is refused", async () => {
    const service = new TestService({ startMs: 0 });

    const moves = [service.advance(1000), service.advance(-1), service.expireLeases(500), service.advance(1000)];

    expect((await Promise.allSettled(moves)).map(({ status }) => status)).toEqual([
      "fulfilled",
      "rejected",
      "fulfilled",
      "fulfilled",
    ]);
    expect(service.nowMs).toBe(2500);
    await expect(service.advance("5" as unknown as number)).rejects.toThrow("Cannot move time by a string");
  });

  test("what is no option of it, and no call that has a reply, is refused", () => {
    const refused = expect.objectContaining({ kind: "invalid-request" });
    for (const options of [null, { startMs: Number.NaN }, { startMs: -1 }, { seed: "x" }, { autocreate: true }] as object[])
      expect(() => new TestService(options)).toThrow(refused);
    for (const options of [null, { to: "bogus" }, { too: "put" }] as object[])
      expect(() => new TestService().loseReply(options)).toThrow(refused);
  });
});
