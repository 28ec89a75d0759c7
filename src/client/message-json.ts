// Messages between the program and JSON: a body goes as text, base64 or JSON and comes back in the form in which it was put.
import { decodeBase64, decodeUtf8, encodeBase64, encodeUtf8, utf8Length } from "../protocol/bytes.ts";
import type { PutMessageJson } from "../protocol/message.ts";
import { DEFAULT_CONTENT_TYPES, type Presentation } from "../protocol/presentation.ts";
import { EdgeChannelError } from "./edge-channel-error.ts";
import { formatJson, jsonTextOf, refusedValue } from "./json-text.ts";

/** Text, bytes, or a JSON value. */
export type MessageBody = string | Uint8Array | { readonly json: unknown };

/** A message to put. */
export interface PutInput {
  readonly body: MessageBody;
  /** Orders messages among each other. 1 to 256 bytes of UTF-8. Default: none. */
  readonly key?: string | undefined;
  /** Finds the message again, for removal. 1 to 256 bytes of UTF-8. Default: none. */
  readonly messageId?: string | undefined;
  /** Lower-case names, any text; at most 16 KiB together. Default: none. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Default: `text/plain; charset=utf-8`, `application/octet-stream` or `application/json`, by the kind of the body. */
  readonly contentType?: string | undefined;
  /** Enters the channel after so many milliseconds, at most 30 days. Default: at once. */
  readonly delayMs?: number | undefined;
  /** Enters the channel at this time, in milliseconds since 1970; at once if it is over. Not together with `delayMs`. Default: at once. */
  readonly deliverAtMs?: number | undefined;
  /**
   * How long it is worth handing out once it entered, in milliseconds, at most 10 years; what a reader was handed by then is its own, also what a
   * consumer holds ahead. Default: the channel's `messageTtlMs`.
   */
  readonly ttlMs?: number | undefined;
}

/** A message to put, or its body alone: what else it has goes beside a `body`, and not beside `json`. */
export type PutGiven =
  | string
  | Uint8Array
  | ({ readonly json: unknown } & { readonly [Name in keyof PutInput]?: never })
  | PutInput;

/** What is known of a message wherever it lies. */
export interface MessageFacts {
  /** When it was stored, in milliseconds since 1970. */
  readonly putAtMs: number;
  readonly contentType: string;
  readonly key?: string | undefined;
  readonly messageId?: string | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** How long it is worth handing out, in milliseconds, if it says so itself. */
  readonly ttlMs?: number | undefined;
  readonly body: MessageBody;
}

/** A message as a reader gets it. */
export interface ReceivedMessage extends MessageFacts {
  /** Its place in the channel. The first message of a channel has 1; later ones have higher offsets, with gaps. */
  readonly offset: number;
  /** The offset that it had before it was put again from the dead letters. */
  readonly redrivenFrom?: number | undefined;
}

/** A message as JSON shows it. */
export type MessageJson<Shown extends MessageFacts> = Omit<Shown, "body"> & {
  readonly json?: unknown;
  readonly text?: string;
  readonly base64?: string;
};

/** A refusal says of which message it is. */
export function formatPuts(given: readonly PutGiven[]): PutMessageJson[] {
  if (!Array.isArray(given)) throw EdgeChannelError.refused("Cannot put a batch: expected an array");
  return given.map((message, index) => formatPutMessage(message, given.length > 1 ? index : -1));
}

/** `index`: its place in a batch, -1 without one. */
export function formatPutMessage(given: PutGiven, index = -1): PutMessageJson {
  const { body, ...rest } = toPutInput(given);
  return { ...rest, ...formatBody(body, index) };
}

/** What is no message is taken for the body of one, and refused as that. */
export function toPutInput(given: PutGiven): PutInput {
  const input = given as Partial<PutInput> | undefined;
  return input?.body === undefined ? { body: given as MessageBody } : (given as PutInput);
}

/** The one of the members `text`, `base64` and `json` that holds the body. Refuses what is no body, whatever its type says. */
export function formatBody(body: MessageBody, index = -1): Pick<PutMessageJson, "text" | "base64" | "json"> {
  if (typeof body === "string") return { text: body };
  if (body instanceof Uint8Array) return { base64: encodeBase64(body) };
  const given = Object(body) as { readonly json: { readonly toJSON?: unknown } | null | undefined };
  const { json } = given;
  // JSON would leave it out, and the message without a body. Other objects have a text, or are refused when that is made.
  const isSayable = (typeof json === "object" && json?.toJSON === undefined) || jsonTextOf(json) !== undefined;
  if (!isSayable || Object.keys(given).length > 1) {
    const found = Object.prototype.toString.call(json ?? body);
    throw refusedValue(
      `as a body: expected a string, a Uint8Array, or { json } alone with what JSON can say, not ${found}`,
      index,
    );
  }
  return { json };
}

/** The shape is the server's promise; only what could turn into a wrong body is checked. What came in a block is read already. */
export function parseMessage<Shown extends MessageFacts>(form: MessageJson<Shown> | Shown): Shown {
  if ("body" in form) return form;
  const { json, text, base64, ...rest } = form;
  return { ...rest, body: parseBody(json, text, base64) } as unknown as Shown;
}

function parseBody(json: unknown, text: string | undefined, base64: string | undefined): MessageBody {
  if (text !== undefined) return text;
  if (json !== undefined) return { json };
  const bytes = base64 === undefined ? undefined : decodeBase64(base64);
  if (bytes !== undefined) return bytes;
  throw EdgeChannelError.violation("Cannot read a message: it has no body");
}

/** How many bytes a put counts against `maxBytes` (SPEC PT6). What is no text is refused by the server. */
export function putBytes(given: PutGiven): number {
  const { body, contentType, key, messageId, headers } = toPutInput(given);
  const own = measureBody(body);
  let count = own.byteLength + textBytes(key) + textBytes(messageId);
  if (contentType !== own.contentType) count += textBytes(contentType);
  for (const [name, value] of Object.entries(headers ?? {})) count += textBytes(name) + textBytes(value);
  return count;
}

function measureBody(body: MessageBody): { readonly byteLength: number; readonly contentType: string } {
  // Not encoded for that: it costs more than all else that is done with a put here (measured).
  if (typeof body === "string") return { byteLength: utf8Length(body), contentType: DEFAULT_CONTENT_TYPES.text };
  const { bytes, contentType } = encodeBody(body);
  return { byteLength: bytes.byteLength, contentType };
}

function textBytes(value: unknown): number {
  return typeof value === "string" ? utf8Length(value) : 0;
}

/** A body as bytes, with the content type that it has unless another is given. */
export function encodeBody(body: MessageBody): { readonly bytes: Uint8Array; readonly contentType: string } {
  if (typeof body === "string") return { bytes: encodeUtf8(body), contentType: DEFAULT_CONTENT_TYPES.text };
  if (body instanceof Uint8Array) return { bytes: body, contentType: DEFAULT_CONTENT_TYPES.bytes };
  const { json } = formatBody(body);
  return { bytes: encodeUtf8(formatJson(json)), contentType: DEFAULT_CONTENT_TYPES.json };
}

/** Bytes as their content type says: JSON as a value, `text/…` as text, all else, and what is not what it says, as bytes. */
export function decodeBody(contentType: string, bytes: Uint8Array): MessageBody {
  const presentation = presentationOf(contentType);
  const text = presentation === "bytes" ? undefined : decodeUtf8(bytes);
  if (text === undefined) return bytes;
  if (presentation === "text") return text;
  try {
    return { json: JSON.parse(text) as unknown };
  } catch {
    return bytes;
  }
}

function presentationOf(contentType: string): Presentation {
  const mediaType = contentType.split(";", 1)[0]?.trim().toLowerCase() ?? "";
  if (mediaType === "application/json" || mediaType.endsWith("+json")) return "json";
  return mediaType.startsWith("text/") ? "text" : "bytes";
}
