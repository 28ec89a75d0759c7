// What a put brings: messages one by one, or together in a block, which is stored as it came.
import { Block } from "../protocol/block.ts";
import { contentOf, messageBytes, type PutMessage } from "../protocol/message.ts";

/** A block has neither delays nor control records, and what is in it was checked when it came. */
export type PutBatch = readonly PutMessage[] | Block;

export function countOf(batch: PutBatch): number {
  return batch instanceof Block ? batch.count : batch.length;
}

/** The bytes that all messages count together (rule PT6). */
export function bytesOf(batch: PutBatch): number {
  if (batch instanceof Block) return batch.bytesOf(0, batch.count);
  return batch.reduce((bytes, message) => bytes + messageBytes(message), 0);
}

/** The bytes of the first message that has more than `bytesMax`. */
export function findLarger(batch: PutBatch, bytesMax: number): number | undefined {
  if (!(batch instanceof Block)) return batch.map(messageBytes).find((bytes) => bytes > bytesMax);
  // None is larger than all of them together.
  if (batch.byteLength <= bytesMax) return undefined;
  for (let place = 0; place < batch.count; place++) if (batch.messageBytes(place) > bytesMax) return batch.messageBytes(place);
  return undefined;
}

/** Where the messages themselves are needed. */
export function listMessages(batch: PutBatch): readonly PutMessage[] {
  if (!(batch instanceof Block)) return batch;
  return Array.from({ length: batch.count }, (_, place) => contentOf(batch.message(place)));
}
