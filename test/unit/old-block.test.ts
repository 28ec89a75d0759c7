// Blocks of the first version, as they were stored: the bytes here were written by it.
import { describe, expect, test } from "vitest";
import { Block } from "../../src/protocol/block.ts";
import { decodeUtf8 } from "../../src/protocol/bytes.ts";
import { isOldBlock, renewBlock } from "../../src/storage/old-block.ts";

const WHOLE =
  "ec010000040000003500000000000000020100000000000000505c18a301000002040001077353494e3a70317a0aac0288270209746578742f68746d6c016b016d020162013201610131050000108004000207016861c3a97b2274797065223a22636c6f7365227dff00";
/** The same records with gaps between them. */
const SPARSE =
  "ec010000040000003800000000000000020100000000000000505c18a301000002040001077353494e3a70317a0b29ac0288270209746578742f68746d6c016b016d020162013201610131050000108005ba05000207016861c3a97b2274797065223a22636c6f7365227dff00";

describe("src/storage/old-block", () => {
  test.each([
    [WHOLE, [258, 259, 260, 261]],
    [SPARSE, [258, 300, 301, 1000]],
  ])("[RC3] an old block has the same records when it is written anew: %#", (hex, offsets) => {
    const old = new Uint8Array(Buffer.from(hex, "hex"));

    const block = Block.ofStored(renewBlock(old));

    const messages = [0, 1, 2, 3].map((place) => block.message(place));
    expect(messages.map(({ offset }) => offset)).toEqual(offsets);
    expect(messages.map(({ body }) => decodeUtf8(body))).toEqual(["a", "é", '{"type":"close"}', undefined]);
    expect(messages.map(({ source }) => source)).toEqual(["sSIN:p1", "sSIN:p1", undefined, "h"]);
    expect([0, 1, 2, 3].map((place) => block.isControl(place))).toEqual([false, false, true, false]);
    expect(messages.map(({ putAtMs }) => putAtMs - 1_800_000_000_000)).toEqual([0, 300, 0, 0]);
    expect(messages[1]).toMatchObject({
      contentType: "text/html",
      key: "k",
      messageId: "m",
      headers: { a: "1", b: "2" },
      ttlMs: 5000,
    });
    expect(messages[3]).toMatchObject({ presentation: "bytes", redrivenFrom: 7 });
  });

  test("[RC3] a block of today is none", () => {
    const old = new Uint8Array(Buffer.from(WHOLE, "hex"));

    expect([old, renewBlock(old)].map(isOldBlock)).toEqual([true, false]);
  });
});
