// How long a message pauses before its next attempt: the delays of the settings, or exponential with full jitter.
// Source of the jitter: Marc Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015 (the variant "full jitter").
import { LIMITS } from "../protocol/limits.ts";

/** The pause in ms after the attempt numbered `attempt`, from 1. `random` is uniform from 0 to below 1. */
export function computeRetryDelay(attempt: number, delaysMs: readonly number[] | null, random: number): number {
  if (delaysMs !== null) return delaysMs[Math.min(attempt, delaysMs.length) - 1] ?? 0;
  const { retryDelayMsDefaultMin: min, retryDelayMsDefaultMax: max } = LIMITS;
  const ceiling = Math.min(max, min * 2 ** Math.min(attempt, 30));
  return Math.round(min + random * (ceiling - min));
}
