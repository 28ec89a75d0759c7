// The port to the dead letters: messages that were handed out too often or rejected (SPEC section DL).
import type { Message } from "../protocol/message.ts";
import type { AttemptHistory } from "./delivery-store.ts";

export interface DeadLetter extends DeadLetterKey {
  /** The name of the group that could not deliver it. */
  readonly group: string;
  /** As it was in the channel, its offset too. */
  readonly message: Message;
  readonly attempts: number;
  readonly reason: string;
  readonly diedAtMs: number;
  /** Of its attempts; undefined for one that died before histories were kept. */
  readonly history: AttemptHistory | undefined;
}

/** A dead letter without its message. */
export type DeadLetterFate = Omit<DeadLetter, "message">;

/** Several groups may give up the same message. */
export interface DeadLetterKey {
  readonly offset: number;
  readonly groupId: number;
}

export interface DeadLetterTotals {
  readonly messages: number;
  readonly bytes: number;
}

export interface DeadLetterChanges {
  /** Deletes every one first. */
  readonly isCleared: boolean;
  readonly insert: readonly DeadLetter[];
  readonly delete: readonly DeadLetterKey[];
  readonly totals: DeadLetterTotals;
}

export interface DeadLetterStore {
  readTotals(): DeadLetterTotals;
  /** The least dead letter, by offset and then group, that is not lower than `key`. */
  readFrom(key: DeadLetterKey): DeadLetter | undefined;
  /** Of the dead letters with this offset, in the order of their groups. */
  readFates(offset: number): readonly DeadLetterFate[];
}
