// Has a handler work on a batch, and tells of each message what came of it.
import { EdgeChannelError } from "./edge-channel-error.ts";
import type { BatchHandler, HandlerContext } from "./handlers.ts";
import type { LeasedMessage } from "./leased-message.ts";

/** Never rejects. No outcome at all stands for a message that is done. */
export async function workOn(
  messages: readonly LeasedMessage[],
  handler: BatchHandler,
  context: HandlerContext,
): Promise<readonly PromiseSettledResult<unknown>[]> {
  try {
    const outcomes = await handler(messages, context);
    if (outcomes === undefined) return [];
    if (outcomes.length === messages.length) return outcomes;
    throw EdgeChannelError.refused(`Cannot settle ${messages.length} messages by ${outcomes.length} outcomes`);
  } catch (error) {
    return messages.map(() => ({ status: "rejected", reason: error }));
  }
}
