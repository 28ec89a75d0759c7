// Options of a consumer that are refused.
import { describe, expect, test } from "vitest";
import { open } from "./consumer-driver.ts";

describe("src/client/consume-options", () => {
  test("bounds that do not fit each other are refused at once", () => {
    const { channel } = open();
    expect(() => channel.consume(() => undefined, { concurrency: 4, prefetch: 3 })).toThrow(/prefetch: .* from 4 to 10000/);
    expect(() => channel.consume(() => undefined, { batchSize: 200, concurrency: 100 })).toThrow(/batchSize: .* from 1 to 100/);
  });

  const NO_COUNTS = [
    [5n, "bigint"],
    [Number.NaN, "NaN"],
    [Infinity, "Infinity"],
    [1.5, "1.5"],
    ["5", "string"],
    [Symbol("5"), "symbol"],
    [Object.create(null), "object"],
    [(): number => 5, "function"],
  ] as const;
  const NUMBERS = [
    "concurrency",
    "batchSize",
    "batchBytes",
    "batchWaitMs",
    "leaseMs",
    "prefetch",
    "prefetchMax",
    "prefetchBytes",
  ];

  test.each(NUMBERS)("what is no whole number is refused under the name of its option: %s", (name) => {
    const { channel } = open();
    for (const [value, found] of NO_COUNTS) {
      expect(() => channel.consume(() => undefined, { [name]: value })).toThrow(
        expect.objectContaining({
          kind: "invalid-request",
          origin: "client",
          retryable: false,
          outcome: "not-applied",
          message: expect.stringMatching(`^Cannot take ${found} as ${name}: expected a whole number from \\d+ to \\d+$`),
        }),
      );
    }
  });

  test("a prefetch that may grow too far, or less than what is worked on, is refused as prefetchMax", () => {
    const { channel } = open();
    for (const prefetchMax of [0, 5, 10_001]) {
      const options = { concurrency: 2, batchSize: 3, prefetchMax };
      expect(() => channel.consume(() => Promise.resolve([]), options)).toThrow(/ as prefetchMax: .* from 6 to 10000$/);
    }
  });
});
