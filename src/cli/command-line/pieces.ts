// A stream of bytes as pieces, each up to and including its separator.

/** Pieces that together are the stream's bytes. One without a separator, or with one that comes too late, has `bytesMax` bytes at most. */
export async function* splitPieces(
  chunks: AsyncIterable<Uint8Array>,
  { separator, bytesMax }: { readonly separator: number; readonly bytesMax: number },
): AsyncGenerator<Uint8Array, void, undefined> {
  let parts: Uint8Array[] = [];
  let length = 0;
  const take = (): Uint8Array => {
    const piece = parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts);
    parts = [];
    length = 0;
    return piece;
  };
  for await (const chunk of chunks) {
    let start = 0;
    while (start < chunk.byteLength) {
      const separatorAt = chunk.indexOf(separator, start);
      const end = Math.min(separatorAt === -1 ? chunk.byteLength : separatorAt + 1, start + bytesMax - length);
      parts.push(chunk.subarray(start, end));
      length += end - start;
      if (end === separatorAt + 1 || length === bytesMax) yield take();
      start = end;
    }
  }
  if (length > 0) yield take();
}
