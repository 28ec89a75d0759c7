// Takes requests apart: address, query, JSON body. A part that is not valid is refused with a pointer to it.
import type { Context } from "hono";
import { accepts } from "hono/accepts";
import type * as v from "valibot";
import type { Result } from "../base/result.ts";
import type { Env } from "../object/env.ts";
import { decodeUtf8 } from "../protocol/bytes.ts";
import { invalidRequest, parseJsonObject, parseWith } from "../protocol/fault.ts";
import type { Refusal } from "../protocol/problems.ts";
import type { Place } from "../protocol/place.ts";
import { formatSource } from "../protocol/source.ts";
import { findMethods, pathSchemas } from "../protocol/routes.ts";
import { FRAME_MEDIA_TYPE } from "../protocol/version.ts";
import { findPlace } from "./place.ts";
import { RefusalError } from "./refusal-error.ts";

export type AppContext = Context<{ Bindings: Env }>;

export function channelOf(context: AppContext): string {
  return orThrow(parseWith(pathSchemas.channel, context.req.param("channel"), "/path/channel"));
}

export function offsetOf(context: AppContext): number {
  const { path, method } = context.req;
  // Where a route is called what should be an offset, the address takes other methods.
  const allow = findMethods(path);
  if (!allow.includes(method)) throw new RefusalError({ kind: "method-not-allowed", allow });
  return orThrow(parseWith(pathSchemas.offset, context.req.param("offset"), "/path/offset"));
}

/** Decoded here and strictly: Hono takes an escape that is none for itself, and another message might have that id. */
export function messageIdOf(context: AppContext): string {
  const path = context.req.url.split(/[?#]/, 1)[0] ?? "";
  const segment = path.slice(path.lastIndexOf("/") + 1);
  return orThrow(parseWith(pathSchemas.messageId, decodeSegment(segment, "/path/messageId"), "/path/messageId"));
}

function decodeSegment(segment: string, pointer: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    throw new RefusalError(invalidRequest(pointer, "Expected percent-encoded UTF-8"));
  }
}

/** Where a request was made; undefined where that is not known. */
export function placeOf(context: AppContext): Place | undefined {
  return findPlace(context.req.raw, context.env);
}

/** Where a request comes from, for the history of what it puts. */
export function sourceOf(context: AppContext): string {
  return formatSource("http", placeOf(context));
}

export function checkpointOf(context: AppContext): string {
  return orThrow(parseWith(pathSchemas.checkpoint, context.req.param("checkpoint"), "/path/checkpoint"));
}

export function scheduledIdOf(context: AppContext): string {
  return orThrow(parseWith(pathSchemas.scheduledId, context.req.param("scheduledId"), "/path/scheduledId"));
}

export function queryOf<Schema extends v.GenericSchema>(context: AppContext, schema: Schema): v.InferOutput<Schema> {
  const start = context.req.url.indexOf("?");
  const parameters = start === -1 ? [] : [...new URLSearchParams(context.req.url.slice(start))];
  const names = new Set<string>();
  for (const [name] of parameters) {
    if (names.has(name)) throw new RefusalError(invalidRequest(`/query/${name}`, "Expected the parameter once"));
    names.add(name);
  }
  // From entries, and not by assignment: a parameter may be called __proto__.
  const query = Object.fromEntries(parameters);
  return orThrow(parseWith(schema, query, "/query"));
}

/** Whether the body is a binary frame. */
export function isFrame(context: AppContext): boolean {
  return mediaTypeOf(context) === FRAME_MEDIA_TYPE;
}

/** Whether the reply is wanted as a binary frame: where `Accept` prefers it to JSON. */
export function wantsFrame(context: AppContext): boolean {
  const supports = ["application/json", FRAME_MEDIA_TYPE];
  return accepts(context, { header: "Accept", supports, default: "application/json" }) === FRAME_MEDIA_TYPE;
}

function mediaTypeOf(context: AppContext): string {
  return (context.req.header("Content-Type") ?? "").split(";", 1)[0]?.trim().toLowerCase() ?? "";
}

/** The JSON body, checked. `fallback` stands for an absent one where a route allows that; `accepted` is what the route takes, if more than JSON. */
export async function jsonBodyOf<Schema extends v.GenericSchema>(
  context: AppContext,
  schema: Schema,
  options: { readonly bytesMax: number; readonly fallback?: unknown; readonly accepted?: readonly string[] },
): Promise<v.InferOutput<Schema>> {
  const mediaType = mediaTypeOf(context);
  const isJson = mediaType === "application/json" && isUtf8(context.req.header("Content-Type"));
  const bytes =
    isJson || (mediaType === "" && options.fallback !== undefined) ? await bytesOf(context, options.bytesMax) : undefined;
  if (bytes?.byteLength === 0 && options.fallback !== undefined) return orThrow(parseWith(schema, options.fallback));
  const { accepted = ["application/json"] } = options;
  if (bytes === undefined || !isJson) throw new RefusalError({ kind: "unsupported-media-type", accepted });
  const text = decodeUtf8(bytes);
  if (text === undefined) throw new RefusalError(invalidRequest("", "Malformed JSON: the body is not UTF-8"));
  return orThrow(parseJsonObject(schema, text));
}

/** JSON is UTF-8 (RFC 8259); who says otherwise sent something else. */
function isUtf8(contentType = ""): boolean {
  const [, charset = "utf-8"] = /;\s*charset\s*=\s*"?([^\s;"]+)/i.exec(contentType) ?? [];
  return /^(?:utf-?8|us-ascii)$/i.test(charset);
}

/** What is too large, by its bytes: those that it says it has, or those that had come by then. */
type RefuseTooLarge = (bytes: number) => Refusal;

/** The body as bytes. One that is encoded is refused: nobody here would decode it, and the reader would not know. One that is too large is refused before it is read to its end, one that breaks off as not valid. */
export async function bytesOf(
  context: AppContext,
  bytesMax: number,
  refuseTooLarge: RefuseTooLarge = () => ({ kind: "request-too-large", limit: bytesMax }),
): Promise<Uint8Array> {
  const { raw } = context.req;
  const encoding = raw.headers.get("Content-Encoding");
  if (encoding !== null && encoding.trim().toLowerCase() !== "identity") {
    throw new RefusalError({ kind: "unsupported-media-type", acceptedEncodings: ["identity"] });
  }
  return await readBody(raw, bytesMax, refuseTooLarge);
}

async function readBody(raw: Request, bytesMax: number, refuseTooLarge: RefuseTooLarge): Promise<Uint8Array> {
  const contentLength = raw.headers.get("Content-Length");
  const bytesSaid = Number(contentLength ?? 0);
  if (bytesSaid > bytesMax) throw new RefusalError(refuseTooLarge(bytesSaid));
  try {
    if (contentLength !== null) return new Uint8Array(await raw.arrayBuffer());
    return raw.body === null ? new Uint8Array(0) : await readStream(raw.body, bytesMax, refuseTooLarge);
  } catch (error) {
    if (error instanceof RefusalError) throw error;
    throw new RefusalError(invalidRequest("", "The body broke off before its end"));
  }
}

async function readStream(
  body: ReadableStream<Uint8Array>,
  bytesMax: number,
  refuseTooLarge: RefuseTooLarge,
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of body) {
    length += chunk.byteLength;
    if (length > bytesMax) throw new RefusalError(refuseTooLarge(length));
    chunks.push(chunk);
  }
  const bytes = new Uint8Array(length);
  let end = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, end);
    end += chunk.byteLength;
  }
  return bytes;
}

/** For routes without a body: what was sent in one would be ignored in silence. */
export async function refuseBody(context: AppContext): Promise<void> {
  await readBody(context.req.raw, 0, () => invalidRequest("", "Expected no body"));
}

export function orThrow<Value>(result: Result<Value, Refusal>): Value {
  if (!result.ok) throw new RefusalError(result.refusal);
  return result.value;
}
