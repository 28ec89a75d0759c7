// Whether a block that came from outside is one that this service writes: its bytes are those that its records are encoded to, and the
// records are messages that a put could have brought, or control records.
import * as v from "valibot";
import { Block } from "./block.ts";
import { encodeStoredBlock, type BlockRecord } from "./block-writer.ts";
import { decodeUtf8 } from "./bytes.ts";
import { parseJson, parseWith } from "./fault.ts";
import { LIMITS } from "./limits.ts";
import { contentTypeSchema, headersSchema, keySchema, messageIdSchema, type PutMessage } from "./message.ts";
import { OFFSET_MAX } from "./names.ts";
import { ttlMsSchema } from "./schedule.ts";
import { wholeNumber } from "./settings.ts";

const anyCount = wholeNumber(0, Number.MAX_SAFE_INTEGER);

const metadataSchema = v.object({
  offset: wholeNumber(1, OFFSET_MAX),
  putAtMs: anyCount,
  contentType: contentTypeSchema,
  key: v.optional(keySchema),
  messageId: v.optional(messageIdSchema),
  headers: v.optional(headersSchema),
  ttlMs: v.optional(ttlMsSchema),
  redrivenFrom: v.optional(wholeNumber(1, OFFSET_MAX)),
});

const controlSchema = v.union([
  v.strictObject({ type: v.literal("resize"), maxMessages: anyCount, maxBytes: anyCount }),
  v.strictObject({ type: v.literal("close") }),
]);

/** The block, or undefined where the bytes are none that this service writes. Reads all of it. */
export function readForeignBlock(bytes: Uint8Array): Block | undefined {
  try {
    const block = Block.ofStored(bytes);
    const records: BlockRecord[] = [];
    const offsets: number[] = [];
    for (let place = 0; place < block.count; place++) {
      const message = block.message(place);
      const isControl = block.isControl(place);
      if (!(isControl ? isEvent(message.body) : isShowable(message))) return undefined;
      if (!parseWith(metadataSchema, message).ok) return undefined;
      records.push({ ...message, isControl });
      offsets.push(message.offset);
    }
    if (records.length === 0) return undefined;
    return isSame(bytes, encodeStoredBlock(records, block.firstOffset, offsets)) ? block : undefined;
  } catch {
    // Lengths that lead out of the block, or texts that are none.
    return undefined;
  }
}

function isShowable({ presentation, body }: PutMessage): boolean {
  if (body.byteLength > LIMITS.messageBytesMax) return false;
  if (presentation === "bytes") return true;
  const text = decodeUtf8(body);
  if (text === undefined) return false;
  return presentation === "text" || parseJson(text).ok;
}

function isEvent(body: Uint8Array): boolean {
  const json = parseJson(decodeUtf8(body) ?? "");
  return json.ok && parseWith(controlSchema, json.value).ok;
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return a.byteLength === b.byteLength && a.every((byte, place) => byte === b[place]);
}
