// How fast readers take messages, to tell a refused producer when room is likely.

const HALF_LIFE_MS = 2000;
const RETRY_AFTER_MS_MIN = 100;
const RETRY_AFTER_MS_MAX = 30_000;
const RETRY_AFTER_MS_UNKNOWN = 1000;

/** An exponentially decaying count of taken messages: recent ones count, a burst of long ago does not. */
export class DrainRate {
  #count = 0;
  #countedAtMs = 0;

  record(messages: number, nowMs: number): void {
    this.#count = this.#decayed(nowMs) + messages;
    this.#countedAtMs = nowMs;
  }

  /** When room for `messages` is likely, in ms: between 100 ms and 30 s, 1 s while nothing is known. */
  estimateWaitMs(messages: number, nowMs: number): number {
    // A steady rate r keeps the decaying count at r * halfLife / ln 2.
    const perMs = (this.#decayed(nowMs) * Math.LN2) / HALF_LIFE_MS;
    if (perMs < 1e-6) return RETRY_AFTER_MS_UNKNOWN;
    return Math.round(Math.min(RETRY_AFTER_MS_MAX, Math.max(RETRY_AFTER_MS_MIN, messages / perMs)));
  }

  /** Messages in a second, lately. */
  perSecond(nowMs: number): number {
    return (this.#decayed(nowMs) * Math.LN2 * 1000) / HALF_LIFE_MS;
  }

  #decayed(nowMs: number): number {
    return this.#count * 2 ** (-Math.max(0, nowMs - this.#countedAtMs) / HALF_LIFE_MS);
  }
}
