// How far a consumer fetches ahead, over a connection on which everything takes its time: a time that the test keeps itself.
import { describe, expect, test } from "vitest";
import type { ConsumeWithOptions } from "../../src/client/consume-options.ts";
import { PrefetchDepth } from "../../src/client/prefetch-depth.ts";
import {
  FakeWebSocket,
  FIRST_ATTEMPT,
  firstSocket,
  openChannel,
  SETTLED,
  settleDown,
  STATE,
  TEXT_FACTS,
  WELCOME,
} from "./client-doubles.ts";

interface Due {
  readonly atMs: number;
  readonly callback: () => void;
}

/** Things happen in the order of their times, and nothing takes time but what says so. */
class Time {
  nowMs = 0;
  #due: Due[] = [];

  readonly start = (callback: () => void, delayMs: number): (() => void) => {
    const due: Due = { atMs: this.nowMs + delayMs, callback };
    this.#due.push(due);
    return () => void (this.#due = this.#due.filter((other) => other !== due));
  };

  readonly pass = (ms: number): Promise<void> => new Promise((resolve) => void this.start(resolve, ms));

  async runUntil(isOver: () => boolean): Promise<void> {
    for (;;) {
      await settleDown();
      if (isOver()) return;
      // Sorting keeps the order of those that are due at one time.
      const [next, ...rest] = this.#due.toSorted((a, b) => a.atMs - b.atMs);
      if (next === undefined) throw new Error("Nothing happens any more");
      this.#due = rest;
      this.nowMs = next.atMs;
      next.callback();
    }
  }
}

interface Asked {
  readonly type: string;
  readonly id: number;
  readonly messages?: number;
  readonly credit?: { readonly messages: number };
}

/** A queue behind a line: what is asked is answered `fetchMs` later. */
class Distant {
  readonly socket: typeof FakeWebSocket;
  /** Messages that it was allowed to send. */
  granted = 0;
  #credit = 0;
  #offset = 0;
  #subscription = 0;

  constructor(time: Time, fetchMs: number) {
    const answer = (socket: FakeWebSocket, asked: Asked): void => {
      for (const frame of this.#answer(asked)) time.start(() => socket.receive(frame), fetchMs);
    };
    this.socket = class extends FakeWebSocket {
      constructor(url: string, protocols: readonly string[]) {
        super(url, protocols);
        time.start(() => this.open(), 0);
      }

      override send(data: string): void {
        super.send(data);
        answer(this, JSON.parse(data) as Asked);
      }
    };
  }

  *#answer({ type, id, messages = 0, credit }: Asked): Generator<object> {
    if (type === "hello") yield WELCOME;
    if (type === "subscribe") {
      this.#subscription = id;
      yield { type: "subscribed", id };
    }
    if (type === "settle") yield { type: "settled", id, ...SETTLED };
    this.granted += credit?.messages ?? messages;
    this.#credit += credit?.messages ?? messages;
    if (this.#credit > 0) yield this.#deliver();
  }

  #deliver(): object {
    const messages = Array.from({ length: this.#credit }, () => {
      const offset = ++this.#offset;
      return { offset, ...TEXT_FACTS, ...FIRST_ATTEMPT, leaseId: `0-${offset}-1-h-s`, text: "a" };
    });
    this.#credit = 0;
    return { type: "deliver", id: this.#subscription, messages, bytes: messages.length, leaseUntilMs: 9, state: STATE };
  }
}

interface Work {
  readonly fetchMs: number;
  /** What one message takes, by how many were worked off before it. */
  readonly workMs: (done: number) => number;
  readonly count: number;
  readonly options?: ConsumeWithOptions;
}

/** When each message was worked off, counted from when the first was begun, and how many more it was allowed to have in the end. */
async function workOff({ fetchMs, workMs, count, options = {} }: Work) {
  const time = new Time();
  const server = new Distant(time, fetchMs);
  const { channel } = openChannel({ WebSocket: server.socket, startTimer: time.start, now: () => time.nowMs });
  const endsAtMs: number[] = [];
  let beganAtMs: number | undefined;
  let begun = 0;
  channel.consume(async () => {
    beganAtMs ??= time.nowMs;
    await time.pass(workMs(begun++));
    endsAtMs.push(time.nowMs - beganAtMs);
  }, options);
  await firstSocket();
  await time.runUntil(() => endsAtMs.length >= count);
  return { endsAtMs, window: server.granted - endsAtMs.length };
}

function stepsOf(endsAtMs: readonly number[], from: number): readonly number[] {
  return endsAtMs.slice(from).map((atMs, index) => atMs - (endsAtMs[from + index - 1] ?? 0));
}

describe("src/client/prefetch-depth: a given prefetch", () => {
  test.each([
    { fetchMs: 20, workMs: 20, prefetch: 2 },
    { fetchMs: 10, workMs: 20, prefetch: 2 },
    { fetchMs: 20, workMs: 10, prefetch: 3 },
    { fetchMs: 30, workMs: 10, prefetch: 4 },
  ])("[ray:A2] $prefetch hide a fetch of $fetchMs ms behind work of $workMs ms", async ({ fetchMs, workMs, prefetch }) => {
    const { endsAtMs } = await workOff({ fetchMs, workMs: () => workMs, count: 100, options: { prefetch } });

    expect(endsAtMs[99]).toBe(100 * workMs);
  });

  test("[ray:A2] one ahead, an item takes at most the longer of both times; none ahead, their sum", async () => {
    const [fetchMs, workMs, count] = [20, 10, 100];
    const ahead = await workOff({ fetchMs, workMs: () => workMs, count, options: { prefetch: 2 } });
    const none = await workOff({ fetchMs, workMs: () => workMs, count, options: { prefetch: 1 } });

    expect(ahead.endsAtMs[99]).toBeLessThanOrEqual(count * fetchMs);
    expect(none.endsAtMs[99]).toBe(count * workMs + (count - 1) * fetchMs);
  });
});

describe("src/client/prefetch-depth: what is seen makes the depth", () => {
  test("a long fetch: it grows until nobody waits, and no further", async () => {
    const { endsAtMs, window } = await workOff({ fetchMs: 1_000, workMs: () => 10, count: 1_500 });

    expect(new Set(stepsOf(endsAtMs, 1_000))).toEqual(new Set([10]));
    // A hundred on their way and one that is worked on are three quarters.
    expect(window).toBeLessThanOrEqual(Math.ceil((101 * 4) / 3));
    expect(window).toBeGreaterThan(101);
  });

  test("long work: it shrinks to what hides the fetch, so that others get the rest", async () => {
    const { endsAtMs, window } = await workOff({ fetchMs: 20, workMs: () => 1_000, count: 100 });

    expect(new Set(stepsOf(endsAtMs, 1))).toEqual(new Set([1_000]));
    expect(window).toBeLessThanOrEqual(3);
  });

  test("work that becomes long, and short again: it follows", async () => {
    const work = { fetchMs: 100, workMs: (done: number) => (done > 400 && done < 800 ? 500 : 10) };
    const long = await workOff({ ...work, count: 790 });
    const short = await workOff({ ...work, count: 1_600 });

    expect(long.window).toBeLessThanOrEqual(3);
    expect(new Set(stepsOf(short.endsAtMs, 1_500))).toEqual(new Set([10]));
  });

  test("several at a time: so many times as much", async () => {
    const options = { concurrency: 4 };
    const { endsAtMs, window } = await workOff({ fetchMs: 100, workMs: () => 10, count: 2_000, options });

    expect(Number(endsAtMs[1_999]) - Number(endsAtMs[999])).toBe((1_000 / 4) * 10);
    expect(window).toBeLessThanOrEqual(Math.ceil((44 * 4) / 3));
  });

  test("it stays within its bound, and a given prefetch stays as it is", async () => {
    const bounded = await workOff({ fetchMs: 1_000, workMs: () => 10, count: 500, options: { prefetchMax: 50 } });
    const given = await workOff({ fetchMs: 1_000, workMs: () => 10, count: 500, options: { prefetch: 40 } });

    // What is not granted yet is less than a quarter.
    expect(bounded.window).toBeGreaterThan((50 * 3) / 4);
    expect(bounded.window).toBeLessThanOrEqual(50);
    expect(given.window).toBeLessThanOrEqual(40);
  });

  test("work that takes no time leaves the bound, and before anything is known the first holds", () => {
    const depth = new PrefetchDepth({ atOnce: 1, first: 32, max: 500 });
    const depths = [depth.messages];
    depth.noteWork(0);
    depths.push(depth.messages);
    depth.noteFetch(5);
    depths.push(depth.messages);

    expect(depths).toEqual([32, 32, 500]);
  });

  test("a fetch that takes no time, as between two calls of a worker, needs one ahead", () => {
    const depth = new PrefetchDepth({ atOnce: 3, first: 32, max: 500 });
    depth.noteFetch(0);
    depth.noteWork(0);

    expect(depth.messages).toBe(8);
  });

  test("bounds that do not fit each other are refused at once", () => {
    const { channel } = openChannel();
    expect(() => channel.consume(() => undefined, { prefetch: 3, prefetchMax: 9 })).toThrow(
      /^Cannot take prefetchMax: prefetch says/,
    );
    expect(() => channel.consume(() => undefined, { concurrency: 4, prefetchMax: 3 })).toThrow(/ as prefetchMax: /);
  });
});
