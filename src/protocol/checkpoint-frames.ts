// Frames of checkpoints: the same operations as over HTTP, over a connection that does everything else too. SPEC section CP.
import * as v from "valibot";
import type { CheckpointEntry } from "./checkpoint.ts";
import { LIMITS } from "./limits.ts";
import { contentTypeSchema, putMessageSchema } from "./message.ts";
import { checkpointNameSchema } from "./names.ts";
import { wholeNumber } from "./settings.ts";

const idSchema = wholeNumber(0, Number.MAX_SAFE_INTEGER);

/** The version that has to be there, or `*` for any. */
const ifMatchSchema = v.optional(v.union([wholeNumber(1, Number.MAX_SAFE_INTEGER), v.literal("*")], 'Expected a version or "*"'));

/** A checkpoint to write; its value has the forms that the body of a message has. */
export const checkpointWriteEntries = {
  name: checkpointNameSchema,
  ifMatch: ifMatchSchema,
  /** Nothing may be there. */
  ifNoneMatch: v.optional(v.literal("*", 'Expected "*"')),
  contentType: v.optional(contentTypeSchema),
  json: putMessageSchema.entries.json,
  text: putMessageSchema.entries.text,
  base64: putMessageSchema.entries.base64,
};

const checkpointWriteSchema = v.strictObject(checkpointWriteEntries);

export type GivenCheckpointWrite = v.InferOutput<typeof checkpointWriteSchema>;

export const CHECKPOINT_FRAME_SCHEMAS = {
  "read-checkpoint": v.strictObject({ type: v.literal("read-checkpoint"), id: idSchema, name: checkpointNameSchema }),
  "write-checkpoint": v.strictObject({ type: v.literal("write-checkpoint"), id: idSchema, ...checkpointWriteEntries }),
  "delete-checkpoint": v.strictObject({
    type: v.literal("delete-checkpoint"),
    id: idSchema,
    name: checkpointNameSchema,
    ifMatch: ifMatchSchema,
  }),
  "list-checkpoints": v.strictObject({
    type: v.literal("list-checkpoints"),
    id: idSchema,
    after: v.optional(checkpointNameSchema),
    prefix: v.optional(checkpointNameSchema),
    limit: v.optional(wholeNumber(1, LIMITS.checkpointsPageMax)),
  }),
} as const;

/** What the server answers. */
export type CheckpointFrame =
  /** The value is in one of the last three, as its content type says. */
  | ({ readonly type: "checkpoint"; readonly id: number } & CheckpointEntry & {
        readonly json?: unknown;
        readonly text?: string;
        readonly base64?: string;
      })
  /** `created`: there was none. */
  | ({ readonly type: "checkpoint-written"; readonly id: number; readonly created: boolean } & CheckpointEntry)
  /** With the version that it had. */
  | { readonly type: "checkpoint-deleted"; readonly id: number; readonly name: string; readonly version: number }
  | {
      readonly type: "checkpoints";
      readonly id: number;
      readonly checkpoints: readonly CheckpointEntry[];
      /** The `after` of the next page; null at the end. */
      readonly next: string | null;
    };
