// /v1/channels/{channel}/messages: put, pull, browse, read and remove.
import type { Hono } from "hono";
import type { StartTimer } from "../base/timers.ts";
import { bytesOf as bytesOfBatch, countOf } from "../channel/put-batch.ts";
import type { Env } from "../object/env.ts";
import { partsOfBlock, type PutParts } from "../object/put-parts.ts";
import { formatStored, formatTaken } from "../object/reply-frames.ts";
import { Utf8Arena } from "../protocol/utf8-arena.ts";
import { LIMITS } from "../protocol/limits.ts";
import type { PutConditions } from "../protocol/dedup.ts";
import { parsePutMessage } from "../protocol/message.ts";
import type { RefusalKind } from "../protocol/problems.ts";
import { parsePutBody } from "../protocol/put-frame.ts";
import { batchBodySchema, browseQuerySchema, noQuerySchema, putQuerySchema } from "../protocol/routes.ts";
import { parseDelay } from "../protocol/schedule.ts";
import { FRAME_MEDIA_TYPE } from "../protocol/version.ts";
import { ask, type Answer } from "./channel-client.ts";
import {
  formatMessageReply,
  formatStateHeaders,
  parseDelayHeaders,
  parseMessageRequest,
  refuseMessageHeaders,
  replyJson,
} from "./message-headers.ts";
import { conditionsOf } from "./put-conditions.ts";
import { RefusalError } from "./refusal-error.ts";
import {
  bytesOf,
  channelOf,
  isFrame,
  jsonBodyOf,
  messageIdOf,
  offsetOf,
  orThrow,
  queryOf,
  refuseBody,
  placeOf,
  sourceOf,
  type AppContext,
} from "./request-parts.ts";
import { BRIDGE_REQUEST, waitOverSocket } from "./wait-bridge.ts";

const MESSAGES = "/v1/channels/:channel/messages";

/** Refusals of a put that a wait may see the end of. */
const PASSING: ReadonlySet<RefusalKind> = new Set(["channel-full", "no-readers"]);

/** What one put stores, which of it enters later, and on which conditions. */
interface Put extends PutParts, PutConditions {
  readonly source: string;
}

export function addMessageRoutes(app: Hono<{ Bindings: Env }>, startTimer: StartTimer): void {
  app.post(MESSAGES, (context) => handlePut(context, startTimer));
  app.post(`${MESSAGES}/batch`, (context) => handlePutBatch(context, startTimer));
  app.get(MESSAGES, handleBrowse);
  app.delete(MESSAGES, handlePurge);
  app.get(`${MESSAGES}/:offset`, handleRead);
  app.delete(`${MESSAGES}/:offset`, handleRemove);
  app.delete(`${MESSAGES}/by-id/:messageId`, handleRemoveById);
}

async function handlePut(context: AppContext, startTimer: StartTimer): Promise<Response> {
  const channel = channelOf(context);
  const { waitMs, expectedOffset } = queryOf(context, putQuerySchema);
  const conditions = conditionsOf(context, expectedOffset);
  const message = await parseMessageRequest(context);
  const delay = parseDelayHeaders(context);
  const put = { messages: [message], source: sourceOf(context), ...(delay !== undefined && { delays: [delay] }), ...conditions };
  return replyPut(context, channel, put, { waitMs, startTimer });
}

async function handlePutBatch(context: AppContext, startTimer: StartTimer): Promise<Response> {
  const channel = channelOf(context);
  const { waitMs, expectedOffset } = queryOf(context, putQuerySchema);
  const conditions = conditionsOf(context, expectedOffset);
  refuseMessageHeaders(context.req);
  const parts = isFrame(context) ? await readFramedBatch(context) : await readBatch(context);
  return replyPut(context, channel, { ...parts, source: sourceOf(context), ...conditions }, { waitMs, startTimer });
}

async function readBatch(context: AppContext): Promise<PutParts> {
  const options = { bytesMax: LIMITS.requestBodyBytesMax, accepted: ["application/json", FRAME_MEDIA_TYPE] };
  const { messages: forms } = await jsonBodyOf(context, batchBodySchema, options);
  // Packed for the object, the bodies lie together anyway.
  const arena = new Utf8Arena();
  const encode = (text: string): Uint8Array => arena.encode(text);
  const messages = forms.map((form, index) => orThrow(parsePutMessage(form, `/messages/${index}`, encode)));
  const parsedDelays = forms.map((form, index) => orThrow(parseDelay(form, index, `/messages/${index}`)));
  const delays = parsedDelays.filter((delay) => delay !== undefined);
  return { messages, ...(delays.length > 0 && { delays }) };
}

async function readFramedBatch(context: AppContext): Promise<PutParts> {
  return partsOfBlock(orThrow(parsePutBody(await bytesOf(context, LIMITS.requestBodyBytesMax))));
}

/** How long a put may wait for room, and what keeps that time. */
interface PutWait {
  readonly waitMs: number | undefined;
  readonly startTimer: StartTimer;
}

async function replyPut(context: AppContext, channel: string, put: Put, wait: PutWait): Promise<Response> {
  const { outcome, state } = await putOrWait(context, channel, put, wait);
  const reply = replyJson(`{${formatStored(outcome)},"state":${JSON.stringify(state)}}`, state, 201);
  if (outcome.offset !== null) reply.headers.set("Location", `/v1/channels/${channel}/messages/${outcome.offset}`);
  return reply;
}

/** Tries once; where that finds the channel full, or without groups, waits for room and keeps the bodies here meanwhile. Each try is judged anew. */
async function putOrWait(context: AppContext, channel: string, put: Put, wait: PutWait): Promise<Answer<"put">> {
  const { messages } = put;
  const { startTimer } = wait;
  const waitMs = Math.min(wait.waitMs ?? 0, LIMITS.waitMsMax);
  try {
    return await ask(context.env, channel, { type: "put", ...put }, ["put"]);
  } catch (error) {
    const mayPass = error instanceof RefusalError && PASSING.has(error.refusal.kind);
    if (!mayPass || waitMs === 0) throw error;
  }
  const request = { type: "reserve", messages: countOf(messages), bytes: bytesOfBatch(messages), waitMs } as const;
  return waitOverSocket(context.env, channel, request, {
    startTimer,
    place: placeOf(context),
    signal: context.req.raw.signal,
    use: ({ frame, connection }) => {
      if (frame.type === "problem") throw new RefusalError(frame.problem);
      const promised = { type: "put", ...put, isPromised: true } as const;
      return ask(context.env, channel, promised, ["put"], { origin: { connection, request: BRIDGE_REQUEST } });
    },
  });
}

async function handleBrowse(context: AppContext): Promise<Response> {
  const channel = channelOf(context);
  const { from, limit } = queryOf(context, browseQuerySchema);
  const operation = { type: "browse", fromOffset: from ?? 1, limit: limit ?? LIMITS.browseMessagesDefault } as const;
  const { outcome, state } = await ask(context.env, channel, operation, ["page"]);
  return replyJson(`{${formatTaken(outcome)},"next":${outcome.nextOffset}}`, state);
}

async function handlePurge(context: AppContext): Promise<Response> {
  const channel = channelOf(context);
  queryOf(context, noQuerySchema);
  await refuseBody(context);
  const { outcome, state } = await ask(context.env, channel, { type: "purge" }, ["purged"]);
  return context.json({ removedMessages: outcome.removedMessages }, 200, formatStateHeaders(state));
}

async function handleRead(context: AppContext): Promise<Response> {
  const channel = channelOf(context);
  const offset = offsetOf(context);
  queryOf(context, noQuerySchema);
  const { outcome, state } = await ask(context.env, channel, { type: "read", offset }, ["message"]);
  return formatMessageReply(outcome.message, state);
}

async function handleRemove(context: AppContext): Promise<Response> {
  const channel = channelOf(context);
  const offset = offsetOf(context);
  queryOf(context, noQuerySchema);
  await refuseBody(context);
  const { outcome, state } = await ask(context.env, channel, { type: "remove", offset }, ["removed"]);
  return context.json({ offset: outcome.offset }, 200, formatStateHeaders(state));
}

async function handleRemoveById(context: AppContext): Promise<Response> {
  const channel = channelOf(context);
  const messageId = messageIdOf(context);
  queryOf(context, noQuerySchema);
  await refuseBody(context);
  const { outcome, state } = await ask(context.env, channel, { type: "remove-by-id", messageId }, ["removed"]);
  return context.json({ offset: outcome.offset }, 200, formatStateHeaders(state));
}
