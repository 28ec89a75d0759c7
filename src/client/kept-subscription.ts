// One subscription over connections that come and go.
import type { LeaseEntry } from "../protocol/lease-run.ts";
import { EdgeChannelError } from "./edge-channel-error.ts";
import type { Retries } from "./retries.ts";
import type { Credit, DeliverFrame, PresenceRequest, StreamedFrame, StreamHandle, SubscribeRequest } from "./socket-streams.ts";
import type { StreamingTransport } from "./transport.ts";

export interface KeptSubscriptionOptions<Frame extends StreamedFrame> {
  readonly transport: StreamingTransport;
  readonly retries: Retries;
  /** What to ask for as things stand: it is asked for anew on each connection, with all the credit that there is then. */
  readonly makeRequest: () => SubscribeRequest | PresenceRequest;
  /** Forgets what it was told to come back with, since the server does not know that any more; false where there was nothing. */
  readonly startOver?: () => boolean;
  readonly onBegin: (resume: string | undefined) => void;
  readonly onDeliver: (frame: Frame) => void;
  readonly onRevoke?: (leases: readonly LeaseEntry[]) => void;
  /** The connection was lost; another one is made after a pause. */
  readonly onLost: (error: EdgeChannelError) => void;
  /** Nothing more comes: without an error, `end` was called. */
  readonly onEnd: (error: Error | undefined) => void;
}

export class KeptSubscription<Frame extends StreamedFrame = DeliverFrame> {
  readonly #options: KeptSubscriptionOptions<Frame>;
  readonly #ending = new AbortController();
  #handle: StreamHandle | undefined;
  /** Granted while nobody could be told. */
  #owed: Credit[] = [];

  constructor(options: KeptSubscriptionOptions<Frame>) {
    this.#options = options;
    const { retries, onLost, onEnd } = options;
    const keeping = retries.keepUp((onProgress) => this.#run(onProgress), { signal: this.#ending.signal, onFailure: onLost });
    keeping.then(() => onEnd(undefined), onEnd);
  }

  grant(credit: Credit): void {
    if (this.#handle === undefined) this.#owed.push(credit);
    else this.#handle.grant(credit);
  }

  /** From now on nothing is delivered. */
  end(): void {
    this.#ending.abort();
    this.#handle?.end();
  }

  /** One connection. */
  async #run(onProgress: () => void): Promise<void> {
    const { transport, makeRequest, onBegin, onDeliver, onRevoke } = this.#options;
    const { signal } = this.#ending;
    const { promise: ended, resolve, reject } = Promise.withResolvers<void>();
    this.#owed = [];
    const opening = transport.subscribe(
      makeRequest(),
      {
        onBegin,
        onDeliver: (frame: Frame) => {
          onProgress();
          try {
            if (!signal.aborted) onDeliver(frame);
          } catch (error) {
            // A message that cannot be read.
            this.#handle?.end();
            reject(error);
          }
        },
        ...(onRevoke !== undefined && { onRevoke }),
        onEnd: (error) => (error === undefined ? resolve() : reject(error)),
      },
      { signal },
    );
    try {
      await Promise.all([opening.then((handle) => this.#open(handle)), ended]);
    } catch (error) {
      const isLost = error instanceof EdgeChannelError && error.kind === "resume-lost";
      if (!isLost || this.#options.startOver?.() !== true) throw error;
      return await this.#run(onProgress);
    } finally {
      this.#handle = undefined;
    }
  }

  #open(handle: StreamHandle): void {
    if (this.#ending.signal.aborted) return handle.end();
    this.#handle = handle;
    for (const credit of this.#owed) handle.grant(credit);
    this.#owed = [];
  }
}
