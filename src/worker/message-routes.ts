// /v1/channels/{channel}/messages: put, pull, browse, read and remove.
import type { Hono } from "hono";
import type { Env } from "../object/env.ts";
import { formatTaken } from "../object/reply-frames.ts";
import { LIMITS } from "../protocol/limits.ts";
import { messageBytes, parsePutMessage, type PutMessage } from "../protocol/message.ts";
import { batchBodySchema, browseQuerySchema, noQuerySchema, putQuerySchema } from "../protocol/routes.ts";
import { ask, type Answer } from "./channel-client.ts";
import { formatMessageReply, formatStateHeaders, parseMessageRequest, replyJson } from "./message-headers.ts";
import { RefusalError } from "./refusal-error.ts";
import { channelOf, jsonBodyOf, messageIdOf, offsetOf, orThrow, queryOf, type AppContext } from "./request-parts.ts";
import { BRIDGE_REQUEST, waitOverSocket } from "./wait-bridge.ts";

const MESSAGES = "/v1/channels/:channel/messages";

export function addMessageRoutes(app: Hono<{ Bindings: Env }>): void {
  app.post(MESSAGES, handlePut);
  app.post(`${MESSAGES}/batch`, handlePutBatch);
  app.get(MESSAGES, handleBrowse);
  app.delete(MESSAGES, handlePurge);
  app.get(`${MESSAGES}/:offset`, handleRead);
  app.delete(`${MESSAGES}/:offset`, handleRemove);
  app.delete(`${MESSAGES}/by-id/:messageId`, handleRemoveById);
}

async function handlePut(context: AppContext): Promise<Response> {
  const channel = channelOf(context);
  const { waitMs } = queryOf(context, putQuerySchema);
  const message = await parseMessageRequest(context);
  return replyPut(context, channel, [message], waitMs);
}

async function handlePutBatch(context: AppContext): Promise<Response> {
  const channel = channelOf(context);
  const { waitMs } = queryOf(context, putQuerySchema);
  const { messages } = await jsonBodyOf(context, batchBodySchema, { bytesMax: LIMITS.requestBodyBytesMax });
  const parsed = messages.map((form, index) => orThrow(parsePutMessage(form, `/messages/${index}`)));
  return replyPut(context, channel, parsed, waitMs);
}

async function replyPut(
  context: AppContext,
  channel: string,
  messages: readonly PutMessage[],
  waitMs: number | undefined,
): Promise<Response> {
  const { outcome, state } = await putOrWait(context, channel, messages, Math.min(waitMs ?? 0, LIMITS.waitMsMax));
  const headers = { ...formatStateHeaders(state), Location: `/v1/channels/${channel}/messages/${outcome.offset}` };
  return Response.json({ offset: outcome.offset, count: outcome.count, state }, { status: 201, headers });
}

/** Tries once; where that finds the channel full, waits for room and keeps the bodies here meanwhile. */
async function putOrWait(
  context: AppContext,
  channel: string,
  messages: readonly PutMessage[],
  waitMs: number,
): Promise<Answer<"put">> {
  try {
    return await ask(context.env, channel, { type: "put", messages }, ["put"]);
  } catch (error) {
    const isFull = error instanceof RefusalError && error.refusal.kind === "channel-full";
    if (!isFull || waitMs === 0) throw error;
  }
  const bytes = messages.reduce((sum, message) => sum + messageBytes(message), 0);
  const request = { type: "reserve", messages: messages.length, bytes, waitMs } as const;
  return waitOverSocket(context.env, channel, request, {
    signal: context.req.raw.signal,
    use: ({ frame, connection }) => {
      if (frame.type === "problem") throw new RefusalError(frame.problem);
      const promised = { type: "put", messages, isPromised: true } as const;
      return ask(context.env, channel, promised, ["put"], { connection, request: BRIDGE_REQUEST });
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
  const { outcome, state } = await ask(context.env, channel, { type: "remove", offset }, ["removed"]);
  return context.json({ offset: outcome.offset }, 200, formatStateHeaders(state));
}

async function handleRemoveById(context: AppContext): Promise<Response> {
  const channel = channelOf(context);
  const messageId = messageIdOf(context);
  queryOf(context, noQuerySchema);
  const { outcome, state } = await ask(context.env, channel, { type: "remove-by-id", messageId }, ["removed"]);
  return context.json({ offset: outcome.offset }, 200, formatStateHeaders(state));
}
