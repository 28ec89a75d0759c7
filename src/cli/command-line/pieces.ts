// A stream of bytes as pieces, each up to and including its separator, and in batches that are read ahead while others are put.

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

/** Bounds of a batch. One piece goes whatever its size. */
export interface BatchBounds {
  readonly messagesMax: number;
  readonly bytesMax: number;
}

/**
 * Pieces that wait to be put. Whoever takes gets what is there at once, so slow input is put piece by piece and fast input in large batches;
 * whoever pushes waits while a whole batch is there.
 */
export class PieceQueue {
  readonly #bounds: BatchBounds;
  #pieces: Uint8Array[] = [];
  #bytes = 0;
  #isEnded = false;
  /** Wakes the one that waits: to push or to take. */
  #wake: () => void = () => undefined;

  constructor(bounds: BatchBounds) {
    this.#bounds = bounds;
  }

  async push(piece: Uint8Array): Promise<void> {
    while (!this.#isEnded && this.#isTooMuch(piece)) await this.#change();
    this.#pieces.push(piece);
    this.#bytes += piece.byteLength;
    this.#wake();
  }

  get isEnded(): boolean {
    return this.#isEnded;
  }

  /** Nothing more comes, or nothing more is taken. */
  end(): void {
    this.#isEnded = true;
    this.#wake();
  }

  /** The next batch; empty at the end. */
  async take(): Promise<readonly Uint8Array[]> {
    while (this.#pieces.length === 0 && !this.#isEnded) await this.#change();
    const batch = this.#pieces;
    this.#pieces = [];
    this.#bytes = 0;
    this.#wake();
    return batch;
  }

  /** Whether it has to go with the next batch. */
  #isTooMuch(piece: Uint8Array): boolean {
    if (this.#pieces.length === 0) return false;
    return this.#pieces.length >= this.#bounds.messagesMax || this.#bytes + piece.byteLength > this.#bounds.bytesMax;
  }

  /** One waits at most: the other is who changes something. */
  #change(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    return promise;
  }
}
