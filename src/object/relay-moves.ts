// Parts with connections for plain reading of which a relay has come: a few at a time, so that no turn grows with their number, and so that
// they do not come back all at once. SPEC rule RY11.
import { LIMITS } from "../protocol/limits.ts";
import type { Timers } from "./commit-loop.ts";
import type { Connections } from "./connections.ts";

interface RelayMovesOptions {
  readonly connections: Pick<Connections, "plainOf">;
  readonly timers: Timers;
  /** Whether the colo still has a relay. */
  readonly hasRelay: (colo: string) => boolean;
  /** Whether a connection can not come back to where it stands. */
  readonly mustStay: (socket: WebSocket) => boolean;
  readonly move: (sockets: readonly WebSocket[]) => void;
}

export class RelayMoves {
  readonly #options: RelayMovesOptions;
  readonly #colos = new Set<string>();
  #isTimerSet = false;

  constructor(options: RelayMovesOptions) {
    this.#options = options;
  }

  /** A relay of the colo has come. */
  begin(colo: string): void {
    this.#colos.add(colo);
    if (!this.#isTimerSet) this.#moveSome();
  }

  #moveSome(): void {
    const { connections, timers, hasRelay, mustStay, move } = this.#options;
    let left: number = LIMITS.relayMovesMax;
    for (const colo of this.#colos) {
      const sockets = hasRelay(colo) ? connections.plainOf(colo).filter((socket) => !mustStay(socket)) : [];
      if (sockets.length <= left) this.#colos.delete(colo);
      move(sockets.slice(0, left));
      left = Math.max(0, left - sockets.length);
    }
    if (this.#colos.size === 0) return;
    this.#isTimerSet = true;
    timers.setTimeout(() => {
      this.#isTimerSet = false;
      this.#moveSome();
    }, LIMITS.relayMovePauseMs);
  }
}
