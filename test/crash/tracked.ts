// What the checker knows of one message, and of one lease of it.

/** How a message ended: by an accepted ack or reject, by a get that removes, as a dead letter, or by a call without an answer. */
export type End = "acked" | "rejected" | "taken" | "dead" | "unseen";

export interface Tracked {
  readonly name: string;
  readonly key: string | undefined;
  /** `absent`: an inspection showed that the put, whose outcome was unknown, stored nothing. */
  put: "sent" | "acknowledged" | "unknown" | "refused" | "absent";
  offset: number | undefined;
  /** Its offset is higher than every one that was known when it was sent. */
  readonly floor: number;
  end: End | undefined;
  /** The event that told of the end, and the attempt of the lease that ended it. */
  endEvent: number;
  endAttempt: number;
  /** Settle calls that may have ended it: not answered yet, or never. */
  endings: number;
  last: Delivery | undefined;
}

/** A lease as it was granted. */
export interface Delivery {
  readonly tracked: Tracked;
  readonly attempt: number;
  readonly untilMs: number;
  readonly isDetached: boolean;
  /** The event that told of it. */
  readonly event: number;
  /** Whether a settle call named it: then it may have ended before its time. */
  isTouched: boolean;
}
