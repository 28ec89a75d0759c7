// Delivery: pull, settle, dead letters and quarantine.
import type { Hono } from "hono";
import type { StartTimer } from "../base/timers.ts";
import type { LeaseTerms, Operation, Outcome } from "../channel/operation.ts";
import { listSettleEntries } from "../channel/settle-entries.ts";
import type { Env } from "../object/env.ts";
import { formatSettled } from "../object/reply-frames.ts";
import {
  deadLetterBodySchema,
  deadLetterQuerySchema,
  pullBodySchema,
  quarantineBodySchema,
  quarantineQuerySchema,
  redriveBodySchema,
  settleBodySchema,
} from "../protocol/delivery-routes.ts";
import { joinBinaryFrame } from "../protocol/binary-frame.ts";
import type { PressureState } from "../protocol/description.ts";
import { LIMITS } from "../protocol/limits.ts";
import { formatMessage } from "../protocol/message.ts";
import { parseRiders } from "../protocol/riders.ts";
import { noQuerySchema } from "../protocol/routes.ts";
import { ask } from "./channel-client.ts";
import { formatStateHeaders, replyFrame, replyJson } from "./message-headers.ts";
import { RefusalError } from "./refusal-error.ts";
import {
  channelOf,
  jsonBodyOf,
  orThrow,
  placeOf,
  queryOf,
  refuseBody,
  sourceOf,
  wantsFrame,
  type AppContext,
} from "./request-parts.ts";
import { BRIDGE_REQUEST, waitOverSocket } from "./wait-bridge.ts";

const CHANNEL = "/v1/channels/:channel";
const BRIDGE_ID = `"id":${BRIDGE_REQUEST}`;

export function addDeliveryRoutes(app: Hono<{ Bindings: Env }>, startTimer: StartTimer): void {
  app.post(`${CHANNEL}/messages/pull`, (context) => handlePull(context, startTimer));
  app.post(`${CHANNEL}/messages/settle`, handleSettle);
  app.get(`${CHANNEL}/dead-letters`, handleListDeadLetters);
  app.post(`${CHANNEL}/dead-letters/redrive`, handleRedrive);
  app.delete(`${CHANNEL}/dead-letters/redrive`, handleStopRedrive);
  app.post(`${CHANNEL}/dead-letters/drop`, handleDropDeadLetters);
  app.get(`${CHANNEL}/quarantine`, handleListQuarantine);
  app.post(`${CHANNEL}/quarantine/release`, (context) => handleEndQuarantine(context, "release-quarantine"));
  app.post(`${CHANNEL}/quarantine/drop`, (context) => handleEndQuarantine(context, "drop-quarantine"));
}

async function handlePull(context: AppContext, startTimer: StartTimer): Promise<Response> {
  const channel = channelOf(context);
  queryOf(context, noQuerySchema);
  const body = await jsonBodyOf(context, pullBodySchema, { bytesMax: LIMITS.controlBodyBytesMax, fallback: {} });
  const { ack, max, min, waitMs, leaseMs = LIMITS.leaseMsDefault, reader, group } = body;
  const named = reader === undefined ? {} : { reader };
  const lease: LeaseTerms | undefined = ack === "auto" ? undefined : { leaseMs, isDetached: true, ...named };
  const inGroup = group === undefined ? {} : { group };
  const wanted = {
    ...inGroup,
    ...(max !== undefined && { max }),
    ...(min !== undefined && { min }),
    ...(lease !== undefined && { lease }),
  };
  const place = placeOf(context);
  const get: Operation = { type: "get", ...wanted, ...(place !== undefined && { place }) };
  const isFramed = wantsFrame(context);
  const { outcome, state } = await ask(context.env, channel, get, ["got"], { isFramed });
  const cappedMs = Math.min(waitMs ?? 0, LIMITS.waitMsMax);
  const least = min ?? Math.min(1, max ?? 1);
  if (outcome.count > 0 || cappedMs === 0 || least === 0) {
    if ("frame" in outcome) return replyFrame(outcome.frame, state);
    return replyJson(`{${outcome.takenJson},"state":${JSON.stringify(state)}}`, state);
  }
  const amounts = { ...inGroup, min: least, max: max ?? Math.max(1, least), waitMs: cappedMs };
  const request =
    lease === undefined
      ? ({ type: "get", ...amounts } as const)
      : ({ type: "pull", ...amounts, leaseMs, detached: true, ...named } as const);
  return waitOverSocket(context.env, channel, request, {
    startTimer,
    place,
    signal: context.req.raw.signal,
    isFramed,
    use: ({ frame, data }) => {
      if (frame.type === "problem") throw new RefusalError(frame.problem);
      const stateThen = frame.type === "got" ? frame.state : state;
      // The frame's members after type and id are those of the reply; bodies are passed on as they are.
      if (typeof data === "string") return replyJson(`{${data.slice(`{"type":"got",${BRIDGE_ID},`.length)}`, stateThen);
      return replyFrame(joinBinaryFrame("got", `{${data.head.slice(`{${BRIDGE_ID},`.length)}`, [data.blocks]), stateThen);
    },
  });
}

async function handleSettle(context: AppContext): Promise<Response> {
  const channel = channelOf(context);
  queryOf(context, noQuerySchema);
  const lists = await jsonBodyOf(context, settleBodySchema, { bytesMax: LIMITS.settleBodyBytesMax });
  const entries = listSettleEntries(lists);
  const riders = orThrow(parseRiders(lists));
  const { outcome, state } = await ask(context.env, channel, { type: "settle", entries, ...riders, source: sourceOf(context) }, [
    "settled",
  ]);
  return replyJson(`{${formatSettled(outcome)},"state":${JSON.stringify(state)}}`, state);
}

async function handleListDeadLetters(context: AppContext): Promise<Response> {
  const channel = channelOf(context);
  const { from, limit, ...filter } = queryOf(context, deadLetterQuerySchema);
  const operation = {
    type: "dead-letters",
    fromOffset: from ?? 1,
    limit: limit ?? LIMITS.browseMessagesDefault,
    filter,
  } as const;
  const { outcome, state } = await ask(context.env, channel, operation, ["dead-letter-page"]);
  const letters = outcome.letters.map(({ group, message, attempts, reason, diedAtMs }) =>
    formatMessage(
      message,
      `"group":${JSON.stringify(group)},"attempts":${attempts},"reason":${JSON.stringify(reason)},"diedAtMs":${diedAtMs}`,
    ),
  );
  return replyJson(`{"deadLetters":[${letters.join(",")}],"next":${outcome.nextOffset}}`, state);
}

async function handleRedrive(context: AppContext): Promise<Response> {
  const channel = channelOf(context);
  queryOf(context, noQuerySchema);
  const body = await jsonBodyOf(context, redriveBodySchema, { bytesMax: LIMITS.controlBodyBytesMax, fallback: {} });
  const { from = 1, max = LIMITS.browseMessagesDefault, ratePerSecond, ...filter } = body;
  const paced = ratePerSecond === undefined ? {} : { ratePerSecond };
  const operation = { type: "redrive", fromOffset: from, max, filter, ...paced } as const;
  const { outcome, state } = await ask(context.env, channel, operation, ["moved", "redrive-job"]);
  if (outcome.type === "redrive-job") return context.json({ redrive: outcome.job }, 202, formatStateHeaders(state));
  return replyMoved(context, outcome, state);
}

async function handleStopRedrive(context: AppContext): Promise<Response> {
  const channel = channelOf(context);
  queryOf(context, noQuerySchema);
  await refuseBody(context);
  const { outcome, state } = await ask(context.env, channel, { type: "stop-redrive" }, ["redrive-job"]);
  return context.json({ redrive: outcome.job }, 200, formatStateHeaders(state));
}

async function handleDropDeadLetters(context: AppContext): Promise<Response> {
  const channel = channelOf(context);
  queryOf(context, noQuerySchema);
  const body = await jsonBodyOf(context, deadLetterBodySchema, { bytesMax: LIMITS.controlBodyBytesMax, fallback: {} });
  const { from = 1, max = LIMITS.browseMessagesDefault, ...filter } = body;
  const operation = { type: "drop-dead-letters", fromOffset: from, max, filter } as const;
  const { outcome, state } = await ask(context.env, channel, operation, ["moved"]);
  return replyMoved(context, outcome, state);
}

function replyMoved(context: AppContext, outcome: Extract<Outcome, { type: "moved" }>, state: PressureState): Response {
  const { moved, isMore, nextOffset } = outcome;
  return context.json({ moved, isMore, ...(nextOffset !== undefined && { next: nextOffset }) }, 200, formatStateHeaders(state));
}

async function handleListQuarantine(context: AppContext): Promise<Response> {
  const channel = channelOf(context);
  const { limit = LIMITS.browseMessagesDefault, group } = queryOf(context, quarantineQuerySchema);
  const operation = { type: "quarantine", limit, ...(group !== undefined && { group }) } as const;
  const { outcome, state } = await ask(context.env, channel, operation, ["quarantine"]);
  const texts = outcome.messages.map(({ message, attempts }) => formatMessage(message, `"attempts":${attempts}`));
  return replyJson(`{"messages":[${texts.join(",")}]}`, state);
}

async function handleEndQuarantine(context: AppContext, type: "release-quarantine" | "drop-quarantine"): Promise<Response> {
  const channel = channelOf(context);
  queryOf(context, noQuerySchema);
  const { group, offset, key = "" } = await jsonBodyOf(context, quarantineBodySchema, { bytesMax: LIMITS.controlBodyBytesMax });
  // One of both is there.
  const which = offset === undefined ? { key } : { offset };
  const { outcome, state } = await ask(context.env, channel, { type, ...which, ...(group !== undefined && { group }) }, [
    "moved",
  ]);
  return context.json({ moved: outcome.moved, isMore: outcome.isMore }, 200, formatStateHeaders(state));
}
