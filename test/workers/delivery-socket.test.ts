// Pull and settle over WebSocket, and what becomes of leases when connections end. SPEC section LS.
import { describe, expect, test } from "vitest";
import { LIMITS } from "../../src/protocol/limits.ts";
import { hibernate, passTime, readAlarm, restart, runAlarm } from "./inside.ts";
import {
  createChannel,
  describeChannel,
  entriesOf,
  type Frame,
  lease,
  NO_COUNTS,
  openSocket,
  patchChannel,
  pullTexts,
  put,
  putBatch,
  settle,
  type TestSocket,
  textsOf,
  untilChannel,
} from "./service.ts";

const LONG_MS = 60_000;
/** As when a tab is closed: the end is not the client's choice. */
const GOING_AWAY = 1001;

/** Pulls over a socket, and expects what comes at once. */
async function pullOver(socket: TestSocket, id: number, take: object = {}): Promise<Frame> {
  const frame = await socket.ask({ type: "pull", id, ...take });
  expect(frame).toMatchObject({ type: "got", id });
  return frame;
}

async function closeAndAwait(channel: string, socket: TestSocket, code?: number): Promise<void> {
  const { connections } = await describeChannel(channel);
  socket.close(code);
  await untilChannel(channel, (description) => description.connections === connections - 1);
}

describe("src/object/socket-frames: pull and settle", () => {
  test("[LS1] a pull leases for 30 s unless it says how long", async () => {
    const channel = await createChannel();
    const socket = await openSocket(channel);
    await putBatch(channel, ["a", "b", "c"]);
    passTime(0);

    const first = await pullOver(socket, 1);
    const rest = await pullOver(socket, 2, { max: 5, leaseMs: 5000 });

    expect(first).toMatchObject({ messages: [{ text: "a", attempt: 1, redelivered: false }], state: { depth: 3 } });
    expect(first.leaseUntilMs).toBe(Date.now() + 30_000);
    expect(rest).toMatchObject({ messages: [{ text: "b" }, { text: "c" }], leaseUntilMs: Date.now() + 5000 });
    expect((await pullOver(socket, 3)).messages).toEqual([]);
    expect(await socket.ask({ type: "get", id: 4, max: 9 })).toMatchObject({ type: "got", messages: [] });
  });

  test("[LS3] a settle is answered entry by entry, whoever pulled", async () => {
    const channel = await createChannel();
    const [reader, other] = [await openSocket(channel), await openSocket(channel)];
    await putBatch(channel, ["a", "b", "c"]);
    const { messages = [] } = await pullOver(reader, 1, { max: 3 });

    const acks = entriesOf(messages.slice(0, 1));
    const settled = await other.ask({ type: "settle", id: 7, acks, releases: entriesOf(messages.slice(1, 2)) });
    const again = await reader.ask({
      type: "settle",
      id: 8,
      acks: entriesOf(messages.slice(0, 2)),
      rejects: entriesOf(messages.slice(2)),
    });

    expect(settled).toMatchObject({ type: "settled", id: 7, acked: 1, released: 1, refused: [], state: { depth: 2 } });
    expect(again).toMatchObject({ type: "settled", id: 8, acked: 0, rejected: 1 });
    expect(again.refused?.map(({ pointer, problem }) => [pointer, problem["cause"]])).toEqual([
      ["/acks/0/leaseId", "settled"],
      ["/acks/1/leaseId", "released"],
    ]);
    expect((await describeChannel(channel)).counts).toEqual({ ...NO_COUNTS, put: 3, acked: 1, deadLettered: 1 });
  });

  test("[OR3] puts, pulls and settles that are pipelined are decided in their order", async () => {
    const channel = await createChannel();
    const socket = await openSocket(channel);
    const { messages } = await lease(channel, { max: 0 });
    expect(messages).toEqual([]);

    socket.send(
      { type: "put", id: 1, text: "a" },
      { type: "pull", id: 2 },
      { type: "pull", id: 3 },
      { type: "put", id: 4, text: "b" },
    );
    const frames = await socket.take(4);

    expect(frames.map(({ type }) => type)).toEqual(["put-ok", "got", "got", "put-ok"]);
    expect(frames.slice(1, 3).map((frame) => textsOf(frame.messages))).toEqual([["a"], []]);
  });

  test("[LS2] bad frames are refused, and change nothing", async () => {
    const channel = await createChannel();
    const socket = await openSocket(channel);
    await put(channel, "a");
    const { messages = [] } = await pullOver(socket, 1);
    await put(channel, "b");
    const leaseId = messages[0]?.leaseId ?? "";
    const cases: [object, string][] = [
      [{ type: "pull", leaseMs: LIMITS.leaseMsMin - 1 }, "/leaseMs"],
      [{ type: "pull", leaseMs: LIMITS.leaseMsMax + 1 }, "/leaseMs"],
      [{ type: "pull", detached: false }, "/detached"],
      [{ type: "pull", ack: "auto" }, "/ack"],
      [{ type: "pull", min: 2, max: 1 }, "/min"],
      [{ type: "settle", acks: [leaseId] }, "/acks/0"],
      [{ type: "settle", acks: [{ leaseId, delayMs: 1 }] }, "/acks/0/delayMs"],
      [{ type: "settle", extends: [{ leaseId }] }, "/extends/0/leaseMs"],
      [{ type: "settle", retries: [{ leaseId, delayMs: -1 }] }, "/retries/0/delayMs"],
      [{ type: "settle", acks: [{ leaseId }, { leaseId }] }, "/acks/1/leaseId"],
      [{ type: "settle", acks: [{ leaseId }], waitMs: 5 }, "/waitMs"],
    ];
    for (const [frame, pointer] of cases) {
      const { problem, inReplyTo } = await socket.ask({ id: 5, ...frame });
      const errors = (problem?.["errors"] as { pointer: string }[] | undefined) ?? [];
      expect([pointer, inReplyTo, problem?.kind, errors[0]?.pointer]).toEqual([pointer, 5, "invalid-request", pointer]);
    }
    const cut = await socket.ask({ type: "settle", id: 6, acks: [{ leaseId }, { leaseId: leaseId.slice(0, -1) }] });
    expect(cut.problem).toMatchObject({ kind: "invalid-lease", status: 400, pointer: "/acks/1/leaseId" });

    expect((await describeChannel(channel)).delivery).toMatchObject({ ready: 1, leased: 1 });
    expect(await socket.ask({ type: "settle", id: 7, acks: [{ leaseId }] })).toMatchObject({ acked: 1 });
  });

  test("[WT4] an id that waits is in use, also for a pull", async () => {
    const channel = await createChannel();
    const socket = await openSocket(channel);
    expect(await socket.ask({ type: "pull", id: 1, waitMs: LONG_MS })).toEqual({ type: "wait", id: 1 });

    expect((await socket.ask({ type: "pull", id: 1, waitMs: LONG_MS })).problem?.kind).toBe("request-in-use");
    socket.send({ type: "cancel", id: 1 });
    expect(await socket.next()).toMatchObject({ type: "got", id: 1, messages: [] });
  });
});

describe("src/channel/traffic: pulls that wait", () => {
  test("[LS1] gets and pulls wait in one line", async () => {
    const channel = await createChannel();
    const [first, second, third] = [await openSocket(channel), await openSocket(channel), await openSocket(channel)];
    for (const [socket, type] of [
      [first, "pull"],
      [second, "get"],
      [third, "pull"],
    ] as const) {
      expect(await socket.ask({ type, id: 1, waitMs: LONG_MS })).toEqual({ type: "wait", id: 1 });
    }

    await putBatch(channel, ["a", "b", "c"]);

    const served = [await first.next(), await second.next(), await third.next()];
    expect(served.map((frame) => textsOf(frame.messages))).toEqual([["a"], ["b"], ["c"]]);
    expect(served.map((frame) => frame.messages?.[0]?.leaseId !== undefined)).toEqual([true, false, true]);
    expect((await describeChannel(channel)).delivery?.leased).toBe(2);
  });

  test("[LS6] [WT8] a pull that waits through hibernation is served when a lease ends, with the lease it asked for", async () => {
    passTime(0);
    const channel = await createChannel();
    await put(channel, "a");
    await lease(channel, { leaseMs: 20_000 });
    const [bound, detached] = [await openSocket(channel), await openSocket(channel)];
    await bound.ask({ type: "pull", id: 1, waitMs: LONG_MS, leaseMs: 70_000 });
    await detached.ask({ type: "pull", id: 1, waitMs: LONG_MS, leaseMs: 80_000, detached: true });

    await hibernate(channel);
    passTime(20_000);
    await runAlarm(channel);

    const got = await bound.next();
    expect(got).toMatchObject({ messages: [{ text: "a", attempt: 2, redelivered: true }], leaseUntilMs: Date.now() + 70_000 });
    await hibernate(channel);
    bound.close();
    expect(await detached.next()).toMatchObject({ messages: [{ text: "a", attempt: 2 }], leaseUntilMs: Date.now() + 80_000 });
    await hibernate(channel);
    await closeAndAwait(channel, detached);
    expect((await describeChannel(channel)).delivery?.leased).toBe(1);
  });

  test("[KO1] a pull that waits gets a message of a key when the one before it is settled", async () => {
    const channel = await createChannel();
    const [holder, next] = [await openSocket(channel), await openSocket(channel)];
    await holder.ask({
      type: "put-batch",
      id: 1,
      messages: [
        { text: "a", key: "k" },
        { text: "b", key: "k" },
      ],
    });
    const { messages } = await pullOver(holder, 2);
    expect(await next.ask({ type: "pull", id: 1, waitMs: LONG_MS })).toEqual({ type: "wait", id: 1 });

    await holder.ask({ type: "settle", id: 3, acks: entriesOf(messages) });

    expect(textsOf((await next.next()).messages)).toEqual(["b"]);
  });
});

describe("src/object/channel-object: leases of connections", () => {
  test("[LS9] a clean close ends them at once, uncounted, and serves who waits", async () => {
    const channel = await createChannel();
    const [holder, waiting] = [await openSocket(channel), await openSocket(channel)];
    await putBatch(channel, ["a", "b"]);
    const { messages } = await pullOver(holder, 1, { max: 2 });
    await waiting.ask({ type: "pull", id: 1, max: 2, waitMs: LONG_MS });

    holder.close();

    expect((await waiting.next()).messages).toMatchObject([
      { text: "a", attempt: 1, redelivered: true },
      { text: "b", attempt: 1, redelivered: true },
    ]);
    const { refused } = await settle(channel, { acks: entriesOf(messages) });
    expect(refused.map(({ problem }) => problem["cause"])).toEqual(["superseded", "superseded"]);
  });

  test("[LS9] the cause of a lease that ended with its connection is told", async () => {
    const channel = await createChannel();
    const socket = await openSocket(channel);
    await put(channel, "a");
    const { messages } = await pullOver(socket, 1);

    await closeAndAwait(channel, socket);

    expect((await settle(channel, { acks: entriesOf(messages) })).refused).toMatchObject([
      { problem: { cause: "disconnected" } },
    ]);
  });

  test("[LS9] a connection that was cut off keeps them for a grace, then they end and count", async () => {
    passTime(0);
    const channel = await createChannel();
    const socket = await openSocket(channel);
    await putBatch(channel, ["a", "b"]);
    const { messages } = await pullOver(socket, 1, { max: 2, leaseMs: LIMITS.leaseMsMax });

    await closeAndAwait(channel, socket, GOING_AWAY);
    passTime(LIMITS.resumeGraceMs - 1);
    expect((await lease(channel)).messages).toEqual([]);
    expect(await settle(channel, { acks: entriesOf(messages?.slice(0, 1)) })).toMatchObject({ acked: 1 });
    passTime(1);

    expect((await lease(channel, { max: 9 })).messages).toMatchObject([{ text: "b", attempt: 2, redelivered: true }]);
  });

  test("[LS9] the end of the grace wakes who waits by the alarm", async () => {
    passTime(0);
    const channel = await createChannel();
    const [holder, waiting] = [await openSocket(channel), await openSocket(channel)];
    await put(channel, "a");
    await pullOver(holder, 1, { leaseMs: LIMITS.leaseMsMax });
    await waiting.ask({ type: "pull", id: 1, waitMs: LONG_MS });

    await closeAndAwait(channel, holder, GOING_AWAY);
    const alarmAtMs = await readAlarm(channel);
    expect(alarmAtMs).toBeLessThanOrEqual(Date.now() + LIMITS.resumeGraceMs);
    passTime(LIMITS.resumeGraceMs);
    await runAlarm(channel);

    expect((await waiting.next()).messages).toMatchObject([{ text: "a", attempt: 2 }]);
  });

  test.each([1000, GOING_AWAY])("[LS9] detached ones outlive their connection, closed with %i", async (code) => {
    passTime(0);
    const channel = await createChannel();
    const socket = await openSocket(channel);
    await put(channel, "a");
    const { messages } = await pullOver(socket, 1, { detached: true, leaseMs: 60_000 });

    await closeAndAwait(channel, socket, code);
    passTime(59_999);

    expect(await pullTexts(channel)).toEqual([]);
    expect(await settle(channel, { acks: entriesOf(messages) })).toMatchObject({ acked: 1 });
  });

  test("[LS8] [LS9] leases of a connection survive hibernation, and end with the connection afterwards", async () => {
    const channel = await createChannel();
    const [socket, other] = [await openSocket(channel), await openSocket(channel)];
    await putBatch(channel, ["a", "b"]);
    const { messages } = await pullOver(socket, 1, { max: 2 });

    await hibernate(channel);
    expect(await other.ask({ type: "settle", id: 1, acks: entriesOf(messages?.slice(0, 1)) })).toMatchObject({ acked: 1 });
    await hibernate(channel);
    await closeAndAwait(channel, socket);

    expect((await lease(channel)).messages).toMatchObject([{ text: "b", attempt: 1, redelivered: true }]);
  });

  test("[LS9] leases of connections that a restart cut off end after the grace, and count", async () => {
    passTime(0);
    const channel = await createChannel();
    const socket = await openSocket(channel);
    await putBatch(channel, ["a", "b"]);
    const { messages } = await pullOver(socket, 1, { max: 2, leaseMs: LIMITS.leaseMsMax });

    await restart(channel);
    expect((await lease(channel)).messages).toEqual([]);
    // A new connection may get the number of the old one: its end has to do with its own leases alone.
    const next = await openSocket(channel);
    await closeAndAwait(channel, next);
    expect(await settle(channel, { acks: entriesOf(messages?.slice(0, 1)) })).toMatchObject({ acked: 1 });
    passTime(LIMITS.resumeGraceMs);

    expect((await lease(channel, { max: 9 })).messages).toMatchObject([{ text: "b", attempt: 2, redelivered: true }]);
  });

  test("[LS10] in a closed channel a pull is refused and a settle is not", async () => {
    const channel = await createChannel();
    const socket = await openSocket(channel);
    await put(channel, "a");
    const { messages } = await pullOver(socket, 1);
    await patchChannel(channel, { state: "closed" });

    expect((await socket.ask({ type: "pull", id: 2 })).problem?.kind).toBe("channel-closed");
    expect(await socket.ask({ type: "settle", id: 3, acks: entriesOf(messages) })).toMatchObject({ acked: 1 });
  });
});
