// What may come back: success, or a problem of the table that gives nothing away.
import { PROBLEM_TYPES, type RefusalKind } from "../../../src/protocol/problems.ts";
import type { WireAnswer, WireReply } from "./wire.ts";

/** Text that only the inside of the service knows. */
const INTERNAL_TEXT =
  /\bat \S+ \(|\.[jt]s:\d+|node_modules|(?:Type|Range|Reference|Syntax|Internal)Error|sqlite|workerd|\[object|stack/i;

export type Verdict =
  | { readonly type: "accepted" }
  | { readonly type: "refused"; readonly kind: RefusalKind; readonly problem: Readonly<Record<string, unknown>> }
  /** The runtime's own words about broken HTTP, or an ended connection. */
  | { readonly type: "transport" }
  | { readonly type: "wrong"; readonly reason: string };

/** A 426 has to name the protocol in `Upgrade`, but the runtime takes that header off every reply that is no upgrade. */
const HEADERS_OF_STATUS: Readonly<Record<number, string>> = { 401: "www-authenticate", 405: "allow", 429: "retry-after" };

export function judgeReply(answer: WireAnswer, options: { isHead: boolean; isTransport: boolean }): Verdict {
  if (answer === "silent") return { type: "wrong", reason: "no reply in time" };
  if (answer === "closed")
    return options.isTransport ? { type: "transport" } : { type: "wrong", reason: "closed without a reply" };
  const { status, headers, body } = answer;
  const isProblem = headers.get("content-type") === "application/problem+json";
  const isRuntime = !isProblem && options.isTransport && (status === 501 || (status >= 400 && status < 500));
  if (isRuntime) return { type: "transport" };
  if (status === 101 || (status >= 200 && status < 300)) return { type: "accepted" };
  if (status < 400 || status > 499) return { type: "wrong", reason: `status ${status}: ${String(body).slice(0, 200)}` };
  if (!isProblem) return { type: "wrong", reason: `${status} is not a problem: ${String(body).slice(0, 200)}` };
  if (options.isHead) return { type: "refused", kind: "invalid-request", problem: {} };
  return judgeProblemReply(answer);
}

function judgeProblemReply({ status, headers, body }: WireReply): Verdict {
  const needed = HEADERS_OF_STATUS[status];
  if (needed !== undefined && !headers.has(needed)) return { type: "wrong", reason: `${status} without the header ${needed}` };
  const verdict = judgeProblem(parseObject(String(body)));
  if (verdict.type === "refused" && verdict.problem["status"] !== status) {
    return { type: "wrong", reason: `status ${status} with a problem of ${String(verdict.problem["status"])}` };
  }
  return verdict;
}

export function judgeProblem(problem: Readonly<Record<string, unknown>> | undefined): Verdict {
  const wrong = (reason: string): Verdict => ({ type: "wrong", reason: `${reason}: ${JSON.stringify(problem).slice(0, 300)}` });
  if (problem === undefined) return { type: "wrong", reason: "no problem" };
  const { kind, status, type, title, retry, detail } = problem;
  if (typeof kind !== "string" || !Object.hasOwn(PROBLEM_TYPES, kind)) return wrong("unknown kind");
  const known = PROBLEM_TYPES[kind as RefusalKind];
  if (status !== known.status || title !== known.title || retry !== known.retry) return wrong("not as in the problem table");
  if (known.status >= 500) return wrong("a failure of the server");
  if (typeof type !== "string" || !type.endsWith(`:${kind}`)) return wrong("the type does not name the kind");
  if (typeof detail !== "string" || detail === "") return wrong("no detail");
  if (INTERNAL_TEXT.test(detail)) return wrong("tells of the inside");
  return { type: "refused", kind: kind as RefusalKind, problem };
}

export function parseObject(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
