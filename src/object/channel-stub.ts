// What an object of a channel can be asked, by workers and by the other objects of the same channel; and how one is found.
import type { Origin } from "../channel/operation.ts";
import type { ChannelRecord } from "../channel/store.ts";
import { formatObjectName, placementOf, type ChannelRoute, type Placement } from "../protocol/placement.ts";
import type { Refusal } from "../protocol/problems.ts";
import type { Performed } from "./committer.ts";
import type { PackedOperation } from "./packing.ts";

/** The header by which a worker tells the epoch of the route that it asks by; absent for none. */
export const EPOCH_HEADER = "Edge-Epoch";
/** The header by which an object that has not the channel tells who has, with status 421. */
export const ROUTE_HEADER = "Edge-Route";

/** Of an answer to who asks the wrong object, or is one. */
export const MISDIRECTED_STATUS = 421;

/** The answer of an object that has not the channel, or not any more: it did nothing. */
export interface Misdirected {
  readonly route: ChannelRoute;
}

/** What the authority knows. */
export interface RouteNews {
  readonly route: ChannelRoute;
  /** The generation that the channel is on its way to. */
  readonly movingTo?: number;
}

/** What the authority tells the object that has the channel: to take it elsewhere, to keep it, or that it is elsewhere now. */
export type DepartOrder =
  | { readonly type: "leave"; readonly to: ChannelRoute }
  | { readonly type: "stay"; readonly generation: number }
  | { readonly type: "go"; readonly route: ChannelRoute };

/** What is brought to the object that is to have the channel: pages of a snapshot, and the record of the life that goes on. */
export type ArriveOrder =
  | { readonly type: "begin"; readonly route: ChannelRoute }
  | { readonly type: "page"; readonly page: number; readonly bytes: Uint8Array }
  | { readonly type: "end"; readonly record: ChannelRecord }
  | { readonly type: "serve"; readonly route: ChannelRoute }
  | { readonly type: "discard" };

/** A refusal, or nothing. */
export interface Decision {
  readonly refusal?: Refusal;
}

/** Refusals are values: classes thrown over RPC lose their type. */
export interface ChannelStub {
  /** `origin` names the connection and request whose promised room a put uses. `epoch`: of the route that is known. */
  perform(operation: PackedOperation, origin?: Origin, epoch?: number): Promise<Performed | Misdirected>;
  /** The upgrade of a socket. */
  fetch(request: Request): Promise<Response>;
  /** To the authority: takes the channel to another place. Answers when it is there. */
  move(placement: Placement): Promise<Decision>;
  /** To the authority: chooses the place of a channel that is to be created. */
  place(placement: Placement): Promise<Decision>;
  /** To the authority. */
  tellRoute(): Promise<RouteNews>;
  /** To the authority: the object of the generation holds nothing any more. */
  comeHome(generation: number): Promise<void>;
  depart(order: DepartOrder): Promise<Decision>;
  /** Rejects what does not fit. */
  arrive(order: ArriveOrder): Promise<void>;
}

/** What relays ask as well. */
export interface RelayedStub extends ChannelStub {
  /** A relay has no readers any more. Does nothing where the channel is elsewhere, which finds it out itself. */
  leaveRelay(relay: string): Promise<void>;
}

/** What objects of one channel ask each other. */
export type PeerStub = Pick<ChannelStub, "tellRoute" | "comeHome" | "depart" | "arrive">;

/** A fresh stub each time: one that failed may go on failing. Throws where the runtime has no such jurisdiction. */
export function findObject(namespace: DurableObjectNamespace, channel: string, route: ChannelRoute | undefined): ChannelStub {
  // The generic stub type knows nothing of our class; the two are deployed together.
  if (route === undefined) return namespace.getByName(channel) as unknown as ChannelStub;
  const { jurisdiction, ...where } = placementOf(route);
  if (route.generation === 0) return namespace.getByName(channel, where) as unknown as ChannelStub;
  const within = jurisdiction === undefined ? namespace : namespace.jurisdiction(jurisdiction);
  // The first request of all places the object for good.
  return within.getByName(formatObjectName(channel, route.generation), where) as unknown as ChannelStub;
}
