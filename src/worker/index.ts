// The worker: authenticates, routes, and answers refusals. Everything about a channel happens in its object.
import { Hono } from "hono";
import { ChannelObject } from "../object/channel-object.ts";
import { DirectoryShard } from "../object/directory-shard.ts";
import type { Env } from "../object/env.ts";
import { logWarning } from "../object/log.ts";
import { replyWithProblem } from "../object/problem-reply.ts";
import { invalidRequest } from "../protocol/fault.ts";
import { findMethods } from "../protocol/routes.ts";
import { refuseRequest } from "./auth.ts";
import { addChannelRoutes } from "./channel-routes.ts";
import { addDeliveryRoutes } from "./delivery-routes.ts";
import { addCheckpointRoutes } from "./checkpoint-routes.ts";
import { addEventRoutes } from "./event-routes.ts";
import { addGroupRoutes } from "./group-routes.ts";
import { addHistoryRoutes } from "./history-routes.ts";
import { addMessageRoutes } from "./message-routes.ts";
import { addReferenceRoutes } from "./reference-routes.ts";
import { addScheduleRoutes } from "./schedule-routes.ts";
import { addSnapshotRoutes } from "./snapshot-routes.ts";
import { RefusalError } from "./refusal-error.ts";

const HEALTH_PATH = "/healthz";

const app = new Hono<{ Bindings: Env }>();

app.get(HEALTH_PATH, (context) => context.json({ status: "ok" }));
addChannelRoutes(app);
addMessageRoutes(app);
addDeliveryRoutes(app);
addGroupRoutes(app);
addHistoryRoutes(app);
addCheckpointRoutes(app);
addScheduleRoutes(app);
addSnapshotRoutes(app);
addEventRoutes(app);
addReferenceRoutes(app);

app.notFound((context) => {
  const { path } = context.req;
  const allow = findMethods(path);
  return replyWithProblem(allow.length > 0 ? { kind: "method-not-allowed", allow } : { kind: "unknown-route", path });
});

app.onError((error, context) => {
  if (error instanceof RefusalError) return replyWithProblem(error.refusal);
  logWarning("request-failed", { method: context.req.method, path: context.req.path }, error);
  return replyWithProblem({ kind: "internal", outcome: "unknown" });
});

export { ChannelObject, DirectoryShard };
export default {
  /** Authenticates ahead of the routes and not in a middleware: those make each request a chain of promises (measured). */
  fetch(request: Request, env: Env): Response | Promise<Response> {
    const url = URL.parse(request.url);
    if (url === null) return replyWithProblem(invalidRequest("/header/Host", "Expected one host"));
    const refusal = url.pathname === HEALTH_PATH ? undefined : refuseRequest(request, url.hostname, env);
    return refusal === undefined ? app.fetch(request, env) : replyWithProblem(refusal);
  },
};
