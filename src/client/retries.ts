// Repeats calls that may be repeated: those that change nothing, and puts that the channel recognises.
import { EdgeChannelError } from "./edge-channel-error.ts";
import { checkNumbers, type NumberBounds } from "./given-number.ts";
import { startPlatformTimer, type StartTimer } from "./timers.ts";

export interface RetryOptions {
  /**
   * How often a call that failed is repeated, if that is safe: reads, and puts with a producer's number or an idempotency key. A full
   * channel is no failure: `waitMs` waits for room. Each repetition waits anew. At most 1,000,000. Default: 3.
   */
  readonly retries?: number | undefined;
  /** From 0 to 1, without 1: spreads the pauses. Default: `Math.random`. */
  readonly random?: (() => number) | undefined;
  /** Default: the platform's timers. */
  readonly startTimer?: StartTimer | undefined;
  /** A time in milliseconds that is never set back, by which a consumer sees how long things take. Default: `performance.now`. */
  readonly now?: (() => number) | undefined;
}

interface KeepUpOptions {
  readonly signal: AbortSignal;
  /** Called before each pause. */
  readonly onFailure?: ((error: EdgeChannelError) => void) | undefined;
  readonly mayGiveUp?: () => boolean;
}

const RETRIES_BOUNDS: { readonly retries: NumberBounds } = { retries: [3, 0, 1_000_000] };
const PAUSE_MS_FIRST = 100;
const PAUSE_MS_MAX = 10_000;
/** A server that asks for a longer pause is not asked again by itself. */
const RETRY_AFTER_MS_MAX = 30_000;

/** What the caller has to decide about: the state of the channel, no failure. */
const STATES: ReadonlySet<string> = new Set(["channel-full", "no-readers", "empty"]);

export class Retries {
  readonly #retries: number;
  readonly #random: () => number;
  /** Of all that waits on this side. */
  readonly startTimer: StartTimer;
  readonly now: () => number;

  constructor(options: RetryOptions = {}) {
    this.#retries = checkNumbers(options, RETRIES_BOUNDS).retries;
    this.#random = options.random ?? Math.random;
    this.startTimer = options.startTimer ?? startPlatformTimer;
    this.now = options.now ?? ((): number => performance.now());
  }

  /** Calls until one try succeeds. Rejects with the last failure; its outcome is unknown if that of any try was. */
  async run<Value>(attempt: () => Promise<Value>, signal: AbortSignal | undefined): Promise<Value> {
    let mayHaveApplied = false;
    for (let failures = 1; ; failures++) {
      try {
        return await attempt();
      } catch (error) {
        if (!(error instanceof EdgeChannelError)) throw error;
        mayHaveApplied ||= error.outcome === "unknown";
        const told = mayHaveApplied ? error.withOutcome("unknown") : error;
        if (failures > this.#retries || !isWorthRepeating(error)) throw told;
        await this.pause(error, failures, signal);
        if (signal?.aborted === true) throw EdgeChannelError.aborted(told.message, signal, told.outcome);
      }
    }
  }

  /**
   * Runs until it ends well, again after each failure that may pass, without a limit. Resolves early when the signal is aborted.
   *
   * @param run Calls `onProgress` when it got somewhere: pauses begin short again.
   * @param options `mayGiveUp`: whether it fails after as many tries as other calls.
   */
  async keepUp(run: (onProgress: () => void) => Promise<void>, { signal, onFailure, mayGiveUp }: KeepUpOptions): Promise<void> {
    for (let failures = 1; !signal.aborted; failures++) {
      try {
        return await run(() => void (failures = 1));
      } catch (error) {
        if (signal.aborted) return;
        if (!(error instanceof EdgeChannelError) || !isWorthRepeating(error)) throw error;
        if (failures > this.#retries && mayGiveUp?.() === true) throw error;
        onFailure?.(error);
        await this.pause(error, failures, signal);
      }
    }
  }

  /** What the server asks for, and on top of it a random part of a time that doubles: those who failed together do not come back together. */
  #pauseMs({ retryAfterMs = 0 }: EdgeChannelError, failures: number): number {
    return retryAfterMs + this.#random() * Math.min(PAUSE_MS_MAX, PAUSE_MS_FIRST * 2 ** (failures - 1));
  }

  /** Waits before the call that failed so often is repeated; ends early when the signal is aborted. */
  async pause(error: EdgeChannelError, failures: number, signal: AbortSignal | undefined): Promise<void> {
    if (signal?.aborted === true) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const end = (): void => resolve();
    const stopTimer = this.startTimer(end, this.#pauseMs(error, failures));
    signal?.addEventListener("abort", end);
    await promise;
    stopTimer();
    signal?.removeEventListener("abort", end);
  }
}

/** What passes by itself, and what may have succeeded: the same call again tells. */
export function isWorthRepeating({ kind, retry, retryable, retryAfterMs = 0, outcome }: EdgeChannelError): boolean {
  if (STATES.has(kind) || retry === "never" || retryAfterMs > RETRY_AFTER_MS_MAX) return false;
  return retryable || outcome === "unknown";
}
