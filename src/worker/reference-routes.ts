// /openapi.json and /docs: made from the route table when they are first asked for, and kept.
import type { Hono } from "hono";
import type { Env } from "../object/env.ts";
import { DOCS_POLICY } from "./reference/docs-assets.ts";
import { renderDocsPage } from "./reference/docs-page.ts";
import type { OpenApiDocument } from "./reference/openapi-document.ts";
import { buildOpenApi } from "./reference/openapi.ts";

let document: OpenApiDocument | undefined;
let page: string | undefined;

export function addReferenceRoutes(app: Hono<{ Bindings: Env }>): void {
  app.get("/openapi.json", (context) => context.json(getDocument()));
  app.get("/docs", (context) => {
    page ??= renderDocsPage(getDocument());
    return context.html(page, 200, { "Content-Security-Policy": DOCS_POLICY, "X-Content-Type-Options": "nosniff" });
  });
}

function getDocument(): OpenApiDocument {
  return (document ??= buildOpenApi());
}
