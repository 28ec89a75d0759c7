// What a decision costs, in steps and draws, and not in time: the same with ten readers and with ten thousand (SPEC LR12).
import { afterEach, describe, expect, test, vi } from "vitest";
import { MinHeap } from "../../../src/base/min-heap.ts";
import { Bag } from "../../../src/channel/routing/bag.ts";
import { Levels } from "../../../src/channel/routing/levels.ts";
import { Ring } from "../../../src/channel/routing/ring.ts";
import { route } from "../../../src/channel/routing/route.ts";
import { ROUTING_DEFAULTS } from "../../../src/channel/routing/routing-settings.ts";
import { STRATEGY_NAMES, type StrategyName } from "../../../src/protocol/settings.ts";
import { RoutingTable } from "../../../src/channel/routing/routing-table.ts";
import { Turns } from "../../../src/channel/routing/turns.ts";
import { draws, LONDON, PARIS, reader, TOKYO } from "./table.ts";

const PLACES = [LONDON, PARIS, TOKYO];
const MESSAGES = 500;

function tableWith(readers: number): RoutingTable {
  const table = new RoutingTable();
  for (let index = 0; index < readers; index++) {
    table.set(reader(`r${index}`, PLACES[index % PLACES.length], { credit: 1000, outstanding: index % 17 }));
  }
  return table;
}

/** Steps of `MESSAGES` messages, each decided, sent and settled, half of them with keys. */
function countSteps(readers: number, strategy: StrategyName): number {
  const table = tableWith(readers);
  const settings = { ...ROUTING_DEFAULTS, strategy };
  let steps = 0;
  const next = draws();
  const draw32 = (): number => {
    steps += 1;
    return next();
  };
  const send = (index: number): void => {
    const key = index % 2 === 0 ? {} : { key: `k${index % 50}` };
    const moment = { origin: PLACES[index % 4], availableSinceMs: index, depth: 1, nowMs: index, affinity: `${index}` };
    const decision = route(table, { ...moment, ...key }, settings, draw32);
    if (decision.type !== "to") throw new Error("Expected a reader");
    table.sent(decision.reader, "key" in key ? key.key : undefined, index);
    const { place, credit, outstanding } = table.find(decision.reader) ?? { place: undefined, credit: 0, outstanding: 0 };
    table.set({ id: decision.reader, place, credit: credit + 1, outstanding: outstanding - 1 });
  };
  // The indexes that are made when they are first asked for are there.
  for (let index = 0; index < 100; index++) send(index);
  steps = 0;
  const count = (): void => {
    steps += 1;
  };
  for (const spy of watched()) spy(count);
  for (let index = 0; index < MESSAGES; index++) send(index);
  vi.restoreAllMocks();
  return steps;
}

/** Everything that indexes do. */
function watched(): readonly ((count: () => void) => void)[] {
  return [
    ...(["at", "add", "remove", "owners"] as const).map((name) => watch(Bag.prototype, name)),
    ...(["put", "remove", "least"] as const).map((name) => watch(Levels.prototype, name)),
    ...(["push", "pop", "peek"] as const).map((name) => watch(MinHeap.prototype, name)),
    ...(["add", "remove"] as const).map((name) => watch(Turns.prototype, name)),
    ...(["add", "remove", "find"] as const).map((name) => watch(Ring.prototype, name)),
  ];
}

type Method = (...args: unknown[]) => unknown;

function watch<Name extends string>(object: Record<Name, unknown>, name: Name): (count: () => void) => void {
  const original = object[name] as Method;
  return (count) => {
    vi.spyOn(object as Record<string, Method>, name).mockImplementation(function (this: unknown, ...args) {
      count();
      return original.apply(this, args);
    });
  };
}

describe("src/channel/routing", () => {
  afterEach(() => {
    vi.restoreAllMocks();
  });

  test.each(STRATEGY_NAMES)("[LR12] %s: a message takes as many steps with 10,000 readers as with 10", (strategy) => {
    const [few, many] = [countSteps(10, strategy), countSteps(10_000, strategy)];

    expect(few / MESSAGES).toBeGreaterThan(1);
    expect(many).toBeLessThan(few * 1.5);
    expect(many / MESSAGES).toBeLessThan(120);
  });
});
