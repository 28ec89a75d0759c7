// The ways to consume: a loop over messages, a handler for each, or a handler for batches.
import {
  checkConsumeOptions,
  type ConsumeBatchesOptions,
  type ConsumeOptions,
  type ConsumeWithOptions,
} from "./consume-options.ts";
import { Consumer, type ConsumerParts } from "./consumer.ts";
import { EdgeChannelError } from "./edge-channel-error.ts";
import type { LeasedMessage } from "./leased-message.ts";
import { MessageIterator } from "./message-iterator.ts";
import { RetryError } from "./verdict.ts";

/** Aborted when the lease was lost, so that somebody else may have the message, or when the consumer is ended at once. */
export interface HandlerContext {
  readonly signal: AbortSignal;
}

/** Works on one message. Returning acks it; what it throws decides otherwise. */
export type MessageHandler = (message: LeasedMessage, context: HandlerContext) => unknown;

/**
 * Works on a batch. Returns nothing when all of it is done, or one outcome for each message, in their order, as `Promise.allSettled` has
 * them. What it throws holds for all of them.
 */
export type BatchHandler = (messages: readonly LeasedMessage[], context: HandlerContext) => BatchOutcome | Promise<BatchOutcome>;

type BatchOutcome = void | readonly PromiseSettledResult<unknown>[];

export function consumeEach(parts: ConsumerParts, handler: MessageHandler, options: ConsumeWithOptions): Consumer {
  const work: BatchHandler = (messages, context) =>
    Promise.allSettled(messages.map(async (message) => handler(message, context)));
  return consumeBatches(parts, work, options);
}

export function consumeBatches(parts: ConsumerParts, handler: BatchHandler, options: Partial<ConsumeBatchesOptions>): Consumer {
  return new Consumer(parts, checkConsumeOptions(options), async (messages, signal) => {
    try {
      const outcomes = await handler(messages, { signal });
      if (outcomes === undefined) return [];
      if (outcomes.length === messages.length) return outcomes;
      throw EdgeChannelError.refused(`Cannot settle ${messages.length} messages by ${outcomes.length} outcomes`);
    } catch (error) {
      return messages.map(() => ({ status: "rejected", reason: error }));
    }
  });
}

/**
 * Messages one by one. One is acked when the loop asks for the next, unless the program has settled it itself. The one that the loop is left
 * with, by `break` or an error, is retried: settle it before where that is not meant. What was taken ahead is given back then.
 */
export class MessageStream extends MessageIterator<LeasedMessage> {
  readonly #consumer: Consumer;
  #offered: LeasedMessage | undefined;
  #current: PromiseWithResolvers<void> | undefined;
  #isOver = false;

  constructor(parts: ConsumerParts, options: ConsumeOptions) {
    super();
    this.#consumer = new Consumer(parts, checkConsumeOptions({ ...options, concurrency: 1, batchSize: 1 }), ([message]) => {
      this.#offered = message;
      this.#current = Promise.withResolvers();
      this.wake();
      return Promise.allSettled([this.#current.promise]);
    });
    const end = (): void => {
      this.#isOver = true;
      this.wake();
    };
    this.#consumer.done.then(end, end);
  }

  protected async *iterate(): AsyncGenerator<LeasedMessage, void, undefined> {
    try {
      for (;;) {
        const message = this.#offered;
        this.#offered = undefined;
        if (message !== undefined) {
          yield message;
          this.#current?.resolve();
        } else if (this.#isOver) return;
        else await this.sleep();
      }
    } finally {
      this.leave();
      await this.#consumer.done;
    }
  }

  /** Stops, and gives up the message that the loop has. */
  protected leave(): void {
    void this.#consumer.stop();
    this.#current?.reject(new RetryError());
  }
}
