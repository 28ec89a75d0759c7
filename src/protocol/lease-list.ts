// Lists of leases in a frame or a body.
import * as v from "valibot";
import { LIMITS } from "./limits.ts";
import { wholeNumber } from "./settings.ts";

const leaseIdSchema = v.pipe(v.string("Expected a lease id"), v.maxLength(64, "Not a lease id"));

/** The lease and those of the next offsets, so many in all. */
const settleCountSchema = wholeNumber(1, LIMITS.settleEntriesMax);

/** Of each entry its lease, and what `entries` say of it. */
export function leaseList<Entries extends v.ObjectEntries>(entries: Entries) {
  const tooMany = `Expected at most ${LIMITS.settleEntriesMax} leases`;
  const item = v.strictObject({ leaseId: leaseIdSchema, count: v.optional(settleCountSchema), ...entries });
  return v.optional(
    v.pipe(
      v.unknown(),
      v.check((input) => !Array.isArray(input) || input.length <= LIMITS.settleEntriesMax, tooMany),
      v.array(item, "Expected a list of leases"),
    ),
  );
}
