// A refusal on its way out of a handler.
import type { Refusal } from "../protocol/problems.ts";

/** Thrown by middleware and handlers, and answered by the app's error handler. */
export class RefusalError extends Error {
  readonly refusal: Refusal;

  constructor(refusal: Refusal) {
    super(refusal.kind);
    this.refusal = refusal;
  }
}
