// Which message of a batch got which offset.
import type { PutReceipt } from "./transport.ts";

/** What a put of a producer returns once its message is on disk. */
export interface ProducedReceipt {
  /** Its own; null for a message with a delay, and where the put was sent again and the channel does not tell any more. */
  readonly offset: number | null;
  /** By which a message with a delay can be cancelled; absent where there is none, and where the channel does not tell any more. */
  readonly scheduledId?: string;
  /** Whether its batch was stored by an earlier try, or by another producer with the same id and epoch: then with what that one put. */
  readonly isDuplicate: boolean;
}

/** One for each of so many messages. */
export function receiptsOf(messages: number, { offset, count, scheduled, isDuplicate }: PutReceipt): ProducedReceipt[] {
  const scheduledIds = new Map(scheduled?.map(({ index, scheduledId }) => [index, scheduledId]));
  // A duplicate does not say which of its messages entered later.
  let next = count + scheduledIds.size === messages ? offset : null;
  return Array.from({ length: messages }, (_, index) => {
    const scheduledId = scheduledIds.get(index);
    if (scheduledId !== undefined) return { offset: null, scheduledId, isDuplicate };
    return { offset: next === null ? null : next++, isDuplicate };
  });
}
