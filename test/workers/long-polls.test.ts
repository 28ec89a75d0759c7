// HTTP requests that wait. SPEC section WT.
import { describe, expect, test } from "vitest";
import { pullReply } from "./http.ts";
import { restart } from "./inside.ts";
import {
  call,
  createChannel,
  describeChannel,
  NO_COUNTS,
  patchChannel,
  pathOf,
  pull,
  type PulledJson,
  pullTexts,
  put,
  putBatch,
  type PutJson,
  read,
  readProblem,
  textsOf,
  untilChannel,
  untilWaiting,
} from "./service.ts";
import { LONG_MS, putReply, startPull, startPut } from "./waiting.ts";

describe("src/worker/wait-bridge", () => {
  test("[WT1] a pull waits its time and then answers an empty list", async () => {
    const channel = await createChannel();
    const startMs = Date.now();

    const reply = await pullReply(channel, { waitMs: 30 });

    expect(Date.now() - startMs).toBeGreaterThanOrEqual(30);
    expect(await read<PulledJson>(reply)).toEqual({ messages: [], state: { depth: 0, bytes: 0, utilization: 0, waiters: 0 } });
    await untilChannel(channel, ({ connections }) => connections === 0);
  });

  test("[WT1] a put waits its time for room and is then refused", async () => {
    const channel = await createChannel({ maxMessages: 1 });
    await put(channel, "a");
    const startMs = Date.now();

    const reply = await putReply(channel, 30);

    expect(Date.now() - startMs).toBeGreaterThanOrEqual(30);
    expect(reply.headers.get("Retry-After")).toMatch(/^[1-9]/);
    expect(await readProblem(reply)).toMatchObject({ kind: "channel-full", depth: 1 });
    await untilChannel(channel, ({ connections }) => connections === 0);
  });

  test("[WT1] a wait of 0 does not wait, and one that is served at once does not either", async () => {
    const channel = await createChannel({ maxMessages: 1 });

    expect(await pull(channel, { waitMs: 0 })).toMatchObject({ messages: [] });
    expect(await pull(channel, { waitMs: LONG_MS, min: 0 })).toMatchObject({ messages: [] });
    expect(await pull(channel, { waitMs: LONG_MS, max: 0 })).toMatchObject({ messages: [] });
    expect(await put(channel, "a", `?waitMs=${LONG_MS}`)).toMatchObject({ offset: 1 });
    expect((await readProblem(putReply(channel, 0))).kind).toBe("channel-full");
    expect(await pullTexts(channel, { waitMs: LONG_MS })).toEqual(["a"]);
  });

  test("[WT2] a waiting pull is answered when enough is there, with the state in headers and body", async () => {
    const channel = await createChannel({ maxMessages: 4 });
    const reply = pullReply(channel, { min: 2, max: 3, waitMs: LONG_MS });
    await untilWaiting(channel, 1);

    await put(channel, "a");
    await putBatch(channel, ["b", "c", "d"]);

    const { headers } = await reply;
    const { messages, state } = await read<PulledJson>(reply);
    expect(textsOf(messages)).toEqual(["a", "b", "c"]);
    expect(state).toEqual({ depth: 1, bytes: 1, utilization: 0.25, waiters: 0 });
    expect([headers.get("Channel-Depth"), headers.get("Channel-Utilization")]).toEqual(["1", "0.25"]);
  });

  test("[WT4] waiting puts are stored in the order of arrival, with their bodies as they came", async () => {
    const channel = await createChannel({ maxMessages: 1 });
    await put(channel, "first");
    const bytes = new Uint8Array([0, 255, 34, 10]);
    const first = call("POST", pathOf(channel, `/messages?waitMs=${LONG_MS}`), { body: bytes, headers: { "Channel-Key": "k" } });
    await untilWaiting(channel, 1);
    const { reply: second } = await startPut(channel, 2, "third");

    expect(await pullTexts(channel)).toEqual(["first"]);
    expect(await read<PutJson>(first, 201)).toMatchObject({ offset: 2, count: 1, state: { depth: 1, waiters: 1 } });
    expect((await pull(channel)).messages).toMatchObject([{ offset: 2, key: "k", base64: "AP8iCg==" }]);
    expect(await second).toMatchObject({ offset: 3 });
    expect(await pullTexts(channel)).toEqual(["third"]);
  });

  test("[G8] a waiting batch is stored whole", async () => {
    const channel = await createChannel({ maxMessages: 3 });
    await putBatch(channel, ["a", "b"]);
    const batch = putBatch(channel, ["c", "d", "e"], `?waitMs=${LONG_MS}`);
    await untilWaiting(channel, 1);

    await pull(channel);
    expect((await describeChannel(channel)).waiters).toBe(1);
    await pull(channel);

    expect(await batch).toMatchObject({ offset: 3, count: 3 });
    expect(await pullTexts(channel, { max: 3 })).toEqual(["c", "d", "e"]);
  });

  test("[PT5] what can never fit is refused at once, whatever its wait", async () => {
    const channel = await createChannel({ maxMessages: 2, maxMessageBytes: 5 });
    const messages = ["a", "b", "c"].map((text) => ({ text }));

    const batch = call("POST", pathOf(channel, `/messages/batch?waitMs=${LONG_MS}`), { json: { messages } });
    const message = call("POST", pathOf(channel, `/messages?waitMs=${LONG_MS}`), { body: "too large" });

    expect((await readProblem(batch)).kind).toBe("batch-too-large");
    expect((await readProblem(message)).kind).toBe("message-too-large");
    expect((await readProblem(pullReply(channel, { min: 3, waitMs: LONG_MS }))).kind).toBe("batch-too-large");
  });

  test("[G11] a long poll that loses the channel is told whether anything can have happened", async () => {
    const channel = await createChannel({ maxMessages: 1 });
    const lostPull = pullReply(channel, { waitMs: LONG_MS });
    await untilWaiting(channel, 1);
    await restart(channel);
    await lostPull;
    await put(channel, "a");
    const lostPut = putReply(channel, LONG_MS);
    await untilWaiting(channel, 1);
    await restart(channel);

    const unavailable = { kind: "unavailable", status: 503, retry: "after" };
    expect(await readProblem(lostPull)).toMatchObject({ ...unavailable, outcome: "unknown" });
    // Its body never left the worker.
    expect(await readProblem(lostPut)).toMatchObject({ ...unavailable, outcome: "not-applied" });
    expect((await describeChannel(channel)).counts).toEqual({ ...NO_COUNTS, put: 1 });
  });

  test("[LC4] long polls are told when the new state can not serve them", async () => {
    const channel = await createChannel({ maxMessages: 1 });
    await put(channel, "a");
    const stored = putReply(channel, LONG_MS);
    await untilWaiting(channel, 1);
    await patchChannel(channel, { state: "draining" });
    expect(await readProblem(stored)).toMatchObject({ kind: "channel-draining", status: 410 });

    await patchChannel(channel, { state: "open" });
    await pull(channel);
    for (const [end, kind] of [
      [() => patchChannel(channel, { state: "closed" }), "channel-closed"],
      [() => call("DELETE", pathOf(channel)), "channel-deleted"],
    ] as const) {
      if (kind === "channel-deleted") await patchChannel(channel, { state: "open" });
      const pulled = pullReply(channel, { waitMs: LONG_MS });
      await untilWaiting(channel, 1);
      await end();
      expect(await readProblem(pulled)).toMatchObject({ kind, status: 410 });
    }
  });

  test("[WT6] a long poll whose client goes away takes nothing", async () => {
    const channel = await createChannel();
    const controller = new AbortController();
    const gone = pull(channel, { waitMs: LONG_MS }, { signal: controller.signal }).catch((error: unknown) => error);
    await untilWaiting(channel, 1);
    const { reply } = await startPull(channel, 2);

    controller.abort();
    expect(await gone).toBeInstanceOf(Error);
    await untilWaiting(channel, 1);
    await put(channel, "a");

    expect(textsOf((await reply).messages)).toEqual(["a"]);
    expect(await describeChannel(channel)).toMatchObject({ depth: 0, waiters: 0 });
  });

  test("[WT6] long polls whose clients go away at any moment leave everything in the channel", async () => {
    const channel = await createChannel();
    const polls = Array.from({ length: 20 }, async (_, moment) => {
      const controller = new AbortController();
      const poll = pull(channel, { waitMs: LONG_MS }, { signal: controller.signal }).catch((error: unknown) => error);
      for (let turn = 0; turn < moment; turn++) await call("GET", "/healthz");
      controller.abort();
      await poll;
    });
    await Promise.all(polls);
    await untilChannel(channel, ({ connections }) => connections === 0);

    await putBatch(channel, ["a", "b", "c"]);

    expect(await pullTexts(channel, { max: 9 })).toEqual(["a", "b", "c"]);
  });

  test("[WT6] a waiting put whose client goes away stores nothing and holds up nobody", async () => {
    const channel = await createChannel({ maxMessages: 1 });
    await put(channel, "a");
    const controller = new AbortController();
    const options = { body: "gone", signal: controller.signal };
    const gone = call("POST", pathOf(channel, `/messages?waitMs=${LONG_MS}`), options).catch((error: unknown) => error);
    await untilWaiting(channel, 1);
    const { reply } = await startPut(channel, 2, "b");

    controller.abort();
    await gone;
    await untilWaiting(channel, 1);
    expect(await pullTexts(channel)).toEqual(["a"]);

    expect(await reply).toMatchObject({ offset: 2 });
    expect(await pullTexts(channel, { max: 9 })).toEqual(["b"]);
  });
});
