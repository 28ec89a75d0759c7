// Has a handler work on a batch, and tells of each message what came of it.
import { EdgeChannelError } from "./edge-channel-error.ts";
import { RetryError } from "./handler-errors.ts";
import type { BatchHandler, HandlerContext } from "./handlers.ts";
import type { LeasedMessage } from "./leased-message.ts";
import { checkDelay } from "./settle-terms.ts";

type Outcome = PromiseSettledResult<unknown>;

/** Never rejects. No outcome at all stands for a message that is done. */
export async function workOn(
  messages: readonly LeasedMessage[],
  handler: BatchHandler,
  context: HandlerContext,
): Promise<readonly Outcome[]> {
  try {
    const returned: unknown = await handler(messages, context);
    if (returned === undefined) return [];
    const { length } = messages;
    const isList = Array.isArray(returned);
    if (isList && returned.length === length && returned.every(isOutcome)) return returned.map(checkOutcome);
    const found = isList
      ? `${returned.filter(isOutcome).length} outcomes among ${returned.length} values`
      : `a value of type ${typeof returned}`;
    throw EdgeChannelError.refused(
      `Cannot settle ${length} messages by ${found}: expected one for each, as of Promise.allSettled`,
    );
  } catch (error) {
    return messages.map(() => checkOutcome({ status: "rejected", reason: error }));
  }
}

function isOutcome(value: unknown): value is Outcome {
  const { status } = Object(value) as Partial<Outcome>;
  return status === "fulfilled" || status === "rejected";
}

/** A delay that the server would refuse stands for the channel's own, and the program is told. */
function checkOutcome(outcome: Outcome): Outcome {
  try {
    const { reason } = outcome as Partial<PromiseRejectedResult>;
    if (reason instanceof RetryError) checkDelay(reason);
    return outcome;
  } catch (error) {
    return { status: "rejected", reason: error };
  }
}
