// Delayed messages over HTTP and WebSocket, with their alarm and their rows: SPEC section SD.
import { describe, expect, test } from "vitest";
import { LIMITS } from "../../src/protocol/limits.ts";
import type { ScheduledReceipt } from "../../src/protocol/schedule.ts";
import { execute, hibernate, inObject, passTime, readAlarm, restart, runAlarm, silenceWarnings } from "./inside.ts";
import {
  call,
  createChannel,
  describeChannel,
  openSocket,
  patchChannel,
  pathOf,
  pull,
  pullTexts,
  put,
  read,
  readProblem,
  untilChannel,
  type MessageJson,
  type PutJson,
} from "./service.ts";

const HOUR_MS = 60 * 60 * 1000;
const TEXT = { "Content-Type": "text/plain; charset=utf-8" };

interface DelayedJson extends Omit<PutJson, "offset"> {
  readonly offset: number | null;
  readonly scheduledId?: string;
  readonly scheduled: readonly ScheduledReceipt[];
}

interface ScheduledJson extends Omit<MessageJson, "offset"> {
  readonly scheduledId: string;
  readonly deliverAtMs: number;
}

interface ScheduledPageJson {
  readonly scheduled: readonly ScheduledJson[];
  readonly next: string | null;
}

/** Puts one message with these headers. */
function tryPut(channel: string, headers: Readonly<Record<string, string>>, body = "a"): Promise<Response> {
  return call("POST", pathOf(channel, "/messages"), { body, headers: { ...TEXT, ...headers } });
}

function putDelayed(channel: string, text: string, delayMs: number): Promise<DelayedJson> {
  return read<DelayedJson>(tryPut(channel, { "Channel-Delay-Ms": String(delayMs) }, text), 201);
}

function tryBatch(channel: string, messages: readonly object[]): Promise<Response> {
  return call("POST", pathOf(channel, "/messages/batch"), { json: { messages } });
}

function list(channel: string, query = ""): Promise<ScheduledPageJson> {
  return read<ScheduledPageJson>(call("GET", pathOf(channel, `/scheduled${query}`)));
}

function cancel(channel: string, scheduledId: string): Promise<Response> {
  return call("DELETE", pathOf(channel, `/scheduled/${scheduledId}`));
}

/** A channel about which the directory knows, so that it sets no alarm of its own. */
async function createQuiet(settings: object = {}): Promise<string> {
  const channel = await createChannel(settings);
  await runAlarm(channel);
  await inObject(channel, (_, { storage }) => storage.deleteAlarm());
  return channel;
}

async function countRows(channel: string, work: () => Promise<unknown>): Promise<number> {
  const before = (await describeChannel(channel)).rows.written;
  await work();
  return (await describeChannel(channel)).rows.written - before;
}

silenceWarnings();

describe("delayed messages over HTTP", () => {
  test("[SD2] a message with a delay is answered with its id, and has no offset and no address", async () => {
    const channel = await createChannel();

    const reply = await tryPut(channel, { "Channel-Delay-Ms": String(HOUR_MS) });
    const document = await read<DelayedJson>(reply, 201);

    const { scheduledId = "" } = document;
    expect(document).toMatchObject({ offset: null, count: 0, scheduled: [{ index: 0, scheduledId }], state: { depth: 0 } });
    expect(scheduledId).toMatch(/^\d+-\d+$/);
    expect(reply.headers.get("Location")).toBeNull();
    expect(await describeChannel(channel)).toMatchObject({ depth: 0, scheduled: { messages: 1, bytes: 1 } });
  });

  test("[SD1] no delay and a time that is over are a put like any other", async () => {
    const channel = await createChannel();

    const first = await tryPut(channel, { "Channel-Delay-Ms": "0" });
    const second = await tryPut(channel, { "Channel-Deliver-At-Ms": "1000" });

    expect(first.headers.get("Location")).toBe(pathOf(channel, "/messages/1"));
    expect(await first.json()).not.toHaveProperty("scheduled");
    expect(await read<PutJson>(second, 201)).toMatchObject({ offset: 2, count: 1 });
  });

  test.each([
    [{ "Channel-Delay-Ms": "-1" }, "/header/Channel-Delay-Ms"],
    [{ "Channel-Delay-Ms": "" }, "/header/Channel-Delay-Ms"],
    [{ "Channel-Delay-Ms": "1e3" }, "/header/Channel-Delay-Ms"],
    [{ "Channel-Delay-Ms": String(LIMITS.delayMsMax + 1) }, "/header/Channel-Delay-Ms"],
    [{ "Channel-Deliver-At-Ms": "tomorrow" }, "/header/Channel-Deliver-At-Ms"],
    [{ "Channel-Deliver-At-Ms": "99999999999999999" }, "/header/Channel-Deliver-At-Ms"],
    [{ "Channel-Deliver-At-Ms": "999999999999999" }, "/header/Channel-Deliver-At-Ms"],
    [{ "Channel-Delay-Ms": "1", "Channel-Deliver-At-Ms": "1" }, "/header/Channel-Deliver-At-Ms"],
  ])("[SD1] [G11] headers that say no delay are refused: %j", async (headers, pointer) => {
    const channel = await createChannel();

    const problem = await readProblem(tryPut(channel, headers));

    expect(problem).toMatchObject({ kind: "invalid-request", errors: [{ pointer }] });
    expect(await describeChannel(channel)).toMatchObject({ depth: 0, scheduled: { messages: 0 } });
  });

  test("[TL1] a message says how long it lives, and readers see it", async () => {
    const channel = await createChannel({ messageTtlMs: HOUR_MS, onExpired: "dead-letter" });

    await read(tryPut(channel, { "Channel-Ttl-Ms": "60000" }), 201);
    await read(tryBatch(channel, [{ text: "b", ttlMs: 70_000 }, { text: "c" }]), 201);

    expect(await describeChannel(channel)).toMatchObject({ settings: { messageTtlMs: HOUR_MS, onExpired: "dead-letter" } });
    const first = await call("GET", pathOf(channel, "/messages/1"));
    expect(first.headers.get("Channel-Ttl-Ms")).toBe("60000");
    const { messages } = await read<{ messages: { ttlMs?: number }[] }>(call("GET", pathOf(channel, "/messages")));
    expect(messages.map(({ ttlMs }) => ttlMs)).toEqual([60_000, 70_000, undefined]);
  });

  test.each(["0", "", "-1", "1.5", "soon", String(LIMITS.ttlMsMax + 1)])("[TL1] [G11] no time to live: %j", async (ttlMs) => {
    const channel = await createChannel();

    const problem = await readProblem(tryPut(channel, { "Channel-Ttl-Ms": ttlMs }));

    expect(problem).toMatchObject({ kind: "invalid-request", errors: [{ pointer: "/header/Channel-Ttl-Ms" }] });
    expect(await describeChannel(channel)).toMatchObject({ depth: 0 });
  });

  test("[SD2] a batch of both kinds says which messages enter when", async () => {
    const channel = await createChannel();
    const deliverAtMs = Date.now() + HOUR_MS;

    const messages = [{ text: "a" }, { json: 1, deliverAtMs }, { text: "c", delayMs: 0 }, { base64: "AAEC", delayMs: 5000 }];
    const reply = await read<DelayedJson>(tryBatch(channel, messages), 201);

    expect(reply).toMatchObject({
      offset: 1,
      count: 2,
      scheduled: [{ index: 1, deliverAtMs }, { index: 3 }],
      state: { depth: 2 },
    });
    expect(reply).not.toHaveProperty("scheduledId");
    expect((await list(channel)).scheduled).toMatchObject([{ base64: "AAEC" }, { json: 1, deliverAtMs }]);
  });

  test.each([
    [{ text: "b", delayMs: -1 }, "/messages/1/delayMs"],
    [{ text: "b", delayMs: "5" }, "/messages/1/delayMs"],
    [{ text: "b", delayMs: LIMITS.delayMsMax + 1 }, "/messages/1/delayMs"],
    [{ text: "b", deliverAtMs: 1.5 }, "/messages/1/deliverAtMs"],
    [{ text: "b", deliverAtMs: Number.MAX_SAFE_INTEGER }, "/messages/1/deliverAtMs"],
    [{ text: "b", delayMs: 1, deliverAtMs: 1 }, "/messages/1/deliverAtMs"],
  ])("[SD1] [G8] a batch with %j is refused whole", async (message, pointer) => {
    const channel = await createChannel();

    const problem = await readProblem(tryBatch(channel, [{ text: "a" }, message]));

    expect(problem).toMatchObject({ kind: "invalid-request", errors: [{ pointer }] });
    expect(await describeChannel(channel)).toMatchObject({ depth: 0, scheduled: { messages: 0 } });
  });

  test("[SD3] what is scheduled fills the channel, and the refusal says so", async () => {
    const channel = await createChannel({ maxMessages: 2 });
    await putDelayed(channel, "a", HOUR_MS);

    const reply = await putDelayed(channel, "b", HOUR_MS);
    const problem = await readProblem(tryPut(channel, {}));

    expect(reply.state).toMatchObject({ depth: 0, bytes: 0, utilization: 1 });
    expect(problem).toMatchObject({ kind: "channel-full", depth: 0, scheduled: { messages: 2, bytes: 2 } });
    expect(problem.detail).toContain("2 of 2 messages");
  });

  test("[SD3] a put with a delay waits for room, and is delayed from then on", async () => {
    const channel = await createChannel({ maxMessages: 1 });
    await put(channel, "a");
    const waiting = call("POST", pathOf(channel, "/messages?waitMs=5000"), {
      body: "b",
      headers: { ...TEXT, "Channel-Delay-Ms": "60000" },
    });
    await untilChannel(channel, (description) => description.waiting.puts === 1);

    await pull(channel);

    expect(await read<DelayedJson>(waiting, 201)).toMatchObject({ offset: null, scheduled: [{ index: 0 }] });
  });

  test("[SD9] the list shows messages as browse does, page by page", async () => {
    const channel = await createChannel();
    const labels = { "Channel-Key": "k", "Channel-Message-Id": "m", "Channel-Header-x": "y" };
    const { scheduledId } = await read<DelayedJson>(tryPut(channel, { ...labels, "Channel-Delay-Ms": "9000" }), 201);
    await putDelayed(channel, "b", 8000);

    const first = await list(channel, "?limit=1");
    const second = await list(channel, `?limit=1&after=${first.next}`);

    expect(first).toMatchObject({ scheduled: [{ text: "b" }], next: first.scheduled[0]?.scheduledId });
    expect(second).toEqual({
      scheduled: [
        {
          scheduledId,
          deliverAtMs: expect.any(Number),
          putAtMs: expect.any(Number),
          contentType: TEXT["Content-Type"],
          key: "k",
          messageId: "m",
          headers: { x: "y" },
          text: "a",
        },
      ],
      next: null,
    });
    for (const query of ["?limit=0", `?limit=${LIMITS.scheduledPageMax + 1}`, "?after=5", "?after=a-b", "?from=1"])
      expect((await readProblem(call("GET", pathOf(channel, `/scheduled${query}`)))).kind).toBe("invalid-request");
  });

  test("[SD8] a message is cancelled once; ids that are none are refused", async () => {
    const channel = await createChannel();
    const { scheduledId = "" } = await putDelayed(channel, "a", HOUR_MS);

    const reply = await cancel(channel, scheduledId);

    expect(reply.headers.get("Channel-Utilization")).toBe("0");
    expect(await read(reply)).toEqual({ scheduledId });
    expect(await readProblem(cancel(channel, scheduledId))).toMatchObject({
      kind: "unknown-scheduled",
      status: 404,
      scheduledId,
    });
    for (const id of ["1", "a-1", "1-1-1", "1234567890123456-1", "%00-1"])
      expect(await readProblem(cancel(channel, id))).toMatchObject({
        kind: "invalid-request",
        errors: [{ pointer: "/path/scheduledId" }],
      });
    expect(await readProblem(cancel(`${channel}-no`, scheduledId))).toMatchObject({ kind: "unknown-channel" });
    expect((await readProblem(call("POST", pathOf(channel, "/scheduled")))).kind).toBe("method-not-allowed");
  });

  test("[SD10] a purge leaves what is scheduled, a deletion drops and counts it", async () => {
    const channel = await createChannel();
    await put(channel, "a");
    await putDelayed(channel, "b", HOUR_MS);

    expect(await read(call("DELETE", pathOf(channel, "/messages")))).toEqual({ removedMessages: 1 });
    expect(await describeChannel(channel)).toMatchObject({ depth: 0, scheduled: { messages: 1 } });
    expect(await read(call("DELETE", pathOf(channel, "?graceMs=60000")), 202)).toMatchObject({ state: "draining" });
    const reply = await read(call("DELETE", pathOf(channel, "?force=true")));

    expect(reply).toEqual({ state: "deleted", droppedMessages: 1 });
    expect((await readProblem(call("GET", pathOf(channel, "/scheduled")))).kind).toBe("channel-deleted");
  });
});

describe("delayed messages over WebSocket", () => {
  test("[SD2] put and put-batch take delays and answer as HTTP does", async () => {
    const socket = await openSocket(await createChannel());

    const single = await socket.ask({ type: "put", id: 1, text: "a", delayMs: 60_000 });
    const batch = await socket.ask({ type: "put-batch", id: 2, messages: [{ text: "b" }, { text: "c", delayMs: 60_000 }] });
    const wrong = await socket.ask({ type: "put", id: 3, text: "a", delayMs: 1, deliverAtMs: 1 });
    const far = await socket.ask({ type: "put", id: 4, text: "a", deliverAtMs: Number.MAX_SAFE_INTEGER });

    expect(single).toMatchObject({
      type: "put-ok",
      offset: null,
      count: 0,
      scheduled: [{ index: 0 }],
      scheduledId: expect.stringMatching(/^\d+-\d+$/),
    });
    expect(batch).toMatchObject({ type: "put-ok", offset: 1, count: 1, scheduled: [{ index: 1 }] });
    expect(batch).not.toHaveProperty("scheduledId");
    for (const { problem } of [wrong, far])
      expect(problem).toMatchObject({ kind: "invalid-request", errors: [{ pointer: "/deliverAtMs" }] });
  });

  test("[SD5] a waiting get is served when the time has come, by the alarm alone", async () => {
    const channel = await createQuiet();
    const socket = await openSocket(channel);
    socket.send({ type: "put", id: 1, text: "a", delayMs: 150 }, { type: "get", id: 2, waitMs: 10_000 });

    const [stored, waiting] = await socket.take(2);
    const got = await socket.next();

    expect([stored?.type, waiting?.type]).toEqual(["put-ok", "wait"]);
    expect(got).toMatchObject({ type: "got", id: 2, messages: [{ offset: 1, text: "a" }] });
    expect(got.messages?.[0]?.putAtMs).toBeGreaterThanOrEqual(stored?.scheduled?.[0]?.deliverAtMs ?? Infinity);
  });

  test("[RC8] what comes due right after an alarm does not wait for the next one", async () => {
    const channel = await createQuiet();
    const socket = await openSocket(channel);
    const messages = [100, 200, 300, 400].map((delayMs) => ({ text: String(delayMs), delayMs }));
    const beganAtMs = Date.now();
    socket.send({ type: "put-batch", id: 1, messages }, { type: "get", id: 2, min: 4, max: 4, waitMs: 10_000 });

    const [, , got] = await socket.take(3);

    expect(got?.messages?.map(({ text }) => text)).toEqual(["100", "200", "300", "400"]);
    expect(Date.now() - beganAtMs).toBeLessThan(1000);
  });
});

describe("delayed messages: alarm and rows", () => {
  test("[RC8] the alarm is set only when the nearest time moves earlier", async () => {
    const channel = await createQuiet();
    passTime(0);
    const nowMs = Date.now();
    const rows: number[] = [];
    const { scheduledId } = await putDelayed(channel, "a", HOUR_MS);

    rows.push(await countRows(channel, () => putDelayed(channel, "b", 2 * HOUR_MS)));
    rows.push(await countRows(channel, () => putDelayed(channel, "c", HOUR_MS / 2)));
    rows.push(await countRows(channel, () => cancel(channel, scheduledId ?? "")));

    expect(rows).toEqual([2, 3, 2]);
    expect(await readAlarm(channel)).toBe(nowMs + HOUR_MS / 2);
  });

  test("[RC8] [SD11] after waking the alarm is known, and nothing is set that is set already", async () => {
    const [idle, delayed] = [await createQuiet({ expireAfterIdleMs: HOUR_MS }), await createQuiet()];
    for (const channel of [idle, delayed]) await runAlarm(channel);
    await putDelayed(delayed, "a", HOUR_MS);
    for (const channel of [idle, delayed]) await restart(channel);

    const rows = [
      await countRows(idle, () => put(idle, "a")),
      await countRows(delayed, () => put(delayed, "a")),
      await countRows(delayed, () => putDelayed(delayed, "b", 2 * HOUR_MS)),
      await countRows(delayed, () => putDelayed(delayed, "c", HOUR_MS / 2)),
    ];

    expect(rows).toEqual([1, 1, 2, 3]);
  });

  test("[RC8] an alarm that the runtime gave up is set again by the first commit after its time", async () => {
    const channel = await createQuiet();
    passTime(0);
    const nowMs = Date.now();
    await putDelayed(channel, "a", 5000);
    await putDelayed(channel, "b", HOUR_MS);
    await inObject(channel, (_, { storage }) => storage.deleteAlarm());
    passTime(5000);
    await restart(channel);

    await put(channel, "c");

    expect(await readAlarm(channel)).toBe(nowMs + HOUR_MS);
  });

  test("[RC8] the alarm that lets a message enter sets the next one, once", async () => {
    const channel = await createQuiet();
    passTime(0);
    const nowMs = Date.now();
    await putDelayed(channel, "a", 5000);
    await putDelayed(channel, "b", HOUR_MS);
    const { rows: before } = await describeChannel(channel);
    passTime(5000);

    await runAlarm(channel);

    // The message goes, the segment comes, the totals and the alarm are written.
    const { rows } = await describeChannel(channel);
    expect(rows.written - before.written).toBe(4);
    expect(await readAlarm(channel)).toBe(nowMs + HOUR_MS);
  });

  test("[RC8] [LS6] a get that begins to wait sets the alarm for the end of a lease, once, and it is known after waking", async () => {
    const channel = await createQuiet();
    passTime(0);
    const nowMs = Date.now();
    await put(channel, "a");
    await read(call("POST", pathOf(channel, "/messages/pull"), { json: { leaseMs: HOUR_MS } }));
    expect(await readAlarm(channel)).toBeNull();
    const socket = await openSocket(channel);

    const rows = [
      await countRows(channel, () => socket.ask({ type: "pull", id: 1, waitMs: 2 * HOUR_MS })),
      await countRows(channel, () => socket.ask({ type: "pull", id: 2, waitMs: 2 * HOUR_MS })),
    ];
    await hibernate(channel);
    rows.push(await countRows(channel, () => putDelayed(channel, "b", 2 * HOUR_MS)));
    rows.push(await countRows(channel, () => putDelayed(channel, "c", HOUR_MS / 2)));

    expect(rows).toEqual([1, 0, 2, 3]);
    expect(await readAlarm(channel)).toBe(nowMs + HOUR_MS / 2);
  });

  test("[RC8] the alarm of an idle channel does not hide a time that comes before it", async () => {
    const channel = await createQuiet({ expireAfterIdleMs: HOUR_MS });
    passTime(0);
    const nowMs = Date.now();
    await runAlarm(channel);
    await restart(channel);

    await putDelayed(channel, "a", HOUR_MS / 2);

    expect(await readAlarm(channel)).toBe(nowMs + HOUR_MS / 2);
  });

  test("[SD4] [SD11] entering deletes a row each, and writes one segment and the totals", async () => {
    const channel = await createQuiet();
    for (const text of ["a", "b", "c"]) await putDelayed(channel, text, 5000);
    const before = (await describeChannel(channel)).rows.written;
    passTime(5000);

    const { rows, counts } = await describeChannel(channel);

    expect([counts.put, rows.written - before]).toEqual([3, 3 + 1 + 1]);
    expect(await pullTexts(channel, { max: 9 })).toEqual(["a", "b", "c"]);
  });

  test("[SD7] [SD8] what is scheduled survives a restart, and enters once", async () => {
    const channel = await createChannel();
    passTime(0);
    const { scheduledId = "" } = await putDelayed(channel, "a", 5000);
    await putDelayed(channel, "b", HOUR_MS);
    await restart(channel);
    passTime(5000);
    await runAlarm(channel);
    await restart(channel);
    await runAlarm(channel);

    expect(await describeChannel(channel)).toMatchObject({ depth: 1, scheduled: { messages: 1 }, counts: { put: 1 } });
    expect((await readProblem(cancel(channel, scheduledId))).kind).toBe("unknown-scheduled");
    expect(await pullTexts(channel, { max: 9 })).toEqual(["a"]);
  });

  test("[SD6] one alarm lets thousands enter, commit by commit", async () => {
    const channel = await createChannel();
    const count = LIMITS.scheduledEntryMessagesMax * 2 + 5;
    const messages = Array.from({ length: count }, (_, index) => ({ text: String(index), delayMs: 5000 }));
    await read(tryBatch(channel, messages), 201);
    passTime(5000);

    await runAlarm(channel);

    expect(await pullTexts(channel, { max: count })).toEqual(messages.map(({ text }) => text));
    expect(await describeChannel(channel)).toMatchObject({ scheduled: { messages: 0, bytes: 0, nextAtMs: null }, depth: 0 });
  });

  test("[SD6] [SD7] [RC6] while nothing can enter, gets are served and nothing is lost", async () => {
    const channel = await createChannel();
    await put(channel, "a");
    await putDelayed(channel, "b", 5000);
    const raise = "SELECT RAISE(ABORT, 'database or disk is full')";
    await execute(channel, `CREATE TRIGGER refuse BEFORE INSERT ON segment BEGIN ${raise}; END`);
    passTime(5000);

    const taken = await pullTexts(channel, { max: 1 });
    await runAlarm(channel);
    const refused = await readProblem(tryPut(channel, {}));
    await execute(channel, "DROP TRIGGER refuse");

    expect([taken, refused.kind]).toEqual([["a"], "storage-failed"]);
    expect(await pullTexts(channel, { max: 9 })).toEqual(["b"]);
    expect((await describeChannel(channel)).counts).toMatchObject({ put: 2, acked: 2, removed: 0 });
  });

  test("[SD2] [RC6] a put that storage refuses has scheduled nothing", async () => {
    const channel = await createChannel();
    const raise = "SELECT RAISE(ABORT, 'database or disk is full')";
    await execute(channel, `CREATE TRIGGER refuse BEFORE INSERT ON scheduled BEGIN ${raise}; END`);

    const refused = await readProblem(tryBatch(channel, [{ text: "a" }, { text: "b", delayMs: 1 }]));
    await execute(channel, "DROP TRIGGER refuse");

    expect(refused).toMatchObject({ kind: "storage-failed", outcome: "not-applied" });
    expect(await describeChannel(channel)).toMatchObject({ depth: 0, scheduled: { messages: 0 } });
  });

  test("[RC5] [SD11] a message of 16 MiB waits in rows below 2 MB and enters bit for bit", async () => {
    const channel = await createChannel({ maxMessageBytes: LIMITS.messageBytesMax });
    const body = new Uint8Array(LIMITS.messageBytesMax);
    for (let index = 0; index < body.length; index += 65_521) body[index] = index % 251;
    const headers = { "Content-Type": "application/octet-stream", "Channel-Delay-Ms": "5000" };
    await read(call("POST", pathOf(channel, "/messages"), { body, headers }), 201);
    const select = "SELECT max(length(body)) AS most FROM (SELECT body FROM scheduled UNION ALL SELECT body FROM scheduled_part)";
    const most = await inObject(channel, (_, { storage }) => storage.sql.exec<{ most: number }>(select).one().most);
    passTime(5000);

    const reply = await call("GET", pathOf(channel, "/messages/1"));

    const arrived = new Uint8Array(await reply.arrayBuffer());
    expect(most).toBeLessThan(LIMITS.rowBytesMax);
    expect(arrived.byteLength).toBe(body.byteLength);
    expect(arrived.every((byte, index) => byte === body[index])).toBe(true);
  });

  test("[SD10] a draining channel is closed by the alarm when the last message was taken", async () => {
    const channel = await createQuiet();
    const socket = await openSocket(channel);
    await putDelayed(channel, "a", 200);
    await patchChannel(channel, { state: "draining" });
    socket.send({ type: "get", id: 1, waitMs: 10_000 });

    const [waiting, got] = await socket.take(2);

    expect([waiting?.type, got?.type]).toEqual(["wait", "got"]);
    expect((await describeChannel(channel)).state).toBe("closed");
  });
});
