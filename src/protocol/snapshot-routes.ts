// The routes of snapshots and restores.
import * as v from "valibot";
import { LIMITS } from "./limits.ts";
import { CHANNEL, GONE, numberText, type Route } from "./route.ts";
import { snapshotIdSchema } from "./snapshot.ts";

/** Pages count from 1; no channel has so many. */
const pageTextSchema = numberText(1, 2 ** 32 - 1);

export const SNAPSHOT_PATH_SCHEMAS = { snapshotId: snapshotIdSchema, restoreId: snapshotIdSchema, page: pageTextSchema } as const;

export const snapshotPageQuerySchema = v.strictObject({
  page: v.optional(pageTextSchema),
  maxBytes: v.optional(numberText(1, LIMITS.snapshotPageBytes)),
});

const count = v.pipe(v.number(), v.integer());

export const SNAPSHOT_REPLY_SCHEMAS = {
  snapshotBegun: v.object({ snapshotId: v.string() }),
  snapshotEnded: v.object({ snapshotId: v.string() }),
  restoreBegun: v.object({ restoreId: v.string() }),
  pageStaged: v.object({ page: count, isLast: v.boolean() }),
  restored: v.object({ channel: v.string() }),
  restoreAborted: v.object({ restoreId: v.string() }),
} as const;

const RESTORE = `${CHANNEL}/restores/{restoreId}`;
const none = v.strictObject({});

export const SNAPSHOT_ROUTES: readonly Route[] = [
  {
    method: "post",
    path: `${CHANNEL}/snapshots`,
    operationId: "beginSnapshot",
    summary: "Begin a snapshot of all that the channel holds at this moment",
    query: none,
    replies: { 201: { description: "It is open", schema: SNAPSHOT_REPLY_SCHEMAS.snapshotBegun } },
    refusals: [...GONE, "too-many-snapshots"],
  },
  {
    method: "get",
    path: `${CHANNEL}/snapshots/{snapshotId}`,
    operationId: "readSnapshot",
    summary: "Read a page of a snapshot",
    query: snapshotPageQuerySchema,
    replies: { 200: { description: "The page, to be kept as it is" } },
    refusals: [...GONE, "unknown-snapshot"],
  },
  {
    method: "delete",
    path: `${CHANNEL}/snapshots/{snapshotId}`,
    operationId: "endSnapshot",
    summary: "End a snapshot",
    query: none,
    replies: { 200: { description: "It has ended", schema: SNAPSHOT_REPLY_SCHEMAS.snapshotEnded } },
    refusals: [...GONE, "unknown-snapshot"],
  },
  {
    method: "post",
    path: `${CHANNEL}/restores`,
    operationId: "beginRestore",
    summary: "Begin a restore into a name that has no channel",
    query: none,
    replies: { 201: { description: "It takes pages", schema: SNAPSHOT_REPLY_SCHEMAS.restoreBegun } },
    refusals: ["channel-exists", "too-many-snapshots"],
  },
  {
    method: "put",
    path: `${RESTORE}/pages/{page}`,
    operationId: "stagePage",
    summary: "Bring a page of the snapshot: the body is the page",
    query: none,
    isPageBody: true,
    replies: { 200: { description: "It is staged", schema: SNAPSHOT_REPLY_SCHEMAS.pageStaged } },
    refusals: ["unknown-restore", "snapshot-invalid"],
  },
  {
    method: "post",
    path: `${RESTORE}/commit`,
    operationId: "commitRestore",
    summary: "Make what was staged the channel",
    query: none,
    replies: { 201: { description: "The channel goes on", schema: SNAPSHOT_REPLY_SCHEMAS.restored } },
    refusals: ["unknown-restore", "snapshot-invalid", "channel-exists"],
  },
  {
    method: "delete",
    path: RESTORE,
    operationId: "abortRestore",
    summary: "Forget what was staged",
    query: none,
    replies: { 200: { description: "It is forgotten", schema: SNAPSHOT_REPLY_SCHEMAS.restoreAborted } },
    refusals: ["unknown-restore"],
  },
];
