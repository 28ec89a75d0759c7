// A member of a group: takes messages by lease ahead of the work, keeps the leases while it goes on, and settles what came of it in bulk.
import { listLeaseIds } from "../protocol/lease-run.ts";
import { workOn } from "./batch-work.ts";
import type { CheckedConsumeOptions } from "./consume-options.ts";
import { CreditWindow } from "./credit-window.ts";
import type { BatchHandler } from "./handlers.ts";
import { LeasedMessage } from "./leased-message.ts";
import { openLeaseSource, type LeaseSource } from "./lease-source.ts";
import { PrefetchDepth } from "./prefetch-depth.ts";
import type { Retries } from "./retries.ts";
import { SettleQueue, type SettleEntry, type SettleVerb } from "./settle-queue.ts";
import type { CallOptions, Leased, SettleReport, SettleRequest, Transport } from "./transport.ts";
import type { Turns, TurnTaker } from "./turns.ts";
import { verdictOf } from "./verdict.ts";

/** A channel that is consumed. */
export interface ConsumerParts {
  readonly channel: string;
  readonly transport: Transport;
  readonly retries: Retries;
}

/** One call of the handler. */
interface Run {
  readonly abort: AbortController;
  /** Messages whose leases it has not lost. */
  live: number;
}

interface Over {
  readonly verb: SettleVerb | "lost";
  readonly settled: Promise<unknown>;
}

interface Held {
  readonly message: LeasedMessage;
  readonly bytes: number;
  /** Undefined before it is worked on. */
  run: Run | undefined;
  /** How it ended, and when that is known to the server; undefined while it is held. */
  over: Over | undefined;
  /** In thirds of a lease, since it was taken or renewed. */
  age: number;
}

const LOST: Over = { verb: "lost", settled: Promise.resolve() };

/** A lease is renewed at this age, when at least a third of it is left. */
const RENEWAL_AGE = 2;
const RENEWALS_PER_LEASE = 3;

/** What a `Consumer` does in one channel; what its calls promise is written there. */
export class GroupMember implements TurnTaker {
  readonly done: Promise<void>;
  readonly #options: CheckedConsumeOptions;
  readonly #retries: Retries;
  readonly #handler: BatchHandler;
  readonly #channel: string;
  readonly #turns: Turns;
  readonly #window: CreditWindow;
  readonly #depth: PrefetchDepth;
  readonly #queue: SettleQueue;
  readonly #source: LeaseSource;
  readonly #done = Promise.withResolvers<void>();
  /** Aborted when all is over: nobody is listened to any more. */
  readonly #halt = new AbortController();
  /** By lease. */
  readonly #held = new Map<string, Held>();
  readonly #runs = new Set<Run>();
  readonly #busyKeys = new Set<string>();
  /** Not worked on yet, in order. */
  readonly #ready = new Set<Held>();
  #isOnline = true;
  #isStopping = false;
  #failure: Error | undefined;
  #stopRenewing: () => void = () => undefined;
  /** Wakes who waits for the work to be done. */
  #wake: () => void = () => undefined;
  #batchWait: { isOver: boolean; readonly stopTimer: () => void } | undefined;

  constructor(parts: ConsumerParts, options: CheckedConsumeOptions, handler: BatchHandler, turns: Turns) {
    const { channel, transport, retries } = parts;
    const { prefetch, prefetchMax, prefetchBytes, leaseMs, concurrency, batchSize, given } = options;
    this.#options = options;
    this.#retries = retries;
    this.#handler = handler;
    this.#channel = channel;
    this.#turns = turns;
    turns.join(this);
    this.#window = new CreditWindow({ messages: prefetch, bytes: prefetchBytes });
    this.#depth = new PrefetchDepth({ atOnce: concurrency * batchSize, first: prefetch, max: prefetchMax });
    // What is settled goes the way that credit goes, and is answered by the commit that sends what that brings.
    this.#queue = new SettleQueue(transport, retries, this.#halt.signal, (ms) => this.#depth.noteFetch(ms));
    this.done = this.#done.promise;
    // Who does not look at it has chosen not to know.
    this.done.catch(() => undefined);
    this.#source = openLeaseSource({
      transport,
      retries,
      take: { group: given.group, leaseMs, reader: given.reader },
      untilEmpty: given.untilEmpty === true,
      isIdle: () => !this.#isBusy && this.#queue.sending === undefined,
      becomeIdle: () => this.#becomeIdle(),
      listHeld: () => [...new Set([...this.#queue.unanswered, ...this.#held.keys()])],
      takeCredit: () => this.#window.takeAll(),
      onBegin: () => void this.#goOn(),
      onMessages: (messages, bytes) => this.#receive(messages, bytes),
      onControls: (controls) => {
        for (const control of controls) given.onControl?.(control);
      },
      onRevoke: (leases) => this.#giveBack(leases.flatMap(listLeaseIds)),
      onLost: (error) => {
        this.#isOnline = false;
        given.onReconnect?.(error);
      },
      onEnd: (error) => this.#stop(error),
    });
    this.#keepRenewing();
    given.signal?.addEventListener("abort", () => this.#stop(undefined), { signal: this.#halt.signal });
    if (given.signal?.aborted === true) this.#stop(undefined);
  }

  stop({ signal }: CallOptions = {}): Promise<void> {
    const halt = (): void => {
      this.#halt.abort(signal?.reason);
      for (const { abort } of this.#runs) abort.abort(signal?.reason);
      this.#runs.clear();
      void this.#finish();
    };
    this.#stop(undefined);
    signal?.addEventListener("abort", halt, { signal: this.#halt.signal });
    if (signal?.aborted === true) halt();
    return this.done;
  }

  #receive(messages: readonly Leased[], bytes: number): void {
    const bytesOf = this.#window.hold(messages.length, bytes);
    for (const [index, leased] of messages.entries()) {
      const message = new LeasedMessage(leased, { settle: (request) => this.#settleByProgram(held, request) });
      const held: Held = { message, bytes: bytesOf(index), run: undefined, over: undefined, age: 0 };
      const known = this.#held.get(leased.leaseId);
      // It was given back and came again before that was answered: one stands for both, in the place of the later.
      if (known !== undefined && known.run === undefined) this.#drop(known, LOST);
      else if (known !== undefined) {
        this.#window.free(held.bytes);
        continue;
      }
      this.#held.set(leased.leaseId, held);
      this.#ready.add(held);
    }
    if (this.#isStopping) this.#release(this.#ready);
    this.#turns.begin();
  }

  get #isBusy(): boolean {
    return !this.#isStopping && this.#held.size + this.#runs.size > 0;
  }

  async #becomeIdle(): Promise<void> {
    while (this.#isBusy) await new Promise<void>((resolve) => (this.#wake = resolve));
    await this.#queue.sending;
  }

  takeWork(): (() => void) | undefined {
    const batch = this.#mayBegin ? this.#takeBatch() : [];
    return batch.length === 0 ? undefined : () => void this.#run(batch);
  }

  grantOwed(): void {
    const owed = this.#mayBegin ? this.#window.takeOwed(this.#ready.size === 0) : undefined;
    if (owed !== undefined) this.#source.grant(owed);
  }

  get #mayBegin(): boolean {
    return this.#isOnline && !this.#isStopping;
  }

  #takeBatch(): readonly Held[] {
    const { batchSize, batchBytes, batchWaitMs } = this.#options;
    const batch: Held[] = [];
    let bytes = 0;
    let isFull = false;
    for (const held of this.#ready) {
      const { key } = held.message;
      if (key !== undefined && this.#busyKeys.has(key)) continue;
      bytes += held.bytes;
      isFull = batch.length === batchSize || (batch.length > 0 && bytes > batchBytes);
      if (isFull) break;
      batch.push(held);
    }
    isFull ||= batch.length === batchSize;
    if (batch.length > 0 && !isFull && batchWaitMs > 0 && this.#isWaitingForMore(batchWaitMs)) return [];
    this.#batchWait?.stopTimer();
    this.#batchWait = undefined;
    for (const held of batch) this.#ready.delete(held);
    return batch;
  }

  /** Whether a batch that is not full has to wait; it begins when the time is over. */
  #isWaitingForMore(batchWaitMs: number): boolean {
    if (this.#batchWait === undefined) {
      const end = (): void => {
        if (this.#batchWait !== undefined) this.#batchWait.isOver = true;
        this.#turns.begin();
      };
      this.#batchWait = { isOver: false, stopTimer: this.#retries.startTimer(end, batchWaitMs) };
    }
    return !this.#batchWait.isOver;
  }

  async #run(batch: readonly Held[]): Promise<void> {
    const run: Run = { abort: new AbortController(), live: batch.length };
    this.#runs.add(run);
    for (const held of batch) {
      held.run = run;
      if (held.message.key !== undefined) this.#busyKeys.add(held.message.key);
    }
    const messages = batch.map(({ message }) => message);
    const startedAtMs = this.#retries.now();
    const outcomes = await workOn(messages, this.#handler, { signal: run.abort.signal, channel: this.#channel });
    this.#runs.delete(run);
    this.#turns.end();
    this.#depth.noteWork(this.#retries.now() - startedAtMs);
    if (this.#options.given.prefetch === undefined) this.#window.resize(this.#depth.messages);
    for (const [index, held] of batch.entries()) this.#conclude(held, outcomes[index]);
    for (const { message } of batch) if (message.key !== undefined) this.#busyKeys.delete(message.key);
    for (const held of batch) if (isUndone(held)) void this.#checkKey(held);
    this.#turns.begin();
    this.#wake();
    if (this.#isStopping) void this.#finish();
  }

  #conclude(held: Held, outcome: PromiseSettledResult<unknown> | undefined): void {
    if (outcome?.status === "rejected") this.#options.given.onError?.(outcome.reason, held.message);
    // The program has settled it itself, or somebody else may have it by now.
    if (held.over !== undefined) return;
    const [verb, terms] = verdictOf(outcome);
    const { leaseId } = held.message;
    const onFailure = (error: Error): void => this.#stop(error);
    this.#settle(held, verb, { ...terms, leaseId }).then((problem) => {
      // An earlier one of its key is not done: it comes again behind that.
      if (problem?.kind === "out-of-order") this.#queue.settle("releases", { leaseId }).catch(onFailure);
    }, onFailure);
  }

  #settle(held: Held, verb: Exclude<SettleVerb, "extends">, entry: SettleEntry): ReturnType<SettleQueue["settle"]> {
    const settled = this.#queue.settle(verb, entry);
    this.#drop(held, { verb, settled });
    return settled;
  }

  /**
   * The leases of the later messages of a key end with one that is not done (KO3). Which of those that are here were sent before the server
   * knew, it says itself: until then none is begun.
   */
  async #checkKey({ message: { key }, over }: Held): Promise<void> {
    if (key === undefined) return;
    this.#busyKeys.add(key);
    await over?.settled.catch(() => undefined);
    await Promise.all([...this.#ready].filter(({ message }) => message.key === key).map((held) => this.#renew(held)));
    this.#busyKeys.delete(key);
    this.#turns.begin();
  }

  /** What the message's own methods do. */
  async #settleByProgram(held: Held, request: SettleRequest): Promise<Pick<SettleReport, "refused">> {
    const [verb, [entry]] = Object.entries(request)[0] as [SettleVerb, [SettleEntry]];
    const settling = verb === "extends" ? this.#queue.settle(verb, entry) : this.#settle(held, verb, entry);
    this.#turns.begin();
    const problem = await settling;
    return { refused: problem === undefined ? [] : [{ pointer: "", problem }] };
  }

  #drop(held: Held, over: Over): void {
    if (held.over !== undefined) return;
    held.over = over;
    this.#held.delete(held.message.leaseId);
    this.#ready.delete(held);
    this.#window.free(held.bytes);
    this.#wake();
  }

  /** Others can have what is not begun with; of a key that is worked on, the later ones are no use to them (SB13). */
  #giveBack(leaseIds: readonly string[]): void {
    const held = leaseIds.flatMap((leaseId) => this.#held.get(leaseId) ?? []);
    const isFree = ({ message: { key } }: Held): boolean => key === undefined || !this.#busyKeys.has(key);
    this.#release(held.filter((one) => this.#ready.has(one) && isFree(one)));
    this.#turns.begin();
  }

  #release(ready: Iterable<Held>): void {
    for (const held of ready) {
      // What cannot be given back comes back when its lease is over.
      this.#settle(held, "releases", held.message).catch(() => undefined);
    }
  }

  /** Holds what is left on, by a look at all of it that many times in a lease. */
  #keepRenewing(): void {
    const look = (): void => {
      for (const held of this.#held.values()) if (++held.age >= RENEWAL_AGE) void this.#renew(held);
      this.#keepRenewing();
    };
    this.#stopRenewing = this.#retries.startTimer(look, this.#options.leaseMs / RENEWALS_PER_LEASE);
  }

  async #renew(held: Held): Promise<void> {
    held.age = 0;
    const { leaseId } = held.message;
    const settling = this.#queue.settle("extends", { leaseId, leaseMs: this.#options.leaseMs });
    // What cannot be asked at all, settling it will tell.
    const problem = await settling.catch(() => undefined);
    if (problem === undefined || held.over !== undefined) return;
    this.#drop(held, LOST);
    if (held.run !== undefined && --held.run.live === 0) held.run.abort.abort();
  }

  /** Goes on with a new connection, when it is known what is still held. */
  async #goOn(): Promise<void> {
    if (this.#isOnline) return;
    await Promise.all([...this.#held.values()].map((held) => this.#renew(held)));
    this.#isOnline = true;
    this.#turns.begin();
  }

  #stop(error: Error | undefined): void {
    this.#failure ??= error;
    if (this.#isStopping) return;
    this.#isStopping = true;
    this.#batchWait?.stopTimer();
    this.#source.stop?.();
    this.#release(this.#ready);
    this.#wake();
    void this.#finish();
  }

  /** Ends when nothing is worked on and all is settled. */
  async #finish(): Promise<void> {
    if (!this.#isStopping || this.#runs.size > 0) return;
    await this.#queue.finish();
    this.#source.end?.();
    this.#stopRenewing();
    this.#halt.abort();
    if (this.#failure === undefined) this.#done.resolve();
    else this.#done.reject(this.#failure);
  }
}

function isUndone({ over }: Held): boolean {
  return over?.verb !== "acks" && over?.verb !== "rejects";
}
