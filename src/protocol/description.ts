// What the service says about a channel: the state on every reply, and the full description.
import * as v from "valibot";
import { type DeliverySettings, LOCALITIES, type Settings, STRATEGY_NAMES } from "./settings.ts";

/** A whole number in a reply. */
export const count = v.pipe(v.number(), v.integer());

/** Back-pressure at the commit that a reply reports: on each put and get reply, as headers or as a member. */
export interface PressureState {
  /** Messages that wait to be taken. */
  readonly depth: number;
  readonly bytes: number;
  /** The larger of messages and bytes over their limits: 0 empty, 1 full, more after a channel was shrunk. */
  readonly utilization: number;
  /** Puts and gets that wait. */
  readonly waiters: number;
}

export const pressureStateSchema = v.object({
  depth: count,
  bytes: count,
  utilization: v.number(),
  waiters: count,
});

/** A group of readers. `put` counts from its start: `put = depth + acked + deadLettered + removed + dropped + expired + skipped` (G4). */
export interface GroupDescription {
  readonly group: string;
  readonly createdAtMs: number;
  readonly isPaused: boolean;
  readonly settings: DeliverySettings;
  /** After how long without a reader it ends by itself; null where it does not. */
  readonly expireAfterIdleMs: number | null;
  /** The first record that the group has not done with. */
  readonly headOffset: number;
  readonly depth: number;
  readonly ready: number;
  readonly leased: number;
  readonly retrying: number;
  readonly quarantined: number;
  readonly isLookAheadExhausted: boolean;
  readonly counts: {
    readonly put: number;
    readonly acked: number;
    readonly deadLettered: number;
    readonly removed: number;
    readonly dropped: number;
    readonly expired: number;
    readonly skipped: number;
  };
}

export type Lifecycle = "open" | "draining" | "closed" | "deleted";

/** A redrive that moves so many dead letters a second. */
export interface RedriveDescription {
  readonly ratePerSecond: number;
  readonly startedAtMs: number;
  /** Dead letters that were put again so far. */
  readonly moved: number;
  /** Where it goes on. */
  readonly nextOffset: number;
}

export const redriveDescriptionSchema = v.object({ ratePerSecond: count, startedAtMs: count, moved: count, nextOffset: count });

/** The reply of `GET /v1/channels/{channel}`. Counts are those of this life of the name. */
export interface ChannelDescription extends PressureState {
  readonly channel: string;
  readonly life: string;
  readonly state: Lifecycle;
  readonly createdAtMs: number;
  readonly drainUntilMs: number | null;
  readonly settings: Settings;
  /** The limits in force: the settings, or what the channel has grown to. */
  readonly limits: { readonly maxMessages: number; readonly maxBytes: number };
  readonly segments: number;
  readonly isEmpty: boolean;
  readonly isFull: boolean;
  /** The offset of the next record that a get would look at, and the one that the next put receives. */
  readonly firstOffset: number;
  readonly nextOffset: number;
  readonly waiting: { readonly gets: number; readonly puts: number };
  /** Streams that are open: members of groups, and plain readers. */
  readonly subscriptions: { readonly members: number; readonly readers: number };
  readonly connections: number;
  /** Which of the objects of its name has it, where that was asked to be, and in which colo it is, where that is known (SPEC NM). */
  readonly place: {
    readonly epoch: number;
    readonly generation: number;
    readonly locationHint: string | null;
    readonly jurisdiction: string | null;
    readonly colo: string | null;
  };
  /** Where most of the traffic comes from lately, if that is not where the channel is, as far as is known; null else. */
  readonly suggestedLocationHint: string | null;
  /** The relays by which others read, each its colo and which one of that colo it is. */
  readonly relays: readonly string[];
  /** What the depth of a queue consists of; null elsewhere, where each group has its own. */
  readonly delivery: null | {
    /** Not handed out: may be had now, or waits for an earlier message of its key. */
    readonly ready: number;
    readonly leased: number;
    readonly retrying: number;
    readonly quarantined: number;
    /** So many messages wait for others or came back that delivery looks no further for new ones. */
    readonly isLookAheadExhausted: boolean;
  };
  /** How many groups there are. */
  readonly groups: number;
  readonly deadLetters: { readonly messages: number; readonly bytes: number };
  /** The redrive with a rate that runs; null without one. */
  readonly redrive: RedriveDescription | null;
  /** Delayed messages: they have no offset yet and are not in `depth`, but count against the limits and in `utilization`. */
  readonly scheduled: { readonly messages: number; readonly bytes: number; readonly nextAtMs: number | null };
  /** Conservation (G4): `put = depth + acked + removed + deadLettered + dropped + expired`. */
  readonly counts: {
    readonly put: number;
    readonly acked: number;
    readonly removed: number;
    readonly deadLettered: number;
    readonly dropped: number;
    readonly expired: number;
  };
  /** Rows written and read since the object woke. */
  readonly rows: { readonly written: number; readonly read: number; readonly sinceMs: number };
}

const deliveryDescriptionSchema = v.object({
  maxAttempts: v.pipe(v.number(), v.integer()),
  retryDelaysMs: v.nullable(v.pipe(v.array(count), v.readonly())),
  onExhausted: v.picklist(["dead-letter", "quarantine"]),
  maxInFlight: count,
  locality: v.picklist(LOCALITIES),
  localityWaitMs: count,
  localityDepth: count,
  strategy: v.picklist(STRATEGY_NAMES),
});

const settingsDescriptionSchema = v.object({
  maxMessages: count,
  maxBytes: count,
  maxMessageBytes: count,
  growth: v.nullable(v.object({ factor: v.number(), maxMessages: count, maxBytes: count })),
  marks: v.object({
    highMessages: v.nullable(count),
    lowMessages: v.nullable(count),
    highBytes: v.nullable(count),
    lowBytes: v.nullable(count),
  }),
  expireAfterIdleMs: v.nullable(count),
  delivery: deliveryDescriptionSchema,
  retention: v.picklist(["queue", "interest", "log"]),
  maxAgeMs: v.nullable(count),
  whenNoGroups: v.picklist(["refuse", "drop"]),
  messageTtlMs: v.nullable(count),
  onExpired: v.picklist(["drop", "dead-letter"]),
  idempotencyWindowMs: count,
  commitDelayMs: count,
  relays: v.nullable(v.object({ from: count })),
});

export const channelDescriptionSchema = v.object({
  ...pressureStateSchema.entries,
  channel: v.string(),
  life: v.string(),
  state: v.picklist(["open", "draining", "closed", "deleted"]),
  createdAtMs: count,
  drainUntilMs: v.nullable(count),
  settings: settingsDescriptionSchema,
  limits: v.object({ maxMessages: count, maxBytes: count }),
  segments: count,
  isEmpty: v.boolean(),
  isFull: v.boolean(),
  firstOffset: count,
  nextOffset: count,
  waiting: v.object({ gets: count, puts: count }),
  subscriptions: v.object({ members: count, readers: count }),
  connections: count,
  place: v.object({
    epoch: count,
    generation: count,
    locationHint: v.nullable(v.string()),
    jurisdiction: v.nullable(v.string()),
    colo: v.nullable(v.string()),
  }),
  suggestedLocationHint: v.nullable(v.string()),
  relays: v.pipe(v.array(v.string()), v.readonly()),
  delivery: v.nullable(
    v.object({ ready: count, leased: count, retrying: count, quarantined: count, isLookAheadExhausted: v.boolean() }),
  ),
  groups: count,
  deadLetters: v.object({ messages: count, bytes: count }),
  redrive: v.nullable(redriveDescriptionSchema),
  scheduled: v.object({ messages: count, bytes: count, nextAtMs: v.nullable(count) }),
  counts: v.object({ put: count, acked: count, removed: count, deadLettered: count, dropped: count, expired: count }),
  rows: v.object({ written: count, read: count, sinceMs: count }),
});

/** An entry of `GET /v1/channels`. */
export const channelEntrySchema = v.object({ channel: v.string(), createdAtMs: count, settings: settingsDescriptionSchema });

export interface ChannelEntry {
  readonly channel: string;
  readonly createdAtMs: number;
  readonly settings: Settings;
}

/** How far a channel is filled, from 0; more than 1 after it was shrunk below its depth. */
export function computeUtilization(depth: number, bytes: number, limits: { maxMessages: number; maxBytes: number }): number {
  const utilization = Math.max(depth / limits.maxMessages, bytes / limits.maxBytes);
  return Math.round(utilization * 10_000) / 10_000;
}

export const groupDescriptionSchema = v.object({
  group: v.string(),
  createdAtMs: count,
  isPaused: v.boolean(),
  settings: deliveryDescriptionSchema,
  expireAfterIdleMs: v.nullable(count),
  headOffset: count,
  depth: count,
  ready: count,
  leased: count,
  retrying: count,
  quarantined: count,
  isLookAheadExhausted: v.boolean(),
  counts: v.object({
    put: count,
    acked: count,
    deadLettered: count,
    removed: count,
    dropped: count,
    expired: count,
    skipped: count,
  }),
});
