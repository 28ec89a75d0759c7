// When the messages of a put are due.
import { invalidRequest } from "../protocol/fault.ts";
import { LIMITS } from "../protocol/limits.ts";
import type { Refusal } from "../protocol/problems.ts";
import type { MessageDelay } from "../protocol/schedule.ts";

/** The time at which each message enters that does not enter at once, by its place in the put; or the refusal (rule SD1). */
export function resolveDelays(delays: readonly MessageDelay[], nowMs: number): ReadonlyMap<number, number> | Refusal {
  const due = new Map<number, number>();
  for (const { index, pointer, delay } of delays) {
    const dueAtMs = "atMs" in delay ? delay.atMs : nowMs + delay.afterMs;
    if (dueAtMs > nowMs + LIMITS.delayMsMax) {
      return invalidRequest(pointer, `Expected a time that is at most ${LIMITS.delayMsMax} ms from now`);
    }
    if (dueAtMs > nowMs) due.set(index, dueAtMs);
  }
  return due;
}
