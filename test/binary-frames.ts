// Binary frames as tests make and read them.
import { listMessages } from "../src/channel/put-batch.ts";
import type { WebSocketLike } from "../src/client/open-socket.ts";
import { BINARY_FRAME_TYPES, joinBinaryFrame, splitBinaryFrame } from "../src/protocol/binary-frame.ts";
import { Block } from "../src/protocol/block.ts";
import { encodeBlock, type BlockRecord } from "../src/protocol/block-writer.ts";
import { encodeUtf8 } from "../src/protocol/bytes.ts";
import { contentOf, formatMessage, type PutMessage } from "../src/protocol/message.ts";
import { DEFAULT_CONTENT_TYPES } from "../src/protocol/presentation.ts";
import { parsePutBody, parsePutFrame } from "../src/protocol/put-frame.ts";

/** A message to put: a text without more. */
export function textRecord(text: string, more: Partial<BlockRecord> = {}): BlockRecord {
  const contentType = DEFAULT_CONTENT_TYPES.text;
  return { body: encodeUtf8(text), presentation: "text", contentType, isControl: false, putAtMs: 0, ...more };
}

/** `head`: the members of the frame but its messages. */
export function putFrame(head: object, records: readonly BlockRecord[]): ArrayBuffer {
  return joinBinaryFrame("put", JSON.stringify(head), [encodeBlock(records, 0)]).buffer;
}

/** What a server takes a put frame for: the members of its head, and the messages as they would be stored. */
export function readPutFrame(data: Uint8Array): { readonly type: string; readonly messages: readonly object[] } {
  const frame = parsePutFrame(data);
  if (!frame.ok) throw new Error(`Not a put: ${JSON.stringify(frame.refusal)}`);
  const { head, block } = frame.value;
  const messages = Array.from({ length: block.count }, (_, place) => {
    const delay = block.delay(place);
    return { ...contentOf(block.message(place)), ...(delay !== undefined && { delay }) };
  });
  return { ...head, type: "binary put", messages };
}

/** The messages that a server takes out of the body of a batch over HTTP. */
export function readPutBody(body: Uint8Array): readonly PutMessage[] {
  const block = parsePutBody(body);
  if (!block.ok) throw new Error(`Not a batch: ${JSON.stringify(block.refusal)}`);
  return listMessages(block.value);
}

/** A frame from the server that carries these records from the offset on. */
export function serverFrame(
  type: "deliver" | "got",
  head: object,
  records: readonly BlockRecord[],
  firstOffset: number,
): ArrayBuffer {
  return joinBinaryFrame(type, JSON.stringify(head), [encodeBlock(records, firstOffset)]).buffer;
}

/** The blocks that follow each other in a frame from the server. */
export function splitBlocks(bytes: Uint8Array): Block[] {
  const blocks: Block[] = [];
  for (let at = 0; at < bytes.byteLength; at += blocks.at(-1)?.byteLength ?? 0) {
    const block = Block.parse(bytes.subarray(at));
    if (!block.ok) throw new Error(`Not a block: ${block.refusal.detail}`);
    blocks.push(block.value);
  }
  return blocks;
}

interface Leases {
  readonly group: number;
  readonly holder: string;
  readonly again?: readonly (readonly [place: number, attempt: number, redelivered: boolean])[];
}

/** The leases that the head of a frame tells of all messages of its blocks. */
export function listLeaseIds(head: string, blocks: readonly Block[]): readonly string[] {
  const { leases } = JSON.parse(head) as { readonly leases: Leases };
  const attempts = new Map(leases.again?.map(([place, attempt]) => [place, attempt]));
  const offsets = blocks.flatMap((block) => Array.from({ length: block.count }, (_, place) => block.offsetOf(place)));
  return offsets.map((offset, place) => `${leases.group}-${offset}-${attempts.get(place) ?? 1}-${leases.holder}`);
}

/** A frame from the server as the JSON frame that says the same. */
export function readServerFrame(data: string | ArrayBuffer): unknown {
  if (typeof data === "string") return JSON.parse(data);
  const frame = splitBinaryFrame(new Uint8Array(data));
  if (!frame.ok) throw new Error(frame.refusal);
  const type = frame.value.type === BINARY_FRAME_TYPES.deliver ? "deliver" : "got";
  const { leases, ...head } = JSON.parse(frame.value.head) as { readonly leases?: Leases };
  const messages = splitBlocks(frame.value.blocks).flatMap((block) =>
    Array.from({ length: block.count }, (_, place) => block.message(place)),
  );
  const forms = messages.map((message, place) => {
    const form = JSON.parse(formatMessage(message)) as object;
    if (leases === undefined) return form;
    const [, attempt = 1, redelivered = false] = leases.again?.find(([one]) => one === place) ?? [];
    const leaseId = `${leases.group}-${message.offset}-${attempt}-${leases.holder}`;
    return { ...form, leaseId, attempt, redelivered };
  });
  return { type, ...head, messages: forms };
}

/** Frames of bytes that a client sent, and that it received. */
export interface FrameCounts {
  sent: number;
  received: number;
}

/** Counts the frames of bytes that go over a client's socket from now on. */
export function countBinaryFrames(socket: WebSocketLike, counts: FrameCounts): void {
  const send = socket.send.bind(socket);
  socket.send = (data) => {
    if (typeof data !== "string") counts.sent++;
    send(data);
  };
  socket.addEventListener("message", ({ data }) => {
    if (typeof data !== "string") counts.received++;
  });
}
