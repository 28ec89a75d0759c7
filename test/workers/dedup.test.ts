// Retries of puts as clients make them: over HTTP and sockets, across evictions, and what they cost. Rules DD of src/channel/SPEC.md.
import { describe, expect, test } from "vitest";
import { LIMITS } from "../../src/protocol/limits.ts";
import { execute, hibernate, silenceWarnings } from "./inside.ts";
import {
  call,
  createChannel,
  describeChannel,
  freshChannel,
  openSocket,
  patchChannel,
  pathOf,
  pullTexts,
  putBatch,
  read,
  readProblem,
  textsOf,
  untilChannel,
  type ProblemJson,
  type PulledJson,
  type PutJson,
} from "./service.ts";

type Headers = Readonly<Record<string, string>>;

function numbered(seq: number | string, epoch: number | string = 1, id = "p"): Headers {
  return { "Producer-Id": id, "Producer-Epoch": String(epoch), "Producer-Seq": String(seq) };
}

function keyed(key: string): Headers {
  return { "Idempotency-Key": key };
}

function send(channel: string, text: string, headers: Headers = {}, query = ""): Promise<Response> {
  const contentType = { "Content-Type": "text/plain; charset=utf-8" };
  return call("POST", pathOf(channel, `/messages${query}`), { body: text, headers: { ...contentType, ...headers } });
}

function sendBatch(channel: string, texts: readonly string[], headers: Headers = {}, query = ""): Promise<Response> {
  const messages = texts.map((text) => ({ text }));
  return call("POST", pathOf(channel, `/messages/batch${query}`), { json: { messages }, headers });
}

function accept(reply: Promise<Response>): Promise<PutJson> {
  return read<PutJson>(reply, 201);
}

/** A numbered put that waits for room; its id is its number. */
function frameOf(seq: number): object {
  return { type: "put", id: seq, text: `put ${seq}`, waitMs: 60_000, producer: { id: "p", epoch: 0, seq } };
}

async function browseTexts(channel: string): Promise<string[]> {
  return textsOf((await read<PulledJson>(call("GET", pathOf(channel, "/messages?limit=1000")))).messages);
}

describe("src/channel/dedup over HTTP", () => {
  test("[DD2] [G9] a numbered put that is sent again answers the first outcome, also after an eviction", async () => {
    const channel = await createChannel();
    const first = await accept(send(channel, "a", numbered(1)));
    const batch = await accept(sendBatch(channel, ["b", "c"], numbered(2)));
    await hibernate(channel);

    const again = await accept(send(channel, "a", numbered(1)));
    const reply = await sendBatch(channel, ["b", "c"], numbered(2));

    expect([first, again]).toMatchObject([{ offset: 1 }, { offset: 1, count: 1, duplicate: true, state: { depth: 3 } }]);
    expect(first).not.toHaveProperty("duplicate");
    expect(reply.headers.get("Location")).toBe(`/v1/channels/${channel}/messages/2`);
    expect(await accept(Promise.resolve(reply))).toMatchObject({ offset: batch.offset, count: 2, duplicate: true });
    expect(await browseTexts(channel)).toEqual(["a", "b", "c"]);
  });

  test("[DD2] [DD3] [DD4] a gap, a stale epoch and a reused number are problems with what was expected", async () => {
    const channel = await createChannel();
    await accept(send(channel, "a", numbered(1, 3)));

    const problems = await Promise.all(
      [send(channel, "c", numbered(3, 3)), send(channel, "b", numbered(2, 2)), send(channel, "other", numbered(1, 3))].map(
        (reply) => readProblem(reply),
      ),
    );

    expect(problems).toMatchObject([
      { kind: "producer-sequence-gap", status: 409, retry: "refetch", producerId: "p", epoch: 3, expectedSeq: 2 },
      { kind: "stale-producer-epoch", status: 409, retry: "never", producerId: "p", epoch: 3 },
      { kind: "producer-sequence-reused", status: 409, retry: "never", seq: 1, offset: 1, count: 1 },
    ]);
    expect(await browseTexts(channel)).toEqual(["a"]);
  });

  test("[DD13] a delayed put that is sent again is scheduled once, and its duplicate has no address and no scheduledId", async () => {
    const channel = await createChannel();
    const first = await accept(send(channel, "a", { ...keyed("k"), "Channel-Delay-Ms": "3600000" }));
    await hibernate(channel);

    const reply = await send(channel, "a", { ...keyed("k"), "Channel-Delay-Ms": "3600000" });

    expect(first).toMatchObject({ offset: null, count: 0, scheduled: [{ index: 0 }] });
    expect(reply.headers.has("Location")).toBe(false);
    const { state: _, ...duplicate } = await accept(Promise.resolve(reply));
    expect(duplicate).toEqual({ offset: null, count: 0, duplicate: true });
    expect(await describeChannel(channel)).toMatchObject({ depth: 0, scheduled: { messages: 1 } });
  });

  test("[DD4] an old duplicate has no offset, and no address", async () => {
    const channel = await createChannel();
    const socket = await openSocket(channel);
    const total = LIMITS.producerOutcomesMax + 1;
    for (let seq = 1; seq <= total; seq += 1) {
      socket.send({ type: "put", id: seq, text: "x", producer: { id: "p", epoch: 0, seq } });
    }
    expect((await socket.take(total)).every((frame) => frame.type === "put-ok")).toBe(true);

    const reply = await send(channel, "x", numbered(1, 0));

    expect(reply.headers.has("Location")).toBe(false);
    expect(await accept(Promise.resolve(reply))).toMatchObject({ offset: null, count: 1, duplicate: true });
    expect(await accept(send(channel, "x", numbered(2, 0)))).toMatchObject({ offset: 2, duplicate: true });
    expect(await accept(send(channel, "x", numbered(total + 1, 0)))).toMatchObject({ offset: total + 1 });
  });

  test("[DD6] a key answers the first outcome; with another payload it is 422", async () => {
    const channel = await createChannel();
    const first = await accept(sendBatch(channel, ["a", "b"], keyed("order-7")));
    await hibernate(channel);

    const again = await accept(sendBatch(channel, ["a", "b"], keyed('"order-7"')));
    const other = await readProblem(sendBatch(channel, ["a", "c"], keyed("order-7")));

    expect(again).toMatchObject({ offset: first.offset, count: 2, duplicate: true });
    expect(other).toMatchObject({ kind: "idempotency-key-reused", status: 422, idempotencyKey: "order-7" });
    expect(await pullTexts(channel, { max: 10 })).toEqual(["a", "b"]);
  });

  test("[DD6] the same put sent at once many times is stored once", async () => {
    const channel = await createChannel();

    const replies = await Promise.all(Array.from({ length: 20 }, () => accept(send(channel, "a", keyed("k")))));

    expect(replies.filter((reply) => reply.duplicate === undefined)).toHaveLength(1);
    expect(new Set(replies.map((reply) => reply.offset))).toEqual(new Set([1]));
    expect(await browseTexts(channel)).toEqual(["a"]);
  });

  test("[DD6] the window is a setting", async () => {
    const channel = await createChannel({ idempotencyWindowMs: 60_000 });
    expect((await describeChannel(channel)).settings.idempotencyWindowMs).toBe(60_000);
    expect((await patchChannel(channel, { idempotencyWindowMs: 120_000 })).settings.idempotencyWindowMs).toBe(120_000);

    for (const idempotencyWindowMs of [59_999, LIMITS.idempotencyWindowMsMax + 1, null, "1"]) {
      const problem = await readProblem(call("PATCH", pathOf(channel), { json: { idempotencyWindowMs } }));
      expect(problem["errors"]).toMatchObject([{ pointer: "/idempotencyWindowMs" }]);
    }
  });

  test("[DD8] a put is accepted only at the expected offset", async () => {
    const channel = await createChannel();
    await accept(send(channel, "a", {}, "?expectedOffset=1"));

    const conflict = await readProblem(sendBatch(channel, ["b"], {}, "?expectedOffset=1"));

    expect(conflict).toMatchObject({ kind: "offset-conflict", status: 409, expectedOffset: 1, nextOffset: 2 });
    expect(await accept(sendBatch(channel, ["b"], {}, "?expectedOffset=2"))).toMatchObject({ offset: 2 });
  });

  test("[DD9] a retry is answered when the channel is closed", async () => {
    const channel = await createChannel();
    await accept(send(channel, "a", keyed("k")));
    await patchChannel(channel, { state: "closed" });

    expect(await accept(send(channel, "a", keyed("k")))).toMatchObject({ offset: 1, duplicate: true });
    expect(await readProblem(send(channel, "b", keyed("other")))).toMatchObject({ kind: "channel-closed" });
  });

  test.each<[string, Headers, string]>([
    ["no epoch", { "Producer-Id": "p", "Producer-Seq": "1" }, "/header/Producer-Epoch"],
    ["no id", { "Producer-Epoch": "1", "Producer-Seq": "1" }, "/header/Producer-Id"],
    ["only an id", { "Producer-Id": "p" }, "/header/Producer-Epoch"],
    ["a bad id", numbered(1, 1, "a b"), "/header/Producer-Id"],
    ["a long id", numbered(1, 1, "a".repeat(129)), "/header/Producer-Id"],
    ["a negative epoch", numbered(1, -1), "/header/Producer-Epoch"],
    ["a large epoch", numbered(1, 2 ** 31 + 1), "/header/Producer-Epoch"],
    ["the number 0", numbered(0), "/header/Producer-Seq"],
    ["a fraction", numbered("1.5"), "/header/Producer-Seq"],
    ["a number that is not exact", numbered("9007199254740993"), "/header/Producer-Seq"],
    ["words", numbered("one"), "/header/Producer-Seq"],
    ["two numbers", numbered("1, 2"), "/header/Producer-Seq"],
    ["both kinds", { ...numbered(1), ...keyed("k") }, "/header/Idempotency-Key"],
    ["an empty string", keyed('""'), "/header/Idempotency-Key"],
    ["an open string", keyed('"abc'), "/header/Idempotency-Key"],
    ["a bad escape", keyed('"a\\n"'), "/header/Idempotency-Key"],
    ["two keys", keyed("a, b"), "/header/Idempotency-Key"],
    ["a long key", keyed("k".repeat(LIMITS.idempotencyKeyBytesMax + 1)), "/header/Idempotency-Key"],
    ["a key that is not ASCII", keyed("k\u00e9"), "/header/Idempotency-Key"],
  ])("[G11] %s is refused and changes nothing", async (_name, headers, pointer) => {
    const channel = await createChannel();

    const problems = [await readProblem(send(channel, "a", headers)), await readProblem(sendBatch(channel, ["a"], headers))];

    const expected = { kind: "invalid-request", errors: [{ pointer }] };
    expect(problems).toMatchObject([expected, expected]);
    expect((await describeChannel(channel)).counts.put).toBe(0);
  });

  test.each(["0", "-1", "x", "", "281474976710657"])("[G11] expectedOffset=%s is refused", async (text) => {
    const problem = await readProblem(send(freshChannel(), "a", {}, `?expectedOffset=${text}`));

    expect(problem).toMatchObject({ kind: "invalid-request", errors: [{ pointer: "/query/expectedOffset" }] });
  });

  test("[DD1] the largest numbers are exact", async () => {
    const channel = await createChannel();
    const longest = keyed("k".repeat(LIMITS.idempotencyKeyBytesMax));
    await accept(send(channel, "a", numbered(1, 2 ** 31, "a".repeat(128))));

    const gap = await readProblem(send(channel, "b", numbered(Number.MAX_SAFE_INTEGER, 2 ** 31, "a".repeat(128))));

    expect(gap).toMatchObject({ kind: "producer-sequence-gap", epoch: 2 ** 31, expectedSeq: 2 });
    expect(await accept(send(channel, "k", longest))).toMatchObject({ offset: 2 });
    expect(await accept(send(channel, "k", longest))).toMatchObject({ offset: 2, duplicate: true });
  });

  test("[DD10] a numbered put that waits for room is stored once, and its retry is answered", async () => {
    const channel = await createChannel({ maxMessages: 1 });
    await putBatch(channel, ["in the way"]);
    const waiting = accept(send(channel, "a", numbered(1), "?waitMs=30000"));
    await untilChannel(channel, (description) => description.waiting.puts === 1);

    await pullTexts(channel);

    expect(await waiting).toMatchObject({ offset: 2 });
    expect(await accept(send(channel, "a", numbered(1), "?waitMs=30000"))).toMatchObject({ offset: 2, duplicate: true });
    expect(await pullTexts(channel, { max: 10 })).toEqual(["a"]);
    expect(await accept(send(channel, "b", numbered(2)))).toMatchObject({ offset: 3 });
  });

  test("[DD10] the same key that waits in several requests is stored once", async () => {
    const channel = await createChannel({ maxMessages: 1 });
    await putBatch(channel, ["in the way"]);
    const waiting = Array.from({ length: 3 }, () => accept(send(channel, "a", keyed("k"), "?waitMs=30000")));
    await untilChannel(channel, (description) => description.waiting.puts === 3);

    await patchChannel(channel, { maxMessages: 10 });

    const replies = await Promise.all(waiting);
    expect(replies.filter((reply) => reply.duplicate === undefined)).toHaveLength(1);
    expect(new Set(replies.map((reply) => reply.offset)).size).toBe(1);
    expect(await pullTexts(channel, { max: 10 })).toEqual(["in the way", "a"]);
  });
});

describe("src/channel/dedup on a storage that fails", () => {
  silenceWarnings();

  test.each<[string, string, Headers]>([
    ["producer", "producer", numbered(2)],
    ["key", "idempotency_key_1", keyed("second")],
  ])("[DD9] [RC6] a put whose %s can not be written is not stored, and its retry is new", async (_name, table, headers) => {
    const channel = await createChannel();
    await accept(send(channel, "first", "Producer-Id" in headers ? numbered(1) : keyed("first")));
    const raise = "SELECT RAISE(ABORT, 'database or disk is full')";
    await execute(channel, `CREATE TRIGGER refuse BEFORE INSERT ON ${table} BEGIN ${raise}; END`);

    const failed = await readProblem(send(channel, "second", headers));
    expect(failed).toMatchObject({ kind: "storage-failed", outcome: "not-applied" });
    expect(await browseTexts(channel)).toEqual(["first"]);
    await execute(channel, "DROP TRIGGER refuse");

    const retried = await accept(send(channel, "second", headers));
    expect(retried).toMatchObject({ offset: 2 });
    expect(retried).not.toHaveProperty("duplicate");
    expect(await accept(send(channel, "second", headers))).toMatchObject({ offset: 2, duplicate: true });
  });

  test("[DD2] [RC6] behind a put whose write failed, the numbers that came with it are refused", async () => {
    const channel = await createChannel();
    const socket = await openSocket(channel);
    const frames = [1, 2, 3].map((seq) => ({ ...frameOf(seq), waitMs: 0 }));
    await accept(send(channel, "0", numbered(1, 0, "q")));
    const raise = "SELECT RAISE(ABORT, 'database or disk is full')";
    const first = "NEW.producer_id = 'p' AND NEW.last_seq = 1";
    await execute(channel, `CREATE TRIGGER refuse BEFORE INSERT ON producer WHEN ${first} BEGIN ${raise}; END`);

    socket.send(...frames);

    const kinds = (await socket.take(3)).map((frame) => frame.problem?.kind);
    expect(kinds).toEqual(["storage-failed", "producer-sequence-gap", "producer-sequence-gap"]);
    await execute(channel, "DROP TRIGGER refuse");
    socket.send(...frames);
    expect((await socket.take(3)).map((frame) => frame.type)).toEqual(["put-ok", "put-ok", "put-ok"]);
    expect(await browseTexts(channel)).toEqual(["0", "put 1", "put 2", "put 3"]);
  });
});

describe("src/channel/dedup over a socket", () => {
  test("[DD2] [DD6] [DD8] frames carry the same conditions", async () => {
    const channel = await createChannel();
    const socket = await openSocket(channel);
    const producer = { id: "p", epoch: 0, seq: 1 };
    const frames = [
      { type: "put", id: 1, text: "a", producer },
      { type: "put", id: 2, text: "a", producer },
      { type: "put-batch", id: 3, messages: [{ text: "b" }, { text: "c" }], idempotencyKey: "ключ" },
      { type: "put-batch", id: 4, messages: [{ text: "b" }, { text: "c" }], idempotencyKey: "ключ" },
      { type: "put", id: 5, text: "d", expectedOffset: 4 },
      { type: "put", id: 6, text: "e", expectedOffset: 4 },
      { type: "put", id: 7, text: "e", producer: { ...producer, seq: 3 } },
    ];

    socket.send(...frames);

    const replies = await socket.take(frames.length);
    expect(replies).toMatchObject([
      { type: "put-ok", id: 1, offset: 1 },
      { type: "put-ok", id: 2, offset: 1, duplicate: true },
      { type: "put-ok", id: 3, offset: 2, count: 2 },
      { type: "put-ok", id: 4, offset: 2, count: 2, duplicate: true },
      { type: "put-ok", id: 5, offset: 4 },
      { type: "problem", inReplyTo: 6, problem: { kind: "offset-conflict", nextOffset: 5 } },
      { type: "problem", inReplyTo: 7, problem: { kind: "producer-sequence-gap", expectedSeq: 2 } },
    ]);
    expect(replies[0]).not.toHaveProperty("duplicate");
  });

  test.each<[string, object, string]>([
    ["both kinds", { producer: { id: "p", epoch: 0, seq: 1 }, idempotencyKey: "k" }, "/idempotencyKey"],
    ["a part of a producer", { producer: { id: "p", epoch: 0 } }, "/producer/seq"],
    ["an unknown member", { producer: { id: "p", epoch: 0, seq: 1, more: 1 } }, "/producer/more"],
    ["a number as text", { producer: { id: "p", epoch: 0, seq: "1" } }, "/producer/seq"],
    ["an unsafe number", { producer: { id: "p", epoch: 0, seq: 2 ** 53 } }, "/producer/seq"],
    ["an empty id", { producer: { id: "", epoch: 0, seq: 1 } }, "/producer/id"],
    ["an empty key", { idempotencyKey: "" }, "/idempotencyKey"],
    ["a long key", { idempotencyKey: "é".repeat(129) }, "/idempotencyKey"],
    ["half a character", { idempotencyKey: "\ud83e" }, "/idempotencyKey"],
    ["an offset of 0", { expectedOffset: 0 }, "/expectedOffset"],
  ])("[G11] %s is refused", async (_name, members, pointer) => {
    const socket = await openSocket(freshChannel());

    const frames = [
      await socket.ask({ type: "put", id: 1, text: "a", ...members }),
      await socket.ask({ type: "put-batch", id: 2, messages: [{ text: "a" }], ...members }),
    ];

    const problems = frames.map((frame): ProblemJson | undefined => frame.problem);
    const expected = { kind: "invalid-request", errors: [{ pointer }] };
    expect(problems).toMatchObject([expected, expected]);
  });

  test("[DD10] a producer pipelines behind a put that waits, through hibernation", async () => {
    const channel = await createChannel({ maxMessages: 1 });
    await putBatch(channel, ["in the way"]);
    const socket = await openSocket(channel);
    socket.send(...[1, 2, 3].map(frameOf));
    expect((await socket.take(3)).map((frame) => frame.type)).toEqual(["wait", "wait", "wait"]);
    await hibernate(channel);

    await patchChannel(channel, { maxMessages: 10 });
    const rooms = await socket.take(3);
    socket.send(...rooms.map((frame) => ({ ...frameOf(frame.id ?? 0), promised: true })));

    const done = await socket.take(3);
    expect(rooms.map((frame) => [frame.type, frame.id])).toEqual([1, 2, 3].map((id) => ["room", id]));
    expect(done.map((frame) => [frame.type, frame.id])).toEqual([1, 2, 3].map((id) => ["put-ok", id]));
    expect(await pullTexts(channel, { max: 10 })).toEqual(["in the way", "put 1", "put 2", "put 3"]);
  });
});

describe("src/channel/dedup: rows", () => {
  test("[DD11] a numbered put costs one row more than another, a retry none", async () => {
    const channel = await createChannel();
    const rowsOf = async (work: () => Promise<unknown>): Promise<number> => {
      const before = (await describeChannel(channel)).rows.written;
      await work();
      return (await describeChannel(channel)).rows.written - before;
    };
    await accept(send(channel, "x", numbered(1)));
    await accept(send(channel, "x", keyed("first")));

    const rows = [
      await rowsOf(() => putBatch(channel, ["x", "y"])),
      await rowsOf(() => accept(sendBatch(channel, ["x", "y"], numbered(2)))),
      await rowsOf(() => accept(sendBatch(channel, ["x", "y"], numbered(2)))),
      await rowsOf(() => accept(sendBatch(channel, ["x", "y"], keyed("k")))),
      await rowsOf(() => accept(sendBatch(channel, ["x", "y"], keyed("k")))),
    ];

    expect(rows).toEqual([1, 2, 0, 2, 0]);
  });
});
