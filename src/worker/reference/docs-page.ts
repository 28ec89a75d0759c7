// The browsable reference: the OpenAPI document as one page that needs nothing else, neither assets nor a script.
import type { JsonSchema } from "@valibot/to-json-schema";
import { DOCS_SCRIPT, DOCS_STYLE } from "./docs-assets.ts";
import {
  formatMethod,
  formatProse,
  listEntries,
  renderMembers,
  renderOperation,
  renderRow,
  renderTable,
  wordsOf,
  type Entry,
} from "./docs-operation.ts";
import { formatType } from "./docs-schema.ts";
import { html, verbatim, type Content, type Markup } from "./markup.ts";
import type { OpenApiDocument, Tag } from "./openapi-document.ts";

/** Serve it with `DOCS_POLICY`. */
export function renderDocsPage(document: OpenApiDocument): string {
  const { info } = document;
  const page = html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <title>${info.title}: reference</title>
        ${verbatim(`<style>${DOCS_STYLE}</style>`)}
      </head>
      <body>
        <a class="skip" href="#reference">Skip to the reference</a>
        <div class="frame">
          ${renderNavigation(document)}
          <main id="reference">
            ${renderIntroduction(document)} ${document.tags.map((tag) => renderGroup(tag, document))} ${renderProblems(document)}
            ${renderHeaders(document)} ${renderSchemas(document)}
          </main>
        </div>
        ${verbatim(`<script>${DOCS_SCRIPT}</script>`)}
      </body>
    </html>`;
  return page.text;
}

function entriesOf(tag: Tag, document: OpenApiDocument): Entry[] {
  return listEntries(document).filter(({ operation }) => operation.tags.includes(tag.name));
}

function renderNavigation(document: OpenApiDocument): Markup {
  const groups = document.tags.map((tag) => {
    const links = entriesOf(tag, document).map((entry) => {
      const { operationId } = entry.operation;
      return html`<li data-words="${wordsOf(entry)}">
        <a href="#${operationId}">${formatMethod(entry.method)}${operationId}</a>
      </li>`;
    });
    return html`<section data-group>
      <h2>${tag.name}</h2>
      <ul>
        ${links}
      </ul>
    </section>`;
  });
  return html`<nav aria-label="Operations">
    <a class="home" href="#">${document.info.title}</a>
    <input id="filter" type="search" placeholder="Filter" aria-label="Filter operations" autocomplete="off" hidden />
    <div class="groups">
      ${groups}
      <section>
        <h2>Reference</h2>
        <ul>
          <li><a href="#problems">Refusals</a></li>
          <li><a href="#headers">Headers</a></li>
          <li><a href="#schemas">Schemas</a></li>
        </ul>
      </section>
    </div>
  </nav>`;
}

function renderIntroduction({ info }: OpenApiDocument): Markup {
  return html`<h1>${info.title}</h1>
    <p class="lead">${info.summary}</p>
    ${info.description.split("\n\n").map((paragraph) => html`<p>${formatProse(paragraph)}</p>`)}
    <p>The same for programs: <a href="/openapi.json">openapi.json</a>. The examples below are for a shell with these two:</p>
    <pre><code>export URL=https://edge-channel.example.workers.dev
export TOKEN=the-token-of-the-deployment</code></pre>`;
}

function renderGroup(tag: Tag, document: OpenApiDocument): Markup {
  const operations = entriesOf(tag, document).map((entry) => renderOperation(entry, document));
  return html`<section data-group>
    <h2>${tag.name}</h2>
    <p class="quiet">${formatProse(tag.description)}</p>
    ${operations}
  </section>`;
}

/** The schemas that add the facts of a kind to `Problem`. */
function factsOf(schema: JsonSchema): JsonSchema | undefined {
  const facts = schema.allOf?.find((part) => typeof part !== "boolean" && part.properties?.["kind"] !== undefined);
  return typeof facts === "boolean" ? undefined : facts;
}

function constantOf(schema: JsonSchema, member: string): string | number {
  const value = schema.properties?.[member];
  const constant = typeof value === "object" ? value.const : undefined;
  return typeof constant === "string" || typeof constant === "number" ? constant : "";
}

function renderProblems({ components }: OpenApiDocument): Markup {
  const rows = Object.values(components.schemas).flatMap((schema) => {
    const facts = factsOf(schema);
    return facts === undefined ? [] : [renderProblem(schema.description ?? "", facts)];
  });
  return html`<h2 id="problems">Refusals</h2>
    <p>
      Each is a ${formatType({ $ref: "#/components/schemas/Problem" })} in <code>application/problem+json</code>, over a WebSocket
      in a frame <code>problem</code>. Retry says what may be tried: nothing, the same <code>after</code> a pause, or the same
      after reading the current state (<code>refetch</code>).
    </p>
    ${renderTable(["Kind", "Status", "Meaning", "Retry", "Facts"], rows)}`;
}

function renderProblem(title: string, facts: JsonSchema): Markup {
  const kind = constantOf(facts, "kind");
  const names = Object.keys(facts.properties ?? {}).filter((name) => !["kind", "status", "retry"].includes(name));
  const list: Content[] = names.map((name, index) => html`${index === 0 ? "" : ", "}<code>${name}</code>`);
  return html`<tr id="problem-${kind}">
    <td><code>${kind}</code></td>
    <td><span class="status">${constantOf(facts, "status")}</span></td>
    <td>${title}</td>
    <td data-label="Retry">${constantOf(facts, "retry")}</td>
    <td data-label="Facts">${list}</td>
  </tr>`;
}

function renderHeaders({ components }: OpenApiDocument): Markup {
  const rows = Object.entries(components.headers).map(([name, { schema, description }]) =>
    renderRow({ name, schema, isRequired: false }, formatProse(description)),
  );
  return html`<h2 id="headers">Headers of replies</h2>
    ${renderTable(["Header", "Type", "Meaning"], rows)}`;
}

function renderSchemas({ components }: OpenApiDocument): Markup {
  const schemas = Object.entries(components.schemas).filter(([, schema]) => factsOf(schema) === undefined);
  const sections = schemas.map(
    ([name, schema]) =>
      html`<section class="schema" id="schema-${name}">
        <h3>${name}</h3>
        <p>${formatProse(schema.description ?? "")}</p>
        ${renderMembers(schema)}
      </section>`,
  );
  return html`<h2 id="schemas">Schemas</h2>
    ${sections}`;
}
