// /v1/channels/{channel}/snapshots and …/restores: a snapshot is read, and a restore fed, page by page.
import type { Hono } from "hono";
import type { Env } from "../object/env.ts";
import { parseWith } from "../protocol/fault.ts";
import { LIMITS } from "../protocol/limits.ts";
import { noQuerySchema, pathSchemas } from "../protocol/routes.ts";
import { snapshotPageQuerySchema } from "../protocol/snapshot-routes.ts";
import { ask } from "./channel-client.ts";
import { INERT_HEADERS } from "./message-headers.ts";
import { bytesOf, channelOf, orThrow, queryOf, refuseBody, type AppContext } from "./request-parts.ts";

const SNAPSHOTS = "/v1/channels/:channel/snapshots";
const RESTORES = "/v1/channels/:channel/restores";

export function addSnapshotRoutes(app: Hono<{ Bindings: Env }>): void {
  app.post(SNAPSHOTS, handleBegin);
  app.get(`${SNAPSHOTS}/:snapshotId`, handleRead);
  app.delete(`${SNAPSHOTS}/:snapshotId`, handleEnd);
  app.post(RESTORES, handleBeginRestore);
  app.put(`${RESTORES}/:restoreId/pages/:page`, handleStage);
  app.post(`${RESTORES}/:restoreId/commit`, handleCommit);
  app.delete(`${RESTORES}/:restoreId`, handleAbort);
}

async function handleBegin(context: AppContext): Promise<Response> {
  const channel = channelOf(context);
  queryOf(context, noQuerySchema);
  await refuseBody(context);
  const { outcome } = await ask(context.env, channel, { type: "begin-snapshot" }, ["snapshot-begun"]);
  return context.json({ snapshotId: outcome.snapshotId }, 201);
}

async function handleRead(context: AppContext): Promise<Response> {
  const channel = channelOf(context);
  const snapshotId = snapshotIdOf(context);
  const { page = 1, maxBytes } = queryOf(context, snapshotPageQuerySchema);
  const size = maxBytes === undefined ? {} : { bytesMax: maxBytes };
  const operation = { type: "read-snapshot", snapshotId, page, ...size } as const;
  const { outcome } = await ask(context.env, channel, operation, ["snapshot-page"]);
  const headers = {
    "Content-Type": "application/octet-stream",
    ...INERT_HEADERS,
    "Channel-Snapshot-Last": String(outcome.isLast),
    "Channel-Snapshot-Sha256": outcome.sha256,
  };
  return new Response(outcome.bytes, { headers });
}

async function handleEnd(context: AppContext): Promise<Response> {
  const channel = channelOf(context);
  const snapshotId = snapshotIdOf(context);
  queryOf(context, noQuerySchema);
  await refuseBody(context);
  const { outcome } = await ask(context.env, channel, { type: "end-snapshot", snapshotId }, ["snapshot-ended"]);
  return context.json({ snapshotId: outcome.snapshotId });
}

async function handleBeginRestore(context: AppContext): Promise<Response> {
  const channel = channelOf(context);
  queryOf(context, noQuerySchema);
  await refuseBody(context);
  const { outcome } = await ask(context.env, channel, { type: "begin-restore" }, ["restore-begun"]);
  return context.json({ restoreId: outcome.restoreId }, 201);
}

async function handleStage(context: AppContext): Promise<Response> {
  const channel = channelOf(context);
  const restoreId = restoreIdOf(context);
  const page = orThrow(parseWith(pathSchemas.page, context.req.param("page"), "/path/page"));
  queryOf(context, noQuerySchema);
  const bytes = await bytesOf(context, LIMITS.snapshotPageBytesMax);
  const { outcome } = await ask(context.env, channel, { type: "stage-page", restoreId, page, bytes }, ["page-staged"]);
  return context.json({ page: outcome.page, isLast: outcome.isLast });
}

async function handleCommit(context: AppContext): Promise<Response> {
  const channel = channelOf(context);
  const restoreId = restoreIdOf(context);
  queryOf(context, noQuerySchema);
  await refuseBody(context);
  await ask(context.env, channel, { type: "commit-restore", restoreId }, ["restored"]);
  return context.json({ channel }, 201);
}

async function handleAbort(context: AppContext): Promise<Response> {
  const channel = channelOf(context);
  const restoreId = restoreIdOf(context);
  queryOf(context, noQuerySchema);
  await refuseBody(context);
  const { outcome } = await ask(context.env, channel, { type: "abort-restore", restoreId }, ["restore-aborted"]);
  return context.json({ restoreId: outcome.restoreId });
}

function snapshotIdOf(context: AppContext): string {
  return orThrow(parseWith(pathSchemas.snapshotId, context.req.param("snapshotId"), "/path/snapshotId"));
}

function restoreIdOf(context: AppContext): string {
  return orThrow(parseWith(pathSchemas.restoreId, context.req.param("restoreId"), "/path/restoreId"));
}
