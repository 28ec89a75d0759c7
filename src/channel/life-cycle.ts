// The life of a channel: created, open, draining, closed, deleted. Decisions only; channel.ts carries them out.
import { accept, refuse, type Result } from "../base/result.ts";
import { LIMITS } from "../protocol/limits.ts";
import type { ControlEvent } from "../protocol/message.ts";
import type { Refusal } from "../protocol/problems.ts";
import { DEFAULT_SETTINGS, resolveSettings, type ChannelPatch, type Settings } from "../protocol/settings.ts";
import type { ChannelRecord, Outbox } from "./store.ts";
import type { Moment } from "./operation.ts";

/** A channel that begins now. The outbox carries its registration (rule LC9). */
export function beginLife(settings: Settings, previous: ChannelRecord | undefined, moment: Moment): ChannelRecord {
  return {
    life: moment.drawLife(),
    leaseSecret: Array.from({ length: 4 }, () => drawHex(moment)).join(""),
    state: "open",
    settings,
    limits: { maxMessages: settings.maxMessages, maxBytes: settings.maxBytes },
    createdAtMs: moment.nowMs,
    drainUntilMs: null,
    deletedAtMs: null,
    droppedMessages: 0,
    isExpired: false,
    outbox: postOutbox(previous?.outbox, moment.nowMs),
  };
}

/** 8 random hex digits. */
export function drawHex(moment: Moment): string {
  return moment.draw32().toString(16).padStart(8, "0");
}

/** The settings of a channel that first use creates. */
export const AUTO_CREATED_SETTINGS: Settings = { ...DEFAULT_SETTINGS, expireAfterIdleMs: LIMITS.autoCreatedExpireAfterIdleMs };

/** Ends a life. The tombstone answers for 24 h; a channel that expired answers as if it had never been. */
export function endLife(
  record: ChannelRecord,
  end: { nowMs: number; droppedMessages: number; isExpired: boolean },
): ChannelRecord {
  const { nowMs, droppedMessages, isExpired } = end;
  const { redrive: _, ...kept } = record;
  const outbox = postOutbox(record.outbox, nowMs);
  return {
    ...kept,
    state: "deleted",
    drainUntilMs: null,
    deletedAtMs: nowMs,
    droppedMessages,
    isExpired,
    outbox,
  };
}

/** The record with other settings or in another state, and the control records that tell of it. Changes nothing itself. */
export function patchRecord(record: ChannelRecord, patch: ChannelPatch, nowMs: number): Result<Patched, Refusal> {
  const { state = record.state, ...given } = patch;
  if (given.retention !== undefined && given.retention !== record.settings.retention) {
    return refuse({ kind: "settings-conflict", conflicts: ["retention"], current: record.settings });
  }
  const resolved = resolveSettings(given, record.settings);
  if (!resolved.ok) return resolved;
  const settings = resolved.value;
  const isResized = given.maxMessages !== undefined || given.maxBytes !== undefined;
  const limits = isResized ? { maxMessages: settings.maxMessages, maxBytes: settings.maxBytes } : record.limits;
  const isOther = limits.maxMessages !== record.limits.maxMessages || limits.maxBytes !== record.limits.maxBytes;
  const isGiven = Object.keys(given).length > 0;
  const isMoved = state !== record.state;
  const controls: ControlEvent[] = isOther ? [{ type: "resize", ...limits }] : [];
  if (isMoved && state === "draining") controls.push({ type: "close" });
  const outbox = isGiven ? postOutbox(record.outbox, nowMs) : record.outbox;
  // Who asks for a state takes back a deletion that waits for readers; asking for `draining` again does not.
  const drainUntilMs = isMoved || state === "open" ? null : record.drainUntilMs;
  return accept({
    patched: { ...record, settings, limits, outbox, state, drainUntilMs },
    controls,
    isChanged: isGiven || isMoved,
  });
}

interface Patched {
  readonly patched: ChannelRecord;
  readonly controls: readonly ControlEvent[];
  /** Whether settings were given or the state is another: the idle time begins anew. */
  readonly isChanged: boolean;
}

/**
 * Asks for the directory to be told. Versions rise over all lives of a name even after its storage was erased, since they are not
 * lower than the time in ms: a late call about an older life changes nothing there.
 */
function postOutbox(previous: Outbox | undefined, nowMs: number): Outbox {
  return { version: Math.max(nowMs, (previous?.version ?? 0) + 1), isPending: true, attempts: 0, nextAttemptAtMs: nowMs };
}

const DIRECTORY_RETRY_MS_MIN = 1000;
const DIRECTORY_RETRY_MS_MAX = 60 * 60 * 1000;

/** After an attempt to tell the directory: done, or again after 1 s, 2 s, 4 s … 1 h. */
export function settleOutbox(outbox: Outbox, isDone: boolean, nowMs: number): Outbox {
  if (isDone) return { ...outbox, isPending: false, attempts: 0 };
  const delayMs = Math.min(DIRECTORY_RETRY_MS_MAX, DIRECTORY_RETRY_MS_MIN * 2 ** Math.min(outbox.attempts, 30));
  return { ...outbox, attempts: outbox.attempts + 1, nextAttemptAtMs: nowMs + delayMs };
}

/** The refusal of an operation that needs a channel that exists. */
export function refuseMissing(record: ChannelRecord | undefined, channel: string): Refusal | undefined {
  if (record === undefined || record.isExpired) return { kind: "unknown-channel", channel };
  return record.state === "deleted" ? refuseDeleted(record) : undefined;
}

export function refuseDeleted({ deletedAtMs, droppedMessages }: ChannelRecord): Refusal {
  return { kind: "channel-deleted", deletedAtMs: deletedAtMs ?? 0, droppedMessages };
}

export function refusePut(record: ChannelRecord): Refusal | undefined {
  if (record.state === "draining") return { kind: "channel-draining", drainUntilMs: record.drainUntilMs };
  return record.state === "closed" ? { kind: "channel-closed" } : undefined;
}

export function refuseGet(record: ChannelRecord): Refusal | undefined {
  return record.state === "closed" ? { kind: "channel-closed" } : undefined;
}

/**
 * When the channel has to be looked at though nobody asks; undefined for never. The idle time begins at the last use, and is left out
 * without it; `dueAtMs` is when something comes due that the record does not tell.
 */
export function computeNextAlarm(
  record: ChannelRecord,
  { readLastUseMs, dueAtMs }: { readLastUseMs: (() => number) | undefined; dueAtMs: number | undefined },
): number | undefined {
  const times: number[] = [];
  if (dueAtMs !== undefined) times.push(dueAtMs);
  if (record.outbox.isPending) times.push(record.outbox.nextAttemptAtMs);
  if (record.state === "draining" && record.drainUntilMs !== null) times.push(record.drainUntilMs);
  if (record.state === "deleted" && !record.outbox.isPending) times.push(forgetAtMs(record));
  if (record.state !== "deleted" && record.settings.expireAfterIdleMs !== null && readLastUseMs !== undefined) {
    times.push(Math.max(readLastUseMs(), record.createdAtMs) + record.settings.expireAfterIdleMs);
  }
  return times.length === 0 ? undefined : Math.min(...times);
}

/** Whether nothing of a deleted channel has to be remembered any more. */
export function isForgotten(record: ChannelRecord, nowMs: number): boolean {
  return record.state === "deleted" && !record.outbox.isPending && nowMs >= forgetAtMs(record);
}

function forgetAtMs(record: ChannelRecord): number {
  // An expired life is kept as long, though it answers nothing: the version of its outbox must not start over too soon.
  return (record.deletedAtMs ?? 0) + LIMITS.tombstoneMs;
}
