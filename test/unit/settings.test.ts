// Settings: ranges, what only the whole can show, and what differs.
import * as v from "valibot";
import { describe, expect, test } from "vitest";
import { computeUtilization } from "../../src/protocol/description.ts";
import { parseWith } from "../../src/protocol/fault.ts";
import { changeGroupBodySchema } from "../../src/protocol/group-routes.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import {
  channelPatchSchema,
  DEFAULT_SETTINGS,
  deliverySchema,
  findConflicts,
  givenSettingsSchema,
  resolveSettings,
  wholeNumber,
  type Settings,
} from "../../src/protocol/settings.ts";

const GROWTH = { factor: 2, maxMessages: 2_000_000, maxBytes: 2 ** 31 };

describe("src/protocol/settings", () => {
  test("[AD1] every setting is optional, and the defaults are valid", () => {
    expect(v.is(givenSettingsSchema, {})).toBe(true);
    expect(v.is(givenSettingsSchema, DEFAULT_SETTINGS)).toBe(true);
    expect(resolveSettings({}, DEFAULT_SETTINGS)).toEqual({ ok: true, value: DEFAULT_SETTINGS });
  });

  test.each([
    ["maxMessages", 1, LIMITS.channelMessagesMax],
    ["maxBytes", 1, LIMITS.channelBytesMax],
    ["maxMessageBytes", 1, LIMITS.messageBytesMax],
    ["expireAfterIdleMs", LIMITS.expireAfterIdleMsMin, LIMITS.expireAfterIdleMsMax],
    ["messageTtlMs", LIMITS.ttlMsMin, LIMITS.ttlMsMax],
  ])("[AD1] [G6] %s is a whole number from %d to %d", (name, min, max) => {
    const isValid = [min - 1, min, min + 0.5, max, max + 1, `${min}`, NaN].map((value) =>
      v.is(givenSettingsSchema, { [name]: value }),
    );

    expect(isValid).toEqual([false, true, false, true, false, false, false]);
  });

  test("[BP1] a low mark is below the high one, each may be left to its default, and a part of them may be given", () => {
    const marks = { highMessages: 10, lowMessages: 5, highBytes: null, lowBytes: null };
    const resolved = resolveSettings({ marks: { highMessages: 10, lowMessages: 5 } }, DEFAULT_SETTINGS);
    expect(resolved).toMatchObject({ ok: true, value: { marks } });
    const settings: Settings = { ...DEFAULT_SETTINGS, marks };
    expect(findConflicts({ marks: { highMessages: 10 } }, settings)).toEqual([]);
    expect(findConflicts({ marks: { highMessages: 11, highBytes: 1 } }, settings)).toEqual([
      "marks.highMessages",
      "marks.highBytes",
    ]);
    const faults = [{ lowMessages: 10 }, { highBytes: 5, lowBytes: 5 }].map((given) =>
      resolveSettings({ marks: given }, settings),
    );
    expect(faults).toMatchObject([
      { ok: false, refusal: { errors: [{ pointer: "/marks/lowMessages" }] } },
      { ok: false, refusal: { errors: [{ pointer: "/marks/lowBytes" }] } },
    ]);
  });

  test("[GR1] a factor lies between growthFactorMin and growthFactorMax", () => {
    const isValid = [
      1,
      LIMITS.growthFactorMin - 0.01,
      LIMITS.growthFactorMin,
      LIMITS.growthFactorMax,
      LIMITS.growthFactorMax + 0.1,
      Infinity,
      NaN,
    ].map((factor) => v.is(givenSettingsSchema, { growth: { ...GROWTH, factor } }));

    expect(isValid).toEqual([false, false, true, true, false, false, false]);
  });

  test("[AD1] growth is whole or null, expiry a number or null, nothing else is null", () => {
    const given = [
      { growth: null },
      { expireAfterIdleMs: null },
      { growth: { factor: 2 } },
      { maxMessages: null },
      { maxmessages: 1 },
    ];

    expect(given.map((settings) => v.is(givenSettingsSchema, settings))).toEqual([true, true, false, false, false]);
  });

  test("[LC1] a patch may name the state to go to, which is not deleted", () => {
    const states = ["open", "draining", "closed", "deleted", null].map((state) => v.is(channelPatchSchema, { state }));

    expect(states).toEqual([true, true, true, false, false]);
    expect(v.is(givenSettingsSchema, { state: "open" })).toBe(false);
  });

  test("[AD1] what is given is laid over what is there; null ends growth and expiry", () => {
    const base: Settings = { ...DEFAULT_SETTINGS, growth: GROWTH, expireAfterIdleMs: 60_000, maxMessages: 5 };

    expect(resolveSettings({ maxBytes: 7 }, base)).toEqual({ ok: true, value: { ...base, maxBytes: 7 } });
    expect(resolveSettings({ growth: null, expireAfterIdleMs: null }, base)).toEqual({
      ok: true,
      value: { ...base, growth: null, expireAfterIdleMs: null },
    });
  });

  test.each([
    [{ maxMessages: GROWTH.maxMessages + 1 }, "/growth/maxMessages"],
    [{ maxBytes: GROWTH.maxBytes + 1 }, "/growth/maxBytes"],
    [{ growth: { ...GROWTH, maxMessages: 1 } }, "/growth/maxMessages"],
  ])("[GR1] growth reaches at least the limits: %j is refused at %s", (given, pointer) => {
    const resolved = resolveSettings(given, { ...DEFAULT_SETTINGS, growth: GROWTH });

    expect(resolved).toMatchObject({ ok: false, refusal: { kind: "invalid-request", errors: [{ pointer }] } });
  });

  test("[LC8] settings conflict where they are given and differ, growth by its members", () => {
    const current: Settings = { ...DEFAULT_SETTINGS, growth: GROWTH };

    expect(findConflicts({}, current)).toEqual([]);
    expect(findConflicts({ maxMessages: current.maxMessages, growth: { ...GROWTH }, expireAfterIdleMs: null }, current)).toEqual(
      [],
    );
    expect(findConflicts({ maxMessages: 1, growth: { ...GROWTH, factor: 3 }, expireAfterIdleMs: 60_000 }, current)).toEqual([
      "maxMessages",
      "growth",
      "expireAfterIdleMs",
    ]);
    expect(findConflicts({ growth: null }, current)).toEqual(["growth"]);
  });

  test.each([
    [{ nearest: 1 }, "/nearest", Object.keys(givenSettingsSchema.entries)],
    [{ delivery: { strategies: [] } }, "/delivery/strategies", Object.keys(deliverySchema.entries)],
    [{ relays: { from: 2, upTo: 9 } }, "/relays/upTo", ["from"]],
  ])("[G11] a setting that does not exist is refused with the list of those that do: %j", (given, pointer, names) => {
    const detail = `Unknown member: expected one of ${names.join(", ")}`;

    expect(parseWith(givenSettingsSchema, given)).toEqual({
      ok: false,
      refusal: { kind: "invalid-request", errors: [{ pointer, detail }] },
    });
  });

  test.each(["delivery", "marks", "growth", "relays"])("[G11] a list is not taken for the object of %s", (name) => {
    for (const schema of [givenSettingsSchema, channelPatchSchema]) {
      const parsed = parseWith(schema, { [name]: [] });

      expect(parsed).toMatchObject({
        ok: false,
        refusal: { errors: [{ pointer: expect.stringMatching(`^/${name}`) as unknown }] },
      });
    }
    expect(parseWith(changeGroupBodySchema, { settings: [] })).toMatchObject({ refusal: { errors: [{ pointer: "/settings" }] } });
  });

  test("[G11] a number that is not whole, too small or too large is refused with what was expected", () => {
    const wordings = [1.5, 0, 11].map((value) => v.safeParse(wholeNumber(1, 10), value).issues?.[0]?.message);

    expect(wordings).toEqual(["Expected a whole number", "Expected at least 1", "Expected at most 10"]);
  });
});

describe("src/protocol/description", () => {
  test("[AD2] utilisation is the larger of messages and bytes over their limits, to four digits", () => {
    const limits = { maxMessages: 3, maxBytes: 100 };

    expect([computeUtilization(0, 0, limits), computeUtilization(1, 0, limits), computeUtilization(1, 50, limits)]).toEqual([
      0, 0.3333, 0.5,
    ]);
    expect([computeUtilization(3, 1, limits), computeUtilization(4, 250, limits)]).toEqual([1, 2.5]);
  });
});
