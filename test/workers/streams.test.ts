// Streams over WebSocket: what subscribers are sent, through commits, evictions and ends. SPEC section SB.
import { describe, expect, test } from "vitest";
import { unpackFrames } from "../../src/channel/attached-leases.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import { breakTable, hibernate, inObject, mendTable, runAlarm } from "./inside.ts";
import {
  call,
  createChannel,
  describeChannel,
  entriesOf,
  type Frame,
  openSocket,
  patchChannel,
  pathOf,
  pull,
  put,
  putBatch,
  readProblem,
  settle,
  type TestSocket,
  textsOf,
  untilChannel,
} from "./service.ts";

const CREDIT = { messages: 100, bytes: 1_000_000 };

async function subscribe(channel: string, more: object = {}): Promise<TestSocket> {
  const socket = await openSocket(channel);
  expect(await socket.ask({ type: "subscribe", id: 1, credit: CREDIT, ...more })).toMatchObject({ type: "subscribed", id: 1 });
  return socket;
}

async function deliveredTexts(socket: TestSocket): Promise<string[]> {
  const frames = await socket.settle();
  return frames.flatMap(({ type, messages }) => (type === "deliver" ? textsOf(messages) : [`(${type})`]));
}

/** Has a member be sent so many messages, of which it acks all but every `gap`th; returns the leases that are left. */
async function leaveScattered(
  channel: string,
  socket: TestSocket,
  { leases, gap }: { readonly leases: number; readonly gap: number },
): Promise<readonly object[]> {
  const left: object[] = [];
  for (let batch = 0; batch < leases; batch += 500) {
    await putBatch(
      channel,
      Array.from({ length: 500 * gap }, () => "x"),
    );
    const { messages } = await socket.next();
    const entries = entriesOf(messages);
    left.push(...entries.filter((_, index) => index % gap === 0));
    const acks = entries.filter((_, index) => index % gap !== 0);
    expect(await socket.ask({ type: "settle", id: 2, acks })).toMatchObject({ acked: acks.length });
  }
  return left;
}

/** How many leases lie with sockets, and how many are stored. */
function readLeases(channel: string): Promise<{ attached: number; stored: number }> {
  return inObject(channel, (_, context) => {
    const attached = context.getWebSockets().flatMap((socket) => {
      const { leases = new Uint8Array() } = socket.deserializeAttachment() as { leases?: Uint8Array };
      return unpackFrames({ connection: 1, bytes: leases }).flatMap(({ offsets }) => offsets);
    });
    const rows = context.storage.sql.exec<{ leases_json: string }>(
      "SELECT leases_json FROM lease WHERE row_id % 549755813888 > 0",
    );
    const stored = rows.toArray().flatMap(({ leases_json: text }) => JSON.parse(text) as unknown[]);
    return { attached: attached.length, stored: stored.length };
  });
}

function isRegistrationPending(channel: string): Promise<boolean> {
  return inObject(channel, (_, { storage }) => {
    const { record_json: text } = storage.sql.exec<{ record_json: string }>("SELECT record_json FROM channel").one();
    return (JSON.parse(text) as { outbox: { isPending: boolean } }).outbox.isPending;
  });
}

async function describeGroupOf(channel: string, group: string): Promise<unknown> {
  return await (await call("GET", pathOf(channel, `/groups/${group}`))).json();
}

/** What watch 7 of presence is told of one reader. */
function change(name: string, reader: string, colo: string): object {
  return { type: "presence", id: 7, changes: [{ change: name, reader, colo }] };
}

describe("src/object: streams", () => {
  test("[SB3] a member is sent what is put, by lease, and acks it on the same connection", async () => {
    const channel = await createChannel();
    const socket = await subscribe(channel, { leaseMs: 5_000, reader: "r1" });

    await put(channel, "a");
    const delivered = await socket.next();
    expect(delivered).toMatchObject({
      type: "deliver",
      id: 1,
      messages: [{ offset: 1, text: "a", attempt: 1 }],
      state: { depth: 1 },
    });
    expect(delivered.leaseUntilMs).toBeGreaterThan(Date.now());
    const settled = await socket.ask({ type: "settle", id: 2, acks: entriesOf(delivered.messages) });
    expect(settled).toMatchObject({ type: "settled", acked: 1, state: { depth: 0 } });
  });

  test("[SB2] credit is granted in use", async () => {
    const channel = await createChannel();
    const socket = await subscribe(channel, { credit: { messages: 1 } });
    await putBatch(channel, ["a", "b", "c"]);
    expect(await deliveredTexts(socket)).toEqual(["a"]);
    socket.send({ type: "credit", id: 1, messages: 1 });
    expect(await deliveredTexts(socket)).toEqual(["b"]);
  });

  test("[SB5] [SB7] a plain reader of a log gets everything, and goes on after a reconnection", async () => {
    const channel = await createChannel({ retention: "log" });
    await putBatch(channel, ["a", "b"]);
    const socket = await subscribe(channel, { from: { at: "first" }, credit: { messages: 3 } });
    await put(channel, "c");
    await put(channel, "d");
    const frames = await socket.settle();
    expect(frames.flatMap(({ messages }) => textsOf(messages))).toEqual(["a", "b", "c"]);
    const { resume } = frames.at(-1) as Frame;
    socket.close();

    const next = await subscribe(channel, { from: { resume } });
    expect(await deliveredTexts(next)).toEqual(["d"]);
  });

  test("[SB4] more than a frame holds follows without anybody asking", async () => {
    const channel = await createChannel({ retention: "log" });
    const count = 2 * LIMITS.streamFrameMessagesMax + 1;
    await putBatch(
      channel,
      Array.from({ length: count }, (_, index) => String(index)),
    );
    const socket = await openSocket(channel);
    socket.send({ type: "subscribe", id: 1, from: { at: "first" }, credit: { messages: count } });
    const [, ...frames] = await socket.take(4);
    expect(frames.map(({ messages }) => messages?.length)).toEqual([1000, 1000, 1]);
    expect(frames.flatMap(({ messages }) => textsOf(messages)).map(Number)).toEqual(
      Array.from({ length: count }, (_, index) => index),
    );
  });

  test("[SB10] [SB9] each member that stays subscribed is told of a control record once, over hibernation too", async () => {
    const channel = await createChannel();
    const [first, other] = [await subscribe(channel, { credit: { messages: 1 } }), await subscribe(channel)];
    await put(channel, "a");
    expect(await deliveredTexts(first)).toEqual(["a"]);
    await patchChannel(channel, { maxMessages: 50 });
    await hibernate(channel);
    await put(channel, "b");

    const controls = [{ offset: 2, control: { type: "resize", maxMessages: 50 } }];
    const told = await first.settle();
    expect(told).toMatchObject([{ type: "deliver", id: 1, messages: [], controls, bytes: 0 }]);
    expect(told[0]).not.toHaveProperty("leaseUntilMs");
    expect(await other.settle()).toMatchObject([{ type: "deliver", messages: [{ text: "b" }], controls }]);
    await hibernate(channel);
    await put(channel, "c");
    expect([await first.settle(), await deliveredTexts(other)]).toEqual([[], ["c"]]);
  });

  test("[BP3] [BP5] who watches is told over hibernation in the commit that crosses a mark, and it costs no row", async () => {
    const channel = await createChannel({ maxMessages: 10 });
    const socket = await openSocket(channel);
    const credit = { messages: 10, bytes: 1_073_741_824 };
    expect(await socket.ask({ type: "watch", id: 7 })).toMatchObject({ type: "pressure", id: 7, level: "low", credit });
    await putBatch(channel, ["1", "2", "3", "4", "5", "6", "7"]);
    // Tells the directory, which is a row of its own.
    await runAlarm(channel);
    await hibernate(channel);
    const before = (await describeChannel(channel)).rows.written;
    await put(channel, "8");
    expect((await describeChannel(channel)).rows.written - before).toBe(1);
    const [told] = await socket.settle();
    expect(told).toMatchObject({ type: "pressure", id: 7, level: "high", credit: { messages: 2 }, state: { depth: 8 } });
    await hibernate(channel);
    await pull(channel, { max: 3 });
    expect(await socket.settle()).toMatchObject([{ type: "pressure", level: "low", credit: { messages: 5 } }]);
    await patchChannel(channel, { state: "draining" });
    expect(await socket.next()).toMatchObject({ type: "ended", id: 7, problem: { kind: "channel-draining" } });
  });

  test("[RG8] [RG10] who watches presence is told over hibernation who joins and leaves, and it costs no row", async () => {
    const channel = await createChannel();
    await put(channel, "a");
    const socket = await openSocket(channel);
    expect(await socket.ask({ type: "presence", id: 7 })).toEqual({ type: "present", id: 7, readers: 0, colos: [] });
    const first = await openSocket(channel, { colo: "FRA" });
    await first.ask({ type: "subscribe", id: 1, reader: "w", credit: { messages: 0 } });
    await hibernate(channel);
    const before = (await describeChannel(channel)).rows.written;
    const second = await openSocket(channel, { colo: "SIN" });
    await second.ask({ type: "subscribe", id: 1, reader: "w", credit: { messages: 0 } });
    await first.ask({ type: "unsubscribe", id: 1 });
    const changes = [change("join", "w", "FRA"), change("join", "w", "SIN"), change("leave", "w", "FRA")];
    expect(await socket.settle()).toEqual(changes);
    expect((await describeChannel(channel)).rows.written).toBe(before);

    await first.ask({ type: "pull", id: 2, reader: "p", detached: true });
    expect(await socket.settle()).toEqual([change("join", "p", "FRA")]);
    await socket.ask({ type: "unsubscribe", id: 7 });
    await first.ask({ type: "subscribe", id: 1, reader: "w", credit: { messages: 0 } });
    expect(await socket.settle()).toEqual([]);
  });

  test("[SB9] [G10] subscriptions survive hibernation, with their places and their credit", async () => {
    const channel = await createChannel({ retention: "log" });
    await call("PUT", pathOf(channel, "/groups/g"));
    const first = await subscribe(channel, { group: "g", credit: { messages: 2 } });
    const second = await subscribe(channel, { group: "g", credit: { messages: 1 } });
    const reader = await subscribe(channel, { from: { at: "last" }, filter: { headers: { kind: "paid" } } });
    await put(channel, "a");
    await hibernate(channel);
    await put(channel, "b");
    await hibernate(channel);
    await put(channel, "c");
    await hibernate(channel);
    await put(channel, "d");

    expect(await deliveredTexts(first)).toEqual(["a", "c"]);
    expect(await deliveredTexts(second)).toEqual(["b"]);
    expect(await deliveredTexts(reader)).toEqual([]);
    expect(await describeChannel(channel)).toMatchObject({ subscriptions: { members: 2, readers: 1 } });
  });

  test("[SB9] [G6] all that a connection may wait for and subscribe to fits its attachment", async () => {
    const channel = await createChannel({ retention: "log" });
    await call("PUT", pathOf(channel, "/groups/g"));
    const socket = await openSocket(channel);
    const reader = "r".repeat(LIMITS.readerNameCharsMax);
    const most = { credit: { messages: LIMITS.creditMessagesMax } };
    for (let id = 1; id <= LIMITS.waitersPerSocketMax; id++) {
      const times = { waitMs: LIMITS.waitMsMax, leaseMs: LIMITS.leaseMsMax };
      expect(await socket.ask({ type: "pull", id, group: "g", reader, max: 10_000, ...times })).toEqual({ type: "wait", id });
    }
    for (let id = 101; id <= 100 + LIMITS.subscriptionsPerSocketMax; id++) {
      const filter = { keys: [String(id).repeat((LIMITS.filterBytesMax - 20) / 3)] };
      const read = id % 2 === 0 ? { group: "g", reader, leaseMs: LIMITS.leaseMsMax } : { from: { at: "first" }, filter };
      expect(await socket.ask({ type: "subscribe", id, ...most, ...read })).toMatchObject({ type: "subscribed", id });
    }
    await hibernate(channel);
    expect(await describeChannel(channel)).toMatchObject({
      waiting: { gets: LIMITS.waitersPerSocketMax },
      subscriptions: { members: 2, readers: 2 },
    });
  });

  test("[LS13] a batch of 100 that is put, sent to a member and acked as a whole costs two rows", async () => {
    const channel = await createChannel();
    const socket = await subscribe(channel);
    const texts = Array.from({ length: 100 }, (_, index) => String(index));
    const round = async (): Promise<void> => {
      await putBatch(channel, texts);
      const { messages } = await socket.next();
      socket.send({ type: "credit", id: 1, messages: 100 });
      expect(await socket.ask({ type: "settle", id: 2, acks: entriesOf(messages) })).toMatchObject({ acked: 100 });
    };
    // The directory is told of the channel once, which costs rows.
    while (await isRegistrationPending(channel)) await describeChannel(channel);
    await round();

    const before = (await describeChannel(channel)).rows.written;
    for (let count = 0; count < 20; count++) await round();

    expect((await describeChannel(channel)).rows.written - before).toBe(40);
    expect(await describeChannel(channel)).toMatchObject({ depth: 0, delivery: { leased: 0 } });
  });

  test("[LS13] [G6] leases fit the attachment beside all that a connection may wait for, and what does not is stored", async () => {
    const channel = await createChannel({ retention: "log" });
    for (const group of ["g", "h"]) await call("PUT", pathOf(channel, `/groups/${group}`));
    const socket = await openSocket(channel);
    const reader = "r".repeat(LIMITS.readerNameCharsMax);
    socket.send({ type: "subscribe", id: 100, group: "h", reader, credit: { messages: LIMITS.creditMessagesMax } });
    await socket.next();
    await leaveScattered(channel, socket, { leases: 3_000, gap: 2 });
    const before = await readLeases(channel);
    for (let id = 1; id <= LIMITS.waitersPerSocketMax; id++) {
      const times = { waitMs: LIMITS.waitMsMax, leaseMs: LIMITS.leaseMsMax };
      expect(await socket.ask({ type: "pull", id, group: "g", reader, min: 10_000, max: 10_000, ...times })).toEqual({
        type: "wait",
        id,
      });
    }
    for (let id = 101; id < 100 + LIMITS.subscriptionsPerSocketMax; id++) {
      const filter = { keys: ["ä".repeat((LIMITS.filterBytesMax - 20) / 2)] };
      expect(await socket.ask({ type: "subscribe", id, credit: { messages: 0 }, from: { at: "first" }, filter })).toMatchObject({
        type: "subscribed",
      });
    }
    const after = await readLeases(channel);

    expect(before.attached).toBeGreaterThan(1_000);
    expect(after.attached).toBeLessThan(before.attached);
    expect([before, after].map(({ attached, stored }) => attached + stored)).toEqual([3_000, 3_000]);
    await hibernate(channel);
    expect(await describeGroupOf(channel, "h")).toMatchObject({ leased: 3_000 });
    expect(await describeChannel(channel)).toMatchObject({ waiting: { gets: LIMITS.waitersPerSocketMax } });
  });

  test("[LS13] [SB9] 5,000 scattered leases of a connection survive an eviction, and each can be acked", async () => {
    const channel = await createChannel();
    const socket = await openSocket(channel);
    socket.send({ type: "subscribe", id: 1, credit: { messages: LIMITS.creditMessagesMax } });
    await socket.next();
    const leases = await leaveScattered(channel, socket, { leases: 5_000, gap: 2 });
    const { attached, stored } = await readLeases(channel);
    expect([attached + stored, attached > 1_000]).toEqual([5_000, true]);

    await hibernate(channel);

    expect(await describeChannel(channel)).toMatchObject({ depth: 5_000, delivery: { leased: 5_000 } });
    expect(await socket.ask({ type: "settle", id: 3, acks: leases })).toMatchObject({ acked: 5_000, refused: [] });
    expect(await describeChannel(channel)).toMatchObject({ depth: 0 });
    expect(await readLeases(channel)).toMatchObject({ attached: 0 });
  });

  test("[LS9] [LS13] a socket that is cut off while the object sleeps keeps what it held for a while", async () => {
    const channel = await createChannel();
    const socket = await subscribe(channel);
    await put(channel, "a");
    const { messages } = await socket.next();
    await hibernate(channel);

    socket.close(4001);
    await untilChannel(channel, ({ subscriptions }) => subscriptions.members === 0);

    // A close with a code of its own is a clean one: the message is back.
    const settled = await settle(channel, { acks: entriesOf(messages) });
    expect(settled).toMatchObject({ acked: 0, refused: [{ problem: { kind: "lease-lost", cause: "disconnected" } }] });
  });

  test("[LS9] [RC6] what a socket held that has closed is decided on though the commit of it fails first", async () => {
    const channel = await createChannel();
    const socket = await subscribe(channel);
    await put(channel, "a");
    const { messages } = await socket.next();
    await breakTable(channel, "deferred");
    socket.close();
    await untilChannel(channel, ({ connections }) => connections === 0);
    await mendTable(channel);

    // It could not be given back at once: it is kept for its reader a while, as one of a connection that was cut off.
    expect(await settle(channel, { acks: entriesOf(messages) })).toMatchObject({ acked: 1, refused: [] });
  });

  test("[LS9] [RC6] what is stored of a connection that was cut off keeps its grace though the commit of it fails first", async () => {
    const channel = await createChannel({ delivery: { retryDelaysMs: [0] } });
    const socket = await subscribe(channel);
    const producer = await openSocket(channel);
    expect(await producer.ask({ type: "put", id: 1, text: "a", key: "k" })).toMatchObject({ type: "put-ok" });
    const first = await socket.next();
    // It comes again with a history, and so is stored.
    await settle(channel, { retries: entriesOf(first.messages) });
    const { messages } = await socket.next();
    await breakTable(channel, "lease");
    socket.close(1001);
    // Not by a look at the channel: that would have to be committed.
    while ((await inObject(channel, (_, state) => state.getWebSockets().length)) > 1);
    await mendTable(channel);

    expect(await settle(channel, { acks: entriesOf(messages) })).toMatchObject({ acked: 1, refused: [] });
  });

  test("[SB11] a member that was cut off comes back to what it held, on another connection and through an eviction", async () => {
    const channel = await createChannel();
    const first = await openSocket(channel);
    const { resume } = await first.ask({ type: "subscribe", id: 1, credit: CREDIT });
    await put(channel, "a");
    const { messages } = await first.next();
    first.close(1001);
    await untilChannel(channel, ({ connections }) => connections === 0);
    const second = await openSocket(channel);
    expect(await second.ask({ type: "subscribe", id: 5, credit: CREDIT, resume })).toEqual({ type: "subscribed", id: 5, resume });
    const third = await openSocket(channel);
    expect(await third.ask({ type: "subscribe", id: 6, credit: CREDIT, resume })).toEqual({ type: "subscribed", id: 6, resume });
    expect(await second.next()).toMatchObject({ type: "ended", id: 5, problem: { kind: "taken-over", status: 409 } });
    await hibernate(channel);
    second.close();
    await untilChannel(channel, ({ connections }) => connections === 1);

    expect(await third.settle()).toEqual([]);
    expect(await third.ask({ type: "settle", id: 7, acks: entriesOf(messages) })).toMatchObject({ acked: 1, refused: [] });
  });

  test("[SB13] who waits is given what another has not begun with, though nothing else happens", async () => {
    const channel = await createChannel();
    const slow = await subscribe(channel);
    await putBatch(channel, ["a", "b", "c", "d"]);
    expect(await deliveredTexts(slow)).toEqual(["a", "b", "c", "d"]);
    const idle = await subscribe(channel);

    const asked = await slow.next();
    expect(asked).toMatchObject({ type: "revoke", id: 1, leases: [{ count: 2 }] });
    await slow.ask({ type: "settle", id: 2, releases: asked.leases });

    expect(await deliveredTexts(idle)).toEqual(["c", "d"]);
  });

  test("[SB8] a connection that ends takes its subscriptions along, and the next member gets what it held", async () => {
    const channel = await createChannel();
    const first = await subscribe(channel, { credit: { messages: 1 } });
    await put(channel, "a");
    expect(await deliveredTexts(first)).toEqual(["a"]);
    const second = await subscribe(channel);
    first.close();
    await untilChannel(channel, ({ subscriptions }) => subscriptions.members === 1);

    const delivered = await second.next();
    expect(delivered).toMatchObject({ type: "deliver", messages: [{ text: "a", attempt: 1, redelivered: true }] });
  });

  test("[SB8] unsubscribing is answered, and so is the end of the channel", async () => {
    const channel = await createChannel();
    const socket = await subscribe(channel);
    expect(await socket.ask({ type: "unsubscribe", id: 1 })).toEqual({ type: "ended", id: 1 });
    expect(await socket.ask({ type: "subscribe", id: 1, credit: CREDIT })).toMatchObject({ type: "subscribed" });
    await patchChannel(channel, { state: "closed" });
    expect(await socket.next()).toMatchObject({ type: "ended", id: 1, problem: { kind: "channel-closed", status: 410 } });
  });

  test("[SB1] [G11] what is asked wrongly is refused, and the socket stays open", async () => {
    const channel = await createChannel();
    const socket = await openSocket(channel);
    const credit = CREDIT;
    const wrong: readonly (readonly [object, string, string | undefined])[] = [
      [{ from: { at: "first" } }, "wrong-retention", undefined],
      [{ from: { at: "first" }, group: "default" }, "invalid-request", "/group"],
      [{ from: { at: "first" }, tap: true }, "invalid-request", "/from"],
      [{ held: [] }, "invalid-request", "/held"],
      [{ from: { at: "first" }, held: [] }, "invalid-request", "/held"],
      [{ filter: { keys: ["k"] } }, "invalid-request", "/filter"],
      [{ group: "others" }, "wrong-retention", undefined],
      [{ tap: true, leaseMs: 5_000 }, "invalid-request", "/leaseMs"],
      [{ tap: true, resume: "life.0-1-2" }, "invalid-request", "/resume"],
      [{ resume: "nonsense" }, "invalid-request", "/resume"],
      [{ resume: "life.0-1" }, "resume-lost", undefined],
    ];
    for (const [more, kind, pointer] of wrong) {
      const { problem } = await socket.ask({ type: "subscribe", id: 1, credit, ...more });
      expect(problem).toMatchObject({ kind, ...(pointer !== undefined && { errors: [{ pointer }] }) });
    }
    expect((await socket.ask({ type: "credit", id: 1, messages: 1 })).problem).toMatchObject({
      kind: "unknown-subscription",
      id: 1,
    });
    expect((await socket.ask({ type: "unsubscribe", id: 1 })).problem).toMatchObject({ kind: "unknown-subscription" });
    expect(await socket.ask({ type: "subscribe", id: 1, credit })).toMatchObject({ type: "subscribed" });
  });

  test("[SB5] a reader that comes back too late is told of the gap", async () => {
    const channel = await createChannel({ retention: "log", maxMessages: 2 });
    await put(channel, "a");
    const socket = await subscribe(channel, { from: { at: "first" } });
    const { resume } = await socket.next();
    socket.close();
    await putBatch(channel, ["b", "c"]);
    await put(channel, "d");

    const late = await subscribe(channel, { from: { resume } });
    expect(await late.next()).toMatchObject({ gap: { fromOffset: 2, toOffset: 2 }, messages: [{ text: "c" }, { text: "d" }] });
  });

  test("[SB3] [LS9] what a connection that was cut off held can be settled over HTTP by whoever has the lease id", async () => {
    const channel = await createChannel();
    const socket = await subscribe(channel);
    await put(channel, "a");
    const { messages } = await socket.next();
    socket.close(1001);
    await untilChannel(channel, ({ connections }) => connections === 0);
    expect(await settle(channel, { acks: entriesOf(messages) })).toMatchObject({ acked: 1 });
    expect((await readProblem(call("GET", pathOf(channel, "/messages/1")))).kind).toBe("unknown-message");
  });
});
