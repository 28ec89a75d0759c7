// Puts many messages in few frames, each once and in order, also over connections that are lost.
import { BatchSender } from "./batch-sender.ts";
import { signalOf, type CallOptions } from "./call-options.ts";
import { EdgeChannelError } from "./edge-channel-error.ts";
import { putBytes, type PutGiven } from "./message-json.ts";
import { receiptsOf, type ProducedReceipt } from "./own-offsets.ts";
import type { CheckedProducerOptions } from "./producer-options.ts";
import type { Retries } from "./retries.ts";
import type { PutReceipt, Transport } from "./transport.ts";

interface Put extends PromiseWithResolvers<ProducedReceipt> {
  readonly message: PutGiven;
  readonly bytes: number;
}

/**
 * A batch of so much goes out although others are on the way: while the server stores those, the next ones are made and sent, and what a
 * frame costs beside its messages is little by then.
 */
const AMPLE_BYTES = 384 * 1024;

/** What a `Producer` does; what its calls promise is written there. */
export class BatchProducer {
  readonly #retries: Retries;
  readonly #sender: BatchSender<Put>;
  readonly #options: CheckedProducerOptions;
  readonly #ending = new AbortController();
  /** Not answered. */
  readonly #puts = new Set<Put>();
  /** Those that wait for room, in order. */
  readonly #arrived = new Set<Put>();
  #outstandingBytes = 0;
  /** The next batch. */
  #open: Put[] = [];
  #openBytes = 0;
  /** Whether the next batch has waited for more long enough. */
  #isDue = false;
  #stopLinger: (() => void) | undefined;
  #room = Promise.withResolvers<void>();
  #failure: EdgeChannelError | undefined;

  constructor(transport: Transport, retries: Retries, options: CheckedProducerOptions) {
    const { id = crypto.randomUUID(), signal, onRetry } = options.given;
    this.#retries = retries;
    this.#options = options;
    this.#sender = new BatchSender({
      transport,
      retries,
      id,
      epoch: options.epoch,
      signal: this.#ending.signal,
      onRetry,
      onStored: (puts, receipt) => this.#resolve(puts, receipt),
      onRefused: (puts, error) => this.#reject(puts, error),
      onBroken: (error) => this.#giveUp(error),
    });
    const onAbort = (): void => this.#giveUp(EdgeChannelError.aborted("Cannot put", signal, "unknown"));
    signal?.addEventListener("abort", onAbort, { signal: this.#ending.signal });
    if (signal?.aborted === true) onAbort();
  }

  put(message: PutGiven, options: CallOptions): Promise<ProducedReceipt> {
    const { promise, resolve, reject } = Promise.withResolvers<ProducedReceipt>();
    try {
      const signal = signalOf(options);
      if (this.#failure !== undefined) throw this.#failure;
      if (signal?.aborted === true) throw EdgeChannelError.aborted("Cannot put", signal);
      const put: Put = { message, bytes: putBytes(message), promise, resolve, reject };
      this.#puts.add(put);
      if (this.#arrived.size === 0 && this.#mayTake(put)) this.#take(put);
      else this.#arrived.add(put);
      if (signal !== undefined) return this.#waitFor(put, signal);
    } catch (error) {
      reject(error);
    }
    return promise;
  }

  #waitFor(put: Put, signal: AbortSignal): Promise<ProducedReceipt> {
    const onAbort = (): void => {
      if (!this.#arrived.delete(put)) return;
      this.#puts.delete(put);
      put.reject(EdgeChannelError.aborted("Cannot put", signal));
    };
    signal.addEventListener("abort", onAbort);
    return put.promise.finally(() => signal.removeEventListener("abort", onAbort));
  }

  async ready(): Promise<void> {
    while (this.#failure === undefined && !this.#hasRoom()) await this.#room.promise;
  }

  async flush(): Promise<void> {
    this.#cut();
    const results = await Promise.allSettled([...this.#puts].map(({ promise }) => promise));
    const failed = results.find((result) => result.status === "rejected");
    if (failed !== undefined) throw failed.reason as EdgeChannelError;
  }

  async close(): Promise<void> {
    this.#failure ??= EdgeChannelError.closed("not-applied", "producer");
    this.#wakeReady();
    try {
      await this.flush();
    } finally {
      this.#ending.abort();
    }
  }

  #hasRoom(): boolean {
    return this.#arrived.size === 0 && this.#outstandingBytes < this.#options.maxOutstandingBytes;
  }

  /** Takes those that wait, as many as there is room for; one that is larger than all room goes alone. */
  #admit(): void {
    for (const put of this.#arrived) {
      if (!this.#mayTake(put)) return;
      this.#arrived.delete(put);
      this.#take(put);
    }
  }

  #mayTake({ bytes }: Put): boolean {
    return this.#outstandingBytes === 0 || this.#outstandingBytes + bytes <= this.#options.maxOutstandingBytes;
  }

  #take(put: Put): void {
    this.#outstandingBytes += put.bytes;
    this.#collect(put);
  }

  #collect(put: Put): void {
    if (this.#openBytes + put.bytes > this.#options.maxBatchBytes) this.#cut();
    this.#open.push(put);
    this.#openBytes += put.bytes;
    if (this.#open.length >= this.#options.maxBatchMessages || this.#mayPipeline) return this.#cut();
    if (this.#open.length > 1) return;
    const wait = (): void => {
      this.#isDue = true;
      this.#cutIfDue();
    };
    if (this.#options.lingerMs === 0) queueMicrotask(wait);
    else this.#stopLinger = this.#retries.startTimer(wait, this.#options.lingerMs);
  }

  #cutIfDue(): void {
    if (this.#isDue && (this.#sender.isIdle || this.#mayPipeline)) this.#cut();
  }

  /** Who lets batches linger wants them full. */
  get #mayPipeline(): boolean {
    return this.#openBytes >= AMPLE_BYTES && this.#options.lingerMs === 0 && this.#sender.hasPlace;
  }

  #cut(): void {
    this.#stopLinger?.();
    this.#stopLinger = undefined;
    this.#isDue = false;
    const puts = this.#open;
    this.#open = [];
    this.#openBytes = 0;
    if (puts.length > 0) this.#sender.add(puts);
  }

  #resolve(puts: readonly Put[], receipt: PutReceipt): void {
    for (const [index, own] of receiptsOf(puts.length, receipt).entries()) puts[index]?.resolve(own);
    this.#forget(puts);
  }

  #reject(puts: readonly Put[], error: EdgeChannelError): void {
    for (const put of puts) put.reject(error);
    this.#forget(puts);
  }

  #forget(puts: readonly Put[]): void {
    for (const put of puts) {
      this.#puts.delete(put);
      this.#outstandingBytes -= put.bytes;
    }
    this.#admit();
    this.#cutIfDue();
    if (this.#hasRoom()) this.#wakeReady();
  }

  #wakeReady(): void {
    this.#room.resolve();
    this.#room = Promise.withResolvers();
  }

  #giveUp(error: EdgeChannelError): void {
    // Of what comes later nothing is sent.
    this.#failure = error.withOutcome("not-applied");
    this.#ending.abort(error);
    this.#stopLinger?.();
    this.#arrived.clear();
    this.#open = [];
    for (const put of this.#puts) put.reject(error);
    this.#puts.clear();
    this.#wakeReady();
  }
}
