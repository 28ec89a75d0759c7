// What an HTTP reply says when it is not what was asked for.
import type { Problem } from "../protocol/problems.ts";
import { EdgeChannelError, type RequestOutcome } from "./edge-channel-error.ts";

/** What is used of `fetch`. */
export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

const PROBLEM_TYPE = "application/problem+json";
const MS_PER_SECOND = 1000;
/** Statuses of proxies and gateways that may pass, besides those from 500 on: request timeout, too early, too many requests. */
const PASSING_STATUSES: readonly number[] = [408, 425, 429];

/**
 * The error that a refusing reply stands for: the server's problem, or, where something else answered, `unexpected-reply`.
 *
 * @param outcome Of the latter: whoever answered may have passed the request on.
 */
export async function errorOfReply(reply: Response, outcome: RequestOutcome): Promise<EdgeChannelError> {
  const problem = await readProblem(reply);
  return problem === undefined ? unexpectedReply(reply, outcome) : EdgeChannelError.fromProblem(problem);
}

/** The error that a reply of something else stands for. */
export function unexpectedReply(reply: Response, outcome: RequestOutcome): EdgeChannelError {
  const { status } = reply;
  const isPassing = status >= 500 || PASSING_STATUSES.includes(status);
  const retryAfter = /^\d+$/.exec(reply.headers.get("Retry-After") ?? "")?.[0];
  const what = reply.headers.get("Content-Type") ?? "nothing";
  return new EdgeChannelError(`Cannot read the reply: status ${status} with ${what} is not of this service`, {
    kind: "unexpected-reply",
    origin: "network",
    retry: isPassing ? "after" : "never",
    outcome,
    status,
    retryAfterMs: retryAfter === undefined ? undefined : Number(retryAfter) * MS_PER_SECOND,
  });
}

async function readProblem(reply: Response): Promise<Problem | undefined> {
  if (reply.headers.get("Content-Type")?.startsWith(PROBLEM_TYPE) !== true) {
    await reply.body?.cancel();
    return undefined;
  }
  try {
    const problem: unknown = await reply.json();
    const { kind, retry } = Object(problem) as Partial<Problem>;
    // The rest of the shape is the server's promise.
    return kind !== undefined && retry !== undefined ? (problem as Problem) : undefined;
  } catch {
    // Not JSON, or cut off: what answered is not known.
    return undefined;
  }
}
