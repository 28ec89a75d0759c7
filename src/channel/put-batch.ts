// What a put brings: messages one by one, or together in a block, which is stored as it came.
import { Block } from "../protocol/block.ts";
import { contentOf, messageBytes, type PutMessage } from "../protocol/message.ts";

/** A block has neither delays nor control records, and what is in it was checked when it came. */
export type PutBatch = readonly PutMessage[] | Block;

export function countOf(batch: PutBatch): number {
  return batch instanceof Block ? batch.count : batch.length;
}

/** The bytes that each message counts (rule PT6), in their order. */
export function* sizesOf(batch: PutBatch): Iterable<number> {
  if (batch instanceof Block) for (let place = 0; place < batch.count; place++) yield batch.messageBytes(place);
  else for (const message of batch) yield messageBytes(message);
}

/** Where the messages themselves are needed. */
export function listMessages(batch: PutBatch): readonly PutMessage[] {
  if (!(batch instanceof Block)) return batch;
  return Array.from({ length: batch.count }, (_, place) => contentOf(batch.message(place)));
}
