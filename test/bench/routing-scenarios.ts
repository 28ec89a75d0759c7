// What a decision about where a message goes costs, with many readers and with few. It is measured in this process: it needs no server.
import { route } from "../../src/channel/routing/route.ts";
import { ROUTING_DEFAULTS } from "../../src/channel/routing/routing-settings.ts";
import { RoutingTable } from "../../src/channel/routing/routing-table.ts";
import { allColos } from "../../src/protocol/colos.ts";
import type { Place } from "../../src/protocol/place.ts";
import { Random } from "../simulation/random.ts";
import { type Measured, measuredOfPairs } from "./report.ts";
import { atMost, type Bench, runPairs, type Scenario } from "./scenario.ts";

const READERS = 10_000;
const READERS_OF_BASELINE = 10;
/** In each colo at least, as far as there are so many: 10,000 are spread over all that there are. */
const READERS_OF_COLO = 10;
const KEYS = 1000;
/** Between looks at the clock. */
const MESSAGES = 1000;

export const ROUTING_SCENARIOS: readonly Scenario[] = [
  {
    measures: [{ id: "route-10k", unit: "µs/message", baseline: "the same with 10 readers", goal: atMost(3) }],
    run: runRouting,
  },
];

async function runRouting(bench: Bench): Promise<readonly Measured[]> {
  const [many, few] = [new Routing(READERS), new Routing(READERS_OF_BASELINE)];
  const measure = async (routing: Routing): Promise<number> => routing.measure(bench.roundMs);
  return [measuredOfPairs(await runPairs(bench, { ours: () => measure(many), floor: () => measure(few) }))];
}

/** Messages from all colos, every second with a key: each is decided, sent and settled. */
class Routing {
  readonly #table = new RoutingTable();
  readonly #random = new Random(1);
  readonly #places: readonly Place[];
  #nowMs = 0;

  constructor(readers: number) {
    const colos = [...allColos().values()].slice(0, readers / READERS_OF_COLO);
    this.#places = colos.map(({ code: colo, region, continent, country }) => ({ colo, region, continent, country }));
    for (let index = 0; index < readers; index++) {
      const place = this.#places[index % this.#places.length];
      this.#table.set({ id: `reader-${index}`, place, credit: 100, outstanding: index % 50 });
    }
  }

  /** Microseconds for each message. */
  measure(durationMs: number): number {
    const startedAtMs = performance.now();
    let messages = 0;
    let elapsedMs = 0;
    while (elapsedMs < durationMs) {
      for (let index = 0; index < MESSAGES; index++) this.#routeOne();
      messages += MESSAGES;
      elapsedMs = performance.now() - startedAtMs;
    }
    return (elapsedMs * 1000) / messages;
  }

  #routeOne(): void {
    const draw32 = (): number => this.#random.draw32();
    this.#nowMs += 1;
    const key = this.#random.chance(50) ? `key-${this.#random.below(KEYS)}` : undefined;
    const origin = this.#random.pick(this.#places);
    const request = { origin, availableSinceMs: this.#nowMs, depth: 1, nowMs: this.#nowMs };
    const decision = route(this.#table, key === undefined ? request : { ...request, key }, ROUTING_DEFAULTS, draw32);
    if (decision.type !== "to") throw new Error("Cannot measure: nobody can be sent a message");
    this.#table.sent(decision.reader, key, this.#nowMs);
    const reader = this.#table.find(decision.reader);
    if (reader === undefined) throw new Error("Cannot measure: a reader is gone");
    const { id, place, credit, outstanding } = reader;
    this.#table.set({ id, place, credit: credit + 1, outstanding: outstanding - 1 });
  }
}
