// Handlers that say what no server takes, throw what has no text, or are told of it and throw again: no message is lost by it, and none of others.
import { describe, expect, test } from "vitest";
import { RejectError, RetryError, type LeasedMessage } from "../../../src/client/index.ts";
import { LIMITS } from "../../../src/protocol/limits.ts";
import { TestService } from "../../../src/testing/index.ts";
import { collect, TRANSPORTS } from "../../client-calls.ts";

const RETRY_DELAY_MS = 100;
const BAD_DELAYS = [
  Number.NaN,
  -1,
  1.5,
  Infinity,
  LIMITS.retryDelayMsMax + 1,
  "7" as unknown as number,
  null as unknown as number,
];

describe.each(TRANSPORTS)("src/client/consumer over %s", (transport) => {
  async function open(bodies: readonly string[]) {
    const service = new TestService();
    const channel = service.connect({ transport }).channel("jobs");
    await channel.create({ delivery: { retryDelaysMs: [RETRY_DELAY_MS] } });
    await channel.putBatch(bodies);
    const seen: string[] = [];
    const see = ({ body, attempt }: LeasedMessage): boolean => {
      seen.push(`${body as string} ${attempt}`);
      return body === "bad" && attempt === 1;
    };
    const told: unknown[] = [];
    const onError = (error: unknown): void => void told.push(error);
    return { service, channel, seen, see, told, onError };
  }

  test.each(BAD_DELAYS)(
    "a message whose handler asks for a delay of %s is retried with the channel's own, and the others are done",
    async (delayMs) => {
      const { service, channel, seen, see, told, onError } = await open(["a", "bad", "b"]);
      const work = async (message: LeasedMessage): Promise<void> => {
        if (see(message)) throw new RetryError("later", { delayMs });
      };
      const consumer = channel.consume(work, { concurrency: 3, onError });
      await service.advance(RETRY_DELAY_MS);
      await consumer.stop();

      expect(seen).toEqual(["a 1", "bad 1", "b 1", "bad 2"]);
      expect(told).toMatchObject([{ kind: "invalid-request", message: expect.stringContaining("as delayMs") }]);
      expect(await channel.stats()).toMatchObject({ depth: 0, counts: { acked: 3 } });
    },
  );

  test("the same as an outcome of a batch", async () => {
    const { service, channel, seen, see, told, onError } = await open(["a", "bad", "b"]);
    const work = (messages: readonly LeasedMessage[]): Promise<PromiseSettledResult<void>[]> =>
      Promise.allSettled(
        messages.map(async (message) => {
          if (see(message)) throw new RetryError("later", { delayMs: -1 });
        }),
      );
    const consumer = channel.consume(work, { batchSize: 3, onError });
    await service.advance(RETRY_DELAY_MS);
    await consumer.stop();

    expect(seen).toEqual(["a 1", "bad 1", "b 1", "bad 2"]);
    expect(told).toMatchObject([{ kind: "invalid-request" }]);
    expect(await channel.stats()).toMatchObject({ depth: 0, counts: { acked: 3 } });
  });

  test("reasons that are too long are cut, wherever a handler gives them", async () => {
    const { service, channel } = await open(["thrown", "rejected", "retried", "fine"]);
    const reason = "\u{1F600}".repeat(LIMITS.reasonBytesMax);
    const consumer = channel.consume(
      async (message) => {
        if (message.body === "thrown") throw new RejectError(reason);
        if (message.body === "rejected") await message.reject(reason);
        if (message.body === "retried" && message.attempt === 1) await message.retry({ reason, delayMs: 0 });
      },
      { concurrency: 4 },
    );
    await service.advance(1_000);
    await consumer.stop();

    const reasons = (await collect(channel.deadLetters.list())).map((letter) => letter.reason);
    expect(reasons.map((text) => reason.startsWith(text.slice(0, -1)) && text.length > 300)).toEqual([true, true]);
    expect(await channel.stats()).toMatchObject({ depth: 0, counts: { acked: 2, deadLettered: 2 } });
  });

  test("a time that a handler gives to a message itself and no server takes is refused to it alone", async () => {
    const { service, channel, seen, see, told, onError } = await open(["a", "bad", "b"]);
    const work = async (message: LeasedMessage): Promise<void> => {
      if (!see(message)) return;
      await message.retry({ delayMs: -1 }).catch(onError);
      await message.extend(Number.NaN).catch(onError);
    };
    const consumer = channel.consume(work, { concurrency: 3 });
    await service.advance(0);
    await consumer.stop();

    expect(seen).toEqual(["a 1", "bad 1", "b 1"]);
    expect(told).toMatchObject([{ kind: "invalid-request" }, { kind: "invalid-request" }]);
    expect(await channel.stats()).toMatchObject({ depth: 0, counts: { acked: 3 } });
  });

  test.each([
    ["numbers", "0 outcomes among 2 values", () => [1, 2]],
    ["objects that are no outcomes", "0 outcomes among 2 values", () => [{ status: "x" }, null]],
    [
      "promises",
      "0 outcomes among 2 values",
      (messages: readonly unknown[]) => messages.map(async () => ({ status: "fulfilled" })),
    ],
    ["some outcomes", "1 outcomes among 2 values", () => [{ status: "fulfilled" }, {}]],
    ["too many outcomes", "3 outcomes among 3 values", () => Array.from({ length: 3 }, () => ({ status: "fulfilled" }))],
    ["text of that length", "a value of type string", () => "ab"],
    ["null", "a value of type object", () => null],
  ])("a batch handler that returns %s has acked nothing, and is told: %s", async (_, found, answer) => {
    const { service, channel, told, onError } = await open(["a", "b"]);
    const attempts: number[] = [];
    const work = (messages: readonly LeasedMessage[]): never => {
      attempts.push(...messages.map(({ attempt }) => attempt));
      return (messages[0]?.attempt === 1 ? answer(messages) : undefined) as never;
    };
    const consumer = channel.consume(work, { batchSize: 2, onError });
    await service.advance(RETRY_DELAY_MS);
    await consumer.stop();

    expect(attempts).toEqual([1, 1, 2, 2]);
    const message = `Cannot settle 2 messages by ${found}: expected one for each, as of Promise.allSettled`;
    const refused = { kind: "invalid-request", message };
    expect(told).toMatchObject([refused, refused]);
    expect(await channel.stats()).toMatchObject({ depth: 0, counts: { acked: 2 } });
  });

  test.each([
    ["an object without a prototype", Object.create(null)],
    [
      "an object that will not be text",
      {
        toString: () => {
          throw new Error("No text");
        },
      },
    ],
    ["a symbol", Symbol("thrown")],
    ["nothing", undefined],
    ["an error whose message is no text", Object.assign(new Error("x"), { message: Object.create(null) })],
  ] as [string, unknown][])("a message whose handler throws %s is retried", async (_, thrown) => {
    const { service, channel, seen, see, told, onError } = await open(["bad"]);
    const consumer = channel.consume(
      (message) => {
        if (see(message)) throw thrown;
      },
      { onError },
    );
    await service.advance(RETRY_DELAY_MS);
    await consumer.stop();

    expect(seen).toEqual(["bad 1", "bad 2"]);
    expect(told).toEqual([thrown]);
  });

  test.each([
    [
      "throws",
      (error: unknown) => {
        throw error;
      },
    ],
    ["rejects", (error: unknown) => Promise.reject(error)],
  ])("an onError that %s ends the consumer as stop does, and done tells why", async (_, onError) => {
    const { service, channel, see } = await open(["bad"]);
    const error = new Error("No more");
    const consumer = channel.consume(
      (message) => {
        if (see(message)) throw error;
      },
      { onError },
    );
    await service.advance(RETRY_DELAY_MS);

    await expect(consumer.done).rejects.toBe(error);
    expect((await channel.pull()).messages).toMatchObject([{ body: "bad", attempt: 2 }]);
  });
});
