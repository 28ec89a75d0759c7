// Requests that come while a channel moves: they wait, not too many and not too long, until it is decided who serves them.
import { LIMITS } from "../protocol/limits.ts";
import type { ChannelRoute } from "../protocol/placement.ts";
import type { Timers } from "./commit-loop.ts";

/** What becomes of a request: it is served here, by another object, or by nobody for now. */
export type Passage = "here" | "busy" | { readonly route: ChannelRoute };

export class Shutter {
  readonly #opened = Promise.withResolvers<Passage>();
  #waiting = 0;
  #bytes = 0;
  #isOver = false;

  constructor(timers: Timers) {
    timers.setTimeout(() => this.#end("busy"), LIMITS.moveHoldMs);
  }

  /** Waits with a request of about `bytes`. */
  wait(bytes: number): Promise<Passage> {
    const isRoom = this.#waiting < LIMITS.heldRequestsMax && this.#bytes + bytes <= LIMITS.heldRequestsBytesMax;
    if (!isRoom && !this.#isOver) return Promise.resolve("busy");
    this.#waiting += 1;
    this.#bytes += bytes;
    return this.#opened.promise;
  }

  /** Lets those who wait go, in the order in which they came. */
  open(passage: Passage): void {
    this.#end(passage);
  }

  #end(passage: Passage): void {
    this.#isOver = true;
    this.#opened.resolve(passage);
  }
}
