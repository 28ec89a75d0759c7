// A consumer of several channels: who comes first, how much is held of each, and how it ends. Channels stand for the service here.
import { assert, describe, expect, test } from "vitest";
import { checkConsumeOptions, type ConsumeBatchesOptions } from "../../src/client/consume-options.ts";
import { EdgeChannel } from "../../src/client/edge-channel.ts";
import { EdgeChannelError } from "../../src/client/edge-channel-error.ts";
import type { BatchHandler } from "../../src/client/handlers.ts";
import { PreferredMembers } from "../../src/client/preferred-members.ts";
import { Retries } from "../../src/client/retries.ts";
import type { Leased, PullOptions, PullResult, SettleReport, SettleRequest, Transport } from "../../src/client/transport.ts";
import { errorOf } from "../client-calls.ts";
import {
  FakeTimers,
  FIRST_ATTEMPT,
  HeldCalls,
  isSettled,
  passFirstPause,
  SETTLED,
  settleDown,
  STATE,
  TEXT_FACTS,
} from "./client-doubles.ts";

/** One whose pulls the test answers. */
class PulledChannel {
  readonly name: string;
  readonly settled: string[] = [];
  #pull: (PromiseWithResolvers<PullResult> & { readonly max: number }) | undefined;
  #lastOffset = 0;

  constructor(name: string) {
    this.name = name;
  }

  get transport(): Transport {
    const { pull, settle } = this;
    // A consumer asks for nothing else.
    return { keepsOrder: false, pull, settle } as unknown as Transport;
  }

  /** How many messages the pull asks for that waits. */
  get asked(): number {
    return this.#pull?.max ?? 0;
  }

  async give(...texts: readonly string[]): Promise<void> {
    const messages = texts.map((body): Leased => {
      const offset = ++this.#lastOffset;
      return { ...TEXT_FACTS, ...FIRST_ATTEMPT, offset, leaseId: body, body };
    });
    this.#answer().resolve({ messages, controls: [], state: STATE, leaseUntilMs: 9 });
    await settleDown();
  }

  async fail(error: EdgeChannelError): Promise<void> {
    this.#answer().reject(error);
    await settleDown();
  }

  readonly pull = ({ max = 1, signal }: PullOptions = {}): Promise<PullResult> => {
    const pull = { ...Promise.withResolvers<PullResult>(), max };
    signal?.addEventListener("abort", () => pull.reject(EdgeChannelError.aborted("Cannot pull", signal)));
    this.#pull = pull;
    return pull.promise;
  };

  readonly settle = (request: SettleRequest): Promise<SettleReport> => {
    const verbs = ["acks", "retries", "releases"] as const;
    for (const verb of verbs) for (const { leaseId } of request[verb] ?? []) this.settled.push(`${verb} ${leaseId}`);
    return Promise.resolve(SETTLED);
  };

  #answer(): PromiseWithResolvers<PullResult> {
    const pull = this.#pull;
    assert(pull !== undefined, `Nothing is pulled from ${this.name}`);
    this.#pull = undefined;
    return pull;
  }
}

/** Handlers that the test ends, by the text of their message. */
class Work extends HeldCalls {
  /** In the order in which they began. */
  readonly begun: string[] = [];

  readonly handle: BatchHandler = async (messages, { channel, signal }) => {
    const texts = messages.map(({ leaseId }) => leaseId).join("+");
    this.begun.push(`${channel} ${texts}`);
    await this.hold(texts, signal);
  };
}

function open(options: Partial<ConsumeBatchesOptions> = {}) {
  const [urgent, bulk] = [new PulledChannel("urgent"), new PulledChannel("bulk")];
  const [work, timers] = [new Work(), new FakeTimers()];
  const retries = new Retries({ startTimer: timers.start, random: () => 0.5, retries: 1 });
  const channels = [urgent, bulk].map(({ name, transport }) => ({ channel: name, transport, retries }));
  const consumer = new PreferredMembers(channels, checkConsumeOptions(options), work.handle);
  return { urgent, bulk, work, timers, consumer };
}

describe("src/client/preferred-members", () => {
  test("[preference] a message of a later channel begins when the earlier ones have none ready, and not before", async () => {
    const { urgent, bulk, work } = open();
    await bulk.give("b1", "b2", "b3");
    expect(work.begun).toEqual(["bulk b1"]);
    await urgent.give("u1", "u2");
    await work.end("b1");
    await work.end("u1");
    expect(work.begun).toEqual(["bulk b1", "urgent u1", "urgent u2"]);
    await work.end("u2");
    await urgent.give("u3");
    await work.end("b2");
    expect(work.begun.slice(3)).toEqual(["bulk b2", "urgent u3"]);
    expect([urgent.settled, bulk.settled]).toEqual([
      ["acks u1", "acks u2"],
      ["acks b1", "acks b2"],
    ]);
  });

  test("[preference] the concurrency is that of all channels together", async () => {
    const { urgent, bulk, work } = open({ concurrency: 3 });
    await bulk.give("b1", "b2");
    await urgent.give("u1", "u2");
    expect(work.begun).toEqual(["bulk b1", "bulk b2", "urgent u1"]);
    await work.end("b1");
    expect(work.begun.slice(3)).toEqual(["urgent u2"]);
  });

  test("[preference] of each channel no more is held than its prefetch, also while earlier ones keep it waiting", async () => {
    const { urgent, bulk, work } = open({ prefetch: 3 });
    expect([urgent.asked, bulk.asked]).toEqual([3, 3]);
    await urgent.give("u1", "u2", "u3");
    await bulk.give("b1", "b2");
    expect([urgent.asked, bulk.asked]).toEqual([0, 1]);
    await bulk.give("b3");
    expect(bulk.asked).toBe(0);
    await work.end("u1");
    expect([urgent.asked, bulk.asked]).toEqual([1, 0]);
    await work.end("u2");
    await work.end("u3");
    await work.end("b1");
    expect(bulk.asked).toBe(1);
  });

  test("[preference] a batch is of one channel, and one that waits to be full lets later channels begin", async () => {
    const { urgent, bulk, work, timers } = open({ batchSize: 2, batchWaitMs: 700 });
    await urgent.give("u1");
    await bulk.give("b1", "b2");
    expect(work.begun).toEqual(["bulk b1+b2"]);
    timers.fire(700);
    await work.end("b1+b2");
    expect(work.begun.slice(1)).toEqual(["urgent u1"]);
  });

  test("[preference] a stop finishes what is worked on and gives the rest of all channels back", async () => {
    const { urgent, bulk, work, consumer } = open();
    await bulk.give("b1", "b2");
    await urgent.give("u1");
    const stopping = consumer.stop();
    await settleDown();
    expect([urgent.settled, bulk.settled]).toEqual([["releases u1"], ["releases b2"]]);
    expect(await isSettled(stopping)).toBe(false);
    await work.end("b1");
    await stopping;
    expect(bulk.settled).toEqual(["releases b2", "acks b1"]);
    expect(work.begun).toEqual(["bulk b1"]);
  });

  test("[preference] aborting the signal stops all of them", async () => {
    const abort = new AbortController();
    const { bulk, work, consumer } = open({ signal: abort.signal });
    await bulk.give("b1", "b2");
    abort.abort();
    await work.end("b1");
    await expect(consumer.done).resolves.toBeUndefined();
    expect(bulk.settled).toEqual(["releases b2", "acks b1"]);
  });

  test("[preference] a channel that is lost for a while stops no other, and is first again when it is back", async () => {
    const errors: string[] = [];
    const { urgent, bulk, work, timers } = open({ onReconnect: ({ kind }) => void errors.push(kind) });
    const facts = { kind: "connection-lost", origin: "network", retry: "after", outcome: "not-applied" } as const;
    await urgent.fail(new EdgeChannelError("Lost", facts));
    await bulk.give("b1", "b2");
    expect(work.begun).toEqual(["bulk b1"]);
    await passFirstPause(timers);
    await urgent.give("u1");
    await work.end("b1");
    expect(work.begun.slice(1)).toEqual(["urgent u1"]);
    expect(errors).toEqual(["connection-lost"]);
  });

  test("[preference] a channel that ends for good ends all, when what is worked on is done, with its error", async () => {
    const { urgent, bulk, work, consumer } = open();
    await bulk.give("b1", "b2");
    const facts = { kind: "channel-deleted", origin: "server", retry: "never", outcome: "not-applied" } as const;
    await urgent.fail(new EdgeChannelError("Deleted", facts));
    expect(bulk.settled).toEqual(["releases b2"]);
    expect(await isSettled(consumer.done)).toBe(false);
    await work.end("b1");
    expect((await errorOf(consumer.done))?.kind).toBe("channel-deleted");
    expect(bulk.settled).toEqual(["releases b2", "acks b1"]);
  });

  test.each([[[]], [["a", "a"]], [Array.from({ length: 17 }, (_, index) => `c${index}`)]])(
    "[preference] [G6] %j are no channels to consume: 1 to 16, each once",
    (names) => {
      const client = EdgeChannel.connect("http://service.test");
      expect(() => client.consume(names, () => undefined)).toThrow(EdgeChannelError);
    },
  );
});
