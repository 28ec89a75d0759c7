// How a program consumes: what it may say, and what is said for it.
import {
  WAIT_MS_MAX,
  CREDIT_MESSAGES_MAX,
  CREDIT_BYTES_MAX,
  LEASE_MS_MIN,
  LEASE_MS_MAX,
  LEASE_MS_DEFAULT,
} from "../protocol/client-limits.ts";
import type { ControlRecord } from "../protocol/message.ts";
import { checkCallbacks, checkOptions, refuseUnknown, type CallOptions } from "./call-options.ts";
import { EdgeChannelError } from "./edge-channel-error.ts";
import { checkNumbers } from "./given-number.ts";
import type { LeasedMessage } from "./leased-message.ts";

/** Aborting `signal` stops it as `stop` does. */
export interface ConsumeOptions extends CallOptions {
  /** Whose messages to take; a channel with retention `log` or `interest` needs it. Default: the one group of a queue. */
  readonly group?: string | undefined;
  /** How long messages are held at a time, in milliseconds, 1,000 to 43,200,000; what takes longer is held on. Default: 30,000. */
  readonly leaseMs?: number | undefined;
  /** What the reader calls itself in a message's history, named as channels are. Default: none. */
  readonly reader?: string | undefined;
  /**
   * How many messages are held at most, those that are worked on included: at least `concurrency` × `batchSize`, at most 10,000. With as many
   * as are worked off in the time that one takes to come, a message costs the longer of both times and not their sum; with more, other readers
   * of the group get fewer, and messages with a time to live may be old when they are worked on: that time counts until they are handed out.
   * Default: what the times that are seen make of it, up to `prefetchMax`, and first 32 or twice what is worked on at a time.
   */
  readonly prefetch?: number | undefined;
  /**
   * Up to how many these may become, in the same bounds; not together with `prefetch`. Default: 2,000, or twice what is worked on at a time.
   */
  readonly prefetchMax?: number | undefined;
  /** The bytes of these, at most 16 MiB; over HTTP up to 8 MiB more. Default: 8 MiB. */
  readonly prefetchBytes?: number | undefined;
  /**
   * Ends when nothing is left to be had: messages that others hold, or that wait for a delay, are not waited for. Over sockets too they are
   * pulled then. Default: false.
   */
  readonly untilEmpty?: boolean | undefined;
  /**
   * Told of records of the channel itself, such as a change of its limits: of each once, when the group's delivery passes it, which may be
   * before the messages around it are worked on; over HTTP of those that come with its own messages. Default: none.
   */
  readonly onControl?: ((record: ControlRecord) => void) | undefined;
  /** Told why each time before a lost connection or a pull that failed is tried again. Default: none. */
  readonly onReconnect?: ((error: EdgeChannelError) => void) | undefined;
}

export interface ConsumeWithOptions extends ConsumeOptions {
  /** How many calls of the handler run at a time; messages of one key never do. Default: 1. */
  readonly concurrency?: number | undefined;
  /**
   * Told what the handler threw, for each message that is therefore retried or rejected, or what is wrong with that: a delay that is none, what
   * are no outcomes. What it throws itself ends the consumer as `stop` does, and `done` rejects with it. Default: none.
   */
  readonly onError?: ((error: unknown, message: LeasedMessage) => unknown) | undefined;
}

export interface ConsumeBatchesOptions extends ConsumeWithOptions {
  /** The most messages of a batch. */
  readonly batchSize: number;
  /** The most bytes of a batch; one larger message makes a batch of its own. Default: no limit. */
  readonly batchBytes?: number | undefined;
  /** How long a batch that is not full waits for more, in milliseconds, at most 300,000. Default: 0. */
  readonly batchWaitMs?: number | undefined;
}

export interface CheckedConsumeOptions {
  readonly given: ConsumeWithOptions;
  readonly concurrency: number;
  readonly batchSize: number;
  readonly batchBytes: number;
  readonly batchWaitMs: number;
  readonly leaseMs: number;
  /** What is held at first. */
  readonly prefetch: number;
  /** The same where it does not change. */
  readonly prefetchMax: number;
  readonly prefetchBytes: number;
}

const PREFETCH_DEFAULT = 32;
const PREFETCH_MAX_DEFAULT = 2_000;
const PREFETCH_BYTES_DEFAULT = 8 * 1024 * 1024;

export function checkConsumeOptions(given: Partial<ConsumeBatchesOptions>): CheckedConsumeOptions {
  checkOptions(given);
  checkCallbacks(given);
  if (given.prefetch !== undefined && given.prefetchMax !== undefined)
    throw EdgeChannelError.refused("Cannot take prefetchMax: prefetch says how many are held");
  // First what the bounds of the others are made of.
  const { concurrency } = checkNumbers(given, { concurrency: [1, 1, CREDIT_MESSAGES_MAX] });
  const { batchSize } = checkNumbers(given, { batchSize: [1, 1, Math.floor(CREDIT_MESSAGES_MAX / concurrency)] });
  const atOnce = concurrency * batchSize;
  const atLeast = (least: number): number => Math.min(CREDIT_MESSAGES_MAX, Math.max(least, 2 * atOnce));
  const checked = checkNumbers(given, {
    batchBytes: [CREDIT_BYTES_MAX, 1, CREDIT_BYTES_MAX],
    batchWaitMs: [0, 0, WAIT_MS_MAX],
    leaseMs: [LEASE_MS_DEFAULT, LEASE_MS_MIN, LEASE_MS_MAX],
    // Fewer would never fill the batches.
    prefetch: [atLeast(PREFETCH_DEFAULT), atOnce, CREDIT_MESSAGES_MAX],
    prefetchMax: [atLeast(PREFETCH_MAX_DEFAULT), atOnce, CREDIT_MESSAGES_MAX],
    prefetchBytes: [PREFETCH_BYTES_DEFAULT, 1, CREDIT_BYTES_MAX],
  });
  const { signal, group, reader, untilEmpty, onControl, onReconnect, onError, ...numbers } = given;
  refuseUnknown(numbers, { concurrency, batchSize, ...checked });
  const prefetchMax = given.prefetch ?? checked.prefetchMax;
  return { given, concurrency, batchSize, ...checked, prefetch: Math.min(checked.prefetch, prefetchMax), prefetchMax };
}
