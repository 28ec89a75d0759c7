// Messages between programs and JSON: sizes as the channel counts them, bodies as their content types say.
import { assert, describe, expect, test } from "vitest";
import { decodeBody, formatPutMessage, putBytes, type PutGiven } from "../../src/client/message-json.ts";
import { messageBytes, parsePutMessage } from "../../src/protocol/message.ts";

const PUTS: readonly PutGiven[] = [
  "",
  "é😀",
  new Uint8Array([0, 255]),
  { json: { a: ["é", null] } },
  { body: "a", contentType: "text/plain; charset=utf-8" },
  { body: "a", contentType: "application/json" },
  { body: { json: 1 }, contentType: "application/json", key: "ké", messageId: "m", headers: { a: "ü", bc: "" }, delayMs: 5 },
];

describe("src/client/message-json", () => {
  test.each(PUTS)("[PT6] a put is as large as the channel counts it: %j", (given) => {
    const parsed = parsePutMessage(formatPutMessage(given), "");

    assert(parsed.ok);
    expect(putBytes(given)).toBe(messageBytes(parsed.value));
  });

  test.each([
    ["application/json; charset=utf-8", '{"a":1}', { json: { a: 1 } }],
    ["application/problem+json", "null", { json: null }],
    ["text/html", "<p>", "<p>"],
    ["application/json", "{", new TextEncoder().encode("{")],
    ["application/octet-stream", "a", new TextEncoder().encode("a")],
    ["", "a", new TextEncoder().encode("a")],
  ])("bytes of the type %s are shown as what they are: %s", (contentType, text, body) => {
    expect(decodeBody(contentType, new TextEncoder().encode(text))).toEqual(body);
  });

  test("text that is no UTF-8 is shown as bytes", () => {
    expect(decodeBody("text/plain", new Uint8Array([255]))).toEqual(new Uint8Array([255]));
  });
});
