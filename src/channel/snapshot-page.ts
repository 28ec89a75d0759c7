// The bytes of a page: who wrote it, its number, rows, and a hash over it and all pages before (SPEC rule SN5).
//   "ECSN" · format (1 byte) · version of the rows (4) · page (4) · whether it is the last (1) · rows · SHA-256 (32)
// A row is its length (4), then values: a tag (1), and a number (8), or the length (4) and the bytes of a text or of bytes.
import { decodeUtf8, encodeUtf8 } from "../protocol/bytes.ts";
import { chainDigest, DIGEST_BYTES, formatDigest } from "../protocol/digest.ts";
import type { SnapshotFault } from "../protocol/problems.ts";
import type { SnapshotRow, SnapshotValue } from "./snapshot-store.ts";

const MAGIC = encodeUtf8("ECSN");
const FORMAT = 1;
const HEADER_BYTES = 14;

interface PageHead {
  readonly version: number;
  readonly page: number;
  readonly isLast: boolean;
}

export interface Page extends PageHead {
  readonly rows: readonly SnapshotRow[];
  readonly digest: string;
}

const TAGS = { none: 0, number: 1, text: 2, bytes: 3 } as const;

export function encodeRow({ table, values }: SnapshotRow): Uint8Array {
  const parts = [table, ...values].map(encodeValue);
  const bytes = parts.reduce((sum, part) => sum + part.byteLength, 0);
  const size = new Uint8Array(4);
  new DataView(size.buffer).setUint32(0, bytes);
  return concat([size, ...parts]);
}

/** A page of encoded rows. `before` is the hash of the pages before it. */
export function encodePage(head: PageHead, rows: readonly Uint8Array[], before: string): { bytes: Uint8Array; digest: string } {
  const header = new Uint8Array(HEADER_BYTES);
  header.set(MAGIC);
  const view = new DataView(header.buffer);
  view.setUint8(4, FORMAT);
  view.setUint32(5, head.version);
  view.setUint32(9, head.page);
  view.setUint8(13, head.isLast ? 1 : 0);
  const bytes = concat([header, ...rows, new Uint8Array(DIGEST_BYTES)]);
  const digest = hashPage(bytes, before);
  bytes.set(digest, bytes.byteLength - DIGEST_BYTES);
  return { bytes, digest: formatDigest(digest) };
}

/** Reads a page, or says what is wrong with it. `before` is the hash of the pages before it. */
export function decodePage(bytes: Uint8Array, expected: { version: number; page: number; before: string }): Page | SnapshotFault {
  if (MAGIC.some((byte, place) => bytes[place] !== byte)) return "not-a-snapshot";
  if (bytes.byteLength < HEADER_BYTES + DIGEST_BYTES) return "cut";
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const version = view.getUint32(5);
  if (view.getUint8(4) !== FORMAT || version !== expected.version) return "version";
  const page = view.getUint32(9);
  if (page !== expected.page) return "order";
  const digest = formatDigest(hashPage(bytes, expected.before));
  if (digest !== digestOf(bytes)) return "hash";
  const rows = decodeRows(bytes.subarray(HEADER_BYTES, bytes.byteLength - DIGEST_BYTES));
  if (rows === undefined) return "content";
  return { version, page, isLast: view.getUint8(13) === 1, rows, digest };
}

/** The hash that a page ends with, in hex. */
export function digestOf(bytes: Uint8Array): string {
  return formatDigest(bytes.subarray(Math.max(0, bytes.byteLength - DIGEST_BYTES)));
}

function hashPage(bytes: Uint8Array, before: string): Uint8Array {
  return chainDigest(before, bytes.subarray(0, bytes.byteLength - DIGEST_BYTES));
}

function encodeValue(value: SnapshotValue): Uint8Array {
  if (value === null) return new Uint8Array([TAGS.none]);
  if (typeof value === "number") {
    const bytes = new Uint8Array(9);
    const view = new DataView(bytes.buffer);
    view.setUint8(0, TAGS.number);
    view.setFloat64(1, value);
    return bytes;
  }
  const content = typeof value === "string" ? encodeUtf8(value) : value;
  const head = new Uint8Array(5);
  const view = new DataView(head.buffer);
  view.setUint8(0, typeof value === "string" ? TAGS.text : TAGS.bytes);
  view.setUint32(1, content.byteLength);
  return concat([head, content]);
}

/** Undefined where the bytes are not rows: nobody who computes the right hash need have written them. */
function decodeRows(bytes: Uint8Array): SnapshotRow[] | undefined {
  const rows: SnapshotRow[] = [];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let start = 0; start < bytes.byteLength;) {
    const end = start + 4 > bytes.byteLength ? Infinity : start + 4 + view.getUint32(start);
    if (end > bytes.byteLength) return undefined;
    const row = decodeRow(bytes.subarray(start + 4, end));
    if (row === undefined) return undefined;
    rows.push(row);
    start = end;
  }
  return rows;
}

function decodeRow(bytes: Uint8Array): SnapshotRow | undefined {
  const values: SnapshotValue[] = [];
  for (let start = 0; start < bytes.byteLength;) {
    const decoded = decodeValue(bytes, start);
    if (decoded === undefined) return undefined;
    values.push(decoded.value);
    start = decoded.end;
  }
  const [table, ...rest] = values;
  return typeof table === "string" ? { table, values: rest } : undefined;
}

function decodeValue(bytes: Uint8Array, start: number): { value: SnapshotValue; end: number } | undefined {
  const tag = bytes[start];
  if (tag === TAGS.none) return { value: null, end: start + 1 };
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (tag === TAGS.number) {
    return start + 9 > bytes.byteLength ? undefined : { value: view.getFloat64(start + 1), end: start + 9 };
  }
  if ((tag !== TAGS.text && tag !== TAGS.bytes) || start + 5 > bytes.byteLength) return undefined;
  const end = start + 5 + view.getUint32(start + 1);
  if (end > bytes.byteLength) return undefined;
  const content = bytes.slice(start + 5, end);
  const value = tag === TAGS.text ? decodeUtf8(content) : content;
  return value === undefined ? undefined : { value, end };
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.byteLength, 0));
  let end = 0;
  for (const part of parts) {
    bytes.set(part, end);
    end += part.byteLength;
  }
  return bytes;
}
