// The WebSocket client against a socket that the test drives by hand: nothing here waits for real time.
import { assert, describe, expect, test } from "vitest";
import { ChannelSocket, type ConnectOptions } from "../../src/client/channel-socket.ts";
import { formatProblem } from "../../src/protocol/problem-format.ts";
import { errorOf } from "../client-calls.ts";
import { FakeTimers, FakeWebSocket, isSettled, KEEP_ALIVE_TIMERS, STATE, WELCOME } from "./client-doubles.ts";

const URL_OF_CHANNEL = "http://localhost/v1/channels/c/socket";
const FULL = formatProblem({ kind: "channel-full", retryAfterMs: 100, depth: 1, maxMessages: 1, bytes: 5, maxBytes: 100 });

function begin(options: ConnectOptions = {}): { socket: FakeWebSocket; connecting: Promise<ChannelSocket> } {
  const connecting = ChannelSocket.connect(URL_OF_CHANNEL, { WebSocket: FakeWebSocket, ...options });
  const socket = FakeWebSocket.last;
  assert(socket !== undefined);
  return { socket, connecting };
}

async function connect(options: ConnectOptions = {}): Promise<{ socket: FakeWebSocket; channel: ChannelSocket }> {
  const { socket, connecting } = begin(options);
  socket.open();
  socket.receive(WELCOME);
  const channel = await connecting;
  socket.sent.length = 0;
  return { socket, channel };
}

describe("src/client/channel-socket: connection", () => {
  test("says hello with its versions and resolves on welcome", async () => {
    const { socket, connecting } = begin();
    socket.open();

    expect(socket.url).toBe("ws://localhost/v1/channels/c/socket");
    expect(socket.protocols).toEqual(["channel.v1.bin", "channel.v1.json"]);
    expect(socket.sent).toEqual([{ type: "hello", versions: [1], joined: true, pings: true }]);
    expect(await isSettled(connecting)).toBe(false);

    socket.receive(WELCOME);
    expect(await connecting).toBeInstanceOf(ChannelSocket);
  });

  test("[CN5] pings once a minute while the server answers, and stops with the connection", async () => {
    const timers = new FakeTimers();
    const { socket, channel } = await connect({ startTimer: timers.start });
    for (let minute = 0; minute < 3; minute++) {
      timers.fire(40_000);
      expect(socket.sent).toEqual([{ type: "ping" }]);
      socket.sent.length = 0;
      socket.receive({ type: "pong" });
      timers.fire(20_000);
    }
    expect(channel.isOpen).toBe(true);
    expect(timers.count).toBe(KEEP_ALIVE_TIMERS);
    void channel.close();
    expect(timers.count).toBe(0);
  });

  test("a server that says nothing after a ping is lost: what is unanswered rejects", async () => {
    const timers = new FakeTimers();
    const { socket, channel } = await connect({ startTimer: timers.start });
    const putting = errorOf(channel.put({ body: "a" }));
    socket.receive({ type: "echo", echo: 7 });
    timers.fire(40_000);
    timers.fire(20_000);

    expect(await putting).toMatchObject({ kind: "connection-lost", retry: "after", outcome: "unknown" });
    expect(channel.isOpen).toBe(false);
    expect(timers.count).toBe(0);
  });

  test("rejects where the socket does not open", async () => {
    const { socket, connecting } = begin();
    socket.end(1006);

    const error = await errorOf(connecting);
    expect(error).toMatchObject({ kind: "connection-failed", origin: "network", retry: "after", outcome: "not-applied" });
    expect(error.status).toBeUndefined();
    expect(error.message).toBe("Cannot connect: the connection closed with code 1006");
  });

  test("rejects with the server's problem where no version is common", async () => {
    const { socket, connecting } = begin();
    socket.open();
    socket.receive({ type: "problem", problem: formatProblem({ kind: "unsupported-version", supported: [2] }) });

    expect(await errorOf(connecting)).toMatchObject({
      kind: "unsupported-version",
      origin: "server",
      problem: { supported: [2] },
    });
  });

  test("an aborted signal ends the attempt to connect", async () => {
    const abort = new AbortController();
    const { socket, connecting } = begin({ signal: abort.signal });
    abort.abort("enough");

    expect(await errorOf(connecting)).toMatchObject({
      kind: "aborted",
      origin: "client",
      outcome: "not-applied",
      cause: "enough",
    });
    expect(socket.readyState).toBe(2);
  });

  test("close rejects what is unanswered and resolves when the socket is closed", async () => {
    const { socket, channel } = await connect();
    const getting = errorOf(channel.get());
    const closing = channel.close();

    expect(await getting).toMatchObject({ kind: "connection-closed", origin: "client", retry: "never", outcome: "unknown" });
    expect(await isSettled(closing)).toBe(false);
    socket.end(1000);
    await closing;
    expect(await errorOf(channel.stats())).toMatchObject({ kind: "connection-closed", outcome: "not-applied" });
  });

  test.each([
    [4410, "not-applied"],
    [1001, "unknown"],
  ])("[NM6] what is unanswered when the server closes with %i was %s", async (code, outcome) => {
    const { socket, channel } = await connect();
    const putting = errorOf(channel.put({ body: "a" }));
    socket.end(code);

    expect(await putting).toMatchObject({ kind: "connection-lost", retry: "after", outcome });
  });

  test("answers that come joined in a frame reach their requests", async () => {
    const { socket, channel } = await connect();
    const puts = [channel.put({ body: "a" }), channel.put({ body: "b" })];
    const state = { depth: 2, bytes: 2, utilization: 0, waiters: 0 };
    socket.receive({ type: "joined", frames: [2, 1].map((id) => ({ type: "put-ok", id, offset: id, count: 1, state })) });

    expect((await Promise.all(puts)).map(({ offset }) => offset)).toEqual([1, 2]);
  });

  test("a frame that is no JSON object ends the connection", async () => {
    const { socket, channel } = await connect();
    const putting = errorOf(channel.put({ body: "a" }));
    socket.receive("<html>");

    expect(await putting).toMatchObject({ kind: "protocol-violation", origin: "server", outcome: "unknown" });
    expect(socket.readyState).toBe(2);
  });
});

describe("src/client/channel-socket: requests", () => {
  test("a put carries body, key, id, headers and content type, and resolves with the offset and the state", async () => {
    const { socket, channel } = await connect();
    const putting = channel.put({ body: "hello", key: "k", messageId: "m", headers: { a: "b" }, contentType: "text/x" });

    expect(socket.sent).toEqual([
      { type: "put", id: 1, text: "hello", key: "k", messageId: "m", headers: { a: "b" }, contentType: "text/x" },
    ]);
    socket.store(1, 7);
    expect(await putting).toEqual({ offset: 7, count: 1, isDuplicate: false, state: STATE });
  });

  test("[G9] a put carries its producer's number, key and expected offset, again when there is room; a duplicate is told", async () => {
    const { socket, channel } = await connect();
    const producer = { id: "p", epoch: 0, seq: 9 };
    const puts = [
      channel.put({ body: "a" }, { producer, expectedOffset: 4, waitMs: 1000 }),
      channel.putBatch([{ body: "b" }], { idempotencyKey: "k" }),
    ];
    const numbered = { type: "put", id: 1, text: "a", producer, expectedOffset: 4, waitMs: 1000 };
    expect(socket.sent).toEqual([numbered, { type: "put-batch", id: 2, messages: [{ text: "b" }], idempotencyKey: "k" }]);

    socket.receive({ type: "wait", id: 1 });
    socket.receive({ type: "room", id: 1, reservedMs: 5000 });
    expect(socket.sent[2]).toEqual({ ...numbered, promised: true });
    socket.receive({ type: "put-ok", id: 1, offset: null, count: 1, duplicate: true, state: STATE });
    socket.receive({ type: "put-ok", id: 2, offset: 5, count: 1, duplicate: true, state: STATE });

    const receipts = [null, 5].map((offset) => ({ offset, count: 1, isDuplicate: true, state: STATE }));
    expect(await Promise.all(puts)).toEqual(receipts);
  });

  test("[SD2] a put with a delay resolves with the id by which it can be cancelled", async () => {
    const { socket, channel } = await connect();
    const scheduled = [{ index: 0, scheduledId: "9-5", deliverAtMs: 9 }];
    const putting = channel.put({ body: "a", delayMs: 4 });

    expect(socket.sent).toEqual([{ type: "put", id: 1, text: "a", delayMs: 4 }]);
    socket.receive({ type: "put-ok", id: 1, offset: null, count: 0, scheduledId: "9-5", scheduled, state: STATE });
    expect(await putting).toEqual({ offset: null, count: 0, scheduled, isDuplicate: false, state: STATE });
  });

  test("a pull leases: it says for how long, for whom, and whether the leases outlive the connection", async () => {
    const { socket, channel } = await connect();
    const pulling = channel.pull({ max: 2, group: "g", leaseMs: 2000, reader: "r", detached: true });
    void channel.pull({ detached: false });
    const message = { offset: 4, putAtMs: 5, contentType: "x/y", leaseId: "l", attempt: 2, redelivered: true };

    expect(socket.sent).toEqual([
      { type: "pull", id: 1, max: 2, group: "g", leaseMs: 2000, reader: "r", detached: true },
      { type: "pull", id: 2 },
    ]);
    socket.receive({ type: "got", id: 1, messages: [{ ...message, json: 7 }], leaseUntilMs: 9, state: STATE });
    const messages = [{ ...message, body: { json: 7 } }];
    expect(await pulling).toEqual({ messages, controls: [], leaseUntilMs: 9, state: STATE });
  });

  test("a settle call sends of its entries and riders what the protocol knows, and reports what became of them", async () => {
    const { socket, channel } = await connect();
    const message = { leaseId: "a", offset: 1, body: "x" };
    const settling = channel.settle({
      acks: [message],
      retries: [{ leaseId: "b", delayMs: 5, reason: "later" }],
      extends: [{ leaseId: "c", leaseMs: 2000 }],
      rejects: [{ leaseId: "d", reason: "bad" }],
      releases: [{ leaseId: "e" }],
      checkpoint: { name: "at", value: new Uint8Array([1]), ifMatch: 3 },
      puts: ["next", { body: { json: 1 }, key: "k" }],
    });

    expect(socket.sent).toEqual([
      {
        type: "settle",
        id: 1,
        acks: [{ leaseId: "a" }],
        retries: [{ leaseId: "b", delayMs: 5, reason: "later" }],
        extends: [{ leaseId: "c", leaseMs: 2000 }],
        rejects: [{ leaseId: "d", reason: "bad" }],
        releases: [{ leaseId: "e" }],
        checkpoint: { name: "at", base64: "AQ==", ifMatch: 3 },
        puts: [{ text: "next" }, { json: 1, key: "k" }],
      },
    ]);
    const report = { acked: 1, retried: 1, extended: 1, rejected: 1, released: 1, refused: [], putOffset: 9, state: STATE };
    socket.receive({ type: "settled", id: 1, ...report });
    expect(await settling).toEqual(report);
  });

  test("a settle call that is aborted is not waited for, and may be carried out", async () => {
    const abort = new AbortController();
    const { socket, channel } = await connect();
    const settling = errorOf(channel.settle({ acks: [] }, { signal: abort.signal }));
    const asking = errorOf(channel.stats({ signal: abort.signal }));
    abort.abort("enough");

    expect(await settling).toMatchObject({ kind: "aborted", outcome: "unknown", cause: "enough" });
    expect(await asking).toMatchObject({ kind: "aborted", outcome: "not-applied", cause: "enough" });
    socket.receive({ type: "stats", id: 2, stats: {} });
    expect(socket.sent.map((frame) => frame["type"])).toEqual(["settle", "stats"]);
  });

  test("[PT6] a put that asks for room first sends its size, and its bodies when there is room", async () => {
    const { socket, channel } = await connect();
    const putting = channel.putBatch(["é", { body: "b", key: "k" }], { reserve: true, idempotencyKey: "i" });
    const refused = errorOf(channel.put("c", { reserve: true }));

    expect(socket.sent).toEqual([
      { type: "reserve", id: 1, messages: 2, bytes: 4 },
      { type: "reserve", id: 2, messages: 1, bytes: 1 },
    ]);
    socket.receive({ type: "room", id: 1, reservedMs: 5000 });
    const messages = [{ text: "é" }, { text: "b", key: "k" }];
    expect(socket.sent[2]).toEqual({ type: "put-batch", id: 1, messages, idempotencyKey: "i", promised: true });
    socket.store(1, 1, 2);
    expect((await putting).count).toBe(2);
    socket.end(1006);
    expect(await refused).toMatchObject({ kind: "connection-lost", outcome: "not-applied" });
  });

  test("bodies come back in the form in which they were put", async () => {
    const { socket, channel } = await connect();
    const putting = channel.putBatch([{ body: "t" }, { body: new Uint8Array([0, 255]) }, { body: { json: null } }]);
    const [frame] = socket.sent;
    assert(frame !== undefined && Array.isArray(frame["messages"]));
    expect(frame["messages"]).toEqual([{ text: "t" }, { base64: "AP8=" }, { json: null }]);
    socket.store(1, 1, 3);
    await putting;

    const getting = channel.get({ max: 3 });
    const messages = frame["messages"].map((form: object, index) => ({
      offset: index + 1,
      putAtMs: 5,
      contentType: "x/y",
      ...form,
    }));
    socket.receive({ type: "got", id: 2, messages, state: STATE });
    const got = await getting;
    expect(got.messages.map((message) => message.body)).toEqual(["t", new Uint8Array([0, 255]), { json: null }]);
    expect(got.messages[1]).toEqual({ offset: 2, putAtMs: 5, contentType: "x/y", body: new Uint8Array([0, 255]) });
    expect(got.controls).toEqual([]);
  });

  test("pipelined requests are answered by id, in any order", async () => {
    const { socket, channel } = await connect();
    const first = channel.put({ body: "a" });
    const second = channel.get({ min: 2, max: 5 });
    const third = channel.stats();

    expect(socket.sent.map((frame) => [frame["type"], frame["id"]])).toEqual([
      ["put", 1],
      ["get", 2],
      ["stats", 3],
    ]);
    socket.receive({ type: "stats", id: 3, stats: { depth: 9 } });
    socket.receive({ type: "got", id: 2, messages: [], state: STATE });
    socket.store(1, 1);
    expect(await third).toEqual({ depth: 9 });
    expect((await second).messages).toEqual([]);
    expect((await first).offset).toBe(1);
  });

  test("a problem becomes an error with its facts, and the connection stays", async () => {
    const { socket, channel } = await connect();
    const putting = errorOf(channel.put({ body: "a" }));
    socket.receive({ type: "problem", inReplyTo: 1, problem: FULL });

    const error = await putting;
    expect(error).toMatchObject({ kind: "channel-full", status: 429, origin: "server", retry: "after", outcome: "not-applied" });
    expect(error.problem).toEqual(FULL);
    expect(error.message).toBe(FULL.detail);
    expect(socket.readyState).toBe(1);
  });

  test("a problem that says its outcome is believed", async () => {
    const { socket, channel } = await connect();
    const putting = errorOf(channel.put({ body: "a" }));
    socket.refuse(1, { kind: "internal", outcome: "unknown" });

    expect(await putting).toMatchObject({ kind: "internal", status: 500, outcome: "unknown" });
  });

  test("an answer of the wrong type rejects", async () => {
    const { socket, channel } = await connect();
    const putting = errorOf(channel.put({ body: "a" }));
    socket.receive({ type: "got", id: 1, messages: [], state: STATE });

    expect(await putting).toMatchObject({ kind: "protocol-violation", outcome: "unknown" });
  });

  test("a frame that would end the connection is not sent", async () => {
    const { socket, channel } = await connect();
    const error = await errorOf(channel.put({ body: "a".repeat(24 * 1024 * 1024) }));

    expect(error).toMatchObject({ kind: "request-too-large", origin: "client", outcome: "not-applied" });
    expect(await errorOf(channel.put({ json: 1n }))).toMatchObject({ kind: "invalid-request", origin: "client" });
    expect(socket.sent).toEqual([]);
  });

  test("the end of the socket rejects all that is unanswered, with what may have happened", async () => {
    const timers = new FakeTimers();
    const { socket, channel } = await connect({ startTimer: timers.start });
    const sent = errorOf(channel.put({ body: "a" }));
    const waiting = errorOf(channel.put({ body: "b" }, { waitMs: 1_000 }));
    const getting = errorOf(channel.get());
    const asking = errorOf(channel.stats());
    socket.receive({ type: "wait", id: 2 });
    socket.end(1001, "going away");

    expect(await sent).toMatchObject({ kind: "connection-lost", origin: "network", retry: "after", outcome: "unknown" });
    // Its body is still here: the server has nothing that it could store.
    expect(await waiting).toMatchObject({ kind: "connection-lost", outcome: "not-applied" });
    expect(await getting).toMatchObject({ outcome: "unknown" });
    expect(await asking).toMatchObject({ outcome: "not-applied" });
    expect((await sent).message).toBe("No answer came: the connection closed with code 1001, going away");
    expect(timers.count).toBe(0);
    expect(await errorOf(channel.put({ body: "c" }))).toMatchObject({ kind: "connection-lost", outcome: "not-applied" });
  });
});

describe("src/client/channel-socket: waiting", () => {
  test("a put that waits is sent again once, with the same id, when there is room", async () => {
    let waits = 0;
    const timers = new FakeTimers();
    const { socket, channel } = await connect({ onWait: () => void (waits += 1), startTimer: timers.start });
    const putting = channel.put({ body: "a" }, { waitMs: 1_000 });
    const [frame] = socket.sent;

    socket.receive({ type: "wait", id: 1 });
    expect(waits).toBe(1);
    expect(socket.sent).toHaveLength(1);
    socket.receive({ type: "room", id: 1, reservedMs: 5_000 });
    expect(socket.sent).toEqual([frame, { ...(frame as object), promised: true }]);
    socket.store(1, 3);

    expect((await putting).offset).toBe(3);
    expect(socket.sent).toHaveLength(2);
    expect(timers.count).toBe(KEEP_ALIVE_TIMERS);
  });

  test("a get that waits is not counted as back-pressure", async () => {
    let waits = 0;
    const timers = new FakeTimers();
    const { socket, channel } = await connect({ onWait: () => void (waits += 1), startTimer: timers.start });
    const getting = channel.get({ waitMs: 1_000 });
    socket.receive({ type: "wait", id: 1 });
    socket.receive({ type: "got", id: 1, messages: [], state: STATE });

    await getting;
    expect(waits).toBe(0);
  });

  test("the deadline is kept here: cancel is sent, and the server's answer counts", async () => {
    const timers = new FakeTimers();
    const { socket, channel } = await connect({ startTimer: timers.start });
    const putting = errorOf(channel.put({ body: "a" }, { waitMs: 250 }));
    const capped = channel.get({ waitMs: Number.MAX_SAFE_INTEGER });
    socket.receive({ type: "wait", id: 1 });
    socket.receive({ type: "wait", id: 2 });
    expect(timers.delaysMs).toEqual([40_000, 250, 300_000]);

    timers.fire(250);
    timers.fire(300_000);
    expect(socket.sent.slice(2)).toEqual([
      { type: "cancel", id: 1 },
      { type: "cancel", id: 2 },
    ]);
    expect(await isSettled(putting)).toBe(false);
    socket.receive({ type: "problem", inReplyTo: 1, problem: FULL });
    socket.receive({ type: "got", id: 2, messages: [], state: STATE });
    expect(await putting).toMatchObject({ kind: "channel-full", outcome: "not-applied" });
    expect((await capped).messages).toEqual([]);
  });

  test("an aborted get still delivers what the server took before", async () => {
    const abort = new AbortController();
    const { socket, channel } = await connect();
    const getting = channel.get({ signal: abort.signal });
    abort.abort();
    abort.abort();

    expect(socket.sent.slice(1)).toEqual([{ type: "cancel", id: 1 }]);
    expect(await isSettled(getting)).toBe(false);
    const message = { offset: 4, putAtMs: 5, contentType: "text/plain", text: "late" };
    socket.receive({ type: "got", id: 1, messages: [message], state: STATE });
    expect((await getting).messages.map(({ body }) => body)).toEqual(["late"]);
  });

  test("room that comes after an abort is not used", async () => {
    const abort = new AbortController();
    const timers = new FakeTimers();
    const { socket, channel } = await connect({ startTimer: timers.start });
    const putting = errorOf(channel.put({ body: "a" }, { waitMs: 1_000, signal: abort.signal }));
    socket.receive({ type: "wait", id: 1 });
    abort.abort();
    socket.receive({ type: "room", id: 1, reservedMs: 5_000 });
    socket.receive({ type: "problem", inReplyTo: 1, problem: FULL });

    expect(await putting).toMatchObject({ kind: "channel-full", outcome: "not-applied" });
    expect(socket.sent.map((frame) => frame["type"])).toEqual(["put", "cancel"]);
  });

  test("a signal that is aborted already sends nothing", async () => {
    const { socket, channel } = await connect();
    const error = await errorOf(channel.put({ body: "a" }, { signal: AbortSignal.abort("no") }));

    expect(error).toMatchObject({ kind: "aborted", origin: "client", outcome: "not-applied", cause: "no" });
    expect(socket.sent).toEqual([]);
  });

  test("a put that comes too late for its room is not applied, and what is said of it later is ignored", async () => {
    const timers = new FakeTimers();
    const { socket, channel } = await connect({ startTimer: timers.start });
    const putting = errorOf(channel.put({ body: "a" }, { waitMs: 20_000 }));
    const problem = formatProblem({ kind: "promise-lost", id: 1 });
    socket.receive({ type: "wait", id: 1 });
    socket.receive({ type: "room", id: 1, reservedMs: 5_000 });

    socket.receive({ type: "problem", inReplyTo: 1, problem });
    socket.receive({ type: "problem", inReplyTo: 1, problem });

    expect(await putting).toMatchObject({ kind: "promise-lost", status: 409, outcome: "not-applied" });
  });
});
