// A block that is put, as the operation of a put takes it.
import { listMessages, type PutBatch } from "../channel/put-batch.ts";
import type { Block } from "../protocol/block.ts";
import type { MessageDelay } from "../protocol/schedule.ts";

/** What a put stores, and which of it enters later. */
export interface PutParts {
  readonly messages: PutBatch;
  readonly delays?: readonly MessageDelay[];
}

/** What enters later lies apart from the others, each message by itself. */
export function partsOfBlock(block: Block): PutParts {
  if (!block.hasDelays) return { messages: block };
  const delays = Array.from({ length: block.count }, (_, index): MessageDelay | undefined => {
    const delay = block.delay(index);
    return delay && { index, pointer: `/messages/${index}/${"afterMs" in delay ? "delayMs" : "deliverAtMs"}`, delay };
  });
  return { messages: listMessages(block), delays: delays.filter((delay) => delay !== undefined) };
}
