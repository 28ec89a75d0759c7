// Faults that a test lets happen: a reply that gets lost, leases that end, a deployment.
import { describe, expect, test } from "vitest";
import { EdgeChannelError } from "../../../src/client/index.ts";
import { TestService } from "../../../src/testing/index.ts";
import { TRANSPORTS } from "../../client-calls.ts";

async function failureOf(promise: Promise<unknown>): Promise<unknown> {
  return await promise.then(
    () => undefined,
    (error: unknown) => (error instanceof EdgeChannelError ? { kind: error.kind, outcome: error.outcome } : error),
  );
}

describe.each(TRANSPORTS)("src/testing: faults over %s", (transport) => {
  test("[TE3] the reply to a put gets lost: it is stored, and the call does not know", async () => {
    const service = new TestService();
    const channel = service.connect({ transport, retries: 0 }).channel("jobs");
    service.loseReply({ to: "put" });

    const failure = await failureOf(channel.put("once"));

    expect(failure).toMatchObject({ outcome: "unknown" });
    const [message] = await service.connect().channel("jobs").getBatch({ max: 5 });
    expect(message).toMatchObject({ body: "once", offset: 1 });
  });

  test("[TE3] a fault is meant for one call of its kind and channel, and for no other", async () => {
    const service = new TestService();
    const client = service.connect({ transport, retries: 0 });
    service.loseReply({ channel: "b", to: "pull" });

    await client.channel("a").put("of another channel");
    await client.channel("b").put("of another kind");
    await client.channel("a").pull();
    const failure = await failureOf(client.channel("b").pull());

    expect(failure).toMatchObject({ outcome: "unknown" });
    expect((await service.connect().channel("b").stats()).counts).toMatchObject({ put: 1 });
  });

  test("[TE3] [G9] an idempotent producer puts once, though a reply was lost", async () => {
    const service = new TestService();
    const channel = service.connect({ transport }).channel("jobs");
    const producer = channel.producer();
    service.loseReply({ to: "put" });

    const putting = producer.put("once");
    await service.advance(60_000);

    expect(await putting).toMatchObject({ offset: 1 });
    await producer.close();
    expect(await channel.stats()).toMatchObject({ depth: 1 });
  });

  test("[TE3] what else is asked for is done too, though its reply was lost", async () => {
    const service = new TestService();
    const channel = service.connect({ transport, retries: 0 }).channel("jobs");
    await channel.putBatch(["settled", "gone"]);
    const { messages } = await channel.pull({ detached: true });
    for (const to of ["settle", "get", "other"] as const) service.loseReply({ to });

    const failures = [
      await failureOf(messages[0]?.ack() ?? Promise.resolve()),
      await failureOf(channel.get({ ack: "server" })),
      await failureOf(channel.checkpoint("place").write("here")),
    ];

    expect(failures).toEqual(Array.from({ length: 3 }, () => ({ kind: "connection-lost", outcome: "unknown" })));
    expect((await channel.stats()).counts).toMatchObject({ put: 2, acked: 2 });
    expect(await channel.checkpoint("place").read()).toMatchObject({ value: "here" });
  });

  test("[TE3] a call that is refused did nothing: its reply comes, and the next one gets lost", async () => {
    const service = new TestService();
    const channel = service.connect({ transport, retries: 0 }).channel("jobs");
    await channel.create({ maxMessages: 1 });
    service.loseReply({ to: "put" });

    const failures = [
      await failureOf(channel.put("first", { expectedOffset: 7 })),
      await failureOf(channel.put("first")),
      await failureOf(channel.put("second")),
    ];

    expect(failures).toMatchObject([
      { kind: "offset-conflict", outcome: "not-applied" },
      { outcome: "unknown" },
      { kind: "channel-full", outcome: "not-applied" },
    ]);
  });

  test("[TE4] a consumer that is at work keeps its lease while time passes, and loses it when it stands still", async () => {
    const service = new TestService();
    const channel = service.connect({ transport }).channel("jobs");
    const attempts: number[] = [];
    const work: (() => void)[] = [];
    await channel.put("slow");
    const consumer = channel.consume(
      async ({ attempt }) => {
        attempts.push(attempt);
        await new Promise<void>((resolve) => work.push(resolve));
      },
      { concurrency: 2 },
    );

    await service.advance(120_000);
    expect(attempts).toEqual([1]);
    await service.expireLeases();
    await service.advance(60_000);
    expect(attempts).toEqual([1, 2]);

    for (const finish of work) finish();
    await service.advance(60_000);
    expect((await channel.stats()).counts).toMatchObject({ acked: 1 });
    await consumer.stop();
  });

  test("[TE5] calls that wait while code is replaced fail, and tell what they know", async () => {
    const service = new TestService();
    const channel = service.connect({ transport, retries: 0 }).channel("jobs");
    await channel.create({ maxMessages: 1 });
    await channel.put("fills it");
    const putting = failureOf(channel.put("no room", { waitMs: 10_000 }));
    const other = service.connect({ transport, retries: 0 }).channel("empty");
    const getting = failureOf(other.transport.get({ waitMs: 10_000 }));
    await service.advance(1_000);

    await service.deploy();

    expect(await putting).toMatchObject({ outcome: "not-applied" });
    expect(await getting).toMatchObject({ outcome: "unknown" });
    expect(await channel.stats()).toMatchObject({ depth: 1, waiters: 0 });
  });

  test("[TE5] what is due later comes due in the new code", async () => {
    const service = new TestService();
    const channel = service.connect({ transport }).channel("jobs");
    await channel.put({ body: "later", delayMs: 60_000 });
    await channel.put("leased");
    await channel.pull({ detached: true });

    await service.deploy();
    await service.advance(60_000);

    const { messages } = await channel.pull({ max: 5 });
    expect(messages.map(({ body, attempt }) => [body, attempt])).toEqual([
      ["leased", 2],
      ["later", 1],
    ]);
  });

  test("[TE4] [G3] leases that ended are lost, and their messages are handed out again", async () => {
    const service = new TestService();
    const channel = service.connect({ transport }).channel("jobs");
    await channel.put("slow");
    const { messages } = await channel.pull({ leaseMs: 30_000 });

    await service.expireLeases();

    expect(await failureOf(messages[0]?.ack() ?? Promise.resolve())).toMatchObject({ kind: "lease-lost" });
    expect((await channel.pull()).messages).toMatchObject([{ body: "slow", attempt: 2, redelivered: true }]);
  });

  test("[TE5] what was stored is there after a deployment, also for who was connected before", async () => {
    const service = new TestService();
    const channel = service.connect({ transport }).channel("jobs");
    await channel.put("before");

    await service.deploy();
    const taking = channel.get();
    await service.advance(60_000);

    expect(await taking).toMatchObject({ body: "before" });
  });

  test("[TE5] a consumer goes on after a deployment, and acks each message once", async () => {
    const service = new TestService();
    const channel = service.connect({ transport }).channel("jobs");
    const seen: unknown[] = [];
    const consumer = channel.consume(({ body }) => void seen.push(body));
    await channel.put("before");
    await service.advance(0);

    await service.deploy();
    const putting = channel.put("after", { idempotencyKey: "k" });
    await service.advance(60_000);
    await putting;
    await service.advance(60_000);

    expect(seen).toEqual(["before", "after"]);
    expect(await channel.stats()).toMatchObject({ depth: 0, counts: { acked: 2 } });
    await consumer.stop();
  });
});

describe("src/testing: faults", () => {
  test("[TE5] the leases of a connection that was cut are over when its grace is", async () => {
    const service = new TestService();
    const channel = service.connect({ transport: "socket" }).channel("jobs");
    await channel.put("held");
    await channel.pull();

    await service.deploy();
    const atOnce = await channel.pull();
    await service.advance(10_000);

    expect(atOnce.messages).toEqual([]);
    expect((await channel.pull()).messages).toMatchObject([{ body: "held", redelivered: true }]);
  });

  test("[TE5] what a consumer was sent is handed at once to who asks first after a deployment, redelivered", async () => {
    const service = new TestService();
    const channel = service.connect({ transport: "socket" }).channel("jobs");
    const stopping = new AbortController();
    const consumer = channel.consume(() => new Promise((resolve) => stopping.signal.addEventListener("abort", resolve)));
    await channel.put("held");
    await service.advance(0);
    expect(await channel.stats()).toMatchObject({ delivery: { leased: 1 } });

    await service.deploy();
    const { messages } = await service.connect({ transport: "http" }).channel("jobs").pull();

    expect(messages).toMatchObject([{ body: "held", attempt: 1, redelivered: true }]);
    stopping.abort();
    const stopped = consumer.stop();
    await service.advance(60_000);
    await stopped;
  });

  test("[TE5] a subscription to a log goes on where it was after a deployment", async () => {
    const service = new TestService();
    const channel = service.connect({ transport: "socket" }).channel("events");
    await channel.create({ retention: "log" });
    const subscription = channel.subscribe({ from: { at: "first" } })[Symbol.asyncIterator]();
    await channel.put("1");
    const first = subscription.next();
    await service.advance(0);

    await service.deploy();
    const second = subscription.next();
    await service.advance(60_000);
    await channel.put("2");
    await service.advance(60_000);

    expect([await first, await second]).toMatchObject([
      { done: false, value: { body: "1", offset: 1 } },
      { done: false, value: { body: "2", offset: 2 } },
    ]);
    await subscription.return?.();
  });

  test("the example of TESTING.md: an order that cannot be packed is tried again", async () => {
    const service = new TestService();
    const orders = service.connect({ transport: "socket" }).channel("orders");
    const attempts: number[] = [];
    await orders.put({ json: { order: 7 } });
    orders.consume(({ attempt }) => {
      attempts.push(attempt);
      if (attempt === 1) throw new Error("No box");
    });

    await service.advance(60_000);

    expect(attempts).toEqual([1, 2]);
  });
});
