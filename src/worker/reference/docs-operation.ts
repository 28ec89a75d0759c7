// One operation of the reference as HTML: what it takes, what it answers, and how to call it.
import type { JsonSchema } from "@valibot/to-json-schema";
import { PROBLEM_TYPES } from "../../protocol/problems.ts";
import { formatBounds, formatType, listMembers, nameOf, type Member } from "./docs-schema.ts";
import { html, type Content, type Markup } from "./markup.ts";
import type {
  ApiOperation,
  ApiResponse,
  ApiSchema,
  FrameNote,
  MediaType,
  OpenApiDocument,
  SocketNotes,
} from "./openapi-document.ts";

/** Larger schemas are linked to only. */
const MEMBERS_INLINE_MAX = 8;

export interface Entry {
  readonly method: string;
  readonly path: string;
  readonly operation: ApiOperation;
}

/** All operations, in the order of the document. */
export function listEntries(document: OpenApiDocument): Entry[] {
  return Object.entries(document.paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => ({ method, path, operation })),
  );
}

/** What the filter box finds an operation by. */
export function wordsOf({ method, path, operation }: Entry): string {
  return `${method} ${path} ${operation.operationId} ${operation.summary}`.toLowerCase();
}

export function formatMethod(method: string): Markup {
  return html`<span class="method ${method}">${method.toUpperCase()}</span>`;
}

/** Text with code in backticks, as the document has it. */
export function formatProse(text: string): Content {
  return text.split("`").map((part, index) => (index % 2 === 0 ? part : html`<code>${part}</code>`));
}

export function renderOperation(entry: Entry, document: OpenApiDocument): Markup {
  const { method, path, operation } = entry;
  const id = operation.operationId;
  return html`<section class="operation" id="${id}" data-words="${wordsOf(entry)}" aria-labelledby="${id}-title">
    <header>
      ${formatMethod(method)}
      <h3 id="${id}-title"><a href="#${id}">${path}</a></h3>
      ${operation.security?.length === 0 ? html`<span class="tag">no token needed</span>` : undefined}
    </header>
    <p class="summary">${formatProse(operation.summary)}</p>
    ${operation.description === undefined ? undefined : html`<p>${formatProse(operation.description)}</p>`}
    ${renderParameters(operation)} ${renderRequestBody(operation, document)}
    <h4>Replies</h4>
    ${renderReplies(operation, document)} ${renderRefusals(operation)}
    <h4>Example</h4>
    <pre class="curl"><code>${formatCurl(entry)}</code></pre>
    ${operation["x-websocket"] === undefined ? undefined : renderFrames(operation["x-websocket"])}
  </section>`;
}

function renderParameters(operation: ApiOperation): Content {
  const parameters = (operation.parameters ?? []).map(({ name, in: place, required, description, schema }) =>
    renderRow({ name, schema, isRequired: required }, [html`<span class="quiet">in ${place}</span>. `, formatProse(description)]),
  );
  const families = (operation["x-header-families"] ?? []).map(({ name, description }) =>
    renderRow({ name, schema: { type: "string" }, isRequired: false }, [
      html`<span class="quiet">in header</span>. `,
      formatProse(description),
    ]),
  );
  if (parameters.length === 0) return undefined;
  return html`<h4>Parameters</h4>
    ${renderTable(["Name", "Type", "Meaning"], [...parameters, ...families])}`;
}

function renderRequestBody({ requestBody }: ApiOperation, document: OpenApiDocument): Content {
  if (requestBody === undefined) return undefined;
  const types = Object.keys(requestBody.content).map((type, index) => html`${index === 0 ? "" : " or "}<code>${type}</code>`);
  const schema = Object.values(requestBody.content)[0]?.schema ?? {};
  const members = resolve(schema, document);
  return html`<h4>Body</h4>
    <p>
      <span class="quiet">${types}${requestBody.required ? undefined : ", may be absent"}.</span>
      ${schema.$ref === undefined ? undefined : html` ${formatType(schema)}.`}
      ${requestBody.description === undefined ? undefined : formatProse(requestBody.description)}
    </p>
    ${renderMembers(members)}`;
}

function resolve(schema: ApiSchema, document: OpenApiDocument): JsonSchema {
  return schema.$ref === undefined ? schema : (document.components.schemas[nameOf(schema.$ref)] ?? {});
}

/** The members of an object as a table; nothing for other schemas. */
export function renderMembers(schema: JsonSchema): Content {
  const members = listMembers(schema);
  if (members.length === 0) return undefined;
  return renderTable(
    ["Member", "Type", "Meaning"],
    members.map((member) => renderRow(member, formatProse(member.schema.description ?? ""))),
  );
}

export function renderTable(columns: readonly string[], rows: readonly Markup[]): Markup {
  const names = columns.map((column) => html`<th scope="col">${column}</th>`);
  return html`<div class="scroll">
    <table>
      <thead>
        <tr>
          ${names}
        </tr>
      </thead>
      <tbody>
        ${rows}
      </tbody>
    </table>
  </div>`;
}

/** A row of Name, Type, Meaning. */
export function renderRow({ name, schema, isRequired }: Member, meaning: Content): Markup {
  const bounds = formatBounds(schema);
  return html`<tr>
    <td><code>${name}</code> ${isRequired ? html`<span class="required">required</span>` : undefined}</td>
    <td>${formatType(schema)}${bounds === undefined ? undefined : html` <span class="bounds">${bounds}</span>`}</td>
    <td>${meaning}</td>
  </tr>`;
}

function isRefusal(response: ApiResponse): boolean {
  return response["x-problem-kinds"] !== undefined;
}

function renderReplies(operation: ApiOperation, document: OpenApiDocument): Content {
  const replies = Object.entries(operation.responses).filter(([, response]) => !isRefusal(response));
  return replies.map(([status, response]) => {
    const [content] = Object.entries(response.content ?? {});
    const names = [...Object.keys(response.headers ?? {}), ...(response["x-header-families"] ?? []).map(({ name }) => name)];
    const headers = names.map((name, index) => html`${index === 0 ? "" : ", "}<code>${name}</code>`);
    const members = resolve(content?.[1].schema ?? {}, document);
    const isShort = Object.keys(members.properties ?? {}).length <= MEMBERS_INLINE_MAX;
    return html`<p>
        ${formatStatus(status)} ${formatProse(response.description)}.
        ${content === undefined ? undefined : describeContent(content)}
      </p>
      ${isShort ? renderMembers(members) : undefined}
      ${names.length === 0 ? undefined : html`<p class="quiet">Headers: ${headers}.</p>`}
      ${content?.[1].example === undefined ? undefined : renderExample(content[1].example)}`;
  });
}

function describeContent([type, { schema }]: [string, MediaType]): Markup {
  const kind = schema?.$ref === undefined ? undefined : html`: ${formatType(schema)}`;
  return html`<span class="quiet">${type === "*/*" ? "Of any type" : html`<code>${type}</code>`}</span>${kind}`;
}

function renderExample(example: unknown): Markup {
  return html`<details>
    <summary>Example of the reply</summary>
    <pre><code>${JSON.stringify(example, undefined, 2)}</code></pre>
  </details>`;
}

function formatStatus(status: string): Markup {
  return html`<span class="status status-${status.charAt(0)}">${status}</span>`;
}

function renderRefusals(operation: ApiOperation): Markup {
  const refusals = Object.entries(operation.responses).filter(([, response]) => isRefusal(response));
  const rows = refusals.flatMap(([status, response]) =>
    (response["x-problem-kinds"] ?? []).map(
      (kind) =>
        html`<tr>
          <td>${formatStatus(status)}</td>
          <td>
            <a href="#problem-${kind}"><code>${kind}</code></a>
          </td>
          <td>${PROBLEM_TYPES[kind].title}</td>
        </tr>`,
    ),
  );
  return html`<details>
    <summary>Refusals: ${refusals.map(([status]) => status).join(", ")}</summary>
    ${renderTable(["Status", "Kind", "Meaning"], rows)}
  </details>`;
}

/** A call for a shell in which URL and TOKEN are set. */
function formatCurl({ method, path, operation }: Entry): string {
  const parameters = operation.parameters ?? [];
  const filled = parameters
    .filter((parameter) => parameter.in === "path")
    .reduce((address, { name, example }) => address.replace(`{${name}}`, encodeURIComponent(example ?? name)), path);
  const query = parameters.filter((parameter) => parameter.in === "query" && parameter.example !== undefined);
  const search = query.map(({ name, example }) => `${name}=${encodeURIComponent(example ?? "")}`).join("&");
  const headers = parameters.filter((parameter) => parameter.in === "header" && parameter.example !== undefined);
  const body = Object.entries(operation.requestBody?.content ?? {}).find(([, { example }]) => example !== undefined);
  const isFile = operation.requestBody?.content["application/octet-stream"] !== undefined;
  const subprotocol = operation["x-websocket"]?.subprotocol;
  const lines = [
    `curl ${method === "get" ? "" : `-X ${method.toUpperCase()} `}"$URL${filled}${search === "" ? "" : `?${search}`}"`,
    ...(operation.security?.length === 0 ? [] : ['-H "Authorization: Bearer $TOKEN"']),
    ...headers.map(({ name, example }) => `-H ${quote(`${name}: ${example ?? ""}`)}`),
    ...(subprotocol === undefined ? [] : upgradeOptions(subprotocol)),
    ...(body === undefined ? [] : [`-H ${quote(`Content-Type: ${body[0]}`)}`, `-d ${quote(JSON.stringify(body[1].example))}`]),
    ...(isFile ? ["--data-binary @page-1"] : []),
  ];
  return lines.join(" \\\n  ");
}

function upgradeOptions(subprotocol: string): string[] {
  const headers = [
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
  ];
  return ["-i -N --http1.1", ...[...headers, `Sec-WebSocket-Protocol: ${subprotocol}`].map((header) => `-H ${quote(header)}`)];
}

/** Quotes a word for a POSIX shell. */
function quote(word: string): string {
  return `'${word.replaceAll("'", String.raw`'\''`)}'`;
}

function renderFrames({ subprotocol, binary, specification, client, server, closeCodes }: SocketNotes): Markup {
  const codes = closeCodes.map(({ code, description }) => html`<li><code>${code}</code> ${description}</li>`);
  return html`<h4>Frames</h4>
    <p>
      Each frame of <code>${subprotocol}</code> is one JSON object. Here they are in short; <code>${specification}</code> in the
      source is the full account.
    </p>
    <p><code>${binary.subprotocol}</code>: ${formatProse(binary.description)}</p>
    <details>
      <summary>From the client</summary>
      ${renderFrameList(client)}
    </details>
    <details>
      <summary>From the server</summary>
      ${renderFrameList(server)}
    </details>
    <p>The server closes with:</p>
    <ul>
      ${codes}
    </ul>`;
}

function renderFrameList(frames: readonly FrameNote[]): Markup {
  const items = frames.map(
    ({ type, description, example }) =>
      html`<dt><code>${type}</code></dt>
        <dd>
          ${formatProse(description)}
          <pre><code>${JSON.stringify(example)}</code></pre>
        </dd>`,
  );
  return html`<dl>${items}</dl>`;
}
