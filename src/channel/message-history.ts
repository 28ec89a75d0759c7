// The history of a message (SPEC section HS), put together from what is kept of it: its record, its leases and pauses, its dead letters.
import type { AttemptStep, GroupHistory, MessageHistory } from "../protocol/history.ts";
import type { Message } from "../protocol/message.ts";
import { parseSource } from "../protocol/source.ts";
import { NO_ATTEMPTS } from "./attempt-history.ts";
import type { Backlog } from "./backlog.ts";
import type { DeadLetterFate } from "./dead-letter-store.ts";
import type { DeadLetters } from "./dead-letters.ts";
import type { AttemptEvent, AttemptHistory, Lease } from "./delivery-store.ts";
import type { Group, Groups } from "./groups.ts";
import { countMessagesBefore } from "./log-reading.ts";

export interface HistoryParts {
  readonly backlog: Backlog;
  readonly groups: Groups;
  readonly deadLetters: DeadLetters;
}

/** What happened to the message at `offset`; undefined when neither it nor a dead letter of it is kept. */
export function findHistory(parts: HistoryParts, offset: number, nowMs: number): MessageHistory | undefined {
  const { backlog, groups, deadLetters } = parts;
  const fates = deadLetters.findFates(offset);
  const kept = backlog.read(offset);
  const message = kept ?? (fates.length > 0 ? deadLetters.read(offset) : undefined);
  if (message === undefined) return undefined;
  const histories: GroupHistory[] = [];
  const place = { offset, before: kept === undefined ? 0 : countMessagesBefore(backlog, offset) };
  for (const group of kept === undefined ? [] : groups.all()) {
    const at = fates.findIndex((one) => one.groupId === group.id && one.group === group.name);
    const [fate] = at < 0 ? [] : fates.splice(at, 1);
    histories.push(describeInGroup(backlog, group, { ...place, fate, nowMs }));
  }
  // Those of groups that are deleted, and all of a message that is not in the log any more.
  histories.push(...fates.map(describeFate));
  return { offset, put: describePut(message), groups: histories };
}

function describePut({ putAtMs, source, redrivenFrom }: Message): MessageHistory["put"] {
  const { continent: _, ...from } = source === undefined ? {} : parseSource(source);
  return { atMs: putAtMs, ...from, ...(redrivenFrom !== undefined && { redrivenFrom }) };
}

function describeInGroup(
  backlog: Backlog,
  { name, delivery, view }: Group,
  {
    offset,
    before,
    fate,
    nowMs,
  }: {
    readonly offset: number;
    /** Messages of the life before this one. */
    readonly before: number;
    readonly fate: DeadLetterFate | undefined;
    readonly nowMs: number;
  },
): GroupHistory {
  const lease = delivery.findLease(offset);
  if (lease !== undefined) {
    const { events, omitted } = formatHistory(lease.history);
    return { group: name, state: "leased", attempts: lease.attempt, events: [...events, formatLease(lease)], omitted };
  }
  const deferred = delivery.findDeferred(offset);
  if (deferred !== undefined) {
    const { isQuarantined, dueAtMs, attempts, history } = deferred;
    const state = isQuarantined ? "quarantined" : dueAtMs > nowMs ? "retrying" : "ready";
    return { group: name, state, attempts, ...formatHistory(history) };
  }
  const untouched = { group: name, attempts: 0, events: [], omitted: 0 };
  if ((view ?? backlog).isKept(offset)) return { ...untouched, state: "ready" };
  if (fate !== undefined) return describeFate(fate);
  return { ...untouched, state: view !== undefined && before < view.startMessages ? "skipped" : "acked" };
}

function describeFate({ group, attempts, history }: DeadLetterFate): GroupHistory {
  return { group, state: "dead-lettered", attempts, ...formatHistory(history) };
}

function formatHistory({ events, omitted }: AttemptHistory = NO_ATTEMPTS): { events: AttemptStep[]; omitted: number } {
  return { events: events.map(formatEvent), omitted };
}

function formatEvent({ attempt, reader, route, leasedAtMs, endedAtMs, verdict, reason }: AttemptEvent): AttemptStep {
  return {
    attempt,
    ...(reader !== undefined && { reader }),
    ...(route !== undefined && { route }),
    leasedAtMs,
    endedAtMs,
    verdict,
    ...(reason !== undefined && { reason }),
  };
}

function formatLease({ attempt, reader, route, leasedAtMs }: Lease): AttemptStep {
  return { attempt, ...(reader !== undefined && { reader }), ...(route !== undefined && { route }), leasedAtMs };
}
