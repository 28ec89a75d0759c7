// What happened to one message: the reply of `GET …/messages/{offset}/history`. SPEC section HS.
import * as v from "valibot";
import { count } from "./description.ts";
import { STRATEGY_NAMES } from "./settings.ts";
import { CHANNEL, GONE, type Route } from "./route.ts";

const VERDICTS = ["retried", "expired", "released", "disconnected", "predecessor", "rejected"] as const;
/** `acked`: the group has done with it, in any way that leaves no dead letter. `skipped`: the group began behind it. */
const STATES = ["ready", "leased", "retrying", "quarantined", "acked", "dead-lettered", "skipped"] as const;

const TIERS = ["key", "colo", "region", "continent", "any"] as const;
const REASONS = ["holds-key", "owns-key", "fewest-keys", ...STRATEGY_NAMES] as const;

/** Why a message went to its reader (SPEC section LR). */
export interface RouteNote {
  /** `key`: the reader has others of its key. */
  readonly tier: (typeof TIERS)[number];
  /** What decided: something of its key, or the strategy. */
  readonly reason: (typeof REASONS)[number];
  /** Among how many readers it was chosen. */
  readonly candidates: number;
  /** Messages that the reader held. */
  readonly load: number;
}

export interface AttemptStep {
  readonly attempt: number;
  readonly reader?: string;
  /** Where members of the group are routed to. */
  readonly route?: RouteNote;
  readonly leasedAtMs: number;
  /** This and the verdict are absent while the attempt goes on. */
  readonly endedAtMs?: number;
  readonly verdict?: (typeof VERDICTS)[number];
  readonly reason?: string;
}

/** What a message is to one group. */
export interface GroupHistory {
  readonly group: string;
  readonly state: (typeof STATES)[number];
  /** How often it was handed out and not released. */
  readonly attempts: number;
  readonly events: readonly AttemptStep[];
  /** Earlier events that are not kept. */
  readonly omitted: number;
}

export interface MessageHistory {
  readonly offset: number;
  readonly put: {
    readonly atMs: number;
    readonly via?: "http" | "socket" | "rpc";
    readonly colo?: string;
    readonly producer?: string;
    readonly redrivenFrom?: number;
  };
  readonly groups: readonly GroupHistory[];
}

export const routeNoteSchema = v.object({ tier: v.picklist(TIERS), reason: v.picklist(REASONS), candidates: count, load: count });

export const messageHistorySchema = v.object({
  offset: count,
  put: v.object({
    atMs: count,
    via: v.optional(v.picklist(["http", "socket", "rpc"])),
    colo: v.optional(v.string()),
    producer: v.optional(v.string()),
    redrivenFrom: v.optional(count),
  }),
  groups: v.array(
    v.object({
      group: v.string(),
      state: v.picklist(STATES),
      attempts: count,
      events: v.array(
        v.object({
          attempt: count,
          reader: v.optional(v.string()),
          route: v.optional(routeNoteSchema),
          leasedAtMs: count,
          endedAtMs: v.optional(count),
          verdict: v.optional(v.picklist(VERDICTS)),
          reason: v.optional(v.string()),
        }),
      ),
      omitted: count,
    }),
  ),
});

export const HISTORY_ROUTE: Route = {
  method: "get",
  path: `${CHANNEL}/messages/{offset}/history`,
  operationId: "getMessageHistory",
  summary: "What happened to a message, or to its dead letter: who put it, and each attempt to deliver it",
  query: v.strictObject({}),
  hasStateHeaders: true,
  replies: { 200: { description: "Its history", schema: messageHistorySchema } },
  refusals: [...GONE, "unknown-message"],
};
