// Messages between programs and JSON: sizes as the channel counts them, bodies as their content types say.
import { assert, describe, expect, test } from "vitest";
import { decodeBody, formatPutMessage, formatPuts, putBytes, type PutGiven } from "../../src/client/message-json.ts";
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

/** What programs without types put. */
const NO_BODIES: readonly [given: unknown, found: string][] = [
  [undefined, "Undefined"],
  [null, "Null"],
  [5, "Number"],
  [5n, "BigInt"],
  [Symbol("a"), "Symbol"],
  [(): number => 1, "Function"],
  [new ArrayBuffer(1), "ArrayBuffer"],
  [new Date(0), "Date"],
  [["a"], "Array"],
  [{}, "Object"],
  [{ text: "a" }, "Object"],
  [{ key: "k" }, "Object"],
  [{ body: undefined }, "Object"],
  [{ body: null, key: "k" }, "Null"],
  [{ body: new ArrayBuffer(1) }, "ArrayBuffer"],
  [{ body: {} }, "Object"],
  [{ json: undefined }, "Object"],
  [{ json: { key: "a" }, key: "k" }, "Object"],
  [{ json: 1, delayMs: 600_000 }, "Number"],
  [{ body: { json: 1, text: "a" } }, "Number"],
  [{ json: (): number => 1 }, "Function"],
  [{ json: Symbol("a") }, "Symbol"],
  [{ json: 1n }, "BigInt"],
  [{ json: { toJSON: (): unknown => undefined } }, "Object"],
];
const NO_PUTS = NO_BODIES.map(([given, found]) => [given as PutGiven, found] as const);
const REFUSED = { kind: "invalid-request", origin: "client", retryable: false, outcome: "not-applied" };

describe("src/client/message-json", () => {
  test.each(NO_PUTS)("what is no body is refused with what may be one, %#", (given, found) => {
    const message = `Cannot send the value as a body: expected a string, a Uint8Array, or { json } alone with what JSON can say, not [object ${found}]`;

    expect(() => formatPutMessage(given)).toThrow(expect.objectContaining({ ...REFUSED, message }));
    expect(() => putBytes(given)).toThrow(expect.objectContaining({ ...REFUSED, message }));
    expect(() => formatPuts([given])).toThrow(expect.objectContaining({ ...REFUSED, message }));
  });

  test("of a batch it is told which message has no body, and of what is no batch that", () => {
    for (const [given] of NO_PUTS) {
      expect(() => formatPuts(["a", { json: null }, given, given])).toThrow(/^Cannot send the value at index 2 as a body: /);
    }
    for (const batch of [undefined, null, "ab", { 0: "a", length: 1 }, new Set(["a"])] as unknown[]) {
      const refused = { ...REFUSED, message: "Cannot put a batch: expected an array" };
      expect(() => formatPuts(batch as PutGiven[])).toThrow(expect.objectContaining(refused));
    }
  });

  test.each([0, "", false, null, [], {}, new Date(0), { toJSON: () => null }])("what JSON can say is a body: %j", (json) => {
    expect(formatPutMessage({ json })).toEqual({ json });
  });

  test("[PT6] what is no text counts nothing, so that the server refuses it", () => {
    const given = { body: "a", key: 5, messageId: null, contentType: {}, headers: { h: 1 } };

    expect(putBytes(given as unknown as PutGiven)).toBe(2);
    expect(putBytes({ body: "a", headers: null } as unknown as PutGiven)).toBe(1);
  });

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
