// Reads a channel as a member of a group: messages are leased, written, and acked once they are written.
import { LIMITS } from "../../protocol/limits.ts";
import type { Channel, Leased } from "../../client/index.ts";
import { Retries } from "../../client/retries.ts";
import { formatAmount } from "./output.ts";

export interface ReadOptions {
  readonly group: string | undefined;
  /** Ends after so many messages. */
  readonly max: number;
  /** Ends when nothing is left to be had. */
  readonly endsWhenEmpty: boolean;
  /** Ends the reading; what is leased and not written yet is released. */
  readonly signal: AbortSignal;
  /** Messages that rejects are released. */
  readonly write: (messages: readonly Leased[]) => Promise<void>;
}

export interface ReadReport {
  readonly taken: number;
  /** Messages that were written after their lease was over: they come again. */
  readonly late: number;
}

const PULL_MESSAGES_MAX = 1000;
const LEASE_MS = 60_000;
/** With their pauses some 20 seconds. A lost connection is opened anew, and messages of an answer that was lost come again. */
const RETRIES = 8;
/** How long to wait for more where an empty answer left messages: expired ones leave in steps, so later ones may be behind them. */
const SECOND_LOOK_MS = 100;

export async function readLeased(channel: Channel, options: ReadOptions): Promise<ReadReport> {
  const { group, max, endsWhenEmpty, signal, write } = options;
  const retries = new Retries({ retries: RETRIES });
  let taken = 0;
  let late = 0;
  let depthBefore = Number.POSITIVE_INFINITY;
  while (taken < max && !signal.aborted) {
    const waitMs = endsWhenEmpty ? (depthBefore === Number.POSITIVE_INFINITY ? 0 : SECOND_LOOK_MS) : LIMITS.waitMsMax;
    const wanted = { group, max: Math.min(PULL_MESSAGES_MAX, max - taken), waitMs, leaseMs: LEASE_MS, signal };
    const { messages, state } = await retries.run(() => channel.transport.pull(wanted), signal);
    if (messages.length === 0) {
      if (endsWhenEmpty && (state.depth === 0 || state.depth >= depthBefore)) break;
      depthBefore = state.depth;
      continue;
    }
    depthBefore = Number.POSITIVE_INFINITY;
    await writeOrRelease(channel, messages, { signal, write });
    late += await ackWritten(channel, messages, retries);
    taken += messages.length;
  }
  return { taken, late };
}

/** Releases the messages where they could not be written, also those of an answer that came after the end was asked for. */
export async function writeOrRelease(
  channel: Channel,
  messages: readonly Leased[],
  { signal, write }: Pick<ReadOptions, "signal" | "write">,
): Promise<void> {
  try {
    signal.throwIfAborted();
    await write(messages);
  } catch (error) {
    // Where this fails too, the leases end with the connection, or by themselves.
    await channel.settle({ releases: messages }).catch(() => undefined);
    throw error;
  }
}

/** Acks what was written, also when the end was asked for meanwhile, and returns how many acks came too late. */
export async function ackWritten(
  channel: Channel,
  messages: readonly Leased[],
  retries = new Retries({ retries: RETRIES }),
): Promise<number> {
  const { refused } = await retries.run(() => channel.settle({ acks: messages }), undefined);
  // Settled already: by a try of this ack whose answer was lost.
  return refused.filter(({ problem }) => !(problem.kind === "lease-lost" && problem.cause === "settled")).length;
}

export function formatLate(late: number): string {
  return `The lease of ${formatAmount(late, "message")} was over before they were acked: they come again`;
}
