// What the next commit changes of a backlog, beside the records that it puts.
import type { Run } from "./run.ts";

export class BacklogDraft {
  isPurge = false;
  /** Segments before this offset are deleted; 0 where none is. */
  deleteBelow = 0;
  /** Other segments that are deleted, by their first offsets. */
  readonly deletedSegments: number[] = [];
  /** Runs of which more is gone. */
  readonly changedGone = new Set<Run>();
  /** Ids of messages that are not found by them any more, by offset. */
  readonly deletedIds = new Map<number, string>();
  /** Whether the position has to be written though the segments may tell it. */
  isPositionChanged = false;

  /** Whether anything that is stored changes, apart from the position. */
  get isTouched(): boolean {
    return this.isPurge || this.deleteBelow > 0 || this.changedGone.size > 0;
  }
}
