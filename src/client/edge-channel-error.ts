// The one error of the client: says what failed, where, whether to try again, and whether the request may have been carried out.
import type { Problem, RefusalKind, Retry } from "../protocol/problems.ts";

/** The kinds of the server's problems, and those that arise on this side. They are API and never change; messages may. */
export type EdgeChannelErrorKind =
  | RefusalKind
  /** The signal was aborted before anything was sent. */
  | "aborted"
  /** The WebSocket did not open. Browsers and Node do not tell why. */
  | "connection-failed"
  /** The WebSocket closed or broke. */
  | "connection-lost"
  /** `close()` was called. */
  | "connection-closed"
  /** The server sent what the protocol does not know. */
  | "protocol-violation";

export interface EdgeChannelErrorOptions {
  readonly kind: EdgeChannelErrorKind;
  readonly origin: "server" | "network" | "client";
  readonly retry: Retry;
  readonly outcome: "not-applied" | "unknown";
  readonly problem?: Problem;
  readonly cause?: unknown;
}

/**
 * What every failing call of the client throws.
 *
 * `outcome` answers whether the request may have taken effect: after `"not-applied"` it certainly has not and can be repeated; after
 * `"unknown"` a put may be stored, and a get may have removed messages whose reply was lost.
 */
export class EdgeChannelError extends Error {
  override readonly name = "EdgeChannelError";
  readonly kind: EdgeChannelErrorKind;
  /** The HTTP status of the server's problem; undefined for failures that are not the server's. */
  readonly status: number | undefined;
  readonly origin: "server" | "network" | "client";
  /** What may be tried: nothing, the same again after a pause, or the same after reading the current state. */
  readonly retry: Retry;
  readonly outcome: "not-applied" | "unknown";
  /** The server's problem (RFC 9457) with the facts of the refusal. */
  readonly problem: Problem | undefined;

  constructor(message: string, options: EdgeChannelErrorOptions) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.kind = options.kind;
    this.origin = options.origin;
    this.retry = options.retry;
    this.outcome = options.outcome;
    this.problem = options.problem;
    this.status = options.problem?.status;
  }

  /** A refusal changed nothing, unless it says otherwise. */
  static fromProblem(problem: Problem): EdgeChannelError {
    const { kind, retry } = problem;
    const outcome = "outcome" in problem ? problem.outcome : "not-applied";
    return new EdgeChannelError(problem.detail, { kind, origin: "server", retry, outcome, problem });
  }
}
