// How the client's messages become blocks, and blocks its messages.
import { assert, describe, expect, test } from "vitest";
import { joinPut, packPuts, readBinaryFrame } from "../../src/client/block-codec.ts";
import { formatPutMessage, type PutGiven, type PutInput } from "../../src/client/message-json.ts";
import { parsePutMessage, type PutMessageJson } from "../../src/protocol/message.ts";
import { parsePutFrame } from "../../src/protocol/put-frame.ts";
import { encodeUtf8 } from "../../src/protocol/bytes.ts";
import { BATCH_MESSAGES_MAX } from "../../src/protocol/client-limits.ts";
import { readPutFrame, serverFrame, textRecord } from "../binary-frames.ts";
import { STATE } from "./client-doubles.ts";

const MORE = { key: "k é", messageId: "m", headers: { trace: "ü", a: "" }, ttlMs: 60_000 };
const GIVEN: readonly PutGiven[] = [
  "",
  "text ü \u0000 \u{1f600}",
  new Uint8Array([0, 255]),
  { json: { a: [null, "\ud800"], n: -0 } },
  { body: "t", ...MORE },
  { body: new Uint8Array(0), contentType: "image/png", ...MORE },
  { body: { json: 1 }, contentType: "application/json", headers: {} },
  { body: "own", contentType: "application/json", key: undefined },
];
const HEAD = JSON.stringify({ id: 1 });

function pack(messages: readonly PutGiven[]): Uint8Array<ArrayBuffer> {
  const block = packPuts(messages);
  if (block === undefined) throw new Error("It was not packed");
  return joinPut(HEAD, block);
}

/** What is stored of a message that is put in JSON. */
function viaJson(given: PutGiven): object {
  const form = JSON.parse(JSON.stringify(formatPutMessage(given))) as PutMessageJson;
  const message = parsePutMessage(form, "");
  if (!message.ok) throw new Error(JSON.stringify(message.refusal));
  return message.value;
}

describe("src/client/block-codec: puts", () => {
  test("[RB1] what is stored of a batch is the same as of one in JSON", () => {
    expect(readPutFrame(pack(GIVEN))).toEqual({ type: "binary put", id: 1, messages: GIVEN.map(viaJson) });
  });

  test("[RB1] a head of any length goes before the block, also another one when it is sent again", () => {
    const block = packPuts(["a", "b"]);
    assert(block !== undefined);
    const heads = [{ id: 1 }, { id: 1, promised: true }, { id: 1, idempotencyKey: "x".repeat(255) }];
    const messages = [viaJson("a"), viaJson("b")];

    for (const head of heads) {
      expect(readPutFrame(joinPut(JSON.stringify(head), block))).toEqual({ type: "binary put", ...head, messages });
    }
  });

  test("[RB1] [SD2] delays go with their messages", () => {
    const { messages } = readPutFrame(
      pack([
        { body: "a", delayMs: 5 },
        { body: "b", deliverAtMs: 2 ** 41 },
      ]),
    );

    expect(messages).toMatchObject([{ delay: { afterMs: 5 } }, { delay: { atMs: 2 ** 41 } }]);
  });

  test.each<[what: string, given: unknown]>([
    ["a key that is no text", { body: "a", key: 5 }],
    ["a lone surrogate", "a\ud800"],
    ["a lone surrogate in a header", { body: "a", headers: { h: "\udc00" } }],
    ["a header that is no text", { body: "a", headers: { h: 1 } }],
    ["a list of headers", { body: "a", headers: ["h"] }],
    ["no headers", { body: "a", headers: null }],
    ["a negative time", { body: "a", ttlMs: -1 }],
    ["a time that is not whole", { body: "a", delayMs: 0.5 }],
    ["both times", { body: "a", delayMs: 1, deliverAtMs: 1 }],
    ["an unknown member", { body: "a", keys: "k" }],
    ["a function for a JSON value", { json: () => 1 }],
    ["none", { json: undefined }],
    ["a bigint", { json: { a: 1n } }],
    ["nothing", undefined],
    ["null", null],
    ["a number", 5],
    ["other bytes", new ArrayBuffer(1)],
    ["no body", { key: "k" }],
    ["null for a body", { body: null }],
  ])("what a block cannot say is left to JSON, with all of its batch: %s", (_what, given) => {
    expect(packPuts(["well", given as PutInput])).toBeUndefined();
  });

  test("what the server refuses in a block it refuses in JSON, and a batch of none or too many is left to JSON", () => {
    const refused = parsePutFrame(new Uint8Array(pack([{ body: "a", key: "" }])));

    expect(refused).toMatchObject({
      ok: false,
      refusal: { refusal: { errors: [{ pointer: "/messages/0/key" }] }, inReplyTo: 1 },
    });
    expect(packPuts([])).toBeUndefined();
    expect(packPuts(undefined as unknown as PutGiven[])).toBeUndefined();
    expect(packPuts(Array.from({ length: BATCH_MESSAGES_MAX + 1 }, () => ""))).toBeUndefined();
  });
});

describe("src/client/block-codec: frames of the server", () => {
  const records = [
    textRecord("a", { putAtMs: 9, ...MORE }),
    textRecord("[1]", { presentation: "json", contentType: "application/json", putAtMs: 10, redrivenFrom: 3 }),
    textRecord("", { presentation: "bytes", contentType: "application/octet-stream", body: new Uint8Array([1]), putAtMs: 9 }),
  ];
  const leases = { group: 0, holder: "h-1", again: [[1, 4, true]] };
  const frame = serverFrame("deliver", { id: 8, leaseUntilMs: 7, leases, bytes: 9, state: STATE }, records, 5);

  test("[RB3] [RB4] messages come with all that they were put with, and with their leases", () => {
    expect(readBinaryFrame(new Uint8Array(frame))).toEqual({
      type: "deliver",
      id: 8,
      leaseUntilMs: 7,
      bytes: 9,
      state: STATE,
      messages: [
        {
          offset: 5,
          putAtMs: 9,
          contentType: "text/plain; charset=utf-8",
          ...MORE,
          body: "a",
          leaseId: "0-5-1-h-1",
          attempt: 1,
          redelivered: false,
        },
        {
          offset: 6,
          putAtMs: 10,
          contentType: "application/json",
          redrivenFrom: 3,
          body: { json: [1] },
          leaseId: "0-6-4-h-1",
          attempt: 4,
          redelivered: true,
        },
        {
          offset: 7,
          putAtMs: 9,
          contentType: "application/octet-stream",
          body: new Uint8Array([1]),
          leaseId: "0-7-1-h-1",
          attempt: 1,
          redelivered: false,
        },
      ],
    });
  });

  test("[RB3] without leases messages have none, and blocks that follow each other are one list", () => {
    const one = new Uint8Array(serverFrame("got", { id: 1, state: STATE }, [textRecord("a")], 1));
    const block = new Uint8Array(serverFrame("got", {}, [textRecord("b")], 4)).subarray(8 + 2);

    expect(readBinaryFrame(new Uint8Array([...one, ...block]))).toEqual({
      type: "got",
      id: 1,
      state: STATE,
      messages: [1, 4].map((offset, place) => ({
        offset,
        putAtMs: 0,
        contentType: "text/plain; charset=utf-8",
        body: place === 0 ? "a" : "b",
      })),
    });
  });

  test("[RB3] a frame that is cut anywhere is none, where it does not end between blocks", () => {
    const whole = new Uint8Array(frame);
    const headEnd = 8 + new DataView(frame).getUint32(4, true);

    const read = Array.from({ length: whole.byteLength }, (_, end) => readBinaryFrame(whole.subarray(0, end)));
    expect(read.flatMap((one, end) => (one === undefined ? [] : [end]))).toEqual([headEnd]);
  });

  test.each<[what: string, body: Uint8Array, presentation: "text" | "json"]>([
    ["text that is no UTF-8", new Uint8Array([255]), "text"],
    ["a JSON value that is none", encodeUtf8("{"), "json"],
  ])("[RB3] a message that is not what it says makes the frame none: %s", (_what, body, presentation) => {
    expect(readBinaryFrame(new Uint8Array(serverFrame("got", { id: 1 }, [textRecord("", { body, presentation })], 1)))).toBe(
      undefined,
    );
  });

  test("[RB3] bytes that are kept do not keep their frame", () => {
    const message = readBinaryFrame(new Uint8Array(frame)) as unknown as { messages: { body: Uint8Array }[] };

    expect(message.messages[2]?.body.buffer.byteLength).toBe(1);
  });
});
