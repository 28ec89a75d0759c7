// Binary frames: the examples of PROTOCOL.md are what it says, what is put comes back, and what is no such frame is refused and never thrown.
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import * as fc from "fast-check";
import { assert, describe, expect, test } from "vitest";
import { joinBinaryFrame } from "../../src/protocol/binary-frame.ts";
import { encodeBlock, type BlockRecord } from "../../src/protocol/block-writer.ts";
import { encodeUtf8 } from "../../src/protocol/bytes.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import { parsePutFrame } from "../../src/protocol/put-frame.ts";
import { putFrame, readServerFrame, textRecord } from "../binary-frames.ts";

const PROTOCOL = readFileSync(resolve(import.meta.dirname, "../../src/protocol/PROTOCOL.md"), "utf8");

/** The lines of hex, each group of them an example. */
const EXAMPLES = [...PROTOCOL.matchAll(/(?:^ {4}[<>] [0-9a-f ]+\n)+/gm)].map(
  ([lines]) => new Uint8Array(Buffer.from(lines.replaceAll(/[<>\s]/g, ""), "hex")),
);

const AT_MS = 1_800_000_000_000;
const RECORDS: readonly BlockRecord[] = [
  textRecord("hi", { key: "k1" }),
  textRecord('{"a":1}', { presentation: "json", contentType: "application/json", ttlMs: 60_000 }),
];

function bytesOf(frame: ArrayBuffer): Uint8Array {
  return new Uint8Array(frame);
}

function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

/** The refusal of a put of one message, with the pointer to what is wrong. */
function refusalOf(frame: Uint8Array): unknown {
  const parsed = parsePutFrame(frame);
  assert(!parsed.ok, "the frame is refused");
  const { refusal } = parsed.refusal;
  return refusal.kind === "invalid-request" ? refusal.errors[0]?.pointer : refusal.kind;
}

function zeros(length: number): number[] {
  return Array.from({ length }, () => 0);
}

/** A put frame whose index and bodies are these, whatever they mean. */
function rawFrame({ count = 1, index = [1, 1], body = [97], more = [] as number[] } = {}): Uint8Array {
  const block = new Uint8Array([0xec, 2, 0, 0, ...zeros(28), ...index, ...body, ...more]);
  const header = new DataView(block.buffer);
  for (const [at, value] of [count, index.length, body.length].entries()) header.setUint32(4 + at * 4, value, true);
  return joinBinaryFrame("put", '{"id":7}', [block]);
}

describe("src/protocol/binary-frame", () => {
  test("[RB1] the put frame of PROTOCOL.md is what its text says", () => {
    const [example] = EXAMPLES;
    assert(example !== undefined, "there is an example");

    expect(hexOf(bytesOf(putFrame({ id: 1 }, RECORDS)))).toBe(hexOf(example));
    const parsed = parsePutFrame(example);
    assert(parsed.ok, "it may be put");
    expect(parsed.value.head).toEqual({ id: 1 });
    expect([0, 1].map((place) => parsed.value.block.message(place))).toMatchObject([
      { presentation: "text", key: "k1", body: encodeUtf8("hi") },
      { presentation: "json", ttlMs: 60_000, body: encodeUtf8('{"a":1}') },
    ]);
  });

  test("[RB3] [RB4] the deliver frame of PROTOCOL.md is what its text says", () => {
    const [, example] = EXAMPLES;
    assert(example !== undefined, "there is another");
    const holder = "00112233445566ff-8899aabbccddeeff";
    const head = {
      id: 8,
      leaseUntilMs: AT_MS + 30_000,
      leases: { group: 0, holder, again: [[1, 2, true]] },
      bytes: 11,
      state: { depth: 2, bytes: 11, utilization: 0, waiters: 0 },
    };
    const block = encodeBlock(
      RECORDS.map((record) => ({ ...record, putAtMs: AT_MS })),
      5,
    );

    expect(hexOf(joinBinaryFrame("deliver", JSON.stringify(head), [block]))).toBe(hexOf(example));
    expect(readServerFrame(example.buffer)).toMatchObject({
      type: "deliver",
      messages: [
        { offset: 5, putAtMs: AT_MS, text: "hi", leaseId: `0-5-1-${holder}`, attempt: 1, redelivered: false },
        { offset: 6, putAtMs: AT_MS, json: { a: 1 }, leaseId: `0-6-2-${holder}`, attempt: 2, redelivered: true },
      ],
    });
  });
});

describe("src/protocol/put-frame", () => {
  test.each<[string, Partial<Parameters<typeof rawFrame>[0]>, string]>([
    ["a body that ends behind the block", { index: [1, 2] }, "/messages/0"],
    ["a body that ends before the block", { index: [1, 0] }, "/messages"],
    ["more entries than are counted", { count: 1, index: [1, 1, 1, 0] }, "/messages"],
    ["fewer entries than are counted", { count: 2, index: [1, 1] }, "/messages"],
    ["an entry that is cut", { count: 2, index: [1, 1, 0x80, 0x80] }, "/messages/1"],
    ["a varint that is longer than needed", { index: [1, 0x81, 0] }, "/messages/0"],
    ["a number above 2^53 - 1", { index: [64, 1, 255, 255, 255, 255, 255, 255, 255, 31] }, "/messages/0"],
    ["a text that leads out of the index", { index: [9, 1, 5, 107] }, "/messages/0"],
    ["headers whose count leads out of the index", { index: [33, 1, 255, 255, 3] }, "/messages/0"],
    ["flags that are not known", { index: [0x81, 0x80, 1, 1] }, "/messages/0"],
    ["text and JSON at once", { index: [3, 1] }, "/messages/0"],
    ["a control record", { index: [0x81, 1, 1] }, "/messages/0"],
    ["an offset that is left out", { index: [0x81, 4, 1, 1] }, "/messages/0"],
    ["a time of its own", { index: [0x81, 8, 1, 1] }, "/messages/0"],
    ["bytes behind the block", { more: [0] }, "/messages"],
    ["a key that is not UTF-8", { index: [9, 1, 1, 255] }, "/messages/0/key"],
    ["a key of no character", { index: [9, 1, 0] }, "/messages/0/key"],
    ["a content type that is none", { index: [5, 1, 1, 97] }, "/messages/0/contentType"],
    ["no header", { index: [33, 1, 0] }, "/messages/0/headers"],
    ["headers in another order", { index: [33, 1, 2, 1, 98, 0, 1, 97, 0] }, "/messages/0/headers"],
    ["a header twice", { index: [33, 1, 2, 1, 97, 0, 1, 97, 0] }, "/messages/0/headers"],
    ["a header's name in upper case", { index: [33, 1, 1, 1, 65, 0] }, "/messages/0/headers/A"],
    ["a time to live of 0", { index: [65, 1, 0] }, "/messages/0/ttlMs"],
    ["delay and time at once", { index: [0x81, 48, 1, 1, 1] }, "/messages/0/deliverAtMs"],
    ["a text that is not UTF-8", { body: [255] }, "/messages/0/text"],
    ["a text that begins in a character", { count: 2, index: [1, 1, 1, 1], body: [0xc3, 0xa9] }, "/messages/1/text"],
    ["JSON that is none", { index: [2, 1] }, "/messages/0/json"],
  ])("[RB1] %s is refused", (_, parts, pointer) => {
    const frame = rawFrame(parts);

    expect(refusalOf(frame)).toBe(pointer);
    expect(parsePutFrame(frame)).toMatchObject({ refusal: { inReplyTo: 7 } });
  });

  test("[RB1] a content type that such a body has by itself needs no flag, and may have none", () => {
    const text = [...encodeUtf8("text/plain; charset=utf-8")];

    expect(refusalOf(rawFrame({ index: [5, 1, text.length, ...text] }))).toBe("/messages/0/contentType");
  });

  test.each([
    ["a type that the server sends", [2, 0, 0, 0, 2, 0, 0, 0, 123, 125], "unknown-frame"],
    ["a reserved byte that is set", [1, 1, 0, 0, 2, 0, 0, 0, 123, 125], ""],
    ["a head that leads out of the frame", [1, 0, 0, 0, 3, 0, 0, 0, 123, 125], ""],
    ["a head that is not UTF-8", [1, 0, 0, 0, 1, 0, 0, 0, 255], ""],
    ["fewer bytes than come before the head", [1, 0, 0], ""],
    ["no block", [1, 0, 0, 0, 8, 0, 0, 0, ...encodeUtf8('{"id":1}')], "/messages"],
    ["no id", [1, 0, 0, 0, 2, 0, 0, 0, 123, 125], "/id"],
  ])("[RB1] a frame with %s is refused", (_, bytes, expected) => {
    expect(refusalOf(new Uint8Array(bytes))).toBe(expected);
  });

  test.each([
    ['{"id":1,"type":"put-batch"}', "/type"],
    ['{"id":1,"messages":[]}', "/messages"],
    ['{"id":1,"waitMs":-1}', "/waitMs"],
    ["[]", ""],
    ["[1]", ""],
  ])("[RB1] the head %s is refused as it would be in JSON", (head, pointer) => {
    expect(refusalOf(joinBinaryFrame("put", head, [encodeBlock(RECORDS, 0)]))).toBe(pointer);
  });

  test("[RB1] [G6] more messages than a batch may have are refused before room is made for them", () => {
    const records = Array.from({ length: LIMITS.batchMessagesMax + 1 }, () => textRecord(""));

    expect(refusalOf(bytesOf(putFrame({ id: 1 }, records)))).toBe("/messages");
  });

  test("[RB1] [G6] headers beyond their bytes are refused, also those without a byte", () => {
    const long = textRecord("a", { headers: { a: "x".repeat(LIMITS.headersBytesMax) } });
    const many = [33, 1, 0x80, 0x80, 8, ...zeros(2 * 131_072)];

    expect(refusalOf(bytesOf(putFrame({ id: 1 }, [long])))).toBe("/messages/0/headers");
    expect(refusalOf(rawFrame({ index: many }))).toBe("/messages/0/headers");
  });

  test("[RB1] a block that is put has one form: what is read of it is written as it was", () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: "grapheme" }), { maxLength: 20 }), fc.boolean(), (texts, hasKeys) => {
        const records = texts.map((text) => textRecord(text, hasKeys ? { key: `k${text}`.slice(0, 9) } : { messageId: "m" }));
        const frame = bytesOf(putFrame({ id: 1 }, records));

        const parsed = parsePutFrame(frame);

        assert(parsed.ok, "it may be put");
        const { block } = parsed.value;
        const read = texts.map((_, place): BlockRecord => ({ ...block.message(place), isControl: false, putAtMs: 0 }));
        expect(bytesOf(putFrame({ id: 1 }, read))).toEqual(frame);
      }),
    );
  });
});
