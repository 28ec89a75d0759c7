// The route that takes a channel to another place.
import * as v from "valibot";
import { channelDescriptionSchema } from "./description.ts";
import { placementSchema } from "./placement.ts";
import { CHANNEL, GONE, type Route } from "./route.ts";

export const MOVE_ROUTE: Route = {
  method: "post",
  path: `${CHANNEL}/move`,
  operationId: "moveChannel",
  summary: "Take the channel to another place, with all that it has",
  query: v.strictObject({}),
  body: placementSchema,
  replies: { 200: { description: "The channel, which is there now", schema: channelDescriptionSchema } },
  refusals: [...GONE, "already-there", "channel-draining", "channel-closed", "too-many-snapshots", "jurisdiction-unavailable"],
};
