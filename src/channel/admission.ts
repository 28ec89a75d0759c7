// Whether a put fits: now, after the channel grows, or never.
import { LIMITS } from "../protocol/limits.ts";
import type { Refusal } from "../protocol/problems.ts";
import type { Settings } from "../protocol/settings.ts";
import { bytesOf, countOf, findLarger, type PutBatch } from "./put-batch.ts";
import type { ChannelRecord } from "./store.ts";

export interface Size {
  readonly messages: number;
  readonly bytes: number;
}

export interface Capacity {
  readonly maxMessages: number;
  readonly maxBytes: number;
}

/** The size of a batch, or the refusal of one that is too large for any channel with these settings (rule PT1). */
export function measureBatch(batch: PutBatch, settings: Settings): Size | Refusal {
  const messages = countOf(batch);
  const larger = findLarger(batch, settings.maxMessageBytes);
  if (larger !== undefined) return { kind: "message-too-large", bytes: larger, limit: settings.maxMessageBytes };
  const bytes = bytesOf(batch);
  if (messages > LIMITS.batchMessagesMax) {
    return { kind: "batch-too-large", size: messages, limit: LIMITS.batchMessagesMax, unit: "messages" };
  }
  // A single message may carry headers on top of the largest body.
  if (messages > 1 && bytes > LIMITS.batchBytesMax) {
    return { kind: "batch-too-large", size: bytes, limit: LIMITS.batchBytesMax, unit: "bytes" };
  }
  return { messages, bytes };
}

/** The most that a channel can ever hold: its limits in force, or those it may grow to. */
export function ceilingOf({ limits, settings }: ChannelRecord): Capacity {
  return {
    maxMessages: Math.max(limits.maxMessages, settings.growth?.maxMessages ?? 0),
    maxBytes: Math.max(limits.maxBytes, settings.growth?.maxBytes ?? 0),
  };
}

/** The refusal of what will never fit, however long it waits (rule PT5). */
export function refuseNeverFitting(size: Size, ceiling: Capacity): Refusal | undefined {
  if (size.messages > ceiling.maxMessages) {
    return { kind: "batch-too-large", size: size.messages, limit: ceiling.maxMessages, unit: "messages" };
  }
  if (size.bytes > ceiling.maxBytes) return { kind: "batch-too-large", size: size.bytes, limit: ceiling.maxBytes, unit: "bytes" };
  return undefined;
}

export function fits(size: Size, held: Size, capacity: Capacity): boolean {
  return held.messages + size.messages <= capacity.maxMessages && held.bytes + size.bytes <= capacity.maxBytes;
}

/** The limits to grow to for `needed`, as near to it as growth allows; undefined when nothing is gained (rule GR1). */
export function decideGrowth(needed: Size, { limits, settings }: ChannelRecord): Capacity | undefined {
  const { growth } = settings;
  if (growth === null) return undefined;
  const maxMessages = growTo(needed.messages, limits.maxMessages, growth.factor, growth.maxMessages);
  const maxBytes = growTo(needed.bytes, limits.maxBytes, growth.factor, growth.maxBytes);
  return maxMessages === limits.maxMessages && maxBytes === limits.maxBytes ? undefined : { maxMessages, maxBytes };
}

function growTo(needed: number, limit: number, factor: number, limitMax: number): number {
  let grown = limit;
  // Ends: each step is at least one more, and the factor is more than 1.
  while (grown < needed && grown < limitMax) grown = Math.min(limitMax, Math.max(grown + 1, Math.ceil(grown * factor)));
  return Math.max(grown, limit);
}

/** As much of a credit as may be granted. */
export function capCredit({ messages, bytes }: Size): Size {
  return { messages: Math.min(messages, LIMITS.creditMessagesMax), bytes: Math.min(bytes, LIMITS.creditBytesMax) };
}
