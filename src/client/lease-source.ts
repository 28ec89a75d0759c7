// Where a consumer's messages come from: a subscription as a member of a group, or over HTTP one long pull after the other.
import { BATCH_MESSAGES_MAX } from "../protocol/client-limits.ts";
import type { EdgeChannelError } from "./edge-channel-error.ts";
import { KeptSubscription } from "./kept-subscription.ts";
import { putBytes } from "./message-json.ts";
import type { Retries } from "./retries.ts";
import type { Credit } from "./socket-streams.ts";
import { hasStreams, type Leased, type PullOptions, type Transport } from "./transport.ts";
import { parsePullResult } from "./transport-json.ts";

export interface LeaseSource {
  grant(credit: Credit): void;
  /** Takes no more. Absent where the leases would end: what still comes has to be released. */
  stop?(): void;
  /** Ends it, and the leases that it still has. Absent where `stop` was all. */
  end?(): void;
}

export interface LeaseSourceOptions {
  readonly transport: Transport;
  readonly retries: Retries;
  readonly take: Pick<PullOptions, "group" | "leaseMs" | "reader">;
  /** All that may come now, nothing being on the way. */
  readonly takeCredit: () => Credit;
  /** The connection that leases belong to is there, for the first time or again. */
  readonly onBegin: () => void;
  readonly onMessages: (messages: readonly Leased[], bytes: number) => void;
  /** What came may be lost in a moment, where the leases belong to a connection; it goes on after a pause. */
  readonly onLost: (error: EdgeChannelError) => void;
  readonly onEnd: (error: Error | undefined) => void;
}

/** How long one pull waits for messages. */
const PULL_WAIT_MS = 20_000;

export function openLeaseSource(options: LeaseSourceOptions): LeaseSource {
  const { transport, retries, take, takeCredit, onBegin, onMessages, onLost, onEnd } = options;
  if (!hasStreams(transport)) return new PullSource(options);
  return new KeptSubscription({
    transport,
    retries,
    makeRequest: () => ({ ...take, credit: takeCredit() }),
    onBegin,
    onDeliver: (frame) => onMessages(parsePullResult(frame).messages, frame.bytes),
    onLost,
    onEnd,
  });
}

class PullSource implements LeaseSource {
  readonly #options: LeaseSourceOptions;
  readonly #ending = new AbortController();
  #messages: number;
  #bytes: number;
  #wake: () => void = () => undefined;

  constructor(options: LeaseSourceOptions) {
    this.#options = options;
    ({ messages: this.#messages, bytes: this.#bytes } = options.takeCredit());
    const { signal } = this.#ending;
    const pulling = options.retries.keepUp((onProgress) => this.#pullAll(onProgress), { signal, onFailure: options.onLost });
    pulling.then(() => options.onEnd(undefined), options.onEnd);
  }

  grant({ messages, bytes }: Credit): void {
    this.#messages += messages;
    this.#bytes += bytes;
    this.#wake();
  }

  stop(): void {
    this.#ending.abort();
    this.#wake();
  }

  async #pullAll(onProgress: () => void): Promise<void> {
    const { signal } = this.#ending;
    const { transport, take, onMessages, onBegin } = this.#options;
    onBegin();
    while (!signal.aborted) {
      if (this.#messages <= 0 || this.#bytes <= 0) {
        await new Promise<void>((resolve) => (this.#wake = resolve));
        continue;
      }
      const max = Math.min(this.#messages, BATCH_MESSAGES_MAX);
      const { messages } = await transport.pull({ ...take, max, waitMs: PULL_WAIT_MS, signal });
      onProgress();
      const bytes = messages.reduce((sum, message) => sum + putBytes(message), 0);
      this.#messages -= messages.length;
      this.#bytes -= bytes;
      if (messages.length > 0) onMessages(messages, bytes);
    }
  }
}
