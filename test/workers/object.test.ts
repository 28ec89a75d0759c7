// The object of a channel through what happens to it: restarts, failing storage, alarms. Rules are in src/channel/SPEC.md.
import { runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { describe, expect, test } from "vitest";
import type { Operation } from "../../src/channel/operation.ts";
import { packOperation } from "../../src/object/packing.ts";
import type { ChannelRecord } from "../../src/channel/store.ts";
import type { ChannelObject } from "../../src/object/channel-object.ts";
import { formatShardName, shardOfChannel } from "../../src/object/directory.ts";
import type { ChannelEntry } from "../../src/protocol/description.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import { ask } from "../../src/worker/channel-client.ts";
import { textMessage } from "../unit/channel-harness.ts";
import { execute, inObject, passTime, readAlarm, restart, runAlarm, silenceWarnings } from "./inside.ts";
import {
  call,
  createChannel,
  describeChannel,
  freshChannel,
  NO_COUNTS,
  openSocket,
  patchChannel,
  pathOf,
  pull,
  pullTexts,
  put,
  putBatch,
  read,
  readProblem,
  stubOf,
  textsOf,
} from "./service.ts";

const DAY_MS = 24 * 60 * 60 * 1000;

/** Lets storage refuse rows of a table, as a full disk does; those for which `when` holds. */
const WRITES = ["INSERT", "UPDATE"] as const;

async function refuseRows(channel: string, table: string, when = "true"): Promise<void> {
  const raise = "SELECT RAISE(ABORT, 'database or disk is full')";
  for (const write of WRITES)
    await execute(
      channel,
      `CREATE TRIGGER refuse_${table}_${write} BEFORE ${write} ON ${table} WHEN ${when} BEGIN ${raise}; END`,
    );
}

async function acceptRows(channel: string, table: string): Promise<void> {
  for (const write of WRITES) await execute(channel, `DROP TRIGGER refuse_${table}_${write}`);
}

function putOf(text: string): Operation {
  return { type: "put", messages: [textMessage(text)] };
}

function readRecord(channel: string): Promise<ChannelRecord> {
  return inObject(channel, (_, { storage }) => {
    const { json } = storage.sql.exec<{ json: string }>("SELECT record_json AS json FROM channel").one();
    return JSON.parse(json) as ChannelRecord;
  });
}

async function isListed(channel: string): Promise<boolean> {
  const { channels } = await read<{ channels: ChannelEntry[] }>(call("GET", `/v1/channels?prefix=${channel}`));
  return channels.some((entry) => entry.channel === channel);
}

function tryPut(channel: string, body = "x"): Promise<Response> {
  return call("POST", pathOf(channel, "/messages"), { body });
}

function tryPull(channel: string, waitMs = 0): Promise<Response> {
  return call("POST", pathOf(channel, "/messages/pull"), { json: { ack: "auto", waitMs } });
}

silenceWarnings();

describe("src/object/channel-object: restart", () => {
  test("[G1] messages, order, offsets and settings survive", async () => {
    const channel = await createChannel({ maxMessages: 9, growth: { factor: 2, maxMessages: 99, maxBytes: 2 ** 31 } });
    for (const text of ["a", "b", "c", "d"]) await put(channel, text);
    await pull(channel);
    await call("DELETE", pathOf(channel, "/messages/3"));
    const { rows: _, ...before } = await describeChannel(channel);

    await restart(channel);

    expect(await describeChannel(channel)).toMatchObject(before);
    expect((await put(channel, "e")).offset).toBe(5);
    expect((await pull(channel, { max: 9 })).messages).toMatchObject([
      { offset: 2, text: "b" },
      { offset: 4, text: "d" },
      { offset: 5, text: "e" },
    ]);
  });

  test("[OR4] offsets and totals survive when nothing is stored", async () => {
    const [taken, purged] = [await createChannel(), await createChannel()];
    for (const channel of [taken, purged]) await putBatch(channel, ["a", "b"]);
    await pull(taken, { max: 2 });
    await call("DELETE", pathOf(purged, "/messages"));

    for (const channel of [taken, purged]) await restart(channel);

    expect((await describeChannel(taken)).counts).toEqual({ ...NO_COUNTS, put: 2, acked: 2 });
    expect((await describeChannel(purged)).counts).toEqual({ ...NO_COUNTS, put: 2, removed: 2 });
    for (const channel of [taken, purged]) expect((await put(channel, "c")).offset).toBe(3);
  });

  test("[LC1] the state survives", async () => {
    const [draining, closed, deleted] = [await createChannel(), await createChannel(), await createChannel()];
    for (const channel of [draining, closed, deleted]) await put(channel, "a");
    await patchChannel(draining, { state: "draining" });
    await patchChannel(closed, { state: "closed" });
    await call("DELETE", pathOf(deleted, "?force=true"));

    for (const channel of [draining, closed, deleted]) await restart(channel);

    expect((await readProblem(tryPut(draining))).kind).toBe("channel-draining");
    expect((await readProblem(tryPut(closed))).kind).toBe("channel-closed");
    expect((await readProblem(tryPut(deleted))).kind).toBe("channel-deleted");
    expect(await pullTexts(draining)).toEqual(["a"]);
    expect((await describeChannel(draining)).state).toBe("closed");
  });

  test("[RC1] waking reads the same few rows whatever the backlog", async () => {
    const rowsRead: number[] = [];
    for (const puts of [5, 40]) {
      const channel = await createChannel();
      for (let count = 0; count < puts; count++) await put(channel, String(count));
      await restart(channel);
      const { rows, segments } = await describeChannel(channel);
      expect(segments).toBe(puts);
      rowsRead.push(rows.read);
    }

    expect(rowsRead[1]).toBe(rowsRead[0]);
  });

  test("a message leaves the object without the segment that it is stored in", async () => {
    const channel = await createChannel();
    await putBatch(
      channel,
      Array.from({ length: 100 }, (_, index) => String(index).padStart(1000)),
    );
    await restart(channel);

    const { outcome } = await ask(env, channel, { type: "read", offset: 50 }, ["message"]);

    const { body } = outcome.message;
    expect([body.byteLength, body.buffer.byteLength]).toEqual([1000, 1000]);
  });

  test("[G10] an object that was only asked about keeps no storage", async () => {
    const channel = freshChannel();
    await call("GET", pathOf(channel));

    const tables = await inObject(channel, (_, { storage }) => storage.sql.exec("SELECT name FROM sqlite_master").toArray());

    expect(tables).toEqual([]);
    expect(await readAlarm(channel)).toBeNull();
  });
});

describe("src/object/committer: storage that fails", () => {
  test("[RC6] a put that can not be stored is answered so, and the channel goes on", async () => {
    const channel = await createChannel();
    const socket = await openSocket(channel);
    await put(channel, "a");
    await refuseRows(channel, "segment");

    const reply = await tryPut(channel);
    const frame = await socket.ask({ type: "put", id: 1, text: "x" });

    expect(reply.headers.get("Retry-After")).toBe("1");
    const facts = { kind: "storage-failed", status: 503, retry: "after", outcome: "not-applied" };
    expect(await readProblem(reply)).toMatchObject(facts);
    expect(frame).toMatchObject({ type: "problem", inReplyTo: 1, problem: facts });
    expect(await describeChannel(channel)).toMatchObject({ depth: 1, nextOffset: 2, counts: { put: 1, acked: 0, removed: 0 } });
    await acceptRows(channel, "segment");
    expect(await socket.ask({ type: "put", id: 1, text: "b" })).toMatchObject({ type: "put-ok", offset: 2 });
    expect(await pullTexts(channel, { max: 9 })).toEqual(["a", "b"]);
  });

  test("[RC6] of requests that are committed together only those that fail again are refused", async () => {
    const channel = await createChannel();
    const socket = await openSocket(channel);
    await refuseRows(channel, "segment", "NEW.record_count > 1");
    const pair = [{ text: "p" }, { text: "q" }];

    for (let id = 0; id < 60; id++) {
      socket.send(id % 10 === 5 ? { type: "put-batch", id, messages: pair } : { type: "put", id, text: String(id) });
    }
    const frames = await socket.take(60);

    const failed = frames.filter((frame) => frame.type === "problem");
    expect(failed.map((frame) => frame.inReplyTo)).toEqual([5, 15, 25, 35, 45, 55]);
    expect(new Set(failed.map((frame) => frame.problem?.kind))).toEqual(new Set(["storage-failed"]));
    const stored = frames.filter((frame) => frame.type === "put-ok");
    expect(stored.map((frame) => frame.offset)).toEqual(Array.from({ length: 54 }, (_, index) => index + 1));
    expect(await pullTexts(channel, { max: 99 })).toEqual(stored.map((frame) => String(frame.id)));
  });

  test("[RC6] a full disk is drained: gets, removals and a purge go through", async () => {
    const channel = await createChannel();
    await putBatch(channel, ["a", "b", "c", "d", "e"]);
    await refuseRows(channel, "segment");

    expect((await readProblem(tryPut(channel))).kind).toBe("storage-failed");
    expect(await pullTexts(channel, { max: 2 })).toEqual(["a", "b"]);
    await read(call("DELETE", pathOf(channel, "/messages/4")));
    expect(await pullTexts(channel)).toEqual(["c"]);
    expect(await read(call("DELETE", pathOf(channel, "/messages")))).toEqual({ removedMessages: 1 });

    expect((await describeChannel(channel)).counts).toEqual({ ...NO_COUNTS, put: 5, acked: 3, removed: 2 });
    await acceptRows(channel, "segment");
    expect((await put(channel, "f")).offset).toBe(6);
  });

  test("[RC6] pipelined with puts that fail, gets are served first", async () => {
    const channel = await createChannel();
    const socket = await openSocket(channel);
    const texts = Array.from({ length: 30 }, (_, index) => String(index));
    await putBatch(channel, texts);
    await refuseRows(channel, "segment");

    for (const id of texts.keys()) socket.send({ type: "put", id: 100 + id, text: "x" }, { type: "get", id });
    const frames = await socket.take(60);

    const got = frames.filter((frame) => frame.type === "got");
    expect(got.flatMap((frame) => textsOf(frame.messages))).toEqual(texts);
    const failed = frames.filter((frame) => frame.problem?.kind === "storage-failed");
    expect(failed).toHaveLength(30);
    expect((await describeChannel(channel)).counts).toEqual({ ...NO_COUNTS, put: 30, acked: 30 });
  });

  test("[RC6] after a commit that failed the room that gets free is there for puts that came before them", async () => {
    // What comes within the delay is one commit.
    const channel = await createChannel({ maxMessages: 3, commitDelayMs: 5 });
    await putBatch(channel, ["a", "b", "c"]);
    await refuseRows(channel, "segment", "NEW.message_bytes >= 7");
    const operations: Operation[] = [{ type: "get" }, putOf("too big"), putOf("d"), putOf("e"), { type: "get" }];

    const performed = await inObject(channel, (object) =>
      Promise.all(operations.map((operation) => object.perform(packOperation(operation)))),
    );

    expect(performed.map((one) => "outcome" in one && one.outcome.type)).toEqual(["got", "refused", "put", "put", "got"]);
    expect(await pullTexts(channel, { max: 9 })).toEqual(["c", "d", "e"]);
  });

  test("[RC6] what waits goes on waiting when the put that would serve it fails", async () => {
    const channel = await createChannel();
    const socket = await openSocket(channel);
    expect(await socket.ask({ type: "get", id: 1, waitMs: 60_000 })).toMatchObject({ type: "wait" });
    for (const table of ["segment", "position"]) await refuseRows(channel, table);

    expect((await readProblem(tryPut(channel))).kind).toBe("storage-failed");
    expect(await socket.settle()).toEqual([]);
    for (const table of ["segment", "position"]) await acceptRows(channel, table);
    await put(channel, "a");

    expect(textsOf((await socket.next()).messages)).toEqual(["a"]);
  });

  test("[RC6] a change of the channel that fails leaves it as it was", async () => {
    const channel = await createChannel({ maxMessages: 5 });
    await refuseRows(channel, "channel");

    expect((await readProblem(call("PATCH", pathOf(channel), { json: { maxMessages: 6 } }))).kind).toBe("storage-failed");
    expect((await readProblem(call("DELETE", pathOf(channel)))).kind).toBe("storage-failed");

    expect(await describeChannel(channel)).toMatchObject({ state: "open", settings: { maxMessages: 5 }, nextOffset: 1 });
    await acceptRows(channel, "channel");
    expect((await patchChannel(channel, { maxMessages: 6 })).limits.maxMessages).toBe(6);
  });

  test("[RC6] while storage can not even be read requests are refused, and afterwards nothing of them stands", async () => {
    const channel = await createChannel();
    await put(channel, "a");
    await execute(channel, "ALTER TABLE segment RENAME TO hidden");

    const problem = await readProblem(tryPut(channel, "ghost"));
    await execute(channel, "ALTER TABLE hidden RENAME TO segment");

    expect(problem).toMatchObject({ outcome: "not-applied" });
    expect(await describeChannel(channel)).toMatchObject({ depth: 1, nextOffset: 2 });
    expect(await pullTexts(channel, { max: 9 })).toEqual(["a"]);
    expect((await put(channel, "b")).offset).toBe(2);
  });
});

describe("src/object/channel-object: alarms", () => {
  test("[LC9] a creation is told to the directory by the alarm, once", async () => {
    const channel = await createChannel();

    await runDurableObjectAlarm(stubOf(channel));
    await runAlarm(channel);

    expect(await isListed(channel)).toBe(true);
    expect((await readRecord(channel)).outbox).toMatchObject({ isPending: false, attempts: 0 });
    expect(await readAlarm(channel)).toBeNull();
  });

  test("[LC9] puts and gets set no alarm", async () => {
    const channel = await createChannel();
    await runAlarm(channel);
    await runDurableObjectAlarm(stubOf(channel));

    await putBatch(channel, ["a", "b"]);
    await pull(channel);

    expect(await readAlarm(channel)).toBeNull();
  });

  test("[RC8] after waking the alarm of an idle channel is known, and no commit sets it again", async () => {
    const channel = await createChannel({ expireAfterIdleMs: LIMITS.expireAfterIdleMsMin });
    await runAlarm(channel);
    const alarmAtMs = await readAlarm(channel);
    await restart(channel);
    const { rows: before } = await describeChannel(channel);

    await put(channel, "a");

    expect((await describeChannel(channel)).rows.written - before.written).toBe(1);
    expect(await readAlarm(channel)).toBe(alarmAtMs);
  });

  test("[LC9] a directory that fails is told again with back-off, and operations go on meanwhile", async () => {
    const channel = freshChannel();
    const shard = env.DIRECTORY.getByName(formatShardName(shardOfChannel(channel)));
    const rename = (from: string, to: string): Promise<void> =>
      runInDurableObject<ChannelObject, void>(shard, (_, { storage }) => {
        storage.sql.exec(`ALTER TABLE ${from} RENAME TO ${to}`);
      });
    passTime(0);
    await rename("listed_channel", "broken");
    await read(call("PUT", pathOf(channel)), 201);

    for (const [attempts, delayMs] of [1000, 2000, 4000, 8000].entries()) {
      await runAlarm(channel);
      const { outbox } = await readRecord(channel);
      expect(outbox).toMatchObject({ isPending: true, attempts: attempts + 1, nextAttemptAtMs: Date.now() + delayMs });
      expect(await readAlarm(channel)).toBe(Date.now() + delayMs);
      passTime(delayMs);
    }
    expect((await put(channel, "a")).offset).toBe(1);
    await rename("broken", "listed_channel");
    expect(await isListed(channel)).toBe(false);
    await runAlarm(channel);

    expect(await isListed(channel)).toBe(true);
    expect((await readRecord(channel)).outbox).toMatchObject({ isPending: false, attempts: 0 });
  });

  test("[LC9] an alarm that comes before its time tells nobody twice", async () => {
    const channel = await createChannel({ expireAfterIdleMs: LIMITS.expireAfterIdleMsMin });
    await runAlarm(channel);
    const { version } = (await readRecord(channel)).outbox;

    await runAlarm(channel);

    expect((await readRecord(channel)).outbox).toMatchObject({ version, isPending: false });
    expect(await describeChannel(channel)).toMatchObject({ state: "open" });
  });

  test("[LC3] the alarm ends the grace of a deletion", async () => {
    passTime(0);
    const channel = await createChannel();
    await putBatch(channel, ["a", "b"]);
    await pull(channel);
    await runAlarm(channel);
    await read(call("DELETE", pathOf(channel, "?graceMs=7000")), 202);
    expect(await readAlarm(channel)).toBe(Date.now() + 7000);

    passTime(6999);
    await runAlarm(channel);
    expect((await describeChannel(channel)).state).toBe("draining");
    passTime(1);
    await runAlarm(channel);

    expect((await readRecord(channel)).state).toBe("deleted");
    const problem = await readProblem(call("GET", pathOf(channel)));
    expect(problem).toMatchObject({ kind: "channel-deleted", droppedMessages: 1, deletedAtMs: Date.now() });
    expect(await isListed(channel)).toBe(false);
  });

  test("[LC3] the end of a grace holds though the alarm is late", async () => {
    const channel = await createChannel();
    await put(channel, "a");
    await read(call("DELETE", pathOf(channel, "?graceMs=7000")), 202);

    passTime(7000);

    expect(await readProblem(tryPull(channel))).toMatchObject({ kind: "channel-deleted", droppedMessages: 1 });
  });

  test("[LC5] the end of the tombstone erases all storage", async () => {
    const channel = await createChannel();
    await put(channel, "a");
    await call("DELETE", pathOf(channel, "?force=true"));
    await runAlarm(channel);
    const { deletedAtMs } = await readRecord(channel);
    expect(await readAlarm(channel)).toBe((deletedAtMs ?? 0) + LIMITS.tombstoneMs);

    passTime(DAY_MS);
    await runAlarm(channel);

    const rest = await inObject(channel, async (_, { storage }) => [
      storage.sql.exec("SELECT name FROM sqlite_master").toArray(),
      await storage.getAlarm(),
    ]);
    expect(rest).toEqual([[], null]);
    expect(await readProblem(call("GET", pathOf(channel)))).toMatchObject({ kind: "unknown-channel" });
  });

  test("[LC9] a life that begins right after the tombstone's end is told to the directory", async () => {
    const channel = await createChannel();
    await call("DELETE", pathOf(channel));
    await runAlarm(channel);
    passTime(DAY_MS);
    // The runtime's own way, which takes the alarm away before it runs.
    await runDurableObjectAlarm(stubOf(channel));

    await put(channel, "a");

    expect(await readAlarm(channel)).not.toBeNull();
    await runDurableObjectAlarm(stubOf(channel));
    expect(await isListed(channel)).toBe(true);
    expect(await pullTexts(channel)).toEqual(["a"]);
  });

  test("[LC6] an idle channel ends without a tombstone", async () => {
    passTime(0);
    const idleMs = LIMITS.expireAfterIdleMsMin;
    const channel = await createChannel({ expireAfterIdleMs: idleMs });
    await runAlarm(channel);
    expect(await readAlarm(channel)).toBe(Date.now() + idleMs);

    passTime(idleMs - 1);
    await runAlarm(channel);
    expect((await describeChannel(channel)).state).toBe("open");
    passTime(1);
    await runAlarm(channel);

    expect(await readProblem(call("GET", pathOf(channel)))).toMatchObject({ kind: "unknown-channel" });
    expect(await isListed(channel)).toBe(false);
    expect(await put(channel, "again")).toMatchObject({ offset: 1 });
  });

  test("[LC6] a channel with messages, with a change since, or with somebody waiting does not end", async () => {
    passTime(0);
    const idleMs = LIMITS.expireAfterIdleMsMin;
    const settings = { expireAfterIdleMs: idleMs };
    const [filled, used, waitedFor] = [
      await createChannel(settings),
      await createChannel(settings),
      await createChannel(settings),
    ];
    const socket = await openSocket(waitedFor);
    await socket.ask({ type: "get", id: 1, waitMs: LIMITS.waitMsMax });
    await put(filled, "a");
    passTime(idleMs / 2);
    await put(used, "a");
    await pull(used);
    passTime(idleMs / 2);

    for (const channel of [filled, used, waitedFor]) await runAlarm(channel);

    for (const channel of [filled, used, waitedFor]) expect((await describeChannel(channel)).state).toBe("open");
    expect(await readAlarm(used)).toBe(Date.now() + idleMs / 2);
    for (const channel of [filled, waitedFor]) expect(await readAlarm(channel)).toBeGreaterThan(Date.now());
  });
});

describe("src/object/env", () => {
  test("[LC7] where AUTO_CREATE is off only a create makes a channel", async () => {
    for (const AUTO_CREATE of ["false", undefined]) {
      const channel = freshChannel();
      await inObject(channel, (object) => Object.assign(object, { env: { ...env, AUTO_CREATE } }));

      expect(await readProblem(tryPut(channel))).toMatchObject({ kind: "unknown-channel", status: 404, channel });
      expect((await readProblem(tryPull(channel, 60_000))).kind).toBe("unknown-channel");

      await read(call("PUT", pathOf(channel)), 201);
      expect(await put(channel, "a")).toMatchObject({ offset: 1 });
    }
  });
});
