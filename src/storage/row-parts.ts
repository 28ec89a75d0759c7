// Values that are too large for one row: production refuses a row of more than 2 MB, the local runtime does not (platform limits).
import { assert } from "../base/assert.ts";
import { LIMITS } from "../protocol/limits.ts";

/** The rest of the row is small: 100 kB of headroom below the platform's limit. */
export const PART_BYTES_MAX = LIMITS.rowBytesMax - 100_000;
export const PARTS_MAX = 16;

/** Cuts a block into what fits in a row each; there is at least one. */
export function splitParts(block: Uint8Array<ArrayBuffer>): ArrayBuffer[] {
  const count = Math.ceil(block.byteLength / PART_BYTES_MAX);
  assert(count <= PARTS_MAX, "a block fits its parts");
  assert(block.byteLength === block.buffer.byteLength, "a block is the whole of its memory");
  if (count === 1) return [block.buffer];
  return Array.from({ length: count }, (_, part) => block.buffer.slice(part * PART_BYTES_MAX, (part + 1) * PART_BYTES_MAX));
}

export function joinParts(parts: readonly ArrayBuffer[]): Uint8Array {
  const [only] = parts;
  if (parts.length === 1 && only !== undefined) return new Uint8Array(only);
  const block = new Uint8Array(parts.reduce((bytes, part) => bytes + part.byteLength, 0));
  let end = 0;
  for (const part of parts) {
    block.set(new Uint8Array(part), end);
    end += part.byteLength;
  }
  return block;
}

/** The ids of the further parts of what has this number lie between these two, exclusive: number * 16 + part, from 1. */
export function partRange(number: number): [number, number] {
  return [number * PARTS_MAX, (number + 1) * PARTS_MAX];
}
