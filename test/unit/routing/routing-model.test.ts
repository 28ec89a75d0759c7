// Any history of joins, leaves, counts, refusals and messages, against what a plain look at all readers says (SPEC LR1 to LR6, LR11).
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Place } from "../../../src/protocol/place.ts";
import { route } from "../../../src/channel/routing/route.ts";
import { STRATEGY_NAMES } from "../../../src/protocol/settings.ts";
import { AREAS, ROUTING_DEFAULTS } from "../../../src/channel/routing/routing-settings.ts";
import { RoutingTable } from "../../../src/channel/routing/routing-table.ts";
import { draws, LONDON, PARIS, TOKYO, WARSAW } from "./table.ts";

const SEED = 20_261;
const IDS = ["a", "b", "c", "d", "e", "f"] as const;
const place = fc.constantFrom<Place | undefined>(LONDON, PARIS, WARSAW, TOKYO, { colo: "XXX" }, undefined);
const id = fc.constantFrom(...IDS);
const few = fc.integer({ min: 0, max: 3 });
const message = fc.record({
  type: fc.constant("message" as const),
  origin: place,
  key: fc.option(fc.constantFrom("k", "l", "m", "n"), { nil: undefined, freq: 2 }),
  holder: fc.oneof({ weight: 8, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: id }),
  ageMs: fc.integer({ min: 0, max: 40 }),
  depth: fc.constantFrom(1, 1001),
});
const step = fc.oneof(
  { weight: 4, arbitrary: message },
  fc.record({ type: fc.constant("set" as const), id, place, credit: few, outstanding: few }),
  fc.record({ type: fc.constant("remove" as const), id }),
  // It is done with all that it holds, so that who owns few keys is not simply who holds little.
  { weight: 2, arbitrary: fc.record({ type: fc.constant("done" as const), id }) },
  fc.record({ type: fc.constant("pause" as const), id }),
  fc.record({ type: fc.constant("accepted" as const), id }),
  fc.record({ type: fc.constant("pass" as const), ms: fc.integer({ min: 0, max: 60 }) }),
);

type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;
type Message = Extract<Step, { type: "message" }>;

class Play {
  readonly table = new RoutingTable({ keysMax: 3, idleMs: 50 });
  readonly faults: string[] = [];
  nowMs = 1000;
  readonly #draw32 = draws(SEED);
  readonly #strategy: (typeof STRATEGY_NAMES)[number];

  constructor(strategy: (typeof STRATEGY_NAMES)[number]) {
    this.#strategy = strategy;
  }

  step(one: Step): void {
    if (one.type === "set") this.table.set(one);
    else if (one.type === "remove") this.table.remove(one.id);
    else if (one.type === "done") this.#settle(one.id);
    else if (one.type === "pause") this.table.pause(one.id, this.nowMs, this.#draw32);
    else if (one.type === "accepted") this.table.accepted(one.id);
    else if (one.type === "pass") this.nowMs += one.ms;
    else this.#route(one);
    this.#checkKeys();
  }

  #settle(reader: string): void {
    const known = this.table.find(reader);
    if (known !== undefined)
      this.table.set({ id: reader, place: known.place, credit: known.credit + known.outstanding, outstanding: 0 });
  }

  #route(one: Message): void {
    const { origin, ageMs, depth, key, holder } = one;
    const moment = { origin, depth, nowMs: this.nowMs, availableSinceMs: this.nowMs - ageMs };
    const request = { ...moment, ...(key !== undefined && { key }), ...(holder !== undefined && { holder }) };
    const settings = { ...ROUTING_DEFAULTS, strategy: this.#strategy };
    const decision = route(this.table, request, settings, this.#draw32);
    const owner = key === undefined ? undefined : this.table.ownerOf(key)?.id;
    const allowed = this.#allowed(one, owner);
    if (decision.type === "wait") {
      if (allowed.length > 0) this.faults.push(`waited for ${allowed.join()}`);
      if (decision.untilMs !== undefined && decision.untilMs <= this.nowMs) this.faults.push("waited for the past");
      return;
    }
    if (!allowed.includes(decision.reader)) this.faults.push(`to ${decision.reader} and not to ${allowed.join()}`);
    this.table.sent(decision.reader, key, this.nowMs);
    if (key !== undefined && this.table.ownerOf(key)?.id !== decision.reader) this.faults.push(`${key} has another owner`);
  }

  /** Who may get it, by looking at everybody. */
  #allowed({ origin, holder, ageMs, depth, key }: Message, owner: string | undefined): readonly string[] {
    const readers = IDS.flatMap((one) => this.table.find(one) ?? []);
    const free = readers.filter(({ credit, pause }) => credit > 0 && (pause === undefined || pause.untilMs <= this.nowMs));
    if (holder !== undefined) return free.filter((one) => one.id === holder).map((one) => one.id);
    if (owner !== undefined && free.some((one) => one.id === owner)) return [owner];
    for (const area of AREAS) {
      const name = origin?.[area];
      const isNear = (at: Place | undefined): boolean => name !== undefined && at?.[area] === name;
      const near = free.filter((one) => isNear(one.place));
      if (near.length > 0) return this.#fewest(near, key);
      if (readers.some((one) => isNear(one.place)) && ageMs < 20 && depth <= 1000) return [];
    }
    return this.#fewest(free, key);
  }

  #fewest(readers: readonly { readonly id: string; readonly keys: ReadonlySet<string> }[], key: string | undefined): string[] {
    const isByKeys = key !== undefined && this.#strategy !== "consistent-hash";
    const least = Math.min(...readers.map(({ keys }) => keys.size));
    return readers.filter(({ keys }) => !isByKeys || keys.size === least).map((one) => one.id);
  }

  #checkKeys(): void {
    const readers = IDS.flatMap((one) => this.table.find(one) ?? []);
    const owned = readers.flatMap(({ id: owner, keys }) => [...keys].map((key) => [key, owner] as const));
    if (owned.length !== this.table.ownedKeys || owned.length > 3) this.faults.push("owned keys do not add up");
    if (owned.some(([key, owner]) => this.table.ownerOf(key)?.id !== owner)) this.faults.push("owners differ");
    if (this.table.size !== readers.length) this.faults.push("readers do not add up");
  }
}

describe("src/channel/routing", () => {
  test.each(STRATEGY_NAMES)(
    `[LR1] [LR2] [LR3] [LR4] [LR5] [LR6] %s: in any history nobody but who may gets a message (seed ${SEED})`,
    (strategy) => {
      fc.assert(
        fc.property(fc.array(step, { minLength: 10, maxLength: 60 }), (steps) => {
          const play = new Play(strategy);
          for (const one of steps) play.step(one);
          expect(play.faults).toEqual([]);
        }),
        { seed: SEED, numRuns: 150 },
      );
    },
  );
});
