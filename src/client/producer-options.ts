// How a program produces: what it may say, and what is said for it.
import { BATCH_MESSAGES_MAX, BATCH_BYTES_MAX, PRODUCER_EPOCH_MAX } from "../protocol/client-limits.ts";
import { checkCallbacks, refuseUnknown, type CallOptions } from "./call-options.ts";
import { EdgeChannelError } from "./edge-channel-error.ts";
import { checkNumbers } from "./given-number.ts";

/** Aborting `signal` gives up all that is not answered, and every later put. */
export interface ProducerOptions extends CallOptions {
  /**
   * What the channel knows it by, together with `epoch`: a program that begins again takes its id with a higher epoch, which shuts out what
   * is left of the earlier one. The epoch has to grow with each start: under an epoch that was used before, in this program or another one,
   * puts are taken for repetitions of those of then. They are not stored, but answered with the receipts of then, with `isDuplicate`, or
   * refused as `producer-sequence-reused` where they are not as many, or have not as many bytes. Default: a random one.
   */
  readonly id?: string | undefined;
  /** A whole number, at most 2^31, higher at each start, such as seconds since 1970; not without `id`. Default: 0. */
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

export interface CheckedProducerOptions {
  readonly given: ProducerOptions;
  readonly epoch: number;
  readonly lingerMs: number;
  readonly maxBatchMessages: number;
  readonly maxBatchBytes: number;
  readonly maxOutstandingBytes: number;
}

const LINGER_MS_MAX = 60_000;
const MIB = 1024 * 1024;

export function checkProducerOptions(given: ProducerOptions): CheckedProducerOptions {
  checkCallbacks(given);
  if ((given.id === undefined) !== (given.epoch === undefined)) {
    throw EdgeChannelError.refused("Cannot make the producer: an id needs an epoch, an epoch an id");
  }
  const checked = checkNumbers(given, {
    epoch: [0, 0, PRODUCER_EPOCH_MAX],
    lingerMs: [0, 0, LINGER_MS_MAX],
    maxBatchMessages: [1000, 1, BATCH_MESSAGES_MAX],
    maxBatchBytes: [MIB, 1, BATCH_BYTES_MAX],
    maxOutstandingBytes: [8 * MIB, 1, Number.MAX_SAFE_INTEGER],
  });
  const { signal, id, onRetry, ...numbers } = given;
  refuseUnknown(numbers, checked);
  return { given, ...checked };
}
