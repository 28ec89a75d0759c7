// The binary frame that puts: the members of a `put-batch` frame as its head, and one block in place of their messages.
import * as v from "valibot";
import { accept, refuse, type Result } from "../base/result.ts";
import { BINARY_FRAME_TYPES, splitBinaryFrame } from "./binary-frame.ts";
import { Block } from "./block.ts";
import { invalidRequest, parseJson, parseWith } from "./fault.ts";
import { CLIENT_FRAME_SCHEMAS, type FrameRefusal } from "./frames.ts";
import { LIMITS } from "./limits.ts";
import type { Refusal } from "./problems.ts";
import { refusePutBlock } from "./put-block.ts";

const headSchema = v.strictObject(v.omit(CLIENT_FRAME_SCHEMAS["put-batch"], ["type", "messages"]).entries);
/** Over HTTP address and headers say all that a head would. */
const noHeadSchema = v.strictObject({});

interface Parsed<Head> {
  readonly head: Head;
  readonly block: Block;
}

export type PutFrame = Parsed<v.InferOutput<typeof headSchema>>;

/** Reads a frame from a client. Refuses whatever a `put-batch` frame with these members and messages is refused for, and what is no such frame. */
export function parsePutFrame(bytes: Uint8Array): Result<PutFrame, FrameRefusal> {
  return parseFrame(bytes, headSchema);
}

/** Reads the body of a batch over HTTP: such a frame, whose head has no members. */
export function parsePutBody(bytes: Uint8Array): Result<Block, Refusal> {
  const parsed = parseFrame(bytes, noHeadSchema);
  return parsed.ok ? accept(parsed.value.block) : refuse(parsed.refusal.refusal);
}

function parseFrame<HeadSchema extends v.GenericSchema>(
  bytes: Uint8Array,
  schema: HeadSchema,
): Result<Parsed<v.InferOutput<HeadSchema>>, FrameRefusal> {
  const frame = splitBinaryFrame(bytes);
  if (!frame.ok) return refuse({ refusal: invalidRequest("", frame.refusal) });
  const { type, head: text, blocks } = frame.value;
  if (type !== BINARY_FRAME_TYPES.put) {
    return refuse({ refusal: { kind: "unknown-frame", frameType: String(type), frameTypes: [String(BINARY_FRAME_TYPES.put)] } });
  }
  if (text.length > LIMITS.controlBodyBytesMax)
    return refuse({ refusal: invalidRequest("", `Expected a head of at most ${LIMITS.controlBodyBytesMax} characters`) });
  const json = parseJson(text);
  if (!json.ok) return refuse({ refusal: json.refusal });
  if (Array.isArray(json.value)) return refuse({ refusal: invalidRequest("", "Expected a JSON object") });
  const id = idOf(json.value);
  const head = parseWith(schema, json.value);
  if (!head.ok) return refuse({ refusal: head.refusal, ...id });
  const block = Block.parse(blocks, LIMITS.batchMessagesMax);
  if (!block.ok) {
    const { place, detail } = block.refusal;
    return refuse({ refusal: invalidRequest(place === undefined ? "/messages" : `/messages/${place}`, detail), ...id });
  }
  if (block.value.byteLength < blocks.byteLength)
    return refuse({ refusal: invalidRequest("/messages", "Expected a frame that ends with its block"), ...id });
  const refusal = refusePutBlock(block.value);
  return refusal === undefined ? accept({ head: head.value, block: block.value }) : refuse({ refusal, ...id });
}

function idOf(head: unknown): { readonly inReplyTo?: number } {
  const id = typeof head === "object" && head !== null && "id" in head ? head.id : undefined;
  return Number.isSafeInteger(id) && Number(id) >= 0 ? { inReplyTo: Number(id) } : {};
}
