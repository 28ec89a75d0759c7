// The commit loop: operations are queued and committed together, so that one write to disk serves all that came meanwhile.
import { LIMITS } from "../protocol/limits.ts";

/** The timers of the runtime; a test passes its own. */
export interface Timers {
  setTimeout(callback: () => void, delayMs: number): void;
}

export interface CommitLoopOptions<Entry> {
  /** Applies the entries in order, writes once and answers each. Must not throw. */
  readonly commit: (entries: readonly Entry[]) => void;
  /** Resolves when what was written is on disk. */
  readonly sync: () => Promise<void>;
  readonly timers?: Timers;
}

/**
 * With one request in flight, one in so many goes through the timer to notice when there are more. A timer takes more than a
 * millisecond where nothing else happens, so probes that find nothing become rarer: eight requests apart, then sixteen, up to the most.
 */
const PROBE_INTERVAL_MIN = 8;
const PROBE_INTERVAL_MAX = 256;

/**
 * Background: a handler that writes makes the runtime wait for that commit before it reads the socket's next frame, so committing each
 * request in its handler costs 6 to 9 times the throughput when requests are pipelined. So a handler only queues, and a timer of zero
 * delay, which runs after all frames that have arrived, commits the queue. Replies are sent right after the write: the output gate
 * holds them until it is on disk.
 *
 * Three refinements, all measured: (1) when the last drain held a single request, nobody pipelines and the timer only adds latency, so
 * the handler commits by itself; (2) the next drain begins when the last is on disk, which bounds the rows where commits do not block
 * the thread; it re-arms the timer, since going on at once would starve the sockets; (3) a full queue is committed by the handler,
 * because its own write is the only thing that makes the runtime stop reading.
 */
export class CommitLoop<Entry> {
  readonly #options: CommitLoopOptions<Entry>;
  readonly #timers: Timers;
  #queue: Entry[] = [];
  #queuedBytes = 0;
  #isArmed = false;
  #isSyncing = false;
  #lastCount = 1;
  #probeInterval = PROBE_INTERVAL_MIN;
  #untilProbe = PROBE_INTERVAL_MIN;

  constructor(options: CommitLoopOptions<Entry>) {
    this.#options = options;
    this.#timers = options.timers ?? { setTimeout: (callback, delayMs) => void setTimeout(callback, delayMs) };
  }

  /** Queues an entry of about `bytes`; it is committed soon, in the order of the calls. */
  push(entry: Entry, bytes: number): void {
    this.#queue.push(entry);
    this.#queuedBytes += bytes;
    if (this.#queue.length >= LIMITS.commitQueueOperationsMax || this.#queuedBytes >= LIMITS.commitQueueBytesMax) {
      this.#drain();
      return;
    }
    if (this.#isArmed || this.#isSyncing) return;
    if (this.#lastCount > 1 || this.#untilProbe === 0) {
      this.#arm();
      return;
    }
    this.#untilProbe -= 1;
    this.#drain();
  }

  #arm(): void {
    this.#isArmed = true;
    this.#timers.setTimeout(() => {
      this.#isArmed = false;
      if (this.#queue.length > 0) this.#drainAndPace();
    }, 0);
  }

  /** The timer has shown how many requests come together. */
  #noteProbe(): void {
    const isAlone = this.#queue.length === 1;
    this.#probeInterval = isAlone ? Math.min(PROBE_INTERVAL_MAX, this.#probeInterval * 2) : PROBE_INTERVAL_MIN;
    this.#untilProbe = this.#probeInterval;
  }

  #drain(): void {
    const entries = this.#queue;
    this.#queue = [];
    this.#queuedBytes = 0;
    this.#lastCount = entries.length;
    this.#options.commit(entries);
  }

  #drainAndPace(): void {
    this.#noteProbe();
    this.#drain();
    this.#isSyncing = true;
    const goOn = (): void => {
      this.#isSyncing = false;
      if (this.#queue.length > 0 && !this.#isArmed) this.#arm();
    };
    // A failed sync resets the object; whoever waits for a reply is told by the broken connection.
    this.#options.sync().then(goOn, goOn);
  }
}
