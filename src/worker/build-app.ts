// The service behind its door: routes, and answers refusals. Who may come in is decided before. Everything about a channel happens in its object.
import { Hono } from "hono";
import type { StartTimer } from "../base/timers.ts";
import type { Env } from "../object/env.ts";
import { logWarning } from "../object/log.ts";
import { replyWithProblem } from "../object/problem-reply.ts";
import { findMethods } from "../protocol/routes.ts";
import { addChannelRoutes, type ListChannels } from "./channel-routes.ts";
import { addDeliveryRoutes } from "./delivery-routes.ts";
import { addCheckpointRoutes } from "./checkpoint-routes.ts";
import { addEventRoutes } from "./event-routes.ts";
import { addGroupRoutes } from "./group-routes.ts";
import { addReaderRoutes } from "./reader-routes.ts";
import { addHistoryRoutes } from "./history-routes.ts";
import { addMessageRoutes } from "./message-routes.ts";
import { addMoveRoute } from "./move-route.ts";
import { addRelayRoutes } from "./relay-routes.ts";
import { addReferenceRoutes } from "./reference-routes.ts";
import { addScheduleRoutes } from "./schedule-routes.ts";
import { addSnapshotRoutes } from "./snapshot-routes.ts";
import { RefusalError } from "./refusal-error.ts";
import { skipBody } from "./skip-body.ts";

export const HEALTH_PATH = "/healthz";

export type App = Hono<{ Bindings: Env }>;

/** What the routes need beside the objects of channels. */
export interface AppPorts {
  /** Lists the channels of the deployment. */
  readonly listChannels: ListChannels;
  /** The timers of waits. */
  readonly startTimer: StartTimer;
}

/** All routes, without authentication. */
export function buildApp({ listChannels, startTimer }: AppPorts): App {
  const app: App = new Hono();

  app.get(HEALTH_PATH, (context) => context.json({ status: "ok" }));
  addChannelRoutes(app, listChannels);
  addMessageRoutes(app, startTimer);
  addDeliveryRoutes(app, startTimer);
  addGroupRoutes(app);
  addReaderRoutes(app);
  addRelayRoutes(app);
  addHistoryRoutes(app);
  addCheckpointRoutes(app);
  addScheduleRoutes(app);
  addSnapshotRoutes(app);
  addMoveRoute(app);
  addEventRoutes(app);
  addReferenceRoutes(app);

  app.notFound(async (context) => {
    const { path, raw } = context.req;
    await skipBody(raw);
    const allow = findMethods(path);
    return replyWithProblem(allow.length > 0 ? { kind: "method-not-allowed", allow } : { kind: "unknown-route", path });
  });

  app.onError(async (error, context) => {
    await skipBody(context.req.raw);
    if (error instanceof RefusalError) return replyWithProblem(error.refusal);
    // Nobody hears the reply to a request that was given up.
    if (!context.req.raw.signal.aborted)
      logWarning("request-failed", { method: context.req.method, path: context.req.path }, error);
    return replyWithProblem({ kind: "internal", outcome: "unknown" });
  });

  return app;
}
