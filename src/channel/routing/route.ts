// Which reader of a group a message goes to, and why (SPEC rules LR1 to LR12). It decides and changes nothing that is seen: what is done of it
// the table is told by `sent`.
import { assert } from "../../base/assert.ts";
import type { Place } from "../../protocol/place.ts";
import { isFree, type Pool, type TableReader } from "./pool.ts";
import type { StrategyName } from "../../protocol/settings.ts";
import { type Area, AREAS, type RoutingSettings } from "./routing-settings.ts";
import type { RoutingTable } from "./routing-table.ts";
import { pickFewestKeys, type PickRequest, strategyNamed } from "./strategies.ts";

export interface RouteRequest {
  /** From where distance is measured: of the message, or of the channel; undefined where that is not known. */
  readonly origin: Place | undefined;
  readonly key?: string;
  /** What belongs together beside a key, for the strategy that goes by it; else what names the message. */
  readonly affinity?: string;
  /** Since when it could have been handed out. */
  readonly availableSinceMs: number;
  /** Messages that wait. */
  readonly depth: number;
  readonly nowMs: number;
  /** The reader that holds leases of the key: it alone may have it (KO1). */
  readonly holder?: string;
}

type Tier = "key" | Area | "any";

type Reason = "holds-key" | "owns-key" | "fewest-keys" | StrategyName;

export interface RoutedTo {
  readonly type: "to";
  readonly reader: string;
  readonly tier: Tier;
  readonly reason: Reason;
  /** Among how many readers it was chosen. */
  readonly candidates: number;
  /** Messages that it holds already. */
  readonly load: number;
}

/** `untilMs`: when a busy tier may be passed or a pause ends; undefined where only credit, a join or a leave helps. */
interface RouteLater {
  readonly type: "wait";
  readonly untilMs: number | undefined;
}

export type RouteDecision = RoutedTo | RouteLater;

export function route(
  table: RoutingTable,
  request: RouteRequest,
  settings: RoutingSettings,
  draw32: () => number,
): RouteDecision {
  table.advance(request.nowMs);
  const { key, holder } = request;
  if (holder !== undefined) return routeToHolder(table.find(holder));
  const owner = key === undefined ? undefined : table.ownerOf(key);
  if (owner !== undefined && isFree(owner)) return goTo(owner, "key", "owns-key", 1);
  // Then no tier needs to be looked at.
  if (table.free === 0) return { type: "wait", untilMs: table.nextPauseEndMs };
  return routeByTier(table, request, settings, draw32);
}

function routeToHolder(holder: Readonly<TableReader> | undefined): RouteDecision {
  if (holder !== undefined && isFree(holder)) return goTo(holder, "key", "holds-key", 1);
  return { type: "wait", untilMs: holder === undefined || holder.credit === 0 ? undefined : holder.pause?.untilMs };
}

function routeByTier(table: RoutingTable, request: RouteRequest, settings: RoutingSettings, draw32: () => number): RouteDecision {
  const patienceEndMs = request.availableSinceMs + settings.localityWaitMs;
  // A message of the future does not wait for it: the clock was set back.
  const isWaiting = request.availableSinceMs <= request.nowMs && request.nowMs < patienceEndMs;
  const isPatient = isWaiting && request.depth <= settings.localityDepth;
  const { origin } = request;
  const areas = origin === undefined || settings.locality === "none" ? [] : (settings.areas ?? AREAS);
  for (const area of areas) {
    const pool = origin === undefined ? undefined : table.poolOf(area, origin);
    if (pool === undefined) continue;
    if (pool.free.size > 0) return pick(pool, area, table, request, settings, draw32);
    if (isPatient) return { type: "wait", untilMs: Math.min(patienceEndMs, table.nextPauseEndMs ?? patienceEndMs) };
  }
  return pick(table.everybody, "any", table, request, settings, draw32);
}

function pick(
  pool: Pool,
  tier: Area | "any",
  table: RoutingTable,
  { key, affinity, nowMs }: RouteRequest,
  { strategy }: RoutingSettings,
  draw32: () => number,
): RouteDecision {
  assert(pool.free.size > 0, "a strategy chooses among readers that can be sent something");
  const request: PickRequest = { affinity: key ?? affinity, nowMs, draw32, guesser: () => table.guesser };
  // A consistent hash spreads keys by itself.
  const reason = key === undefined || strategy === "consistent-hash" ? strategy : "fewest-keys";
  const picked = reason === "fewest-keys" ? pickFewestKeys(pool, request) : strategyNamed(reason)(pool, request);
  return goTo(picked.reader, tier, reason, picked.candidates);
}

function goTo({ id, outstanding }: Readonly<TableReader>, tier: Tier, reason: Reason, candidates: number): RoutedTo {
  return { type: "to", reader: id, tier, reason, candidates, load: outstanding };
}
