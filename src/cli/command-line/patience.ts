// Consumers, producers and subscriptions make new connections without a limit. A command ends when so many in a row could not be made.
import type { EdgeChannelError } from "../../client/index.ts";

/** With their pauses some 20 seconds: a server may be started again meanwhile. */
const FAILURES_MAX = 8;

export class Patience {
  readonly #over = new AbortController();
  #failures = 0;
  #failure: EdgeChannelError | undefined;

  /** Aborted when it is over. */
  get signal(): AbortSignal {
    return this.#over.signal;
  }

  /** To be told why each time before something is tried again. */
  readonly onFailure = (error: EdgeChannelError): void => {
    // All else shows that the server is there, or was a moment ago.
    this.#failures = error.kind === "connection-failed" ? this.#failures + 1 : 0;
    if (this.#failures <= FAILURES_MAX) return;
    this.#failure = error;
    this.#over.abort();
  };

  /** Throws what it ended with, if it did. */
  check(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }
}
