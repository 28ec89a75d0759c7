// What handlers throw to say what is to become of their message.

/** Thrown by a handler: the message becomes a dead letter at once. `reason` has at most 1,024 bytes; what is more is cut off. */
export class RejectError extends Error {
  override readonly name = "RejectError";
}

export interface RetryErrorOptions extends ErrorOptions {
  /**
   * When the message may be handed out again, in milliseconds from now, at most 30 days. Default, also where it is no such number, of which
   * `onError` is told: the channel's delay for the attempt.
   */
  readonly delayMs?: number | undefined;
}

/** Thrown by a handler: the message is handed out again, after a delay that it may name. */
export class RetryError extends Error {
  override readonly name = "RetryError";
  readonly delayMs: number | undefined;

  constructor(reason = "", { delayMs, ...options }: RetryErrorOptions = {}) {
    super(reason, options);
    this.delayMs = delayMs;
  }
}
