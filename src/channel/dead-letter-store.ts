// The port to the dead letters: messages that were handed out too often or rejected (SPEC section DL).
import type { Message } from "../protocol/message.ts";

export interface DeadLetter {
  /** As it was in the channel, its offset too. */
  readonly message: Message;
  readonly attempts: number;
  readonly reason: string;
  readonly diedAtMs: number;
}

export interface DeadLetterTotals {
  readonly messages: number;
  readonly bytes: number;
}

export interface DeadLetterChanges {
  /** Deletes every one first. */
  readonly isCleared: boolean;
  readonly insert: readonly DeadLetter[];
  /** Offsets. */
  readonly delete: readonly number[];
  readonly totals: DeadLetterTotals;
}

export interface DeadLetterStore {
  readTotals(): DeadLetterTotals;
  /** The dead letter with the least offset that is not lower than `offset`. */
  readFrom(offset: number): DeadLetter | undefined;
}
