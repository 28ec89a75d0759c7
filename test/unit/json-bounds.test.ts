// Bounds on JSON text: nesting and values are counted as JSON.parse would find them.
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseJson } from "../../src/protocol/fault.ts";
import { findJsonExcess } from "../../src/protocol/json-bounds.ts";
import { LIMITS } from "../../src/protocol/limits.ts";

const LEVELS = LIMITS.jsonLevelsMax;
const TOO_DEEP = `JSON may nest at most ${LEVELS} levels`;
const TOO_MANY = `JSON may have at most ${LIMITS.jsonValuesMax} names and values`;

function nested(levels: number, [opening, closing]: readonly [string, string], inside = ""): string {
  return opening.repeat(levels) + inside + closing.repeat(levels);
}

function listOf(items: number): string {
  return `[${"0,".repeat(items - 1)}0]`;
}

describe("src/protocol/json-bounds", () => {
  test.each([
    ["lists", ["[", "]"], ""],
    ["objects", ['{"a":', "}"], "0"],
    ["lists that have members before", ['[",",1,', "]"], "0"],
  ] as const)("[G6] %s nest jsonLevelsMax levels and no more", (_name, pair, inside) => {
    expect(findJsonExcess(nested(LEVELS, pair, inside))).toBeUndefined();
    expect(findJsonExcess(nested(LEVELS + 1, pair, inside))).toBe(TOO_DEEP);
  });

  test("[G6] lists and objects side by side nest no deeper than one of them", () => {
    expect(findJsonExcess(`[${Array.from({ length: 10 * LEVELS }, () => '[{"a":[]}]').join()}]`)).toBeUndefined();
  });

  test.each(["[", "{", '\\"[', '\\\\\\"[', "\\\\\\\\\\u005b{"])("[G6] what is in a string does not nest: %s", (piece) => {
    const text = JSON.stringify({ a: "b" }).replace("b", piece.repeat(4 * LEVELS));

    expect(findJsonExcess(text)).toBeUndefined();
    expect(parseJson(text)).toMatchObject({ ok: true });
    expect(findJsonExcess(`[${text},${nested(LEVELS, ["[", "]"])}]`)).toBe(TOO_DEEP);
  });

  test("[G6] a string that does not end is left to the parser", () => {
    for (const text of [`${"[".repeat(LEVELS)}"${"[".repeat(LEVELS)}`, `"${"[".repeat(LEVELS)}${"\\".repeat(9)}"`]) {
      expect(findJsonExcess(text)).toBeUndefined();
      expect(parseJson(text)).toMatchObject({ ok: false, refusal: { errors: [{ pointer: "" }] } });
    }
  });

  test("[G6] JSON has jsonValuesMax names and values and no more", () => {
    expect(findJsonExcess(listOf(LIMITS.jsonValuesMax - 1))).toBeUndefined();
    expect(findJsonExcess(listOf(LIMITS.jsonValuesMax))).toBe(TOO_MANY);
    expect(findJsonExcess(`["${",".repeat(2 * LIMITS.jsonValuesMax)}"]`)).toBeUndefined();
    expect(findJsonExcess(`{${'"a":0,'.repeat(LIMITS.jsonValuesMax / 2 - 1)}"a":0}`)).toBe(TOO_MANY);
    expect(findJsonExcess(`{${'"a":0,'.repeat(LIMITS.jsonValuesMax / 2 - 2)}"a":0}`)).toBeUndefined();
    expect(findJsonExcess(`[${"[],".repeat(LIMITS.jsonValuesMax / 2)}0]`)).toBe(TOO_MANY);
  });

  test("[G6] whatever is nested within the bounds passes, whatever its strings hold", () => {
    const text = fc.string({ unit: fc.constantFrom("[", "{", '"', "\\", "]", ",", "a", "é") });
    const value = fc.letrec((tie) => ({
      node: fc.oneof({ depthSize: "small" }, text, fc.array(tie("node")), fc.dictionary(text, tie("node"))),
    })).node;

    fc.assert(
      fc.property(value, text, (inner, string) => {
        const levels = (item: unknown): number =>
          typeof item === "object" && item !== null ? 1 + Math.max(0, ...Object.values(item).map(levels)) : 0;
        const around = JSON.stringify([string, inner]);
        const room = LEVELS - levels([string, inner]);

        expect(findJsonExcess(nested(room, ["[", "]"], around))).toBeUndefined();
        expect(findJsonExcess(nested(room + 1, ["[", "]"], around))).toBe(TOO_DEEP);
      }),
    );
  });
});
