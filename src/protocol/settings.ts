// A channel's settings: what may be given at creation and changed in use.
import * as v from "valibot";
import { accept, refuse, type Result } from "../base/result.ts";
import { invalidRequest, type InvalidRequest } from "./fault.ts";
import { LIMITS } from "./limits.ts";

export function wholeNumber(min: number, max: number): v.GenericSchema<number> {
  return v.pipe(
    v.number(),
    v.integer("Expected a whole number"),
    v.minValue(min, `Expected at least ${min}`),
    v.maxValue(max, `Expected at most ${max}`),
  );
}

export const LOCALITIES = ["origin", "channel", "none"] as const;
export const STRATEGY_NAMES = ["pow2", "least-loaded", "round-robin", "consistent-hash", "pow2-cached"] as const;
/** From where distance is measured: the place of a message's origin, the channel's own place, or not at all. */
export type Locality = (typeof LOCALITIES)[number];
export type StrategyName = (typeof STRATEGY_NAMES)[number];

function listNames(names: readonly string[]): string {
  return `${names.slice(0, -1).join(", ")} or ${names.at(-1) ?? ""}`;
}

/** The schema of an object that takes no list: valibot takes an empty one for an object whose members are all optional. */
function refuseLists<Schema extends v.GenericSchema>(schema: Schema): Schema {
  const run: Schema["~run"] = (dataset, config) =>
    schema["~run"](Array.isArray(dataset.value) ? { ...dataset, value: "a list" } : dataset, config);
  return { ...schema, "~run": run };
}

export const leaseMsSchema = wholeNumber(LIMITS.leaseMsMin, LIMITS.leaseMsMax);

const maxMessagesSchema = wholeNumber(1, LIMITS.channelMessagesMax);
const maxBytesSchema = wholeNumber(1, LIMITS.channelBytesMax);

const growthSchema = v.strictObject({
  factor: v.pipe(
    v.number(),
    v.minValue(LIMITS.growthFactorMin, `Expected at least ${LIMITS.growthFactorMin}`),
    v.maxValue(LIMITS.growthFactorMax, `Expected at most ${LIMITS.growthFactorMax}`),
  ),
  maxMessages: maxMessagesSchema,
  maxBytes: maxBytesSchema,
});

export const deliverySchema = refuseLists(
  v.strictObject({
    /** How often a message is handed out at most; 0 and 1 for once, -1 without limit. */
    maxAttempts: v.optional(wholeNumber(-1, LIMITS.maxAttemptsMax)),
    /** Pauses before the second attempt, the third … the last for all further ones; `null` for 1 s to 5 min, growing, with jitter. */
    retryDelaysMs: v.optional(
      v.nullable(
        v.pipe(
          v.array(wholeNumber(0, LIMITS.retryDelayMsMax), "Expected a list of delays in ms"),
          v.minLength(1, "Expected at least one delay"),
          v.maxLength(LIMITS.retryDelaysMax, `Expected at most ${LIMITS.retryDelaysMax} delays`),
        ),
      ),
    ),
    /** What becomes of a message after its last attempt: it leaves for the dead letters, or stays and stops its key. */
    onExhausted: v.optional(v.picklist(["dead-letter", "quarantine"], "Expected dead-letter or quarantine")),
    /** Messages that may be leased at the same time. */
    maxInFlight: v.optional(wholeNumber(1, LIMITS.inFlightMax)),
    /** What members should be near to: where a message was put, the channel itself, or nothing. */
    locality: v.optional(v.picklist(LOCALITIES, `Expected ${listNames(LOCALITIES)}`)),
    /** How long a message waits for busy members nearby before it goes farther. */
    localityWaitMs: v.optional(wholeNumber(0, LIMITS.localityWaitMsMax)),
    /** With more messages waiting than this, none waits for members nearby. */
    localityDepth: v.optional(wholeNumber(0, LIMITS.localityDepthMax)),
    /** Which one of several members that are equally near. */
    strategy: v.optional(v.picklist(STRATEGY_NAMES, `Expected ${listNames(STRATEGY_NAMES)}`)),
  }),
);

/** `null` in each: a share of what the channel can hold. */
const marksSchema = refuseLists(
  v.strictObject({
    highMessages: v.optional(v.nullable(maxMessagesSchema)),
    lowMessages: v.optional(v.nullable(wholeNumber(0, LIMITS.channelMessagesMax))),
    highBytes: v.optional(v.nullable(maxBytesSchema)),
    lowBytes: v.optional(v.nullable(wholeNumber(0, LIMITS.channelBytesMax))),
  }),
);

const settingsEntries = {
  maxMessages: v.optional(maxMessagesSchema),
  maxBytes: v.optional(maxBytesSchema),
  maxMessageBytes: v.optional(wholeNumber(1, LIMITS.messageBytesMax)),
  /** A full channel multiplies its limits by `factor`, up to these; `null` for never. */
  growth: v.optional(v.nullable(growthSchema)),
  /** Where producers that watch the channel are told to slow down, and that they need not any more. */
  marks: v.optional(marksSchema),
  /** Deletes the channel when it was empty and unchanged for so long; `null` for never. */
  expireAfterIdleMs: v.optional(v.nullable(wholeNumber(LIMITS.expireAfterIdleMsMin, LIMITS.expireAfterIdleMsMax))),
  /** How messages are handed out by leases, in groups that say nothing else. */
  delivery: v.optional(deliverySchema),
  /** How long messages are kept; for the whole life of the channel. */
  retention: v.optional(v.picklist(["queue", "interest", "log"], "Expected queue, interest or log")),
  /** In a log, gives up messages that are older; `null` for never. */
  maxAgeMs: v.optional(v.nullable(wholeNumber(LIMITS.maxAgeMsMin, LIMITS.maxAgeMsMax))),
  /** How long a message is worth handing out that says nothing itself; `null` for ever. */
  messageTtlMs: v.optional(v.nullable(wholeNumber(LIMITS.ttlMsMin, LIMITS.ttlMsMax))),
  /** What becomes of a message whose time is over. */
  onExpired: v.optional(v.picklist(["drop", "dead-letter"], "Expected drop or dead-letter")),
  /** With retention by interest and no group: refuse puts, or take and drop what is put. */
  whenNoGroups: v.optional(v.picklist(["refuse", "drop"], "Expected refuse or drop")),
  /** How long an idempotency key is kept. */
  idempotencyWindowMs: v.optional(wholeNumber(LIMITS.idempotencyWindowMsMin, LIMITS.idempotencyWindowMsMax)),
  /** How long a commit waits for more operations: fewer rows at low rates, for so much more latency. */
  commitDelayMs: v.optional(wholeNumber(0, LIMITS.commitDelayMsMax)),
  /** From how many connections for plain reading at a colo on they read by a relay of it; 1 for always, `null` for never. */
  relays: v.optional(v.nullable(v.strictObject({ from: wholeNumber(1, LIMITS.relaysFromMax) }))),
};

/** The body of `PUT /v1/channels/{channel}`: every member is optional. */
export const givenSettingsSchema = v.strictObject(settingsEntries);

/** The body of `PATCH /v1/channels/{channel}`: settings to change, and the state to go to. */
export const channelPatchSchema = v.strictObject({
  ...settingsEntries,
  state: v.optional(v.picklist(["open", "draining", "closed"], "Expected open, draining or closed")),
});

export type GivenDelivery = v.InferOutput<typeof deliverySchema>;
type GivenMarks = v.InferOutput<typeof marksSchema>;
export type GivenSettings = v.InferOutput<typeof givenSettingsSchema>;
export type ChannelPatch = v.InferOutput<typeof channelPatchSchema>;

interface Growth {
  readonly factor: number;
  readonly maxMessages: number;
  readonly maxBytes: number;
}

/** High marks are reached from below, low ones from above; null is 80 % and 50 % of what the channel can hold. */
interface Marks {
  readonly highMessages: number | null;
  readonly lowMessages: number | null;
  readonly highBytes: number | null;
  readonly lowBytes: number | null;
}

export interface DeliverySettings {
  readonly maxAttempts: number;
  readonly retryDelaysMs: readonly number[] | null;
  readonly onExhausted: "dead-letter" | "quarantine";
  readonly maxInFlight: number;
  readonly locality: Locality;
  readonly localityWaitMs: number;
  readonly localityDepth: number;
  readonly strategy: StrategyName;
}

/**
 * `queue`: one group; a message goes when it is settled. `interest`: a message goes when every group has done with it. `log`: messages stay
 * up to the limits, for any number of groups.
 */
export type Retention = "queue" | "interest" | "log";

export interface Settings {
  readonly maxMessages: number;
  readonly maxBytes: number;
  readonly maxMessageBytes: number;
  readonly growth: Growth | null;
  readonly marks: Marks;
  readonly expireAfterIdleMs: number | null;
  readonly delivery: DeliverySettings;
  readonly retention: Retention;
  readonly maxAgeMs: number | null;
  readonly whenNoGroups: "refuse" | "drop";
  readonly messageTtlMs: number | null;
  readonly onExpired: "drop" | "dead-letter";
  readonly idempotencyWindowMs: number;
  readonly commitDelayMs: number;
  readonly relays: { readonly from: number } | null;
}

export const DEFAULT_SETTINGS: Settings = {
  maxMessages: LIMITS.channelMessagesDefault,
  maxBytes: LIMITS.channelBytesDefault,
  maxMessageBytes: LIMITS.channelMessageBytesDefault,
  growth: null,
  marks: { highMessages: null, lowMessages: null, highBytes: null, lowBytes: null },
  expireAfterIdleMs: null,
  delivery: {
    maxAttempts: LIMITS.maxAttemptsDefault,
    retryDelaysMs: null,
    onExhausted: "dead-letter",
    maxInFlight: LIMITS.inFlightMax,
    locality: "origin",
    localityWaitMs: LIMITS.localityWaitMsDefault,
    localityDepth: LIMITS.localityDepthDefault,
    strategy: "pow2",
  },
  retention: "queue",
  maxAgeMs: null,
  whenNoGroups: "refuse",
  messageTtlMs: null,
  onExpired: "drop",
  idempotencyWindowMs: LIMITS.idempotencyWindowMsDefault,
  commitDelayMs: 0,
  relays: { from: LIMITS.relaysFromDefault },
};

/** Lays what is given over `base` and checks what only the whole can show. */
export function resolveSettings(given: GivenSettings, base: Settings): Result<Settings, InvalidRequest> {
  const settings: Settings = {
    maxMessages: given.maxMessages ?? base.maxMessages,
    maxBytes: given.maxBytes ?? base.maxBytes,
    maxMessageBytes: given.maxMessageBytes ?? base.maxMessageBytes,
    growth: given.growth === undefined ? base.growth : given.growth,
    marks: resolveMarks(given.marks ?? {}, base.marks),
    expireAfterIdleMs: given.expireAfterIdleMs === undefined ? base.expireAfterIdleMs : given.expireAfterIdleMs,
    delivery: resolveDelivery(given.delivery ?? {}, base.delivery),
    retention: given.retention ?? base.retention,
    maxAgeMs: given.maxAgeMs === undefined ? base.maxAgeMs : given.maxAgeMs,
    whenNoGroups: given.whenNoGroups ?? base.whenNoGroups,
    messageTtlMs: given.messageTtlMs === undefined ? base.messageTtlMs : given.messageTtlMs,
    onExpired: given.onExpired ?? base.onExpired,
    idempotencyWindowMs: given.idempotencyWindowMs ?? base.idempotencyWindowMs,
    commitDelayMs: given.commitDelayMs ?? base.commitDelayMs,
    relays: given.relays === undefined ? base.relays : given.relays,
  };
  const { growth, maxMessages, maxBytes } = settings;
  if (growth !== null && growth.maxMessages < maxMessages) {
    return refuse(invalidRequest("/growth/maxMessages", `Expected at least maxMessages, ${maxMessages}`));
  }
  if (growth !== null && growth.maxBytes < maxBytes) {
    return refuse(invalidRequest("/growth/maxBytes", `Expected at least maxBytes, ${maxBytes}`));
  }
  const { highMessages, lowMessages, highBytes, lowBytes } = settings.marks;
  if (highMessages !== null && lowMessages !== null && lowMessages >= highMessages)
    return refuse(invalidRequest("/marks/lowMessages", `Expected less than highMessages, ${highMessages}`));
  if (highBytes !== null && lowBytes !== null && lowBytes >= highBytes)
    return refuse(invalidRequest("/marks/lowBytes", `Expected less than highBytes, ${highBytes}`));
  if (settings.maxAgeMs !== null && settings.retention !== "log")
    return refuse(invalidRequest("/maxAgeMs", "Expected null: only a log keeps messages by age"));
  if (settings.retention === "log" && growth !== null)
    return refuse(invalidRequest("/growth", "Expected null: a log is never full"));
  return accept(settings);
}

function resolveMarks(given: GivenMarks, base: Marks): Marks {
  const { highMessages = base.highMessages, lowMessages = base.lowMessages } = given;
  const { highBytes = base.highBytes, lowBytes = base.lowBytes } = given;
  return { highMessages, lowMessages, highBytes, lowBytes };
}

/** Lays what a group or a channel says over `base`. */
export function resolveDelivery(given: GivenDelivery, base: DeliverySettings): DeliverySettings {
  return {
    maxAttempts: given.maxAttempts ?? base.maxAttempts,
    retryDelaysMs: given.retryDelaysMs === undefined ? base.retryDelaysMs : given.retryDelaysMs,
    onExhausted: given.onExhausted ?? base.onExhausted,
    maxInFlight: given.maxInFlight ?? base.maxInFlight,
    locality: given.locality ?? base.locality,
    localityWaitMs: given.localityWaitMs ?? base.localityWaitMs,
    localityDepth: given.localityDepth ?? base.localityDepth,
    strategy: given.strategy ?? base.strategy,
  };
}

/** Names the given members whose values differ from `current`. */
export function findConflicts(given: GivenSettings, current: Settings): string[] {
  const { delivery, marks, ...rest } = given;
  return [
    ...findDifferent(rest, current, ""),
    ...findDifferent(delivery ?? {}, current.delivery, "delivery."),
    ...findDifferent(marks ?? {}, current.marks, "marks."),
  ];
}

function findDifferent(given: object, current: object, prefix: string): string[] {
  return Object.entries(given)
    .filter(([name, value]) => value !== undefined && !isSameValue(value, current[name as keyof typeof current]))
    .map(([name]) => prefix + name);
}

function isSameValue(a: unknown, b: unknown): boolean {
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return a === b;
  const names = Object.keys(a);
  const inBoth = names.every((name) => isSameValue(a[name as keyof typeof a], b[name as keyof typeof b]));
  return inBoth && names.length === Object.keys(b).length;
}
