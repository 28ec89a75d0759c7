// A consumer over sockets and timers that the test drives by hand.
import { describe, expect, test } from "vitest";
import { RetryError } from "../../src/client/handler-errors.ts";
import { formatProblem } from "../../src/protocol/problem-format.ts";
import type { Refusal } from "../../src/protocol/problems.ts";
import { errorOf } from "../client-calls.ts";
import {
  FIRST_ATTEMPT,
  firstSocket,
  greet,
  HeldCalls,
  isSettled,
  KEEP_ALIVE_TIMERS,
  lastSocket,
  loseConnection,
  openTimedChannel,
  reconnect,
  SETTLED,
  settleDown,
  STATE,
  TEXT_FACTS,
} from "./client-doubles.ts";

const LEASE_MS = 30_000;
const RENEWAL_MS = LEASE_MS / 3;
const FACTS = { ...TEXT_FACTS, ...FIRST_ATTEMPT };

interface Sent {
  readonly type: string;
  readonly id: number;
  readonly [list: string]: unknown;
}

function open() {
  return openTimedChannel({ retries: 1 });
}

/** Answers the subscription; what was sent before is forgotten. */
async function begin(): Promise<void> {
  await greet(await firstSocket());
  lastSocket().receive({ type: "subscribed", id: 1 });
  await settleDown();
  lastSocket().sent.length = 0;
}

async function deliver(texts: readonly string[], keys: readonly string[] = []): Promise<void> {
  const messages = texts.map((text, index) => {
    const key = keys[index];
    return { offset: Number(text), ...FACTS, leaseId: `l${text}`, text, ...(key !== undefined && { key }) };
  });
  lastSocket().receive({ type: "deliver", id: 1, messages, bytes: 10 * texts.length, leaseUntilMs: 9, state: STATE });
  await settleDown();
}

function sent(): Sent[] {
  return lastSocket().sent as readonly object[] as Sent[];
}

/** Settle frames by verb and lease. */
function settles(): string[][] {
  const verbs = ["acks", "retries", "extends", "rejects", "releases"];
  return sent()
    .filter(({ type }) => type === "settle")
    .map((frame) =>
      verbs.flatMap((verb) => ((frame[verb] ?? []) as { leaseId: string }[]).map(({ leaseId }) => `${verb} ${leaseId}`)),
    );
}

async function answer(refused: Readonly<Record<string, Refusal>> = {}): Promise<void> {
  const { id } = sent().findLast(({ type }) => type === "settle") ?? {};
  const problems = Object.entries(refused).map(([pointer, refusal]) => ({ pointer, problem: formatProblem(refusal) }));
  lastSocket().receive({ type: "settled", id, ...SETTLED, refused: problems });
  await settleDown();
}

/** Handlers that the test ends, by the body of their message. */
class Handlers extends HeldCalls {
  readonly handle = ({ body }: { readonly body: unknown }, { signal }: { readonly signal: AbortSignal }): Promise<void> =>
    this.hold(String(body), signal);
}

describe("src/client/consumer", () => {
  test("acks of one tick go in one frame, those made meanwhile in the next, and credit as it is worked off", async () => {
    const { channel } = open();
    const handlers = new Handlers();
    channel.consume(handlers.handle, { concurrency: 4, prefetch: 8, group: "g", reader: "r" });
    await greet(await firstSocket());
    const terms = { group: "g", leaseMs: LEASE_MS, reader: "r", credit: { messages: 8, bytes: 8 * 1024 * 1024 } };
    expect(sent().at(-1)).toMatchObject({ type: "subscribe", ...terms });
    await begin();
    await deliver(["1", "2", "3", "4", "5", "6"]);
    expect(handlers.names).toEqual(["1", "2", "3", "4"]);
    await handlers.end("1", "2");
    await handlers.end("3");
    await handlers.end("4");

    expect(settles()).toEqual([["acks l1", "acks l2"]]);
    await answer();
    expect(settles().slice(1)).toEqual([["acks l3", "acks l4"]]);
    const granted = sent().filter(({ type }) => type === "credit");
    expect(granted.reduce((sum, { messages }) => sum + Number(messages), 0)).toBe(4);
  });

  test("[SB10] control records are no messages: the program is told of each, and they take no credit", async () => {
    const { channel } = open();
    const handlers = new Handlers();
    const told: unknown[] = [];
    channel.consume(handlers.handle, { prefetch: 4, onControl: ({ offset, control }) => void told.push([offset, control.type]) });
    await begin();
    const control = { type: "resize", maxMessages: 5, maxBytes: 100 };
    const controls = [{ offset: 6, putAtMs: 1, control }];
    lastSocket().receive({ type: "deliver", id: 1, messages: [], controls, bytes: 0, state: STATE });
    await deliver(["7"]);

    expect(told).toEqual([[6, "resize"]]);
    expect(handlers.names).toEqual(["7"]);
    expect(sent().filter(({ type }) => type === "credit")).toEqual([]);
  });

  test("[LS14] acks of leases in a row go in one entry, and a problem in it finds its message by the offset", async () => {
    const { channel } = open();
    const problems: unknown[] = [];
    channel.consume(
      (messages) => void Promise.all(messages.map((message) => message.ack().catch((error) => problems.push(error)))),
      {
        batchSize: 5,
      },
    );
    await begin();
    const leaseIds = ["0-8-1-h-s", "0-9-1-h-s", "0-10-1-h-s", "0-4-2-h-s", "0-12-1-h-s"];
    const messages = leaseIds.map((leaseId) => ({ ...FACTS, offset: Number(leaseId.split("-")[1]), leaseId, text: "a" }));
    lastSocket().receive({ type: "deliver", id: 1, messages, bytes: 5, leaseUntilMs: 9, state: STATE });
    await settleDown();

    const acks = [{ leaseId: leaseIds[0], count: 3 }, { leaseId: leaseIds[3] }, { leaseId: leaseIds[4] }];
    expect(sent().findLast(({ type }) => type === "settle")).toMatchObject({ acks });
    await answer({ "/acks/0/leaseId": { kind: "lease-lost", offset: 9, cause: "expired" } });
    expect(problems).toMatchObject([{ kind: "lease-lost", problem: { offset: 9 } }]);
  });

  test("leases are renewed while a third of them is left, what runs and what waits alike", async () => {
    const { channel, timers } = open();
    const handlers = new Handlers();
    channel.consume(handlers.handle, {});
    await begin();
    await deliver(["1", "2"]);
    timers.fire(RENEWAL_MS);
    await settleDown();
    expect(settles()).toEqual([]);
    timers.fire(RENEWAL_MS);
    await settleDown();
    expect(settles()).toEqual([["extends l1", "extends l2"]]);
    const lost = { kind: "lease-lost", offset: 1, cause: "expired" } as const;
    await answer({ "/extends/0/leaseId": lost, "/extends/1/leaseId": { ...lost, offset: 2 } });

    expect(handlers.get("1").signal.aborted).toBe(true);
    await handlers.end("1");
    // Neither is acked, and the one that waited is not begun.
    expect([settles().length, handlers.names]).toEqual([1, []]);
  });

  test("an ack that is out of order gives its message back", async () => {
    const { channel } = open();
    channel.consume(() => undefined);
    await begin();
    await deliver(["2"], ["k"]);
    await answer({ "/acks/0/leaseId": { kind: "out-of-order", offset: 2, openOffset: 1 } });

    expect(settles()).toEqual([["acks l2"], ["releases l2"]]);
  });

  test("[KO6] behind a message that is retried all of its key is given back with it, and none begun before the server has answered", async () => {
    const { channel } = open();
    const handlers = new Handlers();
    channel.consume(handlers.handle, { concurrency: 2 });
    await begin();
    await deliver(["1", "2", "3"], ["k", "k", "k"]);
    expect(handlers.names).toEqual(["1"]);
    handlers.get("1").reject(new RetryError("later", { delayMs: 7 }));
    await settleDown();
    expect(sent().at(-1)).toMatchObject({ retries: [{ leaseId: "l1", delayMs: 7, reason: "later" }] });
    expect(settles()).toEqual([["retries l1", "releases l2", "releases l3"]]);
    // Sent before the server knew.
    await deliver(["4"], ["k"]);
    await answer();
    expect([settles().at(-1), handlers.names]).toEqual([["extends l4"], []]);
    await answer({ "/extends/0/leaseId": { kind: "lease-lost", offset: 4, cause: "predecessor" } });
    expect(handlers.names).toEqual([]);
    await deliver(["1", "2"], ["k", "k"]);
    expect(handlers.names).toEqual(["1"]);
    await handlers.end("1");
    expect(handlers.names).toEqual(["2"]);
  });

  test("[KO6] after a batch that fails none of its key is begun before it comes again, and then in the order of offsets", async () => {
    const { channel } = open();
    const batches: unknown[][] = [];
    const work = (messages: readonly { readonly body: unknown }[]): void => {
      batches.push(messages.map(({ body }) => body));
      if (batches.length === 2) throw new RetryError("once", { delayMs: 0 });
    };
    channel.consume(work, { batchSize: 2 });
    await begin();
    const all = ["1", "2", "3", "4", "5", "6", "7"];
    await deliver(
      all,
      all.map(() => "k"),
    );
    await answer();

    expect(settles()).toEqual([
      ["acks l1", "acks l2"],
      ["retries l3", "retries l4", "releases l5", "releases l6", "releases l7"],
    ]);
    expect(batches).toEqual([
      ["1", "2"],
      ["3", "4"],
    ]);
    await answer();
    expect(batches.length).toBe(2);
    await deliver(
      all.slice(2),
      all.map(() => "k"),
    );
    expect(batches.slice(2)).toEqual([["3", "4"], ["5", "6"], ["7"]]);
  });

  test("[KO6] what was done behind one of its key that is not done is given back, once, also where it comes again before the answer", async () => {
    const { channel } = open();
    const batches: unknown[][] = [];
    const work = (messages: readonly { readonly body: unknown }[]): Promise<PromiseSettledResult<void>[]> => {
      batches.push(messages.map(({ body }) => body));
      const isFirst = batches.length === 1;
      return Promise.allSettled(
        messages.map(({ body }) => (isFirst && body === "2" ? Promise.reject(new RetryError()) : Promise.resolve())),
      );
    };
    channel.consume(work, { batchSize: 4 });
    await begin();
    await deliver(["1", "2", "3", "4"], ["k", "k", "k"]);
    expect(settles()).toEqual([["acks l1", "acks l4", "retries l2", "releases l3"]]);
    await deliver(["2", "3"], ["k", "k"]);
    expect(batches.length).toBe(1);
    await answer();

    expect(settles().at(-1)).toEqual(["extends l2", "extends l3"]);
    await answer();
    expect(batches.slice(1)).toEqual([["2", "3"]]);
    expect(settles().slice(2)).toEqual([["acks l2", "acks l3"]]);
  });

  test("[KO6] where a key begins again, what is held of it from there on is over, and what is worked on as well", async () => {
    const { channel } = open();
    const handlers = new Handlers();
    channel.consume(handlers.handle, { concurrency: 2 });
    await begin();
    await deliver(["2", "3", "4"], ["k", "k", "k"]);
    expect(handlers.names).toEqual(["2"]);
    const { signal } = handlers.get("2");
    await deliver(["1", "2", "3"], ["k", "k", "k"]);
    expect([signal.aborted, handlers.names]).toEqual([true, ["2"]]);
    for (const next of ["1", "2", "3"]) {
      await handlers.end(...handlers.names);
      expect(handlers.names).toEqual([next]);
    }
    await handlers.end("3");

    // 4 is held no more, and the first work on 2 was in vain.
    expect(handlers.names).toEqual([]);
    expect(settles()).toEqual([["acks l1"]]);
    await answer();
    expect(settles().at(-1)).toEqual(["acks l2", "acks l3"]);
  });

  test("[KO6] after an ack that is refused the server is asked what is held of the key", async () => {
    const { channel } = open();
    const handlers = new Handlers();
    channel.consume(handlers.handle);
    await begin();
    await deliver(["1", "2", "3"], ["k", "k", "k"]);
    await handlers.end("1");
    await answer({ "/acks/0/leaseId": { kind: "lease-lost", offset: 1, cause: "expired" } });
    await handlers.end("2");

    const lost = { kind: "lease-lost", offset: 2, cause: "predecessor" } as const;
    expect([settles().at(-1), handlers.names]).toEqual([["acks l2", "extends l3"], []]);
    await answer({ "/acks/0/leaseId": lost, "/extends/0/leaseId": { ...lost, offset: 3 } });
    expect(handlers.names).toEqual([]);
  });

  test("an extension whose place is taken by what comes later is answered with that", async () => {
    const { channel } = open();
    const answers: string[] = [];
    const note = (name: string, call: Promise<void>): void => {
      call.then(
        () => answers.push(name),
        (error: { kind: string }) => answers.push(`${name} ${error.kind}`),
      );
    };
    channel.consume(async (message) => {
      note("first", message.extend(1_000));
      await settleDown();
      note("second", message.extend(2_000));
      note("third", message.extend(3_000));
      await new Promise(() => undefined);
    });
    await begin();
    await deliver(["1"]);
    await answer();
    expect(answers).toEqual(["first"]);
    await answer({ "/extends/0/leaseId": { kind: "lease-lost", offset: 1, cause: "expired" } });

    expect(answers.toSorted()).toEqual(["first", "second lease-lost", "third lease-lost"]);
  });

  test("an extension does not take the place of an ack: it is asked for behind it", async () => {
    const { channel } = open();
    const told: string[] = [];
    const note = (name: string, call: Promise<void>): void => {
      call.then(
        () => told.push(name),
        ({ kind }: { readonly kind: string }) => told.push(`${name} ${kind}`),
      );
    };
    channel.consume(
      async (message) => {
        // The call that is on the way.
        if (message.body === "1") await message.extend(1_000);
        else {
          await settleDown();
          note("ack", message.ack());
          note("extension", message.extend(1_000));
        }
        await new Promise(() => undefined);
      },
      { concurrency: 2 },
    );
    await begin();
    await deliver(["1", "2"]);
    await answer();
    expect(settles()).toEqual([["extends l1"], ["acks l2"]]);
    await answer();
    expect(settles().slice(2)).toEqual([["extends l2"]]);
    await answer({ "/extends/0/leaseId": { kind: "lease-lost", offset: 2, cause: "settled" } });

    expect(told).toEqual(["ack", "extension lease-lost"]);
  });

  test("an extension of no length, or of one that the server would refuse, is refused and goes with no other settling", async () => {
    const { channel } = open();
    const refused: string[] = [];
    channel.consume(async (message) => {
      for (const leaseMs of [undefined, 999, 43_200_001, Number.NaN]) {
        await message.extend(leaseMs as number).catch(({ kind, message: text }: Error & { kind: string }) => {
          refused.push(`${kind}: ${text}`);
        });
      }
    });
    await begin();
    await deliver(["1"]);

    expect(refused).toEqual(
      ["NaN", "999", "43200001", "NaN"].map(
        (found) => `invalid-request: Cannot take ${found} as leaseMs: expected a whole number from 1000 to 43200000`,
      ),
    );
    expect(settles()).toEqual([["acks l1"]]);
  });

  test("[LS9] where the new connection is lost before it has told what is held, the next one is asked again", async () => {
    const { channel, timers } = open();
    const handlers = new Handlers();
    channel.consume(handlers.handle);
    await begin();
    await deliver(["1", "2"]);
    await reconnect(timers);
    lastSocket().receive({ type: "subscribed", id: 1 });
    await settleDown();
    await deliver(["3"]);
    await handlers.end("1");
    await reconnect(timers);
    await settleDown();
    const subscribed = sent().find(({ type }) => type === "subscribe");
    // What was asked on the lost connection is asked again and answered; what came on it is asked after that.
    await answer();
    expect(handlers.names).toEqual([]);
    lastSocket().receive({ type: "subscribed", id: subscribed?.id });
    await answer();
    expect([settles().at(-1), handlers.names]).toEqual([["extends l2", "extends l3"], []]);
    await answer({ "/extends/1/leaseId": { kind: "lease-lost", offset: 3, cause: "disconnected" } });
    expect(handlers.names).toEqual(["2"]);
    await handlers.end("2");
    expect(handlers.names).toEqual([]);
  });

  test("[LS9] on a new connection it asks what it still holds before it begins more, and settles that", async () => {
    const { channel, timers } = open();
    const handlers = new Handlers();
    const errors: string[] = [];
    channel.consume(handlers.handle, { prefetch: 4, onReconnect: ({ kind }) => errors.push(kind) });
    await begin();
    await deliver(["1", "2", "3"]);
    await reconnect(timers);
    expect(sent().at(-1)).toMatchObject({ type: "subscribe", credit: { messages: 1 } });
    lastSocket().receive({ type: "subscribed", id: 1 });
    await settleDown();
    expect(settles()).toEqual([["extends l1", "extends l2", "extends l3"]]);
    await handlers.end("1");
    expect(handlers.names).toEqual([]);
    await answer({ "/extends/1/leaseId": { kind: "lease-lost", offset: 2, cause: "disconnected" } });

    expect([settles().at(-1), handlers.names]).toEqual([["acks l1"], ["3"]]);
    expect(errors).toEqual(["connection-lost"]);
  });

  test("[SB11] it comes back to its leases by the token that it was told, and without where the server does not know it any more", async () => {
    const { channel, timers } = open();
    const consumer = channel.consume(new Handlers().handle);
    await greet(await firstSocket());
    expect(sent().at(-1)).not.toHaveProperty("resume");
    lastSocket().receive({ type: "subscribed", id: 1, resume: "life.0-a-b" });
    await settleDown();
    await reconnect(timers);
    expect(sent().at(-1)).toMatchObject({ type: "subscribe", resume: "life.0-a-b" });
    const { id } = sent().at(-1) as Sent;
    lastSocket().refuse(id, { kind: "resume-lost", resume: "life.0-a-b" });
    await settleDown();

    const again = sent().at(-1) as Sent;
    expect(again).toMatchObject({ type: "subscribe" });
    expect(again).not.toHaveProperty("resume");
    lastSocket().endStream(again.id, { kind: "taken-over" });
    expect(await errorOf(consumer.done)).toMatchObject({ kind: "taken-over", retry: "never" });
  });

  test("[SB12] with its token it tells which leases it holds, and those whose settling is not answered", async () => {
    const { channel, timers } = open();
    const handlers = new Handlers();
    channel.consume(handlers.handle, { concurrency: 4 });
    await greet(await firstSocket());
    expect(sent().at(-1)).not.toHaveProperty("held");
    lastSocket().receive({ type: "subscribed", id: 1, resume: "life.0-a-b" });
    await deliver(["1", "2", "3"]);
    await handlers.end("1");
    await answer();
    await handlers.end("2");
    await reconnect(timers);

    expect(sent().at(-1)).toMatchObject({
      type: "subscribe",
      resume: "life.0-a-b",
      held: [{ leaseId: "l2" }, { leaseId: "l3" }],
    });
  });

  test("[SB13] it releases what others wait for and it has not begun with, but nothing of a key that it works on", async () => {
    const { channel } = open();
    const handlers = new Handlers();
    channel.consume(handlers.handle, { concurrency: 2, prefetch: 8 });
    await begin();
    await deliver(["1", "2", "3", "4", "5", "6"], ["a", "b", "a", "c", "c"]);
    expect(handlers.names).toEqual(["1", "2"]);
    const leases = ["l2", "l3", "l4", "l5", "l6", "l99"].map((leaseId) => ({ leaseId }));

    lastSocket().receive({ type: "revoke", id: 1, leases });
    await settleDown();

    expect(settles()).toEqual([["releases l4", "releases l5", "releases l6"]]);
    // What comes behind those of a key is not asked for before they are given back.
    expect(sent().some(({ type }) => type === "credit")).toBe(false);
    await answer();
    expect(sent()).toContainEqual(expect.objectContaining({ type: "credit", messages: 3 }));
    await handlers.end("1");
    expect(handlers.names).toEqual(["2", "3"]);
  });

  test("a settle call that was lost is sent again; that its leases are over by then is no fault", async () => {
    const { channel, timers } = open();
    const consumer = channel.consume((message) => message.ack());
    await begin();
    await deliver(["1"]);
    await reconnect(timers);
    expect(settles()).toEqual([["acks l1"]]);
    await answer({ "/acks/0/leaseId": { kind: "lease-lost", offset: 1, cause: "settled" } });
    await consumer.stop();
  });

  test.each(["released", "retried"] as const)(
    "an ack that was sent again is not told as done where the message was %s meanwhile: nobody has done it",
    async (cause) => {
      const { channel, timers } = open();
      const told: string[] = [];
      channel.consume((message) =>
        message.ack().then(
          () => void told.push("done"),
          ({ kind }: { readonly kind: string }) => void told.push(kind),
        ),
      );
      await begin();
      await deliver(["1"]);
      await reconnect(timers);
      expect(settles()).toEqual([["acks l1"]]);
      await answer({ "/acks/0/leaseId": { kind: "lease-lost", offset: 1, cause } });

      expect(told).toEqual(["lease-lost"]);
    },
  );

  test("stopping finishes what runs, gives back what waits and what still comes, and ends the subscription then", async () => {
    const { channel } = open();
    const handlers = new Handlers();
    const abort = new AbortController();
    const consumer = channel.consume(handlers.handle, { signal: abort.signal });
    await begin();
    await deliver(["1", "2"]);
    abort.abort();
    await settleDown();
    expect(settles()).toEqual([["releases l2"]]);
    await answer();
    await deliver(["3"]);
    expect(settles().at(-1)).toEqual(["releases l3"]);
    await answer();
    await handlers.end("1");
    expect([settles().at(-1), await isSettled(consumer.done)]).toEqual([["acks l1"], false]);
    await answer();

    await consumer.done;
    expect(sent().at(-1)).toEqual({ type: "unsubscribe", id: 1 });
    expect(sent().some(({ type }) => type === "credit")).toBe(false);
  });

  test("stopping with a signal ends at once when that is aborted", async () => {
    const { channel, timers } = open();
    const handlers = new Handlers();
    const consumer = channel.consume(handlers.handle);
    await begin();
    await deliver(["1"]);
    const abort = new AbortController();
    const stopping = consumer.stop({ signal: abort.signal });
    expect(await isSettled(stopping)).toBe(false);
    abort.abort();

    await stopping;
    expect([handlers.get("1").signal.aborted, timers.count]).toEqual([true, KEEP_ALIVE_TIMERS]);
  });

  test("what cannot be settled when it stops is given up after some tries, and told", async () => {
    const { channel, timers } = open();
    const handlers = new Handlers();
    const consumer = channel.consume(handlers.handle);
    await begin();
    await deliver(["1"]);
    const stopping = errorOf(consumer.stop());
    await handlers.end("1");
    for (let tries = 0; tries < 3; tries++) {
      await loseConnection();
      timers.fire();
      await settleDown();
    }

    expect(await stopping).toMatchObject({ kind: "connection-failed" });
  });

  test("a batch that is not full waits for more, no longer than it was told", async () => {
    const { channel, timers } = open();
    const batches: unknown[][] = [];
    channel.consume((messages) => void batches.push(messages.map(({ body }) => body)), {
      batchSize: 3,
      batchBytes: 25,
      batchWaitMs: 500,
    });
    await begin();
    await deliver(["1"]);
    expect(batches).toEqual([]);
    await deliver(["2", "3"]);
    expect(batches).toEqual([["1", "2"]]);
    timers.fire(500);
    await settleDown();

    expect(batches).toEqual([["1", "2"], ["3"]]);
  });

  test("outcomes that do not match their batch retry all of it", async () => {
    const { channel } = open();
    const errors: unknown[] = [];
    channel.consume(() => [], { batchSize: 2, onError: (error) => errors.push(String(error)) });
    await begin();
    await deliver(["1", "2"]);

    expect(settles()).toEqual([["retries l1", "retries l2"]]);
    expect(errors[0]).toContain("2 messages by 0 outcomes among 0 values: expected one for each");
  });

  test("a loop that is left retries the message it had and gives the others back", async () => {
    const { channel } = open();
    const stream = channel.consume();
    const taking = stream.next();
    await begin();
    await deliver(["1", "2"]);
    expect((await taking).value?.body).toBe("1");
    const leaving = stream.return();
    await settleDown();
    await answer();
    expect(settles()).toEqual([["releases l2"], ["retries l1"]]);
    await answer();

    expect(await leaving).toEqual({ done: true, value: undefined });
  });

  test("bounds that do not fit each other are refused at once", () => {
    const { channel } = open();
    expect(() => channel.consume(() => undefined, { concurrency: 4, prefetch: 3 })).toThrow(/prefetch: .* from 4 to 10000/);
    expect(() => channel.consume(() => undefined, { batchSize: 200, concurrency: 100 })).toThrow(/batchSize: .* from 1 to 100/);
  });

  const NO_COUNTS = [
    [5n, "bigint"],
    [Number.NaN, "NaN"],
    [Infinity, "Infinity"],
    [1.5, "1.5"],
    ["5", "string"],
    [Symbol("5"), "symbol"],
    [Object.create(null), "object"],
    [(): number => 5, "function"],
  ] as const;
  const NUMBERS = [
    "concurrency",
    "batchSize",
    "batchBytes",
    "batchWaitMs",
    "leaseMs",
    "prefetch",
    "prefetchMax",
    "prefetchBytes",
  ];

  test.each(NUMBERS)("what is no whole number is refused under the name of its option: %s", (name) => {
    const { channel } = open();
    for (const [value, found] of NO_COUNTS) {
      expect(() => channel.consume(() => undefined, { [name]: value })).toThrow(
        expect.objectContaining({
          kind: "invalid-request",
          origin: "client",
          retryable: false,
          outcome: "not-applied",
          message: expect.stringMatching(`^Cannot take ${found} as ${name}: expected a whole number from \\d+ to \\d+$`),
        }),
      );
    }
  });

  test("a prefetch that may grow too far, or less than what is worked on, is refused as prefetchMax", () => {
    const { channel } = open();
    for (const prefetchMax of [0, 5, 10_001]) {
      const options = { concurrency: 2, batchSize: 3, prefetchMax };
      expect(() => channel.consume(() => Promise.resolve([]), options)).toThrow(/ as prefetchMax: .* from 6 to 10000$/);
    }
  });
});
