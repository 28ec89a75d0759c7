// Eight colos with as many readers as they need on average, or nearly: how much of what is put in a colo is read there.
import { type Colo, findColo } from "../../../src/protocol/colos.ts";
import { ROUTING_DEFAULTS } from "../../../src/channel/routing/routing-settings.ts";
import { Random } from "../random.ts";
import { quantileOf, World, type WorldColo, type WorldResult } from "./world.ts";

/** Two in each of four regions; the busiest is put a third more than the quietest. */
const CODES = ["IAD", "EWR", "LHR", "FRA", "NRT", "SIN", "GRU", "EZE"];
const WEIGHTS = [1.14, 1.1, 1.06, 1.02, 0.98, 0.94, 0.9, 0.86];
/** Of each colo 12 slots. */
const READERS = 3;
const SLOTS_OF_READER = 4;
const WORK_MS = 50;

export interface Goal {
  readonly load: number;
  readonly localityWaitMs: number;
  /** The least part of all messages that is read where it was put. */
  readonly stayedMin: number;
}

export const GOALS: readonly Goal[] = [
  { load: 0.7, localityWaitMs: 0, stayedMin: 0.88 },
  { load: 0.7, localityWaitMs: 20, stayedMin: 0.97 },
  { load: 0.9, localityWaitMs: 20, stayedMin: 0.88 },
];

export interface Shown {
  readonly goal: Goal;
  readonly stayed: number;
  readonly leftThoughFree: number;
  readonly waitP50Ms: number;
  readonly waitP99Ms: number;
  /** What the wait adds to that of a world in which messages go anywhere. */
  readonly addedP50Ms: number;
  readonly isMet: boolean;
}

export function showGoal(goal: Goal, seed: number, messages: number): Shown {
  const result = play(goal, seed, messages, "origin");
  const anywhere = play(goal, seed, messages, "none");
  const stayed = result.stayed / result.messages;
  const waitP50Ms = quantileOf(result.waitsMs, 0.5);
  return {
    goal,
    stayed,
    leftThoughFree: result.leftThoughFree,
    waitP50Ms,
    waitP99Ms: quantileOf(result.waitsMs, 0.99),
    addedP50Ms: waitP50Ms - quantileOf(anywhere.waitsMs, 0.5),
    isMet: stayed >= goal.stayedMin && result.leftThoughFree === 0 && result.messages === messages,
  };
}

function play({ load, localityWaitMs }: Goal, seed: number, messages: number, locality: "origin" | "none"): WorldResult {
  const settings = { ...ROUTING_DEFAULTS, locality, localityWaitMs };
  return new World({ colos: eightColos(), settings, messages, load, workMs: WORK_MS }, new Random(seed)).run();
}

function eightColos(): readonly WorldColo[] {
  return CODES.map((code, index) => ({
    colo: needColo(code),
    weight: WEIGHTS[index] ?? 1,
    readers: READERS,
    slotsOfReader: SLOTS_OF_READER,
  }));
}

export function needColo(code: string): Colo {
  const colo = findColo(code);
  if (colo === undefined) throw new Error(`There is no colo ${code}`);
  return colo;
}
