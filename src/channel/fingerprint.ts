// Tells whether two puts with one idempotency key carry the same messages. Guards against mistakes, not against malice.
// What it computes is stored: another result for the same input would refuse retries and lose producers.
import { encodeUtf8 } from "../protocol/bytes.ts";
import { countOf, listMessages, type PutBatch } from "./put-batch.ts";

/** Two multiplicative hashes side by side (after cyrb53); 32 bits of the one and 16 of the other are kept. */
class Hash {
  #a = 0xdeadbeef | 0;
  #b = 0x41c6ce57;

  addNumber(value: number): void {
    this.#a = Math.imul(this.#a ^ value, 0x85ebca77);
    this.#b = Math.imul(this.#b ^ value, 0xc2b2ae3d);
    this.#a ^= this.#b >>> 15;
    this.#b ^= this.#a >>> 13;
  }

  /** The length goes first, so that bytes can not move from one text to the next unseen. */
  addBytes(bytes: Uint8Array): void {
    this.addNumber(bytes.byteLength);
    let index = 0;
    for (; index + 4 <= bytes.byteLength; index += 4) {
      const low = (bytes[index] ?? 0) | ((bytes[index + 1] ?? 0) << 8);
      const high = (bytes[index + 2] ?? 0) | ((bytes[index + 3] ?? 0) << 8);
      this.addNumber(low | (high << 16));
    }
    for (; index < bytes.byteLength; index++) this.addNumber(bytes[index] ?? 0);
  }

  addText(text: string | undefined): void {
    if (text === undefined) this.addNumber(-1);
    else this.addBytes(encodeUtf8(text));
  }

  get value(): number {
    const a = Math.imul(this.#a ^ (this.#a >>> 16), 0x7feb352d);
    const b = Math.imul(this.#b ^ (this.#b >>> 15), 0x846ca68b);
    return ((b ^ (a >>> 16)) >>> 0) + (((a ^ (b >>> 13)) >>> 0) % 0x10000) * 2 ** 32;
  }
}

/** A whole number below 2^48 that is the same for the same messages, and most likely another for others. */
export function fingerprintOf(batch: PutBatch): number {
  const hash = new Hash();
  hash.addNumber(countOf(batch));
  for (const { body, presentation, contentType, key, messageId, headers, ttlMs } of listMessages(batch)) {
    for (const text of [presentation, contentType, key, messageId]) hash.addText(text);
    const entries = Object.entries(headers ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
    hash.addNumber(entries.length);
    for (const entry of entries) for (const text of entry) hash.addText(text);
    hash.addBytes(body);
    if (ttlMs !== undefined) hash.addText(String(ttlMs));
  }
  return hash.value;
}

/** One of `buckets` numbers from 0, about equally often each. */
export function bucketOf(id: string, buckets: number): number {
  const hash = new Hash();
  hash.addText(id);
  return hash.value % buckets;
}
