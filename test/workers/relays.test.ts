// Relays between a channel and its plain readers and taps. SPEC section RY.
import { env } from "cloudflare:workers";
import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { formatRelayObject } from "../../src/object/relay-name.ts";
import { RelayObject } from "../../src/object/relay-object.ts";
import { findRelay } from "../../src/object/relay-stub.ts";
import type { RelayDescription } from "../../src/protocol/relay-routes.ts";
import { SUBPROTOCOL_BIN } from "../../src/protocol/version.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import { hibernate, inObject, passTime, restart, runAlarm, silenceWarnings } from "./inside.ts";
import {
  call,
  createChannel,
  describeChannel,
  openSocket,
  patchChannel,
  pathOf,
  put,
  putBatch,
  read,
  readProblem,
  type TestSocket,
  textsOf,
  untilChannel,
} from "./service.ts";

const CREDIT = { messages: 100, bytes: 1_000_000 };
const ALWAYS = { retention: "log", relays: { from: 1 } };
const TAPPED = { retention: "queue", relays: { from: 1 } };
const COLO = "LHR";

function relayNamespace(): DurableObjectNamespace {
  const { RELAYS } = env;
  if (RELAYS === undefined) throw new Error("The worker under test has relays");
  return RELAYS;
}

function relayOf(channel: string, relay = `${COLO}/0`): DurableObjectStub {
  return relayNamespace().getByName(formatRelayObject({ channel, relay, jurisdiction: undefined }));
}

function describeRelay(channel: string, relay = `${COLO}/0`): Promise<RelayDescription> {
  return findRelay(relayNamespace(), { channel, relay, jurisdiction: undefined }).describe();
}

async function openPlain(
  channel: string,
  { colo = COLO, subprotocol }: { colo?: string; subprotocol?: string } = {},
): Promise<TestSocket> {
  return await openSocket(channel, { colo, read: "plain", ...(subprotocol !== undefined && { subprotocol }) });
}

/** Opens a socket for plain reading, and subscribes. */
async function follow(channel: string, more: object = {}, at: { colo?: string; subprotocol?: string } = {}): Promise<TestSocket> {
  const socket = await openPlain(channel, at);
  const subscribed = await socket.ask({ type: "subscribe", id: 1, credit: CREDIT, from: { at: "last" }, ...more });
  expect(subscribed).toMatchObject({ type: "subscribed", id: 1 });
  return socket;
}

/** The texts of so many messages, as they come. */
async function takeTexts(socket: TestSocket, count: number): Promise<string[]> {
  const texts: string[] = [];
  while (texts.length < count) texts.push(...textsOf((await socket.next()).messages));
  return texts;
}

/** Ends a relay and all its sockets, as a crash does. */
async function killRelay(channel: string): Promise<void> {
  await runInDurableObject(relayOf(channel), (_, context) => context.abort("Killed by the test")).catch(() => undefined);
}

/** Lets so much time pass that the relay parts with its channel. */
async function partRelay(channel: string): Promise<void> {
  passTime(LIMITS.relayIdleMs);
  await runInDurableObject<RelayObject, void>(relayOf(channel), (relay) => relay.alarm());
  await untilChannel(channel, ({ connections }) => connections === 0);
}

/** Rows that two puts cost whose relay has parted before, or has not. */
async function countRows(isParted: boolean): Promise<number> {
  const channel = await createChannel(ALWAYS);
  const reader = await follow(channel);
  await put(channel, "a");
  await takeTexts(reader, 1);
  // Tells the directory, which is a row of its own.
  await runAlarm(channel);
  if (isParted) await partRelay(channel);
  else passTime(LIMITS.relayIdleMs);
  const before = (await describeChannel(channel)).rows.written;
  for (const text of ["b", "c"]) {
    await put(channel, text);
    await takeTexts(reader, 1);
  }
  return (await describeChannel(channel)).rows.written - before;
}

describe("src/worker: events by a relay", () => {
  test("[RY1] [RY3] a stream of events reads by the relay of its colo", async () => {
    const channel = await createChannel(ALWAYS);
    await put(channel, "a");
    const { body } = await call("GET", pathOf(channel, "/events?start=first"), { colo: COLO });
    const reader = (body as ReadableStream<Uint8Array>).pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    while (!text.includes('"text":"a"')) text += (await reader.read()).value ?? "";
    expect(await describeRelay(channel)).toMatchObject({ readers: 1 });
    await reader.cancel();
  });
});

describe("src/object: relays", () => {
  silenceWarnings();

  test("[RY1] [RY5] readers of a colo are one reader to the channel", async () => {
    const channel = await createChannel(ALWAYS);
    const readers = await Promise.all(Array.from({ length: 5 }, () => follow(channel)));

    await putBatch(channel, ["a", "b"]);
    await put(channel, "c");

    for (const reader of readers) expect(await takeTexts(reader, 3)).toEqual(["a", "b", "c"]);
    const { connections, subscriptions } = await describeChannel(channel);
    expect({ connections, subscriptions }).toEqual({ connections: 1, subscriptions: { members: 0, readers: 1 } });
    expect(await describeRelay(channel)).toMatchObject({ readers: 5, connections: 5, isLinked: true, framesIn: 2 });
  });

  test("[RY3] [SB7] a binary reader and one of JSON get the same, with tokens that are good at the channel itself", async () => {
    const channel = await createChannel(ALWAYS);
    const json = await follow(channel);
    const binary = await follow(channel, {}, { subprotocol: SUBPROTOCOL_BIN });
    await put(channel, "a");

    const [first, second] = [await json.next(), await binary.next()];
    expect(first).toEqual(second);
    await put(channel, "b");
    const direct = await openSocket(channel);
    await direct.ask({ type: "subscribe", id: 1, credit: CREDIT, from: { resume: first.resume } });
    expect(await takeTexts(direct, 1)).toEqual(["b"]);
  });

  test("[RY6] [RY7] readers begin where they ask, and those before the tail are sent pages", async () => {
    const channel = await createChannel(ALWAYS);
    await putBatch(channel, ["a", "b", "c"]);
    const newest = await follow(channel);
    const oldest = await follow(channel, { from: { at: "first" } });
    const between = await follow(channel, { from: { offset: 2 } });

    expect(await takeTexts(oldest, 3)).toEqual(["a", "b", "c"]);
    expect(await takeTexts(between, 2)).toEqual(["b", "c"]);
    await put(channel, "d");
    for (const reader of [newest, oldest, between]) expect(await takeTexts(reader, 1)).toEqual(["d"]);
  });

  test("[RY3] [SB2] credit is each reader's own", async () => {
    const channel = await createChannel(ALWAYS);
    const slow = await follow(channel, { credit: { messages: 1 } });
    const quick = await follow(channel);
    await putBatch(channel, ["a", "b", "c"]);

    expect(await takeTexts(quick, 3)).toEqual(["a", "b", "c"]);
    expect(await takeTexts(slow, 1)).toEqual(["a"]);
    slow.send({ type: "credit", id: 1, messages: 1 });
    expect(await takeTexts(slow, 1)).toEqual(["b"]);
    slow.send({ type: "credit", id: 1, messages: 5 });
    expect(await takeTexts(slow, 1)).toEqual(["c"]);
  });

  test("[RY3] [SB6] control records come once, filters hold, gaps are told", async () => {
    const channel = await createChannel({ ...ALWAYS, maxMessages: 2 });
    const all = await follow(channel);
    const some = await follow(channel, { filter: { keys: ["k"] } });
    await patchChannel(channel, { maxMessages: 3 });
    // What is put at once may come in the same frame.
    const [seen, control] = [[await all.next()], await some.next()];
    await read(
      call("POST", pathOf(channel, "/messages/batch"), { json: { messages: [{ text: "a" }, { text: "b", key: "k" }] } }),
      201,
    );
    const late = await follow(channel, { from: { at: "first" }, credit: { messages: 1 } });
    expect(await takeTexts(late, 1)).toEqual(["a"]);
    await putBatch(channel, ["c", "d", "e"]);

    while (seen.flatMap(({ messages }) => textsOf(messages)).length < 5) seen.push(await all.next());
    expect(seen.flatMap(({ messages }) => textsOf(messages))).toEqual(["a", "b", "c", "d", "e"]);
    expect(seen.flatMap(({ controls = [] }) => controls)).toMatchObject([{ offset: 1, control: { type: "resize" } }]);
    const keyed = await some.next();
    expect(control).toMatchObject({ messages: [], controls: [{ offset: 1 }] });
    expect(textsOf(keyed.messages)).toEqual(["b"]);
  });

  test("[RY4] a connection for plain reading is for nothing else, relayed or not", async () => {
    for (const settings of [ALWAYS, { retention: "log", relays: null }]) {
      const channel = await createChannel(settings);
      const socket = await openPlain(channel);
      for (const frame of [
        { type: "put", id: 3, text: "a" },
        { type: "pull", id: 3 },
        { type: "subscribe", id: 3, credit: CREDIT },
      ]) {
        const refusal = await socket.ask(frame);
        expect(refusal).toMatchObject({
          type: "problem",
          inReplyTo: 3,
          problem: { kind: "plain-reading-only", frameType: frame.type },
        });
      }
    }
  });

  test("[RY7] what the channel refuses, its relay refuses", async () => {
    const channel = await createChannel(ALWAYS);
    const socket = await openPlain(channel);
    const refused = await socket.ask({ type: "subscribe", id: 1, credit: CREDIT, from: { offset: 9 } });
    expect(refused).toMatchObject({ type: "problem", inReplyTo: 1, problem: { kind: "seek-out-of-range", nextOffset: 1 } });
    const lost = await socket.ask({ type: "subscribe", id: 1, credit: CREDIT, from: { resume: "other.1" } });
    expect(lost).toMatchObject({ type: "problem", inReplyTo: 1, problem: { kind: "resume-lost" } });
    expect(await socket.ask({ type: "subscribe", id: 1, credit: CREDIT, from: { at: "last" } })).toMatchObject({
      type: "subscribed",
    });
    expect(await socket.ask({ type: "subscribe", id: 1, credit: CREDIT, from: { at: "last" } })).toMatchObject({
      problem: { kind: "request-in-use", id: 1 },
    });
    expect(await socket.ask({ type: "unsubscribe", id: 1 })).toMatchObject({ type: "ended", id: 1 });
  });

  test("[RY8] a relay that dies is another one at once, which goes on where its readers say that they stand", async () => {
    const channel = await createChannel(ALWAYS);
    const reader = await follow(channel);
    await put(channel, "a");
    const { resume } = await reader.next();

    await killRelay(channel);
    await reader.closed;
    await put(channel, "b");
    const again = await follow(channel, { from: { resume } });
    await put(channel, "c");
    expect(await takeTexts(again, 2)).toEqual(["b", "c"]);
  });

  test("[RY9] a relay that parted sleeps, and is called when something comes", async () => {
    const channel = await createChannel(ALWAYS);
    const reader = await follow(channel);
    await put(channel, "a");
    expect(await takeTexts(reader, 1)).toEqual(["a"]);

    await partRelay(channel);
    await evictDurableObject(relayOf(channel), { webSockets: "hibernate" });
    await putBatch(channel, ["b", "c"]);
    expect(await takeTexts(reader, 2)).toEqual(["b", "c"]);
    await put(channel, "d");
    expect(await takeTexts(reader, 1)).toEqual(["d"]);
  });

  test("[RY9] what readers need not be told of calls no relay that parted", async () => {
    const channel = await createChannel(ALWAYS);
    const reader = await follow(channel);
    await runAlarm(channel);
    await partRelay(channel);
    const wake = vi.spyOn(RelayObject.prototype, "wake");
    onTestFinished(() => wake.mockRestore());

    // The directory is told of the setting, which is a commit of its own.
    await patchChannel(channel, { commitDelayMs: 1 });
    await runAlarm(channel);
    await describeRelay(channel);
    expect(wake).not.toHaveBeenCalled();
    await put(channel, "a");
    expect(await takeTexts(reader, 1)).toEqual(["a"]);
    expect(wake).toHaveBeenCalledOnce();
  });

  test("[RY9] parting, sleeping and calling write no row, but for one alarm", async () => {
    expect(await countRows(true)).toBe((await countRows(false)) + 1);
  });

  test("[RY9] a channel that ends before it calls finds it out by its alarm", async () => {
    const channel = await createChannel(ALWAYS);
    const reader = await follow(channel);
    await put(channel, "a");
    await takeTexts(reader, 1);
    await partRelay(channel);
    await hibernate(channel);
    await runAlarm(channel);
    await untilChannel(channel, ({ connections }) => connections === 1);
    await put(channel, "b");
    expect(await takeTexts(reader, 1)).toEqual(["b"]);
  });

  test("[RY9] credit for a reader that had some wakes nobody, and for one that had none brings what it lacks", async () => {
    const channel = await createChannel(ALWAYS);
    const reader = await follow(channel, { credit: { messages: 2 } });
    await putBatch(channel, ["a", "b", "c"]);
    expect(await takeTexts(reader, 2)).toEqual(["a", "b"]);
    await partRelay(channel);
    await evictDurableObject(relayOf(channel), { webSockets: "hibernate" });

    reader.send({ type: "credit", id: 1, messages: 5 });
    expect(await takeTexts(reader, 1)).toEqual(["c"]);
    await partRelay(channel);
    reader.send({ type: "credit", id: 1, messages: 5 });
    await reader.settle();
    expect(await describeRelay(channel)).toMatchObject({ isLinked: false });
  });

  test("[RY8] a channel that dies is found again", async () => {
    const channel = await createChannel(ALWAYS);
    const reader = await follow(channel);
    await put(channel, "a");
    expect(await takeTexts(reader, 1)).toEqual(["a"]);

    await restart(channel);
    await put(channel, "b");
    expect(await takeTexts(reader, 1)).toEqual(["b"]);
    await hibernate(channel);
    await put(channel, "c");
    expect(await takeTexts(reader, 1)).toEqual(["c"]);
  });

  test("[RY10] what is left of a closed log is sent first, and the end of a deleted one is told", async () => {
    const channel = await createChannel(ALWAYS);
    const reader = await follow(channel, { credit: { messages: 1 } });
    await putBatch(channel, ["a", "b"]);
    await patchChannel(channel, { state: "closed" });
    expect(await takeTexts(reader, 1)).toEqual(["a"]);
    reader.send({ type: "credit", id: 1, messages: 9 });
    const rest = [await reader.next()];
    while (rest.at(-1)?.type !== "ended") rest.push(await reader.next());
    expect(rest.flatMap(({ messages }) => textsOf(messages))).toEqual(["b"]);
    expect(rest.at(-1)).toMatchObject({ type: "ended", id: 1, problem: { kind: "channel-closed" } });

    const other = await createChannel(ALWAYS);
    const second = await follow(other);
    await call("DELETE", pathOf(other, "?force=true"));
    expect(await second.next()).toMatchObject({ type: "ended", id: 1, problem: { kind: "channel-deleted" } });
  });

  test("[RY1] [RY11] from so many readers on they read by a relay, and those who were there before are moved to it", async () => {
    const channel = await createChannel({ retention: "log", relays: { from: 3 } });
    const early = [await follow(channel), await follow(channel)];
    const elsewhere = await follow(channel, {}, { colo: "NRT" });
    const mixed = await openSocket(channel, { colo: COLO });
    await put(channel, "a");
    const resumes: (string | undefined)[] = [];
    for (const reader of early) resumes.push((await reader.next()).resume);
    expect((await describeChannel(channel)).connections).toBe(4);

    const third = await follow(channel);
    for (const reader of early) {
      expect(await reader.next()).toMatchObject({ type: "rebalance" });
      expect(await reader.closed).toMatchObject({ code: 4410 });
    }
    await put(channel, "b");
    const moved = await Promise.all(resumes.map((resume) => follow(channel, { from: { resume } })));
    await put(channel, "c");
    for (const reader of moved) expect(await takeTexts(reader, 2)).toEqual(["b", "c"]);
    expect(await takeTexts(third, 2)).toEqual(["b", "c"]);
    expect(await takeTexts(elsewhere, 3)).toEqual(["a", "b", "c"]);
    expect(await mixed.settle()).toEqual([]);
    expect((await describeChannel(channel)).connections).toBe(3);
    expect(await describeRelay(channel)).toMatchObject({ readers: 3 });
  });

  test("[RY3] [RY5] with readers in ten colos the channel sends ten frames for a commit, whatever their number", async () => {
    const channel = await createChannel(ALWAYS);
    const colos = ["AMS", "ATL", "CDG", "DFW", "FRA", "GRU", "LHR", "NRT", "SIN", "SYD"];
    const readers = await Promise.all(colos.flatMap((colo) => [1, 2, 3, 4].map(() => follow(channel, {}, { colo }))));
    const texts = ["a", "b", "c"];
    for (const text of texts) {
      await put(channel, text);
      for (const reader of readers) expect(await takeTexts(reader, 1)).toEqual([text]);
    }

    const { relays } = await read<{ relays: readonly RelayDescription[] }>(call("GET", pathOf(channel, "/relays")));
    const counts = relays.map(({ relay, framesIn }) => [relay, framesIn]);
    expect(counts).toEqual(colos.map((colo) => [`${colo}/0`, texts.length]));
    // An answer to each reader when it subscribed, and each text.
    expect(relays.map(({ framesOut }) => framesOut)).toEqual(colos.map(() => 4 * (1 + texts.length)));
    expect((await describeChannel(channel)).connections).toBe(colos.length);
  });

  test("[RY12] relays are listed in pages, those of a channel alone", async () => {
    const channel = await createChannel(ALWAYS);
    for (const colo of ["FRA", "LHR"]) await follow(channel, {}, { colo });
    const path = pathOf(channel, "/relays?limit=1");
    expect(await read(call("GET", path))).toMatchObject({ relays: [{ relay: "FRA/0", readers: 1 }], next: "FRA/0" });
    expect(await read(call("GET", `${path}&after=FRA/0`))).toMatchObject({ relays: [{ relay: "LHR/0" }], next: null });
    expect(await readProblem(call("GET", pathOf(channel, "/relays?limit=0")))).toMatchObject({ kind: "invalid-request" });
  });

  test("[RY12] a relay goes with its last reader", async () => {
    const channel = await createChannel(ALWAYS);
    const reader = await follow(channel);
    expect(
      await inObject(
        channel,
        (_, { storage }) =>
          new Set(
            storage.sql
              .exec("SELECT name FROM relay")
              .toArray()
              .map((row) => row["name"]),
          ),
      ),
    ).toEqual(new Set([`${COLO}/0`]));
    reader.close();
    await untilChannel(channel, ({ connections }) => connections === 0);
    const names = (): Promise<number> =>
      inObject(channel, (_, { storage }) => storage.sql.exec("SELECT name FROM relay").toArray().length);
    while ((await names()) > 0) await describeChannel(channel);
    expect(await runInDurableObject<RelayObject, number>(relayOf(channel), (_, context) => context.getWebSockets().length)).toBe(
      0,
    );
  });

  test("[RY13] a relay outside the jurisdiction of the channel is not let in, and sends its readers back", async () => {
    const channel = await createChannel(ALWAYS);
    // The local runtime knows no jurisdictions: to the relay its name tells it.
    const misplaced = relayNamespace().getByName(formatRelayObject({ channel, relay: `${COLO}/0`, jurisdiction: "eu" }));
    const upgrade = new Request("https://relay/socket", { headers: { Upgrade: "websocket" } });
    const { webSocket } = await misplaced.fetch(upgrade);
    if (webSocket === null) throw new Error("The relay takes connections");
    const closed = new Promise<CloseEvent>((resolve) => webSocket.addEventListener("close", resolve));
    webSocket.accept();
    webSocket.send(JSON.stringify({ type: "hello", versions: [1] }));
    webSocket.send(JSON.stringify({ type: "subscribe", id: 1, credit: CREDIT, from: { at: "last" } }));

    expect(await closed).toMatchObject({ code: 1012 });
    expect((await describeChannel(channel)).relays).toEqual([]);
    expect((await describeChannel(channel)).connections).toBe(0);
  });
});

/** Opens a socket for plain reading, and taps. */
async function tap(channel: string, more: object = {}): Promise<TestSocket> {
  const socket = await openPlain(channel);
  const subscribed = await socket.ask({ type: "subscribe", id: 1, credit: CREDIT, tap: true, ...more });
  expect(subscribed).toEqual({ type: "subscribed", id: 1 });
  return socket;
}

async function take(channel: string, max: number): Promise<void> {
  await read(call("POST", pathOf(channel, "/messages/pull"), { json: { max, ack: "auto" } }));
}

describe("src/object: relays of taps", () => {
  silenceWarnings();

  test.each(["queue", "interest"])(
    "[RY14] taps of a %s are one tap to the channel, each with its own credit and filter",
    async (retention) => {
      const channel = await createChannel({ retention, relays: { from: 1 } });
      if (retention === "interest") await read(call("PUT", pathOf(channel, "/groups/billing"), { json: {} }), 201);
      const all = [await tap(channel), await tap(channel)];
      const some = await tap(channel, { filter: { keys: ["k"] } });
      const slow = await tap(channel, { credit: { messages: 1 } });
      await patchChannel(channel, { maxMessages: 50 });
      // What is put at once may come in the same frame.
      const controls = await Promise.all(all.map((socket) => socket.next()));
      const messages = [{ text: "a" }, { text: "b", key: "k" }];
      await read(call("POST", pathOf(channel, "/messages/batch"), { json: { messages } }), 201);

      for (const [index, socket] of all.entries()) {
        const frames = [controls[index], await socket.next()];
        expect(frames).toMatchObject([{ controls: [{ offset: 1 }] }, { type: "deliver", id: 1 }]);
        expect(frames.flatMap((frame) => [textsOf(frame?.messages), frame?.resume])).toEqual([
          [],
          undefined,
          ["a", "b"],
          undefined,
        ]);
      }
      expect(await takeTexts(some, 1)).toEqual(["b"]);
      expect(await takeTexts(slow, 1)).toEqual(["a"]);
      slow.send({ type: "credit", id: 1, messages: 1 });
      expect(await takeTexts(slow, 1)).toEqual(["b"]);
      const { connections, subscriptions } = await describeChannel(channel);
      expect({ connections, subscriptions }).toEqual({ connections: 1, subscriptions: { members: 0, readers: 1 } });
    },
  );

  test("[RY14] [RY9] a relay that sleeps is called, and its taps see what was taken before it was back", async () => {
    const channel = await createChannel(TAPPED);
    const socket = await tap(channel);
    await put(channel, "a");
    expect(await takeTexts(socket, 1)).toEqual(["a"]);
    await take(channel, 1);
    // Tells the directory, which is a commit of its own.
    await runAlarm(channel);

    await partRelay(channel);
    await evictDurableObject(relayOf(channel), { webSockets: "hibernate" });
    await putBatch(channel, ["b", "c"]);
    await take(channel, 2);
    expect(await takeTexts(socket, 2)).toEqual(["b", "c"]);
    await put(channel, "d");
    expect(await takeTexts(socket, 1)).toEqual(["d"]);
  });

  test("[RY14] [RY8] taps go on when the channel ends, and come back when their relay does", async () => {
    const channel = await createChannel(TAPPED);
    const socket = await tap(channel);
    await put(channel, "a");
    expect(await takeTexts(socket, 1)).toEqual(["a"]);
    await restart(channel);
    await put(channel, "b");
    expect(await takeTexts(socket, 1)).toEqual(["b"]);
    await hibernate(channel);
    await put(channel, "c");
    expect(await takeTexts(socket, 1)).toEqual(["c"]);

    await killRelay(channel);
    await socket.closed;
    const again = await tap(channel);
    await put(channel, "d");
    expect(await takeTexts(again, 1)).toEqual(["d"]);
  });

  test("[RY10] [RY14] a channel that is made anew with another retention ends its taps, and its relay serves it as it is then", async () => {
    const channel = await createChannel(TAPPED);
    const socket = await tap(channel);
    await call("DELETE", pathOf(channel, "?force=true"));
    expect(await socket.next()).toMatchObject({ type: "ended", id: 1, problem: { kind: "channel-deleted" } });
    await read(call("PUT", pathOf(channel), { json: ALWAYS }), 201);
    expect(await socket.ask({ type: "subscribe", id: 1, credit: CREDIT, tap: true })).toMatchObject({
      problem: { kind: "wrong-retention" },
    });
    const reader = await follow(channel);
    await put(channel, "a");
    expect(await takeTexts(reader, 1)).toEqual(["a"]);
    expect(await describeRelay(channel)).toMatchObject({ readers: 1 });
  });

  test("[RY11] a connection that taps is not moved to a relay that comes", async () => {
    const channel = await createChannel({ retention: "queue", relays: { from: 3 } });
    const early = [await tap(channel), await tap(channel)];
    const third = await tap(channel);
    await put(channel, "a");
    for (const socket of [...early, third]) expect(await takeTexts(socket, 1)).toEqual(["a"]);
    expect((await describeChannel(channel)).connections).toBe(3);
    expect(await describeRelay(channel)).toMatchObject({ readers: 1 });
  });
});
