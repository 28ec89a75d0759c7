// Which ids of requests are in use.
import type { Operation, Origin } from "./operation.ts";
import type { Streams } from "./streams.ts";
import type { Traffic } from "./traffic.ts";

interface RequestParts {
  readonly streams: Streams;
  readonly traffic: Traffic;
}

/** Whether a subscription has the id of an operation, or the last request with it ended by time and nobody was told yet (rules SB1, WT10). */
export function isIdInUse({ streams, traffic }: RequestParts, origin: Origin, operation: Operation): boolean {
  if (streams.find(origin) !== undefined) return true;
  const usesPromise = operation.type === "put" && operation.isPromised === true;
  return !usesPromise && (traffic.hasUntoldEnd(origin) || streams.hasUntoldEnd(origin));
}
