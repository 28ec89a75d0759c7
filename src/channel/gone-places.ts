// Which places of a segment were removed ahead of the head: a set in memory, delta ranges in storage (one row a segment).

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
  let cursor = 0;
  const readVarint = (): number => {
    let value = 0;
    for (let factor = 1; ; factor *= 0x80) {
      const byte = bytes[cursor++] ?? 0;
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return value;
    }
  };
  for (let end = 0; cursor < bytes.byteLength;) {
    const start = end + readVarint();
    end = start + readVarint();
    for (let place = start; place < end; place++) places.add(place);
  }
  return places;
}

function pushVarint(bytes: number[], value: number): void {
  let rest = value;
  while (rest >= 0x80) {
    bytes.push((rest % 0x80) | 0x80);
    rest = Math.floor(rest / 0x80);
  }
  bytes.push(rest);
}
