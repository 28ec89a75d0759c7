// A message's attempts as they are stored, without the names of members; `null` for what is absent.
import type { AttemptEvent, AttemptHistory, AttemptVerdict } from "../channel/delivery-store.ts";

type PackedEvent = readonly [
  attempt: number,
  leasedAtMs: number,
  endedAtMs: number,
  verdict: AttemptVerdict,
  reader: string | null,
  reason: string | null,
];
export type PackedHistory = readonly [omitted: number, ...events: readonly PackedEvent[]];

export function packHistory({ omitted, events }: AttemptHistory): PackedHistory {
  return [omitted, ...events.map(packEvent)];
}

export function unpackHistory([omitted, ...events]: PackedHistory): AttemptHistory {
  return { omitted, events: events.map(unpackEvent) };
}

function packEvent({ attempt, leasedAtMs, endedAtMs, verdict, reader, reason }: AttemptEvent): PackedEvent {
  return [attempt, leasedAtMs, endedAtMs, verdict, reader ?? null, reason ?? null];
}

function unpackEvent([attempt, leasedAtMs, endedAtMs, verdict, reader, reason]: PackedEvent): AttemptEvent {
  return { attempt, leasedAtMs, endedAtMs, verdict, reader: reader ?? undefined, reason: reason ?? undefined };
}
