// Binary frames of the subprotocol channel.v1.bin: what comes before the blocks in them. Clients read it too: no schemas here.
//
//   0 type (1) · 1 reserved (3), 0 · 4 head bytes (4, little endian) · head: the JSON of the frame's members · blocks, one after the other
import { accept, refuse, type Result } from "../base/result.ts";
import { decodeUtf8, encodeUtf8 } from "./bytes.ts";

/** The first byte of a frame. */
export const BINARY_FRAME_TYPES = { put: 1, deliver: 2, got: 3 } as const;

export type BinaryFrameType = keyof typeof BINARY_FRAME_TYPES;

const PREFIX_BYTES = 8;

export interface BinaryFrame {
  /** The first byte. */
  readonly type: number;
  /** JSON, or what somebody sent for it. */
  readonly head: string;
  readonly blocks: Uint8Array;
}

/** `head`: the JSON of the frame's members but its type and its messages. */
export function joinBinaryFrame(type: BinaryFrameType, head: string, blocks: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const headBytes = encodeUtf8(head);
  let end = PREFIX_BYTES + headBytes.byteLength;
  const frame = new Uint8Array(blocks.reduce((bytes, block) => bytes + block.byteLength, end));
  writePrefix(frame, type, headBytes);
  for (const block of blocks) {
    frame.set(block, end);
    end += block.byteLength;
  }
  return frame;
}

/** The same with one block, in whose memory there has to be room for what comes before it; else a copy. */
export function completeBinaryFrame(
  type: BinaryFrameType,
  head: string,
  block: Uint8Array<ArrayBuffer>,
): Uint8Array<ArrayBuffer> {
  const headBytes = encodeUtf8(head);
  const start = block.byteOffset - PREFIX_BYTES - headBytes.byteLength;
  if (start < 0) return joinBinaryFrame(type, head, [block]);
  const frame = new Uint8Array(block.buffer, start, block.byteOffset - start + block.byteLength);
  writePrefix(frame, type, headBytes);
  return frame;
}

function writePrefix(frame: Uint8Array, type: BinaryFrameType, headBytes: Uint8Array): void {
  frame[0] = BINARY_FRAME_TYPES[type];
  new DataView(frame.buffer, frame.byteOffset).setUint32(4, headBytes.byteLength, true);
  frame.set(headBytes, PREFIX_BYTES);
}

/** Takes a frame apart, or says what is wrong with it. */
export function splitBinaryFrame(frame: Uint8Array): Result<BinaryFrame, string> {
  if (frame.byteLength < PREFIX_BYTES) return refuse("Expected a binary frame, which begins with 8 bytes");
  const view = new DataView(frame.buffer, frame.byteOffset, PREFIX_BYTES);
  const headEnd = PREFIX_BYTES + view.getUint32(4, true);
  if (view.getUint32(0, true) > 0xff || headEnd > frame.byteLength)
    return refuse("Expected a binary frame with 0 in its reserved bytes and a head that ends within it");
  const head = decodeUtf8(frame.subarray(PREFIX_BYTES, headEnd));
  if (head === undefined) return refuse("Expected a head of UTF-8");
  return accept({ type: view.getUint8(0), head, blocks: frame.subarray(headEnd) });
}
