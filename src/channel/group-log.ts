// The records as one group sees them: which are still to be handed out, from its head on. For a queue that is the backlog itself, elsewhere
// a view of it with a position of its own (group-view.ts).
import type { Message } from "../protocol/message.ts";
import type { Run } from "./run.ts";
import type { Fate } from "./fates.ts";
import type { RunSource } from "./stretch.ts";

export interface GroupLog extends RunSource {
  /** The first record that the group has not done with. */
  readonly headOffset: number;
  /** Messages that the group has not done with. */
  readonly depth: number;
  /** Where delivery begins to look for messages after waking, unless the head is further on. */
  scanMark: number;
  /** Whether a message that the group has not done with may name a time to live. */
  readonly mayHoldTtl: boolean;
  /** Whether the record at `place` is not there for the group any more. */
  isGone(run: Run, place: number): boolean;
  /** Whether the message at `offset` is still there for the group. */
  isKept(offset: number): boolean;
  read(offset: number): Message | undefined;
  /** Ends messages for the group, and returns the offsets of those that were there. */
  finishAll(offsets: readonly number[], fate: Fate): readonly number[];
  /** Notes that a reader of the group was told of the control record at `offset`, so that the head does not stop there. */
  passControl(offset: number): void;
}
