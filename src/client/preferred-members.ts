// What a consumer does: it is a member of a group in each of its channels, and works for all of them with one handler.
import type { CallOptions } from "./call-options.ts";
import type { CheckedConsumeOptions } from "./consume-options.ts";
import { GroupMember, type ConsumerParts } from "./group-member.ts";
import type { BatchHandler } from "./handlers.ts";
import { Turns } from "./turns.ts";

export class PreferredMembers {
  /** Resolves when all have stopped; rejects with the first failure, which stops the others. */
  readonly done: Promise<void>;
  readonly #members: readonly GroupMember[];
  #failure: Error | undefined;

  /** @param channels In the order of preference. */
  constructor(channels: readonly ConsumerParts[], options: CheckedConsumeOptions, handler: BatchHandler) {
    const turns = new Turns(options.concurrency);
    this.#members = channels.map((parts) => new GroupMember(parts, options, handler, turns));
    this.done = this.#end();
    // Who does not look at it has chosen not to know.
    this.done.catch(() => undefined);
  }

  stop(options: CallOptions = {}): Promise<void> {
    // Why one ends otherwise, `done` tells.
    for (const member of this.#members) member.stop(options).catch(() => undefined);
    return this.done;
  }

  async #end(): Promise<void> {
    const fail = (error: Error): void => {
      this.#failure ??= error;
      void this.stop().catch(() => undefined);
    };
    await Promise.all(this.#members.map(({ done }) => done.catch(fail)));
    if (this.#failure !== undefined) throw this.#failure;
  }
}
