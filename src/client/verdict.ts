// What a handler's outcome means for its message.
import { RejectError, RetryError } from "./handler-errors.ts";
import type { SettleEntry, SettleVerb } from "./settle-queue.ts";
import { reasonOf } from "./settle-terms.ts";

export function verdictOf(
  outcome: PromiseSettledResult<unknown> | undefined,
): [Exclude<SettleVerb, "extends" | "releases">, Omit<SettleEntry, "leaseId">] {
  if (outcome?.status !== "rejected") return ["acks", {}];
  const { reason: error } = outcome as { readonly reason: unknown };
  const reason = reasonOf(error);
  if (error instanceof RejectError) return ["rejects", { reason }];
  return ["retries", { reason, ...(error instanceof RetryError && { delayMs: error.delayMs }) }];
}
