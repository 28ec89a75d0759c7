// Batches over HTTP in binary frames: what is put in one, and what a pull is answered in.
// Words in brackets that are not rules of src/channel/SPEC.md name a section of src/protocol/PROTOCOL.md.
import * as v from "valibot";
import { describe, expect, test } from "vitest";
import type { BlockRecord } from "../../src/protocol/block-writer.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import { DEFAULT_CONTENT_TYPES } from "../../src/protocol/presentation.ts";
import { REPLY_SCHEMAS } from "../../src/protocol/routes.ts";
import { FRAME_MEDIA_TYPE } from "../../src/protocol/version.ts";
import { putFrame, readServerFrame, textRecord } from "../binary-frames.ts";
import { pointersOf, stateHeadersOf } from "./http.ts";
import {
  call,
  createChannel,
  describeChannel,
  freshChannel,
  pathOf,
  pull,
  type PulledJson,
  pullTexts,
  put,
  putBatch,
  type PutJson,
  read,
  readProblem,
  type SettledJson,
  textsOf,
  untilWaiting,
} from "./service.ts";
import { LONG_MS } from "./waiting.ts";

type FramedReply = PulledJson & { readonly type: string };

function putFramed(
  channel: string,
  body: BufferSource,
  { query = "", headers = {} }: { readonly query?: string; readonly headers?: Readonly<Record<string, string>> } = {},
): Promise<Response> {
  return call("POST", pathOf(channel, `/messages/batch${query}`), {
    body,
    headers: { "Content-Type": FRAME_MEDIA_TYPE, ...headers },
  });
}

function putTexts(channel: string, ...texts: readonly string[]): Promise<Response> {
  const records = texts.map((text): BlockRecord => textRecord(text));
  return putFramed(channel, putFrame({}, records));
}

function pullFramed(channel: string, json: object, accept = FRAME_MEDIA_TYPE): Promise<Response> {
  return call("POST", pathOf(channel, "/messages/pull"), { json, headers: { Accept: accept } });
}

async function readFramed(reply: Response | Promise<Response>): Promise<FramedReply> {
  const framed = await reply;
  expect([framed.status, framed.headers.get("Content-Type")]).toEqual([200, FRAME_MEDIA_TYPE]);
  return readServerFrame(await framed.arrayBuffer()) as FramedReply;
}

describe("src/worker/message-routes: a batch in a binary frame", () => {
  test("[RB2] [protocol:batches in binary] its messages get consecutive offsets and all that they came with", async () => {
    const channel = await createChannel();
    const more = { key: "k", messageId: "m", headers: { a: "b" }, contentType: "text/html", ttlMs: 60_000 };

    const reply = await putFramed(
      channel,
      putFrame({}, [
        textRecord("a"),
        textRecord("b", more),
        textRecord("[1]", { presentation: "json", contentType: DEFAULT_CONTENT_TYPES.json }),
      ]),
    );

    expect(reply.headers.get("Location")).toBe(pathOf(channel, "/messages/1"));
    expect(stateHeadersOf(reply)).toMatchObject({ depth: 3 });
    expect(await read<PutJson>(reply, 201)).toMatchObject({ offset: 1, count: 3, state: { depth: 3 } });
    const { messages } = await read<PulledJson>(call("GET", pathOf(channel, "/messages")));
    expect(messages).toMatchObject([{ text: "a" }, { text: "b", ...more }, { json: [1] }]);
    expect(await read(call("GET", pathOf(channel, "/messages/2/history")))).toMatchObject({ put: { via: "http" } });
  });

  test("[SD1] messages with a delay enter later, the others at once", async () => {
    const channel = await createChannel();
    const records = [textRecord("a", { delay: { afterMs: 60_000 } }), textRecord("b")];

    expect(await read(putFramed(channel, putFrame({}, records)), 201)).toMatchObject({
      offset: 1,
      count: 1,
      scheduled: [{ index: 0 }],
    });
    expect(await describeChannel(channel)).toMatchObject({ depth: 1, scheduled: { messages: 1 } });
  });

  test("[G9] address and headers say what they say for JSON", async () => {
    const channel = await createChannel({ maxMessages: 3 });
    const frame = putFrame({}, [textRecord("a"), textRecord("b")]);
    const headers = { "Idempotency-Key": "i" };

    await read(putFramed(channel, frame, { headers }), 201);
    expect(await read(putFramed(channel, frame, { headers }), 201)).toMatchObject({ offset: 1, count: 2, duplicate: true });
    // The same messages as JSON are the same put.
    const json = { messages: [{ text: "a" }, { text: "b" }] };
    expect(await read(call("POST", pathOf(channel, "/messages/batch"), { json, headers }), 201)).toMatchObject({
      duplicate: true,
    });
    expect(await readProblem(putFramed(channel, frame, { query: "?expectedOffset=9" }))).toMatchObject({
      kind: "offset-conflict",
      nextOffset: 3,
    });
    expect(await readProblem(putFramed(channel, frame))).toMatchObject({ kind: "channel-full" });
    expect(await pullTexts(channel, { max: 9 })).toEqual(["a", "b"]);
  });

  test("[G7] one that waits for room is stored when there is some", async () => {
    const channel = await createChannel({ maxMessages: 2 });
    await putBatch(channel, ["a", "b"]);
    const waiting = putFramed(channel, putFrame({}, [textRecord("c"), textRecord("d")]), { query: `?waitMs=${LONG_MS}` });
    await untilWaiting(channel, 1);

    expect(await pullTexts(channel, { max: 2 })).toEqual(["a", "b"]);
    expect(await read(waiting, 201)).toMatchObject({ offset: 3, count: 2 });
  });

  test("[RB1] [G11] what is no such frame is refused with a pointer, and nothing is stored", async () => {
    const channel = await createChannel();
    const frame = new Uint8Array(putFrame({}, [textRecord("a"), textRecord("b", { key: "k" })]));
    const tooMany = Array.from({ length: LIMITS.batchMessagesMax + 1 }, () => textRecord(""));
    const samples: (readonly [body: BufferSource, pointer: string])[] = [
      [new Uint8Array(0), ""],
      [frame.slice(0, 9), ""],
      [frame.slice(0, -1), "/messages"],
      [new Uint8Array([...frame, 0]), "/messages"],
      [putFrame({ id: 1 }, [textRecord("a")]), "/id"],
      [putFrame({ waitMs: 5 }, [textRecord("a")]), "/waitMs"],
      [putFrame({}, [textRecord("a"), textRecord("b", { key: "" })]), "/messages/1/key"],
      [putFrame({}, tooMany), "/messages"],
    ];
    for (const [body, pointer] of samples) expect(await pointersOf(putFramed(channel, body))).toEqual([pointer]);
    // A frame of the server.
    const got = frame.slice();
    got[0] = 3;
    expect(await readProblem(putFramed(channel, got))).toMatchObject({ kind: "unknown-frame", status: 400 });
    const large = await readProblem(putFramed(channel, new Uint8Array(LIMITS.requestBodyBytesMax + 1)));
    expect(large).toMatchObject({ kind: "request-too-large", status: 413 });
    expect((await describeChannel(channel)).counts.put).toBe(0);
  });

  test("[G11] it is taken where a batch is, and nowhere else", async () => {
    const channel = await createChannel();
    const options = { body: putFrame({}, [textRecord("a")]), headers: { "Content-Type": FRAME_MEDIA_TYPE } };

    for (const rest of ["/messages/pull", "/messages/settle"]) {
      expect(await readProblem(call("POST", pathOf(channel, rest), options))).toMatchObject({
        kind: "unsupported-media-type",
        accepted: ["application/json"],
      });
    }
    const batch = call("POST", pathOf(channel, "/messages/batch"), { body: "a", headers: { "Content-Type": "text/plain" } });
    expect(await readProblem(batch)).toMatchObject({ accepted: ["application/json", FRAME_MEDIA_TYPE] });
  });
});

describe("src/worker/delivery-routes: a pull that is answered in a binary frame", () => {
  test("[RB3] [protocol:batches in binary] it says what the reply in JSON says, and its leases settle", async () => {
    const channel = await createChannel();
    await read(putTexts(channel, "a", "b", "c"), 201);

    const reply = await pullFramed(channel, { max: 2 });
    const state = stateHeadersOf(reply);
    const { type, ...framed } = await readFramed(reply);

    expect(type).toBe("got");
    v.parse(v.strictObject(REPLY_SCHEMAS.pulled.entries), framed);
    expect(framed.state).toEqual(state);
    expect(textsOf(framed.messages)).toEqual(["a", "b"]);
    const acks = framed.messages.map(({ leaseId }) => ({ leaseId }));
    const settled = read<SettledJson>(call("POST", pathOf(channel, "/messages/settle"), { json: { acks } }));
    expect(await settled).toMatchObject({ acked: 2, refused: [] });
    const { leaseId, attempt, redelivered } = (await read<PulledJson>(call("POST", pathOf(channel, "/messages/pull"))))
      .messages[0] ?? { leaseId: "" };
    expect([attempt, redelivered]).toEqual([1, false]);
    await read(call("POST", pathOf(channel, "/messages/settle"), { json: { retries: [{ leaseId, delayMs: 0 }] } }));
    expect((await readFramed(pullFramed(channel, {}))).messages).toMatchObject([{ text: "c", attempt: 2, redelivered: true }]);
  });

  test("[GT1] with ack auto it has no leases, and control records come along", async () => {
    const channel = await createChannel();
    await put(channel, "a");
    await call("PATCH", pathOf(channel), { json: { maxMessages: 9 } });
    await put(channel, "b");

    const { messages, controls, leaseUntilMs } = await readFramed(pullFramed(channel, { ack: "auto", max: 2 }));

    expect(messages.map(({ text, leaseId }) => [text, leaseId])).toEqual([
      ["a", undefined],
      ["b", undefined],
    ]);
    expect(controls).toMatchObject([{ offset: 2, control: { type: "resize" } }]);
    expect(leaseUntilMs).toBeUndefined();
  });

  test("[GT1] a reply without messages is JSON, and refusals are problems", async () => {
    const channel = await createChannel();

    expect(await read(pullFramed(channel, { max: 2 }))).toMatchObject({ messages: [] });
    expect(await read(pullFramed(channel, { max: 2, waitMs: 20 }))).toMatchObject({ messages: [] });
    const group = pullFramed(channel, { group: "nobody" });
    expect(await readProblem(group)).toMatchObject({ kind: "wrong-retention", status: 409 });
  });

  test.each([true, false])("[WT1] one that waits is answered in a frame too (leased: %s)", async (isLeased) => {
    const channel = await createChannel();
    const waiting = pullFramed(channel, { max: 5, min: 2, waitMs: LONG_MS, ...(!isLeased && { ack: "auto" }) });
    await untilWaiting(channel, 1);

    await read(putTexts(channel, "a", "b"), 201);
    const framed = await readFramed(waiting);

    expect(Object.keys(framed)).not.toContain("id");
    expect(textsOf(framed.messages)).toEqual(["a", "b"]);
    expect(framed.messages.every(({ leaseId }) => (leaseId !== undefined) === isLeased)).toBe(true);
    expect(await describeChannel(channel)).toMatchObject({ depth: isLeased ? 2 : 0 });
  });

  test.each([
    ["application/json, */*", "application/json"],
    ["*/*", "application/json"],
    [`application/json, ${FRAME_MEDIA_TYPE};q=0.5`, "application/json"],
    [`application/json;q=0.5, ${FRAME_MEDIA_TYPE}`, FRAME_MEDIA_TYPE],
    [`${FRAME_MEDIA_TYPE}, application/problem+json`, FRAME_MEDIA_TYPE],
    ["image/png", "application/json"],
    [`${FRAME_MEDIA_TYPE};q=0`, "application/json"],
    [",;q=x,,", "application/json"],
  ])("[protocol:batches in binary] where Accept is %s the reply is %s", async (accept, contentType) => {
    const channel = freshChannel();
    await put(channel, "a");

    const reply = await pullFramed(channel, { ack: "auto" }, accept);
    await reply.arrayBuffer();

    expect(reply.headers.get("Content-Type")).toBe(contentType);
    expect(await pull(channel)).toMatchObject({ messages: [] });
  });
});
