// Where reading begins: the places of a channel that a group or a plain reader can be set to.
import * as v from "valibot";
import { OFFSET_MAX } from "./names.ts";
import { wholeNumber } from "./settings.ts";

/** An offset, what was put at a time or later, the first record that is kept, or what comes next. */
export const START_SCHEMAS = [
  v.strictObject({ offset: wholeNumber(1, OFFSET_MAX) }),
  v.strictObject({ timeMs: wholeNumber(0, Number.MAX_SAFE_INTEGER) }),
  v.strictObject({ at: v.picklist(["first", "last"]) }),
] as const;
