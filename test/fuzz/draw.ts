// Inputs of the fuzz test: messages with everything that they can have, frames of them, and what is done to frames.
import { joinBinaryFrame } from "../../src/protocol/binary-frame.ts";
import { encodeBlock, type BlockRecord } from "../../src/protocol/block-writer.ts";
import { encodeUtf8 } from "../../src/protocol/bytes.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import { DEFAULT_CONTENT_TYPES, type Presentation } from "../../src/protocol/presentation.ts";
import type { Random } from "../simulation/random.ts";

const TEXTS = ["", "a", "hello", "é", "žluťoučký kůň", "日本", "🦀", "\u0000", "\ufeffbom", "a b", "x".repeat(130)] as const;
const JSON_BODIES = ["null", "0", '"é"', "[1,2]", '{"a":{"b":[]}}', " [ ]\n", '{"10":1,"2":2}'] as const;
const CONTENT_TYPES = [
  "text/html",
  "a/b; c=d",
  "application/json",
  "text/plain; charset=utf-8",
  "application/octet-stream",
] as const;
const HEADER_NAMES = ["10", "2", "a", "trace-id", "z_", "~"] as const;
const HEADS = [
  '{"id":1}',
  '{"id":0,"waitMs":0}',
  '{"id":5,"producer":{"id":"p","epoch":1,"seq":1}}',
  '{"id":6,"idempotencyKey":"k"}',
  '{"id":7,"expectedOffset":1}',
  '{"id":8,"promised":true}',
  '{"id":9,"producer":{"id":"p","epoch":1,"seq":1},"idempotencyKey":"k"}',
  '{"id":10,"unknown":1}',
  '{"id":-1}',
  "[]",
  "{",
] as const;

export function drawRecords(random: Random): BlockRecord[] {
  return Array.from({ length: random.oneOf(0, 1, 1, 2, 3, 7) }, () => drawRecord(random));
}

function drawRecord(random: Random): BlockRecord {
  const presentation = random.oneOf<Presentation>("text", "text", "json", "bytes");
  const contentType = random.chance(70) ? DEFAULT_CONTENT_TYPES[presentation] : random.oneOf(...CONTENT_TYPES);
  const names = random.some(HEADER_NAMES, 40);
  const delay = random.oneOf<BlockRecord["delay"]>({ afterMs: random.below(1000) }, { atMs: random.draw32() * 1000 });
  return {
    presentation,
    contentType,
    body: drawBody(presentation, random),
    isControl: false,
    putAtMs: 0,
    ...(random.chance(30) && { key: random.oneOf("k", "ü", "key".repeat(50)) }),
    ...(random.chance(30) && { messageId: random.oneOf("m", "id-1", "🦀") }),
    ...(random.chance(30) &&
      names.length > 0 && { headers: Object.fromEntries(names.map((name) => [name, random.oneOf(...TEXTS)])) }),
    ...(random.chance(20) && { ttlMs: random.oneOf<number>(LIMITS.ttlMsMin, 127, 128, LIMITS.ttlMsMax) }),
    ...(random.chance(10) && { delay }),
  };
}

function drawBody(presentation: Presentation, random: Random): Uint8Array {
  if (presentation === "bytes") return Uint8Array.from({ length: random.oneOf(0, 1, 5, 127, 128, 300) }, () => random.below(256));
  return encodeUtf8(presentation === "json" ? random.oneOf(...JSON_BODIES) : random.oneOf(...TEXTS));
}

/** A frame that may be put, unless its head is wrong. */
export function drawFrame(random: Random): Uint8Array {
  const head = random.chance(70) ? HEADS[0] : random.oneOf(...HEADS);
  return joinBinaryFrame("put", head, [encodeBlock(drawRecords(random), 0)]);
}

type Mutation = (bytes: Uint8Array, random: Random) => Uint8Array;

const MUTATIONS: readonly Mutation[] = [
  // A bit, a byte, a length
  (bytes, random) => change(bytes, random, (byte) => byte ^ (1 << random.below(8))),
  (bytes, random) => change(bytes, random, () => random.below(256)),
  (bytes, random) => change(bytes, random, (byte) => byte + random.oneOf(-1, 1)),
  (bytes, random) => change(bytes, random, () => random.oneOf(0, 1, 127, 128, 255)),
  // The header of the block, and what comes before it
  (bytes, random) => changeAt(bytes, random.below(60), random.below(256)),
  // What is cut, doubled, put in or left out
  (bytes, random) => bytes.slice(0, random.below(bytes.byteLength + 1)),
  (bytes, random) => join(bytes, Uint8Array.of(random.below(256))),
  (bytes, random) => join(bytes, bytes.subarray(random.below(bytes.byteLength + 1))),
  (bytes, random) => {
    const at = random.below(bytes.byteLength + 1);
    return join(bytes.subarray(0, at), Uint8Array.of(random.oneOf(0, 1, 128, random.below(256))), bytes.subarray(at));
  },
  (bytes, random) => {
    const at = random.below(bytes.byteLength + 1);
    return join(bytes.subarray(0, at), bytes.subarray(at + 1 + random.below(4)));
  },
];

/** One to four times in a row. */
export function mutate(frame: Uint8Array, random: Random): Uint8Array {
  let mutated = frame;
  for (let times = random.between(1, 4); times > 0; times--) mutated = random.pick(MUTATIONS)?.(mutated, random) ?? mutated;
  return mutated;
}

function change(bytes: Uint8Array, random: Random, how: (byte: number) => number): Uint8Array {
  const at = random.below(bytes.byteLength);
  return changeAt(bytes, at, how(bytes[at] ?? 0));
}

function changeAt(bytes: Uint8Array, at: number, byte: number): Uint8Array {
  const changed = bytes.slice();
  if (at < changed.byteLength) changed[at] = byte;
  return changed;
}

function join(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}
