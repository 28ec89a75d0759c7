// Snapshots and restores on the wire, and the record of a channel that a snapshot begins with.
import * as v from "valibot";
import { givenSettingsSchema, wholeNumber } from "./settings.ts";

/** The id of a snapshot or of a restore. */
export const snapshotIdSchema = v.pipe(v.string(), v.regex(/^[0-9a-f]{16}$/, "Expected 16 hex digits"));

const anyCount = wholeNumber(0, Number.MAX_SAFE_INTEGER);

/** A redrive with a rate that was running. */
const carriedRedriveSchema = v.strictObject({
  ratePerSecond: anyCount,
  startedAtMs: anyCount,
  moved: anyCount,
  filter: v.strictObject({
    offset: v.optional(anyCount),
    key: v.optional(v.string()),
    group: v.optional(v.string()),
    reason: v.optional(v.string()),
    olderThanMs: v.optional(anyCount),
  }),
  nextOffset: anyCount,
  endOffset: anyCount,
  nextStepAtMs: anyCount,
});

export const carriedRecordSchema = v.strictObject({
  state: v.picklist(["open", "draining", "closed"]),
  settings: givenSettingsSchema,
  limits: v.strictObject({ maxMessages: anyCount, maxBytes: anyCount }),
  createdAtMs: anyCount,
  drainUntilMs: v.nullable(anyCount),
  redrive: v.nullable(carriedRedriveSchema),
});
