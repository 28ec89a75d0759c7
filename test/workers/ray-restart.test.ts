// What Ray's documentation and examples do about restarts and lost work, here as the channel does it. The labels are those of Ray's
// examples: F1 a process that is restarted, F2 and F3 its checkpoints, F4 a queue that is killed at every step; `ray:0` is what is
// commonly said of a pattern and is not so in Ray. Four of the nine rows of that list concern a queue: restart, router (backoff), bundle
// queue (removal of any item in one step) and queue (Full and Empty). Five do not and have no test here: a pool's free slots, a pool that
// idles dead actors again, the barrier and the reference counts of experimental channels, and the sizes of shards.
import { describe, expect, test } from "vitest";
import { LIMITS } from "../../src/protocol/limits.ts";
import { breakTable, mendTable, passTime, restart, setClock, silenceWarnings } from "./inside.ts";
import {
  call,
  createChannel,
  describeChannel,
  entriesOf,
  lease,
  type MessageJson,
  openSocket,
  pathOf,
  pull,
  pullTexts,
  put,
  putBatch,
  read,
  readProblem,
  settle,
  textsOf,
} from "./service.ts";

const PRODUCER = { "Producer-Id": "p", "Producer-Epoch": "0" };

function numbers(from: number, to: number): string[] {
  return Array.from({ length: to - from }, (_, index) => String(from + index));
}

function settleRaw(channel: string, lists: object): Promise<Response> {
  return call("POST", pathOf(channel, "/messages/settle"), { json: lists });
}

function ackWithState(messages: readonly MessageJson[], state: object, version: number): object {
  const condition = version === 0 ? { ifNoneMatch: "*" } : { ifMatch: version };
  return { acks: entriesOf(messages), checkpoint: { name: "state", json: state, ...condition } };
}

interface Saved {
  readonly version: number;
  readonly state: { readonly executed: number; readonly last: string };
}

async function readState(channel: string): Promise<Saved> {
  const reply = await call("GET", pathOf(channel, "/checkpoints/state"));
  if (reply.status === 404) return { version: 0, state: { executed: 0, last: "" } };
  return { version: Number(reply.headers.get("ETag")?.replaceAll('"', "")), state: await reply.json<Saved["state"]>() };
}

silenceWarnings();

describe("ray: a consumer process that is restarted", () => {
  test("[ray:F1] restarted at most n times; then the message that kills it is dead, and those behind it are done", async () => {
    const restartsMax = 4;
    const channel = await createChannel({ delivery: { maxAttempts: 1 + restartsMax, retryDelaysMs: [0] } });
    await putBatch(channel, ["deadly", "b", "c"]);
    const done: string[] = [];
    const deaths: object[] = [];

    for (let process = 0; process < 20; process++) {
      const { messages } = await lease(channel, { max: 1, leaseMs: 1_000 });
      const [message] = messages;
      if (message === undefined) break;
      if (message.text === "deadly") {
        // Dies without a word: nobody settles, the lease runs out.
        deaths.push({ attempt: message.attempt, redelivered: message.redelivered });
        passTime(1_001);
        continue;
      }
      done.push(message.text ?? "");
      await settle(channel, { acks: entriesOf(messages) });
    }

    expect(deaths).toEqual([1, 2, 3, 4, 5].map((attempt) => ({ attempt, redelivered: attempt > 1 })));
    expect(done).toEqual(["b", "c"]);
    const dead = await read<object>(call("GET", pathOf(channel, "/dead-letters")));
    expect(dead).toMatchObject({ deadLetters: [{ text: "deadly", attempts: 1 + restartsMax, reason: "expired" }] });
    expect((await describeChannel(channel)).counts).toMatchObject({ put: 3, acked: 2, deadLettered: 1 });
  });

  test("[ray:F1] restarts are counted per message, over the restarts of the queue too", async () => {
    const channel = await createChannel({ delivery: { maxAttempts: 2, retryDelaysMs: [0] } });
    await putBatch(channel, ["a", "b"]);
    const attempts: (string | number | undefined)[][] = [];

    for (let process = 0; process < 4; process++) {
      const { messages } = await lease(channel, { max: 1 });
      attempts.push(messages.flatMap(({ text, attempt }) => [text, attempt]));
      await restart(channel);
      await settle(channel, { retries: entriesOf(messages) });
    }

    expect(attempts).toEqual([
      ["a", 1],
      ["a", 2],
      ["b", 1],
      ["b", 2],
    ]);
    expect((await describeChannel(channel)).counts).toMatchObject({ acked: 0, deadLettered: 2 });
  });

  test("[ray:F1] with attempts without end it is restarted for ever and nothing dies", async () => {
    const channel = await createChannel({ delivery: { maxAttempts: -1, retryDelaysMs: [0] } });
    await put(channel, "a");

    for (let attempt = 1; attempt <= 30; attempt++) {
      const { messages } = await lease(channel);
      expect(messages).toMatchObject([{ text: "a", attempt }]);
      await settle(channel, { retries: entriesOf(messages) });
    }

    expect(await describeChannel(channel)).toMatchObject({ depth: 1, counts: { deadLettered: 0 } });
  });
});

describe("ray: checkpoints", () => {
  test("[ray:F2] crashes at every odd attempt: two tasks are counted twice together, none once too often", async () => {
    const channel = await createChannel({ delivery: { retryDelaysMs: [0] } });
    await putBatch(channel, ["1", "2"]);

    for (let attempt = 1; (await describeChannel(channel)).depth > 0; attempt++) {
      const { version, state } = await readState(channel);
      const { messages } = await lease(channel, { max: 1, leaseMs: 1_000 });
      const next = { executed: state.executed + 1, last: messages[0]?.text ?? "" };
      if (attempt % 2 === 1) {
        // The worker dies after its work and before it has told anybody.
        passTime(1_001);
        continue;
      }
      await read(settleRaw(channel, ackWithState(messages, next, version)));
    }

    expect(await readState(channel)).toEqual({ version: 2, state: { executed: 2, last: "2" } });
  });

  test.for(["checkpoint", "position"])(
    "[ray:F2] the checkpoint and the ack are one step: with %s not written neither stands, after a restart as well",
    async (table) => {
      const channel = await createChannel();
      await putBatch(channel, ["1", "2"]);
      const { messages } = await lease(channel, { max: 1 });
      const lists = ackWithState(messages, { executed: 1, last: "1" }, 0);

      await breakTable(channel, table);
      const problem = await readProblem(settleRaw(channel, lists));
      await restart(channel);

      expect(problem).toMatchObject({ kind: "storage-failed", outcome: "not-applied" });
      expect((await readState(channel)).version).toBe(0);
      expect(await describeChannel(channel)).toMatchObject({ depth: 2, counts: { acked: 0 } });
      await mendTable(channel);
      await read(settleRaw(channel, lists));
      await restart(channel);
      expect(await readState(channel)).toEqual({ version: 1, state: { executed: 1, last: "1" } });
      expect(await describeChannel(channel)).toMatchObject({ depth: 1, counts: { acked: 1 } });
    },
  );

  test("[ray:F3] an immortal worker loads its state, and after each update at which it dies it is whole", async () => {
    const channel = await createChannel({ delivery: { retryDelaysMs: [0], maxAttempts: -1 } });
    const tasks = numbers(1, 9);
    await putBatch(channel, tasks);

    const repeated: string[] = [];
    for (let life = 0; life < 40 && (await describeChannel(channel)).depth > 0; life++) {
      const { version, state } = await readState(channel);
      const { messages } = await lease(channel, { max: 1, leaseMs: 1_000 });
      const done = ackWithState(messages, { executed: state.executed + 1, last: messages[0]?.text ?? "" }, version);
      // Half of all lives end: before the update is written, or after it without the answer; with the queue or without.
      if (life % 4 === 1) passTime(1_001);
      else await read(settleRaw(channel, done));
      if (life % 4 === 2) {
        await restart(channel);
        repeated.push((await readProblem(settleRaw(channel, done))).kind);
      }
    }

    expect(new Set(repeated)).toEqual(new Set(["settle-refused"]));
    expect(await readState(channel)).toEqual({ version: tasks.length, state: { executed: tasks.length, last: "8" } });
    expect((await describeChannel(channel)).counts).toMatchObject({ put: 8, acked: 8 });
  });

  test("[ray:F3] two workers that take each other for dead: only one of them writes its state and acks", async () => {
    const channel = await createChannel();
    await putBatch(channel, ["1", "2"]);
    const [first, second] = [await lease(channel, { max: 1 }), await lease(channel, { max: 1 })];

    await read(settleRaw(channel, ackWithState(first.messages, { executed: 1, last: "1" }, 0)));
    const problem = await readProblem(settleRaw(channel, ackWithState(second.messages, { executed: 1, last: "2" }, 0)));

    expect(problem).toMatchObject({
      kind: "settle-refused",
      refused: [{ problem: { kind: "checkpoint-conflict", current: 1, status: 412, retry: "refetch" } }],
    });
    expect(await readState(channel)).toMatchObject({ version: 1, state: { last: "1" } });
    expect((await describeChannel(channel)).counts).toMatchObject({ acked: 1 });
  });
});

describe("ray: the queue is killed", () => {
  const STEPS = ["put", "pull", "settle"] as const;

  test.for(STEPS)(
    "[ray:F4] killed after each %s, in all of twenty rounds: nothing lost, nothing twice, in order",
    async (step) => {
      const channel = await createChannel();
      const items = numbers(0, 60);
      const acked: string[] = [];
      const repeated: object[] = [];
      for (let round = 0; round < 20; round++) {
        const texts = items.slice(round * 3, round * 3 + 3).map((text) => ({ text }));
        const headers = { ...PRODUCER, "Producer-Seq": String(round + 1) };
        const putOnce = (): Promise<Response> =>
          call("POST", pathOf(channel, "/messages/batch"), { json: { messages: texts }, headers });
        expect((await putOnce()).status).toBe(201);
        if (step === "put") {
          await restart(channel);
          // The producer never heard, and says it again.
          repeated.push(await (await putOnce()).json<object>());
        }
        const { messages } = await lease(channel, { max: 3 });
        if (step === "pull") await restart(channel);
        expect(await settle(channel, { acks: entriesOf(messages) })).toMatchObject({ acked: 3, refused: [] });
        acked.push(...textsOf(messages));
        if (step === "settle") {
          await restart(channel);
          // The consumer never heard either: what was acked stays so.
          repeated.push(await settle(channel, { acks: entriesOf(messages) }));
        }
      }

      expect(acked).toEqual(items);
      const expected = { put: { duplicate: true }, pull: {}, settle: { acked: 0 } }[step];
      expect(repeated).toMatchObject(Array.from({ length: step === "pull" ? 0 : 20 }, () => expected));
      expect(await describeChannel(channel)).toMatchObject({ depth: 0, counts: { put: 60, acked: 60, removed: 0 } });
    },
  );

  test.for(["segment", "lease", "position"])(
    "[ray:F4] a commit that fails at its row of %s leaves nothing behind, and the queue goes on",
    async (table) => {
      const channel = await createChannel();
      await putBatch(channel, ["a", "b"]);
      await breakTable(channel, table);

      const puts = await call("POST", pathOf(channel, "/messages"), { body: "c" });
      const pulled = await call("POST", pathOf(channel, "/messages/pull"), { json: { max: 1 } });
      const taken = pulled.ok ? (await pulled.json<{ messages: MessageJson[] }>()).messages : [];
      const settled = await settleRaw(channel, { acks: entriesOf(taken) });
      await restart(channel);
      await mendTable(channel);

      // Whoever was answered is right, whoever was refused as not applied is so.
      const ended = settled.ok ? taken.length : 0;
      const kept = 2 + Number(puts.ok) - ended;
      expect([puts.ok, pulled.ok, settled.ok].filter((isDone) => !isDone).length).toBeGreaterThan(0);
      expect(await describeChannel(channel)).toMatchObject({ depth: kept, counts: { put: 2 + Number(puts.ok), acked: ended } });
      passTime(LIMITS.leaseMsDefault + 1);
      expect((await lease(channel, { max: 9 })).messages).toHaveLength(kept);
    },
  );

  test("[ray:F4] consumers die with k unacked: all of the k come again, in order, and nobody else's", async () => {
    const channel = await createChannel();
    await putBatch(channel, numbers(0, 10));
    const [dying, living] = [await openSocket(channel), await openSocket(channel)];
    const lost = (await dying.ask({ type: "pull", id: 1, max: 4 })).messages;
    const kept = (await living.ask({ type: "pull", id: 1, max: 3 })).messages;

    dying.close();
    await settle(channel, { acks: entriesOf(kept) });
    const again: string[] = [];
    while (again.length < 7) again.push(...textsOf((await lease(channel, { max: 7 })).messages));

    expect(textsOf(lost)).toEqual(numbers(0, 4));
    expect(again.toSorted()).toEqual([...numbers(0, 4), ...numbers(7, 10)]);
    expect(again.filter((text) => Number(text) < 4)).toEqual(numbers(0, 4));
  });
});

describe("ray: what is said and is not so", () => {
  test("[ray:0 restart] a queue of 5 items that is killed and comes back has 5 items, and all its settings", async () => {
    const channel = await createChannel({ maxMessages: 5, delivery: { maxAttempts: 7 } });
    await putBatch(channel, numbers(0, 5));

    for (let kills = 0; kills < 3; kills++) {
      expect((await describeChannel(channel)).depth).toBe(5);
      await restart(channel);
    }

    expect(await describeChannel(channel)).toMatchObject({ depth: 5, isFull: true, settings: { delivery: { maxAttempts: 7 } } });
    expect(await pullTexts(channel, { max: 9 })).toEqual(numbers(0, 5));
  });

  test("[ray:0 restart] a put that is retried over a restart is there once", async () => {
    const channel = await createChannel();
    const send = (): Promise<Response> =>
      call("POST", pathOf(channel, "/messages"), { body: "a", headers: { ...PRODUCER, "Producer-Seq": "1" } });

    await send();
    await restart(channel);
    const again = await send();

    expect(await again.json<object>()).toMatchObject({ offset: 1, duplicate: true });
    expect((await describeChannel(channel)).depth).toBe(1);
  });

  test("[ray:0 restart] an item that was popped and not acked is brought back", async () => {
    const channel = await createChannel();
    await put(channel, "a");
    await lease(channel, { leaseMs: 1_000 });

    await restart(channel);
    expect((await lease(channel)).messages).toEqual([]);
    passTime(1_001);

    expect((await lease(channel)).messages).toMatchObject([{ text: "a", attempt: 2, redelivered: true }]);
  });

  test("[ray:0 router] backoff has jitter: fifty retries at once come back spread, and none before the least pause", async () => {
    const channel = await createChannel();
    await putBatch(channel, numbers(0, 50));
    const { messages } = await lease(channel, { max: 50 });
    const startMs = Date.now();
    setClock(startMs);
    await settle(channel, { retries: entriesOf(messages) });

    const counts: number[] = [];
    const { retryDelayMsDefaultMin: leastMs } = LIMITS;
    for (let afterMs = leastMs - 1; counts.length < 12; afterMs += leastMs / 10) {
      setClock(startMs + afterMs);
      counts.push((await lease(channel, { max: 50, leaseMs: LIMITS.leaseMsMax })).messages.length);
    }

    expect(counts[0]).toBe(0);
    expect(counts.reduce((sum, count) => sum + count, 0)).toBe(50);
    // Uniform over the second: fewer than half in any tenth of it, at least five of them with some.
    expect(Math.max(...counts)).toBeLessThan(25);
    expect(counts.filter((count) => count > 0).length).toBeGreaterThanOrEqual(5);
  });

  test("[ray:0 router] the pauses of the settings are kept to the millisecond, the last one for all later attempts", async () => {
    const pausesMs = [10, 200];
    const channel = await createChannel({ delivery: { retryDelaysMs: pausesMs, maxAttempts: -1 } });
    await put(channel, "a");
    let nowMs = Date.now();
    setClock(nowMs);

    for (const pauseMs of [...pausesMs, 200, 200]) {
      const { messages } = await lease(channel);
      await settle(channel, { retries: entriesOf(messages) });
      setClock((nowMs += pauseMs - 1));
      expect([pauseMs, (await lease(channel)).messages]).toEqual([pauseMs, []]);
      setClock((nowMs += 1));
    }
  });

  test("[ray:0 bundle queue] any message is removed in one step: as many rows with 20,000 before it as with 20", async () => {
    const written: number[] = [];
    const readRows: number[] = [];
    for (const before of [20, 20_000]) {
      const channel = await createChannel();
      const messages = Array.from({ length: before / 2 }, () => ({ text: "x" }));
      const putSome = (): Promise<unknown> => read(call("POST", pathOf(channel, "/messages/batch"), { json: { messages } }), 201);
      await putSome();
      await read(call("POST", pathOf(channel, "/messages"), { body: "y", headers: { "Channel-Message-Id": "this" } }), 201);
      await putSome();
      await restart(channel);
      const { rows } = await describeChannel(channel);

      await read(call("DELETE", pathOf(channel, "/messages/by-id/this")));

      const after = await describeChannel(channel);
      written.push(after.rows.written - rows.written);
      readRows.push(after.rows.read - rows.read);
      expect(after).toMatchObject({ depth: before, counts: { removed: 1 } });
    }

    expect(written[1]).toBe(written[0]);
    expect(readRows[1]).toBe(readRows[0]);
    expect(written[0]).toBeLessThanOrEqual(5);
  });

  test("[ray:0 queue] full is a refusal of its own with its facts, whether the put waits or not; nothing enters", async () => {
    const channel = await createChannel({ maxMessages: 1 });
    await put(channel, "a");

    for (const query of ["", "?waitMs=0", "?waitMs=20"]) {
      const problem = await readProblem(call("POST", pathOf(channel, `/messages${query}`), { body: "b" }));
      expect(problem).toMatchObject({ kind: "channel-full", status: 429, detail: expect.stringMatching(/\d/) });
    }

    expect((await describeChannel(channel)).counts.put).toBe(1);
  });

  test("[ray:0 queue] empty is an answer with no messages, whether the get waits or not", async () => {
    const channel = await createChannel();

    for (const waitMs of [0, 20]) {
      const { messages, state } = await pull(channel, { waitMs });
      expect([messages, state.depth]).toEqual([[], 0]);
      expect((await lease(channel, { waitMs })).messages).toEqual([]);
    }
  });

  test("[ray:0 queue] a timeout of 0 tries once: it takes what is there and puts where there is room, after a restart too", async () => {
    const channel = await createChannel({ maxMessages: 1 });

    await put(channel, "a", "?waitMs=0");
    await restart(channel);

    expect((await lease(channel, { waitMs: 0 })).messages).toMatchObject([{ text: "a", attempt: 1 }]);
  });
});
