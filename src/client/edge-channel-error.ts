// The one error of the client: says what failed, where, whether to try again, and whether the request may have been carried out.
import type { Problem, RefusalKind, Retry } from "../protocol/problems.ts";

/** The kinds of the server's problems, and those that arise on this side. They are API and never change; messages may. */
export type EdgeChannelErrorKind =
  | RefusalKind
  /** No message came in time: what `get` throws. */
  | "empty"
  /** A log gave up records before a subscription without `onGap` was sent them: `cause` has `fromOffset` and `toOffset`. */
  | "gap"
  /** The signal was aborted. `outcome` says whether that came too late to keep the request from taking effect. */
  | "aborted"
  /**
   * The WebSocket did not open, and the service, asked why over HTTP, did not say that it never will (a page of another site may not hear
   * its answer); or what only consumers or producers need could not be loaded.
   */
  | "connection-failed"
  /** The WebSocket closed or broke, or an HTTP request found no way to the server or its reply none back. */
  | "connection-lost"
  /** `close()` was called. */
  | "connection-closed"
  /** The reply is none of this service: a proxy's page, a redirection. */
  | "unexpected-reply"
  /** The server sent what the protocol does not know. */
  | "protocol-violation";

/** Whether a request may have taken effect: it certainly has not, or nobody knows. */
export type RequestOutcome = "not-applied" | "unknown";

export interface EdgeChannelErrorOptions {
  readonly kind: EdgeChannelErrorKind;
  readonly origin: "server" | "network" | "client";
  readonly retry: Retry;
  readonly outcome: RequestOutcome;
  readonly problem?: Problem | undefined;
  /** Of a reply that is no problem; otherwise the problem tells. */
  readonly status?: number | undefined;
  /** Of a reply that is no problem; otherwise the problem tells. */
  readonly retryAfterMs?: number | undefined;
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
  /** The HTTP status of the server's problem, or of another reply; undefined for failures that are no reply. */
  readonly status: number | undefined;
  readonly origin: "server" | "network" | "client";
  /** What may be tried: nothing, the same again after a pause, or the same after reading the current state. */
  readonly retry: Retry;
  /** Whether the same call may succeed after a pause. After `outcome` `"unknown"` it may then happen twice. */
  readonly retryable: boolean;
  /** The pause that the server asks for, in milliseconds; undefined where it says none. */
  readonly retryAfterMs: number | undefined;
  readonly outcome: RequestOutcome;
  /** The server's problem (RFC 9457) with the facts of the refusal. */
  readonly problem: Problem | undefined;

  constructor(message: string, options: EdgeChannelErrorOptions) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    const { problem } = options;
    this.kind = options.kind;
    this.origin = options.origin;
    this.retry = options.retry;
    this.retryable = options.retry === "after";
    this.retryAfterMs = (problem as { readonly retryAfterMs?: number } | undefined)?.retryAfterMs ?? options.retryAfterMs;
    this.outcome = options.outcome;
    this.problem = problem;
    this.status = problem?.status ?? options.status;
  }

  /** A refusal changed nothing, unless it says otherwise. */
  static fromProblem(problem: Problem): EdgeChannelError {
    const { kind, retry, outcome = "not-applied" }: Problem & { readonly outcome?: RequestOutcome } = problem;
    return new EdgeChannelError(problem.detail, { kind, origin: "server", retry, outcome, problem });
  }

  /** The signal's reason becomes the cause. */
  static aborted(what: string, signal: AbortSignal | undefined, outcome: RequestOutcome = "not-applied"): EdgeChannelError {
    const cause: unknown = signal?.reason;
    return new EdgeChannelError(`${what}: the signal was aborted`, {
      kind: "aborted",
      origin: "client",
      retry: "never",
      outcome,
      cause,
    });
  }

  /** What a call meets when this program ended the connection, or what else it is made by. */
  static closed(outcome: RequestOutcome = "not-applied", closed = "connection"): EdgeChannelError {
    const what = outcome === "unknown" ? "No answer came" : "Cannot send";
    const facts = { kind: "connection-closed", origin: "client", retry: "never", outcome } as const;
    return new EdgeChannelError(`${what}: the ${closed} was closed by this program`, facts);
  }

  /** No way to the service, or to what the client needs, for now: nothing was sent. */
  static notConnected(message: string, cause?: unknown): EdgeChannelError {
    return new EdgeChannelError(message, {
      kind: "connection-failed",
      origin: "network",
      retry: "after",
      outcome: "not-applied",
      cause,
    });
  }

  /** A call that this side refuses to send, since the server would. */
  static refused(
    message: string,
    cause?: unknown,
    kind: "invalid-request" | "request-too-large" = "invalid-request",
  ): EdgeChannelError {
    return new EdgeChannelError(message, { kind, origin: "client", retry: "never", outcome: "not-applied", cause });
  }

  /** What is larger than the server takes at once. */
  static tooLarge(what: string, bytesMax: number): EdgeChannelError {
    return EdgeChannelError.refused(
      `Cannot send the ${what}: it has more than ${bytesMax} bytes`,
      undefined,
      "request-too-large",
    );
  }

  /** The server sent what the protocol does not know. */
  static violation(message: string): EdgeChannelError {
    return new EdgeChannelError(message, { kind: "protocol-violation", origin: "server", retry: "never", outcome: "unknown" });
  }

  /** The same failure of a call of which something else is known. */
  withOutcome(outcome: RequestOutcome): EdgeChannelError {
    return new EdgeChannelError(this.message, { ...(this as EdgeChannelErrorOptions), outcome, cause: this.cause });
  }
}
