// What happened in a run, counted from its history: rounds, kills and operations by outcome.
import type { Call, HistoryEvent } from "./history.ts";

export interface Outcomes {
  ok: number;
  fail: number;
  unknown: number;
}

export type Kind = Call["f"];

export class Tally {
  readonly operations: Record<Kind, Outcomes> = { put: none(), get: none(), pull: none(), settle: none(), inspect: none() };
  readonly #kinds = new Map<number, Kind>();
  readonly #okOfRounds: number[] = [];
  rounds = 0;
  kills = 0;
  /** Kills that left at least one operation with unknown outcome. */
  killsWithUnknown = 0;
  #isDown = false;
  #isCounted = false;

  feed(event: HistoryEvent): void {
    switch (event.type) {
      case "channel":
      case "close":
        return;
      case "round":
        this.rounds += 1;
        this.#okOfRounds.push(0);
        return;
      case "kill":
        this.kills += 1;
        this.#isDown = true;
        this.#isCounted = false;
        return;
      case "start":
        this.#isDown = false;
        return;
      case "invoke":
        this.#kinds.set(event.op, event.call.f);
        return;
      case "ok":
      case "fail":
      case "unknown":
        this.#complete(event.op, event.type);
        return;
    }
  }

  /** Acknowledged operations of the round with the fewest. */
  get okOfRoundMin(): number {
    return this.#okOfRounds.length === 0 ? 0 : Math.min(...this.#okOfRounds);
  }

  get okOfRound(): number {
    return this.#okOfRounds.at(-1) ?? 0;
  }

  /** From 0 to 1. */
  get unknownShare(): number {
    return this.kills === 0 ? 0 : this.killsWithUnknown / this.kills;
  }

  get ok(): number {
    return Object.values(this.operations).reduce((sum, { ok }) => sum + ok, 0);
  }

  #complete(op: number, outcome: keyof Outcomes): void {
    const kind = this.#kinds.get(op);
    if (kind === undefined) return;
    this.#kinds.delete(op);
    this.operations[kind][outcome] += 1;
    const round = this.#okOfRounds.length - 1;
    if (outcome === "ok" && kind !== "inspect" && round >= 0) this.#okOfRounds[round] = (this.#okOfRounds[round] ?? 0) + 1;
    // What becomes unknown while the process is down was in flight when it was killed.
    if (outcome === "unknown" && this.#isDown && !this.#isCounted) {
      this.#isCounted = true;
      this.killsWithUnknown += 1;
    }
  }
}

function none(): Outcomes {
  return { ok: 0, fail: 0, unknown: 0 };
}
