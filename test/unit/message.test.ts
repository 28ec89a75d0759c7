// Messages in JSON: what a producer gives is what a reader is shown.
import * as fc from "fast-check";
import * as v from "valibot";
import { describe, expect, test } from "vitest";
import { decodeUtf8, encodeBase64, encodeUtf8 } from "../../src/protocol/bytes.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import {
  contentTypeSchema,
  formatMessage,
  headersSchema,
  keySchema,
  messageIdSchema,
  parsePutMessage,
  presentationOf,
  putMessageSchema,
  type Message,
  type PutMessage,
} from "../../src/protocol/message.ts";

function parse(form: unknown): ReturnType<typeof parsePutMessage> {
  const checked = v.safeParse(putMessageSchema, form);
  if (!checked.success) throw new Error(`The form is not valid: ${v.flatten(checked.issues).root?.join() ?? "nested"}`);
  return parsePutMessage(checked.output, "/messages/3");
}

function accepted(form: unknown): PutMessage {
  const parsed = parse(form);
  if (!parsed.ok) throw new Error(`Refused: ${JSON.stringify(parsed.refusal)}`);
  return parsed.value;
}

/** What a reader is shown of a message that was put in this form. */
function shown(form: unknown): Record<string, unknown> {
  const text = formatMessage({ ...accepted(form), offset: 1, putAtMs: 2 });
  const { offset, putAtMs, contentType: _, ...rest } = JSON.parse(text) as Record<string, unknown>;
  expect([offset, putAtMs]).toEqual([1, 2]);
  return rest;
}

function isValid(schema: v.GenericSchema, value: unknown): boolean {
  return v.safeParse(schema, value).success;
}

const wellFormed = fc.string({ unit: "grapheme", minLength: 1, maxLength: 30 });
const forms = fc
  .tuple(
    fc.oneof(
      fc.record({ json: fc.jsonValue() }, { noNullPrototype: true }),
      fc.record({ text: wellFormed }, { noNullPrototype: true }),
      fc.record({ base64: fc.uint8Array({ maxLength: 30 }).map(encodeBase64) }, { noNullPrototype: true }),
    ),
    fc.record(
      {
        key: wellFormed,
        // Which no address can name.
        messageId: wellFormed.filter((id) => id !== "." && id !== ".."),
        headers: fc.constant({ trace: 'a"\\\u2028é' }),
        contentType: fc.constant("text/x-y; a=b"),
      },
      { requiredKeys: [], noNullPrototype: true },
    ),
  )
  .map(([body, labels]) => ({ ...body, ...labels }));

describe("src/protocol/message", () => {
  test("[G1] a reader is shown the member that the producer used, and all its labels", () => {
    fc.assert(
      fc.property(forms, (form) => {
        const { contentType: _, ...rest } = form;
        // Through JSON, which knows no -0.
        expect(shown(JSON.parse(JSON.stringify(form)))).toEqual(JSON.parse(JSON.stringify(rest)));
      }),
    );
  });

  test.each([
    [{ json: null }, "application/json"],
    [{ text: "" }, "text/plain; charset=utf-8"],
    [{ base64: "" }, "application/octet-stream"],
    [{ text: "a", contentType: "text/html" }, "text/html"],
  ])("[PT6] the content type of %j is %s", (form, contentType) => {
    expect(accepted(form).contentType).toBe(contentType);
  });

  test.each([{}, { json: 1, text: "a" }, { text: "", base64: "" }, { json: null, text: "a", base64: "" }])(
    "[G11] the body is exactly one member: %j is refused with its place",
    (form) => {
      expect(parse(form)).toMatchObject({
        ok: false,
        refusal: { kind: "invalid-request", errors: [{ pointer: "/messages/3" }] },
      });
    },
  );

  test("[G11] what is not base64 is refused with its place", () => {
    expect(parse({ base64: "a" })).toMatchObject({ ok: false, refusal: { errors: [{ pointer: "/messages/3/base64" }] } });
  });

  test("[G6] a body that nests more than jsonLevelsMax levels is shown as text, though its content type is JSON", () => {
    const inside = "[".repeat(LIMITS.jsonLevelsMax) + "]".repeat(LIMITS.jsonLevelsMax);

    expect(presentationOf("application/json", encodeUtf8(inside))).toBe("json");
    expect(presentationOf("application/json", encodeUtf8(`[${inside}]`))).toBe("text");
  });

  test("[G11] an unknown member is refused", () => {
    expect(isValid(putMessageSchema, { text: "a", keys: "k" })).toBe(false);
    expect(isValid(putMessageSchema, JSON.parse('{"text":"a","__proto__":1}'))).toBe(false);
  });

  test("[PT6] empty headers are none", () => {
    expect(accepted({ text: "a", headers: {} }).headers).toBeUndefined();
  });

  test.each([
    ["key", keySchema, LIMITS.keyBytesMax],
    ["message id", messageIdSchema, LIMITS.messageIdBytesMax],
  ] as const)("[G6] a %s has 1 to its limit of bytes in UTF-8, and no lone surrogates", (_name, schema, bytesMax) => {
    expect(["a", "x".repeat(bytesMax), "é".repeat(bytesMax / 2)].map((text) => isValid(schema, text))).toEqual([
      true,
      true,
      true,
    ]);
    const refused = ["", "x".repeat(bytesMax + 1), `${"é".repeat(bytesMax / 2)}x`, "\ud800", 1];
    expect(refused.map((text) => isValid(schema, text))).toEqual(refused.map(() => false));
  });

  test("[G6] headers have names of 1 to 64 marks and headersBytesMax bytes together", () => {
    const fits = [
      {},
      { a: "" },
      { ["x".repeat(64)]: "y" },
      { a: "x".repeat(LIMITS.headersBytesMax - 1) },
      { "trace-id": "é😀\u0000" },
    ];
    const fails = [
      { "": "" },
      { A: "" },
      { "a b": "" },
      { ["x".repeat(65)]: "" },
      { a: "x".repeat(LIMITS.headersBytesMax) },
      { a: 1 },
      { a: "\udc00" },
    ];

    expect(fits.map((headers) => isValid(headersSchema, headers))).toEqual(fits.map(() => true));
    expect(fails.map((headers) => isValid(headersSchema, headers))).toEqual(fails.map(() => false));
  });

  test.each(["constructor", "prototype", "__proto__"])("[G11] a header is kept or refused, never dropped: %s", (name) => {
    const headers = JSON.parse(`{"${name}":"x"}`) as unknown;

    const parsed = v.safeParse(headersSchema, headers);

    expect(!parsed.success || Object.hasOwn(parsed.output, name)).toBe(true);
  });

  test("[G6] a content type has a type and a subtype, and contentTypeBytesMax characters", () => {
    const fits = [
      "a/b",
      "application/vnd.x+json",
      "text/plain; charset=utf-8",
      "text/plain;x",
      `a/${"b".repeat(LIMITS.contentTypeBytesMax - 2)}`,
    ];
    const fails = [
      "",
      "text",
      "text/",
      "/plain",
      "a b/c",
      "text/plain\r\nx: y",
      "text/plain; é",
      `a/${"b".repeat(LIMITS.contentTypeBytesMax - 1)}`,
    ];

    expect(fits.map((text) => isValid(contentTypeSchema, text))).toEqual(fits.map(() => true));
    expect(fails.map((text) => isValid(contentTypeSchema, text))).toEqual(fails.map(() => false));
  });

  test.each([
    ["application/json", '{"a":1}', "json"],
    ["Application/LD+JSON; charset=utf-8", " [1] ", "json"],
    ["application/json", "{", "text"],
    ["application/json", "", "text"],
    ["application/json", '\ufeff"a"', "text"],
    ["text/plain", "a\tb\r\n", "text"],
    ["text/plain", "a\u0000b", "bytes"],
    ["text/plain", "a\u007fb", "bytes"],
    ["application/json", '{"a":\u0001}', "bytes"],
    ["application/octet-stream", "a", "bytes"],
    ["image/svg+xml", "<svg/>", "bytes"],
  ])("[G1] a body that came as %s with the bytes of %j is shown as %s", (contentType, body, presentation) => {
    expect(presentationOf(contentType, encodeUtf8(body))).toBe(presentation);
  });

  test("[G1] bytes that are not UTF-8 are shown as base64, whatever their content type", () => {
    const body = new Uint8Array([0x22, 0xff, 0x22]);
    const contentType = "application/json";

    expect(presentationOf(contentType, body)).toBe("bytes");
    const message: Message = { body, presentation: "json", contentType, offset: 1, putAtMs: 2 };
    expect(JSON.parse(formatMessage(message))).toMatchObject({ base64: "Iv8i" });
  });

  test("[G1] a JSON body is shown digit by digit as it came", () => {
    const body = encodeUtf8('{"n":12345678901234567890.10,"n":-0}');
    const message: Message = { body, presentation: "json", contentType: "application/json", offset: 1, putAtMs: 2 };

    expect(formatMessage(message)).toContain(`"json":${decodeUtf8(body)}`);
  });
});
