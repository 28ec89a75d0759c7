// The packed outcomes of a producer: found again one by one, kept for so many puts, and small. Rules DD4 and DD11 of SPEC.md.
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { OutcomeWindow, type PutOutcome } from "../../src/channel/outcome-window.ts";
import { LIMITS } from "../../src/protocol/limits.ts";
import { OFFSET_MAX } from "../../src/protocol/names.ts";

const KEPT = LIMITS.producerOutcomesMax;

function windowOf(outcomes: readonly PutOutcome[]): OutcomeWindow {
  const window = new OutcomeWindow();
  for (const outcome of outcomes) window.push(outcome);
  return window;
}

describe("src/channel/outcome-window", () => {
  test("[DD11] steady puts take a few bytes, however many", () => {
    const outcomes = Array.from({ length: 100_000 }, (_, put) => ({
      offset: 1_000_000 + put * 100,
      entered: 100,
      count: 100,
      bytes: 102_400,
    }));

    const window = windowOf(outcomes);

    expect(window.encode().byteLength).toBeLessThanOrEqual(16);
    expect(window.find(0)).toEqual(outcomes.at(-1));
    expect(window.find(KEPT - 1)).toEqual(outcomes.at(-KEPT));
    expect(window.find(KEPT)).toBeUndefined();
  });

  test("[DD11] the most irregular puts fit the row, and their memory does not grow", () => {
    const step = Math.floor((OFFSET_MAX - 20_000) / (3 * KEPT));
    const bytesMax = LIMITS.batchBytesMax + LIMITS.headersBytesMax;
    const window = new OutcomeWindow();
    for (let put = 0; put < 3 * KEPT; put += 1) {
      const count = LIMITS.batchMessagesMax;
      window.push({ offset: 1 + put * step, entered: count - 1, count, bytes: bytesMax - (put % 2) });
    }

    const packed = window.encode();

    expect(packed.byteLength).toBeGreaterThan(12 * KEPT);
    expect(packed.byteLength).toBeLessThanOrEqual(LIMITS.producerOutcomesBytesMax);
    expect(window.byteLength).toBeLessThanOrEqual(4 * LIMITS.producerOutcomesBytesMax);
    expect(new OutcomeWindow(packed).find(KEPT - 1)).toEqual(window.find(KEPT - 1));
  });

  test("[DD4] every kept outcome is found, whatever came and however often it was stored between", () => {
    const puts = fc.array(
      fc.record({
        gap: fc.constantFrom(0, 0, 0, 0, 1, 1000, 2 ** 40),
        count: fc.constantFrom(0, 1, 1, 1, 10_000),
        entering: fc.constantFrom(1, 1, 1, 0.5, 0),
        bytes: fc.constantFrom(5, 5, 5, 0, 2 ** 24),
        isStored: fc.constantFrom(false, false, true),
      }),
      { maxLength: 60, size: "max" },
    );
    const property = fc.property(puts, fc.integer({ min: 1, max: 20 }), (given, times) => {
      let window = new OutcomeWindow();
      const outcomes: PutOutcome[] = [];
      let offset = 1;
      for (const { gap, count, entering, bytes, isStored } of given) {
        const entered = Math.floor(count * entering);
        for (let time = 0; time < times; time += 1) {
          offset += time === 0 ? gap : 0;
          outcomes.push({ offset, entered, count, bytes });
          window.push({ offset, entered, count, bytes });
          offset += entered;
        }
        if (isStored) window = new OutcomeWindow(window.encode());
      }
      const found = outcomes.map((_, index) => window.find(outcomes.length - 1 - index));
      expect(found).toEqual(outcomes.map((outcome, index) => (outcomes.length - index <= KEPT ? outcome : undefined)));
    });

    expect.hasAssertions();
    fc.assert(property, { numRuns: 100 });
  });
});
