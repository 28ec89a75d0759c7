// How the messages of a group find their readers: what its settings say (SPEC rules LR1 to LR12).
import { LIMITS } from "../../protocol/limits.ts";
import type { Locality, StrategyName } from "../../protocol/settings.ts";

/** An area around a place, the nearest first. Beyond all of them is anybody. */
export const AREAS = ["colo", "region", "continent"] as const;
export type Area = (typeof AREAS)[number];

export interface RoutingSettings {
  readonly locality: Locality;
  readonly strategy: StrategyName;
  /** How long a message waits for a busy reader of a nearer tier before it goes farther, in ms. */
  readonly localityWaitMs: number;
  /** With more messages waiting than this, busy tiers are passed at once. */
  readonly localityDepth: number;
  /** The areas that are told apart; all if absent. */
  readonly areas?: readonly Area[];
}

export const ROUTING_DEFAULTS: RoutingSettings = {
  locality: "origin",
  strategy: "pow2",
  localityWaitMs: LIMITS.localityWaitMsDefault,
  localityDepth: LIMITS.localityDepthDefault,
};
