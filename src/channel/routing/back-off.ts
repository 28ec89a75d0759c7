// How long a reader that refused work is sent none: growing with each refusal, with jitter, so that it is not asked in step with others.
// Source of the jitter: Marc Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015.
import { LIMITS } from "../../protocol/limits.ts";

export interface BackOff {
  /** After the second refusal in a row; after the first there is no pause. */
  readonly firstMs: number;
  readonly factor: number;
  readonly maxMs: number;
}

export const BACK_OFF: BackOff = { firstMs: LIMITS.refusalPauseMsMin, factor: 2, maxMs: LIMITS.refusalPauseMsMax };

/**
 * The pause in ms after so many refusals in a row, from 1: while it grows between half of its step and the whole of it ("equal jitter"), from
 * the longest step on between nothing and that ("full jitter"). `random` is uniform from 0 to below 1.
 */
export function computePause(refusals: number, random: number, backOff: BackOff = BACK_OFF): number {
  const step = pauseStep(refusals, backOff);
  return Math.round(step < backOff.maxMs ? step * (0.5 + random / 2) : step * random);
}

/** What the pause is drawn from: 0, 25, 50, 100, 200, 400, 500, 500 … ms. Any number of refusals is fine: what is too large is the longest. */
export function pauseStep(refusals: number, { firstMs, factor, maxMs }: BackOff = BACK_OFF): number {
  return refusals < 2 ? 0 : Math.min(maxMs, firstMs * factor ** (refusals - 2));
}
