// What a channel tells of its readers, for all in this program who watch it over the same connection.
import type { PresenceFrame } from "../protocol/stream-frames.ts";
import { KeptSubscription } from "./kept-subscription.ts";
import type { PresenceEvent, PresenceOptions, Watched } from "./presence-options.ts";
import type { StreamingTransport } from "./transport.ts";

/** What waits to be taken at most: where more comes, the counts stand for all of it. */
const EVENTS_MAX = 1_000;

/** A connection watches once. */
const watches = new WeakMap<StreamingTransport, PresenceWatch>();

export async function* watchPresence(watched: Watched): AsyncGenerator<PresenceEvent, void, undefined> {
  const { transport, options, over } = watched;
  const signal = AbortSignal.any([options.signal ?? over, over]);
  if (signal.aborted) return;
  const watch = watches.get(transport) ?? new PresenceWatch(watched);
  watches.set(transport, watch);
  const watcher = new Watcher(options.onReconnect);
  const end = (): void => {
    watch.remove(watcher);
    watcher.end(undefined);
  };
  signal.addEventListener("abort", end);
  watch.add(watcher);
  try {
    yield* watcher.events();
  } finally {
    signal.removeEventListener("abort", end);
    end();
  }
}

/** What one of those who watch has not taken yet. */
class Watcher {
  readonly onLost: PresenceOptions["onReconnect"];
  #events: PresenceEvent[] = [];
  #ended: { readonly error: Error | undefined } | undefined;
  #wake: () => void = () => undefined;

  constructor(onLost: PresenceOptions["onReconnect"]) {
    this.onLost = onLost;
  }

  async *events(): AsyncGenerator<PresenceEvent, void, undefined> {
    for (;;) {
      const event = this.#events.shift();
      if (event !== undefined) yield event;
      else if (this.#ended === undefined) await new Promise<void>((resolve) => (this.#wake = resolve));
      else if (this.#ended.error !== undefined) throw this.#ended.error;
      else return;
    }
  }

  /** `count`: how many readers there are behind the events. */
  receive(events: readonly PresenceEvent[], count: () => PresenceEvent): void {
    const isTooMuch = this.#events.length + events.length > EVENTS_MAX;
    this.#events = isTooMuch ? [count()] : [...this.#events, ...events];
    this.#wake();
  }

  /** With an error behind what has come. */
  end(error: Error | undefined): void {
    if (error === undefined) this.#events = [];
    this.#ended = { error };
    this.#wake();
  }
}

class PresenceWatch {
  readonly #parts: Pick<Watched, "transport" | "retries">;
  readonly #watchers = new Set<Watcher>();
  /** Readers at each colo, as far as they were told. */
  readonly #colos = new Map<string | null, number>();
  #isTold = false;
  #kept: KeptSubscription<PresenceFrame> | undefined;

  constructor({ transport, retries }: Watched) {
    this.#parts = { transport, retries };
  }

  add(watcher: Watcher): void {
    this.#watchers.add(watcher);
    if (this.#isTold) watcher.receive([this.#count()], this.#count);
    this.#kept ??= this.#begin();
  }

  remove(watcher: Watcher): void {
    if (!this.#watchers.delete(watcher) || this.#watchers.size > 0) return;
    const kept = this.#kept;
    this.#forget();
    kept?.end();
  }

  #begin(): KeptSubscription<PresenceFrame> {
    const kept = new KeptSubscription<PresenceFrame>({
      ...this.#parts,
      makeRequest: () => ({ type: "presence" }),
      onBegin: () => undefined,
      onDeliver: (frame) => {
        const events = this.#take(frame);
        for (const watcher of this.#watchers) watcher.receive(events, this.#count);
      },
      onLost: (error) => {
        this.#isTold = false;
        for (const { onLost } of this.#watchers) onLost?.(error);
      },
      onEnd: (error) => {
        // Else nobody watches any more, or another one has begun.
        if (kept !== this.#kept) return;
        this.#forget();
        for (const watcher of this.#watchers) watcher.end(error);
        this.#watchers.clear();
      },
    });
    return kept;
  }

  #take(frame: PresenceFrame): readonly PresenceEvent[] {
    if (frame.type === "present") {
      const { type, readers, colos } = frame;
      this.#colos.clear();
      for (const told of colos) this.#colos.set(told.colo, told.readers);
      this.#isTold = true;
      return [{ type, readers, colos }];
    }
    return frame.changes.map(({ change, reader, colo }) => {
      const readers = (this.#colos.get(colo) ?? 0) + (change === "join" ? 1 : -1);
      if (readers > 0) this.#colos.set(colo, readers);
      else this.#colos.delete(colo);
      return { type: change, reader, colo };
    });
  }

  /** How many there are now. */
  readonly #count = (): PresenceEvent => {
    const colos = [...this.#colos].map(([colo, readers]) => ({ colo, readers })).sort((a, b) => b.readers - a.readers);
    return { type: "present", readers: colos.reduce((sum, { readers }) => sum + readers, 0), colos };
  };

  #forget(): void {
    this.#kept = undefined;
    this.#isTold = false;
  }
}
