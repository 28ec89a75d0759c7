// How a channel parts with its own readers when a relay comes. SPEC RY11.
import { describe, expect, test } from "vitest";
import { RelayMoves } from "../../../src/object/relay-moves.ts";
import { LIMITS } from "../../../src/protocol/limits.ts";

/** The readers of some colos; those whose number is a multiple of `tapsEach` tap. */
class MovesWorld {
  readonly left = new Map<string, Set<number>>();
  readonly relays = new Set<string>();
  /** How many went at once. */
  readonly moved: number[] = [];
  readonly timers: (readonly [callback: () => void, delayMs: number])[] = [];
  readonly moves: RelayMoves;
  readonly #tapsEach: number;

  constructor({ tapsEach = Infinity } = {}) {
    this.#tapsEach = tapsEach;
    this.moves = new RelayMoves({
      connections: { plainOf: (colo) => [...(this.left.get(colo) ?? [])] as unknown as WebSocket[] },
      timers: { setTimeout: (callback, delayMs) => void this.timers.push([callback, delayMs]) },
      hasRelay: (colo) => this.relays.has(colo),
      mustStay: (socket) => Number(socket) % this.#tapsEach === 0,
      move: (sockets) => this.#move(sockets as unknown as number[]),
    });
  }

  come(colo: string, count: number): void {
    this.relays.add(colo);
    this.left.set(colo, new Set(Array.from({ length: count }, (_, index) => this.relays.size * 1_000_000 + index)));
    this.moves.begin(colo);
  }

  #move(sockets: readonly number[]): void {
    if (sockets.length > 0) this.moved.push(sockets.length);
    for (const ofColo of this.left.values()) for (const socket of sockets) ofColo.delete(socket);
  }

  fire(): void {
    const [timer] = this.timers.splice(0, 1);
    if (timer?.[1] !== LIMITS.relayMovePauseMs) throw new Error("No timer is set, or another one");
    timer[0]();
  }
}

describe("src/object/relay-moves", () => {
  test("[RY11] few go at once, and many a part at a time, whichever colo they are of", () => {
    const world = new MovesWorld();
    world.come("FRA", 3);
    expect([world.moved, world.timers.length]).toEqual([[3], 0]);
    world.come("LHR", 2 * LIMITS.relayMovesMax + 1);
    world.come("NRT", 5);
    expect([world.moved.slice(1), world.timers.length]).toEqual([[LIMITS.relayMovesMax], 1]);
    world.fire();
    world.fire();
    expect([world.moved.slice(1), world.timers.length]).toEqual([[LIMITS.relayMovesMax, LIMITS.relayMovesMax, 1, 5], 0]);
  });

  test("[RY11] taps stay, and are not looked at again and again", () => {
    const world = new MovesWorld({ tapsEach: 2 });
    world.come("LHR", 3 * LIMITS.relayMovesMax);
    world.fire();
    expect([world.moved, world.timers.length]).toEqual([[LIMITS.relayMovesMax, LIMITS.relayMovesMax / 2], 0]);
    expect(world.left.get("LHR")?.size).toBe(1.5 * LIMITS.relayMovesMax);
  });

  test("[RY11] nobody is moved to a relay that has gone meanwhile", () => {
    const world = new MovesWorld();
    world.come("LHR", 2 * LIMITS.relayMovesMax);
    world.relays.clear();
    world.fire();
    expect([world.moved, world.timers.length]).toEqual([[LIMITS.relayMovesMax], 0]);
  });
});
