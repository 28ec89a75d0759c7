// Writes numbers and texts into memory that grows, for indexes of blocks.
import { encodeUtf8 } from "./bytes.ts";

const ASCII_CHARS_MAX = 64;

export class IndexWriter {
  #bytes = new Uint8Array(4 * 1024);
  #length = 0;

  reset(): void {
    this.#length = 0;
  }

  get byteLength(): number {
    return this.#length;
  }

  /** A view, until more is written. */
  get written(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  /** A whole number up to 2^53 - 1, seven bits a byte, the least first; a bit more says that another follows. */
  writeVarint(value: number): void {
    this.#reserve(8);
    let rest = value;
    while (rest >= 0x80) {
      this.#bytes[this.#length++] = (rest % 0x80) | 0x80;
      rest = Math.floor(rest / 0x80);
    }
    this.#bytes[this.#length++] = rest;
  }

  /** The length in bytes, then UTF-8. */
  writeText(text: string): void {
    if (text.length <= ASCII_CHARS_MAX && this.#writeAscii(text)) return;
    const bytes = encodeUtf8(text);
    this.writeVarint(bytes.byteLength);
    this.writeBytes(bytes);
  }

  writeBytes(bytes: Uint8Array): void {
    this.#reserve(bytes.byteLength);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.byteLength;
  }

  /** Most texts are short and plain: to encode them here costs less than a call of the encoder. False, with nothing written, for others. */
  #writeAscii(text: string): boolean {
    this.#reserve(text.length + 1);
    const start = this.#length;
    this.#bytes[this.#length++] = text.length;
    for (let index = 0; index < text.length; index++) {
      const unit = text.charCodeAt(index);
      if (unit >= 0x80) {
        this.#length = start;
        return false;
      }
      this.#bytes[this.#length++] = unit;
    }
    return true;
  }

  #reserve(more: number): void {
    const needed = this.#length + more;
    if (needed <= this.#bytes.byteLength) return;
    const grown = new Uint8Array(Math.max(needed, this.#bytes.byteLength * 2));
    grown.set(this.written);
    this.#bytes = grown;
  }
}
