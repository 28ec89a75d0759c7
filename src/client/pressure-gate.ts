// Holds a producer's batches back while the channel is at high pressure, so that they are not sent only to wait there.
import type { Retries } from "./retries.ts";
import type { Credit, Pressure } from "./socket-streams.ts";

/** For so long at most: what stays in the channel may keep it above its low mark, and a put that waits there has its turn as room comes. */
const HOLD_MS_MAX = 5_000;

/**
 * At low pressure all may be sent. At high pressure as much as fits the channel goes on its way; what does not waits for low pressure. Others
 * put too, so some of what goes may have to wait at the server all the same.
 */
export class PressureGate {
  readonly #retries: Retries;
  /** Called when more may have room. */
  readonly #onOpen: () => void;
  /** What fits; undefined at low pressure. */
  #left: Credit | undefined;
  #isOverdue = false;
  #stopTimer: (() => void) | undefined;

  constructor(retries: Retries, onOpen: () => void) {
    this.#retries = retries;
    this.#onOpen = onOpen;
  }

  /** The channel says how it is; `unanswered` is on its way there. */
  tell({ level, credit }: Pressure, unanswered: Credit): void {
    if (level === "low") this.open();
    else this.#left = { messages: credit.messages - unanswered.messages, bytes: credit.bytes - unanswered.bytes };
    this.#onOpen();
  }

  /** Nothing is known of the channel any more, or nobody is waited for. */
  open(): void {
    this.#left = undefined;
    this.#isOverdue = false;
    this.#stopTimer?.();
    this.#stopTimer = undefined;
  }

  /** Whether a batch may be sent now; one that may not is asked for again when the gate opens. */
  admits({ messages, bytes }: Credit): boolean {
    const left = this.#left;
    if (left === undefined) return true;
    if (this.#isOverdue || (messages <= left.messages && bytes <= left.bytes)) {
      this.#isOverdue = false;
      this.#left = { messages: left.messages - messages, bytes: left.bytes - bytes };
      return true;
    }
    this.#stopTimer ??= this.#retries.startTimer(() => {
      this.#stopTimer = undefined;
      this.#isOverdue = true;
      this.#onOpen();
    }, HOLD_MS_MAX);
    return false;
  }
}
