// A checkpoint on the wire: a named value beside the messages of a channel, with a version.
import * as v from "valibot";
import { count } from "./description.ts";

/** What is known of a checkpoint without its value. */
export interface CheckpointEntry {
  readonly name: string;
  /** Rises with each write of the name and never goes back while the channel lives. */
  readonly version: number;
  readonly contentType: string;
  /** The length of the value. */
  readonly bytes: number;
  readonly updatedAtMs: number;
}

export interface Checkpoint extends CheckpointEntry {
  readonly value: Uint8Array<ArrayBuffer>;
}

export const checkpointEntrySchema = v.object({
  name: v.string(),
  version: count,
  contentType: v.string(),
  bytes: count,
  updatedAtMs: count,
});
