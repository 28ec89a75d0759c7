// A message as an HTTP body with headers. Text in `Channel-…` headers is percent-encoded UTF-8; visible ASCII other than % stands as it is.
import { encodeUtf8 } from "../protocol/bytes.ts";
import type { PressureState } from "../protocol/description.ts";
import { invalidRequest, parseWith } from "../protocol/fault.ts";
import { LIMITS } from "../protocol/limits.ts";
import {
  contentTypeSchema,
  headersSchema,
  keySchema,
  messageIdSchema,
  presentationOf,
  type Message,
  type PutMessage,
} from "../protocol/message.ts";
import { RefusalError } from "./refusal-error.ts";
import { bytesOf, orThrow, type AppContext } from "./request-parts.ts";

const HEADER_PREFIX = "channel-header-";

/** Reads the message that a request is. */
export async function parseMessageRequest(context: AppContext): Promise<PutMessage> {
  const { headers } = context.req.raw;
  const contentType = orThrow(
    parseWith(contentTypeSchema, headers.get("Content-Type") ?? "application/octet-stream", "/header/Content-Type"),
  );
  const key = decodeHeader(headers, "Channel-Key");
  const messageId = decodeHeader(headers, "Channel-Message-Id");
  const names = [...headers.keys()].filter((name) => name.startsWith(HEADER_PREFIX));
  const userHeaders = Object.fromEntries(
    names.map((name) => [name.slice(HEADER_PREFIX.length), decodeHeader(headers, name) ?? ""]),
  );
  const body = await bytesOf(context, LIMITS.messageBytesMax);
  return {
    body,
    presentation: presentationOf(contentType, body),
    contentType,
    ...(key !== undefined && { key: orThrow(parseWith(keySchema, key, "/header/Channel-Key")) }),
    ...(messageId !== undefined && { messageId: orThrow(parseWith(messageIdSchema, messageId, "/header/Channel-Message-Id")) }),
    ...(Object.keys(userHeaders).length > 0 && { headers: orThrow(parseHeaders(userHeaders)) }),
  };
}

function parseHeaders(userHeaders: Record<string, string>): ReturnType<typeof parseWith<typeof headersSchema>> {
  const parsed = parseWith(headersSchema, userHeaders);
  if (parsed.ok) return parsed;
  const errors = parsed.refusal.errors.map(({ pointer, detail }) => ({
    pointer: pointer === "" ? "/header" : `/header/${HEADER_PREFIX}${pointer.slice(1)}`,
    detail,
  }));
  return { ok: false, refusal: { kind: "invalid-request", errors } };
}

/** For replies whose body is somebody's bytes on our origin: a browser must not run them. */
export const INERT_HEADERS = {
  "X-Content-Type-Options": "nosniff",
  "Content-Security-Policy": "default-src 'none'; sandbox",
} as const;

/** The reply whose body is the message. */
export function formatMessageReply(message: Message, state: PressureState): Response {
  const headers = new Headers({
    "Content-Type": message.contentType,
    ...INERT_HEADERS,
    "Channel-Offset": String(message.offset),
    "Channel-Put-At-Ms": String(message.putAtMs),
    ...formatStateHeaders(state),
  });
  if (message.key !== undefined) headers.set("Channel-Key", encodeHeader(message.key));
  if (message.redrivenFrom !== undefined) headers.set("Channel-Redriven-From", String(message.redrivenFrom));
  if (message.messageId !== undefined) headers.set("Channel-Message-Id", encodeHeader(message.messageId));
  for (const [name, value] of Object.entries(message.headers ?? {})) headers.set(HEADER_PREFIX + name, encodeHeader(value));
  return new Response(message.body, { headers });
}

/** Back-pressure on every put and get reply. */
export function formatStateHeaders(state: PressureState): Record<string, string> {
  return {
    "Channel-Depth": String(state.depth),
    "Channel-Bytes": String(state.bytes),
    "Channel-Utilization": String(state.utilization),
    "Channel-Waiters": String(state.waiters),
  };
}

/** A JSON reply with the state in its headers. */
export function replyJson(text: string, state: PressureState): Response {
  return new Response(text, { headers: { "Content-Type": "application/json", ...formatStateHeaders(state) } });
}

function decodeHeader(headers: Headers, name: string): string | undefined {
  const value = headers.get(name);
  if (value === null) return undefined;
  try {
    if (/^[\x20-\x7e]*$/.test(value)) return decodeURIComponent(value);
  } catch {
    // Falls through to the refusal: a percent sign that begins no escape.
  }
  throw new RefusalError(invalidRequest(`/header/${name}`, "Expected visible ASCII with percent-encoded UTF-8"));
}

function encodeHeader(text: string): string {
  // Leading and trailing spaces would be cut off on the way.
  return text.replaceAll(/[^\x21-\x7e]|%/gu, (character) => percentEncode(character));
}

function percentEncode(character: string): string {
  return Array.from(encodeUtf8(character), (byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`).join("");
}
