import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { CONTROL, MUTANTS } from "../mutants/mutants.ts";

const ROOT = resolve(import.meta.dirname, "../..");

describe("Mutants", () => {
  it.each([CONTROL, ...MUTANTS])("$name: the text that it changes is in the sources once", ({ file, from }) => {
    expect(readFileSync(join(ROOT, file), "utf8").split(from)).toHaveLength(2);
  });

  it("have names of their own", () => {
    expect(new Set(MUTANTS.map(({ name }) => name)).size).toBe(MUTANTS.length);
  });
});
