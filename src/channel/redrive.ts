// Dead letters that are put again or dropped. A redriven one is a new message that names its old offset.
import { fits, type Size } from "./admission.ts";
import type { Backlog } from "./backlog.ts";
import type { DeadLetters } from "./dead-letters.ts";
import type { OperationOf, Outcome } from "./operation.ts";
import type { ChannelRecord } from "./store.ts";
import type { WaitLine } from "./wait-line.ts";
import { messageBytes } from "../protocol/message.ts";

/** Puts dead letters again, in the order of their old offsets, as many as fit beside what is promised; none while puts wait (rule DL3). */
export function redrive(
  parts: {
    readonly backlog: Backlog;
    readonly deadLetters: DeadLetters;
    readonly line: WaitLine;
    /** What takes up room in the channel (rule PT3). */
    readonly held: () => Size;
  },
  request: { readonly record: ChannelRecord; readonly operation: OperationOf<"redrive">; readonly nowMs: number },
): Outcome {
  const { backlog, deadLetters, line, held } = parts;
  const { record, operation, nowMs } = request;
  const { fromOffset, max, filter } = operation;
  const { letters, nextOffset } = deadLetters.find({ fromOffset, limit: max, filter, nowMs });
  let moved = 0;
  for (const letter of letters) {
    const { message } = letter;
    // What a log holds makes room for what is put.
    const isRoom =
      record.settings.retention === "log" || fits({ messages: 1, bytes: messageBytes(message) }, held(), record.limits);
    if (line.firstPut() !== undefined || !isRoom) break;
    backlog.append([{ ...message, redrivenFrom: message.offset }], nowMs);
    deadLetters.remove(letter);
    moved += 1;
  }
  return formatMoved(moved, letters[moved]?.message.offset ?? nextOffset);
}

export function dropDeadLetters(deadLetters: DeadLetters, operation: OperationOf<"drop-dead-letters">, nowMs: number): Outcome {
  const { fromOffset, max, filter } = operation;
  const { letters, nextOffset } = deadLetters.find({ fromOffset, limit: max, filter, nowMs });
  for (const letter of letters) deadLetters.remove(letter);
  return formatMoved(letters.length, nextOffset);
}

function formatMoved(moved: number, nextOffset: number | undefined): Outcome {
  return { type: "moved", moved, isMore: nextOffset !== undefined, ...(nextOffset !== undefined && { nextOffset }) };
}
