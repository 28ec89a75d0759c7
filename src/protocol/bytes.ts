// Bytes and text: UTF-8 and base64.

const encoder = new TextEncoder();
const strictDecoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export const UTF8_BYTES_PER_UNIT_MAX = 3;

export function encodeUtf8(text: string): Uint8Array {
  return encoder.encode(text);
}

/** The same bytes in memory of their own. Sent to another isolate, a view takes all the memory that it is a part of with it. */
export function ownBytes(bytes: Uint8Array): Uint8Array {
  return bytes.byteLength === bytes.buffer.byteLength ? bytes : bytes.slice();
}

/** The text, or undefined when the bytes are not UTF-8. A byte order mark is kept. */
export function decodeUtf8(bytes: Uint8Array): string | undefined {
  try {
    return strictDecoder.decode(bytes);
  } catch {
    return undefined;
  }
}

/** What is encoded here only shows its length. */
const scratch = new Uint8Array(16 * 1024);
/** From here on the encoder is quicker than a look at each unit, by a factor of 30 for 1 KB (measured). */
const ENCODED_UNITS_MIN = 24;

/** How many bytes `text` has in UTF-8, without memory for them. A lone surrogate counts as the three bytes of its replacement. */
export function utf8Length(text: string): number {
  const isEncoded = text.length >= ENCODED_UNITS_MIN && text.length * UTF8_BYTES_PER_UNIT_MAX <= scratch.byteLength;
  return isEncoded ? encoder.encodeInto(text, scratch).written : countBytes(text);
}

function countBytes(text: string): number {
  let bytes = text.length;
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(index);
    if (unit < 0x80) continue;
    const isPair = unit >= 0xd800 && unit < 0xdc00 && index + 1 < text.length && (text.charCodeAt(index + 1) & 0xfc00) === 0xdc00;
    bytes += unit < 0x800 ? 1 : 2;
    if (isPair) index++;
  }
  return bytes;
}

/** Whether `text` has more than `bytesMax` bytes in UTF-8. Counts only where its length does not tell already. */
export function isLongerThan(text: string, bytesMax: number): boolean {
  if (text.length * UTF8_BYTES_PER_UNIT_MAX <= bytesMax) return false;
  return text.length > bytesMax || utf8Length(text) > bytesMax;
}

// String.fromCharCode takes its bytes as arguments, which have to fit the stack.
const CHUNK_BYTES = 8190;

export function encodeBase64(bytes: Uint8Array): string {
  let text = "";
  for (let start = 0; start < bytes.byteLength; start += CHUNK_BYTES) {
    text += btoa(String.fromCharCode(...bytes.subarray(start, start + CHUNK_BYTES)));
  }
  return text;
}

const NOT_BASE64 = /[^A-Za-z0-9+/=]/;

/** The bytes of padded base64 (RFC 4648, section 4), or undefined when `text` is something else. */
export function decodeBase64(text: string): Uint8Array | undefined {
  // atob alone would accept white space and missing padding; one expression for the whole grammar would overflow the stack.
  if (text.length % 4 !== 0 || NOT_BASE64.test(text)) return undefined;
  const binary = decodeBinary(text);
  if (binary === undefined) return undefined;
  const bytes = new Uint8Array(binary.length);
  for (let index = 0; index < binary.length; index++) bytes[index] = binary.charCodeAt(index);
  return bytes;
}

function decodeBinary(text: string): string | undefined {
  try {
    return atob(text);
  } catch {
    return undefined;
  }
}
