// The client against the real worker: everything a channel offers, over HTTP and over sockets.
import { env } from "cloudflare:workers";
import { assert, describe, expect, onTestFinished, test } from "vitest";
import { type Channel, EdgeChannel, upgradeWith } from "../../src/client/index.ts";
import { registerChannel } from "../../src/object/directory.ts";
import { DEFAULT_SETTINGS } from "../../src/protocol/settings.ts";
import { collect, errorOf, TRANSPORTS, type TransportName } from "../client-calls.ts";
import { fetchFromWorker, freshChannel, ORIGIN } from "./service.ts";

function connect(transport: TransportName): EdgeChannel {
  const options = { fetch: fetchFromWorker, openSocket: upgradeWith(fetchFromWorker), retries: 0 };
  const client = EdgeChannel.connect(ORIGIN, { transport, ...options });
  onTestFinished(() => client.close());
  return client;
}

function openChannel(transport: TransportName): Channel {
  return connect(transport).channel(freshChannel());
}

describe.each(TRANSPORTS)("src/client over %s: messages", (transport) => {
  test("bodies come back in the form in which they were put, with all that belongs to them", async () => {
    const channel = openChannel(transport);
    const facts = { key: "k é", messageId: "m", headers: { trace: "ü" }, ttlMs: 60_000 };

    const receipt = await channel.putBatch(["t\u0000", new Uint8Array([0, 255]), { json: { a: [null] } }]);
    await channel.put({ body: "own", contentType: "application/json", ...facts });
    const messages = await channel.getBatch({ min: 4, max: 10 });

    expect(receipt).toMatchObject({ offset: 1, count: 3, isDuplicate: false, state: { depth: 3 } });
    expect(messages.map(({ body }) => body)).toEqual(["t\u0000", new Uint8Array([0, 255]), { json: { a: [null] } }, "own"]);
    expect(messages[3]).toMatchObject({ offset: 4, contentType: "application/json", ...facts });
    expect((await channel.stats()).counts).toMatchObject({ put: 4, acked: 4 });
  });

  test("[G9] a put that is sent again with its key or its number is told to be a duplicate", async () => {
    const channel = openChannel(transport);
    const producer = { id: "p", epoch: 1, seq: 1 };

    const receipts = [];
    for (const options of [{ idempotencyKey: String.raw`a "b\c"` }, { producer }]) {
      receipts.push(await channel.put("x", options), await channel.put("x", options));
    }

    expect(receipts.map(({ offset, isDuplicate }) => [offset, isDuplicate])).toEqual([
      [1, false],
      [1, true],
      [2, false],
      [2, true],
    ]);
    expect(await errorOf(channel.put("y", { expectedOffset: 9 }))).toMatchObject({ kind: "offset-conflict", status: 409 });
  });

  test("a put waits for room, and a full channel refuses it with what is known of it", async () => {
    const channel = openChannel(transport);
    await channel.create({ maxMessages: 1 });
    await channel.put("a");

    const refusal = await errorOf(channel.put("b"));
    const waiting = channel.put("b", { waitMs: 30_000, reserve: true });
    const first = await channel.get();
    const receipt = await waiting;

    expect(refusal).toMatchObject({ kind: "channel-full", status: 429, retryable: true, outcome: "not-applied" });
    expect(refusal.retryAfterMs).toBeGreaterThan(0);
    expect(first.body).toBe("a");
    expect(receipt).toMatchObject({ offset: 2, count: 1 });
    expect((await channel.get({ ack: "server" })).body).toBe("b");
  });

  test("room that is asked for first is as large as the put", async () => {
    const channel = openChannel(transport);
    const message = { body: { json: { é: 1 } }, key: "ké", messageId: "m", headers: { a: "ü" }, contentType: "x/y" };
    const sizes = openChannel(transport);
    const { bytes } = (await sizes.put(message)).state;
    await channel.create({ maxBytes: bytes });

    await channel.put(message, { reserve: true });

    expect((await channel.stats()).bytes).toBe(bytes);
  });

  test("a get waits for a message; without one it says so", async () => {
    const channel = openChannel(transport);

    const waiting = channel.get({ waitMs: 30_000 });
    await channel.put("a");
    const message = await waiting;

    expect(message.body).toBe("a");
    expect(await errorOf(channel.get())).toMatchObject({ kind: "empty", retryable: true, outcome: "not-applied" });
    expect(await channel.tryGet({ ack: "server" })).toBeUndefined();
    expect(await channel.getBatch({ min: 1, max: 2 })).toEqual([]);
  });

  test("an aborted get takes nothing", async () => {
    const channel = openChannel(transport);
    await channel.create();
    const abort = new AbortController();

    const waiting = errorOf(channel.get({ waitMs: 30_000, signal: abort.signal }));
    while ((await channel.stats()).waiting.gets === 0);
    abort.abort("enough");

    expect(await waiting).toMatchObject({ kind: "aborted", cause: "enough" });
    while ((await channel.stats()).waiting.gets > 0);
    await channel.put("a");
    expect((await channel.get()).body).toBe("a");
  });

  test("pulled messages are settled one by one, each in its way", async () => {
    const channel = openChannel(transport);
    await channel.putBatch(["ack", "retry", "extend", "reject", "release"]);

    const { messages, leaseUntilMs } = await channel.pull({ max: 5, leaseMs: 60_000, reader: "r" });
    expect((await collect(channel.browse())).length).toBe(5);
    const [acked, retried, extended, rejected, released] = messages;
    assert(acked && retried && extended && rejected && released);
    await acked.ack();
    await retried.retry({ delayMs: 0, reason: "later" });
    await extended.extend(120_000);
    await rejected.reject("bad");
    await released.release();

    expect(leaseUntilMs).toBeGreaterThan(acked.putAtMs);
    expect(messages.map(({ attempt, redelivered }) => [attempt, redelivered])).toEqual(messages.map(() => [1, false]));
    expect(await errorOf(acked.ack())).toMatchObject({
      kind: "lease-lost",
      problem: { cause: "settled" },
      outcome: "not-applied",
    });
    const again = await channel.pull({ max: 5 });
    expect(again.messages.map(({ body, attempt }) => [body, attempt])).toEqual([
      ["retry", 2],
      ["release", 1],
    ]);
    const [letter] = await collect(channel.deadLetters.list());
    expect(letter).toMatchObject({ offset: 4, body: "reject", reason: "bad", attempts: 1 });
    expect((await channel.history(2)).groups[0]).toMatchObject({ events: [{ reader: "r", reason: "later" }, {}] });
  });

  test("[G8] a settle call carries a checkpoint and puts, all or nothing", async () => {
    const channel = openChannel(transport);
    await channel.putBatch(["a", "b"]);
    const { messages } = await channel.pull({ max: 2 });
    const checkpoint = { name: "done", value: { json: 2 }, ifNoneMatch: "*" } as const;

    const report = await channel.settle({ acks: messages, checkpoint, puts: ["c", { body: "d", key: "k" }] });
    const refused = await errorOf(channel.settle({ acks: messages, checkpoint }));

    expect(report).toMatchObject({ acked: 2, refused: [], checkpointVersion: 1, putOffset: 3, state: { depth: 2 } });
    expect(refused).toMatchObject({ kind: "settle-refused", retryable: false });
    expect(await channel.checkpoint("done").read()).toMatchObject({ version: 1, value: { json: 2 } });
    expect((await channel.getBatch({ max: 5 })).map(({ body }) => body)).toEqual(["c", "d"]);
  });

  test("a log hands every message to each group", async () => {
    const channel = openChannel(transport);
    await channel.create({ retention: "log" });
    await channel.groups.create("g");
    await channel.groups.create("h", { start: { at: "first" }, settings: { maxAttempts: 2 } });
    await channel.put("a");

    expect((await channel.get({ group: "g" })).body).toBe("a");
    expect((await channel.get({ group: "h", ack: "server" })).body).toBe("a");
    await channel.groups.seek("g", { offset: 1 });
    expect((await channel.get({ group: "g" })).body).toBe("a");
    expect((await channel.groups.pause("g")).isPaused).toBe(true);
    expect((await channel.groups.resume("g")).isPaused).toBe(false);
    expect((await channel.groups.configure("g", { maxAttempts: 3 })).settings.maxAttempts).toBe(3);
    expect((await channel.groups.describe("h")).settings.maxAttempts).toBe(2);
    const groups = await collect(channel.groups.list({ pageSize: 1 }));
    expect(groups.map(({ group }) => group)).toEqual(["g", "h"]);
    await channel.groups.delete("g");
    expect(await errorOf(channel.get({ group: "g" }))).toMatchObject({ kind: "unknown-group" });
  });

  test("what HTTP alone offers is there as well", async () => {
    const channel = openChannel(transport);
    await channel.create({ maxMessages: 100 });
    await channel.putBatch(["a", { body: "b", messageId: "é/b" }, "c", "d"]);

    expect((await channel.peek())?.body).toBe("a");
    expect((await channel.read(2))?.body).toBe("b");
    expect(await channel.removeById("é/b")).toBe(2);
    expect(await channel.read(2)).toBeUndefined();
    await channel.remove(1);
    expect((await collect(channel.browse({ pageSize: 1 }))).map(({ body }) => body)).toEqual(["c", "d"]);
    expect((await channel.configure({ maxMessages: 50 })).limits.maxMessages).toBe(50);
    expect((await channel.browsePage()).controls).toMatchObject([{ offset: 5, control: { type: "resize", maxMessages: 50 } }]);
    expect(await channel.purge()).toBe(2);
    expect(await channel.peek()).toBeUndefined();
    expect(await errorOf(channel.remove(1))).toMatchObject({ kind: "unknown-message", status: 404 });
    expect(await errorOf(channel.create({ maxMessages: 1 }))).toMatchObject({ kind: "settings-conflict", retry: "refetch" });
  });
});

describe.each(TRANSPORTS)("src/client over %s: checkpoints", (transport) => {
  test("checkpoints are read, written on conditions and deleted", async () => {
    const channel = openChannel(transport);
    await channel.create();
    const checkpoint = channel.checkpoint("at");

    expect(await checkpoint.read()).toBeUndefined();
    expect(await checkpoint.write({ json: { at: 7 } }, { ifNoneMatch: "*" })).toMatchObject({ name: "at", version: 1 });
    expect(await checkpoint.read()).toMatchObject({ version: 1, contentType: "application/json", value: { json: { at: 7 } } });
    expect(await errorOf(checkpoint.write("x", { ifNoneMatch: "*" }))).toMatchObject({
      kind: "checkpoint-conflict",
      problem: { current: 1 },
    });
    await checkpoint.write("text", { ifMatch: 1 });
    expect((await checkpoint.read())?.value).toBe("text");
    await checkpoint.write(new Uint8Array([0, 255]), { ifMatch: "*" });
    expect((await checkpoint.read())?.value).toEqual(new Uint8Array([0, 255]));
    await checkpoint.write("{", { contentType: "application/json" });
    expect((await checkpoint.read())?.value).toEqual(new TextEncoder().encode("{"));
    await checkpoint.write("\u0001", { contentType: "text/plain" });
    expect((await checkpoint.read())?.value).toBe("\u0001");
    await channel.checkpoint("b").write("");
    expect((await collect(channel.checkpoints({ pageSize: 1 }))).map(({ name }) => name)).toEqual(["at", "b"]);
    await checkpoint.delete({ ifMatch: 5 });
    expect(await errorOf(checkpoint.delete())).toMatchObject({ kind: "unknown-checkpoint" });
  });
});

describe("src/client: what HTTP alone offers", () => {
  test("delayed messages are listed and cancelled", async () => {
    const channel = openChannel("http");
    const receipt = await channel.putBatch(["a", "b"].map((body, index) => ({ body, delayMs: 60_000 + index })));

    const listed = await collect(channel.scheduled.list({ pageSize: 1 }));
    assert(listed[0] !== undefined);
    await channel.scheduled.cancel(listed[0].scheduledId);

    expect(receipt).toMatchObject({ offset: null, count: 0 });
    expect(listed.map(({ body, scheduledId }) => [body, scheduledId])).toEqual(
      receipt.scheduled?.map(({ index, scheduledId }) => [["a", "b"][index], scheduledId]),
    );
    expect((await collect(channel.scheduled.list())).map(({ body }) => body)).toEqual(["b"]);
    expect(await errorOf(channel.scheduled.cancel(listed[0].scheduledId))).toMatchObject({ kind: "unknown-scheduled" });
  });

  test("dead letters are put again, at once or by a job, or dropped", async () => {
    const channel = openChannel("http");
    await channel.create({ delivery: { maxAttempts: 1 } });
    await channel.putBatch(["a", "b", "c"]);
    const { messages } = await channel.pull({ max: 3 });
    for (const [index, message] of messages.entries()) await message.reject(`bad ${index}`);

    expect(await channel.deadLetters.drop({ reason: "bad 0" })).toMatchObject({ moved: 1 });
    expect(await channel.deadLetters.redrive({ offset: 2 })).toMatchObject({ moved: 1 });
    expect(await channel.get()).toMatchObject({ body: "b", redrivenFrom: 2 });
    expect(await collect(channel.deadLetters.list({ reason: "bad 2", pageSize: 1 }))).toMatchObject([{ body: "c" }]);
    expect(await channel.deadLetters.beginRedrive(1, { offset: 99 })).toMatchObject({ ratePerSecond: 1, moved: 0 });
    expect(await errorOf(channel.deadLetters.beginRedrive(1))).toMatchObject({ kind: "redrive-running" });
    expect(await channel.deadLetters.stopRedrive()).toMatchObject({ ratePerSecond: 1 });
    expect(await errorOf(channel.deadLetters.stopRedrive())).toMatchObject({ kind: "unknown-redrive" });
  });

  test("quarantined messages are shown, released and dropped", async () => {
    const channel = openChannel("http");
    await channel.create({ delivery: { maxAttempts: 1, onExhausted: "quarantine" } });
    await channel.put({ body: "a", key: "k" });
    const exhaust = async (): Promise<void> => {
      const { messages } = await channel.pull();
      await messages[0]?.retry({ delayMs: 0 });
    };
    await exhaust();

    expect(await channel.quarantine.list()).toMatchObject([{ offset: 1, body: "a", attempts: 1 }]);
    expect(await channel.quarantine.release({ offset: 1 })).toMatchObject({ moved: 1 });
    await exhaust();
    expect(await channel.quarantine.drop({ key: "k" })).toMatchObject({ moved: 1 });
    expect(await channel.quarantine.list({ max: 1 })).toEqual([]);
  });

  test("a channel drains, closes, opens again and is deleted", async () => {
    const channel = openChannel("http");
    await channel.put("a");

    expect((await channel.drain()).state).toBe("draining");
    expect(await errorOf(channel.put("b"))).toMatchObject({ kind: "channel-draining", status: 410, retryable: false });
    expect((await channel.configure({ state: "open" })).state).toBe("open");
    expect((await channel.close()).state).toBe("closed");
    expect(await errorOf(channel.put("b"))).toMatchObject({ kind: "channel-closed" });
    expect(await channel.delete({ graceMs: 60_000 })).toMatchObject({ state: "draining" });
    expect(await channel.delete({ force: true })).toEqual({ state: "deleted", droppedMessages: 1 });
    expect(await errorOf(channel.stats())).toMatchObject({ kind: "channel-deleted" });
  });

  test("the channels of the service are listed page by page", async () => {
    const prefix = freshChannel();
    const entry = { version: 1, createdAtMs: 1, settings: DEFAULT_SETTINGS };
    for (const end of ["a", "b", "c"]) await registerChannel(env.DIRECTORY, { ...entry, channel: `${prefix}${end}` });

    const entries = await collect(connect("http").channels({ prefix, after: `${prefix}a`, pageSize: 1 }));

    expect(entries.map(({ channel }) => channel)).toEqual([`${prefix}b`, `${prefix}c`]);
    expect(entries[0]).toMatchObject({ createdAtMs: 1, settings: DEFAULT_SETTINGS });
  });

  test("a name that no address can hold is refused on this side", async () => {
    const client = connect("http");

    for (const name of ["", ".", "..", "\ud800"]) {
      expect(await errorOf(client.channel(name).stats())).toMatchObject({ kind: "invalid-request", origin: "client" });
    }
    expect(await errorOf(client.channel("a/b").stats())).toMatchObject({
      kind: "invalid-request",
      origin: "server",
      status: 400,
    });
  });
});

describe("src/client over socket: connections", () => {
  test("the same name is the same connection, which the next call opens again", async () => {
    const client = connect("socket");
    const name = freshChannel();
    await Promise.all([client.channel(name).put("a"), client.channel(name).put("b")]);

    expect((await client.channel(name).stats()).connections).toBe(1);
    await client.close();
    expect((await client.channel(name).put("c")).offset).toBe(3);
  });

  test("an upgrade that is refused says why", async () => {
    const client = connect("socket");

    expect(await errorOf(client.channel("a b").put("a"))).toMatchObject({
      kind: "invalid-request",
      status: 400,
      outcome: "not-applied",
    });
  });
});
