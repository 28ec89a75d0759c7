// Which readers a channel has, as programs see it. What it does is loaded with the first one: most programs never ask.
import { loadMachinery } from "./load-machinery.ts";
import { MessageIterator } from "./message-iterator.ts";
import type { PresenceEvent, PresenceOptions, Watched } from "./presence-options.ts";
import type { SubscriptionParts } from "./subscription.ts";
import { needStreams } from "./transport.ts";

/**
 * How many readers there are at each colo, then who joins, leaves and expires; after a lost connection, and where changes can not be told one
 * by one, how many there are again: `Channel.readers` lists them. Begins when the first event is asked for. Ends cleanly when its signal is
 * aborted, and by `return` and disposal; with an EdgeChannelError when the server ends it (`channel-closed`, `channel-deleted`) or refuses it.
 */
export class Presence extends MessageIterator<PresenceEvent> {
  readonly #watched: Watched;
  readonly #over = new AbortController();

  constructor({ transport, retries }: SubscriptionParts, options: PresenceOptions) {
    super();
    this.#watched = { transport: needStreams(transport, "watch presence"), retries, options, over: this.#over.signal };
  }

  protected async *iterate(): AsyncGenerator<PresenceEvent, void, undefined> {
    yield* (await loadMachinery(this.#watched.retries)).watchPresence(this.#watched);
  }

  protected leave(): void {
    this.#over.abort();
  }
}
