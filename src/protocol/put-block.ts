// Whether a block is one that may be put: what the schema of a message refuses in JSON is refused here in the same way.
import type { GenericSchema } from "valibot";
import type { Block } from "./block.ts";
import * as layout from "./block-layout.ts";
import { decodeUtf8 } from "./bytes.ts";
import { invalidRequest, parseJson, parseWith, type InvalidRequest } from "./fault.ts";
import { LIMITS } from "./limits.ts";
import { contentTypeSchema, headersSchema, keySchema, messageIdSchema } from "./message.ts";
import { DEFAULT_CONTENT_TYPES } from "./presentation.ts";
import { delayMsSchema, deliverAtMsSchema, ttlMsSchema } from "./schedule.ts";

const PUT_FLAGS =
  layout.TEXT |
  layout.JSON_VALUE |
  layout.CONTENT_TYPE |
  layout.KEY |
  layout.MESSAGE_ID |
  layout.HEADERS |
  layout.TTL |
  layout.DELAY |
  layout.DELIVER_AT;
/** Flags that say nothing that has to be looked at, but for the body. */
const SIMPLE = layout.TEXT | layout.JSON_VALUE;

/** The most that names and values of the longest headers take with their lengths, and all else that an entry has. */
const ENTRY_BYTES_MAX = 4 * LIMITS.headersBytesMax;

const NOT_UTF8 = "Expected UTF-8";

/** What is wrong with the first message that may not be put; undefined where all may. */
export function refusePutBlock(block: Block): InvalidRequest | undefined {
  if (block.firstOffset !== 0 || block.baseTimeMs !== 0)
    return invalidRequest("/messages", "Expected a block without an offset and a time: the channel gives them");
  if (block.flagsOfAny & ~SIMPLE) {
    for (let place = 0; place < block.count; place++) {
      const refusal = block.flags(place) & ~SIMPLE ? refuseEntry(block, place) : undefined;
      if (refusal !== undefined) return refusal;
    }
  }
  return (block.flagsOfAny & layout.TEXT ? refuseTexts(block) : undefined) ?? refuseJson(block);
}

function refuseEntry(block: Block, place: number): InvalidRequest | undefined {
  const base = `/messages/${place}`;
  const flags = block.flags(place);
  if (flags & ~PUT_FLAGS) return invalidRequest(base, "Expected flags that a put may have");
  if ((flags & layout.DELAY) !== 0 && (flags & layout.DELIVER_AT) !== 0)
    return invalidRequest(`${base}/deliverAtMs`, "Expected either delayMs or deliverAtMs");
  // Before a million of them is looked at one by one.
  if (block.entryBytes(place, place + 1) > ENTRY_BYTES_MAX)
    return invalidRequest(`${base}/headers`, `Headers have at most ${LIMITS.headersBytesMax} bytes together`);
  return refuseTextsOfEntry(block, place, base) ?? refuseNumbers(block, place, base);
}

/** Only where they are flagged: most messages have none. */
function refuseTextsOfEntry(block: Block, place: number, base: string): InvalidRequest | undefined {
  const headers: string[] = [];
  for (const { flag, bytes } of block.texts(place)) {
    const text = decodeUtf8(bytes);
    const member = MEMBERS[flag] ?? "headers";
    if (text === undefined) return invalidRequest(`${base}/${member}`, NOT_UTF8);
    const refusal = flag === layout.HEADERS ? undefined : refuseText(flag, text, `${base}/${member}`);
    if (refusal !== undefined) return refusal;
    if (flag === layout.HEADERS) headers.push(text);
    if (flag === layout.CONTENT_TYPE && text === defaultContentType(block.flags(place)))
      return invalidRequest(`${base}/contentType`, "Expected no content type where it is that of such a body");
  }
  return block.flags(place) & layout.HEADERS ? refuseHeaders(headers, `${base}/headers`) : undefined;
}

const MEMBERS: Readonly<Record<number, string>> = {
  [layout.CONTENT_TYPE]: "contentType",
  [layout.KEY]: "key",
  [layout.MESSAGE_ID]: "messageId",
};

function refuseText(flag: number, text: string, pointer: string): InvalidRequest | undefined {
  const schema = flag === layout.KEY ? keySchema : flag === layout.MESSAGE_ID ? messageIdSchema : contentTypeSchema;
  const checked = parseWith(schema, text, pointer);
  return checked.ok ? undefined : checked.refusal;
}

function defaultContentType(flags: number): string {
  return DEFAULT_CONTENT_TYPES[flags & layout.JSON_VALUE ? "json" : flags & layout.TEXT ? "text" : "bytes"];
}

/** `texts`: names and values in turn. */
function refuseHeaders(texts: readonly string[], pointer: string): InvalidRequest | undefined {
  const headers: [string, string][] = [];
  for (let index = 0; index < texts.length; index += 2) {
    const [name = "", value = ""] = [texts[index], texts[index + 1]];
    const before = headers.at(-1)?.[0];
    if (before !== undefined && before >= name)
      return invalidRequest(pointer, "Expected headers in the order of their names, each once");
    headers.push([name, value]);
  }
  if (headers.length === 0) return invalidRequest(pointer, "Expected at least one header where the flags say so");
  const checked = parseWith(headersSchema, Object.fromEntries(headers), pointer);
  return checked.ok ? undefined : checked.refusal;
}

function refuseNumbers(block: Block, place: number, base: string): InvalidRequest | undefined {
  const flags = block.flags(place);
  const check = (schema: GenericSchema, value: unknown, member: string): InvalidRequest | undefined => {
    const checked = parseWith(schema, value, `${base}/${member}`);
    return checked.ok ? undefined : checked.refusal;
  };
  const ttl = flags & layout.TTL ? check(ttlMsSchema, block.times(place).ttlMs, "ttlMs") : undefined;
  const delay = block.delay(place);
  if (ttl !== undefined || delay === undefined) return ttl;
  return "afterMs" in delay
    ? check(delayMsSchema, delay.afterMs, "delayMs")
    : check(deliverAtMsSchema, delay.atMs, "deliverAtMs");
}

/**
 * Texts that follow each other are looked at together: they are UTF-8 one by one where they are together and none begins in the middle of a
 * character. A call of the decoder for each of a thousand costs more than all else that is done with them.
 */
function refuseTexts(block: Block): InvalidRequest | undefined {
  const isText = (place: number): boolean => (block.flags(place) & layout.TEXT) !== 0;
  for (let from = 0, to = 0; from < block.count; from = to + 1) {
    for (to = from; to < block.count && isText(to); to++) {
      if ((block.firstByte(to) & 0xc0) === 0x80) return invalidRequest(`/messages/${to}/text`, NOT_UTF8);
    }
    if (to > from && decodeUtf8(block.bodySlice(from, to)) === undefined) return refuseFirstText(block, from, to);
  }
  return undefined;
}

function refuseFirstText(block: Block, from: number, to: number): InvalidRequest {
  let place = from;
  while (place < to - 1 && decodeUtf8(block.body(place)) !== undefined) place++;
  return invalidRequest(`/messages/${place}/text`, NOT_UTF8);
}

function refuseJson(block: Block): InvalidRequest | undefined {
  if ((block.flagsOfAny & layout.JSON_VALUE) === 0) return undefined;
  for (let place = 0; place < block.count; place++) {
    if ((block.flags(place) & layout.JSON_VALUE) === 0) continue;
    const text = decodeUtf8(block.body(place));
    const parsed = text === undefined ? undefined : parseJson(text);
    if (parsed === undefined) return invalidRequest(`/messages/${place}/json`, NOT_UTF8);
    if (!parsed.ok) return invalidRequest(`/messages/${place}/json`, parsed.refusal.errors[0]?.detail ?? "Malformed JSON");
  }
  return undefined;
}
