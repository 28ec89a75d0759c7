// Dead letters that are put again or dropped. A redriven one is a new message that names its old offset.
import { fits, type Size } from "./admission.ts";
import type { Backlog } from "./backlog.ts";
import type { DeadLetter } from "./dead-letter-store.ts";
import type { DeadLetters } from "./dead-letters.ts";
import type { OperationOf, Outcome } from "./operation.ts";
import type { ChannelRecord } from "./store.ts";
import type { WaitLine } from "./wait-line.ts";
import { messageBytes } from "../protocol/message.ts";
import type { Refusal } from "../protocol/problems.ts";

export interface RedriveParts {
  readonly backlog: Backlog;
  readonly deadLetters: DeadLetters;
  readonly line: WaitLine;
  /** What takes up room in the channel (rule PT3). */
  readonly held: () => Size;
  /** Why none can be put again now, room aside. */
  readonly refuse: (record: ChannelRecord) => Refusal | undefined;
}

/** Puts dead letters again, in the order of their old offsets, as many as fit beside what is promised; none while puts wait (rule DL3). */
export function redrive(
  parts: RedriveParts,
  request: { readonly record: ChannelRecord; readonly operation: OperationOf<"redrive">; readonly nowMs: number },
): Outcome {
  const { record, operation, nowMs } = request;
  const refusal = parts.refuse(record);
  if (refusal !== undefined) return { type: "refused", refusal };
  const { fromOffset, max, filter } = operation;
  const { letters, nextOffset } = parts.deadLetters.find({ fromOffset, limit: max, filter, nowMs });
  const moved = putAgain(parts, letters, { record, nowMs });
  return formatMoved(moved, letters[moved]?.message.offset ?? nextOffset);
}

/** Puts the first of the letters again, as many as fit, and returns how many these were. */
export function putAgain(
  { backlog, deadLetters, line, held }: RedriveParts,
  letters: readonly DeadLetter[],
  { record, nowMs }: { readonly record: ChannelRecord; readonly nowMs: number },
): number {
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
  return moved;
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
