// The OpenAPI description of the service, built from the route table: a route that is served is described, and no other.
import type { JsonSchema } from "@valibot/to-json-schema";
import type * as v from "valibot";
import { CONDITION_HEADERS } from "../../protocol/dedup.ts";
import type { Reply, Route } from "../../protocol/route.ts";
import { pathSchemas, REPLY_SCHEMAS, ROUTES } from "../../protocol/routes.ts";
import { FRAME_MEDIA_TYPE } from "../../protocol/version.ts";
import type {
  ApiOperation,
  ApiResponse,
  MediaType,
  OpenApiDocument,
  Parameter,
  PathItem,
  Reference,
  RequestBody,
  Tag,
} from "./openapi-document.ts";
import { BODY_EXAMPLES, PARAMETER_EXAMPLES, REPLY_EXAMPLES } from "./openapi-examples.ts";
import { buildSocketNotes } from "./openapi-frames.ts";
import {
  API_DESCRIPTION,
  DELAY_HEADER_NOTES,
  CONDITION_HEADER_NOTES,
  HEADERS,
  MESSAGE_BODY_NOTE,
  PAGE_BODY_NOTE,
  MESSAGE_HEADER_FAMILY,
  MESSAGE_HEADER_NOTES,
  OPERATION_NOTES,
  PARAMETER_NOTES,
  STATE_HEADERS,
  TAGS,
  VALUE_BODY_NOTE,
} from "./openapi-notes.ts";
import { buildProblemSchemas, buildRefusals } from "./openapi-problems.ts";
import { buildSchemas, convertBody, convertParameter } from "./openapi-schemas.ts";

/** Takes a few milliseconds: call it once, when it is first asked for. */
export function buildOpenApi(): OpenApiDocument {
  const paths: Record<string, PathItem> = {};
  for (const route of ROUTES) paths[route.path] = { ...paths[route.path], [route.method]: buildOperation(route) };
  return {
    openapi: "3.1.0",
    info: {
      title: "Edge Channel",
      version: "1",
      summary: "A durable, ordered, bounded channel over HTTP and WebSocket",
      description: API_DESCRIPTION,
      license: { name: "MIT", identifier: "MIT" },
    },
    servers: [{ url: "/", description: "This deployment" }],
    security: [{ bearer: [] }],
    tags: Object.values(TAGS),
    paths,
    components: {
      schemas: { ...buildSchemas(), ...buildProblemSchemas() },
      headers: HEADERS,
      securitySchemes: {
        bearer: { type: "http", scheme: "bearer", description: "The deployment's token, its secret API_TOKEN" },
      },
    },
  };
}

function buildOperation(route: Route): ApiOperation {
  const { description } = OPERATION_NOTES[route.operationId] ?? {};
  const parameters = [...pathParameters(route), ...queryParameters(route), ...headerParameters(route)];
  const requestBody = buildRequestBody(route);
  return {
    operationId: route.operationId,
    summary: route.summary,
    ...(description !== undefined && { description }),
    tags: [tagOf(route).name],
    ...(route.isPublic === true && { security: [] }),
    ...(parameters.length > 0 && { parameters }),
    ...(requestBody !== undefined && { requestBody }),
    responses: { ...buildReplies(route), ...buildRefusals(route) },
    ...(route.isMessageBody === true && { "x-header-families": [MESSAGE_HEADER_FAMILY] }),
    ...(isUpgrade(route) && { "x-websocket": buildSocketNotes() }),
  };
}

function tagOf(route: Route): Tag {
  if (!route.path.startsWith("/v1/")) return TAGS.service;
  if (isUpgrade(route)) return TAGS.socket;
  if (/\/(?:pull|settle|readers|relays|dead-letters|quarantine)/.test(route.path)) return TAGS.delivery;
  if (route.path.includes("/checkpoints")) return TAGS.checkpoints;
  if (route.path.includes("/groups")) return TAGS.groups;
  if (/\/(?:snapshots|restores)/.test(route.path)) return TAGS.snapshots;
  return /\/(?:messages|scheduled)\b/.test(route.path) ? TAGS.messages : TAGS.channels;
}

function isUpgrade(route: Route): boolean {
  return route.replies["101"] !== undefined;
}

function pathParameters(route: Route): Parameter[] {
  const names = Array.from(route.path.matchAll(/\{(\w+)\}/g), ([, name]) => name ?? "");
  const schemas: Readonly<Record<string, v.GenericSchema>> = pathSchemas;
  return names.map((name) => buildParameter(name, "path", schemas[name]));
}

function queryParameters(route: Route): Parameter[] {
  const entries = Object.entries(route.query === undefined ? {} : entriesOf(route.query));
  return entries.map(([name, schema]) => buildParameter(name, "query", schema));
}

/** A query is an object schema; the route table says only that it is a schema. */
function entriesOf(query: v.GenericSchema): Readonly<Record<string, v.GenericSchema>> {
  if (!("entries" in query)) throw new Error("Cannot list the parameters of a query that is no object");
  return query.entries as Readonly<Record<string, v.GenericSchema>>;
}

function buildParameter(name: string, place: "path" | "query", schema: v.GenericSchema | undefined): Parameter {
  const notes: Readonly<Record<string, string>> = PARAMETER_NOTES;
  const description = notes[name];
  if (schema === undefined || description === undefined) throw new Error(`Cannot describe the ${place} parameter ${name}`);
  return { name, in: place, required: place === "path", description, schema: convertParameter(schema), ...exampleOf(name) };
}

/**
 * OpenAPI leaves Content-Type to the body, and has no way to say Channel-Header-{name}. The values are percent-encoded, so the limits
 * of the schemas, which hold for what they stand for, say nothing about their length.
 */
function headerParameters(route: Route): Parameter[] {
  const text = { type: "string", minLength: 1 } as const;
  const ofMessage = route.isMessageBody === true ? { ...MESSAGE_HEADER_NOTES, ...DELAY_HEADER_NOTES } : {};
  const described: Readonly<Record<string, string>> = { ...ofMessage, ...OPERATION_NOTES[route.operationId]?.requestHeaders };
  const ofPut = Object.entries(route.hasConditionHeaders === true ? CONDITION_HEADERS : {});
  return [
    ...Object.entries(described).map(([name, description]) => buildHeaderParameter(name, description, text)),
    ...ofPut.map(([name, schema]) => {
      const description = CONDITION_HEADER_NOTES[name as keyof typeof CONDITION_HEADERS];
      return buildHeaderParameter(name, description, convertParameter(schema));
    }),
  ];
}

function buildHeaderParameter(name: string, description: string, schema: JsonSchema): Parameter {
  return { name, in: "header", required: false, description, schema, ...exampleOf(name) };
}

function exampleOf(name: string): Pick<Parameter, "example"> {
  const example = PARAMETER_EXAMPLES[name];
  return example === undefined ? {} : { example };
}

function buildRequestBody(route: Route): RequestBody | undefined {
  const example = BODY_EXAMPLES[route.operationId];
  const shown = example === undefined ? {} : { example };
  if (route.isMessageBody === true || route.isValueBody === true) {
    return {
      description: route.isMessageBody === true ? MESSAGE_BODY_NOTE : VALUE_BODY_NOTE,
      required: false,
      content: { "application/json": { schema: {}, ...shown }, "*/*": {} },
    };
  }
  if (route.isPageBody === true) {
    return { description: PAGE_BODY_NOTE, required: true, content: { "application/octet-stream": {} } };
  }
  if (route.body === undefined) return undefined;
  return {
    required: route.isBodyOptional !== true,
    content: {
      "application/json": { schema: convertBody(route.body), ...shown },
      ...(route.mayBeFramed === true && { [FRAME_MEDIA_TYPE]: {} }),
    },
  };
}

function buildReplies(route: Route): Record<string, ApiResponse> {
  const replies = Object.entries(route.replies).map(([status, reply]) => [status, buildReply(route, status, reply)] as const);
  return Object.fromEntries(replies);
}

function buildReply(route: Route, status: string, reply: Reply): ApiResponse {
  const notes = OPERATION_NOTES[route.operationId] ?? {};
  const framed = route.hasFramedReply === true ? { [FRAME_MEDIA_TYPE]: {} } : {};
  const names = [...(notes.replyHeaders ?? []), ...(route.hasStateHeaders === true ? STATE_HEADERS : [])];
  const headers = names.map((name): [string, Reference] => [name, { $ref: `#/components/headers/${name}` }]);
  return {
    description: reply.description,
    ...(headers.length > 0 && { headers: Object.fromEntries(headers) }),
    ...(status !== "101" && { content: { ...buildContent(reply, notes.mediaType), ...framed } }),
    ...(notes.isMessageReply === true && { "x-header-families": [MESSAGE_HEADER_FAMILY] }),
  };
}

function buildContent(reply: Reply, mediaType = "*/*"): Record<string, MediaType> {
  if (reply.schema === undefined) return { [mediaType]: {} };
  const schema: JsonSchema = convertBody(reply.schema);
  const name = Object.keys(REPLY_SCHEMAS).find((key) => REPLY_SCHEMAS[key as keyof typeof REPLY_SCHEMAS] === reply.schema);
  return {
    "application/json": { schema, ...(name !== undefined && { example: REPLY_EXAMPLES[name as keyof typeof REPLY_EXAMPLES] }) },
  };
}
