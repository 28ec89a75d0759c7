// A consumer as programs see it. What it does is loaded with the first one: a program that only puts does not load it.
import type { CallOptions } from "./call-options.ts";
import type { CheckedConsumeOptions } from "./consume-options.ts";
import type { ConsumerParts } from "./group-member.ts";
import type { BatchHandler } from "./handlers.ts";
import { loadMachinery } from "./load-machinery.ts";
import type { PreferredMembers } from "./preferred-members.ts";
import type { Retries } from "./retries.ts";

/** Channels that are consumed together, in the order of preference. */
export interface Consumed {
  readonly channels: readonly ConsumerParts[];
  readonly retries: Retries;
}

/**
 * Made by `consume` of a channel, or of a client for several. A handler that returns has acked its message. One that throws has it retried
 * after the channel's delay, with `RetryError` after its own, with `RejectError` never. Messages of one key are worked on one after the other,
 * and one that is not done again before the later ones: of a batch, also those that were done behind it.
 *
 * When the connection is lost, nothing is begun until it is back; what is held is then renewed, and what somebody else may have by now is
 * dropped, or where it is worked on, the handler's signal aborted.
 *
 * Where other readers of its group have nothing to do, what it has taken ahead and not begun with goes to them.
 */
export class Consumer implements AsyncDisposable {
  /** Resolves when it has stopped; rejects with what ended it otherwise: an EdgeChannelError, or what `onError` or another callback threw. */
  readonly done: Promise<void>;
  readonly #members: Promise<PreferredMembers>;

  constructor({ channels, retries }: Consumed, options: CheckedConsumeOptions, handler: BatchHandler) {
    this.#members = loadMachinery(retries).then((machinery) => new machinery.PreferredMembers(channels, options, handler));
    this.done = this.#members.then(({ done }) => done);
    // Who does not look at it has chosen not to know.
    this.done.catch(() => undefined);
  }

  /**
   * Takes no more messages, finishes those that are worked on, and gives the others back. Resolves when all of it is settled. Aborting the
   * signal ends it at once: the handlers' signals are aborted, and what they work on is handed out again, over a socket at once and over HTTP
   * when its lease is over: a handler that works on although its signal was aborted may not be the only one that does.
   *
   * It waits for the handlers: awaited in one of them, it never resolves. Over HTTP its last pull is aborted. Where a proxy does not tell the
   * service of that, as that of `wrangler dev` does not, the pull may still take messages until its wait ends, up to 20 seconds later; they come
   * again when their leases are over. Over a socket none are taken.
   */
  stop(options: CallOptions = {}): Promise<void> {
    // What ends it otherwise, `done` tells.
    this.#members.then((members) => members.stop(options)).catch(() => undefined);
    return this.done;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}
