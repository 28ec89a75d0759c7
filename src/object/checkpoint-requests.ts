// What the frames of checkpoints ask for, and the frames that answer them.
import { assertNever } from "../base/assert.ts";
import { accept, type Result } from "../base/result.ts";
import type { CheckpointOperation, Outcome } from "../channel/operation.ts";
import type { Checkpoint } from "../protocol/checkpoint.ts";
import type { InvalidRequest } from "../protocol/fault.ts";
import type { ClientFrame } from "../protocol/frames.ts";
import { LIMITS } from "../protocol/limits.ts";
import { formatBody, presentationOf } from "../protocol/message.ts";
import { parseCheckpointWrite } from "../protocol/riders.ts";

type CheckpointRequest = Extract<ClientFrame, { type: CheckpointOperation["type"] }>;
type CheckpointOutcome = Extract<Outcome, { type: "checkpoint" | "checkpoint-written" | "checkpoint-deleted" | "checkpoints" }>;

export function readCheckpointOperation(frame: CheckpointRequest): Result<CheckpointOperation, InvalidRequest> {
  switch (frame.type) {
    case "read-checkpoint":
      return accept({ type: frame.type, name: frame.name });
    case "write-checkpoint": {
      const { type, id: _, ...given } = frame;
      const write = parseCheckpointWrite(given, "");
      return write.ok ? accept({ type, write: write.value }) : write;
    }
    case "delete-checkpoint": {
      const { type, name, ifMatch } = frame;
      const condition = ifMatch === "*" ? "present" : ifMatch;
      return accept({ type, name, ...(condition !== undefined && { ifMatch: condition }) });
    }
    case "list-checkpoints": {
      const { type, after, prefix, limit = LIMITS.checkpointsPageDefault } = frame;
      return accept({ type, limit, ...(after !== undefined && { after }), ...(prefix !== undefined && { prefix }) });
    }
    default:
      return assertNever(frame);
  }
}

export function formatCheckpointReply(id: number, outcome: CheckpointOutcome): string {
  switch (outcome.type) {
    case "checkpoint":
      return formatCheckpoint(id, outcome.checkpoint);
    case "checkpoint-written":
      return JSON.stringify({ type: outcome.type, id, ...outcome.checkpoint, created: outcome.isCreated });
    case "checkpoint-deleted":
    case "checkpoints":
      return JSON.stringify({ ...outcome, id });
    default:
      return assertNever(outcome);
  }
}

/** The value is shown as the body of a message that came as bytes. */
function formatCheckpoint(id: number, { value, ...entry }: Checkpoint): string {
  const { contentType } = entry;
  const body = formatBody({ body: value, presentation: presentationOf(contentType, value) });
  return `${JSON.stringify({ type: "checkpoint", id, ...entry }).slice(0, -1)},${body}}`;
}
