// A member of a group: takes messages by lease ahead of the work, keeps the leases while it goes on, and settles what came of it in bulk.
import { listLeaseIds } from "../protocol/lease-run.ts";
import type { Problem } from "../protocol/problems.ts";
import { workOn } from "./batch-work.ts";
import type { CallOptions } from "./call-options.ts";
import type { CheckedConsumeOptions } from "./consume-options.ts";
import { CreditWindow } from "./credit-window.ts";
import type { BatchHandler } from "./handlers.ts";
import { LeasedMessage } from "./leased-message.ts";
import { openLeaseSource, type LeaseSource } from "./lease-source.ts";
import { PrefetchDepth } from "./prefetch-depth.ts";
import type { Retries } from "./retries.ts";
import { isDone, SettleQueue, type SettleEntry, type SettleVerb } from "./settle-queue.ts";
import { checkDelay, checkLease, reasonOf } from "./settle-terms.ts";
import type { Leased, SettleReport, SettleRequest, Transport } from "./transport.ts";
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

interface Held {
  readonly message: LeasedMessage;
  readonly bytes: number;
  /** Undefined before it is worked on. */
  run: Run | undefined;
  /** How it ended; undefined while it is held. */
  over: EndingVerb | "lost" | undefined;
  /** In thirds of a lease, since it was taken or renewed. */
  age: number;
}

type EndingVerb = Exclude<SettleVerb, "extends">;
type Answer = ReturnType<SettleQueue["settle"]>;

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
  /** Not worked on yet, in the order in which they came; those of one key in the order of offsets. */
  readonly #ready = new Set<Held>();
  /** Keys of which none may be begun, and for how many reasons: each message that is worked on, each answer that is awaited. */
  readonly #closed = new Map<string | undefined, number>();
  /** Keys of which the server has to be asked what is held before any is begun. */
  readonly #doubtful = new Set<string>();
  #isOnline = true;
  /** How many connections were lost. */
  #losses = 0;
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
        this.#losses++;
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
    this.#loseFrom(messages);
    for (const [index, leased] of messages.entries()) {
      const message = new LeasedMessage(leased, { settle: (request) => this.#settleByProgram(held, request) });
      const held: Held = { message, bytes: bytesOf(index), run: undefined, over: undefined, age: 0 };
      const known = this.#held.get(leased.leaseId);
      // It came again: what is worked on stands for both, and else the later.
      if (known?.run !== undefined) {
        this.#window.free(held.bytes);
        continue;
      }
      if (known !== undefined) this.#drop(known, "lost");
      this.#held.set(leased.leaseId, held);
      this.#ready.add(held);
    }
    if (this.#isStopping) this.#release(this.#ready);
    this.#turns.begin();
  }

  /** What comes of a key comes in its order: where it begins again, what is held from there on is over. It may come again under the same ids. */
  #loseFrom(messages: readonly Leased[]): void {
    const firsts = new Map<string, number>();
    for (const { key, offset, leaseId } of messages) {
      const isNew = this.#held.get(leaseId)?.run === undefined;
      if (key !== undefined && isNew && !firsts.has(key)) firsts.set(key, offset);
    }
    if (firsts.size === 0) return;
    for (const held of this.#held.values()) {
      const { key, offset } = held.message;
      if (key !== undefined && offset >= (firsts.get(key) ?? Infinity)) this.#lose(held);
    }
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
      if (this.#closed.has(held.message.key)) continue;
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
      if (held.message.key !== undefined) this.#close(held.message.key);
    }
    const messages = batch.map(({ message }) => message);
    const startedAtMs = this.#retries.now();
    const outcomes = await workOn(messages, this.#handler, { signal: run.abort.signal, channel: this.#channel });
    this.#runs.delete(run);
    this.#turns.end();
    this.#depth.noteWork(this.#retries.now() - startedAtMs);
    if (this.#options.given.prefetch === undefined) this.#window.resize(this.#depth.messages);
    this.#conclude(batch, outcomes);
    for (const { message } of batch) if (message.key !== undefined) void this.#open(message.key);
    this.#turns.begin();
    this.#wake();
    if (this.#isStopping) void this.#finish();
  }

  #conclude(batch: readonly Held[], outcomes: readonly PromiseSettledResult<unknown>[]): void {
    const undoneKeys = new Set<string>();
    for (const [index, held] of batch.entries()) {
      const { key, leaseId } = held.message;
      const outcome = outcomes[index];
      if (outcome?.status === "rejected") void this.#tellError(outcome.reason, held.message);
      // Else the program has settled it itself, or somebody else may have it by now.
      if (held.over === undefined) {
        const [verb, terms] = verdictOf(outcome);
        // It comes again behind the one that is not done (KO6): its ack would be out of order.
        const isVain = verb === "acks" && key !== undefined && undoneKeys.has(key);
        this.#settle(held, isVain ? "releases" : verb, { ...terms, leaseId }).catch((error) => this.#stop(error));
      }
      if (key !== undefined && !isDone(held.over)) undoneKeys.add(key);
    }
  }

  async #tellError(error: unknown, message: LeasedMessage): Promise<void> {
    try {
      await this.#options.given.onError?.(error, message);
    } catch (thrown) {
      this.#stop(thrown as Error);
    }
  }

  #settle(held: Held, verb: EndingVerb, entry: SettleEntry): Answer {
    const { key, leaseId } = held.message;
    const answer = this.#end(held, verb, entry);
    if (key === undefined) return answer;
    if (isDone(verb)) {
      const look = (problem: Problem | undefined): void => {
        if (problem === undefined) return;
        // Where an earlier one of its key is not done, it comes again behind that, if it did not already.
        const isOpen = problem.kind === "out-of-order" && !this.#held.has(leaseId);
        this.#doubt(key, isOpen ? this.#queue.settle("releases", { leaseId }) : undefined);
      };
      answer.then(look, () => undefined);
    } else {
      // The leases behind it end with its own (KO3). Where that was over before they may be new ones, which nobody would settle.
      const behind = this.#readyOf(key).map((one) => this.#end(one, "releases", one.message));
      this.#doubt(key, Promise.allSettled([answer, ...behind]));
    }
    return answer;
  }

  #end(held: Held, verb: EndingVerb, entry: SettleEntry): Answer {
    const answer = this.#queue.settle(verb, entry);
    this.#drop(held, verb, answer);
    return answer;
  }

  /** When that is answered, but not before, the server can say which leases of the key are live: until then none is begun. */
  #doubt(key: string, answer: Promise<unknown> = Promise.resolve()): void {
    this.#doubtful.add(key);
    this.#close(key);
    const open = (): Promise<void> => this.#open(key);
    void answer.then(open, open);
  }

  #close(key: string): void {
    this.#closed.set(key, (this.#closed.get(key) ?? 0) + 1);
  }

  /** There is one reason less why none of the key may be begun; before the last goes, what is in doubt is asked. */
  async #open(key: string): Promise<void> {
    let isAsked = false;
    while (this.#closed.get(key) === 1 && this.#doubtful.delete(key)) {
      isAsked = true;
      await Promise.all(this.#readyOf(key).map((held) => this.#renew(held)));
    }
    const reasons = (this.#closed.get(key) ?? 0) - 1;
    if (reasons > 0) this.#closed.set(key, reasons);
    else this.#closed.delete(key);
    if (isAsked) this.#turns.begin();
  }

  #readyOf(key: string): readonly Held[] {
    return [...this.#ready].filter(({ message }) => message.key === key);
  }

  /** What the message's own methods do. */
  async #settleByProgram(held: Held, request: SettleRequest): Promise<Pick<SettleReport, "refused">> {
    const [verb, [given]] = Object.entries(request)[0] as [SettleVerb, [SettleEntry]];
    if (verb === "extends") checkLease(given);
    else checkDelay(given);
    const entry = { ...given, reason: given.reason ? reasonOf(given.reason) : undefined };
    const settling = verb === "extends" ? this.#queue.settle(verb, entry) : this.#settle(held, verb, entry);
    this.#turns.begin();
    const problem = await settling;
    return { refused: problem === undefined ? [] : [{ pointer: "", problem }] };
  }

  /** What is given back of a key makes no room before that is known to the server: it would send what comes behind it. */
  #drop(held: Held, over: EndingVerb | "lost", answer?: Promise<unknown>): void {
    if (held.over !== undefined) return;
    held.over = over;
    const { key, leaseId } = held.message;
    this.#held.delete(leaseId);
    this.#ready.delete(held);
    const free = (): void => this.#window.free(held.bytes);
    if (key === undefined || answer === undefined || isDone(over)) free();
    else answer.then(free, free);
    this.#wake();
  }

  /** Others can have what is not begun with; of a key that is worked on, the later ones are no use to them (SB13). */
  #giveBack(leaseIds: readonly string[]): void {
    const held = leaseIds.flatMap((leaseId) => this.#held.get(leaseId) ?? []);
    this.#release(held.filter((one) => this.#ready.has(one) && !this.#closed.has(one.message.key)));
    this.#turns.begin();
  }

  #release(ready: Iterable<Held>): void {
    for (const held of ready) {
      // Of a key, those behind go with the first. What cannot be given back comes back when its lease is over.
      if (held.over === undefined) this.#settle(held, "releases", held.message).catch(() => undefined);
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
    this.#lose(held);
    if (held.message.key !== undefined) this.#doubt(held.message.key);
  }

  #lose(held: Held): void {
    this.#drop(held, "lost");
    if (held.run !== undefined && --held.run.live === 0) held.run.abort.abort();
  }

  /** Goes on with a new connection, when it is known what is still held. */
  async #goOn(): Promise<void> {
    if (this.#isOnline) return;
    const losses = this.#losses;
    await Promise.all([...this.#held.values()].map((held) => this.#renew(held)));
    // Where that one is lost as well, more may be held by now.
    if (losses !== this.#losses) return;
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
