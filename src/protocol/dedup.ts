// What makes a put safe to send again, and what makes it conditional: a producer's number, an idempotency key, an expected offset.
import * as v from "valibot";
import { LIMITS } from "./limits.ts";
import { OFFSET_MAX } from "./names.ts";
import { wholeNumber } from "./settings.ts";

/** Which put of a producer this is: `seq` counts the puts of the epoch from 1. */
export interface ProducerMark {
  readonly id: string;
  readonly epoch: number;
  readonly seq: number;
}

/** At most one of `producer` and `idempotencyKey` is given. */
export interface PutConditions {
  readonly producer?: ProducerMark;
  readonly idempotencyKey?: string;
  /** The put is accepted only if its first message gets this offset. */
  readonly expectedOffset?: number;
}

export const EITHER_WAY = "Expected either a producer or an idempotency key";

const producerIdSchema = v.pipe(
  v.string("Expected a producer id"),
  v.regex(
    /^[A-Za-z0-9][A-Za-z0-9._~:-]*$/,
    "A producer id has letters, digits and . _ ~ : - and begins with a letter or a digit",
  ),
  v.maxLength(LIMITS.producerIdCharsMax, `A producer id has at most ${LIMITS.producerIdCharsMax} characters`),
);
const epochSchema = wholeNumber(0, LIMITS.producerEpochMax);
const seqSchema = wholeNumber(1, Number.MAX_SAFE_INTEGER);

const idempotencyKeySchema = v.pipe(
  v.string(),
  v.nonEmpty("An idempotency key has at least one character"),
  v.maxBytes(LIMITS.idempotencyKeyBytesMax, `An idempotency key has at most ${LIMITS.idempotencyKeyBytesMax} bytes`),
  v.check((text) => text.isWellFormed(), "Expected well-formed Unicode, without lone surrogates"),
);

/** Members of the frames that put. */
export const conditionEntries = {
  producer: v.optional(v.strictObject({ id: producerIdSchema, epoch: epochSchema, seq: seqSchema })),
  idempotencyKey: v.optional(idempotencyKeySchema),
  expectedOffset: v.optional(wholeNumber(1, OFFSET_MAX)),
};

function digits(schema: v.GenericSchema<number>): v.GenericSchema<string, number> {
  // All numbers of so many digits that are not above 2^53 - 1 are exact.
  return v.pipe(v.string(), v.regex(/^\d{1,16}$/, "Expected a whole number"), v.transform(Number), schema);
}

/** An RFC 8941 string, as draft-ietf-httpapi-idempotency-key-header has it, or the bare characters that most clients send. */
const keyText = v.pipe(
  v.string(),
  v.regex(
    /^(?:"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*"|[\x21\x23-\x7e][\x21-\x7e]*)$/,
    "Expected visible ASCII, or a string in double quotes (RFC 8941)",
  ),
  v.transform((text) => (text.startsWith('"') ? text.slice(1, -1).replaceAll(/\\(.)/g, "$1") : text)),
  idempotencyKeySchema,
);

/** The headers of a put, by their names. */
export const CONDITION_HEADERS = {
  "Producer-Id": producerIdSchema,
  "Producer-Epoch": digits(epochSchema),
  "Producer-Seq": digits(seqSchema),
  "Idempotency-Key": keyText,
} as const;
