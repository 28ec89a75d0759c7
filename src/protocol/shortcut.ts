// A way around a schema for values that most requests have.
import type * as v from "valibot";

/**
 * The schema, but what `isPlain` knows is taken as it is: only such values as the schema would give back unchanged. It looks for each
 * member that a value may have, and for a message of a text alone that costs as much as to parse its JSON (measured).
 */
export function withShortcut<Schema extends v.GenericSchema>(schema: Schema, isPlain: (value: unknown) => boolean): Schema {
  const run: Schema["~run"] = (dataset, config) =>
    isPlain(dataset.value) ? { typed: true, value: dataset.value } : schema["~run"](dataset, config);
  return { ...schema, "~run": run };
}
