// Blocks: what is packed comes back; what is not a whole block is found out. And the places of a segment that were removed.
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeGonePlaces, encodeGonePlaces } from "../../src/channel/gone-places.ts";
import { Block } from "../../src/protocol/block.ts";
import { encodeStoredBlock, type BlockRecord } from "../../src/protocol/block-writer.ts";
import { encodeUtf8 } from "../../src/protocol/bytes.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import { DEFAULT_CONTENT_TYPES, messageBytes, type Presentation } from "../../src/protocol/message.ts";
import { OFFSET_MAX } from "../../src/protocol/names.ts";

const HEADER_BYTES = 32;
/** What follows a stored block of few records whose sources are not known. */
const UNKNOWN_SOURCES_BYTES = 2;

const texts = fc.string({ unit: "grapheme", minLength: 1, maxLength: 20 });
const records: fc.Arbitrary<BlockRecord> = fc
  .record(
    {
      body: fc.uint8Array({ maxLength: 40 }),
      presentation: fc.constantFrom<Presentation>("bytes", "text", "json"),
      contentType: fc.constantFrom("", "text/html", "application/json"),
      isControl: fc.boolean(),
      putAtMs: fc.integer({ min: 0, max: 2 ** 45 }),
      ttlMs: fc.integer({ min: LIMITS.ttlMsMin, max: LIMITS.ttlMsMax }),
      key: texts,
      messageId: texts,
      source: fc.constantFrom("h", "hSIN", "sSIN:žluť:1"),
      headers: fc.dictionary(fc.constantFrom("a", "trace-id", "z"), fc.string({ unit: "grapheme" }), { noNullPrototype: true }),
    },
    { requiredKeys: ["body", "presentation", "contentType", "isControl", "putAtMs"], noNullPrototype: true },
  )
  .map((record) => ({ ...record, contentType: record.contentType || DEFAULT_CONTENT_TYPES[record.presentation] }));
const batches = fc.array(records, { minLength: 1, maxLength: 12 });
const offsets = fc.integer({ min: 1, max: OFFSET_MAX });

function recordOf(body: string, more: Partial<BlockRecord> = {}): BlockRecord {
  const contentType = DEFAULT_CONTENT_TYPES.text;
  return { body: encodeUtf8(body), presentation: "text", contentType, isControl: false, putAtMs: 1_800_000_000_000, ...more };
}

function isWholeBlock(bytes: Uint8Array): boolean {
  try {
    Block.ofStored(bytes);
    return true;
  } catch {
    return false;
  }
}

describe("src/protocol/block", () => {
  test("[G1] what is packed into a block comes back", () => {
    fc.assert(
      fc.property(batches, offsets, (batch, firstOffset) => {
        const block = Block.ofStored(encodeStoredBlock(batch, firstOffset));

        expect([block.count, block.firstOffset]).toEqual([batch.length, firstOffset]);
        for (const [place, { isControl, ...message }] of batch.entries()) {
          expect(block.message(place)).toEqual({ ...message, offset: firstOffset + place });
          expect(block.isControl(place)).toBe(isControl);
          expect(block.key(place)).toBe(message.key);
        }
      }),
    );
  });

  test("[PT6] a block counts the bytes of a message as they were counted when it was put, and none for a control record", () => {
    fc.assert(
      fc.property(batches, (batch) => {
        const withoutHeaders = batch.map(({ headers: _, ...record }): BlockRecord => record);
        const block = Block.ofStored(encodeStoredBlock(withoutHeaders, 1));

        for (const [place, record] of withoutHeaders.entries()) {
          expect(block.messageBytes(place)).toBe(record.isControl ? 0 : messageBytes(record));
        }
      }),
    );
  });

  test("[PT6] headers count the same before and after they are stored", () => {
    const record = recordOf("body", { headers: { trace: 'a"b', "x-y": "é" } });

    const block = Block.ofStored(encodeStoredBlock([record], 1));

    expect(block.messageBytes(0)).toBe(messageBytes(record));
  });

  test("[RC5] a body lies in the block as it is: a view, not a copy", () => {
    const bytes = encodeStoredBlock([recordOf("first"), recordOf("second")], 1);

    const { body } = Block.ofStored(bytes).message(1);

    expect(body.buffer).toBe(bytes.buffer);
    expect([body.byteOffset, body.byteLength]).toEqual([bytes.byteLength - 6 - UNKNOWN_SOURCES_BYTES, 6]);
  });

  test("[RC5] a block may lie anywhere in a larger piece of memory", () => {
    const bytes = encodeStoredBlock([recordOf("a"), recordOf("b", { key: "k" })], 5);
    const larger = new Uint8Array(bytes.byteLength + 20).fill(0xff);
    larger.set(bytes, 7);

    const block = Block.ofStored(larger.subarray(7, 7 + bytes.byteLength));

    expect(block.message(1)).toMatchObject({ offset: 6, key: "k", body: encodeUtf8("b") });
  });

  test.each([127, 128, 16_383, 16_384, 2_097_152])(
    "[RC5] a body of %d bytes, where its length takes one byte more, comes back",
    (bytes) => {
      const block = Block.ofStored(encodeStoredBlock([recordOf("x".repeat(bytes)), recordOf("y")], 1));

      expect([block.messageBytes(0), block.message(0).body.byteLength, block.messageBytes(1)]).toEqual([bytes, bytes, 1]);
    },
  );

  test("[RC4] a block of very many records has an index that grows", () => {
    const key = "k".repeat(256);
    const block = Block.ofStored(
      encodeStoredBlock(
        Array.from({ length: 5000 }, () => recordOf("x", { key })),
        1,
      ),
    );

    expect(block.message(4999)).toMatchObject({ offset: 5000, key });
  });

  test("[RC4] times of one block may be far apart", () => {
    const times = [1_800_000_000_000, 0, 2 ** 52];
    const block = Block.ofStored(
      encodeStoredBlock(
        times.map((putAtMs) => recordOf("x", { putAtMs })),
        1,
      ),
    );

    expect(times.map((_, place) => block.message(place).putAtMs)).toEqual(times);
  });

  test("[G1] a block that lacks or has a byte is found out", () => {
    fc.assert(
      fc.property(batches, fc.integer({ min: 1, max: 4 }), (batch, more) => {
        const bytes = encodeStoredBlock(batch, 1);
        const longer = new Uint8Array(bytes.byteLength + more);
        longer.set(bytes);

        expect(() => Block.ofStored(longer)).toThrow("Broken invariant");
        for (let length = 0; length < bytes.byteLength; length++) {
          if (isWholeBlock(bytes.subarray(0, length)))
            throw new Error(`The first ${length} of ${bytes.byteLength} bytes are a block`);
        }
      }),
    );
  });

  test.each([
    [0, "magic"],
    [1, "version"],
    [8, "length of the index"],
  ])("[G1] a block whose byte %d, its %s, is another is found out", (index) => {
    const bytes = encodeStoredBlock([recordOf("a")], 1);
    bytes[index] = (bytes[index] ?? 0) + 1;

    expect(() => Block.ofStored(bytes)).toThrow("Broken invariant");
  });

  test("[G1] the format is as it was: stored blocks are read for ever", () => {
    const control = recordOf('{"type":"close"}', {
      isControl: true,
      presentation: "json",
      contentType: DEFAULT_CONTENT_TYPES.json,
    });
    const message = recordOf("é", {
      putAtMs: 1_800_000_000_300,
      key: "k",
      messageId: "m",
      headers: { a: "b" },
      contentType: "text/html",
    });

    const hex = Buffer.from(encodeStoredBlock([control, message], 258)).toString("hex");

    expect(hex.slice(0, HEADER_BYTES * 2)).toBe("ec020000020000001b00000012000000020100000000000000505c18a3010000");
    expect(hex.slice(HEADER_BYTES * 2)).toBe(
      "820110bd080209746578742f68746d6c016b016d0101610162ac027b2274797065223a22636c6f7365227dc3a90200",
    );
  });
});

describe("src/channel/gone-places", () => {
  test("[RM2] places that were removed come back", () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.nat(20_000)), (places) => {
        expect(decodeGonePlaces(encodeGonePlaces(new Set(places)))).toEqual(new Set(places));
      }),
    );
  });

  test("[RM2] nothing removed is nothing stored, and a run of removals costs a few bytes", () => {
    const run = new Set(Array.from({ length: 10_000 }, (_, index) => index + 5));

    expect(decodeGonePlaces(undefined)).toEqual(new Set());
    expect(encodeGonePlaces(new Set())).toEqual(new Uint8Array());
    expect(encodeGonePlaces(run).byteLength).toBe(3);
  });
});
