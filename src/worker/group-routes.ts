// /v1/channels/{channel}/groups: create, list, describe, change, delete and seek groups of readers.
import type { Hono } from "hono";
import type { Operation } from "../channel/operation.ts";
import type { Env } from "../object/env.ts";
import { parseWith } from "../protocol/fault.ts";
import { changeGroupBodySchema, createGroupBodySchema, groupsQuerySchema, seekBodySchema } from "../protocol/group-routes.ts";
import { LIMITS } from "../protocol/limits.ts";
import { noQuerySchema, pathSchemas } from "../protocol/routes.ts";
import { ask } from "./channel-client.ts";
import { channelOf, jsonBodyOf, orThrow, queryOf, refuseBody, type AppContext } from "./request-parts.ts";

const GROUPS = "/v1/channels/:channel/groups";
const BODY = { bytesMax: LIMITS.controlBodyBytesMax };

export function addGroupRoutes(app: Hono<{ Bindings: Env }>): void {
  app.get(GROUPS, handleList);
  app.put(`${GROUPS}/:group`, handleCreate);
  app.get(`${GROUPS}/:group`, (context) => replyGroup(context, "describe-group"));
  app.patch(`${GROUPS}/:group`, handleChange);
  app.delete(`${GROUPS}/:group`, handleDelete);
  app.post(`${GROUPS}/:group/seek`, handleSeek);
}

async function handleList(context: AppContext): Promise<Response> {
  const channel = channelOf(context);
  const { after, limit = LIMITS.groupsPageDefault } = queryOf(context, groupsQuerySchema);
  const operation: Operation = { type: "list-groups", limit, ...(after !== undefined && { after }) };
  const { outcome } = await ask(context.env, channel, operation, ["groups"]);
  return context.json({ groups: outcome.groups, next: outcome.next });
}

async function handleCreate(context: AppContext): Promise<Response> {
  const channel = channelOf(context);
  const group = groupOf(context);
  queryOf(context, noQuerySchema);
  const { settings = {}, start, expireAfterIdleMs } = await jsonBodyOf(context, createGroupBodySchema, { ...BODY, fallback: {} });
  const operation: Operation = {
    type: "create-group",
    group,
    settings,
    ...(start !== undefined && { start }),
    ...(expireAfterIdleMs !== undefined && { expireAfterIdleMs }),
  };
  const { outcome } = await ask(context.env, channel, operation, ["group", "group-created"]);
  return context.json(outcome.description, outcome.type === "group-created" ? 201 : 200);
}

async function handleChange(context: AppContext): Promise<Response> {
  queryOf(context, noQuerySchema);
  const { settings, isPaused } = await jsonBodyOf(context, changeGroupBodySchema, BODY);
  return replyGroup(context, "change-group", {
    ...(settings !== undefined && { settings }),
    ...(isPaused !== undefined && { isPaused }),
  });
}

async function handleSeek(context: AppContext): Promise<Response> {
  const channel = channelOf(context);
  const group = groupOf(context);
  queryOf(context, noQuerySchema);
  const to = await jsonBodyOf(context, seekBodySchema, BODY);
  const { outcome } = await ask(context.env, channel, { type: "seek-group", group, to }, ["group"]);
  return context.json(outcome.description);
}

async function handleDelete(context: AppContext): Promise<Response> {
  const channel = channelOf(context);
  const group = groupOf(context);
  queryOf(context, noQuerySchema);
  await refuseBody(context);
  const { outcome } = await ask(context.env, channel, { type: "delete-group", group }, ["group-deleted"]);
  return context.json({ group: outcome.group });
}

async function replyGroup(
  context: AppContext,
  type: "describe-group" | "change-group",
  change: Omit<Extract<Operation, { type: "change-group" }>, "type" | "group"> = {},
): Promise<Response> {
  const channel = channelOf(context);
  const group = groupOf(context);
  queryOf(context, noQuerySchema);
  const operation: Operation = type === "describe-group" ? { type, group } : { type, group, ...change };
  const { outcome } = await ask(context.env, channel, operation, ["group"]);
  return context.json(outcome.description);
}

function groupOf(context: AppContext): string {
  return orThrow(parseWith(pathSchemas.group, context.req.param("group"), "/path/group"));
}
