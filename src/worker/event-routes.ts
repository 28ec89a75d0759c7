// /v1/channels/{channel}/events: a plain reader's stream for `EventSource`.
import type { Hono } from "hono";
import type { Env } from "../object/env.ts";
import { invalidRequest, parseJson, parseWith } from "../protocol/fault.ts";
import { LIMITS } from "../protocol/limits.ts";
import { eventsQuerySchema } from "../protocol/routes.ts";
import { filterSchema, parseResume } from "../protocol/stream-frames.ts";
import { openEventStream, type EventSubscription } from "./event-stream.ts";
import { RefusalError } from "./refusal-error.ts";
import { channelOf, orThrow, placeOf, queryOf, type AppContext } from "./request-parts.ts";

export function addEventRoutes(app: Hono<{ Bindings: Env }>): void {
  app.get("/v1/channels/:channel/events", handleEvents);
}

async function handleEvents(context: AppContext): Promise<Response> {
  const channel = channelOf(context);
  const { start, timeMs, filter } = queryOf(context, eventsQuerySchema);
  const wanted =
    filter === undefined
      ? {}
      : { filter: orThrow(parseWith(filterSchema, orThrow(parseJson(filter, "/query/filter")), "/query/filter")) };
  const open = (subscription: EventSubscription): Promise<Response> =>
    openEventStream(context.env, channel, {
      subscription: { ...subscription, ...wanted },
      place: placeOf(context),
      signal: context.req.raw.signal,
    });
  const resume = resumeOf(context);
  if (resume !== undefined) return open({ from: { resume } });
  if (timeMs !== undefined) return open({ from: { timeMs } });
  if (start !== undefined) return open({ from: typeof start === "number" ? { offset: start } : { at: start } });
  try {
    return await open({ from: { at: "last" } });
  } catch (error) {
    const isNoLog = error instanceof RefusalError && error.refusal.kind === "wrong-retention";
    if (!isNoLog) throw error;
    return open({ tap: true });
  }
}

/** Where a stream ended, by its last event; undefined where there was none. */
function resumeOf(context: AppContext): string | undefined {
  const resume = context.req.header("Last-Event-ID") ?? "";
  if (resume === "") return undefined;
  if (resume.length > LIMITS.resumeTokenCharsMax || parseResume(resume) === undefined)
    throw new RefusalError(invalidRequest("/header/Last-Event-ID", "Expected the id of an event of this channel"));
  return resume;
}
