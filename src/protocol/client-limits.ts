// The bounds that clients keep as well: constants, so that a page does not load the whole table, in which they are too (`LIMITS`).

const KIB = 1024;
const MIB = 1024 * KIB;
const SECOND_MS = 1000;

// Batches, and what arrives in one piece. Base64 of the largest batch, with its headers, still fits.
export const BATCH_MESSAGES_MAX = 10_000;
export const BATCH_BYTES_MAX = 16 * MIB;
export const FRAME_BYTES_MAX = 24 * MIB;
export const REQUEST_BODY_BYTES_MAX = 24 * MIB;

export const WAIT_MS_MAX = 5 * 60 * SECOND_MS;
export const PRODUCER_EPOCH_MAX = 2 ** 31;

// What may be on the way to a subscriber at most
export const CREDIT_MESSAGES_MAX = 10_000;
export const CREDIT_BYTES_MAX = 16 * MIB;

export const LEASE_MS_MIN = SECOND_MS;
export const LEASE_MS_MAX = 12 * 60 * 60 * SECOND_MS;
export const LEASE_MS_DEFAULT = 30 * SECOND_MS;
/** 30 days. */
export const RETRY_DELAY_MS_MAX = 30 * 24 * 60 * 60 * SECOND_MS;
export const SETTLE_ENTRIES_MAX = 10_000;
export const REASON_BYTES_MAX = 1024;
