// A consistent hash: a text belongs to a reader, and who joins or leaves changes only what is its own.
// Source: Appleton and O'Reilly, "Multi-probe consistent hashing", 2015.
import { finish32, hash32 } from "../../base/hash32.ts";

/** The largest share of 10 to 1,000 readers is then some 20 % above the mean (measured with 400 texts for each). */
const PROBES = 21;
const [SEED, OTHER_SEED] = [0x5eed_c0de, 0x0dd_ba11];
const GOLDEN = 0x9e37_79b9;
const ROUND = 2 ** 52;

interface Point<Owner> {
  readonly at: number;
  readonly owner: Owner;
}

interface Found<Owner> {
  readonly owner: Owner;
  readonly distance: number;
}

/**
 * Shares are even where each reader stands at many points of a ring: a hundred of each of ten thousand readers, in each area, are more than an
 * object may keep. Here each stands at one point, and a text looks from many: it belongs to whoever is next clockwise from any of them.
 */
export class Ring<Owner extends { readonly id: string }> {
  /** In the order of their places; of equal ones, which hardly are, the lesser id first. */
  readonly #points: Point<Owner>[];

  constructor(owners: readonly Owner[]) {
    this.#points = owners.map(pointOf).sort((a, b) => a.at - b.at || (a.owner.id < b.owner.id ? -1 : 1));
  }

  add(owner: Owner): void {
    const point = pointOf(owner);
    this.#points.splice(this.#placeOf(point), 0, point);
  }

  remove(owner: Owner): void {
    this.#points.splice(this.#placeOf(pointOf(owner)), 1);
  }

  /** The first that `accepts`, of the `tries` that are nearest. */
  find(text: string, tries: number, accepts: (owner: Owner) => boolean): Owner | undefined {
    return this.#nearest(text, tries).find(({ owner }) => accepts(owner))?.owner;
  }

  #nearest(text: string, count: number): readonly Found<Owner>[] {
    const [high, low] = [hash32(text, SEED), hash32(text, OTHER_SEED)];
    const nearest: Found<Owner>[] = [];
    for (let probe = 0; probe < PROBES; probe++) {
      const from = join(finish32(high + probe * GOLDEN), finish32(low ^ (probe * GOLDEN)));
      const first = this.#placeFrom(from);
      for (let step = 0; step < Math.min(count, this.#points.length); step++) {
        const point = this.#points[(first + step) % this.#points.length];
        if (point !== undefined) keepNearest(nearest, count, point.owner, (point.at - from + ROUND) % ROUND);
      }
    }
    return nearest;
  }

  /** The place of the first point that is not before `at`. */
  #placeFrom(at: number): number {
    let [low, high] = [0, this.#points.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#points[middle]?.at ?? 0) < at) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #placeOf({ at, owner }: Point<Owner>): number {
    let place = this.#placeFrom(at);
    for (let there = this.#points[place]; there?.at === at && there.owner.id < owner.id; there = this.#points[place]) place += 1;
    return place;
  }
}

/** Keeps the `count` different ones with the least distances, the nearest first. */
function keepNearest<Owner>(nearest: Found<Owner>[], count: number, owner: Owner, distance: number): void {
  const known = nearest.findIndex((one) => one.owner === owner);
  if (known !== -1) {
    if ((nearest[known]?.distance ?? 0) <= distance) return;
    nearest.splice(known, 1);
  }
  let place = nearest.length;
  while (place > 0 && (nearest[place - 1]?.distance ?? 0) > distance) place -= 1;
  if (place === count) return;
  nearest.splice(place, 0, { owner, distance });
  if (nearest.length > count) nearest.pop();
}

function pointOf<Owner extends { readonly id: string }>(owner: Owner): Point<Owner> {
  return { at: join(hash32(owner.id, SEED), hash32(owner.id, OTHER_SEED)), owner };
}

/** A place on the ring, of 52 bits: so many that no two of ten thousand readers are likely to stand at the same one. */
function join(high: number, low: number): number {
  return high * 2 ** 20 + (low >>> 12);
}
