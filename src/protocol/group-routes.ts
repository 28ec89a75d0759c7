// The HTTP routes of groups.
import * as v from "valibot";
import { groupDescriptionSchema } from "./description.ts";
import { LIMITS } from "./limits.ts";
import { groupNameSchema } from "./names.ts";
import { CHANNEL, GONE, numberText, type Route } from "./route.ts";
import { deliverySchema, wholeNumber } from "./settings.ts";
import { START_SCHEMAS } from "./start.ts";

const startSchema = v.union(START_SCHEMAS, 'Expected {"offset"}, {"timeMs"} or {"at": "first" or "last"}');

export const groupsQuerySchema = v.strictObject({
  after: v.optional(groupNameSchema),
  limit: v.optional(numberText(1, LIMITS.groupsMax)),
});
/** `settings` are those of the channel where they are absent; `start` is the next message if absent. */
export const createGroupBodySchema = v.strictObject({
  settings: v.optional(deliverySchema),
  start: v.optional(startSchema),
  /** A reader that died then holds nothing back any more. */
  expireAfterIdleMs: v.optional(wholeNumber(LIMITS.groupIdleMsMin, LIMITS.expireAfterIdleMsMax)),
});
export const changeGroupBodySchema = v.strictObject({ settings: v.optional(deliverySchema), isPaused: v.optional(v.boolean()) });
export const seekBodySchema = startSchema;

export const GROUP_REPLY_SCHEMAS = {
  group: groupDescriptionSchema,
  groups: v.object({ groups: v.array(groupDescriptionSchema), next: v.nullable(v.string()) }),
  groupDeleted: v.object({ group: v.string() }),
} as const;

const GROUP = `${CHANNEL}/groups/{group}`;
const GROUP_REFUSALS = [...GONE, "unknown-group", "wrong-retention"] as const;

export const GROUP_ROUTES: readonly Route[] = [
  {
    method: "get",
    path: `${CHANNEL}/groups`,
    operationId: "listGroups",
    summary: "List groups in the order of their names",
    query: groupsQuerySchema,
    replies: { 200: { description: "A page; pass `next` as `after` for the following one", schema: GROUP_REPLY_SCHEMAS.groups } },
    refusals: GONE,
  },
  {
    method: "put",
    path: GROUP,
    operationId: "createGroup",
    summary: "Create a group, or confirm that it exists",
    body: createGroupBodySchema,
    isBodyOptional: true,
    replies: {
      200: { description: "It existed; nothing was changed", schema: GROUP_REPLY_SCHEMAS.group },
      201: { description: "It was created", schema: GROUP_REPLY_SCHEMAS.group },
    },
    refusals: [...GONE, "wrong-retention", "too-many-groups", "seek-out-of-range"],
  },
  {
    method: "get",
    path: GROUP,
    operationId: "describeGroup",
    summary: "Describe a group: position, depth, counts",
    replies: { 200: { description: "The description", schema: GROUP_REPLY_SCHEMAS.group } },
    refusals: GROUP_REFUSALS,
  },
  {
    method: "patch",
    path: GROUP,
    operationId: "changeGroup",
    summary: "Change a group's settings, pause or resume it",
    body: changeGroupBodySchema,
    replies: { 200: { description: "The group as it is now", schema: GROUP_REPLY_SCHEMAS.group } },
    refusals: GROUP_REFUSALS,
  },
  {
    method: "delete",
    path: GROUP,
    operationId: "deleteGroup",
    summary: "Delete a group with its position",
    replies: { 200: { description: "It is deleted", schema: GROUP_REPLY_SCHEMAS.groupDeleted } },
    refusals: GROUP_REFUSALS,
  },
  {
    method: "post",
    path: `${GROUP}/seek`,
    operationId: "seekGroup",
    summary: "Go on at another offset or time, forwards or back",
    body: seekBodySchema,
    replies: { 200: { description: "The group as it is now", schema: GROUP_REPLY_SCHEMAS.group } },
    refusals: [...GROUP_REFUSALS, "seek-out-of-range"],
  },
];
