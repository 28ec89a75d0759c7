// A producer as programs see it. What it does is loaded with the first one: a program that only reads does not load it.
import type { BatchProducer } from "./batch-producer.ts";
import type { CallOptions } from "./call-options.ts";
import { loadMachinery } from "./load-machinery.ts";
import type { PutGiven } from "./message-json.ts";
import type { ProducedReceipt } from "./own-offsets.ts";
import { checkProducerOptions, type ProducerOptions } from "./producer-options.ts";
import type { Retries } from "./retries.ts";
import type { Transport } from "./transport.ts";

/**
 * Made by `Channel.producer`. Full batches are pipelined, and unless batches linger those of 384 KiB too; a smaller one goes when nothing is
 * on the way. A full channel and a lost connection are waited for, and what was not answered is sent again, so that it is stored once. What is
 * refused rejects its own put. Over a socket it slows down before the channel is full: at high pressure it keeps what does not fit until the
 * pressure is low, 5 seconds at most.
 *
 * @example
 * await using producer = channel.producer();
 * for (const line of lines) {
 *   producer.put(line).then(({ offset }) => console.log(offset), console.error);
 *   await producer.ready();
 * }
 */
export class Producer implements AsyncDisposable {
  readonly #batches: Promise<BatchProducer>;
  /** The same, once it is loaded. */
  #loaded: BatchProducer | undefined;

  constructor(transport: Transport, retries: Retries, options: ProducerOptions) {
    const checked = checkProducerOptions(options);
    this.#batches = loadMachinery(retries).then((machinery) => new machinery.BatchProducer(transport, retries, checked));
    // Before any call waits for it, so that none that comes later overtakes those.
    const keep = (batches: BatchProducer): void => {
      this.#loaded = batches;
    };
    // Each call tells of a failure.
    this.#batches.then(keep, () => undefined);
  }

  /**
   * Stores a message behind those of earlier calls. Waits for room first; aborting the signal ends that wait, but calls nothing back that is
   * on its way. Rejects with what the server refused, and with kind `connection-closed` after `close`.
   */
  put(message: PutGiven, options: CallOptions = {}): Promise<ProducedReceipt> {
    // Without a promise of its own for each: they cost more than all else that is done here (measured).
    return this.#loaded?.put(message, options) ?? this.#batches.then((batches) => batches.put(message, options));
  }

  /** Resolves when there is room for another put: who awaits it between puts holds no more than `maxOutstandingBytes` and one message. */
  async ready(): Promise<void> {
    const batches = await this.#batches;
    await batches.ready();
  }

  /**
   * Sends what is there without lingering, and waits for the puts that are unanswered when it is called, also for those that wait for room.
   * Resolves when all of these are stored; when one was not, it rejects with the first failure of them, once all are answered. A put that
   * failed before is none of them: its own promise tells. How long that takes, the signal of the producer bounds.
   */
  async flush(): Promise<void> {
    const batches = await this.#batches;
    await batches.flush();
  }

  /** Takes no more puts, and ends as `flush` does. */
  async close(): Promise<void> {
    const batches = await this.#batches;
    await batches.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
