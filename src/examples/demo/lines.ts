// A stream of bytes as numbered lines, in batches. A line is the bytes up to and including "\n"; the last one may lack it.
const NEWLINE = 0x0a;

/** A longer line is split: it has to fit into one message. */
const LINE_BYTES_MAX = 256 * 1024;
const BATCH_BYTES_MIN = 512 * 1024;

export interface Line {
  /** The first line is 1. */
  readonly number: number;
  readonly bytes: Uint8Array;
}

/** Batches of `linesMax` lines; of fewer where these are long. Holds one batch and one chunk in memory. */
export async function* batchLines(chunks: AsyncIterable<Uint8Array>, linesMax: number): AsyncGenerator<readonly Line[]> {
  let batch: Line[] = [];
  let batchBytes = 0;
  let number = 0;
  for await (const bytes of splitLines(chunks)) {
    number += 1;
    batch.push({ number, bytes });
    batchBytes += bytes.byteLength;
    if (batch.length < linesMax && batchBytes < BATCH_BYTES_MIN) continue;
    yield batch;
    batch = [];
    batchBytes = 0;
  }
  if (batch.length > 0) yield batch;
}

async function* splitLines(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let rest = Buffer.alloc(0);
  for await (const chunk of chunks) {
    const searchFrom = rest.byteLength;
    rest = Buffer.concat([rest, chunk]);
    let start = 0;
    for (;;) {
      const newlineAt = rest.indexOf(NEWLINE, Math.max(start, searchFrom));
      const end = newlineAt === -1 ? rest.byteLength : newlineAt + 1;
      const isTooLong = end - start > LINE_BYTES_MAX;
      if (newlineAt === -1 && !isTooLong) break;
      const lineEnd = isTooLong ? start + LINE_BYTES_MAX : end;
      yield rest.subarray(start, lineEnd);
      start = lineEnd;
    }
    rest = rest.subarray(start);
  }
  if (rest.byteLength > 0) yield rest;
}
