// The readers of one group, by where they are and by what they can take. Each change costs the same however many there are.
import { assert } from "../../base/assert.ts";
import { MinHeap } from "../../base/min-heap.ts";
import { LIMITS } from "../../protocol/limits.ts";
import type { Place } from "../../protocol/place.ts";
import { BACK_OFF, computePause } from "./back-off.ts";
import { LoadGuesser } from "./load-guesser.ts";
import { OwnedKeys, type OwnershipBounds } from "./owned-keys.ts";
import { isFree, type Pause, Pool, type TableReader, type UsedIndexes } from "./pool.ts";
import { type Area, AREAS } from "./routing-settings.ts";

export interface RoutedReader {
  readonly id: string;
  /** Undefined where it is not known: it is far from everywhere. */
  readonly place: Place | undefined;
  /** Messages that it may still be sent. */
  readonly credit: number;
  /** Messages that it holds. */
  readonly outstanding: number;
}

const OWNERSHIP_BOUNDS: OwnershipBounds = { keysMax: LIMITS.ownedKeysMax, idleMs: LIMITS.ownedKeyIdleMs };

export class RoutingTable {
  readonly #readers = new Map<string, TableReader>();
  readonly #used: UsedIndexes = { byLoad: false, byKeys: false, turns: false };
  readonly #everybody = new Pool(this.#used);
  readonly #areas: Readonly<Record<Area, Map<string, Pool>>> = { colo: new Map(), region: new Map(), continent: new Map() };
  readonly #keys: OwnedKeys<TableReader>;
  /** The pauses that go on, and ones that ended early: those are dropped when their time comes. */
  readonly #pauses = new MinHeap<Pause>((a, b) => a.untilMs < b.untilMs);
  #guesser: LoadGuesser | undefined;
  #nowMs = 0;

  constructor(bounds: OwnershipBounds = OWNERSHIP_BOUNDS) {
    this.#keys = new OwnedKeys(bounds, (reader) => {
      if (this.#used.byKeys) update(reader);
    });
  }

  get size(): number {
    return this.#readers.size;
  }

  /** Readers that can be sent something now. */
  get free(): number {
    return this.#everybody.free.size;
  }

  /** Keys that somebody owns. */
  get ownedKeys(): number {
    return this.#keys.size;
  }

  find(id: string): Readonly<TableReader> | undefined {
    return this.#readers.get(id);
  }

  /** A reader joins, or something of it changed: where only counts did, nothing else is touched. */
  set({ id, place, credit, outstanding }: RoutedReader): void {
    assert(isCount(credit) && isCount(outstanding), "credit and outstanding messages of a reader are whole numbers from 0");
    const known = this.#readers.get(id);
    if (known === undefined) {
      this.#join({ id, place, credit, outstanding, keys: new Set(), refusals: 0, pause: undefined, isListed: false, seats: [] });
      return;
    }
    if (outstanding < known.outstanding) this.#guesser?.loads.done(id, known.outstanding - outstanding, this.#nowMs);
    known.credit = credit;
    known.outstanding = outstanding;
    if (isSamePlace(known.place, place)) this.#noteCounts(known);
    else {
      this.#unseat(known);
      known.place = place;
      this.#seat(known);
    }
  }

  /** A reader leaves; its keys are nobody's. */
  remove(id: string): void {
    const reader = this.#readers.get(id);
    if (reader === undefined) return;
    this.#readers.delete(id);
    reader.pause = undefined;
    this.#unseat(reader);
    this.#keys.removeOwner(reader);
    this.#guesser?.leave(id);
  }

  /** It was sent a message, of this key if it has one: it owns the key from now on, and has had its turn. Takes one of its credit. */
  sent(id: string, key: string | undefined, nowMs: number): void {
    const reader = this.#readers.get(id);
    assert(reader !== undefined && reader.credit > 0, "nothing is sent to a reader without credit");
    reader.credit -= 1;
    reader.outstanding += 1;
    if (key !== undefined) this.#keys.give(key, reader, nowMs);
    if (this.#used.turns) for (const seat of reader.seats) seat.pool.endTurn(seat);
    this.#noteCounts(reader);
    this.#guesser?.loads.sent(id, nowMs);
  }

  /** It refused work: it is sent nothing for a time, which grows with each refusal. */
  pause(id: string, nowMs: number, draw32: () => number): void {
    this.advance(nowMs);
    const reader = this.#readers.get(id);
    if (reader === undefined) return;
    reader.refusals += 1;
    const pauseMs = computePause(reader.refusals, draw32() / 2 ** 32);
    if (pauseMs === 0) return;
    reader.pause = { reader, untilMs: Math.max(reader.pause?.untilMs ?? 0, nowMs + pauseMs) };
    this.#pauses.push(reader.pause);
    this.#noteCounts(reader);
  }

  /** It took work: it is paused no longer, and its next refusal is a first one. */
  accepted(id: string): void {
    const reader = this.#readers.get(id);
    if (reader === undefined) return;
    reader.refusals = 0;
    if (reader.pause === undefined) return;
    reader.pause = undefined;
    this.#noteCounts(reader);
  }

  /** Ends the pauses and the ownerships whose time is over. To be called before anything is asked. */
  advance(nowMs: number): void {
    this.#nowMs = nowMs;
    this.#keys.expire(nowMs);
    // A pause that is longer than any can be began before the clock was set back.
    const isOver = ({ untilMs }: Pause): boolean => untilMs <= nowMs || untilMs > nowMs + BACK_OFF.maxMs;
    for (let pause = this.#firstPause(); pause !== undefined && isOver(pause); pause = this.#firstPause()) {
      this.#pauses.pop();
      pause.reader.pause = undefined;
      this.#noteCounts(pause.reader);
    }
  }

  /** When the first pause ends; undefined where nobody is paused. */
  get nextPauseEndMs(): number | undefined {
    return this.#firstPause()?.untilMs;
  }

  ownerOf(key: string): TableReader | undefined {
    return this.#keys.ownerOf(key);
  }

  /** The readers of the same area as `place`; undefined where there are none, or the area is not known. */
  poolOf(area: Area, place: Place): Pool | undefined {
    const name = place[area];
    return name === undefined ? undefined : this.#areas[area].get(name);
  }

  get everybody(): Pool {
    return this.#everybody;
  }

  /** Guesses of loads, made when first asked for. What is asked is answered at once, by what is counted here. */
  get guesser(): LoadGuesser {
    this.#guesser ??= new LoadGuesser((id) => {
      const reader = this.#readers.get(id);
      return reader === undefined ? { type: "gone" } : { type: "load", load: reader.outstanding };
    });
    return this.#guesser;
  }

  #join(reader: TableReader): void {
    this.#readers.set(reader.id, reader);
    this.#seat(reader);
  }

  #seat(reader: TableReader): void {
    this.#everybody.join(reader);
    for (const area of AREAS) {
      const name = reader.place?.[area];
      if (name === undefined) continue;
      let pool = this.#areas[area].get(name);
      if (pool === undefined) this.#areas[area].set(name, (pool = new Pool(this.#used)));
      pool.join(reader);
    }
    reader.isListed = isFree(reader);
  }

  /** Most changes are seen in no index: a reader that had credit has some still. */
  #noteCounts(reader: TableReader): void {
    if (this.#used.byLoad || reader.isListed !== isFree(reader)) update(reader);
  }

  #unseat(reader: TableReader): void {
    for (const seat of reader.seats.splice(0)) seat.pool.leave(seat);
    for (const area of AREAS) {
      const name = reader.place?.[area];
      if (name !== undefined && this.#areas[area].get(name)?.size === 0) this.#areas[area].delete(name);
    }
  }

  /** The first to end of those that go on. */
  #firstPause(): Pause | undefined {
    for (let pause = this.#pauses.peek(); pause !== undefined; pause = this.#pauses.peek()) {
      if (pause.reader.pause === pause) return pause;
      this.#pauses.pop();
    }
    return undefined;
  }
}

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}

function isSamePlace(a: Place | undefined, b: Place | undefined): boolean {
  return a === b || AREAS.every((area) => a?.[area] === b?.[area]);
}

function update(reader: TableReader): void {
  reader.isListed = isFree(reader);
  for (const seat of reader.seats) seat.pool.update(seat);
}
