// What is stored of a redrive that is spread over time (rule DL5).
import type { DeadLetterFilter } from "./dead-letters.ts";

/** A member of the record of the channel. */
export interface StoredRedrive {
  readonly ratePerSecond: number;
  readonly startedAtMs: number;
  readonly moved: number;
  readonly filter: DeadLetterFilter;
  /** Where the search goes on, and where it ends: what is put again lies behind. */
  readonly nextOffset: number;
  readonly endOffset: number;
  readonly nextStepAtMs: number;
}
