// What a frame from a socket asks for. Reads frames; does nothing.
import type { Operation } from "../channel/operation.ts";
import { listSettleEntries } from "../channel/settle-entries.ts";
import { isLongerThan } from "../protocol/bytes.ts";
import { EITHER_WAY, type ProducerMark } from "../protocol/dedup.ts";
import { CLOSE_CODES, parseClientFrame, type ClientFrame, type FrameRefusal } from "../protocol/frames.ts";
import { PROTOCOL_VERSIONS } from "../protocol/version.ts";
import { invalidRequest } from "../protocol/fault.ts";
import { LIMITS } from "../protocol/limits.ts";
import { parsePutMessage, type PutMessage, type PutMessageJson } from "../protocol/message.ts";
import { parsePutFrame } from "../protocol/put-frame.ts";
import { parseRiders } from "../protocol/riders.ts";
import { parseDelay, type MessageDelay } from "../protocol/schedule.ts";
import { Utf8Arena } from "../protocol/utf8-arena.ts";
import { readCheckpointOperation } from "./checkpoint-requests.ts";
import { partsOfBlock, type PutParts } from "./put-parts.ts";
import { readStreamOperation } from "./stream-requests.ts";
import { assertNever } from "../base/assert.ts";
import { accept, refuse, type Result } from "../base/result.ts";

/** One for the module: frames are read synchronously, and their bodies live until the commit that stores them. */
const arena = new Utf8Arena();
const encode = (text: string): Uint8Array => arena.encode(text);

export type FrameAction =
  | { readonly type: "operate"; readonly operation: Operation; readonly request: number }
  | { readonly type: "greet"; readonly version: number; readonly joinsFrames: boolean; readonly pings: boolean }
  /** All that was sent before the frame with this number has been read. */
  | { readonly type: "hear"; readonly echo: number }
  | { readonly type: "refuse"; readonly refused: FrameRefusal }
  | { readonly type: "close"; readonly code: number; readonly reason: string; readonly refused: FrameRefusal };

/** The connection that sent a frame. */
export interface FrameSender {
  /** Whether its first frame, which names its versions, came already. */
  readonly hasGreeted: boolean;
  /** Where its puts come from, if that is known. */
  readonly source?: string;
  /** Whether it may put by binary frames. */
  readonly isBinary?: true;
  /** Whether it was opened for plain reading alone. */
  readonly readsPlainly?: true;
  /** Which relay it is of; absent for a client's. */
  readonly relay?: string;
}

const HELLO_FIRST = 'Expected {"type":"hello","versions":[1]} as the first frame';

export function readFrame(data: string | ArrayBuffer, sender: FrameSender): FrameAction {
  const { hasGreeted } = sender;
  const isTooLarge = typeof data === "string" ? isLongerThan(data, LIMITS.frameBytesMax) : data.byteLength > LIMITS.frameBytesMax;
  if (isTooLarge) {
    const refused: FrameRefusal = { refusal: { kind: "request-too-large", limit: LIMITS.frameBytesMax } };
    return {
      type: "close",
      code: CLOSE_CODES.frameTooLarge,
      reason: `A frame has at most ${LIMITS.frameBytesMax} bytes`,
      refused,
    };
  }
  if (typeof data !== "string") return readBinaryFrame(data, sender);
  const frame = parseClientFrame(data);
  if (!frame.ok) return refuseFrame(frame.refusal);
  if (frame.value.type === "hello") return readHello(frame.value);
  if (frame.value.type === "echo") return { type: "hear", echo: frame.value.echo };
  const { id } = frame.value;
  if (!hasGreeted) {
    return refuseFrame({ refusal: invalidRequest("/type", HELLO_FIRST), inReplyTo: id });
  }
  const operation = readOperation(frame.value, sender);
  if (!operation.ok) return refuseFrame({ refusal: operation.refusal.refusal, inReplyTo: id });
  if (sender.readsPlainly === true && !isPlainReading(operation.value))
    return refuseFrame({ refusal: { kind: "plain-reading-only", frameType: frame.value.type }, inReplyTo: id });
  return { type: "operate", operation: operation.value, request: id };
}

/** What a connection may ask for that was opened for plain reading: its channel may be somewhere else (SPEC RY4). */
function isPlainReading(operation: Operation): boolean {
  if (operation.type === "subscribe") return operation.target.type !== "member";
  return operation.type === "credit" || operation.type === "unsubscribe";
}

function refuseFrame(refused: FrameRefusal): FrameAction {
  return { type: "refuse", refused };
}

function readBinaryFrame(data: ArrayBuffer, { hasGreeted, source, isBinary, readsPlainly }: FrameSender): FrameAction {
  if (isBinary !== true) return refuseFrame({ refusal: invalidRequest("", "Expected a text frame: this subprotocol is JSON") });
  const frame = parsePutFrame(new Uint8Array(data));
  if (!frame.ok) return refuseFrame(frame.refusal);
  const { head, block } = frame.value;
  const { id } = head;
  if (!hasGreeted) return refuseFrame({ refusal: invalidRequest("/type", HELLO_FIRST), inReplyTo: id });
  if (readsPlainly === true) return refuseFrame({ refusal: { kind: "plain-reading-only", frameType: "put" }, inReplyTo: id });
  const operation = formPut(partsOfBlock(block), head, source);
  if (!operation.ok) return refuseFrame({ refusal: operation.refusal.refusal, inReplyTo: id });
  return { type: "operate", operation: operation.value, request: id };
}

function readHello({ versions, joined, pings }: Extract<ClientFrame, { type: "hello" }>): FrameAction {
  const common = versions.filter((version) => PROTOCOL_VERSIONS.includes(version));
  if (common.length > 0)
    return { type: "greet", version: Math.max(...common), joinsFrames: joined === true, pings: pings === true };
  const refused: FrameRefusal = { refusal: { kind: "unsupported-version", supported: PROTOCOL_VERSIONS } };
  return { type: "close", code: CLOSE_CODES.unsupportedVersion, reason: "No common protocol version", refused };
}

function readOperation(
  frame: Exclude<ClientFrame, { type: "hello" | "echo" }>,
  { source, relay }: FrameSender,
): Result<Operation, FrameRefusal> {
  switch (frame.type) {
    case "put":
      return readPut([frame], () => "", frame, source);
    case "put-batch":
      return readPut(frame.messages, (index) => `/messages/${index}`, frame, source);
    case "reserve": {
      const { messages, bytes, waitMs } = frame;
      return accept({ type: "reserve", messages, bytes, ...(waitMs !== undefined && { waitMs }) });
    }
    case "get": {
      const { max, min, waitMs, group } = frame;
      return accept({
        type: "get",
        ...(group !== undefined && { group }),
        ...(max !== undefined && { max }),
        ...(min !== undefined && { min }),
        ...(waitMs !== undefined && { waitMs }),
      });
    }
    case "pull": {
      const { max, min, waitMs, leaseMs = LIMITS.leaseMsDefault, detached, reader, group } = frame;
      return accept({
        type: "get",
        ...(group !== undefined && { group }),
        ...(max !== undefined && { max }),
        ...(min !== undefined && { min }),
        ...(waitMs !== undefined && { waitMs }),
        lease: { leaseMs, isDetached: detached === true, ...(reader !== undefined && { reader }) },
      });
    }
    case "settle": {
      const riders = parseRiders(frame, encode);
      if (!riders.ok) return refuse({ refusal: riders.refusal });
      return accept({
        type: "settle",
        entries: listSettleEntries(frame),
        ...riders.value,
        ...(source !== undefined && { source }),
      });
    }
    case "subscribe":
    case "credit":
    case "unsubscribe":
    case "watch":
    case "presence": {
      const operation = readStreamOperation(frame, relay !== undefined);
      return operation.ok ? operation : refuse({ refusal: operation.refusal });
    }
    case "read-checkpoint":
    case "write-checkpoint":
    case "delete-checkpoint":
    case "list-checkpoints": {
      const operation = readCheckpointOperation(frame);
      return operation.ok ? operation : refuse({ refusal: operation.refusal });
    }
    case "cancel":
      return accept({ type: "cancel", request: frame.id });
    case "stats":
      return accept({ type: "describe" });
    default:
      return assertNever(frame);
  }
}

interface PutMembers {
  readonly waitMs?: number | undefined;
  readonly promised?: true | undefined;
  readonly producer?: ProducerMark | undefined;
  readonly idempotencyKey?: string | undefined;
  readonly expectedOffset?: number | undefined;
}

function readPut(
  forms: readonly PutMessageJson[],
  pointerOf: (index: number) => string,
  members: PutMembers,
  source: string | undefined,
): Result<Operation, FrameRefusal> {
  // Told before what is wrong with a message.
  if (members.producer !== undefined && members.idempotencyKey !== undefined) return refuseBoth();
  const messages: PutMessage[] = [];
  const delays: MessageDelay[] = [];
  for (const [index, form] of forms.entries()) {
    const message = parsePutMessage(form, pointerOf(index), encode);
    if (!message.ok) return refuse({ refusal: message.refusal });
    messages.push(message.value);
    const delay = parseDelay(form, index, pointerOf(index));
    if (!delay.ok) return refuse({ refusal: delay.refusal });
    if (delay.value !== undefined) delays.push(delay.value);
  }
  return formPut({ messages, delays }, members, source);
}

function refuseBoth(): Result<never, FrameRefusal> {
  return refuse({ refusal: invalidRequest("/idempotencyKey", EITHER_WAY) });
}

function formPut(
  { messages, delays = [] }: PutParts,
  { waitMs, promised, producer, idempotencyKey, expectedOffset }: PutMembers,
  source: string | undefined,
): Result<Operation, FrameRefusal> {
  if (producer !== undefined && idempotencyKey !== undefined) return refuseBoth();
  return accept({
    type: "put",
    messages,
    ...(source !== undefined && { source }),
    ...(delays.length > 0 && { delays }),
    ...(waitMs !== undefined && { waitMs }),
    ...(promised === true && { isPromised: true }),
    ...(producer !== undefined && { producer }),
    ...(idempotencyKey !== undefined && { idempotencyKey }),
    ...(expectedOffset !== undefined && { expectedOffset }),
  });
}
