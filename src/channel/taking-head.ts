// The short way to take messages while nothing is open: in one stretch from the head.
import type { Backlog } from "./backlog.ts";
import type { Taken, TakeRequest } from "./delivery-terms.ts";

/** Takes `min` to `max` messages, or says how many of fewer than `min` fit. */
export function takeFromHead(backlog: Backlog, { min, max, bytesMax }: Pick<TakeRequest, "min" | "max" | "bytesMax">): Taken {
  const stretch = backlog.plan({ messagesMax: max, bytesMax });
  const { selection, controls } = stretch;
  if (selection.count < min) return { type: "too-large", count: selection.count };
  backlog.take(stretch);
  return { type: "taken", selection, controls, leases: [], redelivered: [] };
}
