// What rides on a settle call, taken out of its JSON form.
import { describe, expect, test } from "vitest";
import { parseRiders } from "../../src/protocol/riders.ts";

describe("src/protocol/riders", () => {
  test.each([
    ["delayMs", 0],
    ["delayMs", 1000],
    ["deliverAtMs", 1],
  ])("[LS12] a message with %s %i can not ride on a settle call, which puts at once", (member, value) => {
    const parsed = parseRiders({ puts: [{ text: "a" }, { text: "b", [member]: value }] });

    expect(parsed).toMatchObject({ ok: false, refusal: { kind: "invalid-request", errors: [{ pointer: `/puts/1/${member}` }] } });
  });

  test("[LS12] messages without a delay ride along", () => {
    const parsed = parseRiders({ puts: [{ text: "a" }] });

    expect(parsed).toMatchObject({ ok: true, value: { puts: [{ contentType: "text/plain; charset=utf-8" }] } });
  });
});
