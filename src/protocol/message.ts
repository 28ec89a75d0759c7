// A message on the wire: bytes with a content type, a key, an id and headers; and its JSON form.
import * as v from "valibot";
import { accept, refuse, type Result } from "../base/result.ts";
import { decodeBase64, encodeBase64, decodeUtf8, encodeUtf8, utf8Length } from "./bytes.ts";
import { invalidRequest, parseJson, type InvalidRequest } from "./fault.ts";
import { LIMITS } from "./limits.ts";
import { DEFAULT_CONTENT_TYPES, type Presentation } from "./presentation.ts";
import { delayMsSchema, deliverAtMsSchema, ttlMsSchema } from "./schedule.ts";
import { withShortcut } from "./shortcut.ts";

export { DEFAULT_CONTENT_TYPES, type Presentation } from "./presentation.ts";

/** What a producer gives. `body` is opaque to the channel. */
export interface PutMessage {
  readonly body: Uint8Array;
  readonly presentation: Presentation;
  readonly contentType: string;
  readonly key?: string | undefined;
  readonly messageId?: string | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** How long after it was put the message is worth handing out; the channel's time to live where it says nothing. */
  readonly ttlMs?: number | undefined;
  /** The offset that a dead letter had before it was put again. */
  readonly redrivenFrom?: number | undefined;
  /** Where it was put from (source.ts): counts no bytes, and is shown in the message's history alone. */
  readonly source?: string | undefined;
}

/** What belongs to a message wherever it lies: all but its place and its time. */
export function contentOf(message: PutMessage): PutMessage {
  const { body, presentation, contentType, key, messageId, headers, ttlMs, redrivenFrom, source } = message;
  return { body, presentation, contentType, key, messageId, headers, ttlMs, redrivenFrom, source };
}

/** What a reader gets. */
export interface Message extends PutMessage {
  readonly offset: number;
  readonly putAtMs: number;
}

/** A message that has no offset yet: it enters its channel at `deliverAtMs`. */
export interface ScheduledMessage extends PutMessage {
  readonly scheduledId: string;
  readonly deliverAtMs: number;
  readonly putAtMs: number;
}

/** An in-band record of the channel itself, with an offset of its own. */
export interface ControlRecord {
  readonly offset: number;
  readonly putAtMs: number;
  readonly control: ControlEvent;
}

export type ControlEvent =
  | { readonly type: "resize"; readonly maxMessages: number; readonly maxBytes: number }
  | { readonly type: "close" };

const wellFormed = v.check<string, string>(
  (text) => text.isWellFormed(),
  "Expected well-formed Unicode, without lone surrogates",
);

export const keySchema = v.pipe(
  v.string(),
  v.nonEmpty("A key has at least one character"),
  v.maxBytes(LIMITS.keyBytesMax, `A key has at most ${LIMITS.keyBytesMax} bytes`),
  wellFormed,
);

export const messageIdSchema = v.pipe(
  v.string(),
  v.nonEmpty("A message id has at least one character"),
  v.maxBytes(LIMITS.messageIdBytesMax, `A message id has at most ${LIMITS.messageIdBytesMax} bytes`),
  v.check((id) => id !== "." && id !== "..", "A message id cannot be . or .., which no address can name"),
  wellFormed,
);

export const contentTypeSchema = v.pipe(
  v.string(),
  v.maxLength(LIMITS.contentTypeBytesMax, `A content type has at most ${LIMITS.contentTypeBytesMax} characters`),
  v.regex(/^[\w!#$&^.+-]+\/[\w!#$&^.+-]+(?:[ \t]*;[\x20-\x7e]*)?$/, 'Expected a content type such as "text/plain"'),
);

const headerRecordSchema = v.record(
  v.pipe(
    v.string(),
    v.regex(/^[a-z0-9!#$&'*+.^_|~-]{1,64}$/, "A header name has 1 to 64 lower-case letters, digits or !#$&'*+.^_|~-"),
  ),
  v.pipe(v.string(), wellFormed),
);

const TOO_MANY_HEADER_BYTES = `Headers have at most ${LIMITS.headersBytesMax} bytes together`;

export const headersSchema = v.pipe(
  // valibot takes a list for an object, and leaves out in silence the names that a prototype has.
  v.unknown(),
  v.check((input) => !Array.isArray(input), "Expected an object"),
  // Counted before any name is looked at: a header has a byte at least, and looking at a million of them takes seconds.
  v.check(hasFewNames, TOO_MANY_HEADER_BYTES),
  v.check(hasNoReservedNames, "A header cannot be named constructor, prototype or __proto__"),
  headerRecordSchema,
  v.check((headers) => headersBytes(headers) <= LIMITS.headersBytesMax, TOO_MANY_HEADER_BYTES),
);

/** The JSON form of a message that is put: exactly one of `json`, `text` and `base64` holds the body. */
export const putMessageSchema = withShortcut(
  v.strictObject({
    key: v.optional(keySchema),
    messageId: v.optional(messageIdSchema),
    contentType: v.optional(contentTypeSchema),
    headers: v.optional(headersSchema),
    json: v.optional(v.unknown()),
    text: v.optional(v.pipe(v.string(), wellFormed)),
    base64: v.optional(v.string()),
    delayMs: v.optional(delayMsSchema),
    deliverAtMs: v.optional(deliverAtMsSchema),
    ttlMs: v.optional(ttlMsSchema),
  }),
  (message) => hasPlainBody(message, 1),
);

/** Whether it is an object of so many members of which one is a text or a JSON value, and is one that may be put. */
export function hasPlainBody(form: unknown, members: number): form is object {
  if (typeof form !== "object" || form === null || Object.keys(form).length !== members) return false;
  return "text" in form ? typeof form.text === "string" && form.text.isWellFormed() : Object.hasOwn(form, "json");
}

export type PutMessageJson = v.InferOutput<typeof putMessageSchema>;

function hasFewNames(input: unknown): boolean {
  if (typeof input !== "object" || input === null) return true;
  let count = 0;
  for (const name in input) {
    if (Object.hasOwn(input, name)) count++;
    if (count > LIMITS.headersBytesMax) return false;
  }
  return true;
}

function hasNoReservedNames(input: unknown): boolean {
  if (typeof input !== "object" || input === null) return true;
  return !["constructor", "prototype", "__proto__"].some((name) => Object.hasOwn(input, name));
}

function headersBytes(headers: Readonly<Record<string, string>>): number {
  let bytes = 0;
  for (const [name, value] of Object.entries(headers)) bytes += name.length + utf8Length(value);
  return bytes;
}

/** Takes the message out of its JSON form, which `parseJson` parsed: its nesting is bounded. `base` is the pointer of that form, for the refusal; `encode` gives text its bytes. */
export function parsePutMessage(
  form: PutMessageJson,
  base: string,
  encode: (text: string) => Uint8Array = encodeUtf8,
): Result<PutMessage, InvalidRequest> {
  const body = parseBody(form, base, encode);
  if (!body.ok) return body;
  const { bytes, presentation } = body.value;
  const { key, messageId, headers } = form;
  const hasHeaders = headers !== undefined && Object.keys(headers).length > 0;
  // Every member is written, absent ones too: messages of one shape keep the code that handles them fast.
  return accept({
    body: bytes,
    presentation,
    contentType: form.contentType ?? DEFAULT_CONTENT_TYPES[presentation],
    key,
    messageId,
    headers: hasHeaders ? headers : undefined,
    ttlMs: form.ttlMs,
  });
}

function parseBody(
  form: PutMessageJson,
  base: string,
  encode: (text: string) => Uint8Array,
): Result<{ bytes: Uint8Array; presentation: Presentation }, InvalidRequest> {
  const members = Number("json" in form) + Number(form.text !== undefined) + Number(form.base64 !== undefined);
  if (members !== 1) return refuse(invalidRequest(base, `Expected exactly one of json, text and base64 but found ${members}`));
  if (form.text !== undefined) return accept({ bytes: encode(form.text), presentation: "text" });
  if (form.base64 !== undefined) {
    const bytes = decodeBase64(form.base64);
    if (bytes === undefined) return refuse(invalidRequest(`${base}/base64`, "Expected padded base64 (RFC 4648)"));
    return accept({ bytes, presentation: "bytes" });
  }
  return accept({ bytes: encode(JSON.stringify(form.json)), presentation: "json" });
}

/** Chooses the presentation of a body that came as bytes with a content type: what JSON can show as it is, else base64. */
export function presentationOf(contentType: string, body: Uint8Array): Presentation {
  const mediaType = contentType.split(";", 1)[0]?.trim().toLowerCase() ?? "";
  const isJson = mediaType === "application/json" || mediaType.endsWith("+json");
  if (!isJson && !mediaType.startsWith("text/")) return "bytes";
  const text = decodeUtf8(body);
  if (text === undefined) return "bytes";
  // What is shown as JSON can be put as JSON: the same bounds hold.
  if (isJson && parseJson(text).ok) return "json";
  // Control characters grow sixfold when JSON escapes them: base64 bounds the growth.
  return hasControlCharacters(text) ? "bytes" : "text";
}

function hasControlCharacters(text: string): boolean {
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  return /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/.test(text);
}

/** Builds the JSON text of a message, with the text of `more` members. A body that is JSON already is spliced in, not parsed again. */
export function formatMessage(message: Message, more?: string): string {
  return `{"offset":${message.offset},${formatMembers(message, more)}}`;
}

/** The same for a message that has not entered yet. */
export function formatScheduled(message: ScheduledMessage): string {
  const { scheduledId, deliverAtMs } = message;
  return `{"scheduledId":"${scheduledId}","deliverAtMs":${deliverAtMs},${formatMembers(message)}}`;
}

function formatMembers(message: Message | ScheduledMessage, more?: string): string {
  let text = `"putAtMs":${message.putAtMs},"contentType":${JSON.stringify(message.contentType)}`;
  if (message.key !== undefined) text += `,"key":${JSON.stringify(message.key)}`;
  if (message.messageId !== undefined) text += `,"messageId":${JSON.stringify(message.messageId)}`;
  if (message.headers !== undefined) text += `,"headers":${JSON.stringify(message.headers)}`;
  if (message.ttlMs !== undefined) text += `,"ttlMs":${message.ttlMs}`;
  if (message.redrivenFrom !== undefined) text += `,"redrivenFrom":${message.redrivenFrom}`;
  if (more !== undefined) text += `,${more}`;
  return `${text},${formatBody(message)}`;
}

/** The JSON member that shows a body. */
export function formatBody(message: Pick<PutMessage, "body" | "presentation">): string {
  if (message.presentation === "bytes") return `"base64":"${encodeBase64(message.body)}"`;
  const text = decodeUtf8(message.body);
  if (text === undefined) return `"base64":"${encodeBase64(message.body)}"`;
  return message.presentation === "json" ? `"json":${text}` : `"text":${JSON.stringify(text)}`;
}

/** The size of a message against `maxBytes`, in bytes: its body, key, id, headers, and a content type that is not the default. */
export function messageBytes(message: PutMessage): number {
  let bytes = message.body.byteLength;
  if (message.contentType !== DEFAULT_CONTENT_TYPES[message.presentation]) bytes += utf8Length(message.contentType);
  if (message.key !== undefined) bytes += utf8Length(message.key);
  if (message.messageId !== undefined) bytes += utf8Length(message.messageId);
  if (message.headers !== undefined) bytes += headersBytes(message.headers);
  return bytes;
}
