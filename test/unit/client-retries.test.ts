// Which calls are repeated, how often, and after which pauses. Timers go off at once.
import { describe, expect, test } from "vitest";
import { type Channel, EdgeChannel, type EdgeChannelOptions, type StartTimer } from "../../src/client/index.ts";
import type { Refusal } from "../../src/protocol/problems.ts";
import { errorOf } from "../client-calls.ts";
import { FakeTimers, goOffAtOnce, STATE } from "./client-doubles.ts";
import { type Answer, failOnTheWay, FakeService, replyJson, replyPage, replyProblem } from "./fake-service.ts";

const STORED = { offset: 1, count: 1, state: STATE };
const UNAVAILABLE: Refusal = { kind: "unavailable", outcome: "not-applied", retryAfterMs: 1000 };
const KEY = { idempotencyKey: "k" };

interface Opened {
  readonly service: FakeService;
  readonly channel: Channel;
  readonly pausesMs: readonly number[];
}

function open(answers: readonly Answer[], options: EdgeChannelOptions = {}): Opened {
  const service = new FakeService(...answers);
  const pausesMs: number[] = [];
  const startTimer: StartTimer = (callback, delayMs) => {
    pausesMs.push(delayMs);
    return goOffAtOnce(callback, delayMs);
  };
  const client = EdgeChannel.connect("http://service.test", { fetch: service.fetch, random: () => 0.5, startTimer, ...options });
  return { service, channel: client.channel("c"), pausesMs };
}

describe("src/client/retries", () => {
  test("a read is repeated after pauses that grow and are spread, as often as is said", async () => {
    const failing = Array.from({ length: 4 }, () => failOnTheWay);
    const { service, channel, pausesMs } = open(failing);
    const error = await errorOf(channel.stats());

    expect(error).toMatchObject({ kind: "connection-lost", outcome: "not-applied" });
    expect(service.sent).toHaveLength(4);
    expect(pausesMs).toEqual([50, 100, 200]);

    const never = open([failOnTheWay], { retries: 0 });
    await errorOf(never.channel.peek());
    expect(never.service.sent).toHaveLength(1);
  });

  test("pauses end to grow", async () => {
    const failing = Array.from({ length: 12 }, () => failOnTheWay);
    const { channel, pausesMs } = open(failing, { retries: 11, random: () => 1 });
    await errorOf(channel.stats());

    expect(pausesMs).toEqual([100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000, 10_000, 10_000]);
  });

  test("the pause that the server asks for comes on top; a long one is left to the caller", async () => {
    const { channel, pausesMs } = open([
      replyProblem(UNAVAILABLE),
      replyPage(503, { "Retry-After": "2" }),
      replyProblem({ ...UNAVAILABLE, retryAfterMs: 30_001 }),
    ]);

    expect(await errorOf(channel.stats())).toMatchObject({ kind: "unavailable", retryAfterMs: 30_001 });
    expect(pausesMs).toEqual([1050, 2100]);
  });

  test.each([
    ["a key", KEY],
    ["a producer's number", { producer: { id: "p", epoch: 0, seq: 1 } }],
  ])("[G9] a put with %s is repeated, also where it may have been stored", async (_, options) => {
    const { service, channel } = open([
      failOnTheWay,
      replyProblem({ kind: "internal", outcome: "unknown" }),
      replyJson({ ...STORED, duplicate: true }, 201),
    ]);

    expect((await channel.put("a", options)).isDuplicate).toBe(true);
    expect(new Set(service.sent.map((request) => JSON.stringify(request))).size).toBe(1);
    expect(service.sent).toHaveLength(3);
  });

  test("nothing else is sent twice", async () => {
    const changes: readonly ((channel: Channel) => Promise<unknown>)[] = [
      (channel) => channel.put("a", { expectedOffset: 1 }),
      (channel) => channel.putBatch(["a"]),
      (channel) => channel.get(),
      (channel) => channel.get({ ack: "server" }),
      (channel) => channel.pull(),
      (channel) => channel.settle({ acks: [{ leaseId: "l" }] }),
      (channel) => channel.purge(),
      (channel) => channel.create(),
      (channel) => channel.checkpoint("at").write("x"),
      (channel) => channel.deadLetters.redrive(),
      (channel) => channel.groups.create("g"),
    ];
    for (const change of changes) {
      const { service, channel, pausesMs } = open([failOnTheWay]);
      expect(await errorOf(change(channel))).toMatchObject({ kind: "connection-lost", outcome: "unknown" });
      expect([service.sent.length, pausesMs]).toEqual([1, []]);
    }
  });

  test("what says that it will not pass is not repeated, nor is a full channel: that is what waits are for", async () => {
    const full: Refusal = { kind: "channel-full", retryAfterMs: 1, depth: 1, maxMessages: 1, bytes: 1, maxBytes: 1 };
    const refusals: readonly Refusal[] = [full, { kind: "channel-closed" }, { kind: "no-readers", retryAfterMs: 1 }];
    for (const refusal of refusals) {
      const { service, channel } = open([replyProblem(refusal)]);
      expect(await errorOf(channel.put("a", KEY))).toMatchObject({ kind: refusal.kind, outcome: "not-applied" });
      expect(service.sent).toHaveLength(1);
    }
  });

  test("a refusal does not undo that an earlier try may have been stored", async () => {
    const { channel } = open([failOnTheWay, replyProblem({ kind: "channel-closed" })]);

    expect(await errorOf(channel.put("a", KEY))).toMatchObject({ kind: "channel-closed", status: 410, outcome: "unknown" });
  });

  test.each([
    ["retries", [Number.NaN, -1, 1.5, Infinity, 1_000_001, "3"]],
    ["connectMsMax", [Number.NaN, 0, 1.5, Infinity, 600_001, "3"]],
  ])("what is no number for %s is refused at once", (name, values) => {
    for (const value of values) {
      expect(() => EdgeChannel.connect("http://service.test", { [name]: value })).toThrow(
        expect.objectContaining({ kind: "invalid-request", message: expect.stringContaining(`as ${name}:`) as string }) as Error,
      );
    }
  });

  test("an abort ends the pause, and with it the call", async () => {
    const timers = new FakeTimers();
    const abort = new AbortController();
    const { service, channel } = open([failOnTheWay], { startTimer: timers.start });
    const putting = errorOf(channel.put("a", { ...KEY, signal: abort.signal }));
    await new Promise(setImmediate);
    expect(timers.count).toBe(1);
    abort.abort("enough");

    expect(await putting).toMatchObject({ kind: "aborted", outcome: "unknown", cause: "enough" });
    expect([service.sent.length, timers.count]).toEqual([1, 0]);
  });
});
