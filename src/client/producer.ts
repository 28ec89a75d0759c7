// Puts many messages in few frames, each once and in order, also over connections that are lost.
import { BATCH_MESSAGES_MAX, BATCH_BYTES_MAX, PRODUCER_EPOCH_MAX } from "../protocol/client-limits.ts";
import { BatchSender } from "./batch-sender.ts";
import { EdgeChannelError } from "./edge-channel-error.ts";
import { checkNumbers } from "./given-number.ts";
import { putBytes, type PutGiven } from "./message-json.ts";
import { receiptsOf, type ProducedReceipt } from "./own-offsets.ts";
import type { Retries } from "./retries.ts";
import type { CallOptions, PutReceipt, Transport } from "./transport.ts";

/** Aborting `signal` gives up all that is not answered, and every later put. */
export interface ProducerOptions extends CallOptions {
  /**
   * What the channel knows it by, together with `epoch`: a program that begins again takes its id with a higher epoch, which shuts out what
   * is left of the earlier one. Default: a random one.
   */
  readonly id?: string | undefined;
  /** A whole number, at most 2^31; not without `id`. Default: 0. */
  readonly epoch?: number | undefined;
  /** How long a batch that is not full waits for more, in milliseconds, at most 60,000. Default: 0, the rest of the tick. */
  readonly lingerMs?: number | undefined;
  /** At most 10,000. Default: 1,000. */
  readonly maxBatchMessages?: number | undefined;
  /** At most 16 MiB; one larger message makes a batch of its own. Default: 1 MiB. */
  readonly maxBatchBytes?: number | undefined;
  /** Bytes that may be unanswered: further puts wait for room. Default: 8 MiB. */
  readonly maxOutstandingBytes?: number | undefined;
  /** Told why each time before batches are sent again; where the channel is full, after five minutes of waiting. Default: none. */
  readonly onRetry?: ((error: EdgeChannelError) => void) | undefined;
}

interface Put extends PromiseWithResolvers<ProducedReceipt> {
  readonly message: PutGiven;
  readonly bytes: number;
}

const LINGER_MS_MAX = 60_000;
const MIB = 1024 * 1024;

/**
 * Made by `Channel.producer`. Full batches are pipelined; one that is not full goes when nothing is on the way. A full channel and a lost
 * connection are waited for, and what was not answered is sent again, so that it is stored once. What is refused rejects its own put.
 *
 * @example
 * await using producer = channel.producer();
 * for (const line of lines) {
 *   producer.put(line).then(({ offset }) => console.log(offset), console.error);
 *   await producer.ready();
 * }
 */
export class Producer implements AsyncDisposable {
  readonly #retries: Retries;
  readonly #sender: BatchSender<Put>;
  readonly #bounds: Record<"epoch" | "lingerMs" | "maxBatchMessages" | "maxBatchBytes" | "maxOutstandingBytes", number>;
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

  constructor(transport: Transport, retries: Retries, options: ProducerOptions) {
    const { id, signal, onRetry } = options;
    if ((id === undefined) !== (options.epoch === undefined)) {
      throw EdgeChannelError.refused("Cannot make the producer: an id needs an epoch, and an epoch an id");
    }
    this.#retries = retries;
    this.#bounds = checkNumbers(options, {
      epoch: [0, 0, PRODUCER_EPOCH_MAX],
      lingerMs: [0, 0, LINGER_MS_MAX],
      maxBatchMessages: [1000, 1, BATCH_MESSAGES_MAX],
      maxBatchBytes: [MIB, 1, BATCH_BYTES_MAX],
      maxOutstandingBytes: [8 * MIB, 1, Number.MAX_SAFE_INTEGER],
    });
    this.#sender = new BatchSender({
      transport,
      retries,
      id: id ?? crypto.randomUUID(),
      epoch: this.#bounds.epoch,
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

  /**
   * Stores a message behind those of earlier calls. Waits for room first; aborting the signal ends that wait, but calls nothing back that is
   * on its way. Rejects with what the server refused, and with kind `connection-closed` after `close`.
   */
  async put(message: PutGiven, { signal }: CallOptions = {}): Promise<ProducedReceipt> {
    if (this.#failure !== undefined) throw this.#failure;
    if (signal?.aborted === true) throw EdgeChannelError.aborted("Cannot put", signal);
    const put: Put = { message, bytes: putBytes(message), ...Promise.withResolvers<ProducedReceipt>() };
    this.#puts.add(put);
    this.#arrived.add(put);
    this.#admit();
    if (signal === undefined) return put.promise;
    const onAbort = (): void => {
      if (!this.#arrived.delete(put)) return;
      this.#puts.delete(put);
      put.reject(EdgeChannelError.aborted("Cannot put", signal));
    };
    signal.addEventListener("abort", onAbort);
    return put.promise.finally(() => signal.removeEventListener("abort", onAbort));
  }

  /** Resolves when there is room for another put: who awaits it between puts holds no more than `maxOutstandingBytes` and one message. */
  async ready(): Promise<void> {
    while (this.#failure === undefined && !this.#hasRoom()) await this.#room.promise;
  }

  /**
   * Sends what is there without lingering. Resolves when all puts so far are stored; when one was not, it rejects with the first failure,
   * once all are answered. How long that takes, the signal of the producer bounds.
   */
  async flush(): Promise<void> {
    this.#cut();
    const results = await Promise.allSettled([...this.#puts].map(({ promise }) => promise));
    const failed = results.find((result) => result.status === "rejected");
    if (failed !== undefined) throw failed.reason as EdgeChannelError;
  }

  /** Takes no more puts, and ends as `flush` does. */
  async close(): Promise<void> {
    this.#failure ??= EdgeChannelError.closed("not-applied", "producer");
    this.#wakeReady();
    try {
      await this.flush();
    } finally {
      this.#ending.abort();
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #hasRoom(): boolean {
    return this.#arrived.size === 0 && this.#outstandingBytes < this.#bounds.maxOutstandingBytes;
  }

  /** Takes those that wait, as many as there is room for; one that is larger than all room goes alone. */
  #admit(): void {
    for (const put of this.#arrived) {
      if (this.#outstandingBytes > 0 && this.#outstandingBytes + put.bytes > this.#bounds.maxOutstandingBytes) return;
      this.#arrived.delete(put);
      this.#outstandingBytes += put.bytes;
      this.#collect(put);
    }
  }

  #collect(put: Put): void {
    if (this.#openBytes + put.bytes > this.#bounds.maxBatchBytes) this.#cut();
    this.#open.push(put);
    this.#openBytes += put.bytes;
    if (this.#open.length >= this.#bounds.maxBatchMessages) return this.#cut();
    if (this.#open.length > 1) return;
    const wait = (): void => {
      this.#isDue = true;
      this.#cutIfDue();
    };
    if (this.#bounds.lingerMs === 0) queueMicrotask(wait);
    else this.#stopLinger = this.#retries.startTimer(wait, this.#bounds.lingerMs);
  }

  #cutIfDue(): void {
    if (this.#isDue && this.#sender.isIdle) this.#cut();
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
    const messages = puts.map(({ message }) => message);
    for (const [index, own] of receiptsOf(messages, receipt).entries()) puts[index]?.resolve(own);
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
    this.#failure = error;
    this.#ending.abort(error);
    this.#stopLinger?.();
    this.#arrived.clear();
    this.#open = [];
    for (const put of this.#puts) put.reject(error);
    this.#puts.clear();
    this.#wakeReady();
  }
}
