// Asks the object of a channel. What goes wrong on the way becomes a refusal.
import type { Operation, Origin } from "../channel/operation.ts";
import { EPOCH_HEADER, findObject, ROUTE_HEADER, type Decision, type Misdirected } from "../object/channel-stub.ts";
import type { Performed } from "../object/committer.ts";
import type { Env } from "../object/env.ts";
import { logWarning } from "../object/log.ts";
import { packOperation, type PackedOperation, type PackedOutcome } from "../object/packing.ts";
import type { PressureState } from "../protocol/description.ts";
import { HOME_ROUTE, leadsOn, parseRoute, type ChannelRoute, type Placement } from "../protocol/placement.ts";
import { RefusalError } from "./refusal-error.ts";
import { routesOf } from "./route-cache.ts";

const UNAVAILABLE_RETRY_AFTER_MS = 1000;
const NO_STATE: PressureState = { depth: 0, bytes: 0, utilization: 0, waiters: 0 };

type Refused = Extract<PackedOutcome, { type: "refused" }>;
type Accepted = Exclude<PackedOutcome, Refused>;

export interface Answer<Type extends Accepted["type"]> {
  readonly outcome: Extract<Accepted, { type: Type }>;
  readonly state: PressureState;
  readonly description: Performed["description"];
}

export interface AskOptions {
  /** The connection and request whose promised room a put uses. */
  readonly origin?: Origin;
  /** Whether messages that are taken are wanted in a binary frame. */
  readonly isFramed?: boolean;
}

/** Performs an operation and returns its answer, of one of `types`; throws its refusal. */
export async function ask<Type extends Accepted["type"]>(
  env: Env,
  channel: string,
  operation: Operation,
  types: readonly Type[],
  options: AskOptions = {},
): Promise<Answer<Type>> {
  const { outcome, state, description } = await perform(env, channel, operation, options);
  if (outcome.type === "refused") throw new RefusalError(outcome.refusal);
  if (!isOneOf(outcome, types)) throw new Error(`Unexpected outcome ${outcome.type} of ${operation.type}`);
  return { outcome, state: state ?? NO_STATE, description };
}

function isOneOf<Type extends Accepted["type"]>(
  outcome: Accepted,
  types: readonly Type[],
): outcome is Extract<Accepted, { type: Type }> {
  return types.some((type) => type === outcome.type);
}

/** Sends a request to the object itself: the upgrade of a socket. */
export async function fetchFrom(env: Env, channel: string, request: Request): Promise<Response> {
  try {
    const known = routesOf(env).find(channel);
    const reply = await findObject(env.CHANNELS, channel, known).fetch(withEpoch(request, known));
    const route = parseRoute(reply.headers.get(ROUTE_HEADER));
    if (route === undefined) return reply;
    const next = follow(env, channel, { route, known });
    const second = await findObject(env.CHANNELS, channel, next).fetch(withEpoch(request, next));
    if (second.headers.has(ROUTE_HEADER)) throw refuseLost(env, channel);
    return second;
  } catch (error) {
    throw refuseUnavailable(channel, "upgrade", error);
  }
}

/** Takes a channel to another place. Throws the refusal. */
export async function moveChannel(env: Env, channel: string, placement: Placement): Promise<void> {
  await askAuthority(env, channel, "move", placement);
  // Where it is now is asked for.
  routesOf(env).forget(channel);
}

/** Chooses the place of a channel that is to be created. Throws the refusal, also where it exists and is elsewhere. */
export async function placeChannel(env: Env, channel: string, placement: Placement): Promise<void> {
  await askAuthority(env, channel, "place", placement);
}

/** The first request to the authority of all places it for good. */
async function askAuthority(env: Env, channel: string, what: "move" | "place", placement: Placement): Promise<void> {
  const authority = findObject(env.CHANNELS, channel, what === "place" ? { ...HOME_ROUTE, ...placement } : HOME_ROUTE);
  const deciding: Promise<Decision> = what === "place" ? authority.place(placement) : authority.move(placement);
  const { refusal } = await deciding.catch((error: unknown) => {
    throw refuseUnavailable(channel, what, error);
  });
  if (refusal !== undefined) throw new RefusalError(refusal);
}

async function perform(env: Env, channel: string, operation: Operation, { origin, isFramed }: AskOptions): Promise<Performed> {
  try {
    const known = routesOf(env).find(channel);
    const stub = findObject(env.CHANNELS, channel, known);
    const packed = packOperation(operation, { isFramed });
    // Most channels never moved, and most calls have no origin.
    const performed = await (known !== undefined || origin !== undefined
      ? stub.perform(packed, origin, known?.epoch)
      : stub.perform(packed));
    return "route" in performed ? await performThere(env, channel, { packed, origin, route: performed.route, known }) : performed;
  } catch (error) {
    throw refuseUnavailable(channel, operation.type, error);
  }
}

/** Once more, where the object that was asked says that the channel is. */
async function performThere(
  env: Env,
  channel: string,
  { packed, origin, route, known }: Signpost & { readonly packed: PackedOperation; readonly origin: Origin | undefined },
): Promise<Performed> {
  const next = follow(env, channel, { route, known });
  // The connection that it is of was to the other object, and what it was promised there ended with it.
  if (origin !== undefined) throw refuseLost(env, channel);
  const performed = await findObject(env.CHANNELS, channel, next).perform(packed, undefined, next.epoch);
  if ("route" in performed) throw refuseLost(env, channel);
  return performed;
}

interface Signpost extends Misdirected {
  /** By which the object was asked that told the route. */
  readonly known: ChannelRoute | undefined;
}

/** Keeps the route of the answer. Throws where it leads nowhere. */
function follow(env: Env, channel: string, { route, known }: Signpost): ChannelRoute {
  if (!leadsOn(route, known)) throw refuseLost(env, channel);
  routesOf(env).keep(channel, route);
  return route;
}

/** Nobody did anything. The authority is asked the next time. */
function refuseLost(env: Env, channel: string): RefusalError {
  routesOf(env).forget(channel);
  return new RefusalError({ kind: "unavailable", outcome: "not-applied", retryAfterMs: 0 });
}

function withEpoch(request: Request, route: ChannelRoute | undefined): Request {
  const sent = new Request(request);
  if (route === undefined) sent.headers.delete(EPOCH_HEADER);
  else sent.headers.set(EPOCH_HEADER, String(route.epoch));
  return sent;
}

/** An overloaded object refused the call; otherwise it may or may not have been carried out. */
function refuseUnavailable(channel: string, operation: string, error: unknown): RefusalError {
  if (error instanceof RefusalError) return error;
  logWarning("channel-unavailable", { channel, operation }, error);
  const isOverloaded = error instanceof Error && "overloaded" in error && error.overloaded === true;
  const outcome = isOverloaded ? "not-applied" : "unknown";
  return new RefusalError({ kind: "unavailable", outcome, retryAfterMs: UNAVAILABLE_RETRY_AFTER_MS });
}
