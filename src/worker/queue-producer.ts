// A channel as the producer of a Cloudflare Queue sees it: the same three methods, so that a worker moves by changing its binding.
import * as v from "valibot";
import { accept, refuse, type Result } from "../base/result.ts";
import type { Env } from "../object/env.ts";
import { encodeUtf8 } from "../protocol/bytes.ts";
import type { PressureState } from "../protocol/description.ts";
import { invalidRequest, parseJson, parseWith, type InvalidRequest } from "../protocol/fault.ts";
import { LIMITS } from "../protocol/limits.ts";
import { DEFAULT_CONTENT_TYPES, type Presentation, type PutMessage } from "../protocol/message.ts";
import { pathSchemas } from "../protocol/routes.ts";
import type { MessageDelay } from "../protocol/schedule.ts";
import { wholeNumber } from "../protocol/settings.ts";
import { formatSource } from "../protocol/source.ts";
import { ask } from "./channel-client.ts";
import { RefusalError } from "./refusal-error.ts";
import { orThrow } from "./request-parts.ts";

/** The `props` of a service binding. */
export interface ServiceProps {
  /** The channel that `send`, `sendBatch` and `metrics` are about. */
  readonly channel?: string;
}

const MS_PER_SECOND = 1000;

const requestSchema = v.strictObject({
  body: v.optional(v.unknown()),
  contentType: v.optional(
    v.picklist(["json", "text", "bytes"], ({ input }) =>
      input === "v8"
        ? 'Expected "json", "text" or "bytes": "v8" is a form that no reader outside of Workers could read'
        : 'Expected "json", "text" or "bytes"',
    ),
    "json",
  ),
  delaySeconds: v.optional(wholeNumber(0, LIMITS.delayMsMax / MS_PER_SECOND)),
});
type SendRequest = v.InferOutput<typeof requestSchema>;

const batchOptionsSchema = v.optional(v.strictObject({ delaySeconds: requestSchema.entries.delaySeconds }), {});

/** Stores one message. Throws the refusal. */
export async function send(env: Env, props: ServiceProps, body: unknown, options: object = {}): Promise<QueueSendResponse> {
  const request = orThrow(parseWith(requestSchema, { ...options, body }));
  return putAll(env, props, [orThrow(parseSend(request, 0, ""))]);
}

/** Stores messages together, all or none. The delay of the batch is that of each message that has none of its own. Throws the refusal. */
export async function sendBatch(
  env: Env,
  props: ServiceProps,
  given: unknown,
  options: unknown,
): Promise<QueueSendBatchResponse> {
  const { delaySeconds } = orThrow(parseWith(batchOptionsSchema, options, "/options"));
  const sends = orThrow(listOf(given)).map((one, index) => {
    const base = `/messages/${index}`;
    const request = orThrow(parseWith(requestSchema, one, base));
    return orThrow(parseSend({ delaySeconds, ...request }, index, base));
  });
  return putAll(env, props, sends);
}

/** What waits to be taken, and when the oldest of it was put. */
export async function measure(env: Env, props: ServiceProps): Promise<QueueMetrics> {
  const { outcome, state } = await ask(env, channelOf(props), { type: "browse", fromOffset: 1, limit: 1 }, ["page"]);
  const [oldest] = outcome.messages;
  return { ...metricsOf(state), ...(oldest !== undefined && { oldestMessageTimestamp: new Date(oldest.putAtMs) }) };
}

/** A message, and its delay where it has one. */
interface Send {
  readonly message: PutMessage;
  readonly delay: MessageDelay | undefined;
}

async function putAll(env: Env, props: ServiceProps, sends: readonly Send[]): Promise<QueueSendResponse> {
  const messages = sends.map(({ message }) => message);
  const delays = sends.flatMap(({ delay }) => delay ?? []);
  const put = { type: "put", messages, source: formatSource("rpc", undefined), ...(delays.length > 0 && { delays }) } as const;
  const { state } = await ask(env, channelOf(props), put, ["put"]);
  return { metadata: { metrics: metricsOf(state) } };
}

function metricsOf({ depth, bytes }: PressureState): QueueMetrics {
  return { backlogCount: depth, backlogBytes: bytes };
}

function channelOf({ channel }: ServiceProps): string {
  if (channel !== undefined) return orThrow(parseWith(pathSchemas.channel, channel, "/props/channel"));
  const remedy = 'Name the channel in the service binding, as props = { channel = "orders" }';
  throw new RefusalError({ kind: "not-configured", setting: "props.channel", remedy });
}

/** The items of whatever can be iterated over; of what does not end, as many as show that it is too long. */
function listOf(given: unknown): Result<readonly unknown[], InvalidRequest> {
  const isIterable = typeof given === "object" && given !== null && Symbol.iterator in given;
  if (!isIterable) return refuse(invalidRequest("/messages", "Expected an array, or a set, of messages"));
  const items: unknown[] = [];
  for (const item of given as Iterable<unknown>) {
    items.push(item);
    if (items.length > LIMITS.batchMessagesMax) break;
  }
  return items.length > 0 ? accept(items) : refuse(invalidRequest("/messages", "Expected at least one message"));
}

function parseSend(
  { body, contentType, delaySeconds = 0 }: SendRequest,
  index: number,
  base: string,
): Result<Send, InvalidRequest> {
  const bytes = parseBody(body, contentType);
  if (!bytes.ok) return refuse(invalidRequest(`${base}/body`, bytes.refusal));
  const message = { body: bytes.value, presentation: contentType, contentType: DEFAULT_CONTENT_TYPES[contentType] };
  const afterMs = delaySeconds * MS_PER_SECOND;
  const delay = afterMs === 0 ? undefined : { index, pointer: `${base}/delaySeconds`, delay: { afterMs } };
  return accept({ message, delay });
}

/** The bytes of a body, or what is wrong with it. */
function parseBody(body: unknown, contentType: Presentation): Result<Uint8Array, string> {
  if (contentType === "json") return encodeJson(body);
  if (contentType === "text") {
    const isText = typeof body === "string" && body.isWellFormed();
    return isText ? accept(encodeUtf8(body)) : refuse("Expected a string of well-formed Unicode");
  }
  if (body instanceof ArrayBuffer) return accept(new Uint8Array(body));
  if (!ArrayBuffer.isView(body)) return refuse("Expected an ArrayBuffer or a view of one");
  return accept(new Uint8Array(body.buffer, body.byteOffset, body.byteLength));
}

/** What is put as JSON is shown as JSON to readers: the bounds of a request hold for it. */
function encodeJson(body: unknown): Result<Uint8Array, string> {
  let text: string | undefined;
  try {
    // Its type leaves out that what has no JSON gives none.
    text = JSON.stringify(body) as string | undefined;
  } catch (error) {
    return refuse(`Expected what JSON can hold: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (text === undefined) return refuse("Expected what JSON can hold");
  const parsed = parseJson(text);
  return parsed.ok ? accept(encodeUtf8(text)) : refuse(parsed.refusal.errors[0]?.detail ?? "");
}
