// Identifiers as they appear in addresses and frames.
import * as v from "valibot";
import { LIMITS } from "./limits.ts";

/** Letters, digits and `. _ ~ : -`, beginning with a letter or a digit: safe in an address without escapes. */
export const channelNameSchema = v.pipe(
  v.string("Expected a channel name"),
  v.regex(
    /^[A-Za-z0-9][A-Za-z0-9._~:-]*$/,
    "A channel name has letters, digits and . _ ~ : - and begins with a letter or a digit",
  ),
  v.maxLength(LIMITS.channelNameCharsMax, `A channel name has at most ${LIMITS.channelNameCharsMax} characters`),
);

/** Offsets are whole numbers from 1; they stay below 2^48 so that part keys stay exact (storage layout). */
export const OFFSET_MAX = 2 ** 48;
