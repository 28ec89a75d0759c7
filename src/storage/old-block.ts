// Blocks as they were stored before schema version 8, rewritten as they are now. Only the migration reads them.
//
//   header: 0 magic 0xEC · 1 version 1 · 4 count (4) · 8 index bytes (4) · 16 first offset (8) · 24 base time ms (8)
//   entries: flags (2) · varints: skipped where flagged, putAtMs - base, time to live where flagged, body bytes · where flagged: content type,
//   key, message id, headers, redriven from (a varint), source; a source that is that of the last record that had one is a flag and no text
import { assert } from "../base/assert.ts";
import { encodeStoredBlock, type BlockRecord } from "../protocol/block-writer.ts";
import { decodeUtf8 } from "../protocol/bytes.ts";
import { DEFAULT_CONTENT_TYPES, type Presentation } from "../protocol/presentation.ts";

const HEADER_BYTES = 32;

class OldReader {
  readonly #bytes: Uint8Array;
  at = HEADER_BYTES;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  flags(): number {
    return this.#byte() | (this.#byte() << 8);
  }

  varint(): number {
    let value = 0;
    for (let factor = 1; ; factor *= 0x80) {
      const byte = this.#byte();
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return value;
    }
  }

  text(): string {
    const length = this.varint();
    const text = decodeUtf8(this.#bytes.subarray(this.at, this.at + length));
    assert(text !== undefined, "the texts of a block are UTF-8");
    this.at += length;
    return text;
  }

  headers(): Record<string, string> {
    const entries: [string, string][] = [];
    for (let left = this.varint(); left > 0; left--) entries.push([this.text(), this.text()]);
    return Object.fromEntries(entries);
  }

  #byte(): number {
    const byte = this.#bytes[this.at++];
    assert(byte !== undefined, "an index ends inside its block");
    return byte;
  }
}

export function isOldBlock(bytes: Uint8Array): boolean {
  return bytes.byteLength >= HEADER_BYTES && bytes[0] === 0xec && bytes[1] === 1;
}

/** The same records in a block of today. */
export function renewBlock(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const header = new DataView(bytes.buffer, bytes.byteOffset, HEADER_BYTES);
  const firstOffset = Number(header.getBigUint64(16, true));
  const baseTimeMs = Number(header.getBigUint64(24, true));
  const reader = new OldReader(bytes);
  const records: BlockRecord[] = [];
  const offsets: number[] = [];
  let bodyStart = HEADER_BYTES + header.getUint32(8, true);
  let source: string | undefined;
  for (let left = header.getUint32(4, true); left > 0; left--) {
    const flags = reader.flags();
    const has = (bit: number): boolean => (flags & (1 << bit)) !== 0;
    offsets.push((offsets.at(-1) ?? firstOffset - 1) + 1 + (has(8) ? reader.varint() : 0));
    const putAtMs = baseTimeMs + reader.varint();
    const ttlMs = has(9) ? reader.varint() : undefined;
    const bodyEnd = bodyStart + reader.varint();
    const presentation: Presentation = has(2) ? "json" : has(1) ? "text" : "bytes";
    const record = {
      isControl: has(0),
      putAtMs,
      ttlMs,
      presentation,
      contentType: has(3) ? reader.text() : DEFAULT_CONTENT_TYPES[presentation],
      key: has(4) ? reader.text() : undefined,
      messageId: has(5) ? reader.text() : undefined,
      headers: has(6) ? reader.headers() : undefined,
      redrivenFrom: has(7) ? reader.varint() : undefined,
      body: bytes.subarray(bodyStart, bodyEnd),
    };
    if (has(10)) source = reader.text();
    records.push({ ...record, source: has(10) || has(11) ? source : undefined });
    bodyStart = bodyEnd;
  }
  return encodeStoredBlock(records, firstOffset, offsets);
}
