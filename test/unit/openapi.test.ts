// The OpenAPI description against the route table and the OpenAPI 3.1 schema, and the page that shows it.
import { createHash } from "node:crypto";
import { Validator } from "@seriousme/openapi-schema-validator";
import * as v from "valibot";
import { describe, expect, test } from "vitest";
import { parseClientFrame } from "../../src/protocol/frames.ts";
import { parsePutMessage } from "../../src/protocol/message.ts";
import { PROBLEM_TYPES } from "../../src/protocol/problems.ts";
import { batchBodySchema, findMethods, pathSchemas, REPLY_SCHEMAS, ROUTES } from "../../src/protocol/routes.ts";
import type { Route } from "../../src/protocol/route.ts";
import { DOCS_POLICY, DOCS_SCRIPT, DOCS_STYLE } from "../../src/worker/reference/docs-assets.ts";
import { listEntries, type Entry } from "../../src/worker/reference/docs-operation.ts";
import { renderDocsPage } from "../../src/worker/reference/docs-page.ts";
import type { OpenApiDocument } from "../../src/worker/reference/openapi-document.ts";
import { BODY_EXAMPLES, REPLY_EXAMPLES } from "../../src/worker/reference/openapi-examples.ts";
import { CLIENT_FRAMES } from "../../src/worker/reference/openapi-frames.ts";
import { OPERATION_NOTES } from "../../src/worker/reference/openapi-notes.ts";
import { refusalsOf } from "../../src/worker/reference/openapi-problems.ts";
import { buildOpenApi } from "../../src/worker/reference/openapi.ts";

const api = buildOpenApi();
const entries = listEntries(api);
const page = renderDocsPage(api);

function entryOf(route: Route): Entry {
  const entry = entries.find(({ operation }) => operation.operationId === route.operationId);
  if (entry === undefined) throw new Error(`Expected ${route.operationId} in the document`);
  return entry;
}

function takesBody(route: Route): boolean {
  const isRaw = route.isMessageBody === true || route.isValueBody === true || route.isPageBody === true;
  return route.body !== undefined || isRaw;
}

/** All values of the member `name`, however deep. */
function collect(value: unknown, name: string): unknown[] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => (key === name ? [inner] : collect(inner, name)));
}

function resolve(reference: string): unknown {
  let found: unknown = api;
  for (const key of reference.slice("#/".length).split("/")) {
    found = Object.entries(found ?? {}).find(([name]) => name === key)?.[1];
  }
  return found;
}

describe("worker/openapi", () => {
  test("every route is described, and nothing else", () => {
    const described = entries.map(({ method, path, operation }) => `${method} ${path} ${operation.operationId}`);
    const served = ROUTES.map(({ method, path, operationId }) => `${method} ${path} ${operationId}`);

    expect(described.toSorted()).toEqual(served.toSorted());
  });

  test("each operationId is used once", () => {
    const ids = entries.map(({ operation }) => operation.operationId);

    expect(new Set(ids).size).toBe(ids.length);
  });

  test("the document keeps to the schema of OpenAPI 3.1", async () => {
    const result = await new Validator().validate(JSON.parse(JSON.stringify(api)) as Record<string, unknown>);

    expect(result).toMatchObject({ valid: true });
  });

  test("every reference leads somewhere", () => {
    const mapped = collect(api, "mapping").flatMap((mapping) => Object.values(mapping as Record<string, string>));
    const references = [...collect(api, "$ref"), ...mapped].map(String);

    expect(references.length).toBeGreaterThan(100);
    expect(references.filter((reference) => resolve(reference) === undefined)).toEqual([]);
  });

  test("every operation has a tag that is described", () => {
    const names = api.tags.map(({ name }) => name);

    expect(entries.filter(({ operation }) => !operation.tags.every((tag) => names.includes(tag)))).toEqual([]);
  });

  test("notes are about operations that exist", () => {
    const ids = ROUTES.map(({ operationId }) => operationId);

    expect(Object.keys(OPERATION_NOTES).filter((id) => !ids.includes(id))).toEqual([]);
  });

  test("only the health check needs no token", () => {
    const open = entries.filter(({ operation }) => operation.security?.length === 0);

    expect(open.map(({ path }) => path)).toEqual(["/healthz"]);
    expect(api.security).toEqual([{ bearer: [] }]);
  });
});

describe("worker/openapi: parts of an operation", () => {
  test.each([
    ["putMessage", "no-readers"],
    ["putBatch", "no-readers"],
    ["redriveDeadLetters", "no-readers"],
    ["changeChannel", "settings-conflict"],
  ])("%s can be refused %s", (operationId, kind) => {
    const found = entries.find(({ operation }) => operation.operationId === operationId);

    expect(found?.operation.responses["409"]?.["x-problem-kinds"]).toContain(kind);
  });

  test.each(ROUTES)("$operationId has the parameters of its address and query", (route) => {
    const parameters = entryOf(route).operation.parameters ?? [];
    const inPath = Array.from(route.path.matchAll(/\{(\w+)\}/g), ([, name]) => name);
    const inQuery = Object.keys(route.query !== undefined && "entries" in route.query ? Object(route.query.entries) : {});

    expect(parameters.filter((parameter) => parameter.in === "path").map(({ name }) => name)).toEqual(inPath);
    expect(parameters.filter((parameter) => parameter.in === "query").map(({ name }) => name)).toEqual(inQuery);
  });

  test.each(ROUTES)("$operationId has its replies, with state headers where it sends them", (route) => {
    const { responses } = entryOf(route).operation;

    for (const status of Object.keys(route.replies)) {
      const headers = Object.keys(responses[status]?.headers ?? {});
      expect(responses[status]?.description).toBe(route.replies[status]?.description);
      expect(headers.includes("Channel-Depth")).toBe(route.hasStateHeaders === true);
      expect(headers.includes("Channel-Waiters")).toBe(route.hasStateHeaders === true);
    }
  });

  test.each(ROUTES)("$operationId has a body where it takes one", (route) => {
    const { requestBody } = entryOf(route).operation;

    expect(requestBody !== undefined).toBe(takesBody(route));
    const isRequired = route.isPageBody === true || (route.body !== undefined && route.isBodyOptional !== true);
    expect(requestBody?.required === true).toBe(isRequired);
  });

  test("the headers of a single put are described", () => {
    const put = entries.find(({ operation }) => operation.operationId === "putMessage")?.operation;
    const names = put?.parameters?.filter((parameter) => parameter.in === "header").map(({ name }) => name);

    const ofRetries = ["Producer-Id", "Producer-Epoch", "Producer-Seq", "Idempotency-Key"];
    expect(names).toEqual([
      "Channel-Key",
      "Channel-Message-Id",
      "Channel-Delay-Ms",
      "Channel-Deliver-At-Ms",
      "Channel-Ttl-Ms",
      ...ofRetries,
    ]);
    expect(put?.["x-header-families"]?.map(({ name }) => name)).toEqual(["Channel-Header-{name}"]);
    expect(put?.requestBody?.description).toContain("Content-Type");
  });

  test("the conditions of a checkpoint are described, and its version", () => {
    const shown = ["writeCheckpoint", "readCheckpoint", "deleteCheckpoint"].map((id) => {
      const operation = entries.find((entry) => entry.operation.operationId === id)?.operation;
      const given = operation?.parameters?.filter((parameter) => parameter.in === "header").map(({ name }) => name);
      return [given, Object.keys(operation?.responses["200"]?.headers ?? {})];
    });

    expect(shown).toEqual([
      [["If-Match", "If-None-Match"], ["ETag"]],
      [[], ["ETag", "Channel-Updated-At-Ms"]],
      [["If-Match"], []],
    ]);
  });

  test("a number in an address is described as the number that it stands for", () => {
    const limit = entries.find(({ path }) => path === "/v1/channels")?.operation.parameters?.find(({ name }) => name === "limit");

    expect(limit?.schema).toEqual({ type: "integer", minimum: 1, maximum: 1000 });
  });

  test("a limit in bytes bounds the characters", () => {
    const { properties } = api.components.schemas["PutMessage"] ?? {};

    expect(properties?.["key"]).toMatchObject({ type: "string", minLength: 1, maxLength: 256 });
  });
});

function kindsOf(id: string): readonly string[] {
  return ROUTES.filter(({ operationId }) => operationId === id).flatMap(refusalsOf);
}

describe("worker/openapi: refusals", () => {
  test.each(ROUTES)("$operationId lists each refusal under its status", (route) => {
    const { responses } = entryOf(route).operation;
    const kinds = refusalsOf(route);

    expect(kinds).toEqual(expect.arrayContaining([...route.refusals]));
    for (const kind of kinds) expect(responses[String(PROBLEM_TYPES[kind].status)]?.["x-problem-kinds"]).toContain(kind);
    const listed = Object.values(responses).flatMap((response) => response["x-problem-kinds"] ?? []);
    expect(listed.toSorted()).toEqual(kinds.toSorted());
  });

  test("each kind has a schema that names its status", () => {
    const kinds = Object.values(api.components.schemas).flatMap((schema) => schema.allOf ?? []);
    const constants = kinds.flatMap((part) =>
      typeof part === "object" && part.properties !== undefined ? [part.properties] : [],
    );

    const expected = Object.entries(PROBLEM_TYPES).map(([kind, { status }]) => ({
      kind: { const: kind },
      status: { const: status },
    }));
    expect(constants).toMatchObject(expected);
    expect(api.components.schemas["Problem"]?.properties?.["kind"]).toMatchObject({ enum: Object.keys(PROBLEM_TYPES) });
  });

  test("what follows from the shape of a route is added", () => {
    expect(kindsOf("getHealth")).toEqual(["method-not-allowed", "internal"]);
    expect(kindsOf("createChannel")).toEqual(
      expect.arrayContaining(["unsupported-media-type", "request-too-large", "invalid-request"]),
    );
    expect(kindsOf("deleteChannel")).not.toContain("unsupported-media-type");
    expect(kindsOf("openSocket")).not.toContain("storage-failed");
  });
});

describe("worker/openapi: examples", () => {
  test.each(Object.keys(REPLY_EXAMPLES) as (keyof typeof REPLY_EXAMPLES)[])("the reply %s keeps to its schema", (name) => {
    expect(v.safeParse(REPLY_SCHEMAS[name], REPLY_EXAMPLES[name]).issues).toBeUndefined();
  });

  test.each(Object.values(CLIENT_FRAMES))("the frame $example.type is one that the server takes", ({ example }) => {
    expect(parseClientFrame(JSON.stringify(example))).toEqual({ ok: true, value: example });
  });

  test("each message of the batch has one body", () => {
    const { messages } = v.parse(batchBodySchema, BODY_EXAMPLES["putBatch"]);

    expect(messages.map((message) => parsePutMessage(message, "").ok)).toEqual([true, true, true]);
  });
});

/** The example of an operation as a shell reads it: its words, without line ends and quotes. */
function readCurl(operationId: string): string[] {
  const [section] = page.split(`id="${operationId}"`).slice(1);
  const text = /<pre class="curl"><code>([^<]*)<\/code>/.exec(section ?? "")?.[1] ?? "";
  const plain = text
    .replaceAll("&quot;", '"')
    .replaceAll("&#39;", "'")
    .replaceAll("&lt;", "<")
    .replaceAll("&gt;", ">")
    .replaceAll("&amp;", "&");
  const words = plain.replaceAll("\\\n", " ").match(/'[^']*'|"[^"]*"|[^\s"']+/g) ?? [];
  return words.map((word) => word.replaceAll(/^['"]|['"]$/g, ""));
}

function hashOf(text: string): string {
  return `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
}

describe("worker/docs-page", () => {
  test.each(ROUTES)("$operationId has an anchor and a link to it", ({ operationId }) => {
    expect(page.split(` id="${operationId}"`)).toHaveLength(2);
    expect(page).toContain(`href="#${operationId}"`);
  });

  test("every link inside the page leads somewhere", () => {
    const targets = Array.from(page.matchAll(/ href="#([^"]+)"/g), ([, target]) => target ?? "");

    expect(targets.length).toBeGreaterThan(100);
    expect(targets.filter((target) => !page.includes(` id="${target}"`))).toEqual([]);
  });

  test.each(ROUTES)("the example of $operationId would be served", (route) => {
    const words = readCurl(route.operationId);
    const address = new URL((words.find((word) => word.startsWith("$URL")) ?? "").replace("$URL", "https://localhost"));
    const method = words.includes("-X") ? words[words.indexOf("-X") + 1] : "GET";

    expect(words[0]).toBe("curl");
    expect(method).toBe(route.method.toUpperCase());
    expect(findMethods(address.pathname)).toContain(method);
    expect(v.safeParse(route.query ?? v.strictObject({}), Object.fromEntries(address.searchParams)).issues).toBeUndefined();
    expect(words.includes("Authorization: Bearer $TOKEN")).toBe(route.isPublic !== true);
    const body = words.includes("-d") ? (JSON.parse(words[words.indexOf("-d") + 1] ?? "") as unknown) : undefined;
    expect(words.includes("--data-binary")).toBe(route.isPageBody === true);
    expect(body !== undefined).toBe(takesBody(route) && route.isPageBody !== true);
    expect(v.safeParse(route.body ?? v.unknown(), body).issues).toBeUndefined();
  });

  test("the path parameters of the examples are valid", () => {
    const examples = new Map(
      entries.flatMap(({ operation }) => operation.parameters ?? []).map(({ name, example }) => [name, example]),
    );

    for (const [name, schema] of Object.entries(pathSchemas))
      expect(v.safeParse(schema, String(examples.get(name))).issues).toBeUndefined();
  });

  test("text of the document is escaped wherever it stands", () => {
    const hostile = `</code></pre></style><script>alert("x")</script><img src=x onerror='y'>&`;
    const poison = (value: unknown, key = ""): unknown => {
      if (Array.isArray(value)) return value.map((item) => poison(item, key));
      if (typeof value === "object" && value !== null)
        return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, poison(inner, name)]));
      return typeof value === "string" && !["$ref", "x-problem-kinds", "tags", "name", "in"].includes(key)
        ? value + hostile
        : value;
    };

    const poisoned = renderDocsPage({ ...(poison(api) as OpenApiDocument), tags: api.tags });

    expect(poisoned).toContain("&lt;script&gt;alert(&quot;x&quot;)");
    expect(poisoned.split("<script>")).toHaveLength(2);
    expect(poisoned).not.toContain("<img");
    expect(poisoned).not.toContain("onerror='");
  });

  test("the policy allows the page's own style and script and nothing else", () => {
    expect(DOCS_POLICY).toContain(`style-src ${hashOf(DOCS_STYLE)}`);
    expect(DOCS_POLICY).toContain(`script-src ${hashOf(DOCS_SCRIPT)}`);
    expect(page).toContain(`<style>${DOCS_STYLE}</style>`);
    expect(page).toContain(`<script>${DOCS_SCRIPT}</script>`);
    expect(page).not.toMatch(/ style="| on\w+="| src="|<link/);
  });
});
