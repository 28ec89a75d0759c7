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

const settingsEntries = {
  maxMessages: v.optional(maxMessagesSchema),
  maxBytes: v.optional(maxBytesSchema),
  maxMessageBytes: v.optional(wholeNumber(1, LIMITS.messageBytesMax)),
  /** A full channel multiplies its limits by `factor`, up to these; `null` for never. */
  growth: v.optional(v.nullable(growthSchema)),
  /** Deletes the channel when it was empty and unchanged for so long; `null` for never. */
  expireAfterIdleMs: v.optional(v.nullable(wholeNumber(LIMITS.expireAfterIdleMsMin, LIMITS.expireAfterIdleMsMax))),
  /** How long an idempotency key is kept. */
  idempotencyWindowMs: v.optional(wholeNumber(LIMITS.idempotencyWindowMsMin, LIMITS.idempotencyWindowMsMax)),
};

/** The body of `PUT /v1/channels/{channel}`: every member is optional. */
export const givenSettingsSchema = v.strictObject(settingsEntries);

/** The body of `PATCH /v1/channels/{channel}`: settings to change, and the state to go to. */
export const channelPatchSchema = v.strictObject({
  ...settingsEntries,
  state: v.optional(v.picklist(["open", "draining", "closed"], "Expected open, draining or closed")),
});

export type GivenSettings = v.InferOutput<typeof givenSettingsSchema>;
export type ChannelPatch = v.InferOutput<typeof channelPatchSchema>;

interface Growth {
  readonly factor: number;
  readonly maxMessages: number;
  readonly maxBytes: number;
}

export interface Settings {
  readonly maxMessages: number;
  readonly maxBytes: number;
  readonly maxMessageBytes: number;
  readonly growth: Growth | null;
  readonly expireAfterIdleMs: number | null;
  readonly idempotencyWindowMs: number;
}

export const DEFAULT_SETTINGS: Settings = {
  maxMessages: LIMITS.channelMessagesDefault,
  maxBytes: LIMITS.channelBytesDefault,
  maxMessageBytes: LIMITS.channelMessageBytesDefault,
  growth: null,
  expireAfterIdleMs: null,
  idempotencyWindowMs: LIMITS.idempotencyWindowMsDefault,
};

/** Lays what is given over `base` and checks what only the whole can show. */
export function resolveSettings(given: GivenSettings, base: Settings): Result<Settings, InvalidRequest> {
  const settings: Settings = {
    maxMessages: given.maxMessages ?? base.maxMessages,
    maxBytes: given.maxBytes ?? base.maxBytes,
    maxMessageBytes: given.maxMessageBytes ?? base.maxMessageBytes,
    growth: given.growth === undefined ? base.growth : given.growth,
    expireAfterIdleMs: given.expireAfterIdleMs === undefined ? base.expireAfterIdleMs : given.expireAfterIdleMs,
    idempotencyWindowMs: given.idempotencyWindowMs ?? base.idempotencyWindowMs,
  };
  const { growth, maxMessages, maxBytes } = settings;
  if (growth !== null && growth.maxMessages < maxMessages) {
    return refuse(invalidRequest("/growth/maxMessages", `Expected at least maxMessages, ${maxMessages}`));
  }
  if (growth !== null && growth.maxBytes < maxBytes) {
    return refuse(invalidRequest("/growth/maxBytes", `Expected at least maxBytes, ${maxBytes}`));
  }
  return accept(settings);
}

/** Names the given members whose values differ from `current`. */
export function findConflicts(given: GivenSettings, current: Settings): string[] {
  return Object.entries(given)
    .filter(([name, value]) => value !== undefined && !isSameValue(value, current[name as keyof Settings]))
    .map(([name]) => name);
}

function isSameValue(a: number | Growth | null, b: number | Growth | null): boolean {
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return a === b;
  return a.factor === b.factor && a.maxMessages === b.maxMessages && a.maxBytes === b.maxBytes;
}
