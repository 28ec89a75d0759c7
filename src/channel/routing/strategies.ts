// Who of the readers of a tier gets a message. Each strategy is one function, for a pool in which somebody can be sent something.
import { assertNever } from "../../base/assert.ts";
import { type Bag, drawBelow } from "./bag.ts";
import type { LoadGuesser } from "./load-guesser.ts";
import { isFree, type Pool, type TableReader } from "./pool.ts";
import type { StrategyName } from "../../protocol/settings.ts";

export interface PickRequest {
  /** What belongs together, for those who go by it: the key, or what else names the message. */
  readonly affinity: string | undefined;
  readonly nowMs: number;
  readonly draw32: () => number;
  readonly guesser: () => LoadGuesser;
}

export interface Picked {
  readonly reader: TableReader;
  /** Among how many it was chosen. */
  readonly candidates: number;
}

type Strategy = (pool: Pool, request: PickRequest) => Picked;

/** After the reader that a text belongs to so many come into question, clockwise. */
const FALL_BACKS = 2;

export function strategyNamed(name: StrategyName): Strategy {
  switch (name) {
    case "pow2":
      return pickOfTwo;
    case "least-loaded":
      return pickLeastLoaded;
    case "round-robin":
      return pickNext;
    case "consistent-hash":
      return pickByHash;
    case "pow2-cached":
      return pickByGuess;
    default:
      return assertNever(name);
  }
}

/** For a message with a key that nobody owns: of those who own the fewest keys the less loaded of two. */
export function pickFewestKeys(pool: Pool, { draw32 }: PickRequest): Picked {
  return lessLoadedOfTwo(pool.fewestKeys(), draw32);
}

/**
 * The power of two choices: of two drawn at random the one that holds fewer messages. One choice leaves some readers with log n / log log n times
 * the mean, two with log log n; and unlike the least loaded of all no two messages rush to the same reader.
 * Source: Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001.
 */
function pickOfTwo(pool: Pool, { draw32 }: PickRequest): Picked {
  return lessLoadedOfTwo(pool.free, draw32);
}

function pickLeastLoaded(pool: Pool, { draw32 }: PickRequest): Picked {
  const least = pool.leastLoaded();
  return { reader: least.at(drawBelow(draw32, least.size)), candidates: least.size };
}

function pickNext(pool: Pool, request: PickRequest): Picked {
  const reader = pool.next(request.draw32);
  return reader === undefined ? pickOfTwo(pool, request) : { reader, candidates: pool.free.size };
}

function pickByHash(pool: Pool, request: PickRequest): Picked {
  const { affinity } = request;
  const reader = affinity === undefined ? undefined : pool.ring.find(affinity, 1 + FALL_BACKS, isFree);
  return reader === undefined ? pickOfTwo(pool, request) : { reader, candidates: Math.min(1 + FALL_BACKS, pool.size) };
}

function pickByGuess(pool: Pool, { draw32, guesser, nowMs }: PickRequest): Picked {
  const [first, second] = drawTwo(pool.free, draw32);
  const readers = second === undefined ? [first] : [first, second];
  const candidates = readers.map(({ id, credit, outstanding }) => ({ id, capacity: credit + outstanding }));
  const choice = guesser().choose(candidates, 0, nowMs);
  // A guess can be wrong about who has room, never about who may be sent something.
  const reader = choice.type === "to" && choice.reader === second?.id ? second : first;
  return { reader, candidates: pool.free.size };
}

function lessLoadedOfTwo(bag: Bag<TableReader>, draw32: () => number): Picked {
  const [first, second] = drawTwo(bag, draw32);
  const reader = second !== undefined && second.outstanding < first.outstanding ? second : first;
  return { reader, candidates: bag.size };
}

/** Two different ones in random order, so that whoever takes the first of equal ones is fair. */
function drawTwo(bag: Bag<TableReader>, draw32: () => number): readonly [TableReader, TableReader | undefined] {
  if (bag.size === 1) return [bag.at(0), undefined];
  const one = drawBelow(draw32, bag.size);
  const other = drawBelow(draw32, bag.size - 1);
  return [bag.at(one), bag.at(other < one ? other : other + 1)];
}
