// What travels between workers and the object in few pieces: the clone that a call makes of a batch's hundreds of small objects and
// buffers costs more than all other work on the batch (measured).
import type { Operation, OperationOf, Outcome, SettleEntry } from "../channel/operation.ts";
import { listMessages } from "../channel/put-batch.ts";
import { Block } from "../protocol/block.ts";
import { encodeStoredBlock } from "../protocol/block-writer.ts";
import { formatTaken } from "./reply-frames.ts";

type PackedPut = Omit<OperationOf<"put">, "type" | "messages"> & { readonly type: "packed-put"; readonly block: Uint8Array };
type PackedSettle = Omit<OperationOf<"settle">, "type" | "entries"> & {
  readonly type: "packed-settle";
  readonly entriesJson: string;
};

export type PackedOperation = Exclude<Operation, { type: "put" | "settle" }> | PackedPut | PackedSettle;

/** Taken messages as the members of a JSON reply, which every worker makes of them anyway. */
interface PackedGot {
  readonly type: "got";
  readonly count: number;
  readonly takenJson: string;
}

export type PackedOutcome = Exclude<Outcome, { type: "got" }> | PackedGot;

export function packOperation(operation: Operation): PackedOperation {
  if (operation.type === "put") {
    const { messages, ...rest } = operation;
    const records = listMessages(messages).map((message) => ({ ...message, isControl: false, putAtMs: 0 }));
    return { ...rest, type: "packed-put", block: encodeStoredBlock(records, 0) };
  }
  if (operation.type === "settle") {
    const { entries, ...rest } = operation;
    return { ...rest, type: "packed-settle", entriesJson: JSON.stringify(entries) };
  }
  return operation;
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
  return operation;
}

export function packOutcome(outcome: Outcome): PackedOutcome {
  if (outcome.type !== "got") return outcome;
  return { type: "got", count: outcome.messages.length, takenJson: formatTaken(outcome) };
}
