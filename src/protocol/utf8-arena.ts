// Memory for many small texts in UTF-8.
import { encodeUtf8, UTF8_BYTES_PER_UNIT_MAX } from "./bytes.ts";

const encoder = new TextEncoder();
const ARENA_BYTES = 64 * 1024;

/**
 * Encodes texts one after the other into memory that they share, for those who encode many small texts and keep them for a short
 * time: an allocation for each costs more than the encoding itself (measured). Memory that is full is left to whoever holds views
 * of it and never written again; the rest is what `reuse` gives free.
 */
export class Utf8Arena {
  readonly #bytes: number;
  #memory: Uint8Array;
  #used = 0;

  /** @param bytes Of the memory that is taken at a time. */
  constructor(bytes = ARENA_BYTES) {
    this.#bytes = bytes;
    this.#memory = new Uint8Array(bytes);
  }

  /** Nobody holds a view of it any more: what is encoded next may take their place. */
  reuse(): void {
    this.#used = 0;
  }

  encode(text: string): Uint8Array {
    const bytesMax = text.length * UTF8_BYTES_PER_UNIT_MAX;
    if (bytesMax > this.#bytes / 4) return encodeUtf8(text);
    if (this.#used + bytesMax > this.#bytes) {
      this.#memory = new Uint8Array(this.#bytes);
      this.#used = 0;
    }
    const { written } = encoder.encodeInto(text, this.#memory.subarray(this.#used));
    const bytes = this.#memory.subarray(this.#used, this.#used + written);
    this.#used += written;
    return bytes;
  }
}
