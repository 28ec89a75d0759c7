// The worker that is deployed: authenticates, and passes on to the service.
import { ChannelObject } from "../object/channel-object.ts";
import { DirectoryShard } from "../object/directory-shard.ts";
import type { Env } from "../object/env.ts";
import { RelayObject } from "../object/relay-object.ts";
import { replyWithProblem } from "../object/problem-reply.ts";
import { invalidRequest } from "../protocol/fault.ts";
import type { Refusal } from "../protocol/problems.ts";
import { app } from "./app.ts";
import { HEALTH_PATH } from "./build-app.ts";
import { refuseRequest } from "./auth.ts";
import { ChannelService } from "./channel-service.ts";
import { skipBody } from "./skip-body.ts";

export { ChannelObject, ChannelService, DirectoryShard, RelayObject };
export default {
  /** Authenticates ahead of the routes and not in a middleware: those make each request a chain of promises (measured). */
  fetch(request: Request, env: Env): Response | Promise<Response> {
    const url = URL.parse(request.url);
    if (url === null) return replyWithProblem(invalidRequest("/header/Host", "Expected one host"));
    const refusal = url.pathname === HEALTH_PATH ? undefined : refuseRequest(request, url.hostname, env);
    return refusal === undefined ? app.fetch(request, env) : refuse(request, refusal);
  },
};

async function refuse(request: Request, refusal: Refusal): Promise<Response> {
  await skipBody(request);
  return replyWithProblem(refusal);
}
