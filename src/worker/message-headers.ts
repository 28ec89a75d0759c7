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
import type { MessageDelay } from "../protocol/schedule.ts";
import { FRAME_MEDIA_TYPE } from "../protocol/version.ts";
import { delayMsTextSchema, deliverAtMsTextSchema, ttlMsTextSchema } from "../protocol/routes.ts";
import { RefusalError } from "./refusal-error.ts";
import { bytesOf, orThrow, type AppContext } from "./request-parts.ts";

const OWN_PREFIX = "channel-";
const HEADER_PREFIX = "channel-header-";

/** What a put takes besides `Channel-Header-…`. */
const PUT_HEADERS: readonly string[] = [
  "Channel-Key",
  "Channel-Message-Id",
  "Channel-Delay-Ms",
  "Channel-Deliver-At-Ms",
  "Channel-Ttl-Ms",
];
const PUT_HEADER_NAMES = new Set(PUT_HEADERS.map((name) => name.toLowerCase()));
const DELAY_HEADERS: readonly {
  readonly name: string;
  readonly read: (text: string, pointer: string) => MessageDelay["delay"];
}[] = [
  {
    name: "Channel-Delay-Ms",
    read: (text, pointer) => ({ afterMs: orThrow(parseWith(delayMsTextSchema, text, pointer)) }),
  },
  {
    name: "Channel-Deliver-At-Ms",
    read: (text, pointer) => ({ atMs: orThrow(parseWith(deliverAtMsTextSchema, text, pointer)) }),
  },
];

/** Reads the message that a request is. */
export async function parseMessageRequest(context: AppContext): Promise<PutMessage> {
  const { headers } = context.req.raw;
  refuseUnknownHeaders(headers);
  const contentType = orThrow(
    parseWith(contentTypeSchema, headers.get("Content-Type") ?? "application/octet-stream", "/header/Content-Type"),
  );
  const key = decodeHeader(headers, "Channel-Key");
  const messageId = decodeHeader(headers, "Channel-Message-Id");
  const names = [...headers.keys()].filter((name) => name.startsWith(HEADER_PREFIX));
  const userHeaders = Object.fromEntries(
    names.map((name) => [name.slice(HEADER_PREFIX.length), decodeHeader(headers, name) ?? ""]),
  );
  const ttl = headers.get("Channel-Ttl-Ms");
  const body = await bytesOf(context, LIMITS.messageBytesMax);
  return {
    body,
    presentation: presentationOf(contentType, body),
    contentType,
    ...(ttl !== null && { ttlMs: orThrow(parseWith(ttlMsTextSchema, ttl, "/header/Channel-Ttl-Ms")) }),
    ...(key !== undefined && { key: orThrow(parseWith(keySchema, key, "/header/Channel-Key")) }),
    ...(messageId !== undefined && { messageId: orThrow(parseWith(messageIdSchema, messageId, "/header/Channel-Message-Id")) }),
    ...(Object.keys(userHeaders).length > 0 && { headers: orThrow(parseHeaders(userHeaders)) }),
  };
}

/** A misspelt name is not ignored in silence. */
function refuseUnknownHeaders(headers: Headers): void {
  for (const name of headers.keys()) {
    if (!name.startsWith(OWN_PREFIX) || name.startsWith(HEADER_PREFIX) || PUT_HEADER_NAMES.has(name)) continue;
    const known = [...PUT_HEADERS, "Channel-Header-{name}"].join(", ");
    throw new RefusalError(invalidRequest(`/header/${name}`, `Unknown header: a put takes ${known}`));
  }
}

/** What is said of a message there would be passed over: in a batch each says it by itself. */
export function refuseMessageHeaders({ raw }: AppContext["req"]): void {
  for (const name of raw.headers.keys()) {
    if (!name.startsWith(OWN_PREFIX)) continue;
    throw new RefusalError(
      invalidRequest(`/header/${name}`, "A batch takes no such header: each of its messages says it by itself"),
    );
  }
}

/** Reads whether the message that a request is enters later. */
export function parseDelayHeaders(context: AppContext): MessageDelay | undefined {
  const { headers } = context.req.raw;
  const given = DELAY_HEADERS.filter(({ name }) => headers.has(name));
  const [first, second] = given;
  if (second !== undefined) {
    throw new RefusalError(invalidRequest(`/header/${second.name}`, "Expected either a delay or a time to deliver at"));
  }
  if (first === undefined) return undefined;
  const pointer = `/header/${first.name}`;
  return { index: 0, pointer, delay: first.read(headers.get(first.name) ?? "", pointer) };
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
  if (message.ttlMs !== undefined) headers.set("Channel-Ttl-Ms", String(message.ttlMs));
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

/** A reply in JSON, with the state beside it. */
export function replyJson(text: string, state: PressureState, status = 200): Response {
  return new Response(text, { status, headers: { "Content-Type": "application/json", ...formatStateHeaders(state) } });
}

/** A reply in a binary frame, which has the state too. */
export function replyFrame(frame: Uint8Array, state: PressureState): Response {
  return new Response(frame, { headers: { "Content-Type": FRAME_MEDIA_TYPE, ...formatStateHeaders(state) } });
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
