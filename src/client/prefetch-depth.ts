// How many messages a consumer holds: as many as it works off in the time that the next ones take to come.
import { GRANTED_PART } from "./credit-window.ts";

export interface DepthBounds {
  /** Messages that are worked on at a time. */
  readonly atOnce: number;
  /** What is held before anything is known. */
  readonly first: number;
  readonly max: number;
}

/** What the latest time counts in the mean; older ones count for less and less. */
const LATEST_PART = 1 / 8;

/**
 * By Little's law a worker that takes `work` for a message, and gets another one `fetch` after it has asked, never waits while it has
 * fetch / work of them on the way beside the one that it works on. As credit is given back in parts of the window, that much of it lies idle
 * and comes on top. Fewer would make it wait, and more would be held here while other readers of the group have nothing to do.
 *
 * Both times are means that follow what is seen: a slower connection or faster work makes the window larger, the other way round smaller.
 */
export class PrefetchDepth {
  readonly #bounds: DepthBounds;
  #fetchMs: number | undefined;
  #workMs: number | undefined;

  constructor(bounds: DepthBounds) {
    this.#bounds = bounds;
  }

  /** Somebody asked the server, and was answered so long after. */
  noteFetch(ms: number): void {
    this.#fetchMs = meanOf(this.#fetchMs, ms);
  }

  /** One call of the handler took so long. */
  noteWork(ms: number): void {
    this.#workMs = meanOf(this.#workMs, ms);
  }

  get messages(): number {
    const { atOnce, first, max } = this.#bounds;
    if (this.#fetchMs === undefined || this.#workMs === undefined) return Math.min(first, max);
    // Work that takes no time that can be measured leaves the bound.
    const ahead = Math.max(1, Math.ceil(this.#fetchMs / this.#workMs) || 1);
    return Math.min(max, Math.ceil((atOnce * (ahead + 1)) / (1 - GRANTED_PART)));
  }
}

function meanOf(mean: number | undefined, latest: number): number {
  return mean === undefined ? latest : mean + (latest - mean) * LATEST_PART;
}
