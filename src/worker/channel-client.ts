// Asks the object of a channel. What goes wrong on the way becomes a refusal.
import type { Operation, Origin } from "../channel/operation.ts";
import type { ChannelStub } from "../object/channel-object.ts";
import type { Performed } from "../object/committer.ts";
import type { Env } from "../object/env.ts";
import { logWarning } from "../object/log.ts";
import { packOperation, type PackedOutcome } from "../object/packing.ts";
import type { PressureState } from "../protocol/description.ts";
import { RefusalError } from "./refusal-error.ts";

const UNAVAILABLE_RETRY_AFTER_MS = 1000;
const NO_STATE: PressureState = { depth: 0, bytes: 0, utilization: 0, waiters: 0 };

type Refused = Extract<PackedOutcome, { type: "refused" }>;
type Accepted = Exclude<PackedOutcome, Refused>;

export interface Answer<Type extends Accepted["type"]> {
  readonly outcome: Extract<Accepted, { type: Type }>;
  readonly state: PressureState;
  readonly description: Performed["description"];
}

/** A fresh stub each time: one that failed may go on failing. */
function stubOf(env: Env, channel: string): ChannelStub {
  // The generic stub type knows nothing of our class; the two are deployed together.
  return env.CHANNELS.getByName(channel) as unknown as ChannelStub;
}

/** Performs an operation and returns its answer, of one of `types`; throws its refusal. */
export async function ask<Type extends Accepted["type"]>(
  env: Env,
  channel: string,
  operation: Operation,
  types: readonly Type[],
  origin?: Origin,
): Promise<Answer<Type>> {
  const { outcome, state, description } = await perform(env, channel, operation, origin);
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
    return await stubOf(env, channel).fetch(request);
  } catch (error) {
    throw refuseUnavailable(channel, "upgrade", error);
  }
}

async function perform(env: Env, channel: string, operation: Operation, origin: Origin | undefined): Promise<Performed> {
  try {
    const stub = stubOf(env, channel);
    const packed = packOperation(operation);
    return await (origin === undefined ? stub.perform(packed) : stub.perform(packed, origin));
  } catch (error) {
    throw refuseUnavailable(channel, operation.type, error);
  }
}

/** An overloaded object refused the call; otherwise it may or may not have been carried out. */
function refuseUnavailable(channel: string, operation: string, error: unknown): RefusalError {
  logWarning("channel-unavailable", { channel, operation }, error);
  const isOverloaded = error instanceof Error && "overloaded" in error && error.overloaded === true;
  const outcome = isOverloaded ? "not-applied" : "unknown";
  return new RefusalError({ kind: "unavailable", outcome, retryAfterMs: UNAVAILABLE_RETRY_AFTER_MS });
}
