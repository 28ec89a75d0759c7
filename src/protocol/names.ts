// Identifiers as they appear in addresses and frames.
import * as v from "valibot";
import { LIMITS } from "./limits.ts";

export const channelNameSchema = nameSchema("channel", LIMITS.channelNameCharsMax);
export const checkpointNameSchema = nameSchema("checkpoint", LIMITS.checkpointNameCharsMax);

/** Letters, digits and `. _ ~ : -`, beginning with a letter or a digit: safe in an address without escapes. */
function nameSchema(noun: string, charsMax: number): v.GenericSchema<string> {
  return v.pipe(
    v.string(`Expected a ${noun} name`),
    v.regex(
      /^[A-Za-z0-9][A-Za-z0-9._~:-]*$/,
      `A ${noun} name has letters, digits and . _ ~ : - and begins with a letter or a digit`,
    ),
    v.maxLength(charsMax, `A ${noun} name has at most ${charsMax} characters`),
  );
}

/** A group's name: as that of a channel. */
export const groupNameSchema = v.pipe(
  v.string("Expected a group name"),
  v.regex(/^[A-Za-z0-9][A-Za-z0-9._~:-]*$/, "A group name has letters, digits and . _ ~ : - and begins with a letter or a digit"),
  v.maxLength(LIMITS.groupNameCharsMax, `A group name has at most ${LIMITS.groupNameCharsMax} characters`),
);

/** What a reader calls itself: as that of a channel. */
export const readerNameSchema = nameSchema("reader", LIMITS.readerNameCharsMax);

/** Offsets are whole numbers from 1; they stay below 2^48 so that part keys stay exact (storage layout). */
export const OFFSET_MAX = 2 ** 48;
