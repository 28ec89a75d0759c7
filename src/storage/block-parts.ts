// Splits blocks that are too large for one row, and joins them again (rule RC5).
import { assert } from "../base/assert.ts";
import { LIMITS } from "../protocol/limits.ts";

/** The rest of the row is small: 100 kB of headroom below the platform's limit. */
export const PART_BYTES_MAX = LIMITS.rowBytesMax - 100_000;
/** How many rows the largest block takes. */
export const PARTS_MAX = 16;

/** The parts of a block, the first of which goes into its own row. */
export function splitBlock(block: Uint8Array<ArrayBuffer>): { first: ArrayBuffer; rest: readonly ArrayBuffer[] } {
  const partCount = Math.ceil(block.byteLength / PART_BYTES_MAX);
  assert(partCount <= PARTS_MAX, "a block fits its parts");
  assert(block.byteLength === block.buffer.byteLength, "a block is the whole of its memory");
  if (partCount === 1) return { first: block.buffer, rest: [] };
  const slices = Array.from({ length: partCount }, (_, part) =>
    block.buffer.slice(part * PART_BYTES_MAX, (part + 1) * PART_BYTES_MAX),
  );
  const [first = block.buffer, ...rest] = slices;
  return { first, rest };
}

export function joinParts(parts: readonly ArrayBuffer[]): Uint8Array {
  const block = new Uint8Array(parts.reduce((bytes, part) => bytes + part.byteLength, 0));
  let end = 0;
  for (const part of parts) {
    block.set(new Uint8Array(part), end);
    end += part.byteLength;
  }
  return block;
}
