// Bytes and text: UTF-8 and base64, for all lengths that messages may have.
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  decodeBase64,
  decodeUtf8,
  encodeBase64,
  encodeUtf8,
  isLongerThan,
  ownBytes,
  utf8Length,
} from "../../src/protocol/bytes.ts";
import { Utf8Arena } from "../../src/protocol/utf8-arena.ts";
import { LIMITS } from "../../src/protocol/limits.ts";

/** Any text, lone surrogates too. */
const anyText = fc
  .string({ unit: "binary", maxLength: 60 })
  .map((text) => text + String.fromCharCode(0xd800 + (text.length % 2048)));
const wellFormed = fc.string({ unit: "binary", maxLength: 60 }).filter((text) => text.isWellFormed());

/** Fast comparison of what is large. */
function isSame(a: Uint8Array | undefined, b: Uint8Array): boolean {
  return a !== undefined && Buffer.compare(a, b) === 0;
}

describe("src/protocol/bytes", () => {
  test("[PT6] the length of a text in UTF-8 is that of its bytes, also with lone surrogates", () => {
    fc.assert(fc.property(anyText, (text) => utf8Length(text) === encodeUtf8(text).byteLength));
    expect(["", "a", "é", "€", "😀", "\ud800", "\udc00\ud800", "\ud83d\ud83d\ude00"].map(utf8Length)).toEqual([
      0, 1, 2, 3, 4, 3, 6, 7,
    ]);
    for (const length of [24, 5_461, 5_462, 100_000]) expect(utf8Length("€".repeat(length))).toBe(3 * length);
  });

  test("[GT4] text goes through bytes unchanged, a byte order mark and NUL too", () => {
    fc.assert(fc.property(wellFormed, (text) => decodeUtf8(encodeUtf8(text)) === text));
    expect(decodeUtf8(encodeUtf8("\ufeffa\u0000b"))).toBe("\ufeffa\u0000b");
  });

  test.each([
    ["a continuation alone", [0x80]],
    ["a sequence that is cut off", [0x61, 0xe2, 0x82]],
    ["an overlong form", [0xc0, 0xaf]],
    ["a surrogate", [0xed, 0xa0, 0x80]],
    ["more than Unicode has", [0xf4, 0x90, 0x80, 0x80]],
  ])("[PT6] bytes that are not UTF-8 have no text: %s", (_name, bytes) => {
    expect(decodeUtf8(new Uint8Array(bytes))).toBeUndefined();
  });

  test("[PT6] base64 is that of the platform", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(encodeBase64(bytes)).toBe(Buffer.from(bytes).toString("base64"));
        expect(decodeBase64(encodeBase64(bytes))).toEqual(bytes);
      }),
    );
  });

  test.each([8189, 8190, 8191, 16_380, 16_381, 1_000_003])("[PT6] base64 of %d bytes goes there and back", (length) => {
    const bytes = Uint8Array.from({ length }, (_, index) => (index * 7) % 256);

    expect(encodeBase64(bytes)).toBe(Buffer.from(bytes).toString("base64"));
    expect(isSame(decodeBase64(encodeBase64(bytes)), bytes)).toBe(true);
  });

  test("[PT1] base64 of the largest message goes there and back", () => {
    const bytes = new Uint8Array(LIMITS.messageBytesMax).fill(0xa5);
    const text = Buffer.from(bytes).toString("base64");

    expect(isSame(decodeBase64(text), bytes)).toBe(true);
    expect(decodeBase64(`${text.slice(0, -5)}!${text.slice(-4)}`)).toBeUndefined();
  });

  test.each([
    "A",
    "AA",
    "AAA",
    "AAAAA",
    "A===",
    "AA=A",
    "====",
    "AAAA====",
    "AA==AA==",
    "AA-_",
    "AA A",
    " AAAA",
    "AAAA\n",
    "AAé=",
  ])("[PT6] %j is not padded base64", (text) => {
    expect(decodeBase64(text)).toBeUndefined();
  });

  test("[PT6] whatever is not base64 is found out, and never throws", () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom("A", "Z", "a", "z", "0", "9", "+", "/", "=", "-", "_", " "), maxLength: 12 }),
        (text) => {
          const isBase64 = text.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(text);
          expect(decodeBase64(text) !== undefined).toBe(isBase64);
        },
      ),
    );
  });

  test("an arena gives each text its own bytes, and what it gave stays when its memory is full", () => {
    const lengths = fc.oneof(fc.integer({ min: 0, max: 200 }), fc.integer({ min: 5000, max: 6000 }), fc.constant(70_000));
    fc.assert(
      fc.property(fc.array(fc.tuple(anyText, lengths), { maxLength: 60 }), (parts) => {
        const arena = new Utf8Arena();
        const texts = parts.map(([text, length]) => text.repeat(Math.ceil(length / text.length)));
        const encoded = texts.map((text) => arena.encode(text));
        expect(encoded.every((bytes, index) => isSame(bytes, encodeUtf8(texts[index] ?? "")))).toBe(true);
      }),
    );
  });

  test("an arena that is used again gives the same memory, and more where that is full", () => {
    const arena = new Utf8Arena(40);
    const first = arena.encode("abc");
    arena.reuse();
    const [again, behind] = [arena.encode("xyz"), arena.encode("123")];

    expect([first, again, behind].map((bytes) => decodeUtf8(bytes))).toEqual(["xyz", "xyz", "123"]);
    const filling = Array.from({ length: 20 }, (_, index) => arena.encode(String(index)));
    expect(filling.map((bytes) => decodeUtf8(bytes))).toEqual(Array.from({ length: 20 }, (_, index) => String(index)));
  });

  test("own bytes have no more memory than they need", () => {
    const whole = new Uint8Array([1, 2, 3, 4]);
    const own = ownBytes(whole.subarray(1, 3));

    expect([...own]).toEqual([2, 3]);
    expect(own.buffer.byteLength).toBe(2);
    expect(ownBytes(whole)).toBe(whole);
  });

  test("[G6] a text is longer than a limit by its bytes in UTF-8", () => {
    for (const text of ["", "aaa", "éa", "漢", "😀", "a\ud800"]) {
      const bytes = encodeUtf8(text).byteLength;
      const isLonger = Array.from({ length: 2 * bytes + 2 }, (_, bytesMax) => isLongerThan(text, bytesMax));

      expect(isLonger).toEqual(isLonger.map((_, bytesMax) => bytes > bytesMax));
    }
  });
});
