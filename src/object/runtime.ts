// What an object takes of the runtime that it lives in; a test passes its own.
import type { Timers } from "./commit-loop.ts";

/** The runtime around the object. */
export interface Runtime extends Timers {
  nowMs(): number;
  /** A name that nothing else has. */
  freshName(): string;
  /** How long calls may be held for others to come; 0 where a commit costs nothing. */
  readonly callHoldMs: number;
  /** A random whole number of 32 bits. */
  draw32(): number;
}
