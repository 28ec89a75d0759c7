// The side of a move that has the channel: it stops, sends what it has to its new place, and keeps it or forgets it as the authority says.
import { refuseMissing, refusePut } from "../channel/life-cycle.ts";
import type { PackedOutcome } from "./packing.ts";
import type { Operation } from "../channel/operation.ts";
import type { ChannelRecord } from "../channel/store.ts";
import type { ChannelRoute } from "../protocol/placement.ts";
import type { Refusal } from "../protocol/problems.ts";
import type { ChannelHost } from "./channel-host.ts";
import type { Decision, PeerStub } from "./channel-stub.ts";
import type { Timers } from "./commit-loop.ts";
import { Shutter, type Passage } from "./shutter.ts";
import type { Whereabouts } from "./whereabouts.ts";

export interface DepartureOptions {
  readonly host: ChannelHost;
  readonly whereabouts: Whereabouts;
  readonly timers: Timers;
  readonly find: (route: ChannelRoute) => PeerStub;
}

export class Departure {
  readonly #options: DepartureOptions;
  /** Those who came since it stopped. */
  #shutter: Shutter | undefined;

  constructor(options: DepartureOptions) {
    this.#options = options;
  }

  /** Waits until it is decided whether the channel leaves. */
  wait(bytes: number): Promise<Passage> {
    this.#shutter ??= new Shutter(this.#options.timers);
    return this.#shutter.wait(bytes);
  }

  /** Whether there is a channel here. */
  get hasChannel(): boolean {
    const { record } = this.#options.host;
    return record !== undefined && record.state !== "deleted";
  }

  /** Why the channel can not leave as it is; undefined where it can. */
  refuse(): Refusal | undefined {
    const { host, whereabouts } = this.#options;
    const { record } = host;
    const missing = refuseMissing(record, whereabouts.channel);
    if (missing !== undefined || record === undefined)
      return missing ?? { kind: "unknown-channel", channel: whereabouts.channel };
    return refusePut(record) ?? host.refuseSnapshot();
  }

  /** Sends all that the channel has; from here on it does nothing until it is told to stay or to go. Rejects where that fails. */
  async leave(to: ChannelRoute): Promise<Decision> {
    const { host, whereabouts, find } = this.#options;
    const refusal = whereabouts.isSuspended
      ? ({ kind: "channel-moving", outcome: "not-applied", retryAfterMs: 1000 } as const)
      : this.refuse();
    if (refusal !== undefined) return { refusal };
    host.flush();
    // Stored before anything is copied: who wakes in the middle must not serve.
    whereabouts.write({ route: whereabouts.route, ...whereabouts.standing, state: "leaving", target: to.generation });
    host.cutAll();
    const { snapshotId } = this.#perform({ type: "begin-snapshot" }, "snapshot-begun");
    const { record } = host;
    if (record === undefined) throw new Error("The channel is gone");
    await this.#send(find(to), { to, snapshotId, record });
    return {};
  }

  /** Goes on as if nothing had been. */
  stay(generation: number): void {
    const { host, whereabouts } = this.#options;
    const { standing } = whereabouts;
    if (standing?.state !== "leaving" || standing.target !== generation) return;
    const { target: _, ...kept } = standing;
    whereabouts.write({ ...kept, state: "here" });
    host.endSnapshot();
    host.resume();
    this.#open("here");
  }

  /** Forgets the channel, which is elsewhere now; the authority keeps where. */
  async go(route: ChannelRoute): Promise<void> {
    const { host, whereabouts } = this.#options;
    if (whereabouts.isAuthority) await whereabouts.eraseChannel();
    else await whereabouts.eraseAll();
    host.reload();
    this.#open({ route });
  }

  #open(passage: Passage): void {
    this.#shutter?.open(passage);
    this.#shutter = undefined;
  }

  async #send(
    target: PeerStub,
    { to, snapshotId, record }: { readonly to: ChannelRoute; readonly snapshotId: string; readonly record: ChannelRecord },
  ): Promise<void> {
    await target.arrive({ type: "begin", route: to });
    for (let page = 1, isLast = false; !isLast; page++) {
      if (this.#options.whereabouts.standing?.target !== to.generation) throw new Error("The move was given up");
      const read = this.#perform({ type: "read-snapshot", snapshotId, page }, "snapshot-page");
      await target.arrive({ type: "page", page, bytes: read.bytes });
      ({ isLast } = read);
    }
    await target.arrive({ type: "end", record });
  }

  #perform<Type extends PackedOutcome["type"]>(operation: Operation, type: Type): Extract<PackedOutcome, { type: Type }> {
    return expectOutcome(this.#options.host.performNow(operation).outcome, type);
  }
}

/** The outcome, which has to be of that type. */
export function expectOutcome<Type extends PackedOutcome["type"]>(
  outcome: PackedOutcome,
  type: Type,
): Extract<PackedOutcome, { type: Type }> {
  if (outcome.type !== type) throw new Error(`Unexpected outcome: ${JSON.stringify(outcome)}`);
  return outcome as Extract<PackedOutcome, { type: Type }>;
}
