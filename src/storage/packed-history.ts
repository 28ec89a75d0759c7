// A message's attempts as they are stored, without the names of members; `null` for what is absent.
import type { RouteNote } from "../protocol/history.ts";
import type { AttemptEvent, AttemptHistory, AttemptVerdict } from "../channel/delivery-store.ts";

type PackedEvent = readonly [
  attempt: number,
  leasedAtMs: number,
  endedAtMs: number,
  verdict: AttemptVerdict,
  reader: string | null,
  reason: string | null,
  /** Absent without one. */
  route?: readonly [tier: RouteNote["tier"], reason: RouteNote["reason"], candidates: number, load: number],
];
export type PackedHistory = readonly [omitted: number, ...events: readonly PackedEvent[]];

export function packHistory({ omitted, events }: AttemptHistory): PackedHistory {
  return [omitted, ...events.map(packEvent)];
}

export function unpackHistory([omitted, ...events]: PackedHistory): AttemptHistory {
  return { omitted, events: events.map(unpackEvent) };
}

function packEvent({ attempt, leasedAtMs, endedAtMs, verdict, reader, reason, route }: AttemptEvent): PackedEvent {
  const packed = [attempt, leasedAtMs, endedAtMs, verdict, reader ?? null, reason ?? null] as const;
  return route === undefined ? packed : [...packed, [route.tier, route.reason, route.candidates, route.load]];
}

function unpackEvent([attempt, leasedAtMs, endedAtMs, verdict, reader, reason, route]: PackedEvent): AttemptEvent {
  const event = { attempt, leasedAtMs, endedAtMs, verdict, reader: reader ?? undefined, reason: reason ?? undefined };
  if (route === undefined) return event;
  const [tier, why, candidates, load] = route;
  return { ...event, route: { tier, reason: why, candidates, load } };
}
