// Terms of a settlement as the server takes them: it would refuse others, and with them all else that goes in the same call.
import { LEASE_MS_MAX, LEASE_MS_MIN, REASON_BYTES_MAX, RETRY_DELAY_MS_MAX } from "../protocol/client-limits.ts";
import { checkNumbers } from "./given-number.ts";
import type { SettleEntry } from "./settle-queue.ts";

/** UTF-8 has at most so many bytes for a character of a string. */
const CHARACTER_BYTES_MAX = 3;

/** Refuses delays that the server would. */
export function checkDelay(terms: Pick<SettleEntry, "delayMs">): void {
  checkNumbers(terms, { delayMs: [0, 0, RETRY_DELAY_MS_MAX] });
}

/** The same for the length of a lease, which has to be given. */
export function checkLease(terms: Pick<SettleEntry, "leaseMs">): void {
  checkNumbers(terms, { leaseMs: [Number.NaN, LEASE_MS_MIN, LEASE_MS_MAX] });
}

/** As much of what was given, or thrown, as fits. */
export function reasonOf(given: unknown): string {
  let text = "";
  try {
    text = String(given instanceof Error ? given.message : given);
  } catch {
    // Not every value has a text.
  }
  return text.slice(0, REASON_BYTES_MAX / CHARACTER_BYTES_MAX).toWellFormed();
}
