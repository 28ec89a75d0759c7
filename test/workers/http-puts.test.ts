// Puts over HTTP: one message as a body with headers, and batches.
// Words in brackets that are not rules of src/channel/SPEC.md name a section of src/protocol/PROTOCOL.md.
import * as v from "valibot";
import { describe, expect, test } from "vitest";
import { LIMITS } from "../../src/protocol/limits.ts";
import { REPLY_SCHEMAS } from "../../src/protocol/routes.ts";
import { MIB, pointersOf, pullReply, putBytes, stateHeadersOf } from "./http.ts";
import { inObject, restart } from "./inside.ts";
import {
  call,
  createChannel,
  describeChannel,
  pathOf,
  pull,
  pullTexts,
  put,
  putBatch,
  type PutJson,
  read,
  readProblem,
} from "./service.ts";

/** Bytes that no encoding leaves as they are, in a pattern that shows where they were cut. */
function makeBytes(length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  const words = new Uint32Array(bytes.buffer, 0, Math.floor(length / 4));
  for (let index = 0; index < words.length; index++) words[index] = Math.imul(index, 0x9e3779b1);
  return bytes;
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return a.byteLength === b.byteLength && crypto.subtle.timingSafeEqual(a, b);
}

describe("src/worker/message-routes: put", () => {
  test("[PT7] a put answers its offset, its address and the state, in headers and body", async () => {
    const channel = await createChannel({ maxMessages: 10 });
    await putBytes(channel, "first");

    const reply = await putBytes(channel, "second");
    const body = await reply.clone().json<PutJson>();

    v.parse(REPLY_SCHEMAS.put, body);
    expect(reply.status).toBe(201);
    expect(reply.headers.get("Content-Type")).toMatch(/^application\/json/);
    expect(reply.headers.get("Location")).toBe(pathOf(channel, "/messages/2"));
    expect(body).toEqual({ offset: 2, count: 1, state: { depth: 2, bytes: 11, utilization: 0.2, waiters: 0 } });
    expect(stateHeadersOf(reply)).toEqual(body.state);
    expect(await (await call("GET", reply.headers.get("Location") ?? "")).text()).toBe("second");
  });

  test("[protocol:messages] a body of no bytes is a message", async () => {
    const channel = await createChannel();
    await putBytes(channel, new Uint8Array(0));
    await call("POST", pathOf(channel, "/messages"), { headers: { "Content-Type": "text/plain" } });

    const stored = await call("GET", pathOf(channel, "/messages/1"));
    const { messages } = await pull(channel, { max: 2 });

    expect([stored.status, (await stored.arrayBuffer()).byteLength]).toEqual([200, 0]);
    expect(messages).toMatchObject([
      { offset: 1, base64: "" },
      { offset: 2, text: "" },
    ]);
  });

  test("[protocol:messages] headers are percent-encoded both ways", async () => {
    const channel = await createChannel();
    const [key, id, value] = ["Schlüssel/100 %", " id\twith\r\nedges ", "日本 = 🚀"];
    const sent = {
      "Content-Type": "application/vnd.x+json; a=b",
      "Channel-Key": encodeURIComponent(key),
      "Channel-Message-Id": encodeURIComponent(id),
      "Channel-Header-Trace": encodeURIComponent(value),
      "Channel-Header-X.Y": "a b=c",
    };
    await putBytes(channel, "{}", sent);

    const stored = await call("GET", pathOf(channel, "/messages/1"));
    const { messages } = await pull(channel);

    const decode = (name: string): string => decodeURIComponent(stored.headers.get(name) ?? "");
    expect(stored.headers.get("Content-Type")).toBe(sent["Content-Type"]);
    expect([decode("Channel-Key"), decode("Channel-Message-Id")]).toEqual([key, id]);
    expect([decode("Channel-Header-Trace"), decode("Channel-Header-X.Y")]).toEqual([value, "a b=c"]);
    expect(stored.headers.get("Channel-Offset")).toBe("1");
    expect(messages[0]).toMatchObject({ key, messageId: id, headers: { trace: value, "x.y": "a b=c" } });
    expect(stored.headers.get("Channel-Put-At-Ms")).toBe(String(messages[0]?.putAtMs));
  });

  test("[G11] a header that is too long, empty or badly encoded is refused with its name", async () => {
    const channel = await createChannel();
    const cases: [string, string][] = [
      ["Channel-Key", ""],
      ["Channel-Key", "%"],
      ["Channel-Key", "%FF"],
      ["Channel-Key", "k".repeat(LIMITS.keyBytesMax + 1)],
      ["Channel-Message-Id", "%C3%A4".repeat(LIMITS.messageIdBytesMax / 2 + 1)],
      ["Content-Type", "text"],
      ["Content-Type", `text/${"x".repeat(LIMITS.contentTypeBytesMax)}`],
    ];
    for (const [name, value] of cases) {
      expect([`${name}: ${value}`, await pointersOf(putBytes(channel, "a", { [name]: value }))]).toEqual([
        `${name}: ${value}`,
        [`/header/${name}`],
      ]);
    }
    expect(await pointersOf(putBytes(channel, "a", { "Channel-Header-X": "%" }))).toEqual(["/header/channel-header-x"]);
    await read(putBytes(channel, "a", { "Channel-Key": "k".repeat(LIMITS.keyBytesMax) }), 201);
    expect((await describeChannel(channel)).depth).toBe(1);
  });

  test("[protocol:put one] a header of ours that is none is refused with its name", async () => {
    const channel = await createChannel();
    for (const name of ["channel-keys", "channel-message", "channel-offset", "channel-", "channel-header", "channel-key-"]) {
      expect([name, await pointersOf(putBytes(channel, "a", { [name]: "v" }))]).toEqual([name, [`/header/${name}`]]);
    }
    await read(
      putBytes(channel, "a", { "X-Channel-Keys": "v", Channel: "v", "CHANNEL-KEY": "v", "Channel-Header-Keys": "v" }),
      201,
    );
    expect((await describeChannel(channel)).depth).toBe(1);
  });

  test("[G11] a message header with a name that is not allowed is refused with the name that was sent", async () => {
    const name = `channel-header-${"x".repeat(65)}`;

    expect(await pointersOf(putBytes(await createChannel(), "a", { [name]: "v" }))).toEqual([`/header/${name}`]);
  });

  test("[G6] headers may have 16 KiB together and not one byte more", async () => {
    const channel = await createChannel();
    const half = LIMITS.headersBytesMax / 2;
    const [value, longer] = ["v".repeat(half - 1), "v".repeat(half)];

    await read(putBytes(channel, "a", { "Channel-Header-A": value, "Channel-Header-B": value }), 201);
    const refused = putBytes(channel, "a", { "Channel-Header-A": value, "Channel-Header-B": longer });

    expect(await pointersOf(refused)).toEqual(["/header"]);
    const [message] = (await pull(channel)).messages;
    expect(Object.values(message?.headers ?? {}).map((text) => text.length)).toEqual([half - 1, half - 1]);
  });

  test("[protocol:messages] a body is shown as JSON or text where its bytes are that, else as base64", async () => {
    const channel = await createChannel();
    const cases: [string, BodyInit, object][] = [
      ["application/json", '{"a": [1, null]}', { json: { a: [1, null] } }],
      ["application/vnd.a+json", '"x"', { json: "x" }],
      ["application/json", "null", { json: null }],
      ["application/json", "{not json", { text: "{not json" }],
      ["application/json", new Uint8Array([0x22, 0xff, 0x22]), { base64: "Iv8i" }],
      ["text/plain", "grüße\n\t", { text: "grüße\n\t" }],
      ["text/plain", "\u{feff}bom", { text: "\u{feff}bom" }],
      ["text/plain", "a\u0000b", { base64: "YQBi" }],
      ["text/plain", new Uint8Array([0xff]), { base64: "/w==" }],
      ["application/octet-stream", "text", { base64: "dGV4dA==" }],
      ["image/png", new Uint8Array([1, 2]), { base64: "AQI=" }],
    ];
    for (const [type, body] of cases) await read(putBytes(channel, body, { "Content-Type": type }), 201);

    const { messages } = await pull(channel, { max: cases.length });

    expect(messages).toEqual(
      cases.map(([contentType, , member], index): object => ({
        offset: index + 1,
        putAtMs: messages[index]?.putAtMs,
        contentType,
        ...member,
      })),
    );
  });

  test("[protocol:messages] a JSON body reaches the reader byte for byte", async () => {
    const channel = await createChannel();
    const body = '{ "big": 12345678901234567890, "exact": 1.000,\n "twice": 1, "twice": 2 }';
    await putBytes(channel, body, { "Content-Type": "application/json" });

    const page = await (await call("GET", pathOf(channel, "/messages"))).text();
    const one = await (await call("GET", pathOf(channel, "/messages/1"))).text();
    const pulled = await (await pullReply(channel, {})).text();

    expect(one).toBe(body);
    expect(page).toContain(`"json":${body}`);
    expect(pulled).toContain(`"json":${body}`);
  });

  test("[PT1] a message of 1 MiB is taken by default and one byte more is refused", async () => {
    const channel = await createChannel();

    await read(putBytes(channel, makeBytes(MIB)), 201);
    const problem = await readProblem(putBytes(channel, makeBytes(MIB + 1)));

    expect(problem).toMatchObject({ kind: "message-too-large", status: 413, bytes: MIB + 1, limit: MIB });
    expect(await describeChannel(channel)).toMatchObject({ depth: 1, bytes: MIB });
  });

  test("[PT6] key, id, headers and an unusual content type count as bytes", async () => {
    const channel = await createChannel({ maxMessageBytes: 20 });
    const headers = {
      "Channel-Key": "k",
      "Channel-Message-Id": "%C3%A4",
      "Channel-Header-N": "v",
      "Content-Type": "a/b",
    };

    expect(await read<PutJson>(putBytes(channel, "x".repeat(12), headers), 201)).toMatchObject({ state: { bytes: 20 } });
    expect(await readProblem(putBytes(channel, "x".repeat(13), headers))).toMatchObject({ bytes: 21, limit: 20 });
  });

  test("[RC5] a body of 16 MiB comes back bit for bit, from rows below 2 MB", async () => {
    const channel = await createChannel({ maxMessageBytes: LIMITS.messageBytesMax });
    const body = makeBytes(LIMITS.messageBytesMax);
    await read(putBytes(channel, body), 201);
    await restart(channel);

    const stored = await call("GET", pathOf(channel, "/messages/1"));
    const rowBytes = await inObject(channel, (_, { storage }) => {
      const select = "SELECT max(length(body)) AS bytes FROM (SELECT body FROM segment UNION ALL SELECT body FROM segment_part)";
      return storage.sql.exec<{ bytes: number }>(select).one().bytes;
    });

    expect(stored.headers.get("Content-Type")).toBe("application/octet-stream");
    expect(isSame(new Uint8Array(await stored.arrayBuffer()), body)).toBe(true);
    expect(rowBytes).toBeGreaterThan(LIMITS.segmentBytesMax);
    expect(rowBytes).toBeLessThan(LIMITS.rowBytesMax);
  });

  test("[GT3] a message larger than a reply may be is pulled alone", async () => {
    const channel = await createChannel({ maxMessageBytes: LIMITS.messageBytesMax });
    const text = "x".repeat(LIMITS.replyBytesMax + 1);
    await put(channel, text);
    await put(channel, "next");

    const { messages, state } = await pull(channel, { max: 10 });

    expect(messages.map((message) => message.offset)).toEqual([1]);
    expect(messages[0]?.text === text).toBe(true);
    expect(state.depth).toBe(1);
    expect(await pullTexts(channel)).toEqual(["next"]);
  });

  test("[G6] a body above the largest message is refused, whether its length is announced or not", async () => {
    const channel = await createChannel({ maxMessageBytes: LIMITS.messageBytesMax });
    const body = makeBytes(LIMITS.messageBytesMax + 1);

    for (const form of [body, new Blob([body]).stream()]) {
      const problem = await readProblem(putBytes(channel, form));

      expect(problem).toMatchObject({ kind: "request-too-large", status: 413, limit: LIMITS.messageBytesMax });
    }
  });

  test("[PT4] a full channel refuses with the facts and a time to try again", async () => {
    const channel = await createChannel({ maxMessages: 2 });
    await putBatch(channel, ["a", "b"]);

    const reply = await putBytes(channel, "c");
    const problem = await readProblem(reply);

    expect(problem).toMatchObject({ kind: "channel-full", status: 429, retry: "after", depth: 2, maxMessages: 2, bytes: 2 });
    expect(reply.headers.get("Retry-After")).toBe(String(Math.ceil(Number(problem["retryAfterMs"]) / 1000)));
  });
});

describe("src/worker/message-routes: batch", () => {
  test("[G8] a batch is stored whole, at consecutive offsets", async () => {
    const channel = await createChannel();
    await put(channel, "before");
    const messages = [
      { json: { a: 1 } },
      { text: "t", key: "k" },
      { base64: "AQI=", contentType: "image/png", headers: { x: "y" } },
    ];

    const reply = await call("POST", pathOf(channel, "/messages/batch"), { json: { messages } });
    const body = await read<PutJson>(reply.clone(), 201);

    v.parse(REPLY_SCHEMAS.put, body);
    expect(body).toMatchObject({ offset: 2, count: 3, state: { depth: 4 } });
    expect(stateHeadersOf(reply)).toEqual(body.state);
    expect(reply.headers.get("Location")).toBe(pathOf(channel, "/messages/2"));
    const taken = (await pull(channel, { max: 10 })).messages;
    expect(taken.map((message) => message.offset)).toEqual([1, 2, 3, 4]);
    expect(taken.slice(1)).toMatchObject(messages);
  });

  test("[PT2] an empty batch is accepted and stores nothing", async () => {
    const channel = await createChannel({ maxMessages: 1 });
    await put(channel, "a");

    const body = await putBatch(channel, []);

    expect(body).toMatchObject({ offset: 2, count: 0, state: { depth: 1 } });
  });

  test("[G8] a batch with one message at fault is refused whole, with a pointer to it", async () => {
    const channel = await createChannel();
    const good = { text: "good" };
    const cases: [unknown, string][] = [
      [{}, "/messages/1"],
      [{ text: "a", json: 1 }, "/messages/1"],
      [{ base64: "AQ" }, "/messages/1/base64"],
      [{ text: 5 }, "/messages/1/text"],
      [{ text: "a", id: "b" }, "/messages/1/id"],
      [{ text: "\ud800" }, "/messages/1/text"],
      [{ text: "a", key: "" }, "/messages/1/key"],
      [{ text: "a", contentType: "bad" }, "/messages/1/contentType"],
      [{ text: "a", headers: { Upper: "x" } }, "/messages/1/headers/Upper"],
      [{ text: "a", headers: { x: "v".repeat(LIMITS.headersBytesMax) } }, "/messages/1/headers"],
      ["text", "/messages/1"],
    ];
    for (const [bad, pointer] of cases) {
      const reply = call("POST", pathOf(channel, "/messages/batch"), { json: { messages: [good, bad] } });
      expect([JSON.stringify(bad).slice(0, 80), await pointersOf(reply)]).toEqual([JSON.stringify(bad).slice(0, 80), [pointer]]);
    }
    expect((await describeChannel(channel)).nextOffset).toBe(1);
  });

  test("[G11] a batch takes no headers of a message, which would be passed over", async () => {
    const channel = await createChannel();
    for (const name of ["Channel-Key", "Channel-Delay-Ms", "Channel-Ttl-Ms", "Channel-Header-a", "Channel-Foo"]) {
      const reply = call("POST", pathOf(channel, "/messages/batch"), {
        json: { messages: [{ text: "a" }] },
        headers: { [name]: "5" },
      });
      expect(await pointersOf(reply)).toEqual([`/header/${name.toLowerCase()}`]);
    }
    expect((await describeChannel(channel)).counts.put).toBe(0);
  });

  test("[G6] a batch has at most 10,000 messages", async () => {
    const channel = await createChannel();
    const texts = Array.from({ length: LIMITS.batchMessagesMax }, () => "");

    expect(await putBatch(channel, texts)).toMatchObject({ offset: 1, count: LIMITS.batchMessagesMax });
    const messages = [...texts, ""].map((text) => ({ text }));
    expect(await pointersOf(call("POST", pathOf(channel, "/messages/batch"), { json: { messages } }))).toEqual(["/messages"]);
    expect((await pull(channel, { max: LIMITS.batchMessagesMax })).messages).toHaveLength(LIMITS.batchMessagesMax);
  });

  test("[PT1] a batch has at most 16 MiB", async () => {
    const channel = await createChannel({ maxMessageBytes: LIMITS.messageBytesMax });
    const half = "x".repeat(LIMITS.batchBytesMax / 2);

    const messages = [{ text: half }, { text: `${half}x` }];
    const problem = await readProblem(call("POST", pathOf(channel, "/messages/batch"), { json: { messages } }));

    expect(problem).toMatchObject({ kind: "batch-too-large", status: 413, limit: LIMITS.batchBytesMax, unit: "bytes" });
    expect(problem["size"]).toBe(LIMITS.batchBytesMax + 1);
    expect((await describeChannel(channel)).nextOffset).toBe(1);
  });

  test("[G6] a request has at most 24 MiB", async () => {
    const channel = await createChannel();
    const body = " ".repeat(LIMITS.requestBodyBytesMax + 1);

    const reply = call("POST", pathOf(channel, "/messages/batch"), { body, headers: { "Content-Type": "application/json" } });

    expect(await readProblem(reply)).toMatchObject({ kind: "request-too-large", limit: LIMITS.requestBodyBytesMax });
  });
});
