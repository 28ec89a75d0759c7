// Progress of long work that is counted and never awaits anything: a bar on a terminal, else a line now and then.
import { SingleBar } from "cli-progress";

const LINE_INTERVAL_MS = 10_000;

export class CountedProgress {
  readonly #what: string;
  readonly #unit: string;
  readonly #total: number;
  readonly #bar: SingleBar | undefined;
  readonly #startedAtMs = performance.now();
  #toldAtMs = performance.now();

  /** As in "`what` 500/1000 `unit`, 3 s". */
  constructor(what: string, unit: string, total: number) {
    this.#what = what;
    this.#unit = unit;
    this.#total = total;
    if (!process.stderr.isTTY) return;
    this.#bar = new SingleBar({ format: `${what} {bar} {value}/{total} ${unit}, {duration} s`, clearOnComplete: true });
    this.#bar.start(total, 0);
  }

  note(done: number): void {
    this.#bar?.update(done);
    const nowMs = performance.now();
    if (this.#bar !== undefined || nowMs - this.#toldAtMs < LINE_INTERVAL_MS) return;
    this.#toldAtMs = nowMs;
    console.error(`${this.#what} ${done}/${this.#total} ${this.#unit}, ${Math.round((nowMs - this.#startedAtMs) / 1000)} s`);
  }

  stop(): void {
    this.#bar?.stop();
  }
}
