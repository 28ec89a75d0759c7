// Refusals as HTTP replies (RFC 9457), with the headers that HTTP wants beside them.
import { formatProblem } from "../protocol/problem-format.ts";
import type { Refusal } from "../protocol/problems.ts";

export function replyWithProblem(refusal: Refusal): Response {
  const problem = formatProblem(refusal);
  const headers = new Headers({ "Content-Type": "application/problem+json" });
  if ("retryAfterMs" in refusal) headers.set("Retry-After", String(Math.ceil(refusal.retryAfterMs / 1000)));
  if (refusal.kind === "unauthorized") headers.set("WWW-Authenticate", "Bearer");
  if (refusal.kind === "method-not-allowed") headers.set("Allow", refusal.allow.join(", "));
  if (refusal.kind === "upgrade-required") headers.set("Upgrade", "websocket");
  return Response.json(problem, { status: problem.status, headers });
}
