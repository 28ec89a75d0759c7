// What a handler's outcome means for its message.
import { REASON_BYTES_MAX } from "../protocol/client-limits.ts";
import type { SettleEntry, SettleVerb } from "./settle-queue.ts";

/** Thrown by a handler: the message becomes a dead letter at once. `reason` has at most 1,024 bytes; what is more is cut off. */
export class RejectError extends Error {
  override readonly name = "RejectError";
}

export interface RetryErrorOptions extends ErrorOptions {
  /** When the message may be handed out again, in milliseconds from now, at most 30 days. Default: the channel's delay for the attempt. */
  readonly delayMs?: number | undefined;
}

/** Thrown by a handler: the message is handed out again, after a delay that it may name. */
export class RetryError extends Error {
  override readonly name = "RetryError";
  readonly delayMs: number | undefined;

  constructor(reason = "", { delayMs, ...options }: RetryErrorOptions = {}) {
    super(reason, options);
    this.delayMs = delayMs;
  }
}

/** UTF-8 has at most so many bytes for a character of a string. */
const CHARACTER_BYTES_MAX = 3;

export function verdictOf(
  outcome: PromiseSettledResult<unknown> | undefined,
): [Exclude<SettleVerb, "extends" | "releases">, Omit<SettleEntry, "leaseId">] {
  if (outcome?.status !== "rejected") return ["acks", {}];
  const { reason: error } = outcome as { readonly reason: unknown };
  const text = error instanceof Error ? error.message : String(error);
  const reason = text.slice(0, REASON_BYTES_MAX / CHARACTER_BYTES_MAX).toWellFormed();
  if (error instanceof RejectError) return ["rejects", { reason }];
  return ["retries", { reason, ...(error instanceof RetryError && { delayMs: error.delayMs }) }];
}
