// The readers of one area, indexed by what strategies ask for: all, those who can be sent something, the least loaded, those who own the fewest
// keys, who is next, and who a text belongs to. An index is made when it is first asked for, and kept up to date from then on.
import { assert } from "../../base/assert.ts";
import type { Place } from "../../protocol/place.ts";
import { Bag, drawBelow, makeSlot, type Slot } from "./bag.ts";
import { Levels, makeLevelSlot, type LevelSlot } from "./levels.ts";
import { Ring } from "./ring.ts";
import { makeTurn, type Turn, Turns } from "./turns.ts";

/** A reader as the table knows it. */
export interface TableReader {
  readonly id: string;
  place: Place | undefined;
  /** Messages it may still be sent. */
  credit: number;
  /** Messages it holds. */
  outstanding: number;
  /** The keys that it owns. */
  readonly keys: Set<string>;
  /** How often it refused work since it last accepted some. */
  refusals: number;
  /** While it is sent nothing because it refused. */
  pause: Pause | undefined;
  /** Whether pools have it among those who can be sent something. */
  isListed: boolean;
  /** What it has in the pools of its place. */
  readonly seats: Seat[];
}

export interface Pause {
  readonly reader: TableReader;
  readonly untilMs: number;
}

export function isFree({ credit, pause }: Readonly<TableReader>): boolean {
  return credit > 0 && pause === undefined;
}

/** A reader's places in the indexes of a pool. */
interface Seat {
  readonly pool: Pool;
  readonly reader: TableReader;
  readonly member: Slot<TableReader>;
  readonly free: Slot<TableReader>;
  readonly load: LevelSlot<TableReader>;
  readonly keys: LevelSlot<TableReader>;
  readonly turn: Turn<TableReader>;
}

/** Which indexes pools have made: a change that none of them shows needs no look at the pools. */
export interface UsedIndexes {
  byLoad: boolean;
  byKeys: boolean;
  turns: boolean;
}

export class Pool {
  readonly #used: UsedIndexes;
  readonly #members = new Bag<TableReader>();
  readonly #free = new Bag<TableReader>();
  #byLoad: Levels<TableReader> | undefined;
  #byKeys: Levels<TableReader> | undefined;
  #turns: Turns<TableReader> | undefined;
  #ring: Ring<TableReader> | undefined;

  constructor(used: UsedIndexes) {
    this.#used = used;
  }

  get size(): number {
    return this.#members.size;
  }

  /** Those who can be sent something now. */
  get free(): Bag<TableReader> {
    return this.#free;
  }

  join(reader: TableReader): void {
    const seat: Seat = {
      pool: this,
      reader,
      member: makeSlot(reader),
      free: makeSlot(reader),
      load: makeLevelSlot(reader),
      keys: makeLevelSlot(reader),
      turn: makeTurn(reader),
    };
    this.#members.add(seat.member);
    this.#ring?.add(reader);
    reader.seats.push(seat);
    this.update(seat);
  }

  leave(seat: Seat): void {
    this.#members.remove(seat.member);
    this.#ring?.remove(seat.reader);
    this.#takeOut(seat);
  }

  /** To be called when anything of a reader changed that the pool shows. */
  update(seat: Seat): void {
    const { reader, free, load, keys, turn } = seat;
    if (!isFree(reader)) {
      this.#takeOut(seat);
      return;
    }
    if (free.place === -1) this.#free.add(free);
    this.#byLoad?.put(load, reader.outstanding);
    this.#byKeys?.put(keys, reader.keys.size);
    this.#turns?.add(turn);
  }

  /** It had a turn: all others come before it. */
  endTurn({ reader, turn }: Seat): void {
    this.#turns?.remove(turn);
    if (isFree(reader)) this.#turns?.add(turn);
  }

  /** Of those who can be sent something, the ones that hold the fewest messages. */
  leastLoaded(): Bag<TableReader> {
    this.#used.byLoad = true;
    this.#byLoad ??= this.#makeLevels(({ load, reader }, levels) => levels.put(load, reader.outstanding));
    return this.#byLoad.least() ?? this.#free;
  }

  /** Of those who can be sent something, the ones that own the fewest keys. */
  fewestKeys(): Bag<TableReader> {
    this.#used.byKeys = true;
    this.#byKeys ??= this.#makeLevels(({ keys, reader }, levels) => levels.put(keys, reader.keys.size));
    return this.#byKeys.least() ?? this.#free;
  }

  /** Who is next of those who can be sent something; who is the first of all is drawn. */
  next(draw32: () => number): TableReader | undefined {
    this.#used.turns = true;
    this.#turns ??= this.#makeTurns(drawBelow(draw32, this.size));
    return this.#turns.first;
  }

  /** Of everybody, also of those who can be sent nothing now: what is theirs is theirs again when they can. */
  get ring(): Ring<TableReader> {
    this.#ring ??= new Ring(this.#members.owners());
    return this.#ring;
  }

  #makeLevels(put: (seat: Seat, levels: Levels<TableReader>) => void): Levels<TableReader> {
    const levels = new Levels<TableReader>();
    for (const reader of this.#members.owners()) if (isFree(reader)) put(this.#seatOf(reader), levels);
    return levels;
  }

  #makeTurns(start: number): Turns<TableReader> {
    const turns = new Turns<TableReader>();
    for (let step = 0; step < this.size; step++) {
      const reader = this.#members.at((start + step) % this.size);
      if (isFree(reader)) turns.add(this.#seatOf(reader).turn);
    }
    return turns;
  }

  #seatOf({ seats }: TableReader): Seat {
    const seat = seats.find(({ pool }) => pool === this);
    assert(seat !== undefined, "a member of a pool has a seat in it");
    return seat;
  }

  #takeOut({ free, load, keys, turn }: Seat): void {
    if (free.place !== -1) this.#free.remove(free);
    this.#byLoad?.remove(load);
    this.#byKeys?.remove(keys);
    this.#turns?.remove(turn);
  }
}
