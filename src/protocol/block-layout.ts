// A record batch: consecutive records in one binary block. A put frame, a stored segment and a delivered frame have the same bytes.
//
//   header, 32 bytes, little endian:
//     0 magic 0xEC · 1 version 2 · 2 reserved (2), 0 · 4 count (4) · 8 index bytes (4) · 12 body bytes (4) · 16 first offset (8) · 24 base time ms (8)
//   index, an entry for each record:
//     flags (a varint) · body bytes (a varint) · what the flags say that follows, in the order of their bits
//   bodies, one after the other
//
// The index is all that has to be read to know what is in a block. Bodies come last, so that a slice of them is a slice of the block.
// There is one form: varints are as short as they can be, and what needs no flag has none. PROTOCOL.md says it with examples.
//
// A stored block is always followed by where its records were put from (source.ts), which no reader is sent: for each stretch of records
// the count, a varint, and the source as text, empty where it is not known. So a stored block that was cut short is found out.

export const MAGIC = 0xec;
export const VERSION = 2;
export const HEADER_BYTES = 32;
/** Flags and a length of one byte each. */
export const ENTRY_BYTES_MIN = 2;

/** The body is text: UTF-8. */
export const TEXT = 1 << 0;
/** The body is the text of a JSON value. */
export const JSON_VALUE = 1 << 1;
/** A text follows: the content type, where it is not that of such a body. */
export const CONTENT_TYPE = 1 << 2;
/** A text follows. */
export const KEY = 1 << 3;
/** A text follows. */
export const MESSAGE_ID = 1 << 4;
/** A varint follows, how many there are, then the name and value of each as texts, in the order of their names. */
export const HEADERS = 1 << 5;
/** A varint follows: the time to live in ms. */
export const TTL = 1 << 6;
/** It is a control record; the body is the JSON of its event. */
export const CONTROL = 1 << 7;
/** A varint follows: the offset that the message had as a dead letter. */
export const REDRIVEN = 1 << 8;
/** A varint follows: how many offsets before this record have none in this block. */
export const SKIP = 1 << 9;
/** A varint follows: how many ms after the base time the record was put. */
export const TIME = 1 << 10;
/** A varint follows: after how many ms the message enters its channel; in a put frame alone. */
export const DELAY = 1 << 11;
/** A varint follows: at what time in ms the message enters its channel; in a put frame alone. */
export const DELIVER_AT = 1 << 12;
export const FLAGS_MAX = (1 << 13) - 1;
