// What works on the messages of a consumer.
import type { LeasedMessage } from "./leased-message.ts";

export interface HandlerContext {
  /** Aborted when the lease was lost, so that somebody else may have the message, or when the consumer is ended at once. */
  readonly signal: AbortSignal;
  /** The name of the channel that the messages are of. */
  readonly channel: string;
}

/** Works on one message. Returning acks it; what it throws decides otherwise. */
export type MessageHandler = (message: LeasedMessage, context: HandlerContext) => unknown;

/**
 * Works on a batch. Returns nothing when all of it is done, or one outcome for each message, in their order, as `Promise.allSettled` has
 * them. What it throws holds for all of them, and so does an answer of another kind, which is a fault: nothing of the batch is acked.
 */
export type BatchHandler = (messages: readonly LeasedMessage[], context: HandlerContext) => BatchOutcome | Promise<BatchOutcome>;

type BatchOutcome = void | readonly PromiseSettledResult<unknown>[];
