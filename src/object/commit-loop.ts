// The commit loop: operations are queued and committed together, so that one write to disk serves all that came meanwhile.
import { LIMITS } from "../protocol/limits.ts";
import { FairQueue } from "./fair-queue.ts";

/** The timers of the runtime; a test passes its own. */
export interface Timers {
  setTimeout(callback: () => void, delayMs: number): void;
}

export interface CommitLoopOptions<Entry> {
  /** Applies the entries in order, writes once and answers each. Must not throw. */
  readonly commit: (entries: readonly Entry[]) => void;
  /** Resolves when what was written is on disk. */
  readonly sync: () => Promise<void>;
  /** The connection that an entry is of; undefined for one that is nobody's. */
  readonly ownerOf: (entry: Entry) => number | undefined;
  /** How long a queue that is not full waits for more; 0 if absent. Asked for each entry. */
  readonly delayMs?: () => number;
  /** How long calls are held at most for as many as were together lately; 0 if absent. */
  readonly callHoldMs?: number;
  readonly timers?: Timers;
}

/** From so many entries on the timer does not wait for more. */
const GATHERED_MAX = 512;
/** From so many bytes on nothing waits for more: writing them takes much longer than what each commit costs besides (measured). */
const GATHERED_BYTES_MAX = 256 * 1024;
/** How often a timer that finds fewer than were together before looks again: it may have come before the others were read. */
const LOOKS_AGAIN = 2;
/** Smaller groups would save less, by working while the client does, than their commits cost (measured). */
const GROUP_MIN = 32;
/** How many groups of several requests are committed between two probes. */
const PROBE_INTERVAL_OF_GROUPS = 16;
/** From so many calls together on, fewer are held until as many are there; fewer would all wait for each other while nobody works (measured). */
const HELD_CALLS_MIN = 10;
/** What remains of the expectation that so many calls come together, where fewer came. */
const EXPECTED_CALLS_DECAY = 7 / 8;
/** With one request in flight a probe takes more than a millisecond, so those that find nothing become rarer, up to the most. */
const PROBE_INTERVAL_MIN = 8;
const PROBE_INTERVAL_MAX = 256;

/**
 * Background: a handler that writes makes the runtime wait for that commit before it reads the socket's next frame, so committing each
 * request in its handler costs 6 to 9 times the throughput when requests are pipelined. So a handler only queues, and a timer of zero
 * delay commits the queue. What has arrived is not all seen in one turn of the event loop, least of all from many sockets, so the timer waits
 * for another one as long as each brings more. Replies are sent right after the write: the output gate holds them until it is on disk.
 *
 * Six refinements, all measured. (1) All requests that clients keep in flight are a group, which the handler commits as soon as it is
 * complete: nothing more can come before it is answered. Answers that go out together in one frame made groups of all better than
 * smaller ones. (2) A single request in flight is a group by itself. (3) The next drain begins when
 * the last is on disk, which bounds the rows where commits do not block the thread; it re-arms the timer, since going on at once would
 * starve the sockets. (4) A full queue is committed by the handler, because its own write is the only thing that makes the runtime
 * stop reading. (5) The calls of workers come each in a turn of the event loop of its own, and take much longer to come than frames. One that
 * comes alone is committed by the handler: the timer takes a millisecond or more. Several are left to the timer, which waits for one more
 * turn only when calls have come since. Where many come together, fewer than are expected are held for a moment, until as many are there:
 * else what comes a little too late for one commit makes another of its own, over and over. (6) Large requests are committed from 256 KiB on, though more are in flight: the client makes the next while these are written. Waiting
 * for all of them, each side would stand still while the other works.
 *
 * With a delay (a setting of the channel, 0 unless given) none of that is needed: the first entry sets the timer, and what comes until it
 * fires is one commit. An entry that came while the last commit was written has waited as long when that is on disk later.
 *
 * A commit takes only so many operations of one connection; the rest is committed by the next, so that what others ask for meanwhile does
 * not wait for all of it.
 *
 * How many requests are in flight shows when the timer drains all of them: now and then the handler leaves a group to it, as a probe.
 */
export class CommitLoop<Entry> {
  readonly #options: CommitLoopOptions<Entry>;
  readonly #timers: Timers;
  readonly #queue: FairQueue<Entry>;
  readonly #callHoldMs: number;
  #isArmed = false;
  /** How many entries the last commit took. */
  #lastCount = 1;
  /** Whether the last commit was of many bytes: others may be in flight beside what it took. */
  #wasLarge = false;
  #isSyncing = false;
  /** How many queued entries the handler commits by itself. */
  #group = 1;
  #probeInterval = PROBE_INTERVAL_MIN;
  /** Groups that the handler may still commit before it leaves one to the timer. */
  #untilProbe = PROBE_INTERVAL_MIN;
  /** Whether all that is queued are calls. */
  #isOfCalls = false;
  /** How many calls were together lately. */
  #expectedCalls = 1;
  #callProbeInterval = PROBE_INTERVAL_MIN;
  /** Calls that may still be committed as they come before one is left to the timer. */
  #untilCallProbe = PROBE_INTERVAL_MIN;
  #isHolding = false;
  /** Also while the hold that it was set for is over: it ends the next one early then. */
  #isHoldTimerSet = false;
  /** Whether the handler has committed a group since the timer was armed, so that the timer sees a remainder only. */
  #isRemainder = false;

  constructor(options: CommitLoopOptions<Entry>) {
    this.#options = options;
    this.#queue = new FairQueue(options.ownerOf);
    this.#callHoldMs = options.callHoldMs ?? 0;
    this.#timers = options.timers ?? { setTimeout: (callback, delayMs) => void setTimeout(callback, delayMs) };
  }

  #delayMs(): number {
    return this.#options.delayMs?.() ?? 0;
  }

  /** Queues the entry of a socket's frame of about `bytes`; it is committed soon, in the order of the calls. */
  push(entry: Entry, bytes: number): void {
    this.#isOfCalls = false;
    if (this.#enqueue(entry, bytes) === "full") {
      this.#drain();
      return;
    }
    const delayMs = this.#delayMs();
    if (delayMs > 0) {
      this.#armDelay(delayMs);
      return;
    }
    if (this.#isSyncing) return;
    if (this.#hasManyBytes) {
      this.#drainAndPace();
      return;
    }
    if (this.#queue.length >= this.#group && this.#untilProbe > 0) {
      this.#drainGroup();
      return;
    }
    if (!this.#isArmed) this.#arm();
  }

  /** Queues the entry of a worker's call of about `bytes`; it is committed at once where calls come alone. */
  pushCall(entry: Entry, bytes: number): void {
    if (this.#enqueue(entry, bytes) === "full") {
      this.#drain();
      return;
    }
    if (this.#queue.length === 1) this.#isOfCalls = true;
    const delayMs = this.#delayMs();
    if (delayMs > 0) this.#armDelay(delayMs);
    else if (!this.#isSyncing) this.#takeCall();
  }

  #takeCall(): void {
    const isHoldOver = this.#isHolding && !this.#mayMoreCallsCome;
    if (this.#isArmed && !isHoldOver) return;
    if (this.#queue.length === 1 && this.#expectedCalls === 1 && this.#untilCallProbe > 0) {
      this.#untilCallProbe -= 1;
      this.#drain();
    } else this.#armCalls();
  }

  /** Queues what the commit that is under way leaves to be done: the timer commits it, with what comes meanwhile. */
  pushRest(entry: Entry): void {
    this.#isOfCalls = false;
    this.#queue.add(entry, 0);
    if (!this.#isSyncing && !this.#isArmed) this.#arm(1);
  }

  /** Commits all that is queued. */
  flush(): void {
    while (this.#queue.length > 0) this.#drain();
  }

  #enqueue(entry: Entry, bytes: number): "queued" | "full" {
    this.#queue.add(entry, bytes);
    const isFull = this.#queue.length >= LIMITS.commitQueueOperationsMax || this.#queue.bytes >= LIMITS.commitQueueBytesMax;
    return isFull ? "full" : "queued";
  }

  /** Sets the timer, which waits for so many more turns at most as long as each brings more. */
  #arm(turns = GATHERED_MAX): void {
    this.#isRemainder = false;
    this.#gather(turns);
  }

  #gather(turns: number, looksAgain = LOOKS_AGAIN): void {
    const queued = this.#queue.length;
    this.#isArmed = true;
    this.#timers.setTimeout(() => {
      this.#isArmed = false;
      const { length } = this.#queue;
      if (length === 0 || this.#isSyncing) return;
      const isEnough = length >= GATHERED_MAX || this.#hasManyBytes;
      const isPart = this.#wasLarge || this.#hasManyBytes;
      const isMeasured = !isPart && (!this.#isRemainder || this.#untilProbe === 0);
      if (!isEnough && length > queued && turns > 0) this.#gather(turns - 1, looksAgain);
      else if (isMeasured && this.#isFewerThanBefore && looksAgain > 0 && turns > 1) this.#gather(turns - 1, looksAgain - 1);
      else {
        if (isMeasured) this.#measureGroup(length);
        this.#drainAndPace();
      }
    }, 0);
  }

  /** Sets the timer, which waits for so many more turns at most as long as each brings more, or holds calls that are fewer than are expected. */
  #armCalls(turns = 1): void {
    const queued = this.#queue.length;
    this.#isHolding = false;
    this.#isArmed = true;
    this.#timers.setTimeout(() => {
      this.#isArmed = false;
      const { length } = this.#queue;
      if (length === 0 || this.#isSyncing) return;
      if (this.#mayMoreCallsCome) this.#holdCalls();
      else if (length > queued && turns > 0 && this.#expectedCalls < HELD_CALLS_MIN) this.#armCalls(turns - 1);
      else {
        this.#measureCalls(length);
        this.#drainAndPace();
      }
    }, 0);
  }

  #measureCalls(together: number): void {
    const isAlone = together === 1;
    this.#callProbeInterval = isAlone ? Math.min(PROBE_INTERVAL_MAX, this.#callProbeInterval * 2) : PROBE_INTERVAL_MIN;
    this.#untilCallProbe = this.#callProbeInterval;
  }

  #holdCalls(): void {
    this.#isArmed = true;
    this.#isHolding = true;
    if (this.#isHoldTimerSet) return;
    this.#isHoldTimerSet = true;
    this.#timers.setTimeout(() => {
      this.#isHoldTimerSet = false;
      // The hold ended before, when all were there.
      if (!this.#isHolding) return;
      this.#isHolding = false;
      this.#isArmed = false;
      if (this.#queue.length > 0 && !this.#isSyncing) this.#drainAndPace();
    }, this.#callHoldMs);
  }

  get #mayMoreCallsCome(): boolean {
    const isMissing = this.#expectedCalls >= HELD_CALLS_MIN && this.#queue.length < this.#expectedCalls;
    return this.#callHoldMs > 0 && this.#isOfCalls && isMissing && !this.#hasManyBytes;
  }

  get #hasManyBytes(): boolean {
    return this.#queue.bytes >= GATHERED_BYTES_MAX;
  }

  get #isFewerThanBefore(): boolean {
    return this.#queue.length < Math.max(this.#group, this.#lastCount);
  }

  /** Lets what comes within the delay join what came first. */
  #armDelay(delayMs: number): void {
    if (this.#isArmed) return;
    this.#isArmed = true;
    this.#timers.setTimeout(() => {
      this.#isArmed = false;
      // What is queued while a commit is written follows when that is on disk.
      if (this.#queue.length > 0 && !this.#isSyncing) this.#drainAndPace();
    }, delayMs);
  }

  #measureGroup(inFlight: number): void {
    const isAlone = inFlight === 1;
    if (!isAlone) this.#probeInterval = PROBE_INTERVAL_OF_GROUPS;
    else if (this.#group > 1) this.#probeInterval = PROBE_INTERVAL_MIN;
    else this.#probeInterval = Math.min(PROBE_INTERVAL_MAX, this.#probeInterval * 2);
    this.#untilProbe = this.#probeInterval;
    this.#group = isAlone ? 1 : Math.max(GROUP_MIN, inFlight);
  }

  /** What is left of those that have too many is committed later: while anything is queued, the timer is set or a write on its way. */
  #drain(): void {
    this.#wasLarge = this.#hasManyBytes;
    const entries = this.#queue.takeTurn();
    this.#lastCount = entries.length;
    if (this.#isOfCalls) {
      const expected = Math.floor(this.#expectedCalls * EXPECTED_CALLS_DECAY);
      this.#expectedCalls = Math.max(entries.length, expected);
    }
    this.#options.commit(entries);
  }

  #drainGroup(): void {
    this.#untilProbe -= 1;
    this.#isRemainder = true;
    // The next request of a client that has only one in flight comes after the answer, and so after the write.
    if (this.#group === 1) this.#drain();
    else this.#drainAndPace();
  }

  #drainAndPace(): void {
    this.#drain();
    this.#isSyncing = true;
    const goOn = (): void => {
      this.#isSyncing = false;
      if (this.#queue.length === 0 || this.#isArmed) return;
      if (this.#isOfCalls) this.#takeCall();
      else this.#arm();
    };
    // A failed sync resets the object; whoever waits for a reply is told by the broken connection.
    this.#options.sync().then(goOn, goOn);
  }
}
