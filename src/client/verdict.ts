// What a handler's outcome means for its message.
import { REASON_BYTES_MAX } from "../protocol/client-limits.ts";
import { RejectError, RetryError } from "./handler-errors.ts";
import type { SettleEntry, SettleVerb } from "./settle-queue.ts";

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
