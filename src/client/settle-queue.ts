// Settles many leases in few calls: what comes in one tick, and while a call is on the way, goes together.
import { SETTLE_ENTRIES_MAX } from "../protocol/client-limits.ts";
import { LeaseRun } from "../protocol/lease-run.ts";
import type { Problem } from "../protocol/problems.ts";
import { EdgeChannelError } from "./edge-channel-error.ts";
import type { Retries } from "./retries.ts";
import type { LeaseRef, SettleReport, SettleRequest, Transport } from "./transport.ts";

export type SettleVerb = "acks" | "retries" | "extends" | "rejects" | "releases";

/** Terms that the verb does not have are left out. */
export interface SettleEntry extends LeaseRef {
  readonly delayMs?: number | undefined;
  readonly reason?: string | undefined;
  readonly leaseMs?: number | undefined;
}

interface Waiting {
  readonly verb: SettleVerb;
  readonly entry: SettleEntry;
  readonly resolve: (problem: Problem | undefined | Promise<Problem | undefined>) => void;
  readonly reject: (error: unknown) => void;
  readonly answer: Promise<Problem | undefined>;
}

/**
 * What an earlier try of the call that settled it leaves behind, by verb. Of an ack nothing but `settled`: who retried or released the message
 * meanwhile has not done it.
 */
const OWN_TRACES: Partial<Record<SettleVerb, RegExp>> = {
  acks: /settled/,
  rejects: /settled/,
  retries: /settled|retried/,
  releases: /settled|released/,
};

/** Whether the message is over by it, and handed out to nobody again. */
export function isDone(verb: SettleVerb | "lost" | undefined): boolean {
  return verb === "acks" || verb === "rejects";
}

/**
 * One call is on the way at a time, so that acks of a key arrive in their order. A call that may have failed is repeated: a lease ends only
 * once, so that does no harm.
 */
export class SettleQueue {
  readonly #transport: Transport;
  readonly #retries: Retries;
  readonly #signal: AbortSignal;
  readonly #onAnswer: (ms: number) => void;
  /**
   * By lease: a call names each once, so what comes later takes the place, and its answer is that to both. An extension is asked for behind
   * what ends the message.
   */
  readonly #waiting = new Map<string, Waiting>();
  #sending: Promise<void> | undefined;
  /** The call that is on the way. */
  #sent: readonly Waiting[] = [];
  #isEnding = false;

  /**
   * @param signal Aborting it gives up what is not answered.
   * @param onAnswer Told how long each call that was answered took.
   */
  constructor(transport: Transport, retries: Retries, signal: AbortSignal, onAnswer: (ms: number) => void) {
    this.#transport = transport;
    this.#retries = retries;
    this.#signal = signal;
    this.#onAnswer = onAnswer;
  }

  /** Resolves when the server has answered: with the problem for which it was refused, if it was. */
  settle(verb: SettleVerb, entry: SettleEntry): Promise<Problem | undefined> {
    const before = this.#waiting.get(entry.leaseId);
    if (before !== undefined && verb === "extends" && isDone(before.verb))
      return before.answer.then(() => this.settle(verb, entry));
    this.#take(entry);
    const { promise: answer, resolve, reject } = Promise.withResolvers<Problem | undefined>();
    before?.resolve(answer);
    this.#waiting.set(entry.leaseId, { verb, entry, resolve, reject, answer });
    this.#sending ??= this.#sendAll();
    return answer;
  }

  /** The leases of what is not answered. */
  get unanswered(): readonly string[] {
    return [...this.#sent.map(({ entry }) => entry.leaseId), ...this.#waiting.keys()];
  }

  /** Settles when all that was settled so far is answered; undefined where it is. */
  get sending(): Promise<void> | undefined {
    return this.#sending;
  }

  /** Resolves when all is answered, or was tried as often as other calls are: before this is called there is no limit. */
  async finish(): Promise<void> {
    this.#isEnding = true;
    await this.#sending;
  }

  #take({ leaseId }: LeaseRef): Waiting | undefined {
    const waiting = this.#waiting.get(leaseId);
    this.#waiting.delete(leaseId);
    return waiting;
  }

  async #sendAll(): Promise<void> {
    // What else is due now goes along.
    await Promise.resolve();
    while (this.#waiting.size > 0) {
      const part = [...this.#waiting.values()].slice(0, SETTLE_ENTRIES_MAX);
      if (part.length === this.#waiting.size) this.#waiting.clear();
      else for (const { entry } of part) this.#take(entry);
      this.#sent = part;
      await this.#send(part);
      this.#sent = [];
    }
    this.#sending = undefined;
  }

  async #send(part: readonly Waiting[]): Promise<void> {
    const runs = listRuns(part);
    const lists: Partial<Record<SettleVerb, SettleEntry[]>> = {};
    const byPointer = new Map<string, Run>();
    for (const run of runs) {
      const entry = { ...run.terms, ...(run.leases.count > 1 && { count: run.leases.count }) };
      byPointer.set(`/${run.verb}/${(lists[run.verb] ??= []).push(entry) - 1}/leaseId`, run);
    }
    let tries = 0;
    let report: SettleReport | undefined;
    try {
      const call = async (): Promise<void> => {
        tries++;
        const startedAtMs = this.#retries.now();
        // Only extends need a term, and those have it.
        report = await this.#transport.settle(lists as SettleRequest, { signal: this.#signal });
        this.#onAnswer(this.#retries.now() - startedAtMs);
      };
      await this.#retries.keepUp(call, { signal: this.#signal, mayGiveUp: () => this.#isEnding });
      if (report === undefined) throw EdgeChannelError.aborted("Cannot settle", this.#signal, "unknown");
    } catch (error) {
      // Of another life of the channel, or not ours: no lease in any case.
      const problem = error instanceof EdgeChannelError && error.kind === "invalid-lease" ? error.problem : undefined;
      for (const { resolve, reject } of part) {
        if (problem === undefined) reject(error);
        else resolve(problem);
      }
      return;
    }
    for (const { pointer, problem } of report.refused) {
      const run = byPointer.get(pointer);
      const ownTraces = run && OWN_TRACES[run.verb];
      const isOwnTrace = tries > 1 && problem.kind === "lease-lost" && ownTraces?.test(problem.cause) === true;
      if (!isOwnTrace) findRefused(run, problem)?.resolve(problem);
    }
    // For those that were told a problem nothing changes any more.
    for (const { resolve } of part) resolve(undefined);
  }
}

/** Leases that one entry names. */
interface Run {
  readonly verb: SettleVerb;
  /** Those of the first, which all of them have. */
  readonly terms: SettleEntry;
  readonly leases: LeaseRun;
  readonly members: Waiting[];
}

function listRuns(part: readonly Waiting[]): readonly Run[] {
  const runs: Run[] = [];
  const open: Partial<Record<SettleVerb, Run>> = {};
  for (const waiting of part) {
    const { verb, entry } = waiting;
    const run = open[verb];
    if (run !== undefined && hasTermsOf(entry, run.terms) && run.leases.take(entry.leaseId)) run.members.push(waiting);
    else runs.push((open[verb] = { verb, terms: entry, leases: new LeaseRun(entry.leaseId), members: [waiting] }));
  }
  return runs;
}

function hasTermsOf(entry: SettleEntry, { delayMs, reason, leaseMs }: SettleEntry): boolean {
  return entry.delayMs === delayMs && entry.reason === reason && entry.leaseMs === leaseMs;
}

function findRefused(run: Run | undefined, problem: Problem): Waiting | undefined {
  const isOfOne = problem.kind === "lease-lost" || problem.kind === "out-of-order";
  const place = isOfOne ? run?.leases.placeOf(problem.offset) : undefined;
  return run?.members[place ?? 0];
}
