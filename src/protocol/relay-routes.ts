// The HTTP route that shows the relays of a channel, and what they save. SPEC section RY.
import * as v from "valibot";
import { count } from "./description.ts";
import { LIMITS } from "./limits.ts";
import { CHANNEL, GONE, numberText, type Route } from "./route.ts";

export const relaysQuerySchema = v.strictObject({
  after: v.optional(v.pipe(v.string(), v.regex(/^[A-Z]{3}\/\d{1,4}$/, "Expected the name of a relay, as FRA/0"))),
  limit: v.optional(numberText(1, LIMITS.relaysPageMax)),
});

/** A relay as it tells of itself. Counts are of the time since it woke, which `sinceMs` says. */
const relaySchema = v.object({
  /** Its colo, and the how manieth of that colo it is, from 0. */
  relay: v.string(),
  /** Subscriptions, and the connections that they are on. */
  readers: count,
  connections: count,
  /** Whether messages flow, or did a moment ago; else it sleeps. */
  isLinked: v.boolean(),
  /** What the channel sent it, and what it sent its readers: without it the channel had sent all of that. */
  framesIn: count,
  bytesIn: count,
  framesOut: count,
  bytesOut: count,
  sinceMs: count,
});

export type RelayDescription = v.InferOutput<typeof relaySchema>;

export const RELAY_REPLY_SCHEMAS = { relays: v.object({ relays: v.array(relaySchema), next: v.nullable(v.string()) }) } as const;

export const RELAY_ROUTES: readonly Route[] = [
  {
    method: "get",
    path: `${CHANNEL}/relays`,
    operationId: "listRelays",
    summary: "List relays in the order of their names, with what they were sent and what they sent on",
    query: relaysQuerySchema,
    replies: {
      200: { description: "A page; pass `next` as `after` for the following one", schema: RELAY_REPLY_SCHEMAS.relays },
    },
    refusals: GONE,
  },
];
