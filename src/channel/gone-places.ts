// Which places of a segment were removed ahead of the head: a set in memory, delta ranges in storage (one row a segment).
import { pushVarint, VarintReader } from "./varints.ts";

/** Writes the places as varint pairs (gap to the range, length of the range), so that a run of removals costs two bytes. */
export function encodeGonePlaces(places: ReadonlySet<number>): Uint8Array<ArrayBuffer> {
  const sorted = [...places].sort((a, b) => a - b);
  const bytes: number[] = [];
  let end = 0;
  for (let index = 0; index < sorted.length;) {
    const start = sorted[index] ?? 0;
    let length = 1;
    while (sorted[index + length] === start + length) length++;
    pushVarint(bytes, start - end);
    pushVarint(bytes, length);
    end = start + length;
    index += length;
  }
  return new Uint8Array(bytes);
}

export function decodeGonePlaces(bytes: Uint8Array | undefined): Set<number> {
  const places = new Set<number>();
  if (bytes === undefined) return places;
  const reader = new VarintReader(bytes);
  for (let end = 0; !reader.isAtEnd;) {
    const start = end + reader.read();
    end = start + reader.read();
    for (let place = start; place < end; place++) places.add(place);
  }
  return places;
}

/** How many places the ranges have, and where the last ends, without listing them; undefined where the bytes are none that are written. */
export function measureGonePlaces(bytes: Uint8Array): { readonly count: number; readonly end: number } | undefined {
  const reader = new VarintReader(bytes);
  let count = 0;
  let end = 0;
  while (!reader.isAtEnd) {
    end += reader.read();
    const length = reader.read();
    end += length;
    count += length;
  }
  return Number.isSafeInteger(end) && reader.position === bytes.byteLength ? { count, end } : undefined;
}
