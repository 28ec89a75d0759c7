// Messages in the blocks of binary frames (PROTOCOL.md). It is loaded with the first socket whose server speaks channel.v1.bin.
import { BINARY_FRAME_TYPES, completeBinaryFrame, splitBinaryFrame } from "../protocol/binary-frame.ts";
import { Block } from "../protocol/block.ts";
import { encodeBlock, type BlockRecord } from "../protocol/block-writer.ts";
import { decodeUtf8 } from "../protocol/bytes.ts";
import { BATCH_MESSAGES_MAX } from "../protocol/client-limits.ts";
import type { ServerFrame } from "../protocol/frames.ts";
import { DEFAULT_CONTENT_TYPES, type Presentation } from "../protocol/presentation.ts";
import { Utf8Arena } from "../protocol/utf8-arena.ts";
import { jsonTextOf } from "./json-text.ts";
import { toPutInput, type MessageBody, type PutGiven, type PutInput, type ReceivedMessage } from "./message-json.ts";
import type { Leased } from "./transport.ts";

/** Room for the head of a frame in front of its block; most are shorter. */
const HEAD_BYTES = 256;
/** One for the module: what is encoded in it is copied into the block at once. Most batches of a producer fit. */
const arena = new Utf8Arena(512 * 1024);

/**
 * The block of a batch; undefined where a message has what a block cannot say, such as a key that is no text. As JSON it is refused then,
 * here or as the protocol has it.
 */
export function packPuts(messages: readonly PutGiven[]): Uint8Array<ArrayBuffer> | undefined {
  if (!Array.isArray(messages) || messages.length === 0 || messages.length > BATCH_MESSAGES_MAX) return undefined;
  const records: BlockRecord[] = [];
  for (const given of messages) {
    const record = toRecord(toPutInput(given));
    if (record === undefined) return undefined;
    records.push(record);
  }
  const block = encodeBlock(records, 0, HEAD_BYTES);
  arena.reuse();
  return block;
}

/** `head`: the JSON of the members of a `put-batch` frame but its type and its messages. */
export function joinPut(head: string, block: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return completeBinaryFrame("put", head, block);
}

function toRecord(input: PutInput): BlockRecord | undefined {
  const { body: given, key, messageId, headers, contentType, delayMs, deliverAtMs, ttlMs, ...unknown } = input;
  const body = toBytes(given);
  const areTexts = isTextOrNone(key) && isTextOrNone(messageId) && isTextOrNone(contentType) && areHeadersOrNone(headers);
  const areNumbers = isNumberOrNone(delayMs) && isNumberOrNone(deliverAtMs) && isNumberOrNone(ttlMs);
  const isOfOneTime = delayMs === undefined || deliverAtMs === undefined;
  if (body === undefined || !areTexts || !areNumbers || !isOfOneTime) return undefined;
  for (const member in unknown) if (Object.hasOwn(unknown, member)) return undefined;
  const { bytes, presentation } = body;
  return {
    body: bytes,
    presentation,
    contentType: contentType ?? DEFAULT_CONTENT_TYPES[presentation],
    key,
    messageId,
    headers: headers !== undefined && Object.keys(headers).length > 0 ? headers : undefined,
    ttlMs,
    isControl: false,
    putAtMs: 0,
    delay: delayMs !== undefined ? { afterMs: delayMs } : deliverAtMs !== undefined ? { atMs: deliverAtMs } : undefined,
  };
}

function toBytes(body: MessageBody): { readonly bytes: Uint8Array; readonly presentation: Presentation } | undefined {
  if (typeof body === "string") return isText(body) ? { bytes: arena.encode(body), presentation: "text" } : undefined;
  if (body instanceof Uint8Array) return { bytes: body, presentation: "bytes" };
  const text = jsonTextOf((Object(body) as { readonly json?: unknown }).json);
  return text === undefined ? undefined : { bytes: arena.encode(text), presentation: "json" };
}

function areHeadersOrNone(headers: unknown): boolean {
  if (headers === undefined) return true;
  if (typeof headers !== "object" || headers === null || Array.isArray(headers)) return false;
  return Object.entries(headers).every(([name, value]) => isText(name) && isText(value));
}

/** Lone surrogates have no UTF-8. */
function isText(value: unknown): boolean {
  return typeof value === "string" && value.isWellFormed();
}

function isTextOrNone(value: unknown): boolean {
  return value === undefined || isText(value);
}

function isNumberOrNone(value: unknown): boolean {
  return value === undefined || (Number.isSafeInteger(value) && Number(value) >= 0);
}

/** As the head of a frame tells the leases of all its messages. */
interface LeasesJson {
  readonly group: number;
  readonly holder: string;
  readonly again?: readonly (readonly [place: number, attempt: number, redelivered: boolean])[];
}

/** The frame as JSON says it, but for its messages, which are read; undefined where it is none, or a message in it is not what it says. */
export function readBinaryFrame(bytes: Uint8Array): ServerFrame | undefined {
  try {
    const frame = splitBinaryFrame(bytes);
    if (!frame.ok) return undefined;
    // A later version may have more types, of which whoever gets it knows nothing, as of those in JSON.
    const type = TYPES.get(frame.value.type) ?? String(frame.value.type);
    const { leases, ...members } = JSON.parse(frame.value.head) as { readonly leases?: LeasesJson };
    const messages = readBlocks(frame.value.blocks);
    // The rest of the shape is the server's promise.
    return {
      ...members,
      type,
      messages: leases === undefined ? messages : addLeases(messages, leases),
    } as unknown as ServerFrame;
  } catch {
    return undefined;
  }
}

const TYPES: ReadonlyMap<number, string> = new Map(Object.entries(BINARY_FRAME_TYPES).map(([type, byte]) => [byte, type]));

/** Throws where the bytes are something else. */
function readBlocks(bytes: Uint8Array): ReceivedMessage[] {
  const messages: ReceivedMessage[] = [];
  for (let at = 0; at < bytes.byteLength;) {
    const block = Block.parse(bytes.subarray(at));
    if (!block.ok) throw new TypeError(block.refusal.detail);
    for (let place = 0; place < block.value.count; place++) messages.push(readMessage(block.value, place));
    at += block.value.byteLength;
  }
  return messages;
}

function readMessage(block: Block, place: number): ReceivedMessage {
  const { offset, putAtMs, presentation, contentType, key, messageId, headers, ttlMs, redrivenFrom, body } = block.message(place);
  return { offset, putAtMs, contentType, key, messageId, headers, ttlMs, redrivenFrom, body: readBody(presentation, body) };
}

function readBody(presentation: Presentation, bytes: Uint8Array): MessageBody {
  // In memory of its own: a message that is kept would keep the whole frame.
  if (presentation === "bytes") return bytes.slice();
  const text = decodeUtf8(bytes);
  if (text === undefined) throw new TypeError("Expected UTF-8");
  return presentation === "text" ? text : { json: JSON.parse(text) as unknown };
}

function addLeases(messages: readonly ReceivedMessage[], { group, holder, again = [] }: LeasesJson): Leased[] {
  const others = new Map(again.map(([place, attempt, redelivered]) => [place, { attempt, redelivered }]));
  return messages.map((message, place) => {
    const { attempt, redelivered } = others.get(place) ?? { attempt: 1, redelivered: false };
    return { ...message, leaseId: `${group}-${message.offset}-${attempt}-${holder}`, attempt, redelivered };
  });
}
