// The side of a move that the channel is brought to: it takes the pages, and serves the channel when the authority's route names it.
import type { ChannelRecord } from "../channel/store.ts";
import type { ChannelRoute } from "../protocol/placement.ts";
import type { ChannelHost } from "./channel-host.ts";
import type { ArriveOrder } from "./channel-stub.ts";
import { expectOutcome } from "./departure.ts";
import type { Whereabouts } from "./whereabouts.ts";

export class Arrival {
  readonly #host: ChannelHost;
  readonly #whereabouts: Whereabouts;
  #restoreId: string | undefined;

  constructor(host: ChannelHost, whereabouts: Whereabouts) {
    this.#host = host;
    this.#whereabouts = whereabouts;
  }

  async take(order: ArriveOrder): Promise<void> {
    switch (order.type) {
      case "begin":
        return this.#begin(order.route);
      case "page":
        return this.#takePage(order.page, order.bytes);
      case "end":
        return this.#end(order.record);
      case "serve":
        return this.serve(order.route);
      case "discard":
        return await this.discard();
    }
  }

  /** The authority's route names this object: it has the channel, or is to create it. */
  serve(route: ChannelRoute): void {
    const { generation, standing } = this.#whereabouts;
    if (route.generation !== generation) throw new Error(`The route names generation ${route.generation} and not ${generation}`);
    if (standing?.state === "here") return;
    // Nothing was brought: it is to be created, or it comes to nothing.
    this.#whereabouts.write({ state: "here", route, ...(standing === undefined && { isNew: true }) });
    this.#host.resume();
  }

  /** There is a channel: nothing has to be looked at any more. */
  noteCreated(): void {
    this.#whereabouts.write({ state: "here", route: this.#whereabouts.route });
  }

  /** Forgets what was brought. Not so what it serves. */
  async discard(): Promise<void> {
    const { standing } = this.#whereabouts;
    if (standing !== undefined && standing.state !== "arriving") return;
    this.#restoreId = undefined;
    await this.#whereabouts.eraseAll();
    this.#host.reload();
  }

  #begin(route: ChannelRoute): void {
    if (this.#whereabouts.standing !== undefined) throw new Error("Something was brought here already");
    if (route.generation !== this.#whereabouts.generation) throw new Error("The route names another object");
    this.#whereabouts.write({ state: "arriving", route });
    this.#restoreId = expectOutcome(this.#host.performNow({ type: "begin-restore" }).outcome, "restore-begun").restoreId;
    this.#host.arm();
  }

  #takePage(page: number, bytes: Uint8Array): void {
    const restoreId = this.#restore();
    expectOutcome(this.#host.performNow({ type: "stage-page", restoreId, page, bytes }).outcome, "page-staged");
  }

  #end(record: ChannelRecord): void {
    const restoreId = this.#restore();
    expectOutcome(this.#host.performNow({ type: "commit-restore", restoreId, record }).outcome, "restored");
  }

  #restore(): string {
    if (this.#whereabouts.standing?.state !== "arriving" || this.#restoreId === undefined)
      throw new Error("Nothing was begun here");
    return this.#restoreId;
  }
}
