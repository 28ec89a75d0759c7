// The HTTP route that shows who reads and who puts, and from where. SPEC section RG.
import * as v from "valibot";
import { count } from "./description.ts";
import { LIMITS } from "./limits.ts";
import { groupNameSchema } from "./names.ts";
import { COLO_PATTERN } from "./place.ts";
import { CHANNEL, GONE, numberText, type Route } from "./route.ts";

const roleSchema = v.picklist(["reader", "producer"]);

export const readersQuerySchema = v.strictObject({
  after: v.optional(v.pipe(v.string(), v.maxLength(LIMITS.readersMarkCharsMax))),
  limit: v.optional(numberText(1, LIMITS.readersPageMax)),
  colo: v.optional(v.pipe(v.string(), v.regex(COLO_PATTERN, "Expected the code of a colo in capitals, as FRA"))),
  group: v.optional(groupNameSchema),
  role: v.optional(roleSchema),
});

const readerSchema = v.object({
  id: v.string(),
  role: roleSchema,
  kind: v.picklist(["member", "plain", "tap", "pull", "http", "socket", "rpc"]),
  group: v.optional(v.string()),
  colo: v.nullable(v.string()),
  region: v.nullable(v.string()),
  continent: v.nullable(v.string()),
  country: v.nullable(v.string()),
  connections: count,
  sinceMs: v.nullable(count),
  lastSeenMs: v.nullable(count),
  credit: v.number(),
  inFlight: count,
  ratePerSecond: v.number(),
});

const coloCountSchema = v.object({ colo: v.nullable(v.string()), readers: count, producers: count });

export type ReaderDescription = v.InferOutput<typeof readerSchema>;
/** How many entries there are of a colo, of all that the query asks for. */
export type ColoCount = v.InferOutput<typeof coloCountSchema>;

export const READER_REPLY_SCHEMAS = {
  readers: v.object({
    readers: v.array(readerSchema),
    colos: v.array(coloCountSchema),
    next: v.nullable(v.string()),
  }),
} as const;

export const READER_ROUTES: readonly Route[] = [
  {
    method: "get",
    path: `${CHANNEL}/readers`,
    operationId: "listReaders",
    summary: "List readers and producers with their places, in the order of their ids",
    query: readersQuerySchema,
    replies: {
      200: { description: "A page; pass `next` as `after` for the following one", schema: READER_REPLY_SCHEMAS.readers },
    },
    refusals: GONE,
  },
];
