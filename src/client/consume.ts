// The ways to consume: a loop over messages, a handler for each, or a handler for batches.
import { checkOptions, expectType } from "./call-options.ts";
import {
  checkConsumeOptions,
  type ConsumeBatchesOptions,
  type ConsumeOptions,
  type ConsumeWithOptions,
} from "./consume-options.ts";
import { Consumer, type Consumed } from "./consumer.ts";
import type { LeasedMessage } from "./leased-message.ts";
import { MessageIterator } from "./message-iterator.ts";
import { RetryError } from "./handler-errors.ts";
import type { BatchHandler, MessageHandler } from "./handlers.ts";

/** With `batchSize` among the options the handler is called for batches, else for each message. */
export function consumeWith(
  consumed: Consumed,
  handler: MessageHandler | BatchHandler,
  options: ConsumeWithOptions | ConsumeBatchesOptions,
): Consumer {
  expectType("function", handler, "the handler");
  const isOfBatches = "batchSize" in checkOptions(options);
  // Which of both it is the options say.
  const work = isOfBatches ? (handler as BatchHandler) : workOnEach(handler as MessageHandler);
  return new Consumer(consumed, checkConsumeOptions(options), work);
}

/** For batches of one: what the handler throws is the outcome of its message. */
function workOnEach(handler: MessageHandler): BatchHandler {
  return async ([message], context) => {
    if (message !== undefined) await handler(message, context);
  };
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

  constructor(consumed: Consumed, options: ConsumeOptions) {
    super();
    this.#consumer = new Consumer(consumed, checkConsumeOptions({ ...options, concurrency: 1, batchSize: 1 }), ([message]) => {
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
