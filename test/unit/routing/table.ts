// Tables of readers, and requests, in few words.
import type { Place } from "../../../src/protocol/place.ts";
import { route, type RouteDecision, type RoutedTo, type RouteRequest } from "../../../src/channel/routing/route.ts";
import { ROUTING_DEFAULTS, type RoutingSettings } from "../../../src/channel/routing/routing-settings.ts";
import type { RoutedReader, RoutingTable } from "../../../src/channel/routing/routing-table.ts";
import { Random } from "../../simulation/random.ts";

export const LONDON: Place = { colo: "LHR", region: "weur", continent: "EU", country: "GB" };
export const PARIS: Place = { colo: "CDG", region: "weur", continent: "EU", country: "FR" };
export const WARSAW: Place = { colo: "WAW", region: "eeur", continent: "EU", country: "PL" };
export const TOKYO: Place = { colo: "NRT", region: "apac", continent: "AS", country: "JP" };

export function reader(id: string, place?: Place, counts: Partial<RoutedReader> = {}): RoutedReader {
  return { id, place, credit: 10, outstanding: 0, ...counts };
}

export function draws(seed = 1): () => number {
  const random = new Random(seed);
  return () => random.draw32();
}

export class Router {
  readonly table: RoutingTable;
  readonly settings: RoutingSettings;
  readonly draw32: () => number;

  constructor(table: RoutingTable, settings: Partial<RoutingSettings> = {}, seed = 1) {
    this.table = table;
    this.settings = { ...ROUTING_DEFAULTS, ...settings };
    this.draw32 = draws(seed);
  }

  decide(request: Partial<RouteRequest> = {}): RouteDecision {
    const whole = { origin: undefined, availableSinceMs: 0, depth: 1, nowMs: 0, ...request };
    return route(this.table, whole, this.settings, this.draw32);
  }

  /** Decides and sends. */
  send(request: Partial<RouteRequest> = {}): RoutedTo {
    const decision = this.decide(request);
    if (decision.type !== "to") throw new Error("Expected a reader, got a wait");
    this.table.sent(decision.reader, request.key, request.nowMs ?? 0);
    return decision;
  }

  /** How often each of the readers is chosen by so many decisions of which nothing is done. */
  count(decisions: number, request: Partial<RouteRequest> = {}): ReadonlyMap<string, number> {
    const counts = new Map<string, number>();
    for (let index = 0; index < decisions; index++) {
      const decision = this.decide(request);
      const name = decision.type === "to" ? decision.reader : "wait";
      counts.set(name, (counts.get(name) ?? 0) + 1);
    }
    return counts;
  }
}

export function tableOf(table: RoutingTable, readers: Iterable<RoutedReader>): RoutingTable {
  for (const one of readers) table.set(one);
  return table;
}
