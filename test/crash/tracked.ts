// What the checker knows of one message, and of one lease of it.

/** The clock of the runtime runs in steps. */
const CLOCK_SLACK_MS = 5;

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

/** A put, in the order of sending among those of its connection. */
export interface Send {
  readonly messages: readonly Tracked[];
  /** Whether it was refused, or may have been by an answer that was lost: the puts after it do not depend on it. */
  mayBeRefused: boolean;
}

/** A lease as it was granted. */
export interface Delivery {
  readonly tracked: Tracked;
  readonly attempt: number;
  untilMs: number;
  /** Undefined for a lease that outlives its connection. */
  readonly connection: string | undefined;
  /** The event that told of it. */
  readonly event: number;
  /** Settle calls that may have ended it before its time. */
  touches: number;
  /** The event that told that the reader gave it back, by a retry or a release. */
  givenBackEvent: number | undefined;
}

/** Whether nothing can have ended a lease by then: no settle call, not its connection, not its deadline. */
export function isUntouched({ touches, untilMs }: Delivery, atMs: number, touchesMax = 0): boolean {
  return touches <= touchesMax && atMs + CLOCK_SLACK_MS < untilMs;
}
