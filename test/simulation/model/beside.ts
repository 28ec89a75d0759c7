// What the model keeps of a channel beside its records: delayed messages, producers and keys, checkpoints. All of it ends with the life.
import type { Checkpoint } from "../../../src/protocol/checkpoint.ts";
import type { PutMessage } from "../../../src/protocol/message.ts";

export interface ModelScheduled {
  /** Rises with each that is put. */
  readonly order: number;
  readonly dueAtMs: number;
  readonly putAtMs: number;
  readonly bytes: number;
  readonly message: PutMessage;
  /** As it was told; undefined until then. */
  readonly scheduledId: string | undefined;
}

/** What a put came to, as far as it is kept for its retry. */
export interface ModelOutcome {
  /** Of the first message that entered at once, or the next one where none did. */
  readonly offset: number;
  readonly entered: number;
  readonly messages: readonly PutMessage[];
}

export interface ModelProducer {
  readonly id: string;
  readonly epoch: number;
  readonly usedAtMs: number;
  /** Of all numbers of the epoch, from 1 on. */
  readonly outcomes: readonly ModelOutcome[];
}

export interface ModelKey extends ModelOutcome {
  readonly idempotencyKey: string;
  readonly putAtMs: number;
}

export interface BesideState {
  /** In the order of their puts. */
  readonly scheduled: readonly ModelScheduled[];
  /** What entered since the last commit (rule SD6); not stored. */
  readonly entered: { readonly messages: number; readonly bytes: number };
  /** In the order in which they came. */
  readonly producers: readonly ModelProducer[];
  /** In the order of their puts. Those whose window is over take up room until they are dropped (rule DD7). */
  readonly keys: readonly ModelKey[];
  /** In the order of their names. */
  readonly checkpoints: readonly Checkpoint[];
  /** The highest version that was deleted, and when the last deletion was. */
  readonly deletedCheckpoint: { readonly version: number; readonly atMs: number };
  /** When a checkpoint changed last. */
  readonly checkpointsChangedAtMs: number;
}

export const NOTHING_ENTERED: BesideState["entered"] = { messages: 0, bytes: 0 };

export const NOTHING_BESIDE: BesideState = {
  scheduled: [],
  entered: NOTHING_ENTERED,
  producers: [],
  keys: [],
  checkpoints: [],
  deletedCheckpoint: { version: 0, atMs: 0 },
  checkpointsChangedAtMs: 0,
};
