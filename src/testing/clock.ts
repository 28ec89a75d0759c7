// Time that stands still until it is moved. What is due at once happens by itself, in a turn of the event loop.
import type { StartTimer } from "../base/timers.ts";

/** Whose timer it is: that of the service, or that of the program under test. */
type Side = "service" | "program";

interface Timer {
  readonly atMs: number;
  readonly side: Side;
  readonly callback: () => void;
}

/** Taken when this module is loaded: tests that put timers of their own in the place of the platform's leave these alone. */
const { setImmediate } = globalThis;

/** Turns without anything due after which all that a moment brings has happened: a promise that something else keeps takes some. */
const QUIET_TURNS = 4;

export class Clock {
  #nowMs: number;
  readonly #timers = new Set<Timer>();
  /** What happens at once and has not happened yet. */
  #due = 0;

  constructor(startMs: number) {
    this.#nowMs = startMs;
  }

  get nowMs(): number {
    return this.#nowMs;
  }

  /** Starts timers of one side. One without a delay goes off by itself. */
  timersOf(side: Side): StartTimer {
    return (callback, delayMs) => {
      if (delayMs <= 0) return this.soon(callback);
      const timer: Timer = { atMs: this.#nowMs + delayMs, side, callback };
      this.#timers.add(timer);
      return () => void this.#timers.delete(timer);
    };
  }

  /** Calls back in a turn of its own; returns what stops it. */
  soon(callback: () => void): () => void {
    let isStopped = false;
    this.#due += 1;
    setImmediate(() => {
      this.#due -= 1;
      if (!isStopped) callback();
    });
    return () => void (isStopped = true);
  }

  /** Moves time on, and lets each timer go off at its own time. Resolves when all that this brings has happened. */
  async advance(ms: number): Promise<void> {
    const untilMs = this.#nowMs + checkDuration(ms);
    await this.settle();
    for (let timer = this.#first(untilMs); timer !== undefined; timer = this.#first(untilMs)) {
      this.#nowMs = Math.max(this.#nowMs, timer.atMs);
      await this.#fire(timer);
    }
    this.#nowMs = Math.max(this.#nowMs, untilMs);
  }

  /** Moves time on at once: all timers go off too late, those of the program after all those of the service. */
  async skip(ms: number): Promise<void> {
    await this.settle();
    this.#nowMs += checkDuration(ms);
    const nowMs = this.#nowMs;
    for (const side of ["service", "program"] as const) {
      for (let timer = this.#first(nowMs, side); timer !== undefined; timer = this.#first(nowMs, side)) await this.#fire(timer);
    }
  }

  /** Resolves when all that happens by itself has happened. */
  async settle(): Promise<void> {
    for (let quiet = 0; quiet < QUIET_TURNS; quiet++) {
      await new Promise<void>((resolve) => void setImmediate(resolve));
      if (this.#due > 0) quiet = -1;
    }
  }

  async #fire(timer: Timer): Promise<void> {
    this.#timers.delete(timer);
    timer.callback();
    await this.settle();
  }

  /** Of those that are due by then the one whose time is first; of several that which was started first. */
  #first(untilMs: number, side?: Side): Timer | undefined {
    let first: Timer | undefined;
    for (const timer of this.#timers) {
      const isMeant = timer.atMs <= untilMs && (side === undefined || timer.side === side);
      if (isMeant && (first === undefined || timer.atMs < first.atMs)) first = timer;
    }
    return first;
  }
}

function checkDuration(ms: number): number {
  if (Number.isFinite(ms) && ms >= 0) return ms;
  throw new RangeError(`Cannot move time by ${typeof ms === "number" ? ms : `a ${typeof ms}`}: expected milliseconds, 0 or more`);
}
