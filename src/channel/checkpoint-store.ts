// The port to the storage of checkpoints, and the changes that a commit makes there.
import type { Checkpoint, CheckpointEntry } from "../protocol/checkpoint.ts";

/** All checkpoints of a channel together. */
export interface CheckpointTotals {
  readonly count: number;
  /** Bytes of the values. */
  readonly bytes: number;
  /** When the last of them was written; 0 where there are none. */
  readonly updatedAtMs: number;
}

/** What deleted checkpoints leave behind, so that the versions of a name never go back (rule CP2). */
export interface CheckpointDeletions {
  /** The highest version that was deleted. */
  readonly versionMax: number;
  /** When the last deletion happened. */
  readonly deletedAtMs: number;
}

export interface CheckpointRange {
  /** Only names after this one; "" for all. */
  readonly after: string;
  /** Only names that begin with this; "" for all. */
  readonly prefix: string;
  readonly limit: number;
}

export interface CheckpointChanges {
  /** Deletes all checkpoints, and what deletions left behind, first. */
  readonly isReset: boolean;
  readonly delete: readonly string[];
  readonly write: readonly Checkpoint[];
  readonly deletions: CheckpointDeletions | undefined;
}

/** Reads show what was committed. */
export interface CheckpointStore {
  /** One look over all entries, of which there are at most `checkpointsMax`; reads no value. */
  readTotals(): CheckpointTotals;
  readDeletions(): CheckpointDeletions | undefined;
  readEntry(name: string): CheckpointEntry | undefined;
  read(name: string): Checkpoint | undefined;
  /** In the order of the names. */
  list(range: CheckpointRange): readonly CheckpointEntry[];
}
