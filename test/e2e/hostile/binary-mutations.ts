// Binary put frames that lie: each mutation takes a valid one and breaks it in its own way.
import { HEADER_BYTES } from "../../../src/protocol/block-layout.ts";
import type { BlockRecord } from "../../../src/protocol/block-writer.ts";
import { DEFAULT_CONTENT_TYPES } from "../../../src/protocol/presentation.ts";
import { putFrame, textRecord } from "../../binary-frames.ts";
import type { SeededRandom } from "./seeded-random.ts";

const PREFIX_BYTES = 8;
/** Where the header of a block has its count, and the lengths of its index and its bodies. */
const LENGTHS = [4, 8, 12] as const;
const UINT32_MAX = 2 ** 32 - 1;
/** Longer than any test. */
export const TTL_MS = 3_600_000;

interface Parts {
  readonly frame: Uint8Array;
  readonly view: DataView;
  readonly headEnd: number;
  readonly random: SeededRandom;
}

/** What is sent in place of a valid frame. All of these are refused, but for what one bit or byte may leave valid. */
const MUTATIONS: Readonly<Record<string, (parts: Parts) => Uint8Array>> = {
  "cut short": ({ frame, random }) => frame.subarray(0, random.int(0, frame.byteLength - 1)),
  "random bytes": ({ random }) => randomBytes(random, random.int(0, 200)),
  "random bytes behind the prefix": ({ random }) => new Uint8Array([1, 0, 0, 0, ...randomBytes(random, random.int(4, 200))]),
  "an unknown type": ({ frame, random }) => withByte(frame, 0, random.pick([0, 2, 3, 4, 77, 255])),
  "a reserved byte": ({ frame, random }) => withByte(frame, random.int(1, 3), random.int(1, 255)),
  "a head that lies": ({ frame, view, random }) => {
    view.setUint32(4, random.pick([0, 1, view.getUint32(4, true) + 1, frame.byteLength, UINT32_MAX]), true);
    return frame;
  },
  "a head that is no JSON": ({ frame, random, headEnd }) => withByte(frame, random.pick([PREFIX_BYTES, headEnd - 1]), 0xff),
  "no block": ({ frame, headEnd }) => frame.subarray(0, headEnd),
  "two blocks": ({ frame, headEnd }) => new Uint8Array([...frame, ...frame.subarray(headEnd)]),
  "bytes behind the block": ({ frame, random }) => new Uint8Array([...frame, ...randomBytes(random, random.int(1, 20))]),
  "another magic or version": ({ frame, random, headEnd }) => {
    const at = headEnd + random.int(0, 1);
    return withByte(frame, at, (frame[at] ?? 0) ^ random.int(1, 255));
  },
  "a length of the block that lies": ({ frame, view, random, headEnd }) => {
    const at = headEnd + random.pick(LENGTHS);
    const length = view.getUint32(at, true);
    view.setUint32(at, random.pick([length + 1, Math.max(0, length - 1) || 2, 10_001, UINT32_MAX]), true);
    return frame;
  },
  "an offset or a time": ({ frame, random, headEnd }) => withByte(frame, headEnd + random.int(16, 31), random.int(1, 255)),
  "an index of endless numbers": ({ frame, view, headEnd }) => {
    const start = headEnd + HEADER_BYTES;
    return frame.fill(0xff, start, start + view.getUint32(headEnd + 8, true));
  },
  "one bit": ({ frame, random }) => {
    const at = random.int(0, frame.byteLength - 1);
    return withByte(frame, at, (frame[at] ?? 0) ^ (1 << random.int(0, 7)));
  },
  "one byte of the index": ({ frame, view, random, headEnd }) => {
    const start = headEnd + HEADER_BYTES;
    return withByte(frame, random.int(start, start + view.getUint32(headEnd + 8, true) - 1), random.int(0, 255));
  },
};

export const MUTATION_NAMES: readonly string[] = Object.keys(MUTATIONS);
/** Of which some are valid still. */
export const SLIGHT_MUTATIONS: readonly string[] = ["one bit", "one byte of the index"];

/** `head`: that of the frame, `{ id }` over a socket. */
export function mutate(mutation: string, id: number, random: SeededRandom, head: object = { id }): Uint8Array {
  const frame = new Uint8Array(validFrame(id, random, head));
  const view = new DataView(frame.buffer);
  const headEnd = PREFIX_BYTES + view.getUint32(4, true);
  const bytes = MUTATIONS[mutation]?.({ frame, view, headEnd, random });
  if (bytes === undefined) throw new Error(`There is no mutation "${mutation}"`);
  return bytes;
}

/** A put of one to five messages, with this and that of what a message may have. */
export function validFrame(id: number, random: SeededRandom, head: object = { id }): ArrayBuffer {
  const records = Array.from({ length: random.int(1, 5) }, (_, place) => randomRecord(`${id}.${place}`, random));
  return putFrame(head, records);
}

function randomRecord(text: string, random: SeededRandom): BlockRecord {
  const presentation = random.pick(["text", "json", "bytes"] as const);
  return textRecord(presentation === "json" ? JSON.stringify(text) : text, {
    presentation,
    contentType: random.chance(0.3) ? "image/png" : DEFAULT_CONTENT_TYPES[presentation],
    key: random.chance(0.5) ? `k${random.int(0, 3)}` : undefined,
    messageId: random.chance(0.3) ? `m${text}` : undefined,
    headers: random.chance(0.3) ? { trace: "x", zone: "\u00fc" } : undefined,
    ttlMs: random.chance(0.2) ? TTL_MS : undefined,
  });
}

function withByte(frame: Uint8Array, at: number, byte: number): Uint8Array {
  frame[at] = byte;
  return frame;
}

function randomBytes(random: SeededRandom, count: number): Uint8Array {
  return Uint8Array.from({ length: count }, () => random.int(0, 255));
}
