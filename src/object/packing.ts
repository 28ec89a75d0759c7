// What travels between workers and the object in few pieces: the clone that a call makes of a batch's hundreds of small objects and
// buffers costs more than all other work on the batch (measured).
import type { Operation, OperationOf, Outcome, SettleEntry } from "../channel/operation.ts";
import { listMessages } from "../channel/put-batch.ts";
import { selectionOf } from "../channel/selection.ts";
import { Block } from "../protocol/block.ts";
import type { PutMessage } from "../protocol/message.ts";
import { copyStoredBlock, encodeStoredBlock } from "../protocol/block-writer.ts";
import { formatBinaryReply } from "./binary-replies.ts";
import { formatTaken } from "./reply-frames.ts";

type PackedPut = Omit<OperationOf<"put">, "type" | "messages"> & { readonly type: "packed-put"; readonly block: Uint8Array };
type PackedSettle = Omit<OperationOf<"settle">, "type" | "entries"> & {
  readonly type: "packed-settle";
  readonly entriesJson: string;
};

/** `isFramed`: taken messages are wanted in a binary frame. */
type PackedGet = OperationOf<"get"> & { readonly isFramed?: true };

export type PackedOperation = Exclude<Operation, { type: "put" | "settle" | "get" }> | PackedPut | PackedSettle | PackedGet;

/** Taken messages as the members of a JSON reply, which a worker makes of them anyway, or in a binary frame, as they are stored. */
type PackedGot = { readonly type: "got"; readonly count: number } & (
  | { readonly takenJson: string }
  | { readonly frame: Uint8Array }
);

export type PackedOutcome = Exclude<Outcome, { type: "got" }> | PackedGot;

/** `isFramed`: whether messages that are taken are wanted in a binary frame; one may come without, from an object of before. */
export function packOperation(operation: Operation, { isFramed = false } = {}): PackedOperation {
  if (operation.type === "put") {
    const { messages, ...rest } = operation;
    return { ...rest, type: "packed-put", block: messages instanceof Block ? copyStoredBlock(messages) : packMessages(messages) };
  }
  if (operation.type === "settle") {
    const { entries, ...rest } = operation;
    return { ...rest, type: "packed-settle", entriesJson: JSON.stringify(entries) };
  }
  return operation.type === "get" && isFramed ? { ...operation, isFramed } : operation;
}

function packMessages(messages: readonly PutMessage[]): Uint8Array {
  const records = messages.map((message) => ({ ...message, isControl: false, putAtMs: 0 }));
  return encodeStoredBlock(records, 0);
}

export function unpackOperation(operation: PackedOperation): Operation {
  if (operation.type === "packed-put") {
    const { block, ...rest } = operation;
    const read = Block.ofStored(block);
    return { ...rest, type: "put", messages: rest.delays === undefined ? read : listMessages(read) };
  }
  if (operation.type === "packed-settle") {
    const { entriesJson, ...rest } = operation;
    return { ...rest, type: "settle", entries: JSON.parse(entriesJson) as readonly SettleEntry[] };
  }
  if (operation.type === "get") {
    const { isFramed: _, ...get } = operation;
    return get;
  }
  return operation;
}

/** `frameState`: the JSON text of the state, where taken messages are wanted in a binary frame. */
export function packOutcome(outcome: Outcome, frameState?: string): PackedOutcome {
  if (outcome.type !== "got") return outcome;
  const frame = frameState === undefined ? undefined : formatBinaryReply(undefined, outcome, frameState);
  if (frame !== undefined) return { type: "got", count: selectionOf(outcome).count, frame };
  return { type: "got", count: outcome.messages.length, takenJson: formatTaken(outcome) };
}
