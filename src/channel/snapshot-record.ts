// The record of a channel as a snapshot carries it: what a life needs to go on under another name, and nothing that belongs to one life.
import { parseJson, parseWith } from "../protocol/fault.ts";
import { DEFAULT_SETTINGS, resolveSettings } from "../protocol/settings.ts";
import { carriedRecordSchema } from "../protocol/snapshot.ts";
import { beginLife } from "./life-cycle.ts";
import type { Moment } from "./operation.ts";
import type { ChannelRecord } from "./store.ts";

type CarriedRecord = Pick<ChannelRecord, "state" | "settings" | "limits" | "createdAtMs" | "drainUntilMs" | "redrive">;

export function formatRecord({ state, settings, limits, createdAtMs, drainUntilMs, redrive = null }: ChannelRecord): string {
  const carried: CarriedRecord = { state, settings, limits, createdAtMs, drainUntilMs, redrive };
  return JSON.stringify(carried);
}

/** Undefined where the text is none that `formatRecord` writes. */
export function parseRecord(text: string): CarriedRecord | undefined {
  const json = parseJson(text);
  const carried = json.ok ? parseWith(carriedRecordSchema, json.value) : json;
  if (!carried.ok) return undefined;
  const settings = resolveSettings(carried.value.settings, DEFAULT_SETTINGS);
  return settings.ok ? { ...carried.value, settings: settings.value } : undefined;
}

/** The record of a channel that goes on from a snapshot: a life of its own, so that lease ids of the first are refused. */
export function resumeLife(carried: CarriedRecord, previous: ChannelRecord | undefined, moment: Moment): ChannelRecord {
  return { ...beginLife(carried.settings, previous, moment), ...carried, leasesEndedAtMs: moment.nowMs };
}
