// Programs without types give what no type allows: it is refused as such, and nothing is sent.
import { describe, expect, test } from "vitest";
import { EdgeChannel, type Channel, type EdgeChannelOptions } from "../../../src/client/index.ts";
import { TestService } from "../../../src/testing/index.ts";
import { errorOf, TRANSPORTS } from "../../client-calls.ts";

const REFUSED = { kind: "invalid-request", origin: "client", outcome: "not-applied", retryable: false };
const nothing = null as unknown as undefined;
const noSignal = (signal: unknown) => ({ signal: signal as AbortSignal });

function doNothing(): void {}

type Options = { readonly signal?: AbortSignal } | undefined;

/** Calls by their names, each with options. */
const CALLS: readonly (readonly [string, (channel: Channel, options: Options) => Promise<unknown>])[] = [
  ["put", (channel, options) => channel.put("x", options)],
  ["putBatch", (channel, options) => channel.putBatch(["x"], options)],
  ["get", (channel, options) => channel.get(options)],
  ["tryGet", (channel, options) => channel.tryGet(options)],
  ["getBatch", (channel, options) => channel.getBatch(options)],
  ["pull", (channel, options) => channel.pull(options)],
  ["settle", (channel, options) => channel.settle({ acks: [] }, options)],
  ["stats", (channel, options) => channel.stats(options)],
  ["peek", (channel, options) => channel.peek(options)],
  ["browse", (channel, options) => channel.browse(options).next()],
  ["browsePage", (channel, options) => channel.browsePage(options)],
  ["read", (channel, options) => channel.read(1, options)],
  ["history", (channel, options) => channel.history(1, options)],
  ["remove", (channel, options) => channel.remove(1, options)],
  ["removeById", (channel, options) => channel.removeById("a", options)],
  ["purge", (channel, options) => channel.purge(options)],
  ["readers", (channel, options) => channel.readers(options).next()],
  ["create", (channel, options) => channel.create({}, options)],
  ["configure", (channel, options) => channel.configure({}, options)],
  ["drain", (channel, options) => channel.drain(options)],
  ["close", (channel, options) => channel.close(options)],
  ["delete", (channel, options) => channel.delete(options)],
  ["groups.list", (channel, options) => channel.groups.list(options).next()],
  ["groups.create", (channel, options) => channel.groups.create("g", options)],
  ["groups.describe", (channel, options) => channel.groups.describe("g", options)],
  ["deadLetters.list", (channel, options) => channel.deadLetters.list(options).next()],
  ["deadLetters.drop", (channel, options) => channel.deadLetters.drop({}, options)],
  ["quarantine.list", (channel, options) => channel.quarantine.list(options)],
  ["scheduled.list", (channel, options) => channel.scheduled.list(options).next()],
  ["scheduled.cancel", (channel, options) => channel.scheduled.cancel("s", options)],
  ["checkpoints", (channel, options) => channel.checkpoints(options).next()],
  ["checkpoint.read", (channel, options) => channel.checkpoint("c").read(options)],
  ["checkpoint.write", (channel, options) => channel.checkpoint("c").write("x", options)],
  ["checkpoint.delete", (channel, options) => channel.checkpoint("c").delete(options)],
  ["producer.put", (channel, options) => channel.producer().put("x", options)],
];

describe.each(TRANSPORTS)("src/client over %s", (transport) => {
  function open(): Channel {
    return new TestService().connect({ transport }).channel("jobs");
  }

  test.each(CALLS)("null options, and a signal that is none, are refused by a promise: %s", async (_, call) => {
    const channel = open();
    await channel.create();

    for (const options of [nothing, noSignal(null), noSignal("x"), noSignal({})]) {
      expect(await errorOf(call(channel, options))).toMatchObject({ ...REFUSED, message: expect.stringContaining("options") });
    }
    expect(await channel.stats()).toMatchObject({ depth: 0, state: "open" });
  });

  test("a message that is held refuses them too, and is still held", async () => {
    const channel = open();
    await channel.put("a");
    const { messages } = await channel.pull();
    const [message] = messages;

    for (const call of [
      message?.ack(nothing),
      message?.retry(nothing),
      message?.reject("r", nothing),
      message?.ack(noSignal("x")),
      message?.release({ delayMs: 5 } as object),
      message?.retry({ delay: 5 } as object),
    ])
      expect(await errorOf(Promise.resolve(call))).toMatchObject(REFUSED);
    await message?.ack();
  });

  test("what makes a stream, a consumer or a producer refuses them at once", () => {
    const channel = open();
    for (const options of [nothing, noSignal(null)]) {
      for (const make of [
        () => channel.consume(doNothing, options),
        () => channel.consume(doNothing, { batchSize: 1, ...options, ...noSignal(1) }),
        () => channel.producer(options),
        () => channel.subscribe(options),
        () => channel.presence(options),
      ])
        expect(make).toThrow(expect.objectContaining(transport === "http" ? { kind: "invalid-request" } : REFUSED));
    }
    expect(() => channel.consume(nothing as unknown as object)).not.toThrow(TypeError);
  });

  test("an idempotency key or a producer's number that is none is refused, by either side", async () => {
    const channel = open();
    await channel.create();

    for (const options of [{ idempotencyKey: 3 }, { idempotencyKey: null }, { producer: null }, { producer: {} }] as object[]) {
      const { kind, outcome, retryable } = await errorOf(channel.put("x", options));
      expect({ kind, outcome, retryable }).toEqual({ kind: "invalid-request", outcome: "not-applied", retryable: false });
    }
    expect((await channel.stats()).depth).toBe(0);
  });

  test.each(CALLS)("a name that is no option is refused, and not passed over: %s", async (_, call) => {
    const channel = open();
    await channel.create();

    const error = await errorOf(call(channel, { waitms: 5 } as object));

    expect(error).toMatchObject({ kind: "invalid-request", outcome: "not-applied", message: expect.stringContaining("waitms") });
    expect(await channel.stats()).toMatchObject({ depth: 0, state: "open" });
  });

  test("so is one for a stream, a consumer or a producer, and what cannot be called back", () => {
    const channel = open();
    const stream =
      transport === "http"
        ? []
        : [() => channel.subscribe({ form: { at: "first" } } as object), () => channel.subscribe({ credit: 5 } as object)];
    for (const make of [
      ...stream,
      () => channel.consume({ bogus: 1 } as object),
      () => channel.consume(doNothing, { onError: 5 } as object),
      () => channel.consume(doNothing, { onRetry: doNothing } as object),
      () => channel.producer({ linger: 1 } as object),
      () => channel.producer({ onRetry: "x" } as object),
    ])
      expect(make).toThrow(expect.objectContaining(REFUSED));
  });

  test("a condition of a checkpoint that is none is refused, and nothing is written", async () => {
    const channel = open();
    await channel.create();
    const checkpoint = channel.checkpoint("c");
    await checkpoint.write("v1");
    await checkpoint.write("v2");

    for (const options of [{ ifmatch: 1 }, { ifMatch: "7" }, { ifMatch: null }, { contentType: "" }] as object[]) {
      expect(await errorOf(checkpoint.write("stale", options))).toMatchObject({ kind: "invalid-request" });
    }
    expect(await errorOf(checkpoint.delete({ ifmatch: 1 } as object))).toMatchObject({ kind: "invalid-request" });
    expect(await checkpoint.read()).toMatchObject({ version: 2, value: "v2" });
    for (const name of [null, 5])
      expect(() => channel.checkpoint(name as unknown as string)).toThrow(expect.objectContaining(REFUSED));
  });

  test("an ack that is none is refused, and nothing is taken", async () => {
    const channel = open();
    await channel.put("a");

    for (const ack of ["Server", 5, null, {}] as "server"[]) expect(await errorOf(channel.get({ ack }))).toMatchObject(REFUSED);
    expect((await channel.stats()).depth).toBe(1);
  });

  test("a put of a producer whose signal was aborted before is not applied", async () => {
    const channel = open();
    const aborted = channel.producer({ signal: AbortSignal.abort("enough") });
    const abort = new AbortController();
    const producer = channel.producer({ signal: abort.signal });
    await producer.put("a");
    abort.abort("enough");

    for (const late of [aborted, producer])
      expect(await errorOf(late.put("b"))).toMatchObject({ kind: "aborted", outcome: "not-applied", cause: "enough" });
    expect((await channel.stats()).depth).toBe(1);
  });

  test("[DD4] a program that takes id and epoch of another one is told that its first puts are that one's", async () => {
    const channel = open();
    const mark = { id: "p", epoch: 1 };

    expect(await channel.producer(mark).put("first")).toEqual({ offset: 1, isDuplicate: false });
    expect(await channel.producer(mark).put("other")).toEqual({ offset: 1, isDuplicate: true });
    expect(await channel.producer({ ...mark, epoch: 2 }).put("third")).toEqual({ offset: 2, isDuplicate: false });
  });
});

test("a client is not made with options that are none", () => {
  const url = "http://service.test";
  for (const options of [null, "socket", { transport: "bogus" }, { token: "a\r\nb" }, { token: 3 }]) {
    const refused = expect.objectContaining(REFUSED);
    expect(() => EdgeChannel.connect(url, options as EdgeChannelOptions)).toThrow(refused);
  }
});
