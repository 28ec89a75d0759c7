// Thousands of readers over all colos of the table, and a channel in one of them: what locality does to ways, waits and fairness.
import { allColos } from "../../../src/protocol/colos.ts";
import { ROUTING_DEFAULTS } from "../../../src/channel/routing/routing-settings.ts";
import type { Locality } from "../../../src/protocol/settings.ts";
import { Random } from "../random.ts";
import { needColo } from "./eight-colos.ts";
import { quantileOf, World, type WorldColo } from "./world.ts";

const READERS = 4000;
const SLOTS_OF_READER = 4;
const WORK_MS = 50;
/** Of work alone: a slot is taken on the way to the reader and back, too, which for most is longer than the work. */
const LOAD = 0.2;
const CHANNEL = "IAD";
/** What a colo gets falls with the square root of its rank; nobody publishes the real shares. */
const SKEW = 0.5;

export interface ShownLocality {
  readonly locality: Locality;
  /** Part of all messages that is read where it was put. */
  readonly stayed: number;
  readonly leftThoughFree: number;
  readonly deliveryP50Ms: number;
  readonly deliveryP99Ms: number;
  readonly waitP99Ms: number;
  /** Between origin and reader, on average. */
  readonly apartKm: number;
  readonly fairness: number;
}

export interface AllColos {
  readonly colos: number;
  readonly readers: number;
  readonly channel: string;
  readonly load: number;
  readonly workMs: number;
  readonly shown: readonly ShownLocality[];
  /** With locality by origin no message left a colo in which somebody could have had it. */
  readonly isMet: boolean;
}

export function showAllColos(seed: number, messages: number): AllColos {
  const colos = weighColos(new Random(seed), READERS);
  const shown = (["none", "channel", "origin"] as const).map((locality) => play(colos, locality, seed, messages));
  const readers = colos.reduce((sum, one) => sum + one.readers, 0);
  const isMet = shown.every(({ locality, leftThoughFree }) => locality !== "origin" || leftThoughFree === 0);
  return { colos: colos.length, readers, channel: CHANNEL, load: LOAD, workMs: WORK_MS, shown, isMet };
}

function play(colos: readonly WorldColo[], locality: Locality, seed: number, messages: number): ShownLocality {
  const plan = { colos, settings: { ...ROUTING_DEFAULTS, locality }, messages, load: LOAD, workMs: WORK_MS };
  const result = new World({ ...plan, channel: needColo(CHANNEL) }, new Random(seed)).run();
  const { waitsMs, deliveriesMs, leftThoughFree, apartKm, fairness } = result;
  return {
    locality,
    stayed: result.stayed / result.messages,
    leftThoughFree,
    deliveryP50Ms: quantileOf(deliveriesMs, 0.5),
    deliveryP99Ms: quantileOf(deliveriesMs, 0.99),
    waitP99Ms: quantileOf(waitsMs, 0.99),
    apartKm,
    fairness,
  };
}

/** Readers are where messages come from, at least one in each colo; which colos are large is drawn. */
export function weighColos(random: Random, readers: number): readonly WorldColo[] {
  const shuffled = [...allColos().values()]
    .map((colo) => [random.draw32(), colo] as const)
    .toSorted(([a], [b]) => a - b)
    .map(([, colo], rank) => ({ colo, weight: (rank + 1) ** -SKEW }));
  const weights = shuffled.reduce((sum, { weight }) => sum + weight, 0);
  return shuffled.map(({ colo, weight }) => ({
    colo,
    weight,
    readers: Math.max(1, Math.round((readers * weight) / weights)),
    slotsOfReader: SLOTS_OF_READER,
  }));
}
