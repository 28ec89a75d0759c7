// Dead letters that are put again or dropped. A redriven one is a new message that names its old offset.
import type { Size } from "./admission.ts";
import type { Backlog } from "./backlog.ts";
import type { DeadLetters } from "./dead-letters.ts";
import { refusePut } from "./life-cycle.ts";
import type { OperationOf, Outcome } from "./operation.ts";
import type { ChannelRecord } from "./store.ts";
import { messageBytes } from "../protocol/message.ts";

/** Puts dead letters again, in the order of their old offsets, as many as fit (rule DL3). */
export function redrive(
  parts: {
    readonly backlog: Backlog;
    readonly deadLetters: DeadLetters;
    /** Whether a put of this size can be stored now without passing others. */
    readonly hasRoomFor: (size: Size) => boolean;
  },
  request: { readonly record: ChannelRecord; readonly operation: OperationOf<"redrive">; readonly nowMs: number },
): Outcome {
  const { backlog, deadLetters, hasRoomFor } = parts;
  const { record, operation, nowMs } = request;
  const refusal = refusePut(record);
  if (refusal !== undefined) return { type: "refused", refusal };
  const { letters, nextOffset } = deadLetters.find({ fromOffset: 1, limit: operation.max, filter: operation.filter, nowMs });
  let moved = 0;
  for (const letter of letters) {
    const { message } = letter;
    if (!hasRoomFor({ messages: 1, bytes: messageBytes(message) })) break;
    backlog.append([{ ...message, redrivenFrom: message.offset }], nowMs);
    deadLetters.remove(letter);
    moved += 1;
  }
  return { type: "moved", moved, isMore: moved < letters.length || nextOffset !== undefined };
}

export function dropDeadLetters(deadLetters: DeadLetters, operation: OperationOf<"drop-dead-letters">, nowMs: number): Outcome {
  const { letters, nextOffset } = deadLetters.find({ fromOffset: 1, limit: operation.max, filter: operation.filter, nowMs });
  for (const letter of letters) deadLetters.remove(letter);
  return { type: "moved", moved: letters.length, isMore: nextOffset !== undefined };
}
