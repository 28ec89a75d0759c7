// What a channel tells about itself, put together from its parts.
import { computeUtilization, type PressureState } from "../protocol/description.ts";
import type { Activity } from "./activity.ts";
import type { Backlog } from "./backlog.ts";
import type { DeadLetters } from "./dead-letters.ts";
import { countEnded } from "./fates.ts";
import type { Groups } from "./groups.ts";
import type { ChannelFacts } from "./operation.ts";
import { describeRedrive } from "./redrive-job.ts";
import type { Streams } from "./streams.ts";
import type { Schedule } from "./schedule.ts";
import type { ChannelRecord } from "./store.ts";
import { findMainRegion } from "./traffic-places.ts";
import type { WaitLine } from "./wait-line.ts";

export interface DescribedParts {
  readonly backlog: Backlog;
  readonly groups: Groups;
  readonly deadLetters: DeadLetters;
  readonly schedule: Schedule;
  readonly line: WaitLine;
  readonly streams: Streams;
  readonly activity: Activity;
}

/** Depth, bytes, utilisation and waiters as they are now. */
export function describePressure({ backlog, schedule, line }: DescribedParts, { limits }: ChannelRecord): PressureState {
  const { depth, bytes } = backlog;
  const utilization = computeUtilization(depth + schedule.messages, bytes + schedule.bytes, limits);
  return { depth, bytes, utilization, waiters: line.size };
}

export function describeChannel(parts: DescribedParts, record: ChannelRecord, nowMs: number): ChannelFacts {
  const { activity, backlog, groups, deadLetters, schedule, line, streams } = parts;
  const { depth, bytes, segments, headOffset, nextOffset, putMessages, fates } = backlog;
  const { limits } = record;
  return {
    life: record.life,
    state: record.state,
    createdAtMs: record.createdAtMs,
    drainUntilMs: record.drainUntilMs,
    settings: record.settings,
    limits,
    ...describePressure(parts, record),
    segments,
    isEmpty: depth === 0,
    isFull: depth + schedule.messages >= limits.maxMessages || bytes + schedule.bytes >= limits.maxBytes,
    firstOffset: headOffset,
    nextOffset,
    waiting: line.counts,
    subscriptions: streams.counts,
    suggestedLocationHint: findMainRegion(activity.shares(nowMs)),
    delivery: describeDelivery(groups, record, nowMs),
    groups: groups.size,
    deadLetters: deadLetters.totals,
    redrive: record.redrive ? describeRedrive(record.redrive) : null,
    scheduled: { messages: schedule.messages, bytes: schedule.bytes, nextAtMs: schedule.nextAtMs ?? null },
    counts: { put: putMessages, acked: putMessages - depth - countEnded(fates), ...fates },
  };
}

/** What the depth of a queue consists of. */
function describeDelivery(groups: Groups, { settings }: ChannelRecord, nowMs: number): ChannelFacts["delivery"] {
  const found = groups.find();
  if (settings.retention !== "queue" || !found.ok) return null;
  const { ready, leased, retrying, quarantined, isLookAheadExhausted } = groups.describe(found.value, nowMs);
  return { ready, leased, retrying, quarantined, isLookAheadExhausted };
}
