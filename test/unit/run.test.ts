// Runs: records that lie in memory one by one and in blocks are the same records, whole, in parts and in the blocks that are made of them.
import { assert, describe, expect, test } from "vitest";
import { PendingRun, StoredRun } from "../../src/channel/run.ts";
import { NO_TOTALS } from "../../src/channel/store.ts";
import { Block } from "../../src/protocol/block.ts";
import { encodeStoredBlock } from "../../src/protocol/block-writer.ts";
import { decodeUtf8 } from "../../src/protocol/bytes.ts";
import type { Message } from "../../src/protocol/message.ts";
import { textRecord } from "../binary-frames.ts";

const AT_MS = 1_800_000_000_000;

function blockOf(...texts: readonly string[]): Block {
  return Block.ofStored(
    encodeStoredBlock(
      texts.map((text) => textRecord(text, { key: `key-${text}` })),
      0,
    ),
  );
}

/** Records of two blocks with another between them, the second block put a millisecond later. */
function mixedRun(): PendingRun {
  const run = new PendingRun(10, NO_TOTALS);
  run.pushBlock(blockOf("a", "b"), { putAtMs: AT_MS, source: "s" });
  run.push(textRecord("c", { putAtMs: AT_MS }));
  run.pushBlock(blockOf("d", "e", "f"), { putAtMs: AT_MS + 1, source: "t" });
  return run;
}

function messagesOf(block: Block): Message[] {
  return Array.from({ length: block.count }, (_, place) => block.message(place));
}

function parse(bytes: Uint8Array): Block {
  const block = Block.parse(bytes);
  assert(block.ok, "it is a block");
  return block.value;
}

const told = ({ offset, putAtMs, source, body }: Message): unknown[] => [offset, putAtMs - AT_MS, source, decodeUtf8(body)];

const ALL = [
  [10, 0, "s", "a"],
  [11, 0, "s", "b"],
  [12, 0, undefined, "c"],
  [13, 1, "t", "d"],
  [14, 1, "t", "e"],
  [15, 1, "t", "f"],
];

describe("src/channel/run", () => {
  test("[RB2] records keep offset, time and source, whatever they lie in", () => {
    const run = mixedRun();

    expect([0, 1, 2, 3, 4, 5].map((place) => told(run.message(place)))).toEqual(ALL);
    expect([5, 0, 3, 2].map((place) => run.key(place))).toEqual(["key-f", "key-a", "key-d", undefined]);
    expect(run.times(3).putAtMs).toBe(AT_MS + 1);
    expect(() => run.message(6)).toThrow(RangeError);
  });

  test("[RB2] [RC4] a run is cut anywhere, and stored it is the same", () => {
    for (let from = 0; from < 6; from++) {
      for (let to = from + 1; to <= 6; to++) {
        const part = mixedRun().slice(from, to, NO_TOTALS);
        const stored = Block.ofStored(part.toBlock(0, part.count, true));

        expect(messagesOf(stored).map(told)).toEqual(ALL.slice(from, to));
        expect(part.bytes).toBe(messagesOf(stored).reduce((sum, { body, key = "" }) => sum + body.byteLength + key.length, 0));
      }
    }
  });

  test("[RB2] a part of a part is what lies in it", () => {
    const part = mixedRun().slice(4, 6, NO_TOTALS).slice(1, 2, NO_TOTALS);

    expect([part.count, told(part.message(0))]).toEqual([1, ALL[5]]);
  });

  test.each([
    [0, 6, 6],
    [0, 2, 2],
    [0, 1, 1],
    [3, 2, 5],
  ])("[RC4] from place %d a row of %d records ends at %d", (from, records, end) => {
    expect(mixedRun().fit(from, { bytes: 1_000_000, records })).toBe(end);
  });

  test("[RC4] a row takes the records that fit it by what they take in a block, and at least one", () => {
    const run = new PendingRun(1, NO_TOTALS);
    // An entry of 8 bytes, or 32 for one that is not encoded yet, and a body of 1.
    run.pushBlock(blockOf("a", "b", "c"), { putAtMs: AT_MS, source: "s" });
    run.push(textRecord("d", { putAtMs: AT_MS }));
    run.push(textRecord("e", { putAtMs: AT_MS }));

    const ends = [0, 9, 18, 27, 59, 60, 92, 93].map((bytes) => run.fit(0, { bytes, records: 9 }));

    expect(ends).toEqual([1, 1, 2, 3, 3, 4, 4, 5]);
  });

  test("[RB3] what is sent does not tell where it was put from", () => {
    expect(messagesOf(parse(mixedRun().toBlock(1, 5))).map(told)).toEqual(
      ALL.slice(1, 5).map(([offset, time, , text]) => [offset, time, undefined, text]),
    );
  });

  test("[RB3] [RC9] a slice of a segment that was compacted has the offsets that its records have", () => {
    const records = ["a", "b", "c"].map((text) => textRecord(text, { putAtMs: AT_MS }));
    const segment = { firstOffset: 10, count: 21, messages: 3, bytes: 3, before: NO_TOTALS, putAtMs: AT_MS, gone: undefined };
    const run = new StoredRun({ ...segment, block: encodeStoredBlock(records, 10, [10, 20, 30]) });

    const sent = [0, 10, 20].map((place) => messagesOf(parse(run.toBlock(place, place + 1))).map(told));

    expect(sent).toEqual([[[10, 0, undefined, "a"]], [[20, 0, undefined, "b"]], [[30, 0, undefined, "c"]]]);
  });
});
