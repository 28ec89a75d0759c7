// The commit loop with timers and syncs that the test fires: which entries are committed together, by the handler or by the timer.
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CommitLoop } from "../../src/object/commit-loop.ts";
import { LIMITS } from "../../src/protocol/limits.ts";

const HOLD_MS = 1;

class LoopHarness {
  /** The entries of each commit so far. */
  readonly commits: (readonly number[])[] = [];
  readonly loop: CommitLoop<number>;
  /** How long each timer was set for. */
  readonly delays: number[] = [];
  delayMs = 0;
  /** The connection of each entry; those that have none here are nobody's. */
  readonly #owners = new Map<number, number>();
  #timers: (() => void)[] = [];
  #syncs: PromiseWithResolvers<void>[] = [];
  #pushed = 0;

  constructor() {
    this.loop = new CommitLoop<number>({
      commit: (entries) => this.commits.push([...entries]),
      sync: () => {
        const sync = Promise.withResolvers<void>();
        this.#syncs.push(sync);
        return sync.promise;
      },
      ownerOf: (entry) => this.#owners.get(entry),
      delayMs: () => this.delayMs,
      callHoldMs: HOLD_MS,
      timers: {
        setTimeout: (callback, delayMs) => {
          this.#timers.push(callback);
          this.delays.push(delayMs);
        },
      },
    });
  }

  /** The entries of all commits, in their order. */
  get committed(): readonly number[] {
    return this.commits.flat();
  }

  get pushed(): readonly number[] {
    return Array.from({ length: this.#pushed }, (_, index) => index + 1);
  }

  get hasTimer(): boolean {
    return this.#timers.length > 0;
  }

  get timers(): number {
    return this.#timers.length;
  }

  get syncs(): number {
    return this.#syncs.length;
  }

  push(count = 1, bytes = 100): void {
    for (let pushed = 0; pushed < count; pushed++) {
      this.#pushed += 1;
      this.loop.push(this.#pushed, bytes);
    }
  }

  /** Frames of one connection; returns their entries. */
  pushOf(connection: number, count: number, bytes = 100): number[] {
    return Array.from({ length: count }, () => {
      this.#owners.set(this.#pushed + 1, connection);
      this.push(1, bytes);
      return this.#pushed;
    });
  }

  /** What was pushed or committed of a connection, in its order. */
  ofConnection(entries: readonly number[], connection: number | undefined): readonly number[] {
    return entries.filter((entry) => this.#owners.get(entry) === connection);
  }

  pushCall(count = 1, bytes = 100): void {
    for (let pushed = 0; pushed < count; pushed++) {
      this.#pushed += 1;
      this.loop.pushCall(this.#pushed, bytes);
    }
  }

  pushRest(): void {
    this.#pushed += 1;
    this.loop.pushRest(this.#pushed);
  }

  fireTimer(): void {
    this.#timers.shift()?.();
  }

  /** Nothing more comes: the timer fires until it has committed. */
  fireTimers(): void {
    while (this.hasTimer) this.fireTimer();
  }

  /** What was written last is on disk. */
  async settle(how: "resolve" | "reject" = "resolve"): Promise<void> {
    const sync = this.#syncs.shift();
    if (how === "resolve") sync?.resolve();
    else sync?.reject(new Error("The disk is gone"));
    await Promise.resolve();
    await Promise.resolve();
  }

  /** A client that keeps `count` requests in flight: all come, the timer sees that no more do, they are written. */
  async turn(count: number): Promise<void> {
    this.push(count);
    this.fireTimers();
    await this.settle();
  }

  /** The sizes of the commits that `work` causes. */
  async sizesOf(work: () => Promise<void> | void): Promise<number[]> {
    const before = this.commits.length;
    await work();
    return this.commits.slice(before).map((entries) => entries.length);
  }
}

describe("src/object/commit-loop", () => {
  test("[RC4] a request that comes alone is committed at once", () => {
    const harness = new LoopHarness();

    harness.push();

    expect(harness.commits).toEqual([[1]]);
    expect(harness.hasTimer).toBe(false);
  });

  test.each(["push", "pushCall"] as const)(
    "while requests come alone every eighth is left to the timer, and they become rarer up to one in 256 (%s)",
    async (push) => {
      const harness = new LoopHarness();
      const intervals: number[] = [];

      for (let atOnce = 0; intervals.length < 7; atOnce++) {
        harness[push]();
        if (!harness.hasTimer) continue;
        harness.fireTimer();
        await harness.settle();
        intervals.push(atOnce);
        atOnce = -1;
      }

      expect(intervals).toEqual([8, 16, 32, 64, 128, 256, 256]);
      expect(harness.committed).toEqual(harness.pushed);
    },
  );

  test("[RC4] requests that come together are committed together by the timer", async () => {
    const harness = new LoopHarness();
    harness.push(8);

    const sizes = await harness.sizesOf(() => harness.turn(20));

    expect(sizes).toEqual([20]);
    expect(harness.committed).toEqual(harness.pushed);
  });

  test("all that is in flight is a group that the handler commits, when the last commit is on disk", async () => {
    const harness = new LoopHarness();
    harness.push(8);
    await harness.turn(100);

    const first = await harness.sizesOf(() => harness.push(100));
    const whileWriting = await harness.sizesOf(() => harness.push(102));
    const after = await harness.sizesOf(async () => {
      await harness.settle();
      harness.fireTimers();
    });

    expect({ first, whileWriting, after }).toEqual({ first: [100], whileWriting: [], after: [102] });
    expect(harness.committed).toEqual(harness.pushed);
  });

  test("a group has at least 32 requests, so that few in flight are still committed together", async () => {
    const harness = new LoopHarness();
    harness.push(8);
    await harness.turn(20);

    const early = await harness.sizesOf(() => harness.push(31));
    const complete = await harness.sizesOf(() => harness.push(1));

    expect({ early, complete }).toEqual({ early: [], complete: [32] });
  });

  test("after sixteen groups one is left to the timer, which sees how many are in flight by then", async () => {
    const harness = new LoopHarness();
    harness.push(8);
    await harness.turn(64);

    const groups = await harness.sizesOf(async () => {
      for (let group = 0; group < 16; group++) {
        harness.push(64);
        await harness.settle();
      }
    });
    const probe = await harness.sizesOf(async () => {
      harness.push(200);
      harness.fireTimers();
      await harness.settle();
    });
    const next = await harness.sizesOf(() => harness.push(200));

    expect(groups).toEqual(Array.from({ length: 16 }, () => 64));
    expect({ probe, next }).toEqual({ probe: [200], next: [200] });
  });

  test("what the timer finds beside a group does not count as all that is in flight", async () => {
    const harness = new LoopHarness();
    harness.push(8);
    await harness.turn(200);
    harness.push(10);

    const remainder = await harness.sizesOf(async () => {
      harness.push(190);
      await harness.settle();
      harness.push(1);
      harness.fireTimers();
      await harness.settle();
    });
    const next = await harness.sizesOf(() => harness.push(200));

    expect({ remainder, next }).toEqual({ remainder: [200, 1], next: [200] });
  });

  test("when requests come alone again, they are committed at once again", async () => {
    const harness = new LoopHarness();
    harness.push(8);
    await harness.turn(64);
    await harness.turn(1);

    const sizes = await harness.sizesOf(() => harness.push(3));

    expect(sizes).toEqual([1, 1, 1]);
  });

  test("what comes turn by turn is committed together: the timer waits for another one as long as each brings more", async () => {
    const harness = new LoopHarness();
    harness.push(8);

    const sizes = await harness.sizesOf(() => {
      for (const count of [3, 2, 1]) {
        harness.push(count);
        harness.fireTimer();
      }
      harness.fireTimer();
    });

    expect(sizes).toEqual([6]);
    expect(harness.hasTimer).toBe(false);
  });

  test("[G6] the timer does not wait for ever: from 512 on it commits what there is", async () => {
    const harness = new LoopHarness();
    harness.push(8);

    const sizes = await harness.sizesOf(() => {
      for (let turn = 0; turn < 6; turn++) {
        harness.push(100);
        harness.fireTimer();
      }
    });

    expect(sizes).toEqual([600]);
  });

  test("[RC4] a call that comes alone is committed at once", () => {
    const harness = new LoopHarness();

    harness.pushCall();

    expect(harness.commits).toEqual([[1]]);
    expect(harness.hasTimer).toBe(false);
  });

  test("calls that come together are committed together: for them the timer waits for one turn more", async () => {
    const harness = await withCalls(3);

    const sizes = await harness.sizesOf(() => {
      for (const count of [3, 2, 1]) {
        harness.pushCall(count);
        harness.fireTimer();
      }
    });

    expect(sizes).toEqual([5]);
  });

  test("of many calls that came together, fewer are held until as many are there", async () => {
    const harness = await withCalls(12);

    const early = await harness.sizesOf(() => {
      harness.pushCall(2);
      harness.fireTimer();
      harness.pushCall(9);
    });
    const complete = await harness.sizesOf(() => {
      harness.pushCall(1);
      // The hold's own timer comes before the one that was set when all were there.
      harness.fireTimer();
      harness.fireTimer();
    });

    expect([early, complete]).toEqual([[], [12]]);
    expect(harness.delays.slice(-3)).toEqual([0, HOLD_MS, 0]);
    expect(harness.committed).toEqual(harness.pushed);
  });

  test("calls are held for a moment at most, and not at all when fewer and fewer come", async () => {
    const harness = await withCalls(12);
    const holds: boolean[] = [];

    for (let times = 0; times < 4; times++) {
      harness.pushCall(2);
      harness.fireTimer();
      holds.push(harness.delays.at(-1) === HOLD_MS);
      harness.fireTimers();
      await harness.settle();
    }

    expect(holds).toEqual([true, true, false, false]);
    expect(harness.committed).toEqual(harness.pushed);
  });

  test("few calls are not held, and none with frames among them, nor many bytes", async () => {
    const few = await withCalls(9);
    few.pushCall(2);
    few.fireTimers();
    const mixed = await withCalls(12);
    mixed.pushCall();
    mixed.push();
    mixed.fireTimers();
    const large = await withCalls(12);
    large.pushCall(2, 150_000);
    large.fireTimers();

    for (const { delays } of [few, mixed, large]) expect(delays).not.toContain(HOLD_MS);
    for (const { committed, pushed } of [few, mixed, large]) expect(committed).toEqual(pushed);
  });

  test("what a commit leaves to be done is committed by the timer, and not held for calls", async () => {
    const harness = await withCalls(12);

    harness.pushRest();
    harness.pushCall();
    const sizes = await harness.sizesOf(() => harness.fireTimers());

    expect(sizes).toEqual([2]);
    expect(harness.delays).not.toContain(HOLD_MS);
  });

  test("a full queue of calls is committed at once", async () => {
    const harness = await withCalls(2);

    const sizes = await harness.sizesOf(() => harness.pushCall(LIMITS.commitQueueOperationsMax));

    expect(sizes).toEqual([LIMITS.commitQueueOperationsMax]);
  });

  test("nothing is committed while the last commit is on its way to the disk, but a full queue", async () => {
    const harness = new LoopHarness();
    harness.push(8);
    harness.push(2);
    harness.fireTimers();

    const waiting = await harness.sizesOf(() => harness.push(LIMITS.commitQueueOperationsMax - 1));
    const full = await harness.sizesOf(() => harness.push(1));

    expect({ waiting, full }).toEqual({ waiting: [], full: [LIMITS.commitQueueOperationsMax] });
    expect(harness.committed).toEqual(harness.pushed);
  });

  test("a queue of many bytes is full with few requests, also while the last commit is on its way to the disk", () => {
    const harness = new LoopHarness();
    harness.push(8);
    harness.push(2);
    harness.fireTimers();

    harness.push(2, LIMITS.commitQueueBytesMax / 2);

    expect(harness.commits.at(-1)).toEqual([11, 12]);
  });

  test("large requests are committed from 256 KiB on, and what is in flight of them is not taken for all", async () => {
    const harness = new LoopHarness();
    harness.push(8);
    await harness.turn(64);

    const large = await harness.sizesOf(() => {
      harness.push(2, 100 * 1024);
      harness.fireTimer();
      harness.push(1, 100 * 1024);
    });
    const byTimer = await harness.sizesOf(async () => {
      harness.push(3, 100 * 1024);
      await harness.settle();
      harness.fireTimer();
      await harness.settle();
    });
    const next = await harness.sizesOf(() => harness.push(64));

    expect({ large, byTimer, next }).toEqual({ large: [3], byTimer: [3], next: [64] });
  });

  test("what the timer finds after large requests does not count as all that is in flight", async () => {
    const harness = new LoopHarness();
    harness.push(8);
    await harness.turn(64);

    const large = await harness.sizesOf(async () => {
      harness.push(1);
      harness.push(3, 100 * 1024);
      await harness.settle();
    });
    const rest = await harness.sizesOf(() => harness.turn(1));
    const next = await harness.sizesOf(() => harness.push(64));

    expect({ large, rest, next }).toEqual({ large: [4], rest: [1], next: [64] });
  });

  test("a timer that finds fewer than were together before looks twice more, since it may have come before they were read", async () => {
    const harness = new LoopHarness();
    harness.push(8);
    await harness.turn(64);
    for (let group = 0; group < 16; group++) {
      harness.push(64);
      await harness.settle();
    }

    const probe = await harness.sizesOf(async () => {
      harness.push(1);
      harness.fireTimer();
      harness.fireTimer();
      harness.push(63);
      harness.fireTimers();
      await harness.settle();
    });
    const next = await harness.sizesOf(() => harness.push(64));

    expect({ probe, next }).toEqual({ probe: [64], next: [64] });
  });

  test("[CN7] of a connection with very many requests a commit takes a part, and others do not wait for the rest", async () => {
    const harness = new LoopHarness();
    harness.push(8);
    harness.push(2);
    harness.fireTimers();
    const flood = harness.pushOf(1, 2 * LIMITS.turnOperationsMax);
    const [other] = harness.pushOf(2, 1);

    await harness.settle();
    harness.fireTimers();
    expect(harness.commits.at(-1)).toEqual([...flood.slice(0, LIMITS.turnOperationsMax), other]);
    const [later] = harness.pushOf(2, 1);
    await harness.settle();
    harness.fireTimers();
    expect(harness.commits.at(-1)).toEqual([...flood.slice(LIMITS.turnOperationsMax), later]);
  });

  test("[CN7][G6] a queue that one connection has filled is committed by parts, at once, and stays bounded", async () => {
    const harness = new LoopHarness();
    harness.push(8);
    harness.push(2);
    harness.fireTimers();
    const full = LIMITS.commitQueueOperationsMax;

    const sizes = await harness.sizesOf(() => void harness.pushOf(1, full + 2 * LIMITS.turnOperationsMax));

    expect(sizes).toEqual([LIMITS.turnOperationsMax, LIMITS.turnOperationsMax, LIMITS.turnOperationsMax]);
    expect(harness.pushed.length - harness.committed.length).toBe(full - LIMITS.turnOperationsMax);
  });

  test("[CN7] what is left of a full queue is committed though nothing more comes", () => {
    const harness = new LoopHarness();
    harness.push(8);
    harness.delayMs = 20;
    harness.pushOf(1, 2 * LIMITS.turnOperationsMax, Math.ceil(LIMITS.commitQueueBytesMax / LIMITS.turnOperationsMax / 2));
    expect(harness.committed.length).toBe(8 + LIMITS.turnOperationsMax);

    harness.fireTimers();

    expect(harness.committed).toEqual(harness.pushed);
  });

  test("a write that fails does not stop the loop", async () => {
    const harness = new LoopHarness();
    harness.push(8);
    harness.push(2);
    harness.fireTimers();
    harness.push(2);

    await harness.settle("reject");
    harness.fireTimers();

    expect(harness.committed).toEqual(harness.pushed);
  });

  test("[OR3] whatever comes when: everything is committed once and in order, and no timer or commit is left over", async () => {
    const step = fc.oneof(
      fc.record({ type: fc.constant("push" as const), count: fc.integer({ min: 1, max: 300 }) }),
      fc.record({ type: fc.constant("call" as const), count: fc.integer({ min: 1, max: 300 }) }),
      fc.record({
        type: fc.constant("frames" as const),
        connection: fc.integer({ min: 1, max: 3 }),
        count: fc.integer({ min: 1, max: 3_000 }),
      }),
      fc.record({ type: fc.constant("rest" as const) }),
      fc.record({ type: fc.constant("timer" as const) }),
      fc.record({ type: fc.constant("settle" as const) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 80 }), async (steps) => {
        const harness = new LoopHarness();
        for (const taken of steps) {
          if (taken.type === "push") harness.push(taken.count);
          else if (taken.type === "call") harness.pushCall(taken.count);
          else if (taken.type === "rest") harness.pushRest();
          else if (taken.type === "frames") harness.pushOf(taken.connection, taken.count);
          else if (taken.type === "timer") harness.fireTimer();
          else await harness.settle();
          expect(harness.syncs).toBeLessThanOrEqual(1);
          // That of a hold may be left over from one that is over.
          expect(harness.timers).toBeLessThanOrEqual(2);
        }
        while (harness.hasTimer || harness.syncs > 0) {
          harness.fireTimer();
          await harness.settle();
        }
        expect(harness.committed.toSorted((a, b) => a - b)).toEqual(harness.pushed);
        for (const connection of [undefined, 1, 2, 3]) {
          const committed = harness.ofConnection(harness.committed, connection);
          expect(committed).toEqual(harness.ofConnection(harness.pushed, connection));
          if (connection === undefined) continue;
          const inCommits = harness.commits.map((entries) => harness.ofConnection(entries, connection).length);
          expect(Math.max(0, ...inCommits)).toBeLessThanOrEqual(LIMITS.turnOperationsMax);
        }
      }),
      { numRuns: 300 },
    );
  });
});

/** One to which so many calls came together lately. */
async function withCalls(together: number): Promise<LoopHarness> {
  const harness = new LoopHarness();
  while (!harness.hasTimer) harness.pushCall();
  harness.pushCall(together - 1);
  harness.fireTimers();
  await harness.settle();
  return harness;
}

function delayed(): LoopHarness {
  const harness = new LoopHarness();
  harness.delayMs = 20;
  return harness;
}

describe("src/object/commit-loop: with a delay", () => {
  test("[RC10] what comes within the delay of the first is one commit, frames and calls alike", async () => {
    const harness = delayed();
    harness.push(2);
    harness.pushCall(2);
    harness.push();
    expect([harness.commits, harness.delays]).toEqual([[], [20]]);

    harness.fireTimer();
    await harness.settle();
    harness.push();

    expect([harness.commits, harness.delays]).toEqual([[[1, 2, 3, 4, 5]], [20, 20]]);
  });

  test("[RC10] a full queue does not wait, and leaves the timer nothing to commit", () => {
    const harness = delayed();
    harness.push(LIMITS.commitQueueOperationsMax);
    expect(harness.commits.map((entries) => entries.length)).toEqual([LIMITS.commitQueueOperationsMax]);

    harness.fireTimer();

    expect([harness.commits.length, harness.hasTimer]).toEqual([1, false]);
  });

  test("[RC10] what comes while a commit is written has its delay from then on, and at least until that is on disk", async () => {
    const harness = delayed();
    await harness.turn(1);
    harness.push();
    harness.fireTimer();
    harness.push();
    harness.fireTimer();
    expect(harness.commits).toEqual([[1], [2]]);

    await harness.settle();

    expect(harness.delays.at(-1)).toBe(0);
    harness.fireTimer();
    expect(harness.commits).toEqual([[1], [2], [3]]);
  });

  test("[RC10] a disk that fails stops nothing, and a delay that is taken back leaves nothing behind", async () => {
    const harness = delayed();
    harness.push();
    harness.fireTimer();
    harness.push();
    await harness.settle("reject");
    harness.delayMs = 0;
    harness.push();

    harness.fireTimers();

    expect(harness.committed).toEqual(harness.pushed);
    const whole = await harness.sizesOf(async () => {
      await harness.settle();
      harness.push();
    });
    expect(whole).toEqual([1]);
  });
});
