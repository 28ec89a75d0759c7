// When producers should slow down: the marks of a channel, and what still fits (SPEC section BP).
import { ceilingOf, type Size } from "./admission.ts";
import type { Outcome } from "./operation.ts";
import type { ChannelRecord } from "./store.ts";

/** Shares of what a channel can hold at most, where its settings name no marks. */
const HIGH_SHARE = 0.8;
const LOW_SHARE = 0.5;

interface Mark {
  readonly high: number;
  /** Below `high`. */
  readonly low: number;
}

/** Whether a channel that holds so much is at high pressure; between the marks it stays as it was (rule BP2). */
export function isHighAfter(wasHigh: boolean, held: Size, record: ChannelRecord): boolean {
  const { settings } = record;
  // What it holds makes room for what is put.
  if (settings.retention === "log") return false;
  const { highMessages, lowMessages, highBytes, lowBytes } = settings.marks;
  const { maxMessages, maxBytes } = ceilingOf(record);
  const messages = findMark(maxMessages, highMessages, lowMessages);
  const bytes = findMark(maxBytes, highBytes, lowBytes);
  if (wasHigh) return held.messages > messages.low || held.bytes > bytes.low;
  return held.messages >= messages.high || held.bytes >= bytes.high;
}

/** What fits a channel that holds so much. */
function computeRoom(held: Size, record: ChannelRecord): Size {
  const { maxMessages, maxBytes } = ceilingOf(record);
  if (record.settings.retention === "log") return { messages: maxMessages, bytes: maxBytes };
  return { messages: Math.max(0, maxMessages - held.messages), bytes: Math.max(0, maxBytes - held.bytes) };
}

/** The marks in force of one limit: those that the settings name, as far as it reaches (rule BP1). */
function findMark(limit: number, givenHigh: number | null, givenLow: number | null): Mark {
  const high = Math.min(givenHigh ?? Math.ceil(limit * HIGH_SHARE), limit);
  const low = Math.min(givenLow ?? Math.floor(limit * LOW_SHARE), high - 1);
  return { high, low };
}

/** What who watches is told. */
export function describeLevel(isHigh: boolean, held: Size, record: ChannelRecord): Outcome {
  return { type: "pressure", level: isHigh ? "high" : "low", credit: computeRoom(held, record) };
}
