// How often each operation, fault, refusal and event occurred. What hardly ever occurs is not tested, so a run fails when one is too rare.

/** The share of all steps that each has to reach, in percent. */
const SHARE_PERCENT_MIN = 0.1;
/** With fewer steps chance decides what occurs, and nothing is said. */
const JUDGED_STEPS_MIN = 30_000;

export type TallyKind = "operation" | "fault" | "refusal" | "event";

/** What was counted, without what judges it: this can be passed between threads. */
export interface TallyCounts {
  readonly steps: number;
  readonly byKey: ReadonlyMap<string, number>;
}

export class Tally {
  steps = 0;
  readonly #counts = new Map<string, number>();

  /** Names what has to occur. */
  expect(kind: TallyKind, names: Iterable<string>): void {
    for (const name of names) this.#counts.set(`${kind} ${name}`, this.#counts.get(`${kind} ${name}`) ?? 0);
  }

  count(kind: TallyKind, name: string): void {
    const key = `${kind} ${name}`;
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
  }

  get counts(): TallyCounts {
    return { steps: this.steps, byKey: this.#counts };
  }

  add(counts: TallyCounts): void {
    this.steps += counts.steps;
    for (const [key, count] of counts.byKey) this.#counts.set(key, (this.#counts.get(key) ?? 0) + count);
  }

  /** What occurred in less than one of a thousand steps; empty for a run that is too short to say. */
  get tooRare(): string[] {
    if (this.steps < JUDGED_STEPS_MIN) return [];
    return [...this.#counts].filter(([, count]) => (100 * count) / this.steps < SHARE_PERCENT_MIN).map(([key]) => key);
  }

  format(): string {
    const lines = [...this.#counts]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, count]) => {
        const share = this.steps === 0 ? 0 : (100 * count) / this.steps;
        return `  ${key.padEnd(44)} ${String(count).padStart(9)} ${share.toFixed(2).padStart(7)} %`;
      });
    return [`${this.steps} steps; for each, how often and in which share of them:`, ...lines].join("\n");
  }
}
