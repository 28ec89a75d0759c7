// The door of an object: lets in who asks for the channel that is here, and tells everybody else where it is. SPEC section NM.
import type { Origin } from "../channel/operation.ts";
import { HOME_ROUTE, type ChannelRoute, type Placement } from "../protocol/placement.ts";
import { Arrival } from "./arrival.ts";
import type { ChannelHost } from "./channel-host.ts";
import {
  EPOCH_HEADER,
  MISDIRECTED_STATUS,
  ROUTE_HEADER,
  type ArriveOrder,
  type ChannelStub,
  type Decision,
  type DepartOrder,
  type Misdirected,
  type PeerStub,
  type RouteNews,
} from "./channel-stub.ts";
import type { Timers } from "./commit-loop.ts";
import type { Performed } from "./committer.ts";
import { Departure } from "./departure.ts";
import { logWarning } from "./log.ts";
import { Mover } from "./mover.ts";
import type { PackedOperation } from "./packing.ts";
import { replyWithProblem } from "./problem-reply.ts";
import type { Passage } from "./shutter.ts";
import type { Whereabouts } from "./whereabouts.ts";

const BUSY = { kind: "channel-moving", outcome: "not-applied", retryAfterMs: 1000 } as const;

export interface ObjectDoorOptions {
  readonly host: ChannelHost;
  readonly whereabouts: Whereabouts;
  readonly timers: Timers;
  readonly nowMs: () => number;
  readonly sync: () => Promise<void>;
  /** Another object of the same channel. */
  readonly find: (route: ChannelRoute) => PeerStub;
  /** Answers the upgrade of a socket. */
  readonly accept: (request: Request) => Response;
}

export class ObjectDoor implements ChannelStub {
  readonly #options: ObjectDoorOptions;
  readonly #host: ChannelHost;
  readonly #whereabouts: Whereabouts;
  readonly #departure: Departure;
  readonly #arrival: Arrival;
  readonly #mover: Mover;

  constructor(options: ObjectDoorOptions) {
    const { host, whereabouts, nowMs, sync, find, timers } = options;
    this.#options = options;
    this.#host = host;
    this.#whereabouts = whereabouts;
    this.#departure = new Departure({ host, whereabouts, timers, find });
    this.#arrival = new Arrival(host, whereabouts);
    this.#mover = new Mover({ whereabouts, departure: this.#departure, nowMs, find, sync, arm: () => host.arm() });
  }

  perform(operation: PackedOperation, origin?: Origin, epoch?: number): Promise<Performed | Misdirected> {
    return this.#whereabouts.serves(epoch) ? this.#host.perform(operation, origin) : this.#performLater(operation, origin, epoch);
  }

  fetch(request: Request): Promise<Response> {
    const header = request.headers.get(EPOCH_HEADER);
    const epoch = header === null ? undefined : Number(header);
    return this.#whereabouts.serves(epoch) ? Promise.resolve(this.#options.accept(request)) : this.#fetchLater(request, epoch);
  }

  move(placement: Placement): Promise<Decision> {
    return this.#mover.move(placement);
  }

  place(placement: Placement): Promise<Decision> {
    return Promise.resolve(this.#mover.place(placement));
  }

  tellRoute(): Promise<RouteNews> {
    return Promise.resolve(this.#mover.tellRoute());
  }

  comeHome(generation: number): Promise<void> {
    this.#mover.comeHome(generation);
    this.#host.resume();
    return Promise.resolve();
  }

  async depart(order: DepartOrder): Promise<Decision> {
    if (order.type === "leave") return await this.#departure.leave(order.to);
    if (order.type === "stay") this.#departure.stay(order.generation);
    else await this.#departure.go(order.route);
    return {};
  }

  arrive(order: ArriveOrder): Promise<void> {
    return this.#arrival.take(order);
  }

  /** Looks how a move stands, and whether there still is a channel; for the alarm. May run twice. */
  async look(): Promise<void> {
    const { standing, isAuthority } = this.#whereabouts;
    if (standing === undefined) return;
    try {
      if (isAuthority) await this.#mover.look();
      else if (standing.state !== "here") await this.#askAuthority();
      else if (this.#host.isForgotten || (standing.isNew === true && this.#host.record === undefined)) await this.#giveUp();
      else if (standing.isNew === true) this.#arrival.noteCreated();
    } catch (error) {
      // The next alarm looks again.
      logWarning("look-failed", { channel: this.#whereabouts.channel, generation: this.#whereabouts.generation }, error);
    }
  }

  /** Nothing is left of the channel: its name is the authority's again. */
  async #giveUp(): Promise<void> {
    this.#whereabouts.confirm();
    await this.#authority().comeHome(this.#whereabouts.generation);
    await this.#whereabouts.eraseAll();
    this.#host.reload();
  }

  async #performLater(
    operation: PackedOperation,
    origin: Origin | undefined,
    epoch: number | undefined,
  ): Promise<Performed | Misdirected> {
    const passage = await this.#pass(epoch, "block" in operation ? operation.block.byteLength : 0);
    if (passage === "here") return await this.#host.perform(operation, origin);
    return passage === "busy" ? { outcome: { type: "refused", refusal: BUSY }, state: null } : passage;
  }

  async #fetchLater(request: Request, epoch: number | undefined): Promise<Response> {
    const passage = await this.#pass(epoch, 0);
    if (passage === "here") return this.#options.accept(request);
    if (passage === "busy") return replyWithProblem(BUSY);
    return new Response(null, { status: MISDIRECTED_STATUS, headers: { [ROUTE_HEADER]: JSON.stringify(passage.route) } });
  }

  async #pass(epoch: number | undefined, bytes: number): Promise<Passage> {
    const { standing, route, isAuthority } = this.#whereabouts;
    if (standing?.state === "leaving") return await this.#departure.wait(bytes);
    if (!isAuthority) {
      const news = await this.#askAuthority();
      return this.#whereabouts.serves(epoch) ? "here" : { route: news.route };
    }
    return { route };
  }

  /** Finds out from the authority what this object has to do. */
  async #askAuthority(): Promise<RouteNews> {
    const { generation } = this.#whereabouts;
    const news = await this.#authority().tellRoute();
    const { route, movingTo } = news;
    const { standing } = this.#whereabouts;
    this.#whereabouts.postponeLook();
    if (standing?.state === "leaving") {
      if (route.generation !== generation) await this.#departure.go(route);
      else if (movingTo !== standing.target) this.#departure.stay(standing.target ?? 0);
    } else if (route.generation === generation) this.#arrival.serve(route);
    else if (standing?.state === "arriving" && movingTo !== generation) await this.#arrival.discard();
    return news;
  }

  #authority(): PeerStub {
    return this.#options.find(HOME_ROUTE);
  }
}
