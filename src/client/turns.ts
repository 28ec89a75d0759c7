// Shares the calls of a handler among the channels that it works for: who comes earlier in the order begins first.

export interface TurnTaker {
  /** What may be begun, or undefined where nothing is ready. */
  takeWork(): (() => void) | undefined;
  /** Asks for more, as far as there is room for it. */
  grantOwed(): void;
}

export class Turns {
  readonly #concurrency: number;
  /** In the order of preference. */
  readonly #takers: TurnTaker[] = [];
  #running = 0;

  /** @param concurrency Calls at a time, of all together. */
  constructor(concurrency: number) {
    this.#concurrency = concurrency;
  }

  /** Comes behind those that joined before. */
  join(taker: TurnTaker): void {
    this.#takers.push(taker);
  }

  /** Begins as much as may run. */
  begin(): void {
    while (this.#running < this.#concurrency) {
      const begin = this.#takeFirst();
      if (begin === undefined) break;
      this.#running++;
      begin();
    }
    for (const taker of this.#takers) taker.grantOwed();
  }

  /** One call has ended; `begin` follows when all that came of it is noted. */
  end(): void {
    this.#running--;
  }

  #takeFirst(): (() => void) | undefined {
    for (const taker of this.#takers) {
      const begin = taker.takeWork();
      if (begin !== undefined) return begin;
    }
    return undefined;
  }
}
